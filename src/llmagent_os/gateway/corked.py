"""One packet an answer: what a connection writes within a turn of the event loop is sent at its end, together.

uvicorn writes an answer's head and body apart. Each write is a system call here and another wake-up at the client;
together they are a third of what a short answer costs.

And kinds of clients that uvicorn has no answer for: those of HTTP/1.0, those that offer to go on in HTTP/2 (Java,
JetBrains, `curl --http2`), whose body it loses, those that say with the end of their stream (`nc -N`) that they have
asked all they wanted, and those that connect and do not come to the point (see `lobby`).
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from .lobby import HEAD_SECONDS, Lobby

LOOK = 0.1  # seconds between looks at whether who ended their stream is still there
HEAD = 1 << 16  # bytes: a request that says more of itself before its body is nobody's
_WHY = {
    408: f"no whole request came within {HEAD_SECONDS:g} s",
    431: f"the head of a request has {HEAD >> 10} KiB at most",
}
_OFFERS = frozenset({b"connection", b"upgrade", b"http2-settings"})


def refusal(status: int) -> bytes:
    """The answer to what is no request, after which the connection ends; the status says why."""
    why = _WHY[status].encode()
    head = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(why)
    return STATUS_LINE[status] + head + why


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
    """uvicorn's protocol over a corked transport, with a bound for heads; without a request a guest of the lobby."""

    _bare = 0  # bytes that came in whole pieces since a request, or a part of its body, began
    _rests = False  # whether all that was asked is answered
    _spared = False  # whether it kept its place since its last request, for what had come and was not read
    _dropped = False

    def __init__(self, *args: Any, lobby: Lobby, early: bytes = b"", **options: Any) -> None:
        """`early` is what came before there was a protocol."""
        super().__init__(*args, **options)
        self._lobby, self._early = lobby, early

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the loop for each new connection."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]  # it acts as one
        self._lobby.begins(self)
        if self._early:
            self.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        """Called by the loop with what came: a head without an end is not kept, whoever it is from."""
        if self._rests:
            self._rests = False
            self._lobby.begins(self)
        if self._bare > HEAD:
            self._refuse(431)
            return
        self._bare += len(data)  # unless something begins in it
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _feed(self, data: bytes) -> None:
        """Have the parser read on. An offer to go on in another protocol, which Java's and JetBrains' clients make with

        what they ask, is not taken up: the request is read as if it had not been made, with the body behind it.
        """
        while True:
            try:
                return self.parser.feed_data(data)
            except HttpParserUpgrade as offer:
                data = self._unoffered() + data[offer.args[0] :]

    def _unoffered(self) -> bytes:
        """The head of the present request without its offer, for a parser that knows nothing of it."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise HttpParserError("this is no proxy")
        kept = [each for each in self.headers if each[0] not in _OFFERS]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            kept.append((b"connection", b"close"))
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        lines = (method + b" " + self.url + b" HTTP/" + version, *(name + b": " + value for name, value in kept))
        return b"\r\n".join((*lines, b"", b""))

    def on_message_begin(self) -> None:
        """Called by the parser where a request begins."""
        self._bare = 0
        self._lobby.begins(self)
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Called by the parser for each part of a body."""
        self._bare = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the connection has ended."""
        if not self._dropped:
            self._lobby.leaves(self)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Called by the parser once the head of a request is whole; its exchange begins in the loop's next turn."""
        if self.parser.should_upgrade():
            return  # it comes again, see `_feed`
        self._lobby.asked(self)
        self._spared = False
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = OldCycle
            self.cycle.waiting_for_100_continue = False  # it would not know what that is

    def on_message_complete(self) -> None:
        """Called by the parser once a request is whole."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called at the end of an answer."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._rests = True
            self._lobby.rests(self)

    def late(self) -> None:
        """Called by the lobby when no head came in time."""
        self._refuse(408)

    def drop(self) -> bool:
        """Called by the lobby when the place is needed.

        An answer that is on its way still goes out, and what has come since the loop last looked is read first.
        """
        if not self._spared and self._unread():
            self._spared = True
            self._lobby.begins(self)
            return False
        self._dropped = True
        if self._rests:
            self.transport.close()
        else:
            self.transport.abort()
        return True

    def _unread(self) -> bool:
        looking = select.poll()
        looking.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(looking.poll(0))

    def _refuse(self, status: int) -> None:
        """Answer what is no request, and end the connection; while something is answered, only end it."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        self.transport.write(refusal(status))
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
