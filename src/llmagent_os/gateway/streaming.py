"""One answer as server-sent events, with signs of life while a model reads its prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Protocol

from ..core.errors import LLMAgentOSError
from ..core.records import Chunk, GenerateRequest, Generation
from .answering import Answerers, follow
from .asgi import Exchange, Gone
from .notices import Notes

PULSE = 15.0  # seconds of silence after which a client is shown that the answer is still being worked on


class Wire(Protocol):
    """How an API words the pieces of an answer."""

    def begin(self) -> bytes:
        """The events before the first piece."""

    def piece(self, piece: Chunk | Generation) -> bytes:
        """The events for a piece; a Generation is the last one."""

    def pulse(self) -> bytes:
        """What shows that somebody is still there."""

    def failed(self, error: BaseException) -> bytes:
        """The event that ends an answer which broke off."""


async def stream(
    http: Exchange,
    answerers: Answerers,
    request: GenerateRequest,
    wire: Wire,
    keep: Callable[[], Awaitable[None]] | None = None,
    pulse: float = PULSE,
) -> None:
    """Answer in events. What goes wrong before the first piece is raised, later it is an event.

    `keep` is awaited when the answer is whole, before its last event is sent. Who waits longer than `pulse` seconds for
    the first piece gets the events before it and a sign of life, so an error that comes after that is an event too.
    """
    notes = Notes()
    try:
        async with (
            _pulsing(http, wire, pulse),
            aclosing(follow(answerers, [request], notes.take)) as batches,
        ):
            async for batch in batches:
                begun = b"" if http.started else wire.begin()  # also before a comment
                data = begun + notes.sent() + b"".join(wire.piece(piece) for _, piece in batch)
                if keep is not None and batch and isinstance(batch[-1][1], Generation):
                    await keep()
                await http.events(data)
    except (LLMAgentOSError, TimeoutError) as error:
        if not http.started:
            raise
        await http.events(wire.failed(error))
    await http.end()


@asynccontextmanager
async def _pulsing(http: Exchange, wire: Wire, seconds: float) -> AsyncIterator[None]:
    async def beat() -> None:
        with suppress(Gone):  # whoever sends the answer finds out too
            while True:
                await asyncio.sleep(seconds)
                await http.events((b"" if http.started else wire.begin()) + wire.pulse())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
