"""The process record, field by field, and what a program may return."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from ..core import codec, first
from ..core.commits import Statement
from ..core.errors import JournalDamaged, LLMAgentOSError, ProcessFailed, text
from ..core.life import Event, Life, transition
from ..core.records import EVERYTHING, Budget, Envelope, Grant, Json, Status, Supervision, Usage, agent_of
from .journal import History

ORIGINS, OTHERS = 32, "others"  # so many of whose words it has seen are told apart


@dataclass(frozen=True, slots=True)
class Idle:
    """Returned by a program to park: the process becomes a row until a message comes, then runs again with `state`."""

    state: Json = None


@dataclass(frozen=True, slots=True)
class Program:
    """What a process runs: `run(sys, args, state)`, deterministic between its syscalls.

    Returning `Idle(state)` parks the process; returning anything else ends it with that result (JSON data).
    With `wakes` a new process starts parked and first runs when a message comes.
    """

    run: Callable[[Any, Json, Json], Awaitable[Any]]
    wakes: bool = False


@dataclass(slots=True)
class Tally:
    """What a process consumed by itself. `seconds` is wall time in which a turn of it ran."""

    input_tokens: int = 0
    output_tokens: int = 0
    money: float = 0.0
    steps: int = 0
    seconds: float = 0.0

    def charge(self, cost: Usage, steps: int = 0) -> None:
        """Add a finished call."""
        self.input_tokens += cost.input_tokens
        self.output_tokens += cost.output_tokens
        self.money += cost.money
        self.steps += steps


@dataclass(slots=True, eq=False, weakref_slot=True)
class Process:
    """A process. The first block is its row in the journal; the second exists only while it is in memory.

    Said of each field is who writes it, after `ProcessTable`, which makes the record or reads it from its row.
    """

    pid: int
    parent: int
    name: str | None  # runner (rename)
    program: str
    args: Json  # runner (configure), between turns
    state: bytes | None  # packed snapshot of the last park; runner
    life: Life  # `move` alone, for the runner and for the door's first row of a turn
    reason: str | None  # why it ended, or is paused; `move` alone
    result: bytes | None  # runner, at its end
    tenant: str
    principal: str
    budgets: tuple[Budget, ...]  # its own, and those of accounts that it draws on
    supervision: Supervision
    tally: Tally  # door (what calls consumed), runner (`seconds`)
    upto: int  # rows up to here are covered by `state`; runner
    turn: int  # turns finished; runner
    created: float
    nice: int = 0  # -20 (first) to 19 (last); kernel (renice)
    grant: Grant = EVERYTHING  # runner (configure)
    origins: dict[str, list[str]] = field(default_factory=dict)  # of whose words `args`, `state`, `result` are; runner
    owner_turn: int | None = None  # the turn of its parent that it ends with, if that fails; None: its parent's end
    restarts: list[float] = field(default_factory=list)  # when it, or children of it, were restarted; runner

    seen: dict[str, None] = field(default_factory=dict)  # whose words that may not direct it came in this turn; `see`
    up: Process | None = None  # its parent's record; table
    seq: int = 0  # the last row written; door, runner
    asking: int = 0  # how many of its calls wait for a person; `security.asking`
    doing: Status = "running"  # in its turn: `running`, `waiting` (syscalls), or `ready` (dispatcher)
    history: History | None = None  # calls of an interrupted turn; runner, emptied by the door; None: not read yet
    repeats: dict[str, int] = field(default_factory=dict)  # how often a call came in this turn, by digest; `key`
    task: asyncio.Task[None] | None = None  # what runs its turns; runner
    settling: int = 0  # how many changes are on their way for which its turn was stopped, or has ended; runner
    go: asyncio.Event = field(default_factory=asyncio.Event)  # set when it is resumed; `move` alone
    owed: list[Envelope] = field(default_factory=list)  # messages of this turn that still want an answer; door
    taking: set[int] = field(default_factory=set)  # messages handed out but not committed yet; `receive`
    earlier: float = 0.0  # seconds that its cut-off turn had before this start; table
    turn_began: float = 0.0  # on the monotonic clock; 0: it is in no turn; runner
    next_args: tuple[Json] | None = None  # arguments from the next turn on; runner (configure)
    service: str | None = None  # of one whose program is the outside world: this boot's mark in its keys; kernel
    engine: str | None = None  # that serves it now; `generate`
    definition: str | None = None  # what its program runs by, NAME@VERSION; the program
    old_turn: int = 0  # the turn that began before the schema's second version: keys of the first form; table

    def move(self, event: Event, reason: str | None = None) -> Statement:
        """Let an event happen to it, in memory at once; returns what says so in its row. Raises Conflict."""
        held = self.life.paused
        self.life = transition(self.life, event)
        self.reason = self.reason if held and self.life.paused else reason
        (self.go.clear if self.life.paused else self.go.set)()
        return "process.status", (*self.life.row(reason), self.pid)

    def snapshot(self) -> Statement:
        """What its next turn begins from."""
        usage = codec.canonical(self.tally)
        return "process.turn", (self.state, usage, self.upto, self.turn, self.sources(), self.pid)

    @property
    def status(self) -> Status:
        """What it does now, as `ps` shows it."""
        if self.life.paused or self.asking:
            return "paused" if self.life.paused else "asks"
        return self.doing if self.task is not None else self.life.phase

    @property
    def serving(self) -> Envelope | None:
        """The message that it works on: the last one that still wants an answer."""
        return self.owed[-1] if self.owed else None

    def lineage(self) -> Iterator[Process]:
        """This process, its parent, and so on up."""
        process: Process | None = self
        while process is not None:
            yield process
            process = process.up

    def see(self, origins: Iterable[str]) -> None:
        """Take in whose words a call brought. A service is the outside world: nobody directs it."""
        for origin in origins if self.service is None else ():
            self.seen[origin if origin in self.seen or len(self.seen) < ORIGINS else OTHERS] = None

    def made_of(self) -> list[str]:
        """Whose words, that may not direct others, may be in all that it says: what it is made of, and what it saw."""
        return list(dict.fromkeys((*self.origins.get("args", ()), *self.origins.get("state", ()), *self.seen)))

    def sources(self) -> str | None:
        """`origins` as its column holds them."""
        told = {name: origins for name, origins in self.origins.items() if origins}
        return codec.dumps(told).decode() if told else None

    def key(self, name: str, args: Mapping[str, Any], packed: bytes) -> str:
        """The idempotency key of the next call, `packed` being its arguments: the same program gets the same keys.

        By content and repetition, not by order, so that calls made at once may finish in any order.
        """
        if self.service is not None:
            self.repeats["all"] = number = self.repeats.get("all", 0) + 1
            return f"{self.pid}.{self.service}.{number}"
        digest = first.digest(name, args) if self.old_turn == self.turn + 1 else codec.digest(name, packed)
        number = self.repeats.get(digest, 0)
        self.repeats[digest] = number + 1
        return f"{self.pid}.{self.turn + 1}.{digest}.{number}"

    @property
    def acting(self) -> str:
        """The principal that it works for: of the message it serves, else its own."""
        return (self.serving.principal if self.serving is not None else "") or self.principal

    def home(self, principal: str) -> str:
        """The name of the workspace in which it works for somebody: one for all processes of an agent, and theirs alone
        unless the agent is shared.
        """
        name = agent_of(self.name or "")
        return f"{self.tenant}/{name or self.pid}" + ("" if self.grant.shared else f"@{principal}")

    @property
    def box(self) -> str:
        """The name of its mailbox."""
        return f"pid/{self.pid}"

    def values(self, args: bytes) -> tuple[Any, ...]:
        """The row that it begins with, in the order of the store's columns; its arguments are given packed."""
        return (
            self.pid, self.parent, self.name, self.program, args, self.life.phase, self.tenant, self.principal,
            _form(self.budgets), _form(self.supervision), b"{}", self.created, self.nice,
            None if self.grant is EVERYTHING else codec.canonical(self.grant), self.sources(), self.owner_turn,
        )  # fmt: skip

    def info(self) -> dict[str, Json]:
        """What `ps` shows of it."""
        return {
            "pid": self.pid, "parent": self.parent, "name": self.name, "program": self.program, "status": self.status,
            "reason": self.reason, "tenant": self.tenant, "principal": self.principal, "engine": self.engine,
            "turns": self.turn, "usage": asdict(self.tally), "budgets": [asdict(each) for each in self.budgets],
            "supervision": asdict(self.supervision), "created": self.created, "nice": self.nice,
        }  # fmt: skip


_form = lru_cache(maxsize=1000)(codec.canonical)
"""The canonical form of what many processes have alike."""


def failure(pid: int, error: BaseException) -> LLMAgentOSError:
    """The error that a turn failed with, as the journal keeps it."""
    if isinstance(error, LLMAgentOSError):
        return error
    reason = f"{type(error).__name__}: {text(error)}"
    return ProcessFailed(reason, pid=pid, reason=reason)


def from_row(row: tuple[Any, ...], unpack: Callable[[bytes], Any]) -> Process:
    """Rebuild a process from its row; raises JournalDamaged for one that holds what this release cannot read."""
    try:
        return _from_row(row, unpack)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise JournalDamaged(f"the row of process {row[0]} cannot be read: {error}", pid=row[0]) from error


def _from_row(row: tuple[Any, ...], unpack: Callable[[bytes], Any]) -> Process:
    (pid, parent, name, program, args, state, status, reason, result, tenant, principal, budget, supervision, tally,
     upto, turn, created, nice, held, origins, owner_turn, restarts) = row  # fmt: skip
    life, why = (Life(reason, True), None) if status == "paused" else (Life(status), reason)
    return Process(
        pid, parent, name, program, unpack(args), state, life, why, result, tenant, principal,
        codec.budgets(codec.loads(budget)), codec.record(Supervision, codec.loads(supervision)),
        codec.record(Tally, codec.loads(tally)),
        upto, turn, created, nice, codec.grant(codec.loads(held)) if held else EVERYTHING,
        codec.loads(origins) if origins else {}, owner_turn, codec.loads(restarts) if restarts else [],
    )  # fmt: skip
