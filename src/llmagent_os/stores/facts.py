"""Small durable facts by space, key and version: agent definitions and what else has to outlive a restart."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..core import codec
from ..core.ports import Store
from ..core.records import Json

NEAR = 100  # rows on each side

Statement = tuple[str, tuple[Any, ...]]
Append = Callable[[Sequence[Statement]], Awaitable[None]]
"""Queues statements for the next commit and says when they are durable: the journal's `append`."""


@dataclass(frozen=True, slots=True, eq=False)
class Queued:
    """A write on its way: `data` is the encoded value of a version, None where the record is dropped."""

    version: int
    data: bytes | None
    done: asyncio.Future[None]


class StoredFacts:
    """The `Facts` port over a store: writes go with the journal's next commit, whoever reads sees them at once."""

    def __init__(self, store: Store, append: Append) -> None:
        self._store, self._append = store, append
        self._queued: defaultdict[str, dict[str, Queued]] = defaultdict(dict)  # by space

    def put(self, space: str, key: str, value: Json, version: int = 1) -> Awaitable[None]:
        """See `core.ports.Facts`."""
        statement = self.written(space, key, value, version)
        return self._queue(space, key, version, statement[1][3], statement)

    def drop(self, space: str, key: str) -> Awaitable[None]:
        """See `core.ports.Facts`."""
        return self._queue(space, key, 0, None, self.dropped(space, key))

    def written(self, space: str, key: str, value: Json, version: int = 1) -> Statement:
        """See `core.ports.Facts`."""
        return "record.put", (space, key, version, codec.dumps(value), time.time())

    def dropped(self, space: str, key: str) -> Statement:
        """See `core.ports.Facts`."""
        return "record.drop", (space, key)

    def _queue(self, space: str, key: str, version: int, data: bytes | None, statement: Statement) -> Awaitable[None]:
        queued = self._queued[space]
        before = queued.get(key)
        other_kind = before is not None and (before.data is None) != (data is None)
        done = asyncio.ensure_future(self._write(statement, before.done if before and other_kind else None))
        mine = queued[key] = Queued(version, data, done)

        def settled(done: asyncio.Future[None]) -> None:
            _ = done.cancelled() or done.exception()  # for who does not wait
            if queued.get(key) is mine:
                del queued[key]

        done.add_done_callback(settled)
        return done

    async def _write(self, statement: Statement, before: asyncio.Future[None] | None) -> None:
        """Write one, after one of another kind: within a commit those of a kind are together."""
        if before is not None:
            await asyncio.wait([before])
        await self._append([statement])

    def get(self, space: str, key: str) -> tuple[int, Json] | None:
        """The newest version's number and value, or None."""
        queued = self._queued.get(space, {}).get(key)
        if queued is not None:
            return None if queued.data is None else (queued.version, codec.loads(queued.data))
        rows = self._store.read("record.get", space, key)
        return (rows[0][0], codec.loads(rows[0][1])) if rows else None

    def list(self, space: str, after: str = "", limit: int = -1) -> dict[str, tuple[int, Json]]:
        """The newest version of every value of a space, by key, in order; of `limit` of those after a key."""
        queued = {key: (each.version, each.data) for key, each in self._queued.get(space, {}).items() if key > after}
        wanted = limit if limit < 0 else limit + len(queued)  # some of them may be dropped
        rows = self._store.read("record.list", space, after, wanted)
        found = {key: (version, data) for key, version, data in rows} | queued
        if queued:
            found = dict(sorted(found.items()))
        values = {key: (version, codec.loads(data)) for key, (version, data) in found.items() if data is not None}
        return values if limit < 0 else dict(islice(values.items(), limit))

    def keys(self, space: str) -> Sequence[str]:
        """The keys of a space, without their values."""
        return self._present(space, self._store.read("record.keys", space))

    def near(self, space: str, key: str) -> Sequence[str]:
        """Some keys about one that may not be there, in order; it takes no longer where there are many."""
        rows = [
            *self._store.read("record.before", space, key, NEAR),
            *self._store.read("record.from", space, key, NEAR),
        ]
        return self._present(space, rows)

    def _present(self, space: str, rows: Sequence[tuple[Any, ...]]) -> Sequence[str]:
        """The keys that were read, less those that are being dropped, and those that are being written."""
        queued = self._queued.get(space, {})
        read = {key for (key,) in rows}
        return sorted({*(read - queued.keys()), *(key for key, each in queued.items() if each.data is not None)})
