"""An outcome: what the result of a task has to be, so that whoever works on it works until it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import codec, schemas
from .errors import InvalidRequest, nearest
from .records import Json

TRIES, MOST = 3, 20
_BY = ("schema", "function", "tests", "rubric")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`by` is how it is judged, and `what` the schema, the function's name, the code of tests, or the rubric.

    `judge` is the agent that judges by a rubric. It is worked on so many `tries` at most.
    """

    by: str
    what: Any
    judge: str = ""
    tries: int = TRIES


def read(data: Any) -> Outcome:
    """An outcome from its data: one of `schema`, `function`, `tests`, `rubric` (with `judge`), and `tries`.

    Raises InvalidRequest.
    """
    if not isinstance(data, Mapping):
        raise _wrong(f"is a mapping with one of {', '.join(_BY)}")
    for name in data:
        if name not in (*_BY, "judge", "tries"):
            raise _wrong(f"has an unknown field {name!r}; {nearest(str(name), (*_BY, 'judge', 'tries'))}", str(name))
    found = [name for name in _BY if data.get(name) is not None]
    if len(found) != 1:
        raise _wrong(f"says how it is judged by one of {', '.join(_BY)}")
    (by,), what, judge, tries = found, data[found[0]], data.get("judge", ""), data.get("tries", TRIES)
    if by == "schema":
        schemas.meant(what, "the outcome's `schema`", "outcome.schema")
    elif not isinstance(what, str) or not what.strip():
        raise _wrong(f"has `{by}` in text", by)
    if (by == "rubric") != bool(judge) or not isinstance(judge, str):
        raise _wrong("has a `judge`, the name of an agent, with a `rubric` and with nothing else", "judge")
    if type(tries) is not int or not 1 <= tries <= MOST:
        raise _wrong(f"has `tries` from 1 to {MOST}", "tries")
    return Outcome(by, what, judge, tries)


def of(body: Json) -> Outcome | None:
    """The outcome that a message asks for; None for most."""
    options = body.get("options") if isinstance(body, Mapping) else None
    data = options.get("outcome") if isinstance(options, Mapping) else None
    return None if data is None else read(data)


def result(reply: Mapping[str, Any]) -> Json:
    """What a reply gives: the result of a flow, the data that its words are, or its words."""
    if "output" in reply:
        return reply["output"]
    try:
        return codec.loads(reply["text"])
    except ValueError:
        return str(reply["text"])


def _wrong(text: str, field: str = "") -> InvalidRequest:
    return InvalidRequest(f"an outcome {text}", parameter=".".join(filter(None, ("outcome", field))))
