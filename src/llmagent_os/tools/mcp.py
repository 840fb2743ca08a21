"""MCP servers as tools: each is kept connected, listed anew when it says so, and started again when it dies.

A server is not ours: what its tools are called, say and return is untrusted, and what they say of themselves only a
hint. The last listing is kept on disk, so that its tools are known before it answers, and for replays. Resources and
prompts are reached by tools of their own.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from mcp import Client, MCPError
from mcp.client import IncomingMessage, Transport
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolResult, ToolListChangedNotification

from ..core import codec
from ..core.errors import ToolFailed
from ..core.ports import Tool
from ..core.records import Json, Ticket, ToolSpec, Traits
from ..core.secrets import noted, secret
from .mcp_http import connected
from .mcp_listing import Listing
from .mcp_login import Login
from .mcp_stdio import served
from .openapi_read import told_apart
from .settings import MCPServer
from .sources import State
from .toolkit import Bounds, File, shown_name

KEY = "llmagent-os/idempotency-key"
"""In a call's `_meta`: its idempotency key. In a tool's `_meta`, true: it acts once under one such key."""

FIRST, LONGEST = 0.5, 60.0  # seconds before a lost connection is made again, twice as many each time
HANDSHAKE = 30.0  # seconds, at least, for a server to answer what we ask beside calls
FETCHED = 180.0  # the same for a command, which may fetch the server first: npx that is cut off leaves it broken
MENDS = 5.0  # seconds that a call waits for a server that could not be reached
PAGES = 100  # of a listing
MANY = 500  # resources or prompts that are shown
LOG = 1 << 20  # bytes of what a server wrote, after which a new start begins anew and keeps the last

log = logging.getLogger(__name__)


class MCPTool:
    """One tool of a server, as `SERVER_TOOL`."""

    def __init__(self, connection: Connection, spec: ToolSpec, name: str, hints: Mapping[str, Json]) -> None:
        """`name` is the server's own for it."""
        self.spec, self.source = spec, f"mcp {connection.name}"
        again = hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True
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
            return await self._ask(client, arguments, key)
        except MCPError as error:
            unheard = error.code == INVALID_REQUEST and "Session terminated" in error.message  # it has started anew
            if unheard or (error.code, error.message) == _LOST:
                self._connection.lose(client)
                raise _Lost(unheard) from error
            raise ToolFailed(f"{self.spec.name}: {error.message}", tool=self.spec.name) from error
        except (RuntimeError, ValueError) as error:  # it did not answer as the protocol says
            raise ToolFailed(f"{self.spec.name}: {error}", tool=self.spec.name) from error

    async def _ask(self, client: Client, arguments: dict[str, Json], key: str) -> Json:
        result = await client.call_tool(self._name, arguments, meta=cast(Any, {KEY: key}))
        return _result(self.spec.name, result)


_LOST = CONNECTION_CLOSED, "Connection closed"
"""What the SDK says itself: servers have the same code for whatever goes wrong with them."""


class _Resources(MCPTool):
    async def _ask(self, client: Client, arguments: Mapping[str, Json], key: str) -> Json:
        listed, more = await client.list_resources(), await client.list_resource_templates()
        found = [_plainly(each, "uri", "name", "description", "mimeType", "size") for each in listed.resources]
        made = [_plainly(each, "uriTemplate", "name", "description") for each in more.resource_templates]
        return {"resources": found[:MANY], "templates": made[:MANY]} | _cut(listed.next_cursor or more.next_cursor)


class _Reading(MCPTool):
    async def _ask(self, client: Client, arguments: Mapping[str, Json], key: str) -> Json:
        read = await client.read_resource(str(arguments.get("uri", "")))
        parts = [_part({"type": "resource", "resource": _plainly(each)}) for each in read.contents]
        return parts[0] if len(parts) == 1 else parts


class _Prompts(MCPTool):
    async def _ask(self, client: Client, arguments: Mapping[str, Json], key: str) -> Json:
        listed = await client.list_prompts()
        found = [_plainly(each, "name", "description", "arguments") for each in listed.prompts]
        return {"prompts": found[:MANY]} | _cut(listed.next_cursor)


class _Filled(MCPTool):
    async def _ask(self, client: Client, arguments: Mapping[str, Json], key: str) -> Json:
        given = {name: str(value) for name, value in (arguments.get("arguments") or {}).items() if value is not None}
        filled = await client.get_prompt(str(arguments.get("name", "")), given)
        return [{"role": each.role, "content": _part(_plainly(each.content))} for each in filled.messages]


def _taking(name: str, description: str, required: Sequence[str] = (), /, **properties: Json) -> dict[str, Json]:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": {"readOnlyHint": True}}


_WORD = {"type": "string"}
BESIDE: tuple[tuple[str, dict[str, Json], type[MCPTool]], ...] = (
    ("resources", _taking("list_resources", "The resources that there are, and templates of their URIs."), _Resources),
    ("resources", _taking("read_resource", "Read a resource by its URI.", ["uri"], uri=_WORD), _Reading),
    ("prompts", _taking("list_prompts", "The prompts that can be filled in, and what each takes."), _Prompts),
    (
        "prompts",
        _taking("get_prompt", "Fill in a prompt: its messages are what to do.", ["name"], name=_WORD,
                arguments={"type": "object", "additionalProperties": _WORD}),
        _Filled,
    ),
)  # fmt: skip
"""Tools beside a server's own, where it has resources or prompts: for what, as it would list them, what they are."""


def _plainly(value: Any, *fields: str) -> dict[str, Json]:
    told: dict[str, Json] = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: told[name] for name in fields if name in told} if fields else told


def _cut(more: str | None) -> dict[str, Json]:
    return {"left_out": f"it has more than these; at most {MANY} are shown"} if more else {}


class _Lost(Exception):
    """The connection ended before the answer came; `unheard`: and surely before the request was read."""

    def __init__(self, unheard: bool) -> None:
        super().__init__("the connection was lost")
        self.unheard = unheard


class Connection:
    """The connection to a server; its tools are put into `tools` and taken out again as it lists them."""

    def __init__(
        self, name: str, server: MCPServer, tools: dict[str, Tool], folder: Path, state: State, login: Login
    ) -> None:
        """`folder` keeps the last listing and what the server writes to its standard error."""
        self._login = login
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.server, self.state = name, server, state
        self._tools, self._listing, self._log = tools, folder / f"{name}.json", folder / f"{name}.log"
        self._listed = Listing()
        self._client: Client | None = None
        self._there, self._news, self._over, self._refused = asyncio.Event(), asyncio.Event(), False, False
        with suppress(FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
            self._show(codec.loads(self._listing.read_bytes()))

    async def serve(self) -> None:
        """Stay connected, until cancelled."""
        pause = FIRST
        while True:
            began = time.monotonic()
            try:
                async with AsyncExitStack() as stack:
                    transport = await stack.enter_async_context(self._logged())
                    patience = max(HANDSHAKE if self.server.url else FETCHED, self.server.timeout)
                    client = Client(transport, message_handler=self._heard, read_timeout_seconds=patience)
                    self._over = False
                    await self._stay(await stack.enter_async_context(client))
            except Exception as error:  # whatever a server does, it is tried again
                self.state.failed(self._why(error))
                log.warning("MCP server %s: %s", self.name, self.state.trouble)
            finally:
                self._client = None
                self._there.clear()
            pause = FIRST if time.monotonic() - began > LONGEST else pause
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def client(self) -> Client:
        """The client, once it is connected; raises ToolFailed where that does not succeed."""
        while self._client is None:
            try:
                async with asyncio.timeout(MENDS):
                    await self._there.wait()
            except TimeoutError:
                if self.state.trouble:
                    raise ToolFailed(f"the MCP server {self.name} is not there: {self.state.trouble}") from None
        return self._client

    def _why(self, error: BaseException) -> str:
        """Why it is not there, with the last error that it wrote, or what to do about it."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        text = str(error) or type(error).__name__
        if self.server.url:
            login = self._refused or "redirect handler" in text
            return f"it wants a login; run: llmagent-os tools login {self.name}" if login else text
        wrote = self._log.read_bytes()[-4000:].decode(errors="replace").strip() if self._log.exists() else ""
        lines = wrote.splitlines()
        told = next((line for line in reversed(lines) if "error" in line.lower() and len(line) > len("error:")), "")
        return f"{text}; it wrote: {(told or lines[-1]).strip()[:200]} (all of it: {self._log})" if lines else text

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
            self._refused = False
            async with connected(self.name, self.server, self._login, self._answered) as transport:
                yield self._listed.cleaned(transport)
            return
        given = self._given()
        if self._log.exists() and self._log.stat().st_size > LOG:
            self._log.replace(self._log.with_suffix(".old"))
        with self._log.open("a") as file:
            yield self._listed.cleaned(served(self.server.command, given, file, self._end))

    def _answered(self, status: int) -> None:
        self._refused = status == 401

    def _given(self) -> dict[str, str]:
        """The variables that its command gets: those that are named, out of our own, and those that have a value."""
        values = dict(each.split("=", 1) for each in self.server.env if "=" in each)
        for value in values.values():
            noted(value)
        names = [each for each in self.server.env if "=" not in each]
        return values | {name: value for name in names if (value := os.environ.get(name) or secret(name))}

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
        self._listed.clear()
        cursor = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="refresh")
            cursor = page.next_cursor
            if cursor is None:
                break
        has = client.server_capabilities
        beside = {"resources": has.resources is not None, "prompts": has.prompts is not None}
        listing: dict[str, Any] = {"tools": self._listed.tools, "left_out": self._listed.left_out, **beside}
        self._listing.write_bytes(codec.dumps(listing))
        self._show(listing)
        self.state.well(listing["left_out"])

    def _show(self, listing: Mapping[str, Any]) -> None:
        """Put the listed tools in place of those listed before. A name that is somebody else's stays theirs."""
        source = f"mcp {self.name}"
        for name in [name for name, tool in self._tools.items() if getattr(tool, "source", "") == source]:
            del self._tools[name]
        found: list[tuple[dict[str, Json], type[MCPTool]]] = [(told, MCPTool) for told in listing["tools"]]
        found += [(told, kind) for what, told, kind in BESIDE if listing.get(what)]
        names = called(self.name, [told["name"] for told, _ in found], self._tools)
        for name, (told, kind) in zip(names, found, strict=True):
            spec = ToolSpec(name, told["description"], told["inputSchema"])
            self._tools[name] = kind(self, spec, told["name"], told.get("annotations", {}) | told.get("_meta", {}))


def called(server: str, names: Sequence[str], taken: Container[str]) -> list[str]:
    """What a server's tools are called: `SERVER_TOOL`, in letters that every model's API takes.

    Where several would be called the same, the one that is written so keeps the name, and the others have a mark of
    their own name, which is the same at every start; so has one whose name is taken.
    """
    plain = [shown_name(f"{server}_{name}") for name in names]
    uses, found = Counter(plain), list[str]()
    for shown, name in zip(plain, names, strict=True):
        keeps = shown not in taken and shown not in found and (uses[shown] == 1 or shown == f"{server}_{name}")
        found.append(shown if keeps else told_apart(shown, name))
    return found


def _result(tool: str, result: CallToolResult) -> Json:
    """Data where there is any, else the text; pictures and sounds as files."""
    parts = [_part(content.model_dump(mode="json", by_alias=True, exclude_none=True)) for content in result.content]
    texts = "\n".join(part for part in parts if isinstance(part, str))
    if result.is_error:
        told = texts or (codec.words(result.structured_content) if result.structured_content else "it failed")
        raise ToolFailed(f"{tool}: {told}", tool=tool)
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
