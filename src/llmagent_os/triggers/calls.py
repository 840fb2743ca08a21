"""What a trigger asks of the kernel beyond what every program may: to wait for several things, to start an agent."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..core.errors import LLMAgentOSError, text
from ..core.places import folders, steps
from ..core.ports import Syscall, own, uncovered
from ..core.records import Budget, Call, Json
from ..kernel import budget
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from ..kernel.syscalls import Builtins
from .spec import FILES_OF, TriggerSpec, stored

MINUTE, DAY = 60.0, 86400.0
LOOK = 2.0  # seconds between two looks into a folder; a file counts once it is the same at two of them
FILES = 1000  # of a folder that are kept in mind
ROUGH = 0.01  # seconds by which the clock of files may be late
Hire = Callable[[Call, str, Json], Awaitable[tuple[dict[str, Any], Sequence[Budget]]]]
"""What a process of an agent is started with, that answers one message; and on which accounts it draws."""


class Clock:
    """The machine's clock: seconds since the epoch."""

    def now(self) -> float:
        """What it says."""
        return time.time()

    async def wait(self, news: Awaitable[None], until: float) -> None:
        """Wait for news, at most until a time, and no longer than a minute: it may be set, or the machine sleep."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(0.0, until - self.now()), MINUTE)):
                await news


class Calls:
    """The syscalls. `hire` knows the agents, `root` has the workspaces.

    `writes` says whether a tool may change files, `lives` whether a key still lets anybody in.
    """

    def __init__(
        self, kernel: Callable[[], Kernel], hire: Hire, root: Path, clock: Clock | None = None,
        writes: Callable[[str], bool] = bool, lives: Callable[[str], bool] = bool,
    ) -> None:  # fmt: skip
        self._kernel, self._hire, self._root, self._clock = kernel, hire, root, clock or Clock()
        self._writes, self._lives = writes, lives

    def table(self) -> dict[str, Syscall]:
        """The rows of the syscall table."""
        return {
            "trigger_wait": Syscall(self.wait, 2 * DAY, uncovered, _seen, spends=False),
            "trigger_start": Syscall(
                self.start, MINUTE, lambda args: [("agents", args["agent"])], own, spends=False, prompt=True
            ),
            "trigger_skip": Syscall(self.skip, MINUTE, uncovered, own, spends=False, prompt=True),
        }

    async def wait(self, call: Call, process: Process) -> dict[str, Json]:
        """Wait until a time is due, a message has come, what was started has ended, or files have; at most for a day.

        No budget is charged for that time, and what is due while the process is paused is seen when it goes on.
        """
        began, process.doing = time.monotonic(), "waiting"
        try:
            return await self._news(call.args, process, stored(process.args["spec"]))
        finally:
            process.doing = "running"
            process.turn_began += time.monotonic() - began

    async def _news(self, args: Mapping[str, Any], process: Process, spec: TriggerSpec) -> dict[str, Json]:
        kernel, running, begun, last = self._kernel(), args["of"].value, args.get("begun"), args["last"]
        end, before = self._clock.now() + DAY, dict[str, list[int]]()
        boxes = [process.box, *(f"end/{pid}" for pid in running)]
        while True:
            files, before = await self._look(process, spec, args, before)
            while process.life.paused:
                await process.go.wait()
            now = self._clock.now()
            ended = [pid for pid in running if (row := kernel.table.find(pid)) is None or row.life.ended]
            due = spec.due(begun, last, now) if begun is not None else []
            if ended or due or files or begun is None or now >= end or kernel.table.messages(process.box):
                return {"now": now, "due": due, "ended": ended, "files": files}
            at = spec.after(begun, last)
            look = now + LOOK if spec.folder else end
            await self._clock.wait(kernel.mail.news(boxes), min(end, look, at if at is not None else end))

    async def _look(
        self, process: Process, spec: TriggerSpec, args: Mapping[str, Any], before: dict[str, list[int]]
    ) -> tuple[dict[str, Json] | None, dict[str, list[int]]]:
        """What is new in the folder, None for nothing; and what is there, for the next look."""
        if spec.folder is None:
            return None, {}
        seen: dict[str, list[int]] | None = args["seen"].value
        there = await asyncio.to_thread(_listed, *self._folder(process, spec.folder), spec.match)
        if len(there) > FILES:
            return None if args["crowded"] else {"changed": {}, "gone": [], "crowd": len(there)}, there
        busy = self._busy(spec, args["of"].value)
        settled = {name: sign for name, sign in there.items()
                   if seen is None or (sign == before.get(name) and sign[0] < busy)}  # fmt: skip
        changed = {name: sign for name, sign in settled.items() if sign != (seen or {}).get(name)}
        if seen is not None and not changed and not args["crowded"]:
            return None, there
        own = await self._own(process, changed) if seen is not None and changed else []
        gone = [name for name in seen or () if name not in there]
        return {"changed": changed, "gone": gone, "crowd": 0, "own": own}, there

    def _busy(self, spec: TriggerSpec, running: Sequence[int]) -> float:
        """When the oldest of what it has started and still runs was started, in nanoseconds.

        A file that changed since may be its doing, of which the journal knows once the call is over. Where the next
        start waits for its end anyhow, the file does too.
        """
        rows = [row for pid in running if (row := self._kernel().table.find(pid)) is not None and not row.life.ended]
        return min((row.created for row in rows), default=math.inf) * 1e9 if spec.rule == "queue" else math.inf

    async def _own(self, process: Process, changed: Mapping[str, Sequence[int]]) -> list[str]:
        """Those of some files that were written last while a tool was at work for what the trigger has started."""
        kernel, since = self._kernel(), min(at for at, _ in changed.values()) / 1e9 - ROUGH
        rows = await asyncio.to_thread(kernel.store.scan, "call.below", process.pid, since)
        spans = [
            (max(began, (kernel.journal.unpack(decision) or {}).get("consent", {}).get("at", 0.0)), ended)
            for args, decision, began, ended in rows if self._writes(kernel.journal.unpack(args)["tool"])
        ]  # fmt: skip
        return [name for name, (at, _) in changed.items()
                if any(began - ROUGH <= at / 1e9 <= ended for began, ended in spans)]  # fmt: skip

    def _folder(self, process: Process, folder: str) -> tuple[Path, list[str]]:
        """Where a folder is: one to begin from, and the steps from there, none of which may be a link."""
        if os.path.isabs(folder):
            return Path(folder), []
        return self._root.joinpath(*folders(process.args["home"])), steps(folder)

    async def start(self, call: Call, process: Process) -> Json:
        """Start a process of an agent that answers one message: its pid, or why there is none."""
        child = call.args["child"].value
        if why := self._barred(process, child["sender"]):
            return why
        try:
            for draft in call.ledger.drawn(process, call.principal):
                budget.refuse(draft, "depth", draft.above + 1, draft.budget.depth)
            wanted, drawn = await self._hire(call, call.args["agent"], child["body"])
            wanted["name"] += f"{process.pid}.{call.args['label']}"
            wanted["nice"] = max(wanted.get("nice", 0), process.nice)
            wanted["owner"] = "process"  # it goes on where the turn of the trigger fails
            origins = [*process.origins.get("args", ()), *child["origins"]]
            return Builtins(self._kernel()).child(call, process, wanted, tuple(drawn), origins)
        except LLMAgentOSError as error:
            return text(error.message)

    def _barred(self, process: Process, sender: str) -> str | None:
        """Why a trigger starts nothing for a message, or nothing at all."""
        if (key := process.args.get("key")) and not self._lives(key):
            return f"the key that it was made with ({key}) is revoked or has expired; make it again with another one"
        pid = int(sender.removeprefix("pid/")) if sender else 0
        while (row := self._kernel().table.find(pid)) is not None:
            if row.parent == process.pid:
                return f"process {pid}, which it has started itself, would start it without end"
            pid = row.parent
        return None

    async def skip(self, call: Call, process: Process) -> None:
        """Note that there is no start, and why."""


def _listed(folder: Path, below: Sequence[str], match: str) -> dict[str, list[int]]:
    """The plain files of a folder that match, by name with when they were changed (ns) and their size; empty for none.

    A folder that is not there yet, or is reached by a link, has nothing.
    """
    found: dict[str, list[int]] = {}
    path = folder.joinpath(*below)
    try:
        if below and path.resolve() != folder.resolve().joinpath(*below):
            return {}
        for entry in os.scandir(path):
            if fnmatchcase(entry.name, match) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # it is gone by now
                    about = entry.stat(follow_symlinks=False)
                    found[os.fsencode(entry.name).decode(errors="replace")] = [about.st_mtime_ns, about.st_size]
    except OSError:
        return {}
    return found


def _seen(args: Mapping[str, Any], result: Any) -> list[str]:
    """The names of files are whoever's that made them."""
    files = result.get("files") if isinstance(result, Mapping) else None
    return [FILES_OF] if files and files["changed"] else []
