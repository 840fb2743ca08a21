"""Small durable facts by space, key and version: agent definitions and what else has to outlive a restart."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..core import codec
from ..core.ports import Store
from ..core.records import Json

NEAR = 100  # rows on each side


class StoredRecords:
    """The `Records` port over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, space: str, key: str, value: Json, version: int = 1) -> None:
        """Write a version of a value; durable when this returns. Raises JournalFull."""
        self._store.write([("record.put", (space, key, version, codec.dumps(value), time.time()))])

    def drop(self, space: str, key: str) -> None:
        """Delete every version of a value."""
        self._store.write([("record.drop", (space, key))])

    def get(self, space: str, key: str) -> tuple[int, Json] | None:
        """The newest version's number and value, or None."""
        rows = self._store.read("record.get", space, key)
        return (rows[0][0], codec.loads(rows[0][1])) if rows else None

    def list(self, space: str, after: str = "", limit: int = -1) -> dict[str, tuple[int, Json]]:
        """The newest version of every value of a space, by key, in order; of `limit` of those after a key."""
        rows = self._store.read("record.list", space, after, limit)
        return {key: (version, codec.loads(value)) for key, version, value in rows}

    def keys(self, space: str) -> Sequence[str]:
        """The keys of a space, without their values."""
        return [key for (key,) in self._store.read("record.keys", space)]

    def near(self, space: str, key: str) -> Sequence[str]:
        """Some keys about one that may not be there, in order; it takes no longer where there are many."""
        rows = [
            *self._store.read("record.before", space, key, NEAR),
            *self._store.read("record.from", space, key, NEAR),
        ]
        return sorted({found for (found,) in rows})
