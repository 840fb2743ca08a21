"""Items of OpenAI's responses API: the conversation as clients write it and answers give it, and what models read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core import codec, documents
from ..core.errors import InvalidRequest
from ..core.records import Json, Message, ToolCall
from .errors import MissingField, UnknownField
from .history import arguments, content
from .responses_tools import flat

Item = Mapping[str, Any]

THOUGHTS = "reasoning"
"""Items of another model's answer that no other model is meant to read."""

_CALLS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
}
"""Calls of tools that the client runs, each with the field that says with what."""

_OUTPUTS = frozenset(f"{kind}_output" for kind in _CALLS)
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def kind_of(item: Item) -> str:
    """The type of an item; a message need not say that it is one, and a reference neither."""
    kind = item.get("type")
    if kind is None:
        return "item_reference" if "role" not in item and "id" in item else "message"
    return str(kind)


def messages(items: Sequence[Item], where: str = "input") -> list[Message]:
    """The conversation; calls belong to the assistant's message before them, as chats have it."""
    found: list[Message] = []
    for i, item in enumerate(items):
        kind, at = kind_of(item), f"{where}[{i}]"
        if kind == "message":
            found.append(_message(item, at))
        elif kind in _CALLS:
            call = _call(item, kind, at)
            last = found.pop() if found and found[-1].role == "assistant" else Message("assistant")
            found.append(replace(last, tool_calls=(*last.tool_calls, call)))
        elif kind in _OUTPUTS:
            found.append(_output(item, at))
    return found


def skipped(items: Sequence[Item]) -> list[str]:
    """The kinds of items that no model here reads, and that are no thoughts."""
    kinds = {kind_of(item) for item in items}
    return sorted(kinds - {"message", THOUGHTS} - _CALLS.keys() - _OUTPUTS)


def _message(item: Item, where: str) -> Message:
    role, said = _ROLES.get(str(item.get("role"))), item.get("content")
    if role is None:
        text = f"{where}.role is {item.get('role')!r}; it is one of: {', '.join(_ROLES)}"
        raise InvalidRequest(text, parameter=f"{where}.role")
    if "content" not in item:
        raise _missing(item, where, "content")
    if said is not None and not isinstance(said, str) and not _parts(said):
        raise InvalidRequest(f"{where}.content is neither text nor a list of parts", parameter=f"{where}.content")
    return Message(role, content(said, f"{where}.content"))  # type: ignore[arg-type]  # the roles of the table


def _missing(item: Item, where: str, name: str) -> InvalidRequest:
    """Of a field that is not there, or is misspelt."""
    near = difflib.get_close_matches(name, item, n=1)
    if near:
        return UnknownField(
            f"unknown field '{where}.{near[0]}'; did you mean {name!r}?", parameter=f"{where}.{near[0]}"
        )
    return MissingField(f"{where}.{name} is missing", parameter=f"{where}.{name}")


def _parts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def _named(item: Item, where: str, *names: str) -> str:
    """The first of some fields that is there; raises InvalidRequest where none is."""
    found = next((item[name] for name in names if isinstance(item.get(name), str) and item[name]), None)
    if found is None:
        raise _missing(item, where, names[0])
    return str(found)


def _call(item: Item, kind: str, where: str) -> ToolCall:
    identifier = _named(item, where, "call_id", "id")
    given = item.get(_CALLS[kind])
    if kind in ("function_call", "custom_tool_call"):
        name = flat(str(item.get("namespace") or ""), _named(item, where, "name"))
        if kind == "custom_tool_call":
            return ToolCall(identifier, name, {"input": str(given or "")})
        return ToolCall(identifier, name, arguments(given if isinstance(given, str | dict) else ""))
    held = given if isinstance(given, dict) else {_CALLS[kind]: given}
    return ToolCall(identifier, kind.removesuffix("_call"), documents.plain(held, where))


def _output(item: Item, where: str) -> Message:
    """What a tool call gave: text, parts, or data, which is written as JSON."""
    identifier = _named(item, where, "call_id", "id")
    given = item.get("output")
    if given is None or isinstance(given, str):
        said: str | list[dict[str, Json]] = given or str(item.get("status") or "")
    elif _parts(given) and all("type" in part for part in given):
        said = content(given, f"{where}.output")
    else:
        said = codec.dumps(documents.plain(given, f"{where}.output")).decode()
    return Message("tool", said, tool_call_id=identifier)
