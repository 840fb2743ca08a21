"""The journal's rows in SQLite (WAL): one writer, one reader, every statement of the system in two tables below."""

from __future__ import annotations

import itertools
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from ..core.errors import JournalDamaged, JournalFull, LLMAgentOSError

Durability = Literal["crash", "power"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS process(
    pid INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT, program TEXT NOT NULL, args BLOB, state BLOB,
    status TEXT NOT NULL, reason TEXT, result BLOB, tenant TEXT NOT NULL, principal TEXT NOT NULL,
    budget BLOB, supervision BLOB, usage BLOB, upto INTEGER NOT NULL DEFAULT 0, turn INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, nice INTEGER NOT NULL DEFAULT 0, held BLOB);
CREATE INDEX IF NOT EXISTS process_awake ON process(status) WHERE status IN ('running', 'paused');
CREATE INDEX IF NOT EXISTS process_named ON process(tenant, name) WHERE name IS NOT NULL;
CREATE INDEX IF NOT EXISTS process_tenant ON process(tenant, pid);
CREATE INDEX IF NOT EXISTS process_parent ON process(parent) WHERE parent > 0;
CREATE TABLE IF NOT EXISTS call(
    pid INTEGER NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
    args BLOB, result BLOB, error BLOB, tenant TEXT NOT NULL, principal TEXT NOT NULL, labels TEXT, adapter TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, money REAL,
    started REAL NOT NULL, seconds REAL NOT NULL, waited REAL NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY(pid, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commit_order(n INTEGER PRIMARY KEY, pid INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS call_committed AFTER INSERT ON call
    BEGIN INSERT INTO commit_order(pid, seq) VALUES (new.pid, new.seq); END;
INSERT INTO commit_order(pid, seq) SELECT pid, seq FROM call ORDER BY started, pid, seq
    LIMIT iif(EXISTS (SELECT 1 FROM commit_order), 0, -1); -- not WHERE, which would read all of `call` to say no
CREATE TABLE IF NOT EXISTS message(
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, box TEXT NOT NULL, body BLOB NOT NULL, sender TEXT NOT NULL,
    reply_to TEXT, task TEXT, at REAL NOT NULL, taken INTEGER NOT NULL DEFAULT 0, labels TEXT,
    tenant TEXT NOT NULL, principal TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS message_waiting ON message(box, n) WHERE taken = 0;
CREATE TABLE IF NOT EXISTS blob(hash BLOB PRIMARY KEY, data BLOB NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file(hash BLOB NOT NULL, tenant TEXT NOT NULL, PRIMARY KEY(hash, tenant)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record(
    space TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB, at REAL NOT NULL,
    PRIMARY KEY(space, key, version)) WITHOUT ROWID;
"""

PROCESS = "pid, parent, name, program, args, state, status, reason, result, tenant, principal, budget, supervision, "
PROCESS += "usage, upto, turn, created, nice, held"
CALL = "pid, seq, turn, name, key, args, result, error, tenant, principal, labels, adapter, "
CALL += "input_tokens, output_tokens, cached_tokens, money, started, seconds, waited, crc"
MESSAGE = "n, id, box, body, sender, reply_to, task, at, labels, tenant, principal"
NOW = "(julianday('now') - 2440587.5) * 86400"  # seconds since the epoch
LIVING = "status NOT IN ('stopped', 'done')"

_ORDERED = "commit_order AS o {} JOIN call AS c ON c.pid = o.pid AND c.seq = o.seq"
_C = "c." + CALL.replace(", ", ", c.")
EMPTY = "key = ?, args = ?, crc = ?, result = NULL, error = NULL, labels = NULL, principal = ''"
OLD_MESSAGES = "SELECT n FROM message WHERE at < ? AND (taken = 1 OR box >= 'task/' AND box < 'task0') ORDER BY n "
OLD_MESSAGES += "LIMIT 1000"
AGE = "coalesce((SELECT started FROM call WHERE pid = process.pid ORDER BY seq DESC LIMIT 1), created)"
FIRST = "(SELECT {} FROM call WHERE pid = process.pid ORDER BY seq LIMIT 1)"
KEPT = "CASE program WHEN 'service' THEN (SELECT max(seq) FROM call WHERE pid = process.pid) ELSE upto END"
"""The row from which on a process needs its calls."""

WRITES = {
    "process.add": f"INSERT INTO process({PROCESS}) VALUES ({','.join('?' * 19)})",
    "process.status": "UPDATE process SET status = ?, reason = ? WHERE pid = ?",
    "process.park": "UPDATE process SET status=?, state=?, usage=?, upto=?, turn=?, reason=NULL WHERE pid=?",
    "process.end": "UPDATE process SET status = ?, reason = ?, result = ?, usage = ?, upto = ?, turn = ? WHERE pid = ?",
    "process.name": "UPDATE process SET name = ? WHERE pid = ?",
    "process.nice": "UPDATE process SET nice = ? WHERE pid = ?",
    "process.held": "UPDATE process SET held = ? WHERE pid = ?",
    "process.args": "UPDATE process SET args = ?, upto = ? WHERE pid = ?",
    "call.add": f"INSERT INTO call({CALL}) VALUES ({','.join('?' * 20)})",
    "message.add": "INSERT OR IGNORE INTO message(id, box, body, sender, reply_to, task, at, labels, "
    "tenant, principal) VALUES (?,?,?,?,?,?,?,?,?,?)",
    "message.take": "UPDATE message SET taken = 1 WHERE n = ?",
    "blob.add": f"INSERT INTO blob(hash, data, at) VALUES (?, ?, {NOW}) ON CONFLICT DO UPDATE SET at = excluded.at",
    "file.add": "INSERT OR IGNORE INTO file(hash, tenant) VALUES (?, ?)",
    "record.put": "INSERT OR REPLACE INTO record(space, key, version, value, at) VALUES (?,?,?,?,?)",
    "record.drop": "DELETE FROM record WHERE space = ? AND key = ?",
    "erase.calls": f"UPDATE call SET {EMPTY} WHERE tenant = ? AND principal = ?",
    "erase.calls_of": f"UPDATE call SET {EMPTY} WHERE pid IN (SELECT value FROM json_each(?))",
    "erase.messages": "DELETE FROM message WHERE tenant = ? AND principal = ?",
    "erase.messages_of": "DELETE FROM message WHERE box IN (SELECT 'pid/' || value FROM json_each(?))",
    "erase.process": "UPDATE process SET name = NULL, args = 'null', state = NULL, result = NULL, principal = '', "
    "reason = 'erased' WHERE pid IN (SELECT value FROM json_each(?))",
    "retain.calls": "DELETE FROM call WHERE pid = ? AND seq < ? AND started < ?",
    "retain.calls_of": "DELETE FROM call WHERE pid = ?",
    "retain.process": "DELETE FROM process WHERE pid = ?",
    "retain.messages": f"DELETE FROM message WHERE n IN ({OLD_MESSAGES})",
    "retain.records": "DELETE FROM record WHERE (space = 'response' OR space LIKE '%/response') AND at < ?",
    "blob.drop": "DELETE FROM blob WHERE hash = ? AND at <= ?",
    "file.drop": "DELETE FROM file WHERE hash NOT IN (SELECT hash FROM blob)",
}

READS = {
    "process.get": f"SELECT {PROCESS} FROM process WHERE pid = ?",
    "process.list": f"SELECT {PROCESS} FROM process WHERE tenant = ? AND pid > ? ORDER BY pid LIMIT ?",
    "process.count": "SELECT status, count(*) FROM process GROUP BY status",
    "process.awake": "SELECT pid FROM process WHERE status = 'running'",
    "process.named": f"SELECT pid FROM process WHERE tenant = ? AND name = ? AND {LIVING} ORDER BY pid",
    "process.loads": "SELECT pid, (SELECT count(*) FROM message WHERE box = 'pid/' || pid AND taken = 0) FROM process "
    f"WHERE tenant = ? AND name = ? AND {LIVING}",
    "process.names": f"SELECT DISTINCT name FROM process WHERE tenant = ? AND name IS NOT NULL AND {LIVING}",
    "process.like": f"SELECT pid FROM process WHERE tenant = ? AND name >= ? AND name < ? AND {LIVING}",
    "process.children": f"SELECT pid FROM process WHERE parent = ? AND {LIVING} ORDER BY pid",
    "process.children_all": "SELECT pid FROM process WHERE parent = ?",
    "process.last": "SELECT coalesce(max(pid), 0) FROM process",
    "call.after": f"SELECT {CALL} FROM call WHERE pid = ? AND seq > ? ORDER BY seq",
    "call.page": f"SELECT {CALL} FROM call WHERE pid = ? AND seq > ? ORDER BY seq LIMIT ?",
    "call.last": "SELECT coalesce(max(seq), 0) FROM call WHERE pid = ?",
    "audit.after": f"SELECT n, o.pid, o.seq, {_C} FROM {_ORDERED.format('LEFT')} WHERE n > ? ORDER BY n LIMIT ?",
    "audit.last": "SELECT coalesce(max(n), 0) FROM commit_order",
    "audit.waiting": f"SELECT c.pid, c.seq FROM {_ORDERED.format('')} WHERE n > ?",
    "audit.tools": f"SELECT n, {_C} FROM {_ORDERED.format('')} WHERE c.name = 'call' AND c.pid = coalesce(?, c.pid) "
    "ORDER BY n DESC LIMIT ?",
    "audit.row": f"SELECT {CALL} FROM call WHERE pid = ? AND seq = ?",
    "audit.count": "SELECT count(*) FROM call",
    "audit.keys": "SELECT pid, seq FROM call",
    "message.boxes": "SELECT DISTINCT box FROM message WHERE taken = 0 AND box >= 'pid/' AND box < 'pid0'",
    "message.first": f"SELECT {MESSAGE} FROM message WHERE box = ? AND taken = 0 ORDER BY n LIMIT ?",
    "message.unanswered": f"SELECT {MESSAGE} FROM message AS asked WHERE box = ? AND reply_to IS NOT NULL "
    "AND NOT EXISTS (SELECT 1 FROM message WHERE box = asked.reply_to AND taken = 0)",
    "message.count": "SELECT count(*) FROM message WHERE box = ? AND taken = 0",
    "message.get": f"SELECT {MESSAGE} FROM message WHERE id = ?",
    "blob.get": "SELECT data FROM blob WHERE hash = ?",
    "file.of": "SELECT 1 FROM file WHERE hash = ? AND tenant = ?",
    "record.get": "SELECT version, value FROM record WHERE space = ? AND key = ? ORDER BY version DESC LIMIT 1",
    "record.list": "SELECT key, version, value FROM record WHERE space = ? ORDER BY key, version",
    "record.all": "SELECT space, key, value FROM record",
    "person.processes": f"SELECT {PROCESS} FROM process WHERE tenant = ? AND principal = ? AND program != 'service'",
    "person.pids": "SELECT DISTINCT pid FROM call WHERE tenant = ? AND principal = ?",
    "person.calls": f"SELECT {CALL} FROM call WHERE pid = ? AND tenant = ? AND principal = ? ORDER BY seq",
    "person.messages": f"SELECT {MESSAGE} FROM message WHERE tenant = ? AND principal = ? ORDER BY n",
    "erase.pids": "SELECT pid FROM process WHERE tenant = ?1 AND program != 'service' AND (principal = ?2 OR "
    "coalesce(state, x'6e756c6c') != x'6e756c6c' AND pid IN "
    "(SELECT pid FROM call WHERE tenant = ?1 AND principal = ?2))",
    "erase.keys": "SELECT pid, seq FROM call WHERE tenant = ? AND principal = ? "
    "UNION SELECT pid, seq FROM call WHERE pid IN (SELECT value FROM json_each(?))",
    "retain.idle": f"SELECT pid FROM process WHERE status = 'waiting' AND name LIKE '%@%' AND {AGE} < ?",
    "retain.ended": f"SELECT pid FROM process WHERE NOT {LIVING} AND {AGE} < ? AND pid < (SELECT max(pid) FROM process)"
    " AND NOT EXISTS (SELECT 1 FROM process AS child WHERE child.parent = process.pid) LIMIT 100",
    "retain.long": f"SELECT pid, min({KEPT}, {FIRST.format('seq')} + 1000) FROM process "
    f"WHERE {FIRST.format('seq')} < {KEPT} AND {FIRST.format('started')} < ? LIMIT 100",
    "retain.keys": "SELECT pid, seq FROM call WHERE pid = ? AND seq < ? AND started < ?",
    "retain.messages": f"SELECT count(*) FROM ({OLD_MESSAGES})",
    "retain.records": "SELECT count(*) FROM record WHERE (space = 'response' OR space LIKE '%/response') AND at < ?",
}


class SQLiteStore:
    """A `Store` in one SQLite file, or in memory for `path=None`.

    Durability `crash` survives the end of the process at any point (commits reach the operating system);
    `power` also a power cut (every commit waits for the disk). `write` may run in another thread than `read`.
    """

    def __init__(self, path: Path | None = None, durability: Durability = "crash") -> None:
        self._lock = threading.Lock()
        self._writer = _connect(path, durability)
        self._reader = self._writer if path is None else _connect(path, durability)
        self._path = path
        try:
            self._writer.executescript(SCHEMA)
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")  # or the log would grow from crash to crash
        except sqlite3.DatabaseError as error:
            raise _translate(error) from error

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Commit all of `batch` or nothing. Statements of one kind keep their order; kinds go in order of name."""
        with self._lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for name, group in itertools.groupby(sorted(batch, key=_name), key=_name):
                    self._writer.executemany(WRITES[name], (params for _, params in group))
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                if self._writer.in_transaction:
                    self._writer.rollback()
                raise _translate(error) from error

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query from READS."""
        try:
            return self._reader.execute(READS[query], params).fetchall()
        except sqlite3.DatabaseError as error:
            raise _translate(error) from error

    def checkpoint(self) -> None:
        """Move the WAL into the database file without making writers wait; meant for a thread of its own."""
        if self._path is None:
            return
        connection = sqlite3.connect(self._path)
        try:
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
        """Close both connections; SQLite folds the WAL into the file."""
        with self._lock:
            self._reader.close()
            self._writer.close()


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


def _name(statement: tuple[str, tuple[Any, ...]]) -> str:
    return statement[0]


def _connect(path: Path | None, durability: Durability) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # done by `checkpoint`, off the event loop
        connection.execute("PRAGMA busy_timeout = 5000")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _translate(error) from error
    return connection


def _translate(error: sqlite3.Error) -> LLMAgentOSError | sqlite3.Error:
    """Name the two troubles that a caller handles; anything else is ours and stays what it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return JournalFull(f"the journal cannot be written ({error}); free some disk space and send the call again")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return JournalDamaged(
            f"the journal is damaged ({error}); restore it from a backup, or go on without these rows"
        )
    return error
