"""The kernel put together: one journal, one table, one door, and what stands behind it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..core.accounts import Ledger
from ..core.declared import plugged
from ..core.errors import InvalidRequest, LLMAgentOSError
from ..core.ports import DecodingStrategy, Engine, Filter, PageStore, Store, Syscall, Tool
from ..core.records import DEFAULT, SHARED, Budget, Call, Supervision
from ..core.stream import Streams
from ..core.sys import Sys
from ..sched.dispatch import Dispatcher
from ..sched.policies import SchedulerSettings
from ..sched.router import Engines, Router
from .door import Door
from .feed import Feed
from .journal import Journal
from .mailbox import Mailbox
from .process import Process, Program
from .runner import Runner
from .syscalls import Builtins
from .table import ProcessTable

log = logging.getLogger(__name__)


class Kernel:
    """Everything behind the door, over one store. Made by `boot`; started with `start_all`, ended with `close`."""

    def __init__(
        self,
        store: Store,
        programs: Mapping[str, Program],
        tools: Mapping[str, Tool] | None = None,
        filters: Sequence[Filter] = (),
        syscalls: Mapping[str, Syscall] | None = None,
        decode: DecodingStrategy = lambda request, engine: engine.generate(request),
        sharing: Callable[[str], SchedulerSettings] = lambda model: SchedulerSettings(),
        pages: PageStore | None = None,
        checkpoint: int = 0,
        budgets: Sequence[Budget] = (),
    ) -> None:
        self.store = store
        self.programs = dict(programs)
        self.tools = {} if tools is None else tools  # shared with whoever may add to it
        self.feed = Feed(store)
        self.journal = Journal(store, self.feed.committed)
        self.ledger = Ledger(store, budgets)
        self.table = ProcessTable(self.journal)
        self.engines = Engines()
        self.router = Router(self.engines)
        self.dispatchers: dict[str, Dispatcher] = {}
        self.decode = decode
        self.streams = Streams()
        self.mail = Mailbox(self.table, lambda pid: self.runner.wake(pid))
        table = Builtins(self).table() | {name: plugged(name, entry) for name, entry in (syscalls or {}).items()}
        self.door = Door(self.journal, self.streams, table, filters, self.ledger)
        self.runner = Runner(self.journal, self.table, self.mail, self.door, self.programs)
        self.checks: dict[str, Callable[[], str | None]] = {}  # what else `health` asks
        self.workers: dict[str, asyncio.Task[Any]] = {}
        self._sharing, self._pages, self._checkpoint = sharing, pages, checkpoint
        self._services: dict[tuple[str, str], Process] = {}
        self._boot = uuid.uuid4().hex[:8]

    async def start_all(self) -> None:
        """Resume every process that a stop or crash interrupted."""
        for pid in self.table.awake():
            self.runner.wake(pid)

    async def close(self) -> None:
        """Stop all work where it stands; the next start resumes it."""
        self.journal.hurry()
        self.door.closing = True
        await self.runner.close()
        for task in self.workers.values():
            task.cancel()
        await asyncio.gather(*self.workers.values(), return_exceptions=True)
        written = await self.journal.drain()
        for dispatcher in self.dispatchers.values():
            await dispatcher.pager.close()
        await self.engines.close()
        if self._pages is not None:
            await self._pages.close()
        if written:
            self.store.close()
        else:
            log.error("the disk did not take the last commits in time; what was answered is kept")

    def dispatcher(self, name: str, engine: Engine) -> Dispatcher:
        """Who serves the calls to a model; an engine that was opened anew gets a new one."""
        model = self.engines.resolve(name)
        found = self.dispatchers.get(model)
        if found is None or found.engine is not engine:
            found = Dispatcher(engine, self._sharing(model), self._pages, self._checkpoint)
            found.pager.load(self.table.find)
            self.dispatchers[model] = found
        return found

    async def intend(self, call: Call, process: Process) -> None:
        """Commit that a call is about to be carried out: a row of its own, with the call's key."""
        process.seq, writes, now = process.seq + 1, list[Any](), (time.time(), 0.0)
        mark = Call(call.pid, "intent", {}, call.key, call.tenant, call.principal, 0.0, process.seq, call.labels)
        row = self.journal.row(mark, process.turn + 1, self.journal.pack(call.args, writes), None, None, now)
        await self.journal.append([*writes, row])

    async def renice(self, pid: int, nice: int) -> None:
        """Change how a process stands in line, from now on and also for what it waits for now. Raises NotFound."""
        if not -20 <= nice <= 19:
            raise InvalidRequest(f"nice is {nice}; it goes from -20 (first) to 19 (last)", parameter="nice")
        process = self.table.get(pid)
        change, process.nice = nice - process.nice, nice
        for dispatcher in self.dispatchers.values():
            dispatcher.renice(pid, change)
        await self.journal.append([("process.nice", (nice, pid))])

    def forget(self, pids: Collection[int]) -> None:
        """Delete what is kept of the contexts of processes."""
        for dispatcher in self.dispatchers.values():
            dispatcher.pager.forget(pids)
        if self._pages is not None:
            self._pages.forget(pids)

    def health(self) -> dict[str, str | None]:
        """Per part None, or what is wrong with it; any trouble means red."""
        hurt = ", ".join(map(str, sorted(self.table.quarantined)[:10]))
        parts = {"journal": self.journal.trouble, "processes": f"quarantined: {hurt}; see `ps`" if hurt else None}
        parts |= {name: check() for name, check in self.checks.items()}
        parts |= {f"engine {name}": trouble for name, trouble in self.engines.health().items()}
        for name, task in self.workers.items():
            parts[f"worker {name}"] = f"has ended: {task!r}" if task.done() else None
        return parts

    def worker(self, name: str, work: Any) -> None:
        """Run a background task for as long as the kernel lives; `health` turns red when it ends before."""
        self.workers[name] = asyncio.get_running_loop().create_task(work)

    async def service(self, name: str, principal: str = "owner", tenant: str = DEFAULT) -> Sys:
        """A handle for code outside any process (the gateway, the CLI): its calls are journalled, never replayed."""
        process = self._services.get((tenant, name))
        if process is not None:
            return Sys(self.door, process, principal)
        full = f"service/{name}"
        pids = self.table.named(full, tenant)
        if pids:
            process = self.table.get(pids[0])
        else:
            process = self.table.create("service", None, full, None, (), Supervision(), True, tenant, SHARED)
        self._services[tenant, name] = process
        process.service = self._boot
        process.upto = process.seq  # nothing of it is replayed; so the next start sums up only what comes after
        try:
            await self.journal.append([process.snapshot() if pids else ("process.add", process.values(b"null"))])
        except LLMAgentOSError:
            del self._services[tenant, name]
            raise
        return Sys(self.door, process, principal)
