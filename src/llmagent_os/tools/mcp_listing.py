"""What an MCP server lists and answers, in a form that the protocol's own checks take.

One odd tool would be the end of its server for them: here it is mended, or left out and named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCResponse, ToolAnnotations
from pydantic import ValidationError

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import Json
from ..core.schemas import meant
from .openapi_schemas import LARGEST, Root, Schemas, Unusable

WORDS = 4000  # characters of a tool's description
RETURNS = 1000  # bytes of the schema of its results that the description tells
MOST = 1000  # tools of a server

_CONTENT = frozenset({"text", "image", "audio", "resource", "resource_link"})


class Listing:
    """The tools that a server has listed since `clear`, in good form, and why others are left out."""

    def __init__(self) -> None:
        self.tools: list[dict[str, Json]] = []
        self.left_out: dict[str, str] = {}

    def clear(self) -> None:
        """Begin anew."""
        self.tools, self.left_out = [], {}

    @asynccontextmanager
    async def cleaned(self, transport: Transport) -> AsyncIterator[Any]:
        """The same transport, with what comes over it in good form."""
        async with transport as (heard, tell):
            give, taken = anyio.create_memory_object_stream[Any](0)

            async def relay() -> None:
                async with give:
                    async for message in heard:
                        await give.send(self.clean(message))

            task = asyncio.create_task(relay())
            try:
                yield taken, tell
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                taken.close()

    def clean(self, message: Any) -> Any:
        """A message in good form, its tools noted."""
        if not isinstance(message, SessionMessage) or not isinstance(message.message, JSONRPCResponse):
            return message
        result = message.message.result
        if isinstance(result.get("tools"), list):
            result["tools"] = list(self._fitting(result["tools"]))
        if isinstance(result.get("content"), list):
            result["content"] = [_content(each) for each in result["content"]]
        return message

    def _fitting(self, listed: list[Any]) -> Iterator[dict[str, Json]]:
        for number, tool in enumerate(listed):
            name = tool.get("name") if isinstance(tool, Mapping) else None
            if not isinstance(name, str) or not name:
                self.left_out[f"tool {number + 1}"] = "it has no name"
                continue
            try:
                found = _tool(name, tool)
                if any(each["name"] == name for each in self.tools):
                    raise Unusable("it is listed twice")
                if len(self.tools) >= MOST:
                    raise Unusable(f"it is past the first {MOST} tools")
            except Unusable as error:
                self.left_out[name[:100]] = str(error)
                continue
            self.tools.append(found)
            yield {key: each for key, each in found.items() if key != "outputSchema"}


def _tool(name: str, told: Mapping[str, Any]) -> dict[str, Json]:
    """A tool in good form; raises Unusable. The schema of its results is told, not enforced: it has acted by then."""
    words = told.get("description") if isinstance(told.get("description"), str) else ""
    found: dict[str, Json] = {
        "name": name,
        "description": str(words)[:WORDS],
        "inputSchema": _schema(told.get("inputSchema")),
    }
    if isinstance(returns := told.get("outputSchema"), Mapping):
        packed = codec.dumps(returns).decode()
        returned = f"\nReturns: {packed}" if len(packed) <= RETURNS else ""
        found["description"] = found["description"][: WORDS - len(returned)] + returned
    if isinstance(hints := told.get("annotations"), Mapping):
        try:
            ToolAnnotations.model_validate(hints, by_name=False)
            found["annotations"] = dict(hints)
        except ValidationError:
            pass  # they are hints at the most
    if isinstance(meta := told.get("_meta"), Mapping):
        found["_meta"] = dict(meta)
    return found


def _schema(given: Any) -> dict[str, Json]:
    """A schema of arguments that is one: as it was told where it can be, else in words that can."""
    if not isinstance(given, Mapping | None):
        raise Unusable("its schema is no object")
    told: dict[str, Json] = {"type": "object", "properties": {}} | dict(given or {})
    if len(codec.dumps(told)) > LARGEST:
        raise Unusable(f"its schema has more than {LARGEST} bytes")
    try:
        Draft202012Validator.check_schema(told)
        well = told["type"] == "object"
    except (SchemaError, RecursionError):
        well = False
    if not well:
        schemas = Schemas(Root(told))
        try:
            told = {"properties": {}, **schemas.whole(schemas.of(told)), "type": "object"}
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise Unusable(f"its schema is none: {error!r:.200}") from error
    try:
        meant(told, "the tool", "")
    except InvalidRequest as error:  # an agent that had it could not be asked anything
        raise Unusable(f"no model can be held to its schema: {error}") from error
    return told


def _content(part: Any) -> Json:
    """A part of a result; of a kind that the protocol does not know, as text."""
    if isinstance(part, Mapping) and part.get("type") in _CONTENT:
        return dict(part)
    return {"type": "text", "text": part if isinstance(part, str) else codec.dumps(part).decode()}
