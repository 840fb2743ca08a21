"""Which tool the model is to call, in the words of every maker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from ..core.errors import InvalidRequest
from ..core.records import Json, ToolSpec
from .reading import ListOf, Piece


class Named(Piece):
    """The name of a function."""

    name: str


class ToolChoice(Piece):
    """One tool that must be called."""

    function: Named
    type: Literal["function"] = "function"


class FunctionChoice(Piece):
    """One tool that must be called, as the responses API has it."""

    type: Literal["function"]
    name: str


class AllowedTools(Piece):
    """Those of the tools that may be called now."""

    type: Literal["allowed_tools"]
    tools: ListOf[dict[str, Any]]
    mode: Literal["auto", "required"] = "auto"

    def names(self) -> list[str]:
        """The names, whether they stand in a `function` or beside the type."""
        return [str((each.get("function") or each).get("name")) for each in map(_mapping, self.tools)]


def _mapping(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool if isinstance(tool.get("function") or {}, Mapping) else {}


def _chat(value: Json) -> Json:
    """A choice in the words of OpenAI's chats."""
    found = flat(value)
    if isinstance(found, dict) and found.get("type") == "function" and "name" in found:
        return {"type": "function", "function": {"name": found["name"]}}
    return found


def flat(value: Json) -> Json:
    """A choice in the words of OpenAI's responses, also where it came in those of Anthropic, Mistral or of chats."""
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if not isinstance(value, dict):
        return value
    kind, function, allowed = value.get("type"), value.get("function"), value.get("allowed_tools")
    if kind == "allowed_tools" and isinstance(allowed, dict):
        return {"type": kind, **allowed}
    if isinstance(function, dict) and "name" in function and kind in (None, "function"):
        return {"type": "function", "name": function["name"]}
    if kind == "tool" or (kind is None and "name" in value):
        return {**value, "type": "function"}
    return _WORDS.get(kind, kind) if isinstance(kind, str) and kind in (*_WORDS, "auto", "none", "required") else value


_WORDS = {"any": "required"}

Word = Literal["auto", "none", "required"]
ChatChoice = Annotated[Word | ToolChoice | AllowedTools | None, BeforeValidator(_chat)]
ResponseChoice = Annotated[Word | FunctionChoice | AllowedTools | None, BeforeValidator(flat)]


def offered(
    tools: Sequence[ToolSpec], choice: Word | ToolChoice | FunctionChoice | AllowedTools | None
) -> tuple[tuple[ToolSpec, ...], str]:
    """The tools that are on offer under a choice, and the choice among them (see `core.records.GenerateRequest`).

    Raises InvalidRequest for an allowed tool that is none of them.
    """
    if isinstance(choice, AllowedTools):
        names = choice.names()
        if unknown := set(names) - {tool.name for tool in tools}:
            text = f"tool_choice allows {min(unknown)!r}; the tools are: {', '.join(tool.name for tool in tools)}"
            raise InvalidRequest(text, parameter="tool_choice")
        return tuple(tool for tool in tools if tool.name in names), choice.mode
    if isinstance(choice, ToolChoice):
        return tuple(tools), choice.function.name
    return tuple(tools), choice.name if isinstance(choice, FunctionChoice) else choice or "auto"
