"""Why an answer does not come: somebody is asked about something, or a process on its way is paused.

Nobody who waits is left without a word. A call that is answered at once pays a timer for it, no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..agent.manager import AgentManager
from ..core.records import Json
from ..kernel.process import Process
from .desk import Desk
from .notices import Notice

FIRST, EVERY = 0.25, 0.5  # seconds until it is looked for the first time, and between later ones


@dataclass(slots=True)
class Standing:
    """How somebody's task stands: the process that works on it, its status, what is asked on its way, why it waits."""

    process: Process | None = None
    status: str | None = None
    questions: list[dict[str, Any]] = field(default_factory=list)
    waiting: dict[str, Json] | None = None


def standing(here: Desk, agents: AgentManager, task: str) -> Standing:
    """How a task that has no reply stands, of whom `agents` act for; what is shown of it is the caller's to see."""
    table = here.system.kernel.table
    asked = agents.accepted(task)
    process = table.find(int(asked.box.removeprefix("pid/"))) if asked is not None else None
    if asked is None or process is None:
        return Standing()
    approvals, questions = here.system.approvals, list[dict[str, Any]]()
    if process.asking or approvals.any(here.caller.tenant, agents.person):
        questions = [
            each for each in approvals.waiting()
            if (asks := table.find(each["pid"])) is not None and process in _behind(asks, table.find)
        ]  # fmt: skip
    shown = [each for each in questions if each in approvals.waiting(here.caller)]
    mine = process.serving is not None and process.serving.task == asked.task
    waiting = _waiting(process, mine, bool(questions) and not shown)
    return Standing(process if mine else None, process.status, shown, waiting)


def _behind(process: Process, find: Callable[[int], Process | None]) -> Iterator[Process]:
    """A process, and those that wait for it: who made it, and who asked it what it works on."""
    seen: set[int] = set()
    todo: list[Process | None] = [process]
    while todo:
        each = todo.pop()
        if each is None or each.pid in seen:
            continue
        seen.add(each.pid)
        yield each
        serving = each.serving
        sender = serving.sender if serving is not None else ""
        todo += [each.up, find(int(sender[4:])) if sender.startswith("pid/") else None]


def _waiting(process: Process, mine: bool, hidden: bool) -> dict[str, Json] | None:
    """What a task waits for beside questions that its caller may see; `hidden`: for one that they may not."""
    name = process.name or str(process.pid)
    if process.life.paused:
        why = f" ({process.reason})" if process.reason else ""
        text = f"process {process.pid} ({name}) is paused{why}; let it go on with: llmagent-os resume {process.pid}"
    elif hidden:
        whose = "a question" if mine else "a question about an earlier message"
        text = f"process {process.pid} ({name}) waits for somebody else to answer {whose}: llmagent-os approvals list"
    elif process.life.phase == "quarantined":
        text = f"process {process.pid} ({name}) is quarantined: {process.reason}"
    else:
        return None
    return {"status": process.status, "pid": process.pid, "text": text}


@contextmanager
def lookout(
    here: Desk, agents: AgentManager, task: str, tell: Callable[[Notice], None], reading: bool = False
) -> Iterator[None]:
    """For the block, tell of each question about a task, what becomes of it, and of what else the task waits for.

    With `reading` also how far its prompt is read, where that takes long.
    """
    watch, news = _Lookout(here, agents, task, tell, reading), here.system.approvals.news
    news.add(watch.look)
    try:
        yield
    finally:
        news.discard(watch.look)
        watch.timer.cancel()


class _Lookout:
    def __init__(
        self, here: Desk, agents: AgentManager, task: str, tell: Callable[[Notice], None], reading: bool
    ) -> None:
        self._here, self._agents, self._task, self._tell = here, agents, task, tell
        self._reading, self._read = reading, (0, 0)
        self._asked: dict[str, dict[str, Json]] = {}
        self._told: dict[str, Json] | None = None
        self._process: Process | None = None
        self.timer = asyncio.get_running_loop().call_later(FIRST, self.look)

    def look(self) -> None:
        """Look now, and again after a while."""
        self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(EVERY, self.look)
        if self._is_well():
            self._tell_how_far()
            return
        found = standing(self._here, self._agents, self._task)
        self._process = found.process if found.waiting is None else None
        for each in found.questions:
            if each["id"] not in self._asked:
                self._asked[each["id"]] = each
                self._tell(Notice("question", each))
        for gone in self._asked.keys() - {each["id"] for each in found.questions}:
            kept = self._here.system.approvals.of(gone, self._here.caller)
            if kept["allowed"] is not None:  # else its answer is being written
                del self._asked[gone]
                self._tell(Notice("answered", kept))
        if found.waiting is not None and found.waiting != self._told:
            self._tell(Notice("waiting", found.waiting))
        self._told = found.waiting

    def _tell_how_far(self) -> None:
        """Say how far the prompt is read by now, where that is news."""
        if not self._reading or self._process is None:
            return
        for each in self._here.system.kernel.dispatchers.values():
            if (read := each.reading(self._process.pid)) is not None and read != self._read:
                self._read = read
                self._tell(Notice("reading", {"read": read[0], "of": read[1]}))

    def _is_well(self) -> bool:
        """Whether it is worked on, as it was, and nobody is asked about anything."""
        process = self._process
        approvals, tenant = self._here.system.approvals, self._here.caller.tenant
        quiet = not (self._asked or self._told or approvals.any(tenant, self._agents.person))
        return quiet and process is not None and process.task is not None and not process.life.paused
