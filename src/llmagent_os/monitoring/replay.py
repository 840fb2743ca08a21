"""Run a past process again from its journal, without a model or tool, and say where the program differs now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..core import codec, first
from ..core.errors import InvalidRequest, from_data, not_found
from ..core.ports import Store, Syscall
from ..core.records import Chunk, Json, Part
from ..core.sys import Sys
from ..kernel.journal import MARKS, History, Journal, Row
from ..kernel.process import Idle, Process, Program, failure
from ..kernel.table import ProcessTable

GRACE = 0.05  # seconds
BREATHER = 16  # calls, after which others have their turn
_ENDED = {"idle", "exit", "fail"}  # marks of a turn that came to its end


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay found: how much was run again, and the first difference, or None."""

    pid: int
    program: str
    turns: int
    calls: int
    diverged: str | None


class Recorded:
    """Stands where the kernel's door does: answers only from the journal, and stops the program where it cannot."""

    def __init__(self, journal: Journal, table: Mapping[str, Syscall]) -> None:
        self.journal = journal
        self.table = table
        self.stopped = asyncio.Event()
        self.missing: tuple[str, bytes] | None = None  # the call that the journal does not hold: name, arguments
        self.calls = 0
        self.goes_on = True  # whether the turn did not end with the last of its calls

    def publish(self, task: str, chunk: Chunk) -> None:
        """Nobody watches a replay."""

    async def syscall(
        self, process: Process, name: str, args: dict[str, Any], deadline: float | None = None,
        stream: Callable[[Chunk], None] | None = None, principal: str | None = None,
        parts: Sequence[Part] | None = None,
    ) -> Any:  # fmt: skip
        """Answer a call from its row; a call without one never returns, and `stopped` is set.

        One that was cancelled then does not return either: its caller has the time that it took to cancel it again,
        where more came of the turn.
        """
        entry, history = self.table.get(name), process.history
        packed = codec.arguments(name, entry.takes, args, entry.shows) if entry else codec.canonical(args)
        key = process.key(name, args, packed)
        row = history.take(key) if history is not None else None
        if row is None:
            self.missing = (name, packed)
            given = history.cut_off(key) if history is not None else None
            if given is None:  # what runs beside it may go on
                asyncio.get_running_loop().call_later(GRACE, self.stopped.set)
            else:
                await self._given(given.seconds, history)
            await asyncio.Event().wait()
        assert row is not None
        self.calls += 1
        if self.calls % BREATHER == 0:
            await asyncio.sleep(0)
        if row.error is not None:
            raise from_data(self.journal.unpack(row.error))
        result = self.journal.unpack(row.result)
        return entry.decode(result) if entry else result

    async def _given(self, seconds: float, history: Sized | None) -> None:
        """Wait for the caller to give up, and set `stopped` where it does not, or where the turn was stopped here."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        await asyncio.sleep(GRACE)
        while loop.time() < end and (self.goes_on or history):
            await asyncio.sleep(GRACE)
        self.stopped.set()


async def replay(store: Store, pid: int, programs: Mapping[str, Program], table: Mapping[str, Syscall]) -> Report:
    """Re-run every turn of a process; raises NotFound, JournalDamaged, or InvalidRequest for one without a program."""
    journal = Journal(store)
    process = ProcessTable(journal).get(pid)
    if process.program == "service":
        raise InvalidRequest(f"process {pid} is a service: its calls came from outside; see `logs {pid}`")
    program = programs.get(process.program)
    if program is None:
        raise not_found("program", process.program, programs)
    rows = journal.rows(pid)
    process.args = _first_args(journal, rows, process.args)
    turns = calls = 0
    state: Json = None
    for turn, group in groupby(sorted(rows, key=lambda row: (row.turn, row.seq)), key=lambda row: row.turn):
        run = _Turn(process, program, Recorded(journal, table), list(group))
        state, difference = await run.run(turn, state)
        turns, calls = turns + 1, calls + run.door.calls
        if difference is not None:
            return Report(pid, process.program, turns, calls, f"turn {turn}: {difference}")
    return Report(pid, process.program, turns, calls, None)


def _first_args(journal: Journal, rows: Sequence[Row], now: Json) -> Json:
    changes = [row for row in rows if row.name == "configure"]
    return journal.unpack(changes[0].args) if changes else now


class _Turn:
    """One turn run again: its recorded calls, how it ended then, and how it ends now."""

    def __init__(self, process: Process, program: Program, door: Recorded, rows: Sequence[Row]) -> None:
        self.process, self.program, self.door = process, program, door
        self.marks = {row.name: row for row in rows if row.name in MARKS}
        door.goes_on = bool(self.marks.keys() & _ENDED)
        self.history = History(rows)
        self.old = any(first.made(row.key) for row in rows)

    async def run(self, turn: int, state: Json) -> tuple[Json, str | None]:
        """Return the state after the turn and the first difference, or None."""
        process, journal = self.process, self.door.journal
        if "configure" in self.marks:
            process.args = journal.unpack(self.marks["configure"].result)
        if not self.history and not self.marks.keys() & _ENDED:
            return state, None
        process.turn, process.history = turn - 1, self.history
        process.old_turn = turn if self.old else 0
        process.repeats.clear()
        work = asyncio.ensure_future(self.program.run(Sys(self.door, process), process.args, state))
        stop = asyncio.ensure_future(self.door.stopped.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        finished = work.done()
        work.cancel()
        stop.cancel()
        await asyncio.wait({work, stop})
        if not finished:
            return state, self._missing()
        return self._compare(work, state)

    def _missing(self) -> str | None:
        """The program wants a call that is not there: no difference if the turn was cut off just here."""
        assert self.door.missing is not None
        name, args = self.door.missing
        after = self.history.next()
        if after is not None:
            recorded = codec.dumps(self.door.journal.unpack(after.args))
            start = max(0, _common(args, recorded) - 40) if name == after.name else 0
            asked, had = _short(args[start:]), _short(recorded[start:])
            where = f" (from character {start} of the arguments)" if start else ""
            return f"the program asks for {name}({asked}), the journal has {after.name}({had}){where}"
        if self.marks.keys() & _ENDED:
            return f"the program asks for {name}({_short(args)}), in the journal the turn had ended"
        return None

    def _compare(self, work: asyncio.Future[Any], state: Json) -> tuple[Json, str | None]:
        after = self.history.next()
        if after is not None:
            return state, f"the program ended, the journal goes on with {after.name}({_short(after.args)})"
        mark, value = _outcome(self.process.pid, work)
        recorded = self.marks.get(mark)
        if recorded is None:
            ended = ", ".join(sorted(self.marks)) or "no end"
            return state, f"the turn now ends with {mark}, the journal has {ended}"
        said = codec.loads(codec.dumps(value))
        if _lean(said) != _lean(self.door.journal.unpack(recorded.result)):
            return state, f"the turn's {mark} has another value now: {_short(codec.dumps(said))}"
        return (value if mark == "idle" else state), None


def _outcome(pid: int, work: asyncio.Future[Any]) -> tuple[str, Json]:
    error = work.exception()
    if error is not None:
        return "fail", failure(pid, error).to_data()
    result = work.result()
    return ("idle", result.state) if isinstance(result, Idle) else ("exit", result)


def _lean(value: Json) -> Json:
    """A value without fields that are empty: releases differ in whether they write those down."""
    if isinstance(value, list):
        return [_lean(item) for item in value]
    if isinstance(value, dict):
        return {name: kept for name, item in value.items() if (kept := _lean(item)) not in (None, "", 0, [], {})}
    return value


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two texts share at their beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _short(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if len(text) <= 200 else text[:200] + " ..."
