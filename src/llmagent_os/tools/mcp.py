"""MCP servers as tools: each is kept connected, listed anew when it says so, and started again when it dies.

A server is not ours: what its tools are called, say and return is untrusted, and what they say of themselves only a
hint. The last listing is kept on disk, so that its tools are known before it answers, and for replays.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import httpx2
from mcp import Client, MCPError
from mcp.client import IncomingMessage, Transport
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolResult, ToolListChangedNotification

from ..core import codec
from ..core.errors import ToolFailed
from ..core.ports import Tool
from ..core.records import Json, Ticket, ToolSpec, Traits
from ..core.secrets import secret
from .mcp_stdio import LARGEST, served
from .settings import MCPServer
from .toolkit import Bounds, File, shown_name

KEY = "llmagent-os/idempotency-key"
"""In a call's `_meta`: its idempotency key. In a tool's `_meta`, true: it acts once under one such key."""

FIRST, LONGEST = 0.5, 60.0  # seconds before a lost connection is made again, twice as many each time
HANDSHAKE = 30.0  # seconds, at least, for a server to answer what we ask beside calls
PAGES = 100  # of a listing
LOG = 1 << 20  # bytes of what a server wrote, after which a new start begins anew and keeps the last
WORDS, SCHEMA = 4000, 40_000  # characters of a tool's description, bytes of its schema

log = logging.getLogger(__name__)


class MCPTool:
    """One tool of a server, as `SERVER_TOOL`."""

    def __init__(self, connection: Connection, spec: ToolSpec, name: str, hints: Mapping[str, Json]) -> None:
        """`name` is the server's own for it."""
        self.spec, self.source = spec, f"mcp {connection.name}"
        again = bool(hints.get("readOnlyHint") or hints.get("idempotentHint"))
        keyed = connection.server.keyed or hints.get(KEY) is True
        self.traits = Traits("external", idempotent=again, keyed=keyed, timeout=connection.server.timeout)
        self._connection, self._name = connection, name
        self._bounds = Bounds(spec.name, self.traits)

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Call it, waiting for the server to be there; raises ToolFailed with what it says or that it is gone."""
        async with self._bounds.within():
            try:
                return await self._call(arguments, ticket.key)
            except _Lost as lost:
                if not (lost.unheard or self.traits.idempotent or self.traits.keyed):
                    text = f"{self._connection.name} was lost during the call; it may have done its work"
                    raise ToolFailed(text, tool=self.spec.name) from lost
                with suppress(_Lost):
                    return await self._call(arguments, ticket.key)
                raise ToolFailed(f"{self._connection.name} was lost twice", tool=self.spec.name) from lost

    async def _call(self, arguments: dict[str, Json], key: str) -> Json:
        client = await self._connection.client()
        try:
            result = await client.call_tool(self._name, arguments, meta=cast(Any, {KEY: key}))
        except MCPError as error:
            unheard = error.code == INVALID_REQUEST and "Session terminated" in error.message  # it has started anew
            if unheard or error.code == CONNECTION_CLOSED:
                self._connection.lose(client)
                raise _Lost(unheard) from error
            raise ToolFailed(f"{self.spec.name}: {error.message}", tool=self.spec.name) from error
        except (RuntimeError, ValueError) as error:  # it did not answer as the protocol and its schema say
            raise ToolFailed(f"{self.spec.name}: {error}", tool=self.spec.name) from error
        return _result(self.spec.name, result)


class _Lost(Exception):
    """The connection ended before the answer came; `unheard`: and surely before the request was read."""

    def __init__(self, unheard: bool) -> None:
        super().__init__("the connection was lost")
        self.unheard = unheard


class Connection:
    """The connection to a server; its tools are put into `tools` and taken out again as it lists them."""

    def __init__(self, name: str, server: MCPServer, tools: dict[str, Tool], folder: Path) -> None:
        """`folder` keeps the last listing and what the server writes to its standard error."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.server = name, server
        self.known = asyncio.Event()  # its tools are
        self._tools, self._listing, self._log = tools, folder / f"{name}.json", folder / f"{name}.log"
        self._client: Client | None = None
        self._there, self._news, self._over = asyncio.Event(), asyncio.Event(), False
        with suppress(FileNotFoundError, ValueError):
            self._show(codec.loads(self._listing.read_bytes()))

    async def serve(self) -> None:
        """Stay connected, until cancelled."""
        pause = FIRST
        while True:
            began = time.monotonic()
            try:
                async with AsyncExitStack() as stack:
                    transport = await stack.enter_async_context(self._logged())
                    client = Client(
                        transport, message_handler=self._heard, read_timeout_seconds=max(HANDSHAKE, self.server.timeout)
                    )
                    self._over = False
                    await self._stay(await stack.enter_async_context(client))
            except Exception as error:  # whatever a server does, it is tried again
                log.warning("MCP server %s: %s; see %s", self.name, _reason(error), self._log)
            finally:
                self._client = None
                self._there.clear()
            pause = FIRST if time.monotonic() - began > LONGEST else pause
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def client(self) -> Client:
        """The client, once it is connected."""
        while self._client is None:
            await self._there.wait()
        return self._client

    def lose(self, client: Client) -> None:
        """Connect anew: a call found the connection gone."""
        if client is self._client:
            self._client = None
            self._there.clear()
            self._end()

    def _end(self) -> None:
        self._over = True
        self._news.set()

    @asynccontextmanager
    async def _logged(self) -> AsyncIterator[Transport]:
        if self.server.url:
            token = secret(self.server.key_env)
            headers = {"Authorization": f"Bearer {token}"} if token else {}

            async def bounded(response: httpx2.Response) -> None:
                response.stream = _Bounded(response.stream, self.name)

            hooks, timeout = {"response": [bounded]}, httpx2.Timeout(30, read=300)
            async with httpx2.AsyncClient(headers=headers, timeout=timeout, event_hooks=hooks) as http:
                yield streamable_http_client(self.server.url, http_client=http)
            return
        given = {name: value for name in self.server.env if (value := os.environ.get(name) or secret(name))}
        if self._log.exists() and self._log.stat().st_size > LOG:
            self._log.replace(self._log.with_suffix(".old"))
        with self._log.open("a") as file:
            yield served(self.server.command, given, file, self._end)

    async def _stay(self, client: Client) -> None:
        await self._list(client)
        self._client = client
        self._there.set()
        following = asyncio.create_task(self._follow(client))
        try:
            while not self._over:
                await self._news.wait()
                self._news.clear()
                if not self._over:
                    await self._list(client)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, client: Client) -> None:
        """Hear of changes from a server that wants to be asked for them (since 2026-07-28)."""
        with suppress(ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._news.set()

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._news.set()

    async def _list(self, client: Client) -> None:
        listed: list[dict[str, Json]] = []
        cursor = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="refresh")
            listed += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        self._listing.write_bytes(codec.dumps(listed))
        self._show(listed)

    def _show(self, listed: list[dict[str, Json]]) -> None:
        """Put the listed tools in place of those listed before. A name that is somebody else's stays theirs."""
        source = f"mcp {self.name}"
        for name in [name for name, tool in self._tools.items() if getattr(tool, "source", "") == source]:
            del self._tools[name]
        for told in listed:
            name = shown_name(f"{self.name}_{told['name']}")
            if name in self._tools or len(codec.dumps(told["inputSchema"])) > SCHEMA:
                log.warning("MCP server %s: %s is left out, its name is taken or its schema too long", self.name, name)
                continue
            spec = ToolSpec(name, told.get("description", "")[:WORDS], told["inputSchema"])
            self._tools[name] = MCPTool(self, spec, told["name"], told.get("annotations", {}) | told.get("_meta", {}))
        self.known.set()


class _Bounded(httpx2.AsyncByteStream):
    """What a server answers over HTTP, up to a bound for each event of it."""

    def __init__(self, stream: Any, server: str) -> None:
        self._stream, self._server = stream, server

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            place = max(piece.rfind(b"\n\n"), piece.rfind(b"\n\r\n"))
            size = size + len(piece) if place < 0 else len(piece) - place
            if size > LARGEST:
                raise httpx2.ReadError(f"{self._server} answered with more than {LARGEST} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _reason(error: BaseException) -> str:
    """The first error in a group, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _result(tool: str, result: CallToolResult) -> Json:
    """Data where there is any, else the text; pictures and sounds as files."""
    parts = [_part(content.model_dump(mode="json", by_alias=True, exclude_none=True)) for content in result.content]
    texts = "\n".join(part for part in parts if isinstance(part, str))
    if result.is_error:
        raise ToolFailed(f"{tool}: {texts or 'it failed'}", tool=tool)
    files = [part for part in parts if not isinstance(part, str)]
    main = texts if result.structured_content is None else result.structured_content
    return {"result": main, "files": files} if files else main


def _part(content: Mapping[str, Any]) -> Json:
    if content["type"] == "text":
        return content["text"]
    if content["type"] in ("image", "audio"):
        return File(content["type"], base64.b64decode(content["data"]), content["mimeType"]).to_json()
    resource = content.get("resource", content)
    if "blob" in resource:
        return File(str(resource["uri"]), base64.b64decode(resource["blob"]), resource.get("mimeType", "")).to_json()
    return resource.get("text") or codec.dumps(resource).decode()
