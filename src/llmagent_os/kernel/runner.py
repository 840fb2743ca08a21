"""Runs processes turn by turn: park, fail, supervise, pause, kill, and take up what a crash cut off."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ..core import codec
from ..core.accounts import book, statements
from ..core.commits import Statement
from ..core.errors import (
    BudgetExceeded,
    Conflict,
    JournalDamaged,
    JournalUnavailable,
    LLMAgentOSError,
    NotFound,
    ProcessFailed,
    not_found,
)
from ..core.records import ENDED, Budget, Call, Envelope, Grant, Json, Supervision
from ..core.sys import Sys
from .door import Door
from .journal import History, Journal, listed
from .mailbox import Mailbox
from .process import Ended, Idle, Process, Program, RowStatus, failure
from .supervisor import Child, Decision, decide
from .table import ProcessTable

log = logging.getLogger(__name__)

RETRY_FULL = 5.0  # seconds between tries of a process whose journal entry found no space on the disk


class Runner:
    """Owns the tasks of all live processes."""

    def __init__(
        self, journal: Journal, table: ProcessTable, mail: Mailbox, door: Door, programs: Mapping[str, Program]
    ) -> None:
        self.programs = programs
        self._journal, self._table, self._mail, self._door = journal, table, mail, door
        self._end_watchers: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._background: set[asyncio.Task[Any]] = set()
        self._closing = False

    async def close(self) -> None:
        """Stop every turn where it stands; the next start resumes it."""
        self._closing = True
        tasks = [process.task for process in self._table.live.values() if process.task is not None]
        tasks += self._background
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, process: Process) -> None:
        """Run a process whose row is durable; one that starts parked stays a row until a message comes."""
        if process.status == "new" and process.row_status == "waiting":
            process.status = "waiting"
            return
        if process.pid in self._table.live or self._closing or process.service is not None:
            return
        self._table.live[process.pid] = process
        process.task = asyncio.get_running_loop().create_task(self._run(process))

    def wake(self, pid: int) -> None:
        """A message came: let the process take it, starting it if it is parked."""
        process = self._table.live.get(pid)
        if process is not None:
            process.wake.set()
            return
        try:
            process = self._table.get(pid)
        except NotFound:
            return
        if process.row_status not in ENDED and process.row_status != "paused":
            process.status = "waiting" if process.status == "new" else process.status
            self.start(process)

    async def _run(self, process: Process) -> None:
        """Run turns until the process parks with an empty mailbox, ends, or is cancelled."""
        try:
            process.history = self._history(process)
            while await self._turn(process):
                process.history = None
        except JournalDamaged as error:
            self._detach(self._quarantine(process, error))
        except JournalUnavailable:
            log.error("process %d waits until the journal can be written", process.pid)
            self._detach(self._start_later(process, RETRY_FULL))
        finally:
            if self._table.live.get(process.pid) is process and process.task is asyncio.current_task():
                del self._table.live[process.pid]
                process.task = None

    def _history(self, process: Process) -> History | None:
        if process.seq == process.upto:
            return None
        rows = self._journal.rows(process.pid, process.upto)
        for row in rows:
            if row.name == "configure" and row.turn > process.turn + 1:
                process.next_args = (self._journal.unpack(row.result),)
        return History(rows) if rows else None

    async def _turn(self, process: Process) -> bool:
        """Run the program once; True if it should run again."""
        process.status = "running"
        process.repeats.clear()
        process.seen.clear()
        process.see(process.made_of())
        process.serving = None
        process.turn_began = time.monotonic()
        state = self._journal.unpack(process.state)
        try:
            program = self.programs.get(process.program)
            if program is None:
                raise not_found("program", process.program, self.programs)
            outcome = await program.run(Sys(self._door, process), process.args, state)
        except (JournalUnavailable, JournalDamaged):
            raise
        except asyncio.CancelledError:
            if process.stopping or self._closing:
                raise
            return await self._failed(process, ProcessFailed("the program cancelled itself"))
        except Exception as error:
            return await self._failed(process, error)
        if process.hold is not None:
            await process.hold.wait()
        if isinstance(outcome, Idle):
            return await self._park(process, outcome.state)
        await self._end(process, "done", None, outcome)
        return await self._supervise(process, failed=False)

    async def _park(self, process: Process, state: Json) -> bool:
        """Write the snapshot; go on at once if a message came meanwhile, else leave only the row."""
        writes: list[Statement] = []
        (process.state,) = await self._journal.packed(writes, codec.dumps(state))
        process.origins["state"] = process.made_of() if state is not None else []
        self._close_turn(process, "idle", process.state, writes)
        self._snapshot(process, "waiting", writes)
        if process.next_args is not None:
            self._set_args(process, process.next_args[0], writes)
        await self._journal.append(writes)
        process.status = "waiting"
        return bool(self._table.messages(process.box))

    async def _commit(self, writes: list[Statement]) -> None:
        """Write, then wake whoever waits for a message among it."""
        await self._journal.append(writes)
        for name, values in writes:
            if name == "message.add":
                self._mail.notify(values[1])

    def _snapshot(self, process: Process, status: RowStatus, writes: list[Statement]) -> None:
        """Add the row from which the next turn begins."""
        process.row_status = status
        usage = codec.canonical(process.tally)
        row = (status, process.state, usage, process.upto, process.turn, process.sources(), process.pid)
        writes.append(("process.park", row))

    def _close_turn(self, process: Process, mark: str, outcome: bytes | None, writes: list[Statement]) -> None:
        """Add the row that says how a turn ended; what came before it is never replayed into a later turn."""
        seconds = time.monotonic() - process.turn_began if process.turn_began else 0.0
        process.tally.seconds += seconds
        process.turn_began = 0.0
        entries = self._door.ledger.entries(process, process.acting, {"seconds": seconds})
        writes += statements(entries)
        book(entries)
        process.turn += 1
        process.seq = process.upto = process.seq + 1
        writes.append(self._mark(process, mark, process.turn, b"{}", outcome))

    def _mark(self, process: Process, mark: str, turn: int, args: bytes, outcome: bytes | None) -> Statement:
        """A row that is no call: see `journal.MARKS`."""
        key = f"{process.pid}.{turn}.{mark}"
        call = Call(process.pid, mark, {}, key, process.tenant, process.principal, 0.0, seq=process.seq)
        return self._journal.row(call, turn, args, outcome, None, (time.time(), 0.0))

    async def _end(self, process: Process, status: Ended, reason: str | None, result: Json) -> None:
        """Write the end of a process, answer whoever waits for it, and end what is below it."""
        writes: list[Statement] = []
        packed = self._journal.pack(result, writes)
        self._close_turn(process, "exit" if status == "done" else "stop", packed, writes)
        process.result, process.reason, process.row_status = packed, reason, status
        process.origins["result"] = process.made_of()
        row = (status, reason, packed, codec.canonical(process.tally), process.upto, process.turn, process.sources())
        writes.append(("process.end", (*row, process.pid)))
        if status == "stopped":
            error = ProcessFailed(reason or "stopped", pid=process.pid, reason=reason)
            self._answer_with_error(process, error, writes)
            self._refuse_all(process, error, writes)
        await self._commit(writes)
        process.status = status
        for child in reversed(self._table.children(process.pid)):
            if self._table.get(child.pid).row_status not in ENDED:
                await self.kill(child.pid, f"its parent {process.pid} ended")
        for event in self._end_watchers.pop(process.pid, ()):
            event.set()

    def _answer_with_error(self, process: Process, error: LLMAgentOSError, writes: list[Statement]) -> None:
        """Nobody waits for ever: the message being served gets the error as its answer."""
        if process.serving is not None:
            self._refuse(process, process.serving, error, writes)
            process.serving = None

    def _refuse_all(self, process: Process, error: LLMAgentOSError, writes: list[Statement]) -> None:
        """The messages that it did not take get the error as their answer."""
        for n, message in self._table.messages(process.box, 1_000_000):
            writes.append(("message.take", (n,)))
            self._refuse(process, message, error, writes)

    def _refuse(self, process: Process, message: Envelope, error: LLMAgentOSError, writes: list[Statement]) -> None:
        if not message.reply_to:
            return
        body = codec.dumps({"error": error.to_data()})
        answer = (f"{message.id}.error", message.reply_to, body, process.box, None, message.task, time.time())
        writes.append(("message.add", (*answer, listed(process.made_of()), process.tenant, message.principal)))

    async def _failed(self, process: Process, error: Exception) -> bool:
        """Record a turn that raised, answer its message, and let the supervisor decide."""
        known = failure(process.pid, error)
        reason = known.message
        if known is not error:
            log.error("process %d (%s) failed", process.pid, process.program, exc_info=error)
        writes: list[Statement] = []
        spent, served = isinstance(error, BudgetExceeded), process.serving is not None
        parks = spent and self.programs[process.program].wakes and process.supervision.restart != "temporary"
        self._answer_with_error(process, known, writes)
        if parks and not served:
            self._refuse_all(process, known, writes)
        packed = self._journal.pack(known.to_data(), writes)
        self._close_turn(process, "fail", packed, writes)
        self._snapshot(process, "waiting" if parks else "running", writes)
        await self._commit(writes)
        if parks:  # it remembers what it knew: the next message is answered when there is a budget again
            process.status = "waiting"
            return bool(self._table.messages(process.box))
        if spent:  # restarting cannot help
            await self._end(process, "stopped", reason, None)
            return False
        process.reason = reason
        return await self._supervise(process, failed=True)

    async def _supervise(self, process: Process, failed: bool) -> bool:
        """Carry out the supervisor's decision about a process that ended; True if it runs again itself."""
        decision = self._decide(process, failed)
        if decision.give_up:
            await self._give_up(process, decision, failed)
            return False
        for pid in decision.stop:
            stop = self.interrupt if pid in decision.restart else self.kill
            await stop(pid, f"stopped with its sibling {process.pid}")
        for pid in decision.restart:
            if pid != process.pid:
                await self.restart(pid)
        if process.pid in decision.restart:
            if process.status in ENDED:
                await self._revive(process)
            return True
        if failed:
            await self._end(process, "stopped", process.reason, None)
        return False

    async def _give_up(self, process: Process, decision: Decision, failed: bool) -> None:
        """The supervisor itself fails: what it supervised ends, and its own supervisor decides about it."""
        reason = f"too many restarts; the last after: {process.reason}"
        for pid in decision.stop:
            await self.kill(pid, reason)
        if process.status not in ENDED:
            await self._end(process, "stopped", reason, None)
        above = process.up
        if above is not None and above.row_status not in ENDED:
            await self.interrupt(above.pid, reason)
            if await self._failed(above, ProcessFailed(f"below it: {reason}", pid=process.pid, reason=reason)):
                self.start(above)

    def _decide(self, process: Process, failed: bool) -> Decision:
        """Ask the supervisor above; a process without one is supervised alone, by default rules."""
        above, me = process.up, Child(process.pid, process.supervision.restart)
        supervision = above.supervision if above else Supervision()
        siblings = self._table.children(above.pid) if above else []
        restarts, now = (above or process).restarts, time.monotonic()
        restarts[:] = [at for at in restarts if now - at < supervision.period]
        decision = decide(supervision, [child for child in siblings if child != me], me, failed, restarts, now)
        if decision.restart:
            restarts.append(now)
        return decision

    async def interrupt(self, pid: int, reason: str) -> None:
        """Stop a process's turn where it is and answer its message with an error; `restart` lets it go on."""
        process = self._table.get(pid)
        await self._stop_task(process)
        writes: list[Statement] = []
        self._answer_with_error(process, ProcessFailed(reason, pid=pid, reason=reason), writes)
        self._close_turn(process, "restart", None, writes)
        self._snapshot(process, "waiting", writes)
        await self._commit(writes)

    async def _stop_task(self, process: Process) -> None:
        task = process.task
        if task is not None and task is not asyncio.current_task():
            process.stopping = True
            task.cancel()
            await asyncio.wait({task})
            process.stopping = False

    async def restart(self, pid: int) -> None:
        """Run an interrupted process again; one that wakes by messages parks where there is none."""
        process = self._table.get(pid)
        if process.row_status in ENDED:
            return
        if self.programs[process.program].wakes and not self._table.messages(process.box):
            process.status = "waiting"
            return
        await self._revive(process)
        self.start(process)

    async def _revive(self, process: Process) -> None:
        process.status = process.row_status = "running"
        await self._journal.append([("process.status", ("running", None, process.pid))])

    async def _quarantine(self, process: Process, error: JournalDamaged) -> None:
        """Leave a process whose rows are damaged as it is: nothing runs on half a memory. Who waits for it is told."""
        process.status, process.reason = "stopped", f"quarantined: {error.message}"
        self._table.quarantined[process.pid] = process.reason
        log.error("process %d is %s", process.pid, process.reason)
        writes: list[Statement] = [("process.status", ("stopped", process.reason, process.pid))]
        for message in self._table.unanswered(process.box):
            self._refuse(process, message, error, writes)
        try:
            await self._commit(writes)
        except JournalDamaged:
            log.error("the row of process %d is damaged too; it stays quarantined while the system runs", process.pid)

    async def _start_later(self, process: Process, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while self._journal.trouble is not None:  # also what was written last may come through only now
            await asyncio.sleep(seconds / 10)
        self._table.reload(process)  # as after a crash: from the last park, answered by the rows since
        self.start(process)

    def _detach(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def kill(self, pid: int, reason: str = "killed") -> None:
        """End a process and everything below it. Killing one that has ended is a Conflict."""
        process = self._table.get(pid)
        if process.row_status in ENDED or process.service is not None:
            raise Conflict(f"process {pid} is {process.row_status if process.service is None else 'a service'}")
        for child in reversed(self._table.children(pid)):
            await self.kill(child.pid, f"its parent {pid} was killed")
        await self._stop_task(process)
        if process.row_status not in ENDED:
            await self._end(process, "stopped", reason, None)

    async def pause(self, pid: int) -> None:
        """Hold a process at its next syscall until `resume`, also across a restart of the system."""
        process = self._table.get(pid)
        if process.row_status in ENDED or process.hold is not None or process.row_status == "paused":
            raise Conflict(f"process {pid} is {process.status}; only a living one that is not paused can be paused")
        process.hold = asyncio.Event()
        await self._journal.append([("process.status", ("paused", process.row_status, pid))])
        process.row_status = process.status = "paused"
        self._table.live.setdefault(pid, process)

    async def resume(self, pid: int) -> None:
        """Let a paused process go on."""
        process = self._table.get(pid)
        if process.row_status != "paused":
            raise Conflict(f"process {pid} is {process.status}, not paused")
        interrupted = process.task is not None or process.reason == "running" or self._table.messages(process.box)
        process.status = process.row_status = "running" if interrupted else "waiting"
        process.reason = None
        await self._journal.append([("process.status", (process.row_status, None, pid))])
        hold, process.hold = process.hold, None
        if hold is not None:
            hold.set()
        if process.task is None:
            self._table.live.pop(pid, None)
            if interrupted:
                self.start(process)

    async def configure(self, pid: int, args: Json, grant: Grant, budgets: tuple[Budget, ...] = ()) -> None:
        """Give a process new arguments from its next turn on, and another grant and other budgets at once."""
        process = self._table.get(pid)
        if process.row_status in ENDED:
            raise Conflict(f"process {pid} has ended; start a new one")
        writes: list[Statement] = []
        old, new = self._journal.pack(process.args, writes), self._journal.pack(args, writes)
        in_turn = bool(process.turn_began) or process.seq > process.upto
        process.seq += 1
        writes.append(self._mark(process, "configure", process.turn + (2 if in_turn else 1), old, new))
        writes.append(("process.held", (codec.canonical(grant), codec.canonical(budgets), pid)))
        process.grant, process.budgets = grant, budgets
        if in_turn:
            process.next_args = (args,)
        else:
            process.upto = process.seq
            self._set_args(process, args, writes)
        await self._journal.append(writes)

    def _set_args(self, process: Process, args: Json, writes: list[Statement]) -> None:
        process.args, process.next_args = args, None
        process.origins["args"] = []  # they come from a service
        row = (self._journal.pack(args, writes), process.upto, process.sources(), process.pid)
        writes.append(("process.args", row))

    async def rename(self, pid: int, name: str | None) -> None:
        """Give a process another name: messages to the old one no longer reach it."""
        self._table.get(pid).name = name
        await self._journal.append([("process.name", (name, pid))])

    async def ended(self, pid: int) -> Process:
        """Wait for the end of a process and return its record."""
        process = self._table.get(pid)
        while process.status not in ENDED:
            event = asyncio.Event()
            self._end_watchers[pid].add(event)
            await event.wait()
        return process
