"""The journal: every syscall's outcome as a row, committed in groups, read back to resume, replay, audit and bill.

Append-only: rows of calls, messages and blobs are never changed, except for a message's "taken" mark and where they are
erased (see `security.privacy`); a process row is the snapshot that keeps replay short. Rows carry a checksum, so a
damaged page is found when it is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import zlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Container, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from ..core import codec, parts
from ..core.errors import InvalidRequest, JournalDamaged, JournalFull, LLMAgentOSError, NotFound
from ..core.ports import Store
from ..core.records import Call

Statement = tuple[str, tuple[Any, ...]]
Committed = Callable[[Sequence[tuple[Any, ...]], bool], None]

INLINE = 1024  # bytes; a larger value is split into parts, which are stored once, compressed, under their hashes
HEAVY = 1 << 16  # bytes; values from here on are packed in a thread
REMEMBERED = 50_000  # names of blobs that are known to be stored
CHECKPOINT_EVERY = 4000  # entries; keeps the write-ahead log at some tens of megabytes


class Row(NamedTuple):
    """One finished call as the journal keeps it; `result` and `error` are packed (see `Journal.unpack`)."""

    pid: int
    seq: int
    turn: int
    name: str
    key: str
    args: bytes
    result: bytes | None
    error: bytes | None
    tenant: str
    principal: str
    labels: str | None  # a JSON list
    origins: str | None  # a JSON list: whose words, that nobody vouches for, are in the result
    outcome: str  # ok, error, cancelled, deadline
    decision: bytes | None  # a JSON object: who answered, and why
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    money: float
    started: float
    seconds: float
    waited: float  # of those seconds, for a turn on an engine
    crc: int
    n: int = 0  # its place in the order of commits, where somebody asked for that

    def intact(self) -> bool:
        """Whether what a resume depends on matches its checksum (CRC-32)."""
        return _crc(self.key, self.args, self.result, self.error) == self.crc


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _hash(name: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise InvalidRequest(f"{name!r} is not a blob's name (32 hexadecimal digits)", parameter="blob")
    return bytes.fromhex(name)


def _crc(key: str, args: bytes, result: bytes | None, error: bytes | None) -> int:
    return zlib.crc32(b"\0".join((key.encode(), args, result or b"", error or b"")))


def listed(texts: Sequence[str]) -> str | None:
    """Labels or origins as a column holds them: each may hold any character, so they are a JSON list."""
    return codec.dumps(texts).decode() if texts else None


ERASED = ("", b"{}", _crc("", b"{}", None, None))
"""The key, arguments and checksum of a row whose content was erased; it has no result and no error."""


class _Commit(asyncio.Future[None]):
    """What a commit becomes. Whoever waits for it may go; it is written all the same, so they hear that first."""

    def cancel(self, msg: Any = None) -> bool:
        """Not possible: who is cancelled while it waits goes on when it is written, or was not."""
        return False


class Journal:
    """Collects statements of one event-loop tick and commits them together.

    With `threaded` the commit runs in a worker thread, so that a disk that takes its time does not stop the loop;
    what arrives meanwhile makes the next group. `committed` is told the values of new rows, in order, and whether
    that is all that can have been committed.
    """

    def __init__(self, store: Store, threaded: bool = False, committed: Committed | None = None) -> None:
        self.store = store
        self.trouble: str | None = None  # why the last commit failed; None once one succeeds again
        self._threaded, self._committed = threaded, committed
        self._long = 0  # how many blocks there are in which a commit may have to wait long
        self._pending: list[tuple[Sequence[Statement], asyncio.Future[None]]] = []
        self._scheduled = False
        self._written = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stored: set[bytes] = set()  # blobs that need not be written again; empty while blobs are collected
        self._sweeps = self._swept = 0  # collections that run, and that have begun

    def append(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        """Queue statements for the next commit; the future ends when they are durable, or with why they are not."""
        loop = asyncio.get_running_loop()
        future = _Commit(loop=loop)
        self._pending.append((statements, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)
        return future

    def _start(self) -> None:
        group, self._pending = self._pending, []
        if not self._threaded and not self._long:
            self._scheduled = False
            self._settle(group, self._commit([statements for statements, _ in group]))
        else:
            self._spawn(self._commit_in_thread(group))
        if len(self._stored) > REMEMBERED:
            self._stored.clear()
        if self._written >= CHECKPOINT_EVERY:
            self._written = 0
            self._spawn(self._checkpoint())

    async def _commit_in_thread(self, group: list[tuple[Sequence[Statement], asyncio.Future[None]]]) -> None:
        outcomes = await asyncio.to_thread(self._commit, [statements for statements, _ in group])
        self._settle(group, outcomes)
        if self._pending:
            asyncio.get_running_loop().call_soon(self._start)
        else:
            self._scheduled = False

    async def _checkpoint(self) -> None:
        try:
            await asyncio.to_thread(self.store.checkpoint)
        except LLMAgentOSError as error:
            self.trouble = error.message

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _commit(self, entries: list[Sequence[Statement]]) -> list[LLMAgentOSError | None]:
        """Commit all entries at once; where that fails, one by one, so that a damaged page stops only who uses it."""
        try:
            self.store.write([statement for entry in entries for statement in entry])
        except JournalFull as error:
            return [error] * len(entries)
        except JournalDamaged as error:
            if len(entries) == 1:
                return [error]
            return [outcome for entry in entries for outcome in self._commit([entry])]
        self._written += len(entries)
        return [None] * len(entries)

    def _settle(
        self, group: list[tuple[Sequence[Statement], asyncio.Future[None]]], outcomes: list[LLMAgentOSError | None]
    ) -> None:
        for (statements, future), error in zip(group, outcomes, strict=True):
            self.trouble = error.message if error else None
            if error is None and not self._sweeps:
                self._stored.update(values[0] for name, values in statements if name == "blob.add")
            if future.cancelled():
                continue
            if error:
                future.set_exception(error)
            else:
                future.set_result(None)
        if self._committed is not None:
            done = [entry for (entry, _), error in zip(group, outcomes, strict=True) if error is None]
            rows = [values for entry in done for name, values in entry if name == "call.add"]
            self._committed(rows, len(done) == len(group))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Commit in a thread for a block in which somebody may hold the store for long."""
        self._long += 1
        try:
            yield
        finally:
            self._long -= 1

    async def drain(self) -> None:
        """Wait until everything queued so far is committed."""
        while self._pending or self._scheduled:
            await asyncio.sleep(0)
        for task in list(self._tasks):
            await task

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
        if sum(len(value or b"") for value in values) < HEAVY:
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
        return made if len(made) <= INLINE else b"#" + bytes.fromhex(keep(made))

    def unpack(self, packed: bytes | None, fetch: parts.Fetch | None = None) -> Any:
        """Decode what `pack` made; raises JournalDamaged or NotFound where a blob of it is damaged or gone."""
        if packed is None:
            return None
        fetch = fetch or self.blob
        data = fetch(packed[1:].hex()) if packed[:1] == b"#" else packed
        return parts.join(data[1:], fetch) if data[:1] == b"@" else codec.loads(data)

    def keep_blob(self, data: bytes, writes: list[Statement], stored: Container[bytes] = ()) -> str:
        """Add a blob to `writes`, unless it is stored, and return its name, the hash of its content."""
        digest = _digest(data)
        if digest not in stored:
            writes.append(("blob.add", (digest, zlib.compress(data, 1))))
        return digest.hex()

    def blob(self, name: str) -> bytes:
        """The content of a blob; raises NotFound, or JournalDamaged where it is not what its name says."""
        rows = self.store.read("blob.get", _hash(name))
        if not rows:
            raise NotFound(f"no blob {name}", kind="blob", name=name)
        try:
            data = zlib.decompress(rows[0][0])
        except zlib.error:
            data = b""
        if _digest(data).hex() != name:
            raise JournalDamaged(f"blob {name} is damaged; restore the journal from a backup")
        return data

    def file(self, name: str, tenant: str, principal: str | None = None) -> bytes:
        """The content of a file that a tool made for a tenant, or for one principal and for all of it; raises NotFound,
        also for what is another's.
        """
        if not self.store.read("file.of", _hash(name), tenant, principal):
            raise NotFound(f"no blob {name}", kind="blob", name=name)
        return self.blob(name)

    def row(
        self, call: Call, turn: int, args: bytes, result: bytes | None, error: bytes | None,
        times: tuple[float, float],
    ) -> Statement:  # fmt: skip
        """The statement that records a finished call; `times` are (started, seconds)."""
        cost = call.cost
        return "call.add", (
            call.pid, call.seq, turn, call.name, call.key, args, result, error, call.tenant, call.principal,
            listed(call.labels), listed(call.origins), call.outcome,
            codec.dumps(call.decision) if call.decision else None,
            cost.input_tokens, cost.output_tokens, cost.cached_tokens,
            cost.money, *times, call.waited, _crc(call.key, args, result, error),
        )  # fmt: skip

    def rows(self, pid: int, after: int = 0) -> list[Row]:
        """The finished calls of a process in order; raises JournalDamaged where a checksum does not hold."""
        rows = [Row(*values) for values in self.store.read("call.after", pid, after)]
        for row in rows:
            if not row.intact():
                text = f"row {row.seq} of process {pid} does not match its checksum"
                raise JournalDamaged(text, pid=pid, seq=row.seq)
        return rows


MARKS = frozenset({"idle", "exit", "stop", "fail", "restart", "configure"})
"""Rows that are not calls but say how a turn ended, or that something changed between turns."""
ENDS = MARKS - {"restart", "configure"}
"""Those that end a turn."""


class History:
    """The calls of an interrupted turn, handed out by key: what a resume or replay answers from."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._by_key: dict[str, deque[Row]] = defaultdict(deque)
        self._cut_off: dict[str, Row] = {}
        self._left = 0
        for row in rows:
            if row.outcome == "cancelled":
                self._cut_off[row.key] = row
            elif row.name not in MARKS:
                self._by_key[row.key].append(row)
                self._left += 1

    def take(self, key: str) -> Row | None:
        """The row of that key, once; None where the call was not finished before."""
        rows = self._by_key.get(key)
        if not rows:
            return None
        self._left -= 1
        return rows.popleft()

    def cut_off(self, key: str) -> Row | None:
        """The row of a call that its caller cancelled: it has no answer."""
        return self._cut_off.get(key)

    def __len__(self) -> int:
        return self._left

    def next(self) -> Row | None:
        """The oldest row that nobody asked for yet: what the program did at this point when it ran first."""
        return min((rows[0] for rows in self._by_key.values() if rows), key=lambda row: row.seq, default=None)
