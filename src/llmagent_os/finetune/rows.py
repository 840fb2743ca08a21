"""Rows: what comes in, what is to come out, and where each comes from; read from data, checked one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import Json, Message
from .marked import marked

PAIRS = (
    ("instruction", "output"), ("input", "output"), ("prompt", "completion"), ("question", "answer"),
    ("text", "label"), ("prompt", "chosen"), ("message", "label"), ("sentence", "label"),
)  # fmt: skip
"""The names that the two sides of a row may have; the first pair that is there holds."""
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Row:
    """An example: messages and the answer that is wanted.

    `origin` says where it stands (FILE:LINE, or a row of a journal), `group` which rows belong together, such as those
    of one conversation: they are never split. `rejected` is an answer that somebody liked less.
    """

    messages: tuple[Message, ...]
    output: str
    origin: str = ""
    group: str = ""
    rejected: str = ""

    @property
    def text(self) -> str:
        """What the user said last."""
        return next((each.text for each in reversed(self.messages) if each.role == "user"), "")

    @property
    def sum(self) -> str:
        """The sha256 of what it says, wherever it comes from."""
        said = [[each.role, each.text] for each in self.messages]
        return hashlib.sha256(codec.canonical([said, self.output])).hexdigest()

    def data(self) -> dict[str, Json]:
        """As JSON data, with its sum; `row_of` reads it."""
        said = [{"role": each.role, "content": each.text} for each in self.messages]
        found: dict[str, Json] = {"messages": said, "output": self.output, "sha256": self.sum}
        more = {"origin": self.origin, "group": self.group, "rejected": self.rejected}
        return found | {name: value for name, value in more.items() if value}


def rows_of(values: Iterable[Any], origin: str = "row") -> list[Row]:
    """Rows of data; raises InvalidRequest that names the first that is none, or says that there are none at all."""
    rows = [
        value if isinstance(value, Row) else row_of(value, f"{origin} {number}")
        for number, value in enumerate(values, 1)
    ]
    if not rows:
        raise InvalidRequest("there are no rows: give at least one {input, output}", parameter="rows")
    return rows


def row_of(value: Any, origin: str) -> Row:
    """The row that a mapping is; raises InvalidRequest that begins with where it stands."""
    if not isinstance(value, Mapping):
        raise _wrong(origin, f"is {type(value).__name__}, not an object with `input` and `output`")
    messages, output = _sides(value, origin)
    if not output.strip():
        raise _wrong(origin, "has an empty output")
    if not any(each.text.strip() for each in messages):
        raise _wrong(origin, "has an empty input")
    named = {name: value[name] for name in ("origin", "group", "rejected") if isinstance(value.get(name), str)}
    return Row(messages, output, **{"origin": origin, **named})


def _sides(value: Mapping[str, Any], origin: str) -> tuple[tuple[Message, ...], str]:
    if isinstance(said := value.get("messages"), Sequence) and not isinstance(said, str):
        messages = conversation(said, origin)
        if isinstance(output := value.get("output"), str):
            return messages, output
        if not messages or messages[-1].role != "assistant":
            raise _wrong(origin, "has messages of which the last is not the assistant's, and no output")
        return messages[:-1], messages[-1].text
    if (both := marked(value, origin)) is not None:
        return (Message("user", both[0]),), both[1]
    for one, other in PAIRS:
        if one in value and other in value:
            return _asked(value, one, origin), _text(value[other], other, origin)
    names = ", ".join(map(str, value)) or "none"
    raise _wrong(origin, f"has no `input` and `output`; its fields are: {names}")


def _asked(value: Mapping[str, Any], name: str, origin: str) -> tuple[Message, ...]:
    if isinstance(value[name], list):
        return conversation(value[name], origin)
    text = _text(value[name], name, origin)
    if name == "instruction" and isinstance(more := value.get("input"), str) and more.strip():
        text = f"{text}\n\n{more}"  # as Alpaca's rows are put to a model
    system = value.get("system")
    before = (Message("system", system),) if isinstance(system, str) and system else ()
    return (*before, Message("user", text))


def conversation(said: Sequence[Any], origin: str) -> tuple[Message, ...]:
    """Messages of data {role, content}; raises InvalidRequest that begins with where it stands."""
    for each in said:
        if not isinstance(each, Mapping) or each.get("role") not in ROLES or not isinstance(each.get("content"), str):
            raise _wrong(origin, f"has a message that is no {{role, content}}; roles are {', '.join(ROLES)}")
    return tuple(Message(each["role"], each["content"]) for each in said)


def _text(value: Any, name: str, origin: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    if name == "label" and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]  # as Doccano has it
    if isinstance(value, Mapping | list):
        return codec.canonical(value).decode()
    raise _wrong(origin, f"has no text as `{name}`: {value!r}")


def _wrong(origin: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{origin} {what}", parameter="rows", row=origin)
