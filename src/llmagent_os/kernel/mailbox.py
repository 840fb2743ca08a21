"""Mailboxes: durable messages by box, and who is woken when one comes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection

from ..core.errors import Conflict, NotFound, not_found
from ..core.records import DEFAULT, SHARED, Envelope, owner_of
from .table import ProcessTable


class Mailbox:
    """Finds boxes and wakes who waits at them. `wake` is called with the pid whose box got a message."""

    def __init__(self, table: ProcessTable, wake: Callable[[int], None]) -> None:
        self._table = table
        self._wake = wake
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)

    def address(self, to: int | str, tenant: str = DEFAULT, principal: str = SHARED) -> str:
        """The box for a pid, a box's own name (it has a slash), or a name: of its processes the least busy one.

        Of sessions, those of `principal`. Raises NotFound, also for what is another tenant's, or Conflict for a process
        that has ended.
        """
        if isinstance(to, str) and "/" in to:
            return self._own(to, tenant)
        if isinstance(to, int):
            process = self._table.of(to, tenant)
            if process.life.ended:
                raise Conflict(f"process {to} has ended ({process.reason or process.life.phase})")
            return process.box
        loads = self._table.loads(to, tenant, principal)
        if not loads:
            raise not_found("process", to, self._table.near(to, tenant, principal))
        return self._table.get(min(loads)[-1]).box  # or whoever sends it hears that it cannot be read

    def _own(self, box: str, tenant: str) -> str:
        """A box's name, unless it is another tenant's."""
        kind, _, rest = box.partition("/")
        if kind == "pid" and rest.isdecimal():
            self._table.of(int(rest), tenant)
        elif kind == "task" and owner_of(rest) != tenant:
            raise NotFound(f"no box {box!r}", kind="box", name=box)
        return box

    def notify(self, *boxes: str) -> None:
        """Wake whoever waits at boxes: their processes, and watchers such as a client that waits for an answer."""
        for box in boxes:
            for event in self._watchers.get(box, ()):
                event.set()
            if box.startswith("pid/"):
                self._wake(int(box[4:]))

    async def news(self, boxes: Collection[str]) -> None:
        """Wait until something comes to one of the boxes; `end/PID` is told of the end of a process."""
        event = asyncio.Event()
        for box in boxes:
            self._watchers[box].add(event)
        try:
            await event.wait()
        finally:
            for box in boxes:
                self._watchers[box].discard(event)
                if not self._watchers[box]:
                    del self._watchers[box]

    async def wait(self, box: str, timeout: float | None = None) -> Envelope:
        """The first message of a box, left there; waits for one. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not (found := self._table.messages(box)):
                await self.news((box,))
        return found[0][1]
