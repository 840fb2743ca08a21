"""What a planner asks of the kernel beyond what every program may: who its agents are, and how their work goes.

Four syscalls; the rows of `plan_made` and `plan_decide` are the record of what was planned and decided, and why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..core.errors import BudgetExceeded, InvalidRequest, NotFound
from ..core.ports import Syscall, own, uncovered
from ..core.records import Call, Json
from ..core.rows import Row
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from .decide import Known, Trouble, decide

MADE, DECIDED = "plan_made", "plan_decide"
QUIET = "it made no progress for"
"""How the reason begins for which a step without progress is ended."""
RECENT = 20  # runs of an agent that its record is taken from
ALIVE = ("ready", "asks", "paused")  # it waits for an engine or a person, which is nobody's fault

About = Callable[[Call, str], Awaitable[Mapping[str, Json]]]
"""What an agent declares: `about`, `skills`, `tools`; raises NotFound."""
Check = Callable[[Call, Process, Json], Awaitable[list[str]]]
"""What is wrong with the graph of a plan."""


class Watch:
    """The syscalls. `about` knows the agents, `check` graphs."""

    def __init__(self, kernel: Callable[[], Kernel], about: About, check: Check) -> None:
        self._kernel, self._about, self._check = kernel, about, check

    def table(self) -> dict[str, Syscall]:
        """The rows of the syscall table."""
        calls = {"plan_known": self.known, MADE: self.made, DECIDED: self.decided, "plan_quiet": self.quiet}
        return {name: Syscall(each, 60.0, uncovered, own, spends=False) for name, each in calls.items()}

    async def known(self, call: Call, process: Process) -> list[Json]:
        """What is known of agents (see `Known`); those that are not there any more are left out."""
        found: list[Json] = []
        for name in call.args["agents"]:
            with suppress(NotFound):
                about = await self._about(call, name)
                found.append(asdict(Known(name, **about, **await self._record(call.tenant, name))))
        return found

    async def _record(self, tenant: str, name: str) -> dict[str, Any]:
        """How the last runs of an agent went that had a process of their own, whoever they were for."""
        kernel = self._kernel()
        pids = await asyncio.to_thread(kernel.store.scan, "past.runs", tenant, f"{name}~once-", None, RECENT)
        rows = [row for (pid,) in pids if (row := kernel.table.find(pid)) is not None and row.life.ended]
        counted = [(row, failed) for row in rows if (failed := self._failed(row)) is not None]
        many, used = len(counted) or 1, [row.tally for row, _ in counted]
        tokens, seconds = [each.input_tokens + each.output_tokens for each in used], [each.seconds for each in used]
        return {"runs": len(counted), "failed": sum(failed for _, failed in counted), "tokens": sum(tokens) / many,
                "seconds": sum(seconds) / many, "money": sum(each.money for each in used) / many}  # fmt: skip

    def _failed(self, row: Process) -> bool | None:
        """Whether a run that has ended failed; None for one that was ended by somebody else."""
        if row.life.phase == "done":
            result = self._kernel().journal.unpack(row.result)
            return isinstance(result, Mapping) and "error" in result
        last = self._last(row)
        return True if (row.reason or "").startswith(QUIET) or (last is not None and last.name == "fail") else None

    def _last(self, row: Process) -> Row | None:
        """The last row of a process, which says how it ended; None where there is none, or none any more."""
        return next(iter(self._kernel().journal.rows(row.pid, row.seq - 1)), None)

    async def made(self, call: Call, process: Process) -> list[str]:
        """Say what was planned: `by` whom, `steps` or a template's `slots`, `graph`. What is wrong with the graph."""
        return await self._check(call, process, call.args["graph"])

    async def decided(self, call: Call, process: Process) -> Json:
        """What is done about a step whose try went wrong, as `pid` if it was one; see `decide`."""
        args = {name: value for name, value in call.args.items() if name != "pid"}
        made = decide(trouble=self._trouble(process, call.args["pid"]), **args)
        return asdict(made)

    def _trouble(self, process: Process, pid: int | None) -> Trouble:
        """How a child of a process ended."""
        if pid is None:
            return "gone"
        row = self._kernel().table.get(pid)
        if row.parent != process.pid:
            raise InvalidRequest(f"process {pid} is no child of process {process.pid}", parameter="pid")
        if (row.reason or "").startswith(QUIET):
            return "stalled"
        journal = self._kernel().journal  # the call that failed comes before the end
        errors = [journal.unpack(each.error) or {} for each in journal.rows(pid, row.seq - 2) if each.error is not None]
        return "overran" if any(each.get("type") == BudgetExceeded.__name__ for each in errors) else "failed"

    async def quiet(self, call: Call, process: Process) -> list[int]:
        """Those of some children that made no progress for some `seconds`, nor did anything below them."""
        before = time.time() - call.args["seconds"]
        return [pid for pid in call.args["of"] if self._quiet(pid, before)]

    def _quiet(self, pid: int, before: float) -> bool:
        table, todo = self._kernel().table, [pid]
        while todo:
            row = table.get(todo.pop())
            if row.life.ended:
                continue
            last = self._last(row)
            moved = row.created if last is None else last.started + last.seconds
            if row.status in ALIVE or moved > before:
                return False
            todo += [child.pid for child in table.children(row.pid)]
        return not table.get(pid).life.ended
