"""What the remote drivers share beside the connection: choices in a schema, tool arguments, prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core import codec, documents, stream
from ..core.errors import EngineFailed, InvalidRequest
from ..core.records import EngineInfo, Json, Usage

_MOST = 2**53  # tokens: what every database and JSON parser can hold


def choice_schema(choices: Sequence[str]) -> dict[str, Json]:
    """The schema that constrains an answer to `{"choice": one of them}`; `unwrapped` reads it."""
    return {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(choices)}},
        "required": ["choice"],
        "additionalProperties": False,
    }


def unwrapped(text: str, choices: Sequence[str]) -> str:
    """Take the choice out of `{"choice": ...}`; raises EngineFailed when the server did not keep to the schema."""
    try:
        return choices[choices.index(codec.loads(text)["choice"])]
    except (ValueError, TypeError, KeyError) as error:
        raise EngineFailed(f"the server did not keep to the choices: it answered {text[:200]!r}") from error


def arguments(tool: str, text: str) -> Mapping[str, Json]:
    """Parse a tool call's arguments; raises EngineFailed when they are no JSON object, or one that nobody could use."""
    try:
        value = documents.plain(codec.loads(text or "{}"), "the call")
    except (ValueError, InvalidRequest):
        value = None
    if not isinstance(value, dict):
        raise EngineFailed(
            f"the model called {tool!r} with arguments that are no JSON object: {text[:200]!r}; ask again"
        )
    return value


def text_of(value: Json) -> str:
    """The same, if it is text; raises TypeError (see `http.Server.understood`)."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def priced(info: EngineInfo, read: int, written: int, cached: int = 0) -> Usage:
    """Usage at the engine's prices; cached tokens are counted in `read` and cost the same.

    Raises TypeError for what a server counted that is no number of tokens.
    """
    if not all(isinstance(count, int) and 0 <= count < _MOST for count in (read, written, cached)):
        raise TypeError(f"{read!r}, {written!r}, {cached!r} are no numbers of tokens")
    return stream.priced(info, read, written, cached)
