"""The forms of tools: what their own schemas say of arguments, and whether a call keeps to that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..core import schemas
from ..core.errors import InvalidRequest, ToolFailed
from ..core.ports import Tool
from ..core.records import Json
from ..core.validity import Unknown, fault
from ..core.values import leaves
from .decision import NO_FORM, Form


class Forms:
    """The forms of tools by name, each read once."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools
        self._known: dict[str, tuple[Json, Form]] = {}  # a tool's parameters, and what they say

    def of(self, tool: str) -> Form:
        """What the schema of a tool says; nothing of a tool that there is not."""
        found = self._tools.get(tool)
        if found is None:
            return NO_FORM
        parameters, form = self._known.get(tool, (None, NO_FORM))
        if parameters is not found.spec.parameters:  # a server may change its tools
            parameters, form = found.spec.parameters, _form(found.spec.parameters)
            self._known[tool] = parameters, form
        return form

    def check(self, tool: str, arguments: Mapping[str, Json]) -> None:
        """Raise ToolFailed for arguments that a tool does not take: nobody is to be asked about those.

        A tool that can check them itself (`checked(arguments)`) does.
        """
        found = self._tools.get(tool)
        if found is None:
            return
        if (checked := getattr(found, "checked", None)) is not None:
            checked(dict(arguments))
            return
        try:
            wrong = fault(schemas.arguments(found.spec, "parameters").parameters, dict(arguments))
        except (Unknown, InvalidRequest):  # it says itself what it does not take
            return
        if wrong is not None:
            raise ToolFailed(f"{tool}: {wrong}", tool=tool)

    def check_changed(self, tool: str, put: Mapping[str, Json], asked: Mapping[str, Json]) -> None:
        """The same of arguments that a person puts instead of those that were asked about.

        A name that neither those nor the tool's own schema have is refused too, unless the schema says that others may
        be there: it is mistyped.
        """
        found, names = self._tools.get(tool), self.of(tool).names
        schema = found.spec.parameters if found is not None else {}
        strange = put.keys() - asked.keys() - set(names)
        if strange and names and not (schema.get("additionalProperties") or "patternProperties" in schema):
            raise not_taken(tool, strange, names)
        self.check(tool, put)


def not_taken(what: str, strange: Iterable[str], names: Iterable[str]) -> ToolFailed:
    """The error about arguments of other names than those that something has."""
    return ToolFailed(f"{what} has {', '.join(sorted(names))}, not {', '.join(sorted(strange))}", tool=what)


def _form(schema: Json) -> Form:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(properties, Mapping):
        return Form(_properties(schema))
    given = {name: each.get("default") for name, each in properties.items() if isinstance(each, Mapping)}
    defaults = {name: value for name, value in given.items() if value is not False and any(leaves(value))}
    required = schema.get("required")
    free = properties.keys() - defaults.keys() - set(required if isinstance(required, list) else ())
    return Form(_properties(schema), defaults, frozenset(free))


def _properties(schema: Json) -> set[str]:
    """The names of properties, wherever they stand in a schema."""
    if isinstance(schema, list | tuple):
        return {name for each in schema for name in _properties(each)}
    if not isinstance(schema, Mapping):
        return set()
    properties = schema.get("properties")
    own = set(properties) if isinstance(properties, Mapping) else set()
    return own.union(*map(_properties, schema.values()))
