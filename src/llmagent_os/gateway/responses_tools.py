"""Tools of OpenAI's responses API: those that the client runs are offered, those that OpenAI runs are not had here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..core import schemas
from ..core.errors import InvalidRequest
from ..core.records import ToolSpec
from .errors import MissingField
from .forms import refused

FUNCTIONS = "functions"
"""The namespace of tools that have none, as some clients write it."""

_LONGEST = 64  # characters of a name; remote models take no longer ones


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as the model sees it, and what the client knows it by."""

    spec: ToolSpec
    kind: Literal["function", "custom"]
    namespace: str
    name: str


class Toolbox:
    """The tools of a request: `offers` by the names that the model calls, and the kinds that were `skipped`."""

    def __init__(self, tools: Sequence[Mapping[str, Any]] | None) -> None:
        self.offers: dict[str, Offer] = {}
        self.skipped: list[str] = []
        self.echo: list[Mapping[str, Any]] = []
        for i, tool in enumerate(tools or ()):
            self._add(tool, f"tools[{i}]")

    def _add(self, tool: Mapping[str, Any], where: str) -> None:
        kind = tool.get("type")
        if kind == "namespace":
            inside = tool.get("tools") or []
            if not isinstance(inside, list) or not all(isinstance(each, dict) for each in inside):
                raise InvalidRequest(f"{where}.tools is no list of tools", parameter=f"{where}.tools")
            offers = [
                _offer(each, f"{where}.tools[{j}]", str(tool.get("name") or ""))
                for j, each in enumerate(inside)
                if each.get("type", "function") in ("function", "custom")
            ]
        elif kind in ("function", "custom"):
            offers = [_offer(tool, where, "")]
        else:
            self.skipped.append(f"{kind} {label}" if (label := tool.get("server_label")) else str(kind))
            return
        self.echo.append(tool)
        for offer in offers:
            if offer.spec.name in self.offers:
                text = f"{where}: two tools are called {offer.spec.name!r}; rename one"
                raise InvalidRequest(text, parameter=f"{where}.name")
            self.offers[offer.spec.name] = offer

    def chosen(self, choice: str | Mapping[str, Any] | None) -> tuple[tuple[ToolSpec, ...], str]:
        """The tools that may be called, and which of them must be (see `GenerateRequest.tool_choice`)."""
        specs = tuple(offer.spec for offer in self.offers.values())
        if isinstance(choice, str) or choice is None:
            self._need(choice or "auto", specs)
            return specs, choice or "auto"
        kind = choice.get("type")
        if kind == "allowed_tools":
            allowed = set(self._allowed(choice))
            specs = tuple(spec for spec in specs if spec.name in allowed)
            mode = "required" if choice.get("mode") == "required" else "auto"
            self._need(mode, specs)
            return specs, mode
        if kind in ("function", "custom"):
            return specs, self._named(choice, "tool_choice")
        raise refused(f"tools of type {kind!r}", "tool_choice", "offer one as a function, and run it in the client")

    def _need(self, mode: str, specs: Sequence[ToolSpec]) -> None:
        if mode == "required" and not specs and self.skipped:
            what = f"tools of type {', '.join(map(repr, self.skipped))}"
            raise refused(what, "tool_choice", "offer one as a function, and run it in the client")

    def _allowed(self, choice: Mapping[str, Any]) -> Iterator[str]:
        tools = choice.get("tools")
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise InvalidRequest("tool_choice.tools is no list of tools", parameter="tool_choice.tools")
        for i, tool in enumerate(tools):
            if tool.get("type") in ("function", "custom"):
                yield self._named(tool, f"tool_choice.tools[{i}]")

    def _named(self, tool: Mapping[str, Any], where: str) -> str:
        """The name that the model calls a tool by."""
        inner = tool.get("function")
        name = tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None)  # the latter: as in chats
        if not isinstance(name, str):
            raise MissingField(f"{where}.name is missing", parameter=f"{where}.name")
        called = flat(str(tool.get("namespace") or ""), name)
        inside = [each.spec.name for each in self.offers.values() if each.name == name]
        if called not in self.offers and len(inside) == 1:
            return inside[0]
        if called not in self.offers:
            text = f"{where} names {name!r}; the tools are: {', '.join(self.offers)}"
            raise InvalidRequest(text, parameter=where)
        return called


def flat(namespace: str, name: str) -> str:
    """What the model calls a tool of a namespace."""
    return f"{namespace}__{name}"[-_LONGEST:] if namespace not in ("", FUNCTIONS) else name


def _offer(tool: Mapping[str, Any], where: str, namespace: str) -> Offer:
    name, schema = tool.get("name"), tool.get("parameters")
    if not isinstance(name, str) or not name:
        raise MissingField(f"{where}.name is missing", parameter=f"{where}.name")
    if schema is not None and not isinstance(schema, dict):
        raise InvalidRequest(f"{where}.parameters is no JSON schema", parameter=f"{where}.parameters")
    called, about = flat(namespace, name), str(tool.get("description") or "")
    if tool.get("type") == "custom":
        return Offer(ToolSpec(called, about, _text_in(tool.get("format"))), "custom", namespace, name)
    spec = ToolSpec(called, about, schema) if schema is not None else ToolSpec(called, about)
    return Offer(schemas.arguments(spec, f"{where}.parameters"), "function", namespace, name)


def _text_in(form: Any) -> dict[str, Any]:
    """The arguments of a tool that takes plain text: models here are held to objects."""
    field = {"type": "string", "description": "the tool's whole input"}
    if isinstance(form, dict) and form.get("type") == "grammar":
        field["description"] += f", in this grammar ({form.get('syntax')}): {form.get('definition')}"
    return {"type": "object", "properties": {"input": field}, "required": ["input"], "additionalProperties": False}
