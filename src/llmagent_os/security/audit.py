"""The audit log: a hash chain over the journal's rows that lies apart from them, with signed checkpoints.

Every committed row gets a digest of all its columns in `rows.log`, in commit order; each digest is chained to the one
before (after Haber and Stornetta 1991), and at least once a second or 1,000 rows the head of the chain and the number
of rows are signed (Ed25519) in `checkpoints.jsonl`. So `verify` names a row that was changed, taken out or put in, and
notices a tail that was cut. Ed25519 and not a shared secret, so that whoever verifies cannot forge.

The store hands over what it has committed, and a thread does the rest from memory: the door waits for nothing of it,
who changes the file before a row is signed changes nothing of what is signed, and a row that another program put there
is never signed. The newest checkpoint is pinned in another place (see `pins`). What is not promised: rows younger than
the last checkpoint are not covered once the system has crashed; who can write the database, this folder *and* that
place can set all back to an earlier checkpoint, which a copy of a later one elsewhere shows; who has the signing key
can write anything that comes after what is pinned.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..core import codec
from ..core.errors import InvalidRequest, JournalDamaged, LLMAgentOSError, NotFound
from ..core.ports import Store, Witnessed
from ..kernel.feed import Feed
from ..kernel.journal import Journal
from .pins import Pin
from .stamps import GONE, TOLD, Name, Stamp, Stamps, Statements, Thing, changed_by, labels, present

log = logging.getLogger(__name__)

RowKey = tuple[int, int]
"""A row's (pid, seq)."""
Rows = Sequence[tuple[Any, ...]]
"""The values of rows, as the statement `call.add` has them."""

RECORD = struct.Struct(">BQQ32s")
"""One entry of the log: what it is, pid, seq, the row's digest (BLAKE2b-256)."""
OLD_ROW, OLD_AMENDED, ROW, AMENDED, STAMP, LOOSE = range(6)
"""The first two are of rows as schema 1 had them, which `digest` puts together again. The last two are of no row,

but of what rows changed: in place of pid and seq they have the name of a record or process (see `stamps.Stamp`).
"""

MOST = 1000  # rows under one checkpoint
LOOK = 2.0  # seconds between two looks at a journal that nobody should write to now
SOON = 100_000  # entries that are looked through at a stop
RECENT, HOUR = 1000, 3600.0  # checkpoints, and then seconds between two of those that stay
LARGE = 1 << 20  # bytes of checkpoints that have come since they were thinned out
SILENT = ("", "begun", "opened", "closed")
"""Notes of checkpoints that say nothing of interest."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_SAID = 500  # characters of what is said of strangers in one checkpoint
_PART = 100  # rows at a time: a longer stretch would keep the event loop from running
_BLOBS = (5, 6, 7)  # args, result and error among a row's columns


def digest(row: Sequence[Any], old: bool = False) -> bytes:
    """What a row is remembered by: all its columns, those that hold bytes by length and content."""
    pid, seq, turn, name, key, args, result, error, tenant, principal, labels, origins, outcome, decision, *rest = row
    sizes = [len(blob) if type(blob) is bytes else repr(blob) for blob in (args, result, error)]
    if old:
        joined = ",".join(codec.loads(labels)) if labels else None
        judged = [joined, codec.loads(decision)["adapter"] if decision else None]
    else:
        judged = [labels, origins, outcome, decision.decode() if type(decision) is bytes else repr(decision)]
    plain = codec.dumps([pid, seq, turn, name, key, *sizes, tenant, principal, *judged, *rest])
    said = [each for each in (plain, args, result, error) if type(each) is bytes]
    return hashlib.blake2b(b"".join(said), digest_size=32).digest()


def _record(row: Sequence[Any]) -> bytes:
    return RECORD.pack(ROW, row[0], row[1], digest(row))


def _stamped(stamps: Iterable[Stamp]) -> list[bytes]:
    return [RECORD.pack(LOOSE if each.loose else STAMP, *each.name, each.made) for each in stamps]


def _chained(head: bytes, record: bytes) -> bytes:
    return hashlib.blake2b(head + record, digest_size=32).digest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement: the log has `count` entries, ends in `head`, and covers the journal up to commit `last`.

    `at` is in seconds since the epoch, `key` the public key (hex); `note` says what happened other than more rows.
    """

    count: int
    last: int
    head: str
    at: float
    note: str
    key: str
    signature: str = ""

    def body(self) -> bytes:
        """What is signed."""
        return codec.dumps(asdict(replace(self, signature="")))

    def authentic(self) -> bool:
        """Whether the signature is that of its key."""
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key)).verify(
                bytes.fromhex(self.signature), self.body()
            )
        except (InvalidSignature, ValueError):
            return False
        return True


class Log:
    """The folder that the log lies in: entries, checkpoints, and the signing key (only its owner may read it)."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, creating what is not there."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._rows, self._checkpoints, key = (
            folder / name for name in ("rows.log", "checkpoints.jsonl", "signing.key")
        )
        if not key.exists():
            with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(Ed25519PrivateKey.generate().private_bytes_raw())
        self._private = Ed25519PrivateKey.from_private_bytes(key.read_bytes())
        self.key = self._private.public_key().public_bytes_raw().hex()
        self._rows.touch(mode=0o600)
        self._checkpoints.touch(mode=0o600)
        self.last = _last(self._checkpoints)
        self._large = LARGE  # bytes of checkpoints after which they are thinned out

    def append(self, records: Sequence[bytes], last: int, note: str = "") -> None:
        """Add entries and sign what is there now; on disk when this returns. Raises OSError and changes nothing."""
        before = self.last or Checkpoint(0, 0, GONE.hex(), 0.0, "", self.key)
        head = bytes.fromhex(before.head)
        for record in records:
            head = _chained(head, record)
        with self._rows.open("r+b") as file:
            file.seek(before.count * RECORD.size)
            file.truncate()  # what a crash left without a signature
            file.writelines(records)
            _sync(file)
        made = Checkpoint(before.count + len(records), last, head.hex(), round(time.time(), 3), note, self.key)
        made = replace(made, signature=self._private.sign(made.body()).hex())
        with self._checkpoints.open("r+b") as file:
            file.seek(_whole_lines(self._checkpoints))
            file.truncate()
            file.write(codec.dumps(made) + b"\n")
            size = file.tell()
            _sync(file)
        self.last = made
        if size > self._large:
            self._thin()

    @property
    def count(self) -> int:
        """How many entries are signed."""
        return self.last.count if self.last is not None else 0

    def goes_on_from(self, pinned: Checkpoint) -> bool:
        """Whether a checkpoint is one of this log, by this key; takes about a microsecond an entry."""
        if pinned.key != self.key or pinned.count > self.count:
            return False
        head = GONE
        with self._rows.open("rb") as file:
            for number in range(pinned.count):
                head = _chained(head, file.read(RECORD.size))
                if number % MOST == 0:
                    time.sleep(0)  # lets the event loop have its turn
        return head.hex() == pinned.head

    def _thin(self) -> None:
        """Leave out checkpoints that are not needed any more; a crash leaves the file as it was, or as it will be."""
        part = self._checkpoints.with_suffix(".part")
        with self._checkpoints.open("rb") as old, open(os.open(part, _NEW, 0o600), "wb") as new:
            new.writelines(thinned(old))
            self._large = new.tell() + LARGE
            _sync(new)
        part.replace(self._checkpoints)


def thinned(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Of checkpoints, oldest first: the last ones, those that say something, and of the others one an hour.

    Each signs all that came before it, so the log stays as verifiable without those between as it was with them.
    """
    last: deque[bytes] = deque()
    kept = -HOUR
    for line in lines:
        last.append(line)
        if len(last) > RECENT:
            found = parse(line := last.popleft())
            if found.note not in SILENT or abs(found.at - kept) >= HOUR:
                kept = found.at
                yield line
    yield from last


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _whole_lines(path: Path, tail: int = 4096) -> int:
    """The length of a file without a last line that was cut off; a line is shorter than `tail` bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.seek(max(0, size - tail))
        return start + file.read().rfind(b"\n") + 1


def _last(path: Path, tail: int = 4096) -> Checkpoint | None:
    """The last whole checkpoint of a file, without reading the others; None where there is none."""
    with path.open("rb") as file:
        file.seek(max(0, _whole_lines(path) - tail))
        data = file.read(tail)
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    return parse(lines[-1]) if lines else None


def read_checkpoints(folder: Path) -> list[Checkpoint]:
    """The checkpoints of a folder in order; raises InvalidRequest for a line that is none."""
    path = folder / "checkpoints.jsonl"
    data = path.read_bytes() if path.is_file() else b""
    return [parse(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def parse(line: bytes | str) -> Checkpoint:
    """Read a checkpoint; raises InvalidRequest."""
    try:
        return Checkpoint(**codec.loads(line))
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{line[:60]!r} is no checkpoint: {error}", parameter="checkpoint") from error


Told = tuple[int | None, Rows, Statements]
"""Something that the writer said: the number of the first row, rows, and what of processes came with them.

Without a number the rows are in doubt; with a number and no rows it is the next one to be given.
"""
NOTHING: Statements = {}


class Audit:
    """Keeps the log up with the journal: make it before anything is written, `run` it beside, `close` it last.

    What it signs is what its `writer` says that it has written (it is that store's witness), from memory: a row that
    another program puts into the database is not taken in. It is told (`trouble`, a note in the log), and `verify`
    names it.
    """

    def __init__(
        self, store: Store, folder: Path, every: float = 1.0, writer: Witnessed | None = None, pin: Pin | None = None
    ) -> None:
        """Open the log. What was committed after a crash's last checkpoint is taken in, and the log says so;

        what appeared while the system was closed is not, and `verify` will name it. `store` is one over the journal for
        this alone, since it is read from a thread; `every` is in seconds; `pin` keeps the newest checkpoint apart.
        """
        self.store, self._log, self._every = store, Log(folder), every
        self._lock = threading.Lock()  # `amend` may be called while `catch_up` runs
        self._stamps = Stamps(store)
        self._told: deque[Told] = deque()
        self._doubtful: list[tuple[Any, ...]] = []
        self._rows: list[Sequence[Any]] = []  # that have no digest yet
        self._records: list[bytes] = []  # that are not signed yet
        self._strange: list[RowKey] = []
        self._note = ""
        mark = folder / "stamped"  # by a version that stamped nothing there is none
        found = [] if mark.exists() else _stamped(self._stamps.all())
        self._number = self._upto = store.read("call.newest")[0][0]
        at, note = self._opened(self._upto)
        note += f"; {len(found)} records and processes as they were" if found else ""
        self._pins = Pinning(pin, self._log, fresh=not self._upto)
        self._sign(found, at, note + self._pins.note)
        mark.touch(mode=0o600)
        self._writer = writer
        if writer is not None:
            writer.witness = self

    def _opened(self, newest: int) -> tuple[int, str]:
        """Up to which row the log goes, and what is said about that."""
        last = self._log.last
        if last is None:
            return 0, "begun"
        if newest < last.last:
            return newest, f"opened; the journal lacks the last {last.last - newest} rows of the log"
        if last.note != "closed":
            return last.last, f"opened after a crash; {newest - last.last} rows taken in"
        if newest > last.last:
            return newest, f"opened; {newest - last.last} rows appeared while closed, not taken in"
        return newest, "opened"

    # -- what the writer says; see `core.ports.Witness`

    def wrote(self, rows: Rows, last: int, beside: Statements) -> None:
        """These rows were committed under the numbers up to `last`, and beside them what else is stamped."""
        told = NOTHING if TOLD.isdisjoint(beside) else {name: beside[name] for name in TOLD & beside.keys()}
        if rows or told:
            self._told.append((last - len(rows) + 1 if rows else None, rows, told))

    def doubts(self, rows: Rows) -> None:
        """These may have been."""
        self._told.append((None, rows, NOTHING))

    def saw(self, last: int) -> None:
        """The newest row has this number."""
        self._told.append((last + 1, (), NOTHING))

    # -- keeping up

    async def run(self, feed: Feed) -> None:
        """Keep up until cancelled; a full disk is said in the log of the system and tried again.

        Where nothing is written, it is looked now and then whether somebody else has written.
        """
        seen = -1
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await feed.beyond(seen)
            seen = feed.last
            await asyncio.sleep(self._every)
            try:
                await asyncio.to_thread(self._keep_up)
            except (OSError, LLMAgentOSError) as error:
                log.error("the audit log cannot be written (%s); it is tried again", error)

    def _keep_up(self) -> None:
        if self._writer is not None:
            self._writer.look()
        with self._lock:
            self._catch_up()
            self._pins.check()

    @property
    def at(self) -> int:
        """The number of the last row that was taken in."""
        assert self._log.last is not None  # `__init__` wrote one
        return self._log.last.last

    def trouble(self) -> str | None:
        """What is wrong with the journal or the log, as `health` has it, and what to do; None where nothing is."""
        if self._strange:
            return f"somebody else wrote {_named(self._strange)} of the journal; see `llmagent-os audit verify`"
        return self._pins.trouble

    def catch_up(self) -> int:
        """Take in what was committed since; returns how many entries. Raises OSError, JournalDamaged."""
        with self._lock:
            return self._catch_up()

    def _catch_up(self) -> int:
        before = self._log.count
        self._take_old()
        while self._told:
            self._rows += self._sure(*self._told[0])
            self._told.popleft()  # not before: where the file cannot be read now, it is read the next time
            if len(self._rows) >= MOST:
                self._take()
        if self._rows or self._records or self._note or self._number != self.at:
            self._take()
        return self._log.count - before

    def _take_old(self) -> None:
        """Take in what was there before this system wrote anything: of a crash, or of a time without a log."""
        cursor = self.at
        if cursor < self._upto:
            self._records = []  # of a try that failed
        while cursor < self._upto:
            found = [row for row in self.store.read("call.feed", cursor, _PART) if row[0] <= self._upto]
            cursor = found[-1][0] if found else self._upto
            self._digest([row for _, *row in found])
            if len(self._records) >= MOST or cursor == self._upto:
                self._sign(self._records, cursor)
                self._records = []

    def _sure(self, first: int | None, rows: Rows, beside: Statements) -> Rows:
        """The rows of one commit, after those that were in doubt before it; what else has come is a stranger's."""
        self._stamps.told(beside)
        if first is None:
            self._doubtful += rows
            return ()
        between: list[tuple[Any, ...]] = []
        if first > self._number + 1:
            read = self.store.read("call.feed", self._number, first - self._number - 1)
            between = [row[1:] for row in read if row[0] < first]
        ours = [row for row in between if row in self._doubtful]
        strange = [(row[0], row[1]) for row in between if row not in ours]
        gone = max(0, self._number + 1 - first)
        self._number, self._doubtful = first - 1 + len(rows), []
        self._strange += strange
        if strange:
            self._warn(f"somebody else wrote {_named(strange)} of the journal, not taken in")
        if gone:
            self._warn(f"the newest {gone} rows of the journal are gone")
        return [*ours, *rows]

    def _warn(self, text: str) -> None:
        log.error("%s; see `llmagent-os audit verify`", text)
        self._note = f"{self._note}; {text}" if self._note else text
        self._note = self._note[:_SAID]

    def _take(self) -> None:
        """Sign what was told, as it was then, whatever somebody did to the file since."""
        rows, self._rows = self._rows, []
        self._digest(rows)
        self._sign(self._records, self._number, self._note)
        self._records, self._note = [], ""

    def _digest(self, rows: Sequence[Sequence[Any]]) -> None:
        for count, row in enumerate(rows, 1):
            self._records.append(_record(row))
            if count % _PART == 0:
                time.sleep(0)  # lets the event loop have its turn
        self._records += _stamped(self._stamps.of(rows)) if rows else ()

    def _sign(self, records: Sequence[bytes], last: int, note: str = "") -> None:
        self._log.append(records, last, note)
        self._pins.keep()

    def amend(self, keys: Iterable[RowKey], why: str, pids: Iterable[int] = ()) -> None:
        """Sign rows as they are now, changed or deleted, and the processes `pids`: for who may erase, after it has.

        Between the two a crash leaves rows that `verify` names; amending them then mends it.
        """
        with self._lock:
            self._catch_up()
            records = [RECORD.pack(AMENDED, *key, self._present(key)) for key in keys]
            note = f"amended {len(records)} rows: {why}" if records else ""
            self._sign(records + _stamped(self._stamps.again(pids)), self.at, note)

    def _present(self, key: RowKey) -> bytes:
        rows = self.store.read("audit.row", *key)
        return digest(rows[0]) if rows else GONE

    def close(self) -> None:
        """Take in the rest and say that nothing comes after it. The store is the caller's to close."""
        with self._lock:
            self._catch_up()
            self._log.append([], self.at, "closed")
            self._pins.close()


def _named(rows: Sequence[RowKey]) -> str:
    """Rows in words."""
    first = f"row {rows[0][1]} of process {rows[0][0]}"
    return first if len(rows) == 1 else f"{len(rows)} rows, the first of them {first},"


class Pinning:
    """Keeps the newest checkpoint of a log where its folder is not, as long as the log goes on from what was pinned."""

    def __init__(self, pin: Pin | None, chain: Log, fresh: bool) -> None:
        """`fresh`: the journal is empty. That of somebody who began anew is pinned anew, and `note` says so."""
        self._pin, self._log, self._at = pin, chain, 0.0
        self._before = self._read()  # what was pinned, until it is known that the log goes on from there
        self.trouble: str | None = None
        self.note = ""
        if self._before is not None and chain.last is None and fresh:
            self.note = f"; another log of {self._before.count} entries was pinned for this folder before"
            self._before = None

    def _read(self) -> Checkpoint | None:
        try:
            line = self._pin.read() if self._pin is not None else None
            return parse(line) if line is not None else None
        except (OSError, InvalidRequest) as error:
            self._give_up(error)
            return None

    def _give_up(self, error: Exception) -> None:
        log.warning("the audit log is pinned nowhere (%s); keep copies of its checkpoints elsewhere", error)
        self._pin = None

    def check(self, most: float = math.inf) -> None:
        """Find out whether the log goes on from what was pinned: until then, and where not, that stays.

        A log of more than `most` entries is left for another time; each takes a microsecond.
        """
        if self.trouble is not None:
            before, self._before = self._before, self._read()  # somebody may have accepted the log
            if before == self._before:
                return
        if self._before is None or self._pin is None or self._log.count > most:
            self.trouble = None if self._before is None else self.trouble
            return
        if self._log.goes_on_from(self._before):
            self._before = self.trouble = None
            self.keep(0.0)
        else:
            self.trouble = f"the audit log does not go on from what {self._pin.path} says of it: set back or replaced? "
            self.trouble += (
                "See `llmagent-os audit verify`; after a restore of your own `llmagent-os audit pin --accept`"
            )

    def keep(self, every: float = 1.0) -> None:
        """Pin the newest checkpoint, unless that was done in the last seconds (`every`)."""
        now, last = time.monotonic(), self._log.last
        if self._pin is None or self._before is not None or last is None or now - self._at < every:
            return
        try:
            self._pin.write(codec.dumps(last))
            self._at = now
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Pin the last checkpoint."""
        self.check(SOON)
        self.keep(0.0)


Kind = Literal["changed", "missing", "inserted", "cut", "log", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Bad:
    """Something that is not as it was recorded. `cut`: the row and all after it are gone; `log`, `checkpoint`: the

    audit log itself was changed. pid and seq are 0 where no row is meant.
    """

    kind: Kind
    text: str
    pid: int = 0
    seq: int = 0


@dataclass(slots=True)
class Findings:
    """What `verify` found: `bad` in the order of the log, `waiting` rows that no checkpoint covers yet.

    `pinned` says where a checkpoint is kept apart from the folder, if one is.
    """

    key: str
    rows: int = 0
    checkpoints: int = 0
    waiting: int = 0
    pinned: str | None = None
    notes: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)


def verify(
    store: Store, folder: Path, key: str | None = None, copies: Iterable[Checkpoint] = (), patience: float = 0.0
) -> Findings:
    """Hold a journal against its audit log; may run beside the system.

    `key` is the public key (hex) to insist on, `copies` checkpoints that were kept elsewhere, `patience` the seconds
    that a running system is given to sign what there is: what it does not, it did not write. Raises NotFound where
    there is no log.
    """
    checkpoints = _settled(store, folder, patience)
    if not checkpoints:
        raise NotFound(f"there is no audit log in {folder}; a system that runs with one makes it", kind="audit log")
    found = Findings(key or checkpoints[0].key, checkpoints=len(checkpoints))
    found.notes = [each.note for each in checkpoints if each.note not in SILENT]
    found.bad += _unsigned(checkpoints, found.key)
    verifier = _Verifier(store, folder, checkpoints)
    found.bad += verifier.chain(copies)
    found.bad += verifier.rows()
    found.bad += verifier.extra()
    found.bad += verifier.things()
    found.rows, found.waiting = verifier.checked, verifier.waiting
    return found


def _settled(store: Store, folder: Path, patience: float) -> list[Checkpoint]:
    """The checkpoints, once they are about all the rows that there are now, or time is up."""
    until, newest = time.monotonic() + patience, store.read("call.newest")[0][0]
    while True:
        found = read_checkpoints(folder)
        if not found or found[-1].note == "closed" or found[-1].last >= newest or time.monotonic() >= until:
            return found
        time.sleep(0.1)


def _unsigned(checkpoints: Sequence[Checkpoint], key: str) -> Iterator[Bad]:
    for number, each in enumerate(checkpoints, 1):
        if each.key != key:
            yield Bad("checkpoint", f"checkpoint {number} was signed with another key, {each.key}")
        elif not each.authentic():
            yield Bad("checkpoint", f"the signature of checkpoint {number} does not hold")


class _Verifier:
    """One pass over a log and the rows that it is about."""

    def __init__(self, store: Store, folder: Path, checkpoints: Sequence[Checkpoint]) -> None:
        self._store, self._journal, self._last = store, Journal(store), checkpoints[-1]
        self._path, self._checkpoints = folder / "rows.log", checkpoints
        self._amended: dict[RowKey, tuple[bytes, bool]] = {}
        self._sound: set[str] = set()  # blobs that were read, with all that they name
        self._stamped: dict[Name, Stamp] = {}
        self._labels: dict[Name, str] = {}  # of records, as rows call them
        self._there = 0
        self.checked = self.waiting = 0

    def _entries(self) -> Iterator[bytes]:
        """The entries that are signed for."""
        with self._path.open("rb") as file:
            for _ in range(self._last.count):
                entry = file.read(RECORD.size)
                if len(entry) < RECORD.size:
                    return
                yield entry

    def chain(self, copies: Iterable[Checkpoint]) -> Iterator[Bad]:
        """Whether the log is what its checkpoints and their copies say."""
        heads = {each.count: each.head for each in self._checkpoints}
        wanted = {each.count: each.head for each in copies}
        for count in sorted(count for count in wanted if count > self._last.count):
            yield Bad("log", f"the log ends at entry {self._last.count}; a copy of a checkpoint has {count}")
        head, count, good = GONE, 0, 0
        for entry in self._entries():
            head, count = _chained(head, entry), count + 1
            kind, pid, seq, made = RECORD.unpack(entry)
            if kind in (OLD_AMENDED, AMENDED):
                self._amended[pid, seq] = made, kind == OLD_AMENDED
            elif kind in (STAMP, LOOSE):
                self._stamped[pid, seq] = Stamp((pid, seq), made, kind == LOOSE)
            if heads.get(count, head.hex()) != head.hex():
                yield Bad("log", f"entries {good + 1} to {count} of the log are not those that were signed")
                head = bytes.fromhex(heads[count])  # what comes after may be in order
            elif wanted.get(count, head.hex()) != head.hex():
                yield Bad("log", f"the log up to entry {count} is not that of the copied checkpoint")
            good = count if count in heads else good
        if count < self._last.count:
            yield Bad("log", f"the log ends at entry {count}; {self._last.count} were signed")

    def rows(self) -> Iterator[Bad]:
        """The rows that are not as they were; if they are gone up to the end, one `cut`."""
        gone: list[Bad] = []
        for entry in self._entries():
            kind, pid, seq, made = RECORD.unpack(entry)
            if kind not in (OLD_ROW, ROW):
                continue
            bad = self._row((pid, seq), *self._amended.get((pid, seq), (made, kind == OLD_ROW)))
            self.checked += 1
            if bad is not None and bad.kind == "missing":
                gone.append(bad)
                continue
            yield from gone
            gone.clear()
            if bad is not None:
                yield bad
        if gone:
            text = f"{gone[0].text}, and so are all {len(gone)} rows from it to the end of the log"
            yield Bad("cut", text, gone[0].pid, gone[0].seq)

    def _row(self, key: RowKey, made: bytes, old: bool) -> Bad | None:
        where = f"row {key[1]} of process {key[0]}"
        try:
            rows = self._store.read("audit.row", *key)
            if not rows:
                return Bad("missing", f"{where} is gone", *key) if made != GONE else None
            self._there += 1
            if made == GONE:
                return Bad("inserted", f"{where} was not there when it was recorded", *key)
            if digest(rows[0], old) != made:
                return Bad("changed", f"{where} ({rows[0][3]}) is not as it was recorded", *key)
            self._labels |= labels(rows[0])
            self._blobs(rows[0])
        except (JournalDamaged, NotFound, TypeError, ValueError) as error:  # of a column that holds something else now
            return Bad("changed", f"{where} cannot be read as it was recorded: {error}", *key)
        return None

    def _blobs(self, row: Sequence[Any]) -> None:
        """Read the large values of a row, whose parts lie under their own hashes. Raises NotFound, JournalDamaged."""
        names: set[str] = set()

        def fetch(name: str) -> bytes:
            names.add(name)
            return b"[]" if name in self._sound else self._journal.blob(name)

        for index in _BLOBS:
            if (row[index] or b"")[:1] in (b"#", b"@"):
                self._journal.unpack(row[index], fetch)
        self._sound |= names

    def extra(self) -> Iterator[Bad]:
        """The rows that the log knows nothing of; those that came after its last entry may still wait for it."""
        (number,) = self._store.read("audit.count")[0]
        waiting = {(pid, seq) for pid, seq in self._store.read("audit.waiting", self._last.last)}
        self.waiting = 0 if self._last.note == "closed" else len(waiting)
        if number == self._there + self.waiting:
            return
        known = {(pid, seq) for kind, pid, seq, _ in map(RECORD.unpack, self._entries()) if kind < STAMP}
        allowed = known | waiting if self.waiting else known
        for pid, seq in self._store.read("audit.keys"):
            if (pid, seq) not in allowed:
                yield Bad("inserted", f"row {seq} of process {pid} was never recorded", pid, seq)

    def things(self) -> Iterator[Bad]:
        """The records and processes that are not as the rows left them."""
        there, last = present(self._store), self._last.last
        waiting = self._store.read("call.feed", last, -1) if self.waiting else ()
        fresh = changed_by((row for _, *row in waiting), self._store)
        for name in (there.keys() | self._stamped.keys()) - fresh if self._stamped else ():
            yield from self._thing(self._stamped.get(name), there.get(name))
        for (pid,) in self._store.read("audit.strayed"):
            yield Bad("changed", f"what process {pid} keeps or came to is not what its rows say", pid)

    def _thing(self, stamp: Stamp | None, thing: Thing | None) -> Iterator[Bad]:
        if thing is None:
            if stamp is not None and stamp.made != GONE and not stamp.loose:
                yield Bad("missing", f"{self._labels.get(stamp.name, 'a record or process')} is gone")
        elif stamp is None or stamp.made == GONE:
            yield from [Bad("inserted", f"{thing.text} was never recorded", thing.pid)] if thing.sure or stamp else ()
        elif stamp.made != thing.made:
            yield Bad("changed", f"{thing.text} is not as it was recorded", thing.pid)
