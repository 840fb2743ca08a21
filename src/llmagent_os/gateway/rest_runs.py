"""REST: a run of a flow as it goes, as server-sent events that a client can take up again after a break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..core import codec, rows
from ..core.records import Json
from ..core.rows import Row
from ..flow.trace import Trace
from ..kernel.journal import Journal
from ..kernel.process import Process
from .desk import Desk
from .rest_events import Stream, Wanted

SHOWN = ("node", "label", "state", "pid", "began", "ended", "error")


async def rows_of(journal: Journal, pid: int, after: int = 0) -> list[Row]:
    """The finished calls of a process, read in a thread on a connection of its own; raises JournalDamaged.

    Never on the kernel's: while a thread reads there, whoever else does sees the journal as it was before, and a
    process that is started meanwhile would miss its own first message.
    """
    return rows.read(await asyncio.to_thread(journal.store.scan, "call.after", pid, after))


class RunStream(Stream):
    """A run's rows as events after the one `last`, each with its row's number as `id`; at its end how it was `told`."""

    def __init__(self, here: Desk, process: Process, heartbeat: float, last: int, told: Callable[[], Json]) -> None:
        super().__init__(here, Wanted(heartbeat=heartbeat), 0)
        self._process, self._last, self._told = process, last, told
        self._read, self._over, self._journal = 0, False, here.system.kernel.journal
        self._trace = Trace((), self._journal.unpack)

    def _goes_on(self, stopping: asyncio.Future[bool]) -> bool:
        return not self._over and not stopping.done()

    async def _next(self, stopping: asyncio.Future[bool]) -> bytes:
        until = asyncio.get_running_loop().time() + self._wanted.heartbeat
        while (left := until - asyncio.get_running_loop().time()) > 0 and self._goes_on(stopping):
            self._n, self._over = self._feed.last, self._process.life.ended  # before it is read what there is
            found = await self._events()
            if self._over:
                found += b"id: %d\nevent: end\ndata: %s\n\n" % (self._read, codec.dumps(self._told()))
            if found:
                return found
            await self._more(left, stopping)
        return b": alive\n\n"

    async def _events(self) -> bytes:
        """What the rows that were not read yet tell."""
        found = []
        for row in await rows_of(self._journal, self._process.pid, self._read):
            self._read = row.seq
            if (tries := self._trace.take(row)) and row.seq > self._last:
                told = {"nodes": [{name: getattr(each, name) for name in SHOWN} for each in tries]}
                found.append(b"id: %d\nevent: nodes\ndata: %s\n\n" % (row.seq, codec.dumps(told)))
        return b"".join(found)
