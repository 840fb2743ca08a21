"""The feed: every row of the journal in the order of the commits, for who reads along and stands in nobody's way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from ..core.errors import LLMAgentOSError
from ..core.ports import Store
from .journal import Row

RECENT = 2048  # rows that are handed out from memory: more than are committed while a reader rests
PART = 500  # rows at a time
REST = 0.1  # seconds between two looks of a reader: what came meanwhile is one batch


class Feed:
    """Rows by their number `n`: no number is given twice, and gaps are rows that were deleted.

    Who keeps up is given rows from memory; only who is behind makes the store read them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: deque[Row] = deque(maxlen=RECENT)
        self._waiting: set[asyncio.Future[None]] = set()
        self._sure = True
        self.last = self._newest()

    def _newest(self) -> int:
        return int(self._store.read("call.newest")[0][0])

    def committed(self, rows: Iterable[tuple[Any, ...]], sure: bool = True) -> None:
        """Take in the values of rows that were just committed, in their order, and wake who waits for more.

        Not `sure`: beside them something failed, and whether that had an effect only the store can say.
        """
        for values in rows:
            self.last += 1
            self._recent.append(Row._make((*values, self.last)))
        self._sure = self._sure and sure
        if not self._sure:
            self._recover()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def _recover(self) -> None:
        try:
            last = self._newest()
        except LLMAgentOSError:  # the store has not recovered yet; the next commit asks again
            return
        if last != self.last:
            self._recent.clear()
        self.last, self._sure = last, True

    def after(self, n: int, limit: int = PART) -> Sequence[Row]:
        """The rows that come after number `n`, oldest first, at most `limit`."""
        recent = self.recent(n, limit)
        if recent is not None:
            return recent
        return [Row._make((*values, number)) for number, *values in self._store.read("call.feed", n, limit)]

    def recent(self, n: int, limit: int = PART) -> Sequence[Row] | None:
        """The same from memory, or None where it no longer holds them all."""
        new = max(0, self.last - n)
        if new > len(self._recent):
            return None
        return list(islice(reversed(self._recent), new))[: -limit - 1 : -1]

    def forget(self) -> None:
        """Hold no rows in memory any more, for some of them were erased."""
        self._recent.clear()

    async def beyond(self, n: int) -> None:
        """Wait until there are rows after number `n`."""
        while self.last <= n:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)


class FeedReader:
    """Hands every row from now on to `take`, once and in order: in batches while it runs, and when asked to."""

    def __init__(self, feed: Feed, take: Callable[[Sequence[Row]], object]) -> None:
        self._feed, self._take = feed, take
        self.n = feed.last

    def catch_up(self) -> None:
        """Take in what was committed so far."""
        while rows := self._part():
            self._take(rows)

    def _part(self) -> Sequence[Row]:
        rows = self._feed.after(self.n)
        self.n = rows[-1].n if rows else max(self.n, self._feed.last)
        return rows

    async def run(self) -> None:
        """Read along until cancelled."""
        while True:
            await self._feed.beyond(self.n)
            await asyncio.sleep(REST)
            while rows := self._part():
                self._take(rows)
                await asyncio.sleep(0)  # the calls go first
