"""Small durable facts by space, key and version: agent definitions, API keys, what has to outlive a restart."""

from __future__ import annotations

import time

from ..core.records import Json
from .journal import Journal, Statement


class Records:
    """Versioned JSON values in the journal's database."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def put(self, space: str, key: str, value: Json, version: int = 1) -> None:
        """Write a version of a value; durable when this returns."""
        writes: list[Statement] = []
        packed = self._journal.pack(value, writes)
        await self._journal.append([*writes, ("record.put", (space, key, version, packed, time.time()))])

    async def drop(self, space: str, key: str) -> None:
        """Delete every version of a value."""
        await self._journal.append([("record.drop", (space, key))])

    def get(self, space: str, key: str) -> tuple[int, Json] | None:
        """The newest version's number and value, or None."""
        rows = self._journal.store.read("record.get", space, key)
        return (rows[0][0], self._journal.unpack(rows[0][1])) if rows else None

    def list(self, space: str) -> dict[str, tuple[int, Json]]:
        """The newest version of every value of a space, by key."""
        rows = self._journal.store.read("record.list", space)
        return {key: (version, self._journal.unpack(value)) for key, version, value in rows}
