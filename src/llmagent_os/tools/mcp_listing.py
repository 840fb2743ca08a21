"""What an MCP server lists and answers, in a form that the protocol's own checks take.

One odd tool would be the end of its server for them: here it is mended, or left out and named.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp.types import ContentBlock, JSONRPCResponse
from pydantic import TypeAdapter, ValidationError

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.outside import outside
from ..core.records import Json
from .mcp_tools import MOST, fitted, fitting

PARTS = 1000  # of a result
HEAVY = 1 << 14  # bytes of a listing that is looked through in another process
READING = 30.0  # seconds that it may take
HEADED = 1 << 17  # bytes of schemas, of a page of a listing, that have arguments sent as headers
_HEADER = b'"x-mcp-header":'

_CONTENT = frozenset({"text", "image", "audio", "resource", "resource_link"})
_PART: TypeAdapter[Any] = TypeAdapter(ContentBlock)


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
                        await give.send(await self.clean(message))

            task = asyncio.create_task(relay())
            try:
                yield taken, tell
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                taken.close()

    async def clean(self, message: Any) -> Any:
        """A message in good form, its tools noted."""
        if not isinstance(message, SessionMessage) or not isinstance(message.message, JSONRPCResponse):
            return message
        result = message.message.result
        if isinstance(result.get("tools"), list):
            result["tools"] = await self._tools(result["tools"])
        if not result or result.keys() & _CALLED:
            _answered(result)
        return message

    async def _tools(self, listed: list[Any]) -> list[dict[str, Json]]:
        """Those of a page of a listing that can be used; a long one is looked through in another process."""
        told = listed, {each["name"] for each in self.tools}, MOST - len(self.tools)
        try:
            packed = _packed(listed)
            if len(packed) > HEAVY:  # as bytes, which are handed over in no time
                kept, left_out = await outside(fitted, packed, *told[1:], source="the listing", seconds=READING)
                tools = codec.loads(kept)
            else:
                tools, left_out = fitting(*told)
        except InvalidRequest as error:  # it takes too long, or too much memory
            tools, left_out = [], {"the listing": error.message}
        self.left_out |= left_out
        return list(self._needed(tools))

    def _needed(self, tools: list[dict[str, Json]]) -> Iterator[dict[str, Json]]:
        """Note the tools, and give the protocol's library what it needs of each: it looks through all that it is given.

        That is which arguments are sent as headers too, which stands in the schema where there are such.
        """
        room = HEADED
        for tool in tools:
            packed = codec.dumps(tool["inputSchema"])
            headed = _HEADER in packed
            if headed and (room := room - len(packed)) < 0:
                self.left_out[str(tool["name"])[:100]] = f"schemas with headers have more than {HEADED} bytes in all"
                continue
            self.tools.append(tool)
            yield {"name": tool["name"], "inputSchema": tool["inputSchema"] if headed else {"type": "object"}}


def _packed(listed: list[Any]) -> bytes:
    try:
        return codec.dumps(listed)
    except TypeError:  # it has numbers or levels that codec has no room for
        pass
    try:
        return json.dumps(listed).encode()
    except RecursionError:
        raise InvalidRequest("it is nested too deeply") from None


_CALLED = frozenset({"content", "structuredContent", "toolResult", "isError"})
"""What only the results of calls have; those of the first servers had `toolResult`."""


def _answered(result: dict[str, Any]) -> None:
    """Bring a call's result into the protocol's form: parts in a list, and data in an object."""
    given = result.get("content")
    parts = list(given) if isinstance(given, list) else [] if given is None else [given]
    data = result.pop("structuredContent", result.pop("toolResult", None))
    if isinstance(data, dict):
        result["structuredContent"] = data
    elif data is not None and not parts:
        parts.append(data)
    result["content"] = contents([part for part in parts if part is not None])


def contents(listed: list[Any]) -> list[Json]:
    """The parts of a result, of which only so many are handed on: of what it gives itself, all."""
    if len(listed) > PARTS + 1:
        listed = [*listed[:PARTS], f"[{len(listed) - PARTS} more parts are left out]"]
    return [_content(each) for each in listed]


def _content(part: Any) -> Json:
    """A part of a result; of a kind or form that the protocol does not know, as text."""
    if isinstance(part, Mapping) and part.get("type") in _CONTENT:
        mended = {"mimeType": "application/octet-stream", **part} if part["type"] in ("image", "audio") else dict(part)
        if part["type"] == "text" and not isinstance(said := part.get("text"), str):
            mended["text"] = "" if said is None else codec.words(said)
        with suppress(ValidationError):
            _PART.validate_python(mended, by_name=False)
            return mended
    return {"type": "text", "text": codec.words(part)}
