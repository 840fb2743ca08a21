"""What is said to an agent, read once: whatever a caller sent, a loop gets whole messages, or the caller a refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from ..core.errors import InvalidRequest, nearest
from ..core.records import SAMPLING_NAMES, Json, Message, Sampling


def _given(value: Any) -> Any:
    """A mapping without what is null, which is as if it were not there."""
    return {name: each for name, each in value.items() if each is not None} if isinstance(value, Mapping) else value


def _readable(message: Message) -> Message:
    """Raise ValueError for a part that is said to be text and is none."""
    parts = [part for part in message.content if isinstance(part, dict) and part.get("type") == "text"]
    if not all(isinstance(part.get("text", ""), str) for part in parts):
        raise ValueError("the `text` of a part of type text is text")
    return message


MESSAGES = 10_000  # of a conversation, which every part of the system goes through


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True)
    sampling: dict[str, Any] = Field(default_factory=dict)
    answer_schema: dict[str, Any] | None = Field(None, alias="schema")
    adapter: str | None = None


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str = ""
    messages: list[Annotated[Message, BeforeValidator(_given), AfterValidator(_readable)]] = Field(
        default_factory=list, max_length=MESSAGES
    )
    options: _Options = _Options()


_SAMPLING = TypeAdapter(Sampling)


def read(body: Json) -> tuple[Sequence[Message], dict[str, Json]]:
    """The messages of a body and its options; raises InvalidRequest, naming what is wrong."""
    if isinstance(body, str):
        body = {"text": body}
    if not isinstance(body, Mapping) or not (body.get("text") or body.get("messages")):
        text = "a message to an agent is text, or {text: ...}, or {messages: [...]}"
        raise InvalidRequest(text, parameter="body")
    try:
        said = _Said.model_validate(_given(body))
    except ValidationError as error:
        raise _explained(error) from error
    options = said.options.model_dump(by_alias=True, exclude_unset=True)
    if "sampling" in options:
        options["sampling"] = sampling(options["sampling"])
    return said.messages or [Message("user", said.text)], options


def rewinds(body: Json) -> bool:
    """Whether a body asks to forget the last message and its answer, instead of saying anything."""
    return isinstance(body, Mapping) and body.get("rewind") is True and not (body.get("text") or body.get("messages"))


def sampling(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling parameters by name, each of its type; raises InvalidRequest, naming the one that is wrong."""
    for name in values:
        if name not in SAMPLING_NAMES:
            text = f"unknown sampling parameter {name!r}; {nearest(name, SAMPLING_NAMES)}"
            raise InvalidRequest(text, parameter=f"sampling.{name}")
    stop = values.get("stop")
    try:
        read = _SAMPLING.validate_python({**values, "stop": (stop,) if isinstance(stop, str) else stop})
    except ValidationError as error:
        raise _explained(error, "sampling") from error
    found = {name: getattr(read, name) for name in values}
    for name, value in found.items():
        numbers = value.values() if isinstance(value, Mapping) else (value,)
        if any(isinstance(each, float) and not math.isfinite(each) for each in numbers):
            raise InvalidRequest(f"sampling.{name} is a number without end", parameter=f"sampling.{name}")
    return found


def _explained(error: ValidationError, *place: str) -> InvalidRequest:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in (*place, *first["loc"]))
    wrong = first["msg"].partition(" or an instance of ")[0]  # a class of ours, which is nothing that one could send
    return InvalidRequest(f"{field or 'the message'}: {wrong}", parameter=field or "body")
