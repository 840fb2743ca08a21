"""A running system over HTTP: requests, streamed answers, and its errors raised as what they were."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from ..core import codec
from ..core.errors import LLMAgentOSError, from_data
from ..core.records import Json

_CONNECT = aiohttp.ClientTimeout(total=None, sock_connect=5)
_LONGEST_EVENT = 16 << 20  # bytes


class NotRunning(LLMAgentOSError):
    """No system answers; the message says how to start one."""


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
        told = codec.loads((data / "server.json").read_bytes())
        return Address(told["url"], key or (data / "key").read_text().strip(), told["pid"])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise not_running(data) from None
    except OSError as error:
        raise NotRunning(f"{error.filename or data} cannot be read: {error.strerror}") from None


def not_running(where: object) -> NotRunning:
    """The error for a system that is not there."""
    return NotRunning(f"no system is running on {where}; start one with: llmagent-os up")


class Client:
    """One system's REST interface. Use it as `async with Client(url, key) as client`.

    Every call raises the server's own error (`core.errors`), or NotRunning where nobody answers.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def __aenter__(self) -> Self:
        # A connection each time: one kept while a person types would be closed by the server as the next line is sent.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            headers=self._headers,
            timeout=_CONNECT,
            read_bufsize=_LONGEST_EVENT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, **query: Any) -> Json:
        """GET and return the JSON answer; `query` values of None are left out."""
        return await self._json("GET", path, query=query)

    async def post(self, path: str, body: Json = None, **query: Any) -> Json:
        """POST JSON and return the JSON answer."""
        return await self._json("POST", path, body, query)

    async def patch(self, path: str, body: Json) -> Json:
        """PATCH with JSON and return the JSON answer."""
        return await self._json("PATCH", path, body)

    async def delete(self, path: str) -> Json:
        """DELETE and return the JSON answer."""
        return await self._json("DELETE", path)

    async def read(self, path: str) -> bytes:
        """GET and return the bytes of the answer."""
        async with self._request("GET", path) as response:
            return await response.read()

    async def events(self, path: str, body: Json, task: str | None = None) -> AsyncGenerator[tuple[str, Json]]:
        """POST and give the server-sent events of the answer as (name, data); `task` is what it is to be called."""
        async with self._request("POST", path, body, task=task) as response:
            async for event in _events(response):
                yield event

    async def follow(self, path: str, **query: Any) -> AsyncGenerator[tuple[str, Json]]:
        """GET and give the server-sent events of an answer that goes on until the system stops, as (name, data)."""
        async with self._request("GET", path, query=query) as response:
            async for event in _events(response):
                yield event

    async def _json(self, method: str, path: str, body: Json = None, query: Any = None) -> Json:
        async with self._request(method, path, body, query) as response:
            data = await response.read()
        return codec.loads(data) if data else None

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: Json = None, query: Any = None, task: str | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        sent = None if body is None else codec.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        headers |= {} if task is None else {"Idempotency-Key": task}
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            async with self._session.request(
                method, self._url + path, data=sent, headers=headers, params=params
            ) as response:
                if response.status >= 400:
                    raise _error(response.status, await response.read())
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise not_running(self._url) from None
        except aiohttp.ClientError as error:
            raise NotRunning(f"{self._url} stopped answering ({error}); look with: llmagent-os doctor") from error


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[tuple[str, Json]]:
    name = "message"
    async for line in response.content:
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, codec.loads(value)


def _error(status: int, body: bytes) -> LLMAgentOSError:
    """The error that the server reports."""
    try:
        return from_data(codec.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return LLMAgentOSError(f"the server answered {status}: {body.decode(errors='replace')[:300]}")
