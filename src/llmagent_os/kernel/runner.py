"""Runs processes turn by turn: park, fail, supervise, pause, kill, and take up what a crash cut off.

Every change of a process's life is one commit: decided as data (`life`, `supervisor`), in memory at once
(`Process.move`), and written together with the answers that it owes and the ends that follow from it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from ..core import codec
from ..core.accounts import statements
from ..core.commits import Statement
from ..core.errors import Conflict, JournalDamaged, JournalUnavailable, LLMAgentOSError, ProcessFailed, not_found, text
from ..core.life import Event, transition
from ..core.records import Budget, Call, Envelope, Grant, Json, Supervision
from ..core.rows import answer
from ..core.sys import Sys
from .door import Door
from .journal import History, Journal
from .mailbox import Mailbox
from .process import Idle, Process, Program, failure
from .supervisor import Child, Remedy, decide, is_hopeless, is_let_go
from .table import ProcessTable

log = logging.getLogger(__name__)

Writes = list[Statement]
Error = LLMAgentOSError | None

RETRY_FULL = 5.0  # seconds between tries of a process whose journal entry found no space on the disk
STUBBORN = 1.0  # seconds after which a turn that swallowed its cancellation is cancelled again


class Runner:
    """Owns the tasks of all live processes."""

    def __init__(
        self, journal: Journal, table: ProcessTable, mail: Mailbox, door: Door, programs: Mapping[str, Program]
    ) -> None:
        self.programs = programs
        self._journal, self._table, self._mail, self._door = journal, table, mail, door
        self._background: set[asyncio.Task[Any]] = set()
        self._closing = False

    async def close(self) -> None:
        """Stop every turn where it stands; the next start resumes it."""
        self._closing = True
        tasks = [*self._background, *(process.task for process in self._table.live.values() if process.task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- turns

    def start(self, process: Process) -> None:
        """Run a process whose row is durable, unless it is paused, at its end, or parked and there is no message."""
        life = process.life
        if process.task is not None or process.settling or life.paused or life.ended or self._closing:
            return
        if process.program == "service" or (life.phase == "waiting" and not self._table.messages(process.box)):
            return
        self._table.live[process.pid] = process
        process.task = asyncio.get_running_loop().create_task(self._run(process))

    def wake(self, pid: int) -> None:
        """A message came, or the system starts: let the process go on. Who writes to one that has ended is told."""
        process, box = self._table.find(pid), f"pid/{pid}"
        if process is not None:
            self.start(process)
            if process.life.ended and self._table.messages(box):
                self._detach(self._return_to_senders(process))
        elif pid in self._table.quarantined:  # not even its row can be read
            body = codec.dumps({"error": JournalDamaged(self._table.quarantined[pid], pid=pid).to_data()})
            waiting = [message.reply_to or "" for message in self._table.unanswered(box)]
            told = self._detach(self._commit([("message.refuse", (body, time.time(), box)), ("message.skip", (box,))]))
            told.add_done_callback(lambda done: self._mail.notify(*waiting))

    async def _run(self, process: Process) -> None:
        """Run turns until the process parks with an empty mailbox, fails, ends, or is cancelled."""
        try:
            while await self._turn(process):
                pass
        except Exception as error:
            process.settling += 1
            self._detach(self._trouble(error, [process]))
        finally:
            self._table.live.pop(process.pid, None)
            process.task = None

    def _memory(self, process: Process) -> tuple[History, Json]:
        """The finished calls of an interrupted turn, and the state that it began with; raises JournalDamaged."""
        try:
            rows = self._journal.rows(process.pid, process.upto) if process.seq > process.upto else []
            for row in rows:
                if row.name == "configure" and row.turn > process.turn + 1:
                    process.next_args = (self._journal.unpack(row.result),)
                self._journal.unpack(row.error or row.result)
            return History(rows), self._journal.unpack(process.state)
        except (LLMAgentOSError, ValueError) as error:  # a blob that is gone or is not JSON: half a memory as well
            raise JournalDamaged(f"process {process.pid} cannot be read: {text(error)}", pid=process.pid) from error

    async def _turn(self, process: Process) -> bool:
        """Run the program once, and park where it says so; True if it should run again now."""
        process.history, state = self._memory(process)
        for told in (process.repeats, process.owed, process.taking, process.seen):
            told.clear()
        process.see(process.made_of())
        process.doing, process.turn_began = "running", time.monotonic() - process.earlier
        error: Error = None
        outcome: Any = None
        try:
            program = self.programs.get(process.program)
            if program is None:
                raise not_found("program", process.program, self.programs)
            outcome = await program.run(Sys(self._door, process), process.args, state)
            data = codec.dumps(outcome.state if isinstance(outcome, Idle) else outcome)
        except (JournalUnavailable, JournalDamaged):
            raise
        except asyncio.CancelledError:
            error = _failed(process, "the program cancelled itself")
        except (Exception, SystemExit) as raised:
            error = failure(process.pid, raised)
            if error is not raised:
                log.error("process %d (%s) failed", process.pid, process.program, exc_info=raised)
        if process.settling or self._closing or _cut_off():  # it is stopped; also where the program swallowed it
            raise asyncio.CancelledError
        while process.life.paused:  # how a turn ends is a step as well
            await process.go.wait()
        if error is not None or not isinstance(outcome, Idle):
            process.settling, touched = process.settling + 1, [process]
            self._detach(self._change(self._end_turn(process, outcome, error, touched, []), touched))
            return False
        writes: Writes = []
        before, (process.state,) = process.state, await self._journal.packed(writes, data)
        empty, same = outcome.state is None, process.state == before  # then it kept nothing of this turn
        process.origins["state"] = [] if empty else process.origins.get("state", []) if same else process.made_of()
        self._close_turn(process, "idle", process.state, writes)
        writes.append(process.move("park"))
        await self._commit(writes)
        process.doing = "waiting"
        return not process.life.paused and bool(self._table.messages(process.box))

    async def _commit(self, writes: Writes) -> None:
        """Write, then let it count, and wake whoever waits for it; also where the caller has gone meanwhile."""
        await self._journal.append(writes, partial(self._tell, writes))

    def _tell(self, writes: Writes) -> None:
        self._door.ledger.wrote(writes)
        boxes = [values[1] for name, values in writes if name == "message.add"]
        self._mail.notify(*boxes, *(f"end/{values[-1]}" for name, values in writes if name == "process.result"))

    def _close_turn(self, process: Process, mark: str, outcome: bytes | None, writes: Writes) -> None:
        """Add the row that says how a turn ended; what came before it is never replayed into a later turn."""
        seconds = time.monotonic() - process.turn_began if process.turn_began else process.earlier
        process.tally.seconds += seconds
        process.turn_began = process.earlier = 0.0
        entries = self._door.ledger.entries(process, process.acting, {"seconds": seconds})
        writes += statements(entries)
        process.turn += 1
        process.seq = process.upto = process.seq + 1
        writes.append(self._mark(process, mark, process.turn, b"{}", outcome))
        if process.next_args is not None:
            self._set_args(process, process.next_args[0], writes)
        writes.append(process.snapshot())

    def _mark(self, process: Process, mark: str, turn: int, args: bytes, outcome: bytes | None) -> Statement:
        """A row that is no call: see `journal.MARKS`."""
        key = f"{process.pid}.{turn}.{mark}"
        call = Call(process.pid, mark, {}, key, process.tenant, process.principal, 0.0, seq=process.seq)
        return self._journal.row(call, turn, args, outcome, None, (time.time(), 0.0))

    # -- how turns and processes end: each adds what it changes to `writes`

    def _break_off(self, process: Process, error: LLMAgentOSError, mark: str, writes: Writes) -> None:
        """A turn is over and its process is not: who waits is told, and it takes the next message, or begins anew."""
        if not process.life.ended:
            self._refuse(process, self.owing(process), error, writes)
            told = self._journal.pack(error.to_data(), writes) if mark == "fail" else None
            self._close_turn(process, mark, told, writes)
            writes.append(process.move("interrupt" if self._wakes(process) else "restart"))

    def _bury(self, process: Process, event: Event, reason: str | None, writes: Writes) -> None:
        """A process is over by an event: nobody waits for it, or for an answer from it, any longer."""
        if process.life.ended and process.life.phase != "quarantined":
            return
        if not process.life.ended:
            waiting = [*self.owing(process), *self._take_all(process, writes)]
            self._refuse(process, waiting, _gone(process, reason), writes)
            if event == "kill":
                self._close_turn(process, "stop", b"null", writes)
        process.origins["result"] = process.made_of()
        writes += [process.move(event, reason), ("process.result", (process.result, process.sources(), process.pid))]

    def owing(self, process: Process) -> list[Envelope]:
        """The messages of an open turn that want an answer, by its rows too; for processes that do not run now."""
        if process.history is None:
            process.owed, process.history = [], self._memory(process)[0]
        history = process.history
        while (row := history.next()) is not None:
            history.take(row.key)
            self._door.recall(process, row)
        return process.owed

    def _take_all(self, process: Process, writes: Writes) -> list[Envelope]:
        """What nobody took from the box of a process that takes nothing any more."""
        waiting = self._table.messages(process.box, 1_000_000)
        writes += [("message.take", (n,)) for n, _ in waiting]
        return [message for _, message in waiting]

    def _refuse(self, process: Process, messages: Iterable[Envelope], why: LLMAgentOSError, writes: Writes) -> None:
        """Nobody waits for ever: who wants an answer gets an error."""
        told, whose = {"error": why.to_data()}, process.made_of()
        for each in filter(lambda message: message.reply_to, messages):
            writes.append(answer(each, "error", told, process.tenant, process.box, whose))
        process.owed.clear()

    async def _return_to_senders(self, process: Process) -> None:
        """Refuse what came for a process while it ended."""
        writes: Writes = []
        self._refuse(process, self._take_all(process, writes), _gone(process, process.reason), writes)
        await self._commit(writes)

    async def _below(self, process: Process, everything: bool, touched: list[Process]) -> list[Process]:
        """Stop what ends with a process, or else with its present turn; the lowest come first."""
        found: list[Process] = []
        for child in reversed(self._table.children(process.pid)):
            below = self._table.get(child.pid)
            if everything or below.owner_turn == process.turn + 1:
                await self._stop(below, touched)
                found += [*await self._below(below, True, touched), below]
        return found

    async def _stop(self, process: Process, touched: list[Process]) -> None:
        """Cancel a turn and wait until it is over. Nothing starts the process until `_change` is through."""
        process.settling += 1
        touched.append(process)
        task = process.task
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=STUBBORN)
        process.task = None
        self._table.live.pop(process.pid, None)

    def _wakes(self, process: Process) -> bool:
        return process.program in self.programs and self.programs[process.program].wakes

    # -- supervision

    async def _change(self, work: Coroutine[Any, Any, None], touched: list[Process]) -> None:
        """Do what stops and changes processes; where it cannot be written they are again what their rows say."""
        try:
            await work
        except Exception as error:
            await self._trouble(error, touched)
            raise
        for process in reversed(touched):
            process.settling -= 1
            self.start(process)

    async def _end_turn(
        self, process: Process, result: Json, error: Error, touched: list[Process], writes: Writes
    ) -> None:
        """A turn has failed, or was the last: end or restart the process, and whom its supervisor says."""
        turn, above, decision = process.turn, process.up, self._decide(process, error)
        again = process.pid in decision.restart
        doomed = await self._below(process, not again, touched) if error is not None or not again else []
        siblings = [self._table.get(pid) for pid in decision.stop]
        for sibling in siblings:
            await self._stop(sibling, touched)
            doomed += await self._below(sibling, sibling.pid not in decision.restart, touched)
        if process.turn == turn and not process.life.ended:  # or somebody has ended the turn meanwhile
            self._carry_out(decision, process, result, error, siblings, doomed, writes)
            if decision.give_up and above is not None and not above.life.ended:
                await self._stop(above, touched)
                above.see(process.made_of())
                return await self._end_turn(above, None, _failed(above, f"below it: {process.reason}"), touched, writes)
        await self._commit(writes)

    def _carry_out(
        self, decision: Remedy, process: Process, result: Json, error: Error, siblings: list[Process],
        doomed: list[Process], writes: Writes,
    ) -> None:  # fmt: skip
        """Add everything that follows from the end of a turn, from the lowest process up."""
        reason = None if error is None else error.message
        if decision.give_up:
            reason = f"too many restarts; the last after: {reason or 'it ended'}"
        together = f"stopped with its sibling {process.pid}"
        for each in doomed:
            self._bury(each, "kill", f"its parent {each.parent} ended", writes)
        for sibling in siblings:
            sibling.see(process.made_of())
            if sibling.pid not in decision.restart:
                self._bury(sibling, "kill", reason if decision.give_up else together, writes)
            else:
                self._break_off(sibling, _failed(sibling, together), "restart", writes)
        if decision.restart:
            holder = process.up or process
            writes.append(("process.restarts", (codec.dumps(holder.restarts).decode(), holder.pid)))
        if error is not None:
            if is_hopeless(error, self._wakes(process)) and not self.owing(process):
                self._refuse(process, self._take_all(process, writes), error, writes)  # what waits would be in vain
            self._break_off(process, error, "fail", writes)
        else:
            packed = self._journal.pack(result, writes)
            self._close_turn(process, "exit", packed, writes)
            writes.append(process.move("interrupt" if self._wakes(process) else "restart"))
        if process.pid not in decision.restart:
            process.result = packed if error is None else None
            self._bury(process, "finish" if reason is None else "fail", reason, writes)

    def _decide(self, process: Process, error: Error) -> Remedy:
        """Ask the supervisor above; a process without one is supervised alone, by default rules."""
        if is_hopeless(error, self._wakes(process)):
            parks = self._wakes(process) and process.supervision.restart != "temporary"
            return Remedy(restart=(process.pid,) if parks else ())  # it is there when there is a budget again
        above, me = process.up, Child(process.pid, process.supervision.restart)
        if is_let_go(me, error is not None):
            return Remedy()  # to look for siblings would take as long as the parent has had children
        supervision = above.supervision if above else Supervision()
        siblings = [child for child in self._table.children(above.pid) if child != me] if above else []
        restarts, now = (above or process).restarts, time.time()
        restarts[:] = [at for at in restarts if now - at < supervision.period]
        decision = decide(supervision, siblings, me, error is not None, restarts, now)
        if decision.restart:
            restarts.append(now)
        return decision

    # -- from outside a turn

    def _one(self, pid: int, event: Event) -> Process:
        """A process to which an event can happen; raises NotFound or Conflict."""
        process = self._table.get(pid)
        if process.program == "service":
            raise Conflict(f"process {pid} is a service: {event} is not possible")
        transition(process.life, event)
        return process

    async def interrupt(self, pid: int, reason: str) -> None:
        """Stop a process's turn where it is and answer its message with an error; then it goes on."""
        await self._cut(self._one(pid, "interrupt"), "interrupt", reason)

    async def kill(self, pid: int, reason: str = "killed") -> None:
        """End a process and everything below it. Killing one that has ended is a Conflict."""
        await self._cut(self._one(pid, "kill"), "kill", reason)

    async def _cut(self, process: Process, event: Event, reason: str) -> None:
        """Break off a turn, or end its process, with what is below; also where whoever asked for it goes meanwhile."""
        touched: list[Process] = []

        async def work() -> None:
            await self._stop(process, touched)
            doomed, writes = await self._below(process, event == "kill", touched), Writes()
            for each in doomed:
                each.see(process.made_of())
                self._bury(each, "kill", f"its parent {each.parent} was broken off: {reason}", writes)
            if event == "kill":
                self._bury(process, event, reason, writes)
                self._table.quarantined.pop(process.pid, None)
            else:
                self._break_off(process, _failed(process, reason), "restart", writes)
            await self._commit(writes)

        await asyncio.shield(self._detach(self._change(work(), touched)))

    async def pause(self, pid: int, reason: str | None = None) -> None:
        """Hold a process at its next step until `resume`, also across a restart of the system."""
        await self._hold(pid, "pause", "resume", reason)

    async def resume(self, pid: int) -> None:
        """Let a paused process go on."""
        await self._hold(pid, "resume", "pause")

    async def _hold(self, pid: int, event: Event, back: Event, reason: str | None = None) -> None:
        process = self._one(pid, event)
        try:
            await self._journal.append([process.move(event, reason)])
        except LLMAgentOSError:
            process.move(back)
            raise
        self.start(process)

    async def configure(self, pid: int, args: Json, grant: Grant, budgets: tuple[Budget, ...] = ()) -> None:
        """Give a process new arguments from its next turn on, and another grant and other budgets at once."""
        process = self._one(pid, "configure")
        writes: Writes = []
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
            writes.append(process.snapshot())
        await self._journal.append(writes)

    def _set_args(self, process: Process, args: Json, writes: Writes) -> None:
        process.args, process.next_args = args, None
        process.origins["args"] = []  # they come from a service
        writes.append(("process.args", (self._journal.pack(args, writes), process.pid)))

    async def rename(self, pid: int, name: str | None) -> None:
        """Give a process another name: messages to the old one no longer reach it."""
        self._table.get(pid).name = name
        await self._journal.append([("process.name", (name, pid))])

    async def ended(self, pid: int) -> Process:
        """Wait for the end of a process and return its record."""
        process = self._table.get(pid)
        while not process.life.ended:
            await self._mail.news((f"end/{pid}",))
        return process

    # -- trouble with the journal

    async def _trouble(self, error: Exception, touched: list[Process]) -> None:
        """Nothing ends silently: what cannot be written now is tried again later, what cannot go on is quarantined."""
        process = touched[0]
        log.error("process %d cannot go on: %s", process.pid, text(error), exc_info=error)
        if isinstance(error, JournalUnavailable):
            self._detach(self._start_later(touched))
            return
        self._detach(self._start_later(touched[1:]))
        try:
            await self._quarantine(process, failure(process.pid, error))
        except LLMAgentOSError as trouble:
            log.error("process %d stays quarantined while the system runs: %s", process.pid, trouble.message)

    async def _quarantine(self, process: Process, error: LLMAgentOSError) -> None:
        """Leave a process that cannot be read as it is: nothing runs on half a memory. Who waits for it is told."""
        reason = self._table.quarantined[process.pid] = f"quarantined: {error.message}"
        writes = [process.move("quarantine", reason)]
        try:
            owed = self.owing(process)
        except JournalDamaged:
            owed = self._table.unanswered(process.box)
        self._refuse(process, [*owed, *self._take_all(process, writes)], error, writes)
        await self._commit(writes)

    async def _start_later(self, processes: list[Process]) -> None:
        """Set processes back to their rows after a while, as after a crash: what was not committed is forgotten."""
        await asyncio.sleep(RETRY_FULL)
        while self._journal.trouble is not None:  # also what was written last may come through only now
            await asyncio.sleep(RETRY_FULL / 10)
        for process in processes:
            self._table.reload(process)
            process.settling -= 1
            self.start(process)

    def _detach(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # it was logged, and may be raised
        return task


def _cut_off() -> bool:
    """Whether the loop ends under us, as after an exception of a program that we are in: the next start goes on."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failed(process: Process, reason: str) -> ProcessFailed:
    return ProcessFailed(reason, pid=process.pid, reason=reason)


def _gone(process: Process, reason: str | None) -> ProcessFailed:
    return _failed(process, f"process {process.pid} has ended: {reason or 'it is done'}")
