"""Stamps: what records and processes have to look like, so that a change in the database alone is found.

An act's row has the digest of every record that it wrote. What a process was started and configured with is known from
what the store says that it has committed: what it holds and may use up, for whom it works, its arguments. Of a process
that was there before, it is read from its row.
"""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core import codec
from ..core.ports import Store
from ..kernel.journal import MARKS, Journal

GUARDED = ("agent", "approval", "consent", "key", "quarantine", "tenant")
"""The spaces whose records only acts write; of approvals those that were answered."""
GONE = bytes(32)
"""The digest of what is not there."""
_NAME = struct.Struct(">QQ")
_PID, _CALL, _RESULT, _DECISION = 0, 3, 6, 13  # places of columns in a row
KNOWN = 2_000  # processes that are remembered as they were written
CHANGES = {
    "process.args": ("args",), "process.held": ("held", "budget"), "process.name": ("name",),
    "process.nice": ("nice",),
}  # fmt: skip
"""Statements that change of a process what is stamped, in the order of a commit, and what each gives before the pid."""
TOLD = frozenset({"process.add", *CHANGES})
_BORN = (
    "pid", "parent", "name", "program", "args", "status", "tenant", "principal", "budget", "supervision", "usage",
    "created", "nice", "held",
)  # fmt: skip
"""What `process.add` gives, as far as it is needed."""
_GUARDED = (
    "pid", "parent", "name", "program", "tenant", "principal", "args", "budget", "supervision", "nice", "held",
)  # fmt: skip
"""The columns that are stamped, in their order."""

Statements = Mapping[str, Sequence[tuple[Any, ...]]]
"""What was committed, by the names of statements."""

Name = tuple[int, int]
"""What a record or process is known by in the log: 128 bits of a hash of its name."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A record or a process: how it is called, and its digest; `sure` where it has to have been stamped."""

    text: str
    made: bytes
    sure: bool = True
    loose: bool = False
    pid: int = 0


class Stamp(NamedTuple):
    """What something has to be; what is `loose` may also be gone without a word, as approvals after their time."""

    name: Name
    made: bytes
    loose: bool = False


def name_of(*parts: str) -> Name:
    """The name of a record, by space and key, or of a process, by `process` and pid."""
    high, low = _NAME.unpack(hashlib.blake2b("\0".join(parts).encode(), digest_size=_NAME.size).digest())
    return high, low


def written(writes: Iterable[tuple[str, tuple[Any, ...]]]) -> list[list[Any]]:
    """What statements do to records: `[space, key, digest]` each, without a digest where one is dropped."""
    found: dict[tuple[str, str], str | None] = {}
    for name, values in sorted(writes, key=lambda each: each[0]):  # as a commit does it: dropped, then put
        if name == "record.drop":
            found[values[0], values[1]] = None
        elif name == "record.put":
            found[values[0], values[1]] = _record(*values[2:4]).hex()
    return [[*name, made] for name, made in sorted(found.items())]


def _record(version: int, value: bytes | str) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return hashlib.blake2b(b"%d\0%s" % (version, data), digest_size=32).digest()


def _process(row: Sequence[Any]) -> bytes:
    values = [value.hex() if type(value) is bytes else value for value in row]
    return hashlib.blake2b(codec.dumps(values), digest_size=32).digest()


class Stamps:
    """Makes the stamps for rows that are taken into the audit log, in order."""

    def __init__(self, store: Store) -> None:
        self._store, self._unpack = store, Journal(store).unpack
        self._known: OrderedDict[int, dict[str, Any]] = OrderedDict()  # processes as the system wrote them
        self._due = {pid for (pid,) in store.read("audit.awake")}  # that may get new arguments when their turn ends

    def all(self) -> list[Stamp]:
        """Everything there is, as it is."""
        return [Stamp(name, each.made, each.loose) for name, each in present(self._store).items()]

    def told(self, statements: Statements) -> None:
        """Learn of processes what the system has just committed, so that nothing else is stamped."""
        for values in statements.get("process.add", ()):
            born = dict(zip(_BORN, values, strict=False))
            self._known[values[0]] = {name: born[name] for name in _GUARDED}
        for name, columns in CHANGES.items():
            for *given, pid in statements.get(name, ()):
                if pid in self._known:
                    self._known[pid].update(zip(columns, given, strict=True))
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def again(self, pids: Iterable[int]) -> list[Stamp]:
        """Processes as they are in the file, whatever was told of them: they were erased, or deleted."""
        wanted = list(pids)
        for pid in wanted:
            self._known.pop(pid, None)
        return self.processes(wanted)

    def of(self, rows: Iterable[Sequence[Any]]) -> list[Stamp]:
        """What rows changed."""
        found, pids = list[Stamp](), set[int]()
        for row in rows:
            for space, key, made in _wrote(row):
                found.append(Stamp(name_of(space, key), bytes.fromhex(made) if made else GONE, _is_loose(space)))
            pids.update(_processes(row, self._due, self._unpack))
        return [*found, *self.processes(pids)]

    def processes(self, pids: Iterable[int]) -> list[Stamp]:
        """Processes as they were written; those of which nothing was told as they are now, or are not."""
        found = dict.fromkeys(pids, GONE)
        known = {pid: _process([self._known[pid][name] for name in _GUARDED]) for pid in found if pid in self._known}
        rest = sorted(found.keys() - known.keys())
        rows = self._store.read("audit.processes_of", codec.dumps(rest).decode()) if rest else ()
        found |= {row[0]: _process(row) for row in rows} | known
        return [Stamp(name_of("process", str(pid)), made) for pid, made in found.items()]


def _is_loose(space: str) -> bool:
    return space.rpartition("/")[2] == "approval"


def _wrote(row: Sequence[Any]) -> list[list[Any]]:
    found: list[list[Any]] = _decided(row, "wrote")
    return found


def _decided(row: Sequence[Any], name: str) -> Any:
    decision = row[_DECISION]
    return codec.loads(decision).get(name, []) if decision and f'"{name}"'.encode() in decision else []


def _processes(row: Sequence[Any], due: set[int], unpack: Callable[[bytes], Any]) -> Iterable[int]:
    """The processes whose own row a call changed."""
    pid, name, result = row[_PID], row[_CALL], row[_RESULT]
    if name in ("spawn", "spawn_many") and result:
        made = unpack(result)
        return made if isinstance(made, list) else (made,)
    if name == "configure":
        due.add(pid)
    return (pid,) if name in MARKS and pid in due else _decided(row, "processes")


def changed_by(rows: Iterable[Sequence[Any]], store: Store) -> set[Name]:
    """What rows changed, that may not be stamped yet."""
    names, pids, unpack = set[Name](), set[int](), Journal(store).unpack
    for row in rows:
        names |= labels(row).keys()
        pids.update(_processes(row, {row[_PID]}, unpack))
    return names | {name_of("process", str(pid)) for pid in pids}


def labels(row: Sequence[Any]) -> dict[Name, str]:
    """How the records are called that a row says it wrote."""
    return {name_of(space, key): _text(space, key) for space, key, _ in _wrote(row)}


def _text(space: str, key: str) -> str:
    return f"the record {key!r} of {space!r}"


def present(store: Store) -> dict[Name, Thing]:
    """All guarded records and all processes but services, as they are now."""
    found: dict[Name, Thing] = {}
    for space, key, version, value in store.read("audit.records"):
        if space.rpartition("/")[2] in GUARDED:
            loose = _is_loose(space)
            sure = not loose or codec.loads(value).get("by") is not None
            found[name_of(space, key)] = Thing(_text(space, key), _record(version, value), sure, loose)
    for row in store.read("audit.processes"):
        found[name_of("process", str(row[0]))] = Thing(f"process {row[0]}", _process(row), pid=row[0])
    return found
