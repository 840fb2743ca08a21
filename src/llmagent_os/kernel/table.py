"""The process table: a row in the journal for every process, a record in memory only for those that are awake."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from ..core import codec
from ..core.errors import JournalDamaged, NotFound
from ..core.life import Life
from ..core.records import DEFAULT, EVERYTHING, SHARED, Budget, Envelope, Grant, Json, Supervision, Usage
from .journal import MARKS, Journal
from .process import Process, Tally, from_row
from .supervisor import Child

ROW = ("args", "state", "life", "reason", "tally", "upto", "turn", "restarts", "history", "next_args", "origins")
RECENT = 256  # records that stay in memory although nobody holds them
CROWD = 100  # messages: of processes that all have so many before them it does not matter which has more


class ProcessTable:
    """Finds processes by pid, name and parent. `live` holds the awake ones; everything else is read when needed."""

    def __init__(self, journal: Journal) -> None:
        self._store, self._unpack = journal.store, journal.unpack
        self.live: dict[int, Process] = {}
        self.quarantined: dict[int, str] = {}  # why their rows cannot be read
        self._known: WeakValueDictionary[int, Process] = WeakValueDictionary()  # one record a pid, however reached
        self._recent: deque[Process] = deque(maxlen=RECENT)  # keeps them known between two uses
        self._last = int(self._store.read("process.last")[0][0])
        self._open = dict(self._store.read("process.open"))  # the turns that an older release left open
        self.quarantined.update(self._store.read("process.quarantined"))

    def create(
        self, program: str, args: Json, name: str | None, parent: Process | None, budgets: tuple[Budget, ...],
        supervision: Supervision, parked: bool, tenant: str = DEFAULT, principal: str = "owner",
        grant: Grant = EVERYTHING,
    ) -> Process:  # fmt: skip
        """Make a record with the next pid; its row is the caller's to write. What a service starts has no parent.

        Of one that is parked and has no name the record is not kept: it is read when somebody writes to it.
        """
        self._last += 1
        if parent is not None:
            tenant = parent.tenant
            parent = None if parent.service is not None else parent
        process = Process(
            self._last, parent.pid if parent else 0, name, program, args, None,
            Life("waiting" if parked else "running"), None, None, tenant, principal,
            budgets, supervision, Tally(), 0, 0, time.time(), parent.nice if parent else 0, grant, up=parent,
        )  # fmt: skip
        return process if parked and name is None else self._keep(process)

    def _keep(self, process: Process) -> Process:
        self._known[process.pid] = process
        self._recent.append(process)
        return process

    def get(self, pid: int) -> Process:
        """The record of a process, alive or ended; raises NotFound, or JournalDamaged where its row is."""
        known = self._known.get(pid)
        if known is not None:
            return known
        rows = self._store.read("process.get", pid) if abs(pid) < 2**63 else []  # more is no number to a database
        if not rows:
            raise _missing(pid)
        process = from_row(rows[0], self._unpack)
        process.old_turn = self._open.get(pid, 0)
        self._catch_up(process)
        self._keep(process)
        if process.parent:
            process.up = self.get(process.parent)
        return process

    def of(self, pid: int, tenant: str, principal: str | None = None) -> Process:
        """The record of a tenant's process, or of one principal's; what is another's is not found."""
        process = self.get(pid)
        if process.tenant != tenant or principal not in (None, process.principal):
            raise _missing(pid)
        return process

    def find(self, pid: int) -> Process | None:
        """The record of a process that is there and can be read, else None; of damage it is told in `quarantined`."""
        try:
            return self.get(pid)
        except NotFound:
            return None
        except JournalDamaged as error:
            self.quarantined[pid] = f"quarantined: {error.message}"
            return None

    def reload(self, process: Process) -> None:
        """Set a record back to its row: what was changed since and could not be committed is forgotten."""
        row = from_row(self._store.read("process.get", process.pid)[0], self._unpack)
        for name in (*ROW, "name", "principal", "result"):
            setattr(process, name, getattr(row, name))
        process.turn_began = 0.0
        self._catch_up(process)

    def _catch_up(self, process: Process) -> None:
        """Add what was consumed since the last park: it stays so, whatever a resumed turn asks for again."""
        read = self._store.read("call.since", process.pid, process.upto, codec.dumps(sorted(MARKS)).decode())
        process.seq, steps, *consumed, process.earlier = read[0]
        process.tally.charge(Usage(*consumed), steps)

    def listed(
        self, after: int = 0, limit: int = 1000, tenant: str = DEFAULT, principal: str | None = None
    ) -> list[dict[str, Json]]:
        """A tenant's processes with a pid above `after`, or one principal's, as `ps` shows them."""
        query, whose = ("process.list", ()) if principal is None else ("process.list_of", (principal,))
        return [self._shown(row) for row in self._store.read(query, tenant, after, *whose, limit)]

    def _shown(self, row: tuple[Any, ...]) -> dict[str, Json]:
        try:
            return self._info(from_row(row, _unread))
        except JournalDamaged as error:
            bare = (*row[:11], *[b"{}"] * 3, *row[14:18], None, None, row[20], None)  # without what holds JSON
            return from_row(bare, _unread).info() | {"status": "quarantined", "reason": f"quarantined: {error.message}"}

    def _info(self, process: Process) -> dict[str, Json]:
        info, reason = self._known.get(process.pid, process).info(), self.quarantined.get(process.pid)
        return info if reason is None else info | {"status": "quarantined", "reason": reason}

    def counts(self) -> dict[str, int]:
        """How many processes there are by status."""
        counts = {status: int(number) for status, number in self._store.read("process.count")}
        for process in self.live.values():
            written, _ = process.life.row(None)
            if process.status != written:
                counts[written] = counts.get(written, 1) - 1
                counts[process.status] = counts.get(process.status, 0) + 1
        return {status: number for status, number in counts.items() if number > 0}

    def named(self, name: str, tenant: str = DEFAULT, principal: str | None = None) -> list[int]:
        """The living processes of a name, oldest first; of one principal where one is given."""
        return [pid for (pid,) in self._store.read("process.named", tenant, name, principal)]

    def named_like(self, prefix: str, tenant: str = DEFAULT, principal: str | None = None) -> list[int]:
        """The living processes whose name begins so; where a principal is given, theirs and what is shared."""
        rows = self._store.read("process.like", tenant, prefix, prefix + "\U0010ffff", principal)
        return sorted(pid for (pid,) in rows)

    def alive(self, names: Sequence[str], tenant: str, principal: str | None = None) -> dict[str, tuple[int, int]]:
        """How many replicas and sessions live of each of some agents, given in order; of sessions as `named_like`."""
        if not names:
            return {}
        rows = self._store.read("process.alive", tenant, names[0], names[-1] + "@\U0010ffff", principal)
        return {name: (replicas, sessions) for name, replicas, sessions in rows}

    def near(self, name: str, tenant: str, principal: str) -> list[str]:
        """Some names of living processes beside one that is not there; of sessions those of a principal."""
        return [each for (each,) in self._store.read("process.near", tenant, name, principal)]

    def children(self, pid: int) -> list[Child]:
        """The living children of a process, in order of start."""
        pids = [child for (child,) in self._store.read("process.children", pid)]
        return [Child(child, self.get(child).supervision.restart) for child in pids]

    def ancestors(self, pid: int) -> set[int]:
        """The pids above a process."""
        return {process.pid for process in self.get(pid).lineage()} - {pid}

    def awake(self) -> list[int]:
        """The processes to wake at start: interrupted in a turn, or with a message waiting."""
        pids = {pid for (pid,) in self._store.read("process.awake")}
        return sorted(pids | {int(box[4:]) for (box,) in self._store.read("message.boxes")})

    def messages(self, box: str, limit: int = 1) -> list[tuple[int, Envelope]]:
        """The oldest messages of a box that nobody took, with their numbers."""
        return [(row[0], self._envelope(row)) for row in self._store.read("message.first", box, limit)]

    def message(self, identifier: str, tenant: str = DEFAULT, **has: str) -> Envelope | None:
        """A tenant's message by its id, taken or not. An id is a box's own: of several, the first that has these."""
        found = map(self._envelope, self._store.read("message.get", tenant, identifier))
        return next((each for each in found if all(getattr(each, name) == value for name, value in has.items())), None)

    def unanswered(self, box: str) -> list[Envelope]:
        """The messages of a box, taken or not, that want an answer and have none."""
        return [self._envelope(row) for row in self._store.read("message.unanswered", box)]

    def _envelope(self, row: tuple[Any, ...]) -> Envelope:
        """Rebuild a message from its row."""
        _, identifier, box, body, sender, reply_to, task, _, origins, _, principal = row
        told = codec.loads(origins) if origins else ()
        try:
            said = self._unpack(body)
        except JournalDamaged as error:  # whoever it is for is told
            said = {"error": error.to_data()}
        return Envelope(identifier, box, said, sender, reply_to, task, told, principal)

    def loads(self, name: str, tenant: str = DEFAULT, principal: str = SHARED) -> list[tuple[int, int, int]]:
        """Of each living process of a name: how many messages it has before it, up to a crowd, the last one's number,

        and its pid. Of sessions, those of `principal`.
        """
        rows = self._store.read("process.loads", CROWD, tenant, name, principal)
        return [(min(before + self._work(pid), CROWD), last or 0, pid) for pid, before, last in rows]

    def _work(self, pid: int) -> int:
        process = self.live.get(pid)
        return 0 if process is None else CROWD if process.asking else int(process.status != "waiting")

    def waiting_messages(self, box: str) -> int:
        """How many messages nobody took from a box."""
        return int(self._store.read("message.count", box)[0][0])


def _unread(packed: bytes) -> Json:
    """The arguments of a process of which only the rest is wanted."""
    return None


def _missing(pid: int) -> NotFound:
    return NotFound(f"no process {pid}; `ps` lists them", kind="process", name=str(pid))
