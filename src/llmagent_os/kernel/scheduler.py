"""Admission of `generate` calls: an explicit limit per engine, and a pure function that picks who goes next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that waits for an engine: what a policy may look at. `arrived` is in seconds of the loop's clock."""

    number: int
    pid: int
    tenant: str
    adapter: str | None
    arrived: float


Policy = Callable[[Sequence[Ticket], int, int], Sequence[Ticket]]
"""`(waiting in order of arrival, running, limit) -> the tickets to admit now`, at most `limit - running` of them."""


def fifo(waiting: Sequence[Ticket], running: int, limit: int) -> Sequence[Ticket]:
    """First come, first served (Silberschatz, Galvin, Gagne: Operating System Concepts, ch. 5)."""
    return waiting[: max(0, limit - running)]


@dataclass(slots=True)
class Queue:
    """One engine's line: who runs, who waits, and what has been served."""

    limit: int
    running: int = 0
    served: int = 0
    waiting: dict[Ticket, asyncio.Future[None]] = field(default_factory=dict)


class Scheduler:
    """Holds a queue per engine and asks the policy whenever a place may be free. An idle place never waits."""

    def __init__(self, policy: Policy = fifo) -> None:
        self.policy = policy
        self.queues: dict[str, Queue] = {}
        self._numbers = 0

    @asynccontextmanager
    async def slot(self, engine: str, limit: int, pid: int, tenant: str, adapter: str | None) -> AsyncIterator[None]:
        """Wait for a place on the engine and hold it for the block. Cancelling while waiting leaves the line."""
        queue = self.queues.setdefault(engine, Queue(limit))
        queue.limit = limit
        if queue.waiting or queue.running >= queue.limit:
            await self._wait(queue, pid, tenant, adapter)
        else:
            queue.running += 1
        try:
            yield
        finally:
            queue.running -= 1
            queue.served += 1
            self._admit(queue)

    async def _wait(self, queue: Queue, pid: int, tenant: str, adapter: str | None) -> None:
        loop = asyncio.get_running_loop()
        self._numbers += 1
        ticket = Ticket(self._numbers, pid, tenant, adapter, loop.time())
        turn = queue.waiting[ticket] = loop.create_future()
        self._admit(queue)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # admitted and cancelled in the same tick: give the place back
                queue.running -= 1
            queue.waiting.pop(ticket, None)
            self._admit(queue)
            raise

    def _admit(self, queue: Queue) -> None:
        if not queue.waiting or queue.running >= queue.limit:
            return
        waiting = [ticket for ticket, turn in queue.waiting.items() if not turn.done()]  # done here: just cancelled
        for ticket in self.policy(waiting, queue.running, queue.limit):
            queue.running += 1
            queue.waiting.pop(ticket).set_result(None)
