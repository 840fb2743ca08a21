"""One HTTP exchange without a framework: read the body, answer whole or in events, notice a client that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.types import Message, Receive, Scope, Send

from ..core import codec
from ..core.records import Json
from .errors import TooLarge

Headers = Iterable[tuple[bytes, bytes]]
T = TypeVar("T")

BODY_LIMIT = 64 * 2**20  # bytes
LONG = 1 << 15  # bytes of a body that is worked on beside the loop
LARGER = f"the body is longer than {BODY_LIMIT >> 20} MiB"
PATIENCE = 30.0  # seconds that a client may take to send the next part of its body, or to read what was sent to it

_JSON = (b"content-type", b"application/json")
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class Gone(Exception):
    """The client closed the connection, or reads too slowly: nobody is there to be answered."""


async def _silent(_: Message) -> None:
    """For an exchange that somebody else answers."""


class Exchange:
    """A request and its answer. Nothing is sent before `json` or the first `events`."""

    __slots__ = ("_patience", "_receive", "_send", "long", "scope", "started", "wrote")

    def __init__(self, scope: Scope, receive: Receive, send: Send = _silent, patience: float = PATIENCE) -> None:
        self.scope = scope
        self.started = False
        self.wrote: Container[str] = ()  # the fields that the client sent, once its body is read
        self.long = False  # whether so much was sent that others have their turn while it is looked at
        self._receive = receive
        self._send = send
        self._patience = patience

    def channels(self) -> tuple[Receive, Send]:
        """What another application needs to answer instead; what it reads is bounded as `body` is."""
        size, reading = 0, True

        async def receive() -> Message:
            nonlocal size, reading
            if not reading:  # whether the client leaves may take as long as it takes
                return await self._receive()
            try:
                message = await self._next()
            except Gone:
                return {"type": "http.disconnect"}
            size += len(message.get("body", b""))
            if size > BODY_LIMIT:
                raise TooLarge(LARGER)
            reading = bool(message.get("more_body"))
            return message

        async def send(message: Message) -> None:
            self.started = True
            await self._send(message)

        return receive, send

    async def body(self) -> bytes:
        """The request's body; raises Gone also for a client that stops sending, or TooLarge."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message["body"])
            size += len(parts[-1])
            if size > BODY_LIMIT:
                raise TooLarge(LARGER)
            if not message.get("more_body"):
                self.long = size > LONG
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def beside(self, work: Callable[[], T]) -> T:
        """What comes of work on what was sent: of a long body in a thread."""
        return await asyncio.to_thread(work) if self.long else work()

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(self._patience):
                return await self._receive()
        except TimeoutError:
            raise Gone from None

    async def json(self, status: int, data: Json, headers: Headers = ()) -> None:
        """Answer with JSON."""
        body = codec.dumps(data)
        self.started = True
        head = [_JSON, (b"content-length", b"%d" % len(body)), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def empty(self, headers: Headers) -> None:
        """Answer with headers alone."""
        self.started = True
        await self._send({"type": "http.response.start", "status": 204, "headers": list(headers)})
        await self._send({"type": "http.response.body", "body": b""})

    async def events(self, data: bytes) -> None:
        """Send server-sent events, complete with their blank lines; raises Gone for a client that does not read."""
        try:
            async with asyncio.timeout(self._patience):
                if not self.started:
                    self.started = True
                    await self._send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise Gone from None

    async def end(self) -> None:
        """Complete an answer of events."""
        await self._send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Cancel the block as soon as the client has left, and raise Gone; the body must have been read."""
        task = asyncio.current_task()
        assert task is not None
        left = False

        async def watch() -> None:
            nonlocal left
            while (await self._receive())["type"] != "http.disconnect":
                pass
            left = True
            task.cancel()

        watching = asyncio.get_running_loop().create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if left and task.uncancel() == 0:
                raise Gone from None
            raise
        finally:
            watching.cancel()
