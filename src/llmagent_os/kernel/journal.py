"""The journal: every syscall's outcome as a row, committed in groups, read back to resume, replay, audit and bill.

Append-only: rows of calls, messages and blobs are never changed, except for a message's "taken" mark and where they are
erased (see `security.privacy`); a process row is the snapshot that keeps replay short. Rows carry a checksum, so a
damaged page is found when it is read.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..core import codec, parts, rows
from ..core.commits import Commits, Statement
from ..core.errors import JournalDamaged, NotFound
from ..core.ports import Store
from ..core.records import Call
from ..core.rows import ENDS, ERASED, MARKS, UNKNOWN, History, Row, crc, listed

__all__ = ["ENDS", "ERASED", "MARKS", "UNKNOWN", "History", "Journal", "Row", "listed"]

Committed = Callable[[Sequence[tuple[Any, ...]], bool], None]

INLINE = 1024  # bytes; a larger value is split into parts, which are stored once, compressed, under their hashes
NAMED = 256  # bytes; what is left of such a value is itself stored so, if it is larger
HEAVY = 1 << 16  # bytes; values from here on are packed in a thread
REMEMBERED = 50_000  # names of blobs that are known to be stored


class Journal:
    """Rows and blobs over a store: `append` commits statements, `row` and `pack` make them, `rows` reads them back.

    `committed` is told the values of new rows, in order, and whether that is all that can have been committed.
    """

    def __init__(self, store: Store, committed: Committed | None = None) -> None:
        self.store = store
        self._committed = committed
        self._commits = Commits(store, self._taken)
        self.append, self.hurry, self.drain = self._commits.append, self._commits.hurry, self._commits.drain
        self._stored: set[bytes] = set()  # blobs that need not be written again; empty while blobs are collected
        self._sweeps = self._swept = 0  # collections that run, and that have begun

    @property
    def trouble(self) -> str | None:
        """Why the last commit failed, or that one takes too long; None once one succeeds again."""
        return self._commits.trouble

    def _taken(self, statements: Sequence[Statement], sure: bool) -> None:
        """Keep in mind what was committed, and tell who reads along."""
        if len(self._stored) > REMEMBERED:
            self._stored.clear()
        if not self._sweeps:
            self._stored.update([values[0] for name, values in statements if name == "blob.add"])
        if self._committed is not None:
            self._committed([values for name, values in statements if name == "call.add"], sure)

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[None]:
        """A block in which blobs that nothing names are collected: whatever is packed meanwhile is written whole."""
        self._sweeps, self._swept = self._sweeps + 1, self._swept + 1
        self._stored.clear()
        try:
            await self.append(())  # and with it everything that relied on what was stored before
            yield
        finally:
            self._sweeps -= 1

    def pack(self, value: Any, writes: list[Statement]) -> bytes:
        """Encode a value for a row; the parts of a large one go to `writes` as blobs and leave their names here."""
        return self._pack(codec.dumps(value), writes, ())

    async def packed(self, writes: list[Statement], *values: bytes | None) -> list[Any]:
        """`pack` for values that are JSON already, to be appended before anything else is awaited.

        Parts that are stored already are not written again; heavy values are packed in a thread.
        """
        longest = max([len(value or b"") for value in values])
        if longest <= INLINE:
            return list(values)
        if longest < HEAVY:
            return [value and self._pack(value, writes, self._stored) for value in values]
        while True:
            swept, made = self._swept, list[Statement]()
            found = [value and await asyncio.to_thread(self._pack, value, made, self._stored) for value in values]
            if swept == self._swept:  # else what it relied on may be gone
                writes += made
                return found

    def _pack(self, data: bytes, writes: list[Statement], stored: Container[bytes]) -> bytes:
        if len(data) <= INLINE:
            return data

        def keep(content: bytes) -> str:
            return self.keep_blob(content, writes, stored)

        made = b"@" + parts.split(data, keep)
        return made if len(made) <= NAMED else b"#" + bytes.fromhex(keep(made))

    def unpack(self, packed: bytes | None, fetch: parts.Fetch | None = None) -> Any:
        """Decode what `pack` made; raises JournalDamaged where a blob of it is damaged or gone."""
        if packed is None:
            return None
        fetch = fetch or self.blob
        try:
            data = fetch(packed[1:].hex()) if packed[:1] == b"#" else packed
            return parts.join(data[1:], fetch) if data[:1] == b"@" else codec.loads(data)
        except NotFound as gone:
            raise JournalDamaged(f"a part of a value is gone: {gone.message}") from gone

    def keep_blob(self, data: bytes, writes: list[Statement], stored: Container[bytes] = ()) -> str:
        """Add a blob to `writes`, unless it is stored, and return its name, the hash of its content."""
        digest = parts.digest(data)
        if digest not in stored:
            writes.append(("blob.add", (digest, parts.pressed(data))))
        return digest.hex()

    def blob(self, name: str) -> bytes:
        """The content of a blob; raises NotFound, or JournalDamaged where it is not what its name says."""
        rows = self.store.read("blob.get", parts.from_name(name))
        if not rows:
            raise NotFound(f"no blob {name}", kind="blob", name=name)
        try:
            data = zlib.decompress(rows[0][0])
        except zlib.error:
            data = b""
        if parts.digest(data).hex() != name:
            raise JournalDamaged(f"blob {name} is damaged; restore the journal from a backup")
        return data

    def file(self, name: str, tenant: str, principal: str | None = None) -> bytes:
        """The content of a file that a tool made for a tenant, or for one principal and for all of it; raises NotFound,
        also for what is another's.
        """
        if not self.store.read("file.of", parts.from_name(name), tenant, principal):
            raise NotFound(f"no blob {name}", kind="blob", name=name)
        return self.blob(name)

    def row(
        self, call: Call, turn: int, args: bytes, result: bytes | None, error: bytes | None,
        times: tuple[float, float],
    ) -> Statement:  # fmt: skip
        """The statement that records a finished call; `times` are (started, seconds)."""
        cost = call.cost  # numbers as the columns give them back: who reads along is to see what the file has
        return "call.add", (
            call.pid, call.seq, turn, call.name, call.key, args, result, error, call.tenant, call.principal,
            listed(call.labels), listed(call.origins or ()), call.outcome,
            codec.dumps(call.decision) if call.decision else None,
            int(cost.input_tokens), int(cost.output_tokens), int(cost.cached_tokens), float(cost.money),
            *times, float(call.waited), crc(call.key, args, result, error),
        )  # fmt: skip

    def rows(self, pid: int, after: int = 0) -> list[Row]:
        """The finished calls of a process in order; raises JournalDamaged where a checksum does not hold."""
        return rows.read(self.store.read("call.after", pid, after))
