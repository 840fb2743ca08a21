"""ToolKit: Python functions as tools. Type hints make the schema, the docstring the description."""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from ..core import codec
from ..core.errors import Conflict, ToolFailed
from ..core.records import Json, ToolSpec

KEY = "idempotency_key"
"""A parameter of this name is not shown to models; it gets the call's idempotency key."""


class FunctionTool:
    """One function as a tool. A plain function runs in a thread, so that it never blocks the system."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self._function = function
        self._wants_key = KEY in inspect.signature(function).parameters
        name = name or function.__name__
        self._arguments = create_model(
            name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **_fields(function)
        )
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        self.spec = ToolSpec(name, inspect.getdoc(function) or "", schema)

    async def run(self, arguments: dict[str, Json], key: str) -> Json:
        """Check the arguments and call the function; raises ToolFailed with what was wrong.

        Whatever the function returns becomes JSON data; `bytes` and `File` become files.
        """
        try:
            checked = self._arguments.model_validate(arguments)
        except ValidationError as error:
            raise ToolFailed(f"{self.spec.name}: {_first(error)}", tool=self.spec.name) from error
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        if self._wants_key:
            values[KEY] = key
        try:
            result = await self._call(values)
        except Exception as error:  # a tool is other people's code: whatever it raises is its answer
            text = f"{self.spec.name} failed: {type(error).__name__}: {error}"
            raise ToolFailed(text, tool=self.spec.name, error=type(error).__name__) from error
        return as_json(result)

    async def _call(self, values: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(**values)
        return await asyncio.to_thread(self._function, **values)


class ToolKit(dict[str, FunctionTool]):
    """Tools by name. `kit.add(function)`, or as a decorator: `@kit.add`."""

    def add(self, function: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        """Make a function a tool and return it unchanged; raises Conflict for a name that is taken."""
        tool = FunctionTool(function, name)
        if tool.spec.name in self:
            raise Conflict(f"there is a tool named {tool.spec.name!r}; give one of them another name")
        self[tool.spec.name] = tool
        return function


class File:
    """A file that a tool made: shown to the user as a picture or download, kept as a blob."""

    def __init__(self, name: str, data: bytes, mime: str = "application/octet-stream") -> None:
        self.name, self.data, self.mime = name, data, mime

    def to_json(self) -> Json:
        """The form in which it crosses the door; the kernel replaces the data by a blob's name."""
        data = base64.b64encode(self.data).decode()
        return {"$file": {"name": self.name, "mime": self.mime, "data": data}}


def as_json(value: Any) -> Json:
    """Turn a function's result into JSON data; raises ToolFailed where it cannot be."""
    if isinstance(value, File):
        return value.to_json()
    if isinstance(value, bytes):
        return File("result.bin", value).to_json()
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    try:
        return codec.loads(codec.dumps(value))
    except TypeError as error:
        raise ToolFailed(f"the result is not JSON data: {error}") from error


def _fields(function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name != KEY:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    return fields


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
