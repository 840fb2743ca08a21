"""A conversation as clients keep it: of every maker's shape, with what other models' answers left in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from ..core import codec, documents
from ..core.errors import InvalidRequest, Unsupported
from ..core.records import Json, Message, ToolCall
from .errors import MissingField
from .reading import ListOf, Piece

WAITING = 1000  # calls of one message to which answers that do not name theirs can belong
UNREADABLE = "invalid_json"
"""The only argument of a call whose arguments were none: their text, for the model to see what it wrote."""


class CalledFunction(Piece):
    """A function's name and its arguments: JSON text, or an object as some servers write it."""

    name: str
    arguments: str | dict[str, Any] = ""


class CalledTool(Piece):
    """A tool call that an assistant's message made; `custom` are those whose argument is plain text."""

    id: str | None = None
    type: Literal["function", "custom"] = "function"
    function: CalledFunction | None = None
    custom: CustomCall | None = None


class CustomCall(Piece):
    """The name of a tool that takes plain text, and that text."""

    name: str
    input: str = ""


class ChatMessage(Piece):
    """A message. What other servers' answers carry and requests echo (`reasoning`, `annotations`) is left out."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | ListOf[str | dict[str, Any] | None] | dict[str, Any] | None = None
    name: str | None = None
    tool_calls: ListOf[CalledTool] | None = None
    tool_call_id: str | None = None
    function_call: CalledFunction | None = Field(None, description="the call, as chats had it before `tool_calls`")
    prefix: bool = Field(False, description="of the last message: short for continue_final_message")


def conversation(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The messages as the core's records; raises InvalidRequest that names the part to blame."""
    found: list[Message] = []
    waiting: dict[str, ToolCall] = {}  # calls that no message has answered so far
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        calls = tuple(_calls(message, where, len(found))) if message.tool_calls or message.function_call else ()
        answers = _answers(message, where, waiting) if message.role in ("tool", "function") else None
        waiting.update({call.id: call for call in calls[:WAITING]})
        if answers is not None:
            waiting.pop(answers, None)
        role = _ROLES.get(message.role, message.role)
        name = None if message.role == "function" else message.name
        said = message.content if answers is None else _result(message.content)
        found.append(Message(role, content(said, f"{where}.content"), calls, answers, name))  # type: ignore[arg-type]
    return tuple(found)


_ROLES = {"developer": "system", "function": "tool"}


def _calls(message: ChatMessage, where: str, count: int) -> Iterator[ToolCall]:
    """The calls of a message; those without an id get one that stays as it is when the conversation is sent again."""
    for i, call in enumerate(message.tool_calls or ()):
        identifier = call.id or f"call_{count}_{i}"
        if call.function is not None:
            yield ToolCall(identifier, call.function.name, arguments(call.function.arguments))
        elif call.custom is not None:
            yield ToolCall(identifier, call.custom.name, {"input": call.custom.input})
        else:
            place = f"{where}.tool_calls[{i}].{call.type}"
            raise MissingField(f"{place} is missing", parameter=place)
    if message.function_call is not None and not message.tool_calls:
        yield ToolCall(f"call_{count}", message.function_call.name, arguments(message.function_call.arguments))


def _result(given: Any) -> Any:
    """What a tool gave: text or parts as they are, and data as JSON."""
    parts = [given] if isinstance(given, dict) else given
    if isinstance(parts, list) and any(isinstance(part, dict) and not {"type", "text"} & part.keys() for part in parts):
        return codec.dumps(given).decode()
    return given


def _answers(message: ChatMessage, where: str, waiting: Mapping[str, ToolCall]) -> str:
    """The id of the call that a tool's message answers: the first that waits, of its name, where it does not say."""
    if message.tool_call_id is not None:
        return message.tool_call_id
    fitting = next((call.id for call in waiting.values() if message.name in (None, call.name)), None)
    if fitting is None:
        text = f"{where}: a tool's message needs tool_call_id, or a call before it that it answers"
        raise MissingField(text, parameter=f"{where}.tool_call_id")
    return fitting


def arguments(given: str | Mapping[str, Json]) -> Mapping[str, Json]:
    """A call's arguments. What is no JSON object is kept as text: the call was made, and what it led to is known."""
    if not isinstance(given, str):
        return given
    try:
        value = documents.plain(codec.loads(given.strip() or "{}"), "the arguments")
    except (ValueError, InvalidRequest):
        return {UNREADABLE: given}
    if value is None:
        return {}
    return value if isinstance(value, dict) else {UNREADABLE: given}


# -- content


def content(value: str | Sequence[str | Mapping[str, Any] | None] | Mapping[str, Any] | None, where: str) -> Any:
    """A message's content: text, or where there are pictures a list of parts."""
    if value is None or isinstance(value, str):
        return value or ""
    given = (
        [(where, value)] if isinstance(value, Mapping) else [(f"{where}[{i}]", each) for i, each in enumerate(value)]
    )
    parts = [part for place, each in given if (part := _part(each, place)) is not None]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: str | Mapping[str, Any] | None, where: str) -> dict[str, Json] | None:
    """A part of a content; None for one that is left out."""
    if part is None:
        return None
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") or ("text" if "text" in part else None)
    if not isinstance(kind, str):
        raise MissingField(f"{where}.type is missing", parameter=f"{where}.type")
    if kind in _THOUGHTS:
        return None
    reader = _READERS.get(kind)
    if reader is None:
        text = f"{where}: parts of type {kind!r} are not supported; send text or image_url"
        raise Unsupported(text, parameter=where)
    return reader(part, where)


def _text(key: str) -> Callable[[Mapping[str, Any], str], dict[str, Json]]:
    def read(part: Mapping[str, Any], where: str) -> dict[str, Json]:
        text = part.get(key)
        if isinstance(text, Mapping):  # as OpenAI's assistants have it
            text = text.get("value")
        text = "" if text is None and key in part else text
        if not isinstance(text, str):
            raise InvalidRequest(f"{where}.{key} must be text", parameter=f"{where}.{key}" if key in part else where)
        return {"type": "text", "text": text}

    return read


def _image(part: Mapping[str, Any], where: str) -> dict[str, Json]:
    given = part.get("image_url")
    image = {"url": given} if isinstance(given, str) else given
    if not (isinstance(image, Mapping) and isinstance(image.get("url"), str)):
        raise InvalidRequest(f"{where}.image_url must be an object with the `url` of a picture", parameter=where)
    return {"type": "image_url", "image_url": {name: each for name, each in image.items() if each is not None}}


def _source(part: Mapping[str, Any], where: str) -> dict[str, Json]:
    """A picture as Anthropic's API has it."""
    source = part.get("source")
    held = source if isinstance(source, Mapping) else {}
    if held.get("type") == "base64" and isinstance(held.get("data"), str):
        return _image({"image_url": f"data:{held.get('media_type', 'image/png')};base64,{held['data']}"}, where)
    return _image({"image_url": held.get("url")}, where)


_READERS: dict[str, Callable[[Mapping[str, Any], str], dict[str, Json]]] = {
    "text": _text("text"), "input_text": _text("text"), "output_text": _text("text"), "refusal": _text("refusal"),
    "image_url": _image, "input_image": _image, "image": _source,
}  # fmt: skip
_THOUGHTS = frozenset(
    {"thinking", "redacted_thinking", "reasoning", "reasoning_text", "reasoning.text", "summary_text"}
)
"""Parts that other models thought aloud in: theirs, and left out."""
