"""One packet an answer: what a connection writes within a turn of the event loop is sent at its end, together.

uvicorn writes an answer's head and body apart. Each write is a system call here and another wake-up at the client;
together they are a third of what a short answer costs.

And two kinds of clients that uvicorn has no answer for: those of HTTP/1.0, and those that say with the end of their
stream (`nc -N`) that they have asked all they wanted.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

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
    """uvicorn's protocol over a corked transport."""

    def connection_made(self, transport: Any) -> None:
        """Called by the loop for each new connection."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]  # it acts as one

    def on_headers_complete(self) -> None:
        """Called by the parser once the head of a request is whole; its exchange begins in the loop's next turn."""
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = OldCycle
            self.cycle.waiting_for_100_continue = False  # it would not know what that is

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
