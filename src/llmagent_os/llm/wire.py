"""What the remote drivers share beside the connection: choices in a schema, tool arguments, prices."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping, Sequence

from ..core import codec, documents, schemas, stream
from ..core.errors import EngineFailed, InvalidRequest
from ..core.patterns import compiled
from ..core.records import EngineInfo, FinishReason, GenerateRequest, Json, ToolCall, Usage

_MOST = 2**53  # tokens: what every database and JSON parser can hold


def sent(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """A schema as it is sent to a server: without patterns that look around, for which OpenAI's and others refuse it.

    The answer is checked against the whole schema afterwards.
    """
    return schemas.rebuilt(schema, _regular) if b"(?" in (text := codec.dumps(schema)) or b"\\\\" in text else schema


def _regular(part: Mapping[str, Json]) -> dict[str, Json]:
    kept = {key: value for key, value in part.items() if key != "pattern" or compiled(value).regular}
    if "patternProperties" in kept:
        named = kept["patternProperties"]
        kept["patternProperties"] = {pattern: one for pattern, one in named.items() if compiled(pattern).regular}
    return kept


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
        value = _unwrapped_twice(text)
    except (ValueError, InvalidRequest):
        value = text
    if value is None:
        return {}  # how some models call a tool that takes nothing
    if not isinstance(value, dict):
        raise EngineFailed(
            f"the model called {tool!r} with arguments that are no JSON object: {text_of(text)[:200]!r}; ask again"
        )
    return value


def _unwrapped_twice(text: str) -> Json:
    """The JSON data of arguments; of text in text, which some servers make of them, the inner."""
    value = _data(text) if text.strip() else {}
    if isinstance(value, str):
        value = _data(value)
    return documents.plain(value, "the call")


def _data(text: str) -> Json:
    value = loads(text_of(text).encode())
    return _whole(value) if _HALF_ESCAPED.search(text) else value


def _whole(value: Json) -> Json:
    """Data without halves of characters, which no database takes."""
    if isinstance(value, dict):
        return {text_of(name): _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return text_of(value) if isinstance(value, str) else value


def is_object(text: str) -> bool:
    """Whether a text is a whole JSON object."""
    try:
        return isinstance(loads(text_of(text).encode()), dict)
    except ValueError:
        return False


def loads(data: bytes) -> Json:
    """JSON as servers send it: with a byte order mark, bare control characters, or halves of characters.

    In the text of what our parser refuses, bytes that are no UTF-8 stand as lone surrogates, as halves do. Raises
    ValueError for what is no JSON.
    """
    try:
        return codec.loads(data)
    except ValueError:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    try:
        value = json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return value


class Halves:
    """Puts characters together that were cut between two pieces of a text: surrogates, or the bytes of UTF-8."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> str:
        """Take the next piece; returns what is whole, and keeps a half at its end for the next one."""
        if not self._held and _whole_letters(text):
            return text
        text = _joined(self._held + text)
        end = _OPEN.search(text)
        self._held = end[0] if end else ""
        return text_of(text[: len(text) - len(self._held)])

    def rest(self) -> str:
        """What was kept, which nothing completes."""
        text, self._held = self._held, ""
        return text_of(text)


def _whole_letters(text: str) -> bool:
    """Whether no half of a character stands in a text: an encoder sees that in a fiftieth of a pattern's time."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_HALF = re.compile("[\udc80-\udcff]+|[\ud800-\udfff]")
_HALF_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_BYTES = re.compile("[\udc80-\udcff]+")
_OPEN = re.compile("(?:[\ud800-\udbff]|[\udcc2-\udcf4][\udc80-\udcbf]{0,2})$")


def _joined(text: str) -> str:
    """A text with the halves of surrogate pairs, and the bytes of characters, put together where both are there."""
    text = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _BYTES.sub(lambda run: run[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"), text)


def text_of(value: Json) -> str:
    """The same, if it is text, with `?` for halves of characters; raises TypeError (see `http.Server.understood`)."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value if _whole_letters(value) else _HALF.sub("\ufffd", _joined(value))


def words(content: Json) -> str:
    """The text of a message's content: text itself, or parts of which some are. What a model thought is none."""
    if not content:
        return ""
    if isinstance(content, str):
        return content
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, list):
        raise TypeError(f"{content!r} is no text")
    return "".join(part if isinstance(part, str) else _text_in(part) for part in parts)


def _text_in(part: Mapping[str, Json]) -> str:
    if part.get("type", "text") not in ("text", "output_text", "refusal"):
        return ""
    text = part.get("text") or part.get("refusal") or ""
    return text if isinstance(text, str) else str(text.get("value") or "")


def likelihood(value: Json) -> float:
    """A log-probability; that of what cannot be, which JSON cannot say, is -9999 as in OpenAI's API."""
    found = -9999.0 if value is None else float(value)
    return found if math.isfinite(found) else -9999.0


def ending(
    said: FinishReason | None, calls: Sequence[ToolCall], request: GenerateRequest, text: str
) -> FinishReason:  # fmt: skip
    """Why an answer ended, by what a server says and by what is there; raises Unsupported where it breaks a schema."""
    if calls and said != "length":
        return "tool_calls"
    finish: FinishReason = "stop" if said in (None, "tool_calls") else said  # it says so, and calls nothing
    if finish == "stop" and request.schema is not None:
        schemas.verify(request, text)
    return finish


def call_id() -> str:
    """An id for a tool call that came without one of its own."""
    return f"call_{uuid.uuid4().hex[:16]}"


def tokens(usage: Mapping[str, Json], *names: str) -> int | None:
    """A number of tokens that a server counted, by the first of several names; None where it said nothing usable."""
    for name in names:
        count = usage.get(name)
        if isinstance(count, int | float) and not isinstance(count, bool) and 0 <= count < _MOST:
            return int(count)
    return None


def priced(info: EngineInfo, read: int, written: int, cached: int = 0) -> Usage:
    """Usage at the engine's prices; cached tokens are counted in `read` and cost the same.

    Raises TypeError for what a server counted that is no number of tokens.
    """
    if not all(isinstance(count, int) and 0 <= count < _MOST for count in (read, written, cached)):
        raise TypeError(f"{read!r}, {written!r}, {cached!r} are no numbers of tokens")
    return stream.priced(info, read, written, cached)
