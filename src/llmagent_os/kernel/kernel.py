"""The life of processes: started, run turn by turn, parked, paused, supervised, ended, and resumed after a crash."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..core import codec
from ..core.errors import (
    BudgetExceeded,
    Conflict,
    InvalidRequest,
    JournalDamaged,
    JournalFull,
    LLMAgentOSError,
    NotFound,
    ProcessFailed,
    not_found,
)
from ..core.ports import Filter, Store, Tool
from ..core.records import Budget, Call, Envelope, Json, Supervision
from ..core.sys import Sys
from .door import Door, Syscall
from .journal import History, Journal, Statement
from .process import ENDED, Idle, Process, Program, failure
from .records import Records
from .router import Engines
from .scheduler import Policy, Scheduler, fifo
from .streams import Streams
from .supervisor import Child, Decision, decide
from .syscalls import Builtins
from .table import ProcessTable, envelope

log = logging.getLogger(__name__)

RETRY_FULL = 5.0  # seconds between tries of a process whose journal entry found no space on the disk


class Kernel:
    """Everything behind the door, over one store. Made by `boot`; started with `start_all`, ended with `close`."""

    def __init__(
        self,
        store: Store,
        programs: Mapping[str, Program],
        tools: Mapping[str, Tool] | None = None,
        filters: Sequence[Filter] = (),
        syscalls: Mapping[str, Syscall] | None = None,
        policy: Policy = fifo,
        threaded_commits: bool = False,
    ) -> None:
        self.store = store
        self.programs = dict(programs)
        self.tools = dict(tools or {})
        self.journal = Journal(store, threaded_commits)
        self.table = ProcessTable(store)
        self.records = Records(self.journal)
        self.engines = Engines()
        self.scheduler = Scheduler(policy)
        self.streams = Streams()
        self.door = Door(self.journal, self.streams, Builtins(self).table() | dict(syscalls or {}), filters)
        self.workers: dict[str, asyncio.Task[Any]] = {}
        self._services: dict[str, Process] = {}
        self._box_watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._end_watchers: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._background: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._boot = uuid.uuid4().hex[:8]

    # -- start and stop of the whole

    async def start_all(self) -> int:
        """Resume every process that a stop or crash interrupted and return how many there were."""
        resumed = 0
        for process in self.table.awake():
            self.start(process)
            resumed += 1
        return resumed

    async def close(self) -> None:
        """Stop all work where it stands; the next start resumes it."""
        self._closing = True
        tasks = [process.task for process in self.table.live.values() if process.task is not None]
        tasks += [*self._background, *self.workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.journal.drain()
        await self.engines.close()
        self.store.close()

    def health(self) -> dict[str, str | None]:
        """Per part None, or what is wrong with it; any trouble means red."""
        parts = {"journal": self.journal.trouble}
        parts |= {f"engine {name}": trouble for name, trouble in self.engines.health().items()}
        parts |= {f"worker {name}": _ended_how(task) for name, task in self.workers.items()}
        return parts

    def worker(self, name: str, work: Any) -> None:
        """Run a background task for as long as the kernel lives; `health` turns red when it ends before."""
        self.workers[name] = asyncio.get_running_loop().create_task(work)

    # -- making and starting processes

    def new_process(
        self,
        program: str,
        args: Json,
        name: str | None,
        parent: Process | None,
        budget: Budget,
        supervision: Supervision,
    ) -> Process:
        """Make a process record (its row is the caller's to write); raises NotFound for an unknown program."""
        if program not in self.programs:
            raise not_found("program", program, self.programs)
        tenant, principal = (parent.tenant, parent.principal) if parent else ("default", "owner")
        above = None if parent is not None and parent.service is not None else parent
        return self.table.create(
            program, args, name, above, budget, supervision, self.programs[program].wakes, tenant, principal
        )

    async def service(self, name: str, principal: str = "owner", tenant: str = "default") -> Sys:
        """A handle for code outside any process (the gateway, the CLI): its calls are journalled, never replayed."""
        process = self._services.get(name)
        if process is None:
            process = self._services[name] = await self._service_process(name, tenant, principal)
        return Sys(self.door, process, principal)

    async def _service_process(self, name: str, tenant: str, principal: str) -> Process:
        pids = self.table.named(f"service/{name}")
        if pids:
            process = self.table.get(pids[0])
            process.seq = int(self.store.read("call.last", process.pid)[0][0])
        else:
            process = self.table.create(
                "service", None, f"service/{name}", None, Budget(), Supervision(), True, tenant, principal
            )
            process.row_status = "waiting"
            await self.journal.append([("process.add", process.values())])
        process.service = self._boot
        process.row_status = process.status = "running"
        return process

    def start(self, process: Process) -> None:
        """Run a process whose row is durable; one that starts parked stays a row until a message comes."""
        if process.status == "new" and process.row_status == "waiting":
            process.status = "waiting"
            return
        if process.pid in self.table.live or self._closing or process.service is not None:
            return
        self.table.live[process.pid] = process
        process.task = asyncio.get_running_loop().create_task(self._run(process))

    # -- a process's life

    async def _run(self, process: Process) -> None:
        """Run turns until the process parks with an empty mailbox, ends, or is cancelled."""
        try:
            process.history = self._history(process)
            while await self._turn(process):
                process.history = None
        except asyncio.CancelledError:
            if process.killed is not None and not self._closing:
                self._detach(self._end(process, "stopped", process.killed, None))
        except JournalDamaged as error:
            self._quarantine(process, error)
        except JournalFull:
            log.error("process %d waits for disk space", process.pid)
            self._detach(self._start_later(process, RETRY_FULL))
        finally:
            if self.table.live.get(process.pid) is process and process.task is asyncio.current_task():
                del self.table.live[process.pid]
                process.task = None

    def _history(self, process: Process) -> History | None:
        rows = self.journal.rows(process.pid, process.upto)
        for row in rows:
            if row.name == "configure" and row.turn > process.turn + 1:
                process.next_args = (self.journal.unpack(row.result),)
        return History(rows) if rows else None

    async def _turn(self, process: Process) -> bool:
        """Run the program once; True if it should run again."""
        process.status = "running"
        process.repeats.clear()
        process.serving = None
        process.turn_began = time.monotonic()
        state = self.journal.unpack(process.state)
        try:
            program = self.programs.get(process.program)
            if program is None:
                raise not_found("program", process.program, self.programs)
            outcome = await program.run(Sys(self.door, process), process.args, state)
        except (JournalFull, JournalDamaged):
            raise
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
        process.state = self.journal.pack(state, writes)
        self._close_turn(process, "idle", process.state, writes)
        process.row_status = "waiting"
        row = ("waiting", process.state, codec.dumps(process.tally), process.upto, process.turn, process.pid)
        writes.append(("process.park", row))
        if process.next_args is not None:
            process.args, process.next_args = process.next_args[0], None
            writes.append(("process.args", (codec.dumps(process.args), process.pid)))
        await self.journal.append(writes)
        process.status = "waiting"
        return bool(self.table.messages(process.box))

    def _close_turn(self, process: Process, mark: str, outcome: bytes | None, writes: list[Statement]) -> None:
        """Add the row that says how a turn ended; what came before it is never replayed into a later turn."""
        process.tally.seconds += time.monotonic() - process.turn_began if process.turn_began else 0.0
        process.turn_began = 0.0
        process.turn += 1
        process.seq = process.upto = process.seq + 1
        writes.append(self._mark(process, mark, process.turn, b"{}", outcome))

    def _mark(self, process: Process, mark: str, turn: int, args: bytes, outcome: bytes | None) -> Statement:
        """A row that is no call: see `journal.MARKS`."""
        key = f"{process.pid}.{turn}.{mark}"
        call = Call(process.pid, mark, {}, key, process.tenant, process.principal, 0.0, seq=process.seq)
        return self.journal.row(call, turn, args, outcome, None, (time.time(), 0.0))

    async def _end(self, process: Process, status: str, reason: str | None, result: Json) -> None:
        """Write the end of a process, answer whoever waits for it, and end what is below it."""
        writes: list[Statement] = []
        packed = self.journal.pack(result, writes)
        self._close_turn(process, "exit" if status == "done" else "stop", packed, writes)
        process.result, process.reason, process.row_status = packed, reason, status
        usage = codec.dumps(process.tally)
        writes.append(("process.end", (status, reason, packed, usage, process.upto, process.turn, process.pid)))
        if status == "stopped":
            error = ProcessFailed(reason or "stopped", pid=process.pid, reason=reason)
            self._answer_with_error(process, error, writes)
            for n, message in self.table.messages(process.box, 1_000_000):
                writes.append(("message.take", (n,)))
                self._refuse(process, message, error, writes)
        await self.journal.append(writes)
        process.status = "stopped" if status == "stopped" else "done"
        for child in reversed(self.table.children(process.pid)):
            await self.kill(child.pid, f"its parent {process.pid} ended")
        for event in self._end_watchers.pop(process.pid, ()):
            event.set()

    def _answer_with_error(self, process: Process, error: LLMAgentOSError, writes: list[Statement]) -> None:
        """Nobody waits for ever: the message being served gets the error as its answer."""
        if process.serving is not None:
            self._refuse(process, process.serving, error, writes)
            process.serving = None

    def _refuse(self, process: Process, message: Envelope, error: LLMAgentOSError, writes: list[Statement]) -> None:
        if not message.reply_to:
            return
        body = codec.dumps({"error": error.to_data()})
        box = message.reply_to
        writes.append(("message.add", (f"{message.id}.error", box, body, process.box, None, message.task, time.time())))
        asyncio.get_running_loop().call_soon(self.notify, box)

    # -- failure and supervision

    async def _failed(self, process: Process, error: Exception) -> bool:
        """Record a turn that raised, answer its message, and let the supervisor decide."""
        known = failure(process.pid, error)
        reason = known.message
        if known is not error:
            log.error("process %d (%s) failed", process.pid, process.program, exc_info=error)
        writes: list[Statement] = []
        self._answer_with_error(process, known, writes)
        packed = self.journal.pack(known.to_data(), writes)
        self._close_turn(process, "fail", packed, writes)
        usage = codec.dumps(process.tally)
        row = ("running", process.state, usage, process.upto, process.turn, process.pid)
        writes.append(("process.park", row))
        process.row_status = "running"
        await self.journal.append(writes)
        if isinstance(error, BudgetExceeded):  # restarting cannot help: the budget stays used up
            await self._end(process, "stopped", reason, None)
            return False
        process.reason = reason
        return await self._supervise(process, failed=True)

    async def _supervise(self, process: Process, failed: bool) -> bool:
        """Carry out the supervisor's decision about a process that ended; True if it runs again itself."""
        decision = self._decide(process, failed)
        above = process.up
        if above is not None and decision.restart:
            above.restarts.append(time.monotonic())
        if decision.give_up:
            await self._give_up(process, decision, failed)
            return False
        for pid in decision.stop:
            await self._interrupt(pid, "stopped with a sibling")
        for pid in decision.restart:
            if pid != process.pid:
                await self._restart(pid)
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
            await self._interrupt(above.pid, reason)
            if await self._failed(above, ProcessFailed(f"below it: {reason}", pid=process.pid, reason=reason)):
                self.start(above)

    def _decide(self, process: Process, failed: bool) -> Decision:
        above, me = process.up, Child(process.pid, process.supervision.restart)
        if above is None:
            restarts = process.restarts
            supervision = Supervision()
            children: list[Child] = []
        else:
            restarts, supervision = above.restarts, above.supervision
            children = [child for child in self.table.children(above.pid) if child.pid != process.pid]
        now = time.monotonic()
        decision = decide(supervision, children, me, failed, restarts, now)
        if above is None and decision.restart:
            restarts.append(now)
        restarts[:] = [at for at in restarts if now - at < supervision.period]
        return decision

    async def _interrupt(self, pid: int, reason: str) -> None:
        """Stop a process's turn where it is, without ending the process."""
        process = self.table.get(pid)
        task = process.task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        writes: list[Statement] = []
        self._answer_with_error(process, ProcessFailed(reason, pid=pid, reason=reason), writes)
        self._close_turn(process, "restart", None, writes)
        row = ("waiting", process.state, codec.dumps(process.tally), process.upto, process.turn, pid)
        writes.append(("process.park", row))
        process.row_status = "waiting"
        await self.journal.append(writes)

    async def _restart(self, pid: int) -> None:
        process = self.table.get(pid)
        if process.row_status in ENDED:
            return
        if self.programs[process.program].wakes and not self.table.messages(process.box):
            process.status = "waiting"
            return
        await self._revive(process)
        self.start(process)

    async def _revive(self, process: Process) -> None:
        process.status = "running"
        process.row_status = "running"
        process.killed = None
        await self.journal.append([("process.status", ("running", None, process.pid))])

    def _quarantine(self, process: Process, error: JournalDamaged) -> None:
        """Leave a process whose rows are damaged as it is: nothing runs on half a memory."""
        reason = f"quarantined: {error.message}"
        log.error("process %d is quarantined: %s", process.pid, error.message)
        process.status, process.reason = "stopped", reason
        self.table.quarantined[process.pid] = reason
        self._detach(self._write_status(process.pid, reason))

    async def _write_status(self, pid: int, reason: str) -> None:
        try:
            await self.journal.append([("process.status", ("stopped", reason, pid))])
        except JournalDamaged:
            log.error("the row of process %d is damaged too; it stays quarantined while the system runs", pid)

    async def _start_later(self, process: Process, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.start(self.table.get(process.pid))

    def _detach(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # -- control from outside a process

    async def kill(self, pid: int, reason: str = "killed") -> None:
        """End a process and everything below it. Killing one that has ended is a Conflict."""
        process = self.table.get(pid)
        if process.row_status in ENDED or process.service is not None:
            raise Conflict(f"process {pid} is {process.row_status if process.service is None else 'a service'}")
        for child in reversed(self.table.children(pid)):
            await self.kill(child.pid, f"its parent {pid} was killed")
        process.killed = reason
        if process.task is not None and process.task is not asyncio.current_task():
            process.task.cancel()
            await self.ended(pid)
        else:
            await self._end(process, "stopped", reason, None)

    async def pause(self, pid: int) -> None:
        """Hold a process at its next syscall until `resume`, also across a restart of the system."""
        process = self.table.get(pid)
        if process.row_status in ENDED or process.hold is not None or process.row_status == "paused":
            raise Conflict(f"process {pid} is {process.status}; only a living one that is not paused can be paused")
        process.hold = asyncio.Event()
        await self.journal.append([("process.status", ("paused", process.row_status, pid))])
        process.row_status = process.status = "paused"
        self.table.live.setdefault(pid, process)

    async def resume(self, pid: int) -> None:
        """Let a paused process go on."""
        process = self.table.get(pid)
        if process.row_status != "paused":
            raise Conflict(f"process {pid} is {process.status}, not paused")
        interrupted = process.task is not None or process.reason == "running"
        interrupted = interrupted or bool(self.table.messages(process.box))
        process.row_status = "running" if interrupted else "waiting"
        process.status, process.reason = "running" if interrupted else "waiting", None
        await self.journal.append([("process.status", (process.row_status, None, pid))])
        hold, process.hold = process.hold, None
        if hold is not None:
            hold.set()
        if process.task is None:
            self.table.live.pop(pid, None)
            if interrupted:
                self.start(process)

    async def configure(self, pid: int, args: Json) -> None:
        """Give a process new arguments from its next turn on."""
        process = self.table.get(pid)
        if process.row_status in ENDED:
            raise Conflict(f"process {pid} has ended; start a new one")
        writes: list[Statement] = []
        old, new = self.journal.pack(process.args, writes), self.journal.pack(args, writes)
        process.seq += 1
        if process.task is None:
            process.args = args
            writes.append(self._mark(process, "configure", process.turn + 1, old, new))
            writes.append(("process.args", (codec.dumps(args), pid)))
        else:
            process.next_args = (args,)
            writes.append(self._mark(process, "configure", process.turn + 2, old, new))
        await self.journal.append(writes)

    async def rename(self, pid: int, name: str | None) -> None:
        """Give a process another name, or none: messages to the old name no longer reach it."""
        self.table.get(pid).name = name
        await self.journal.append([("process.name", (name, pid))])

    async def ended(self, pid: int) -> Process:
        """Wait for the end of a process and return its record."""
        process = self.table.get(pid)
        while process.status not in ENDED:
            event = asyncio.Event()
            self._end_watchers[pid].add(event)
            await event.wait()
        return process

    def ancestors(self, pid: int) -> set[int]:
        """The pids above a process."""
        return self.table.ancestors(pid)

    # -- messages

    def address(self, to: int | str) -> str:
        """The box for a pid, a box's own name (it has a slash), or a name: of its processes the least busy one.

        Raises NotFound, or Conflict for a process that has ended.
        """
        if isinstance(to, str) and "/" in to:
            return to
        pids = [to] if isinstance(to, int) else self.named(to)
        if not pids:
            raise not_found("process", str(to), self.table.names())
        if len(pids) == 1:
            process = self.table.get(pids[0])
            if process.row_status in ENDED:
                raise Conflict(f"process {pids[0]} has ended ({process.reason or process.row_status})")
            return process.box
        return min((self._load(pid), pid, f"pid/{pid}") for pid in pids)[2]

    def _load(self, pid: int) -> int:
        process = self.table.live.get(pid)
        running = process is not None and process.status != "waiting"
        return self.table.waiting_messages(f"pid/{pid}") + running

    def named(self, name: str) -> list[int]:
        """The living processes of a name, oldest first."""
        return self.table.named(name)

    def messages(self, box: str, limit: int = 1) -> list[tuple[int, Envelope]]:
        """The oldest messages of a box that nobody took."""
        return self.table.messages(box, limit)

    def notify(self, box: str) -> None:
        """Wake whoever waits at a box: its process, and watchers such as a client that waits for an answer."""
        for event in self._box_watchers.get(box, ()):
            event.set()
        if not box.startswith("pid/"):
            return
        process = self.table.live.get(int(box[4:]))
        if process is not None:
            process.wake.set()
            return
        try:
            process = self.table.get(int(box[4:]))
        except NotFound:
            return
        if process.row_status not in ENDED and process.row_status != "paused":
            process.status = "waiting" if process.status == "new" else process.status
            self.start(process)

    async def message(self, box: str, timeout: float | None = None) -> Envelope:
        """The first message of a box, left there; waits for one. Raises TimeoutError."""
        event = asyncio.Event()
        self._box_watchers[box].add(event)
        try:
            async with asyncio.timeout(timeout):
                while not (found := self.messages(box)):
                    event.clear()
                    await event.wait()
            return found[0][1]
        finally:
            self._box_watchers[box].discard(event)
            if not self._box_watchers[box]:
                del self._box_watchers[box]

    def find_message(self, identifier: str) -> Envelope | None:
        """A message by its id, taken or not."""
        rows = self.store.read("message.get", identifier)
        return envelope(rows[0]) if rows else None

    # -- blobs

    def keep_blob(self, data: bytes, writes: list[Statement]) -> str:
        """Add a blob to `writes` and return its name, the hash of its content."""
        digest = hashlib.blake2b(data, digest_size=16).digest()
        writes.append(("blob.add", (digest, zlib.compress(data, 1))))
        return digest.hex()

    def blob(self, name: str) -> bytes:
        """The content of a blob; raises NotFound."""
        try:
            rows = self.store.read("blob.get", bytes.fromhex(name))
        except ValueError:
            raise InvalidRequest(f"{name!r} is not a blob's name (32 hexadecimal digits)", parameter="blob") from None
        if not rows:
            raise NotFound(f"no blob {name}", kind="blob", name=name)
        return zlib.decompress(rows[0][0])


def _ended_how(task: asyncio.Task[Any]) -> str | None:
    if not task.done():
        return None
    if task.cancelled():
        return "was cancelled"
    return f"died: {task.exception()!r}"


