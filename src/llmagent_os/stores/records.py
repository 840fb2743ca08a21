"""Small durable facts by space, key and version: agent definitions and what else has to outlive a restart."""

from __future__ import annotations

import time

from ..core import codec
from ..core.ports import Store
from ..core.records import Json


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

    def list(self, space: str) -> dict[str, tuple[int, Json]]:
        """The newest version of every value of a space, by key."""
        return {key: (version, codec.loads(value)) for key, version, value in self._store.read("record.list", space)}
