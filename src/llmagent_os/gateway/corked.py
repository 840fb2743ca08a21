"""One packet an answer: what a connection writes within a turn of the event loop is sent at its end, together.

uvicorn writes an answer's head and body apart. Each write is a system call here and another wake-up at the client;
together they are a third of what a short answer costs.

And kinds of clients that uvicorn has no answer for: those of HTTP/1.0, those that say with the end of their stream
(`nc -N`) that they have asked all they wanted, and those that connect and do not come to the point (see `lobby`).
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ..core import codec
from .lobby import HEAD_SECONDS, Lobby

HEAD_BYTES = 64 << 10  # of a request's first line and headers
LOOK = 0.1  # seconds between looks at whether who ended their stream is still there


class Corked:
    """A transport that gathers writes until the end of the loop's turn; all else is the transport's own."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data = b"".join(self._held)
        self._held.clear()
        if data:
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class OldCycle(RequestResponseCycle):
    """An answer to HTTP/1.0, which knows no chunks: one without a length ends with its connection."""

    _measured = True

    async def send(self, message: Any) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self._measured = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self.chunked_encoding = None if self._measured else False
        elif not self._measured:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a corked transport, and a guest of the lobby while it has no request."""

    def __init__(self, *args: Any, lobby: Lobby, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lobby = lobby
        self._head: int | None = 0  # bytes that came of a head; None once it is whole
        self._came = 0  # bytes of this piece, which the head may be a part of
        self._rests = False

    def connection_made(self, transport: Any) -> None:
        """Called by the loop for each new connection."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]  # it acts as one
        self._lobby.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the connection is closed."""
        self._lobby.leaves(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the loop with what came."""
        if self._rests:
            self._rests = False
            self._lobby.begins(self)
        self._came = len(data)
        super().data_received(data)
        if self._head is not None and self.parser is not None:
            self._head += self._came
            if self._head > HEAD_BYTES:
                self._refuse(431, "the head of the request is too long")

    def on_message_begin(self) -> None:
        """Called by the parser at the first byte of a request."""
        super().on_message_begin()
        self._head = -self._came  # from the next piece on: of this one, most may be of what came before

    def on_headers_complete(self) -> None:
        """Called by the parser once the head of a request is whole; its exchange begins in the loop's next turn."""
        self._head = None
        self._lobby.asked(self)
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = OldCycle
            self.cycle.waiting_for_100_continue = False  # it would not know what that is

    def on_response_complete(self) -> None:
        """Called at the end of an answer."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._rests = True
            self._lobby.rests(self)

    def late(self) -> None:
        """Called by the lobby when no head came in time."""
        self._refuse(408, f"no whole request came within {HEAD_SECONDS:g} s")

    def drop(self) -> None:
        """Called by the lobby when the place is needed."""
        self.transport.abort()

    def _refuse(self, status: int, why: str) -> None:
        """Answer what is no request, and end the connection; while an answer is on its way, only end it."""
        if self.cycle is None or self.cycle.response_complete:
            body = codec.dumps(
                {"error": {"message": why, "type": "invalid_request_error", "param": None, "code": None}}
            )
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Called by the loop when the client has ended its stream. True: it may still wait for an answer.

        Whether it has left altogether does not show before something is sent to it. A byte of urgent data is: who
        waits does not see it in the stream, and of who has left the system learns that nobody is there.
        """
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return None
        connection = self.transport.get_extra_info("socket")
        try:
            with socket.fromfd(connection.fileno(), connection.family, connection.type) as same:
                same.send(b"\0", socket.MSG_OOB)
        except BlockingIOError:  # what is on its way tells as well
            pass
        except OSError:  # nobody is there, or it cannot be found out
            return None
        cycle.keep_alive = False
        looking = select.poll()
        looking.register(connection.fileno(), 0)
        self._look(looking)
        return True

    def _look(self, looking: select.poll) -> None:
        """End the connection if nobody is there any more, else look again soon."""
        if self.cycle.response_complete or self.transport.is_closing():
            return
        if looking.poll(0):  # an error, or hung up on both sides
            self.transport.abort()
        else:
            self.loop.call_later(LOOK, self._look, looking)
