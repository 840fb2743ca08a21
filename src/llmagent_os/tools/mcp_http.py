"""MCP servers over HTTP: what they answer is bounded, and what is too long ends the call and nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Transport, streamable_http
from mcp.client.streamable_http import streamable_http_client
from mcp.types import INTERNAL_ERROR

from ..core import codec
from ..core.secrets import secret
from .mcp_login import Login
from .mcp_stdio import LARGEST, messages
from .settings import MCPServer

vars(streamable_http)["jsonrpc_message_adapter"] = messages  # its own holds up everything for a second at LARGEST bytes
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@asynccontextmanager
async def connected(
    name: str, server: MCPServer, login: Login, answered: Callable[[int], None]
) -> AsyncIterator[Transport]:
    """A transport to a server by its URL. `answered` is told the status of each answer."""
    token = secret(server.key_env)
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})

    async def bounded(response: httpx2.Response) -> None:
        answered(response.status_code)
        packed = response.headers.pop("Content-Encoding", "identity") != "identity"
        events = response.headers.get("Content-Type", "").startswith("text/event-stream")
        response.stream = Bounded(response.stream, _asked(response.request), events, packed)

    hooks, timeout = {"response": [bounded]}, httpx2.Timeout(30, read=300)
    auth = None if token else await login.auth(server.url)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout, event_hooks=hooks, auth=auth) as http:
        yield streamable_http_client(server.url, http_client=http, max_sse_event_size=LARGEST + (1 << 20))


class Bounded(httpx2.AsyncByteStream):
    """An answer, or each event of one: in place of what is longer than LARGEST the request is told so."""

    def __init__(self, stream: Any, request: Any, events: bool, packed: bool) -> None:
        """`request` is the id that is answered, None where there is none; `packed`: it cannot be read at all."""
        self._stream, self._request, self._events, self._packed = stream, request, events, packed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes, by events, or all at once."""
        if self._packed:
            yield self._error("it answered with compressed data, which it was asked not to do")
            return
        pieces = Events() if self._events else Whole()
        async for piece in self._stream:
            for found in pieces.feed(piece):
                yield self._error(f"it answered with more than {LARGEST} bytes") if found is None else found
                if found is None and not self._events:
                    return
        yield pieces.rest()

    def _error(self, text: str) -> bytes:
        """An answer that says so; nothing where nobody asked."""
        if self._request is None:
            return b""
        told = {"jsonrpc": "2.0", "id": self._request, "error": {"code": INTERNAL_ERROR, "message": text}}
        return b"event: message\ndata: " + codec.dumps(told) + b"\n\n" if self._events else codec.dumps(told)

    async def aclose(self) -> None:
        """End it."""
        await self._stream.aclose()


class Events:
    """Events out of pieces, in time that grows with them; None, once, for one of more than `most` bytes."""

    def __init__(self, most: int = LARGEST) -> None:
        self._most, self._pieces, self._size, self._tail = most, list[bytes](), 0, b""

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """The events that end in a piece, each with its end."""
        data, at = self._tail + data, 0
        for end in _END.finditer(data):
            yield from self._add(data[at : end.end()])
            if self._size <= self._most:
                yield b"".join(self._pieces)
            self._pieces, self._size, at = [], 0, end.end()
        keep = max(at, len(data) - 3)  # an end may lie across pieces
        yield from self._add(data[at:keep])
        self._tail = data[keep:]

    def rest(self) -> bytes:
        """What comes after the last end."""
        return b"".join(self._pieces) + self._tail if self._size <= self._most else b""

    def _add(self, piece: bytes) -> Iterator[None]:
        before, self._size = self._size, self._size + len(piece)
        if self._size <= self._most:
            self._pieces.append(piece)
        elif before <= self._most:
            self._pieces = []
            yield None


class Whole:
    """One document out of pieces; None for one of more than `most` bytes."""

    def __init__(self, most: int = LARGEST) -> None:
        self._most, self._pieces, self._size = most, list[bytes](), 0

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Nothing, until it is too long."""
        self._size += len(data)
        if self._size > self._most:
            yield None
        self._pieces.append(data)

    def rest(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


def _asked(request: httpx2.Request) -> Any:
    """The id of the call in a request."""
    try:
        told = codec.loads(request.content)
    except (httpx2.StreamError, ValueError):  # none, or what is no call
        return None
    return told.get("id") if isinstance(told, dict) else None
