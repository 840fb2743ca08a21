"""A running system over HTTP: requests, streamed answers, and its errors raised as what they were.

Written on asyncio alone: most commands ask one thing and end, and a library for clients takes longer to import than
that takes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode, urlsplit

import httptools

from ..core import plain
from ..core.errors import InvalidRequest, LLMAgentOSError, from_data

if TYPE_CHECKING:
    from ..core.records import Json  # only a name: who asks a system need not import its records

_CONNECT = 5.0  # seconds
_PIECE = 1 << 16  # bytes read at once
_PLAIN = "/?&=%:@!$'()*+,;~"  # characters of a path and query that stand for themselves


class NotRunning(LLMAgentOSError):
    """No system answers; the message says how to start one."""


class Lost(NotRunning):
    """A system answered, and does not any more; whether it did what it was asked is not known."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a system listens, its key, and its process id."""

    url: str
    key: str
    pid: int


def find(data: Path, key: str | None = None) -> Address:
    """The system that runs on a data folder, as far as its files tell; raises NotRunning where there is none.

    Its key is the owner's, unless another one is given.
    """
    try:
        told = plain.loads((data / "server.json").read_bytes())
        return Address(told["url"], key or (data / "key").read_text().strip(), told["pid"])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise not_running(data) from None
    except OSError as error:
        raise NotRunning(f"{error.filename or data} cannot be read: {error.strerror}") from None


def not_running(where: object) -> NotRunning:
    """The error for a system that is not there."""
    return NotRunning(f"no system is running on {where}; start one with: llmagent-os up")


class _Told:
    """What the parser tells of an answer; see `httptools`."""

    def __init__(self) -> None:
        self.headed = self.bounded = self.ended = False
        self.body: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.bounded |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.ended = True


class _Answer:
    """An HTTP answer that comes in; its body is read once."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader, self._told = reader, _Told()
        self._parser = httptools.HttpResponseParser(self._told)

    async def status(self) -> int:
        """The status, once the head is there."""
        while not self._told.headed:
            await self._more()
        return self._parser.get_status_code()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body as it comes."""
        told = self._told
        while told.body or not told.ended:
            if not told.body:
                await self._more()
            here, told.body = told.body, []
            for piece in here:
                yield piece

    async def body(self) -> bytes:
        """All of the body."""
        return b"".join([piece async for piece in self.pieces()])

    async def lines(self) -> AsyncGenerator[str]:
        """The body by its lines, as they come."""
        parts: list[bytes] = []
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                *whole, rest = piece.split(b"\n")
                for line in whole:
                    yield b"".join([*parts, line]).decode()
                    parts.clear()
                parts.append(rest)

    async def _more(self) -> None:
        data = await self._reader.read(_PIECE)
        if data:
            self._parser.feed_data(data)
        elif self._told.headed and not self._told.bounded:  # such an answer goes on until the connection ends
            self._told.ended = True
        else:
            raise ConnectionResetError("the connection was closed")


class Client:
    """One system's REST interface. Use it as `async with Client(url, key) as client`.

    Every call has a connection of its own: one kept while a person types would be closed by the server as the next line
    is sent. It raises the server's own error (`core.errors`), or NotRunning where nobody answers.
    """

    def __init__(self, url: str, key: str) -> None:
        """Raises InvalidRequest for what is no URL of a system."""
        self._url = url.rstrip("/")
        try:
            parts = urlsplit(self._url)
            self._port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise InvalidRequest(f"{url} is no URL: {error}", parameter="url") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest(f"{url} is no URL of a system; it is like http://127.0.0.1:8080", parameter="url")
        self._host, self._path, self._secure = parts.hostname, parts.path, parts.scheme == "https"
        named = parts.netloc.rpartition("@")[2]
        self._head = f"Host: {named}\r\nAuthorization: Bearer {key}\r\nAccept: */*\r\nConnection: close\r\n"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def get(self, path: str, **query: Any) -> Json:
        """GET and return the JSON answer; `query` values of None are left out."""
        return await self._json("GET", path, query=query)

    async def post(self, path: str, body: Json = None, **query: Any) -> Json:
        """POST JSON and return the JSON answer."""
        return await self._json("POST", path, body, query)

    async def put(self, path: str, body: Json | bytes, **query: Any) -> Json:
        """PUT JSON, or bytes as they are, and return the JSON answer."""
        return await self._json("PUT", path, body, query)

    async def patch(self, path: str, body: Json) -> Json:
        """PATCH with JSON and return the JSON answer."""
        return await self._json("PATCH", path, body)

    async def delete(self, path: str, **query: Any) -> Json:
        """DELETE and return the JSON answer."""
        return await self._json("DELETE", path, query=query)

    async def read(self, path: str, **query: Any) -> bytes:
        """GET and return the bytes of the answer."""
        async with self._request("GET", path, query=query) as answer:
            return await answer.body()

    async def events(self, path: str, body: Json, task: str | None = None) -> AsyncGenerator[tuple[str, Json]]:
        """POST and give the server-sent events of the answer as (name, data); `task` is what it is to be called."""
        async with self._request("POST", path, body, task=task) as answer:
            async for event in _events(answer):
                yield event

    async def follow(self, path: str, **query: Any) -> AsyncGenerator[tuple[str, Json]]:
        """GET and give the server-sent events of an answer that goes on until the system stops, as (name, data)."""
        async with self._request("GET", path, query=query) as answer:
            async for event in _events(answer):
                yield event

    async def _json(self, method: str, path: str, body: Json | bytes = None, query: Any = None) -> Json:
        async with self._request(method, path, body, query) as answer:
            data = await answer.body()
        return plain.loads(data) if data else None

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: Json | bytes = None, query: Any = None, task: str | None = None
    ) -> AsyncIterator[_Answer]:
        reader, writer = await self._connected()
        try:
            writer.write(self._asked(method, path, body, query, task))
            await writer.drain()
            answer = _Answer(reader)
            if (status := await answer.status()) >= 300:
                raise _error(status, await answer.body())
            yield answer
        except (OSError, httptools.HttpParserError) as error:
            raise Lost(f"{self._url} stopped answering ({error}); look with: llmagent-os doctor") from error
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secure = ssl.create_default_context() if self._secure else None
        try:
            async with asyncio.timeout(_CONNECT):
                return await asyncio.open_connection(self._host, self._port, ssl=secure)
        except ssl.SSLError as error:
            raise NotRunning(f"{self._url} cannot be talked to in private: {error.reason or error}") from None
        except (OSError, TimeoutError, UnicodeError):  # the last: a name that no host can have
            raise not_running(self._url) from None

    def _asked(self, method: str, path: str, body: Json | bytes, query: Any, task: str | None) -> bytes:
        """A request as it is sent."""
        if wanted := {name: value for name, value in (query or {}).items() if value is not None}:
            path += ("&" if "?" in path else "?") + urlencode(wanted, doseq=True)
        sent = body if isinstance(body, bytes) else b"" if body is None else plain.dumps(body)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        about = f"Content-Length: {len(sent)}\r\n" if sent or method != "GET" else ""
        about += f"Content-Type: {kind}\r\n" if body is not None else ""
        about += f"Idempotency-Key: {quote(task, _PLAIN)}\r\n" if task is not None else ""
        head = f"{method} {quote(self._path + path, _PLAIN)} HTTP/1.1\r\n{self._head}{about}\r\n"
        return head.encode() + sent


async def _events(answer: _Answer) -> AsyncGenerator[tuple[str, Json]]:
    name = "message"
    async with aclosing(answer.lines()) as lines:
        async for line in lines:
            field, _, value = line.rstrip("\r").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, plain.loads(value)


def _error(status: int, body: bytes) -> LLMAgentOSError:
    """The error that the server reports."""
    try:
        return from_data(plain.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return LLMAgentOSError(f"the server answered {status}: {body.decode(errors='replace')[:300]}")
