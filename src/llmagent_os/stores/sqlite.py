"""The journal's rows in SQLite (WAL): one writer, one reader. Tables are in `schema`, statements in `statements`."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from ..core.errors import (
    Conflict,
    InvalidRequest,
    JournalBusy,
    JournalDamaged,
    JournalFull,
    JournalUnavailable,
    LLMAgentOSError,
)
from ..core.ports import Reads, Witness
from .folder import alone, private
from .schema import migrate, outdated
from .statements import READS, WRITES

Durability = Literal["crash", "power"]

PATIENCE = 5.0  # seconds that a write waits for a lock that somebody else holds
LOOK = 0.005  # seconds between two looks whether it is still held
ROW, LAST = "call.add", "SELECT last_insert_rowid()"
READ_BUSY = 0.2  # and a read, which the event loop makes: only at odd moments is there anything to wait for
ERRORS = (sqlite3.Error, OverflowError, UnicodeEncodeError)
"""What SQLite's driver raises; the last two for integers over 63 bits and lone surrogates."""
UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM,
    }
)  # fmt: skip


class SQLiteStore:
    """A `Store` in one SQLite file, or in memory for `path=None`.

    Durability `crash` survives the end of the process at any point (commits reach the operating system);
    `power` also a power cut (every commit waits for the disk). `write` may run in another thread than `read`.
    """

    def __init__(self, path: Path | None = None, durability: Durability = "crash") -> None:
        self.concurrent = path is not None
        self.prompt = path is not None and durability == "crash"
        if path is not None:
            private(path)  # SQLite gives its log the same rights
        self._lock = threading.Lock()
        self._writer = _connect(path, durability, busy=0.0)
        self._reader = self._writer if path is None else _connect(path, durability, busy=READ_BUSY)
        self._path = path
        self.witness: Witness | None = None
        try:
            if path is not None and outdated(self._writer):
                with alone(path.parent):  # an older release may run on it
                    migrate(self._writer, path)
            else:
                migrate(self._writer)
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")  # or the log would grow from crash to crash
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise _translate(error) from error
            raise

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = PATIENCE) -> None:
        """Commit all of `batch` or nothing. Statements of one kind keep their order; kinds go in order of name."""
        kinds: dict[str, list[tuple[Any, ...]]] = {}
        for name, params in batch:
            kinds.setdefault(name, []).append(params)
        if not self._lock.acquire(timeout=patience):
            raise JournalBusy("the journal is being tidied up; try again")
        try:
            self._commit(kinds, patience)
        finally:
            self._lock.release()

    def _commit(self, kinds: Mapping[str, Sequence[tuple[Any, ...]]], patience: float) -> None:
        writer, number = self._writer, None
        rows = kinds.get(ROW, ()) if self.witness is not None else ()
        try:
            self._begin(patience)
            for name in sorted(kinds):
                if len(values := kinds[name]) == 1:
                    done = writer.execute(WRITES[name], values[0])
                else:
                    done = writer.executemany(WRITES[name], values)
                if rows and name == ROW:  # of many, the driver does not say it
                    number = done.lastrowid if len(rows) == 1 else writer.execute(LAST).fetchone()[0]
            writer.execute("COMMIT")
        except ERRORS as error:
            if self.witness is not None and rows:
                self.witness.doubts(rows)
            raise _translate(error) from error
        finally:
            if writer.in_transaction:  # whatever went wrong: the next group begins anew
                writer.rollback()
        if self.witness is not None:
            self.witness.wrote(rows, number or 0, kinds)

    def look(self) -> None:
        """See `core.ports.Witnessed`."""
        if self._lock.acquire(timeout=PATIENCE):
            try:
                self._tell()
            except ERRORS as error:
                raise _translate(error) from error
            finally:
                self._lock.release()

    def _tell(self) -> None:
        if self.witness is not None:
            self.witness.saw(self._writer.execute(READS["call.newest"]).fetchone()[0])

    def _begin(self, patience: float) -> None:
        """Become the one who writes, once whoever is it has ended. The driver's own wait cannot be set for each."""
        until = time.monotonic() + patience
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                left = until - time.monotonic()
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or left <= 0:
                    raise
                time.sleep(min(LOOK, left))
            else:
                return

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query from READS."""
        try:
            return self._reader.execute(READS[query], params).fetchall()
        except ERRORS as error:
            raise _translate(error) from error

    def scan(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query from READS that may take long, on a connection of its own."""
        with self._beside() as connection:
            return connection.execute(READS[query], params).fetchall()

    def another(self) -> Reads:
        """See `core.ports.Store`."""
        return self if self._path is None else _Reader(_connect(self._path, "crash"))

    def checkpoint(self) -> None:
        """Move the WAL into the database file without making writers wait; meant for a thread of its own.

        What services consumed is summed up, so that a start has no more to sum than what came since.
        """
        self.write([("process.sum", ())])
        if self._path is None:
            return
        connection = sqlite3.connect(self._path)
        try:
            connection.execute("PRAGMA busy_timeout = 0")  # waiting for a long reader, it would make writers wait too
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # the bulk, beside running commits
            connection.execute("PRAGMA wal_checkpoint(RESTART)")  # the rest, so that the log starts over
        except sqlite3.DatabaseError as error:
            raise _translate(error) from error
        finally:
            connection.close()

    def collect(self, older: float) -> int:
        """Delete the blobs that nothing refers to and nobody wrote for `older` seconds; returns how many."""
        with self._lock:  # between commits: what is younger than this moment is left alone
            before = time.time() - max(older, 0.0)
            time.sleep(0.005)  # the database counts milliseconds: what is written next is younger in these, too
        with self._beside() as connection:
            used: set[bytes] = set()
            for table, column in REFERENCES:
                for (value,) in connection.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                    used |= _named(value)
            left = list(used)
            while left:  # values that lie in blobs name others
                rows = connection.execute("SELECT data FROM blob WHERE hash = ?", (left.pop(),)).fetchall()
                more = {name for (data,) in rows for name in _named(zlib.decompress(data))} - used
                used |= more
                left += more
            known = connection.execute("SELECT hash FROM blob WHERE at <= ?", (before,)).fetchall()
        gone = [name for (name,) in known if name not in used]
        self.write([*(("blob.drop", (name, before)) for name in gone), ("file.drop", ())])
        return len(gone)

    def purge(self) -> None:
        """Write the file anew without what was deleted, and empty the log. Writers wait meanwhile."""
        with self._lock, self._beside() as connection:
            connection.execute("VACUUM")
            for _ in range(100):  # a reader may be in the way for a moment
                if not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    return
                time.sleep(0.05)
        raise LLMAgentOSError("the journal's log could not be emptied while others read it; erase again later")

    def blobs(self) -> Iterator[bytes]:
        """The content of every blob."""
        with self._beside() as connection:
            for (data,) in connection.execute("SELECT data FROM blob"):
                yield zlib.decompress(data)

    @contextmanager
    def _beside(self) -> Iterator[sqlite3.Connection]:
        """A connection for work in another thread that takes its time; in memory there is only the one."""
        if self._path is None:
            yield self._writer
            return
        with closing(_connect(self._path, "crash")) as connection:
            try:
                yield connection
            except sqlite3.DatabaseError as error:
                raise _translate(error) from error

    def close(self) -> None:
        """Close both connections; SQLite folds the WAL into the file. Left open where a commit never comes back."""
        if self._lock.acquire(timeout=PATIENCE):
            with closing(self._reader), closing(self._writer), suppress(*ERRORS):
                self._lock.release()
                self._tell()
                self.witness = None


class _Reader:
    """A connection that only reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """See `core.ports.Reads`."""
        try:
            return self._connection.execute(READS[query], params).fetchall()
        except ERRORS as error:
            raise _translate(error) from error

    def close(self) -> None:
        """Close it."""
        self._connection.close()


REFERENCES = (
    ("process", "args"), ("process", "state"), ("process", "result"), ("call", "args"), ("call", "result"),
    ("call", "error"), ("message", "body"), ("record", "value"),
)  # fmt: skip
"""Where blobs are named: as the whole of a packed value, or within JSON."""
_HEX = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def _named(value: bytes | str) -> set[bytes]:
    data = value.encode() if isinstance(value, str) else value
    if data[:1] == b"#":
        return {data[1:]}
    return {bytes.fromhex(name.decode()) for name in _HEX.findall(data)}


def _connect(path: Path | None, durability: Durability, busy: float = PATIENCE) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # done by `checkpoint`, off the event loop
        connection.execute(f"PRAGMA busy_timeout = {busy * 1000:.0f}")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _translate(error) from error
    return connection


def _translate(error: Exception) -> Exception:
    """Name the troubles that a caller handles; anything else is ours and stays what it is."""
    if isinstance(error, OverflowError | UnicodeEncodeError) or _untyped(error):
        return InvalidRequest(f"a value cannot be stored ({error})")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return JournalFull(f"the journal cannot be written ({error}); free some disk space and send the call again")
    if code == sqlite3.SQLITE_BUSY:
        return JournalBusy(f"somebody else writes to the journal ({error}); see who, and send the call again")
    if code in UNAVAILABLE:
        return JournalUnavailable(f"the journal cannot be written ({error}); see who holds it, and send the call again")
    if code == sqlite3.SQLITE_CONSTRAINT and "message.body" in str(error):  # see `message.add`
        return Conflict("a message of this id, with other content, is in this box already; send it under another id")
    if code == sqlite3.SQLITE_CONSTRAINT and "record.version" in str(error):  # see `record.add`
        return Conflict("somebody else wrote this version just now; read it, and write what follows from that")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return JournalDamaged(
            f"the journal is damaged ({error}); restore it from a backup, or go on without these rows"
        )
    return error


def _untyped(error: Exception) -> bool:
    """Whether SQLite has no type for a parameter (an error without a code of its own)."""
    return isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError) and "binding parameter" in str(error)
