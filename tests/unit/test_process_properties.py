"""Processes keep their promises whatever comes, in whatever order: nothing lost, doubled, stuck, or billed wrongly.

`Processes` drives a kernel over a file; `Model` knows of every process and message only what it was told, and what may
have come of it. A crash loses what is not committed, as kill -9 does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from llmagent_os.core.errors import Conflict
from llmagent_os.core.records import Budget, Grant, Json, Spawn, Supervision, Ticket, ToolSpec, Traits
from llmagent_os.core.rows import MARKS
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.stores.sqlite import SQLiteStore

EXAMPLES = int(os.environ.get("LLMAGENT_OS_EXAMPLES", "200"))
COST = 0.5  # of an entry in the ledger
PATIENCE = 20.0  # seconds after which something is stuck
T = TypeVar("T")


class Ledger:
    """The world outside: which entries were made, under which keys."""

    spec, traits = ToolSpec("ledger", "add an entry"), Traits("write", cost=COST)

    def __init__(self) -> None:
        self.keys: dict[str, set[str]] = defaultdict(set)

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        self.keys[arguments["entry"]].add(ticket.key)
        await asyncio.sleep(0)
        return arguments["entry"]


class Mortal(SQLiteStore):
    """A store whose system may die: from then on nothing of it reaches the file."""

    dead = False

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], *limits: Any) -> None:
        if not self.dead:
            super().write(batch, *limits)


async def clerk(sys: Sys, args: Json, state: Json) -> Any:
    """Takes an order, makes an entry for it, and answers with how many orders went well, and under which arguments."""
    message = await sys.receive()
    order, done = message.body, (state or 0) + 1
    if order["does"] == "idle":
        await sys.sleep(3600)
    if order["does"] in ("turn", "process", "turn and fail", "process and fail"):
        await sys.spawn("sleeper", order["entry"], owner=order["does"].split()[0])
    await sys.call("ledger", {"entry": order["entry"]})
    if order["does"] == "family":
        first, second = await sys.spawn_many([Spawn("child", n, name="child") for n in (1, 2)])
        ready = await sys.select([first, second])
        await sys.wait(second if ready == first else first)
        assert await sys.wait(first) + await sys.wait(second) == 3
    if order["does"].endswith("fail"):
        raise RuntimeError("as ordered")
    await sys.reply(message, {"done": done, "version": args["version"]})
    return Idle(done)


async def child(sys: Sys, args: Json, state: Json) -> Any:
    await sys.now()
    return args


async def sleeper(sys: Sys, args: Json, state: Json) -> Any:
    await sys.sleep(3600)


PROGRAMS = {"clerk": Program(clerk, wakes=True), "child": Program(child), "sleeper": Program(sleeper)}
DOES = ("work", "work", "fail", "idle", "turn", "process", "turn and fail", "process and fail", "family")


@dataclass
class Order:
    """A message: what it asks for, and whether its process was paused when it came and still is."""

    entry: str
    does: str
    waits: bool


@dataclass
class Clerk:
    """What is known of a process without looking at it."""

    pid: int
    version: int = 0
    paused: bool = False
    killed: bool = False
    breaks: int = 0  # how often a turn of it may have been broken off
    orders: list[Order] = field(default_factory=list)

    @property
    def tired(self) -> bool:
        """Whether one more failure may be one too many: it is supervised alone, by the default limits."""
        failures = sum(order.does == "idle" or order.does.endswith("fail") for order in self.orders)
        return failures + self.breaks >= Supervision().intensity


class Processes(RuleBasedStateMachine):
    """Spawn, send, pause, resume, kill, configure, interrupt, crash and restart, in any order and at any moment."""

    kernel: Kernel
    sys: Sys

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self.ledger = Ledger()
        self.clerks: list[Clerk] = []
        self.number = 0

    def run(self, work: Coroutine[Any, Any, T], ticks: int = 0) -> T:
        """Do something, and let the system go on for so many ticks of its loop."""

        async def all_of_it() -> T:
            result = await asyncio.wait_for(work, PATIENCE)
            for _ in range(ticks):
                await asyncio.sleep(0)
            return result

        return self.loop.run_until_complete(all_of_it())

    @initialize(prompt=st.booleans())
    def boot(self, prompt: bool) -> None:
        self.prompt = prompt  # whether commits are made at once, or in a thread, so that others come in between
        self.run(self._boot())

    async def _boot(self) -> None:
        self.store = Mortal(self.folder / "journal.db")
        self.store.prompt = self.prompt
        self.kernel = Kernel(self.store, PROGRAMS, {"ledger": self.ledger}, [budgets])
        await self.kernel.start_all()
        self.sys = await self.kernel.service("test")

    @rule(ticks=st.integers(0, 20), restart=st.sampled_from(["transient", "permanent"]))
    def spawn(self, ticks: int, restart: Any) -> None:
        supervision, budget = Supervision(restart), Budget(money=1e9, tokens=10**9)
        pid = self.run(self.sys.spawn("clerk", {"version": 0}, budget=budget, supervision=supervision), ticks)
        self.clerks.append(Clerk(pid))

    def pick(self, which: int) -> Clerk:
        """One of the living."""
        living = [clerk for clerk in self.clerks if not clerk.killed]
        return living[which % len(living)]

    def some(self) -> bool:
        """Whether anybody lives."""
        return any(not clerk.killed for clerk in self.clerks)

    @precondition(some)
    @rule(which=st.integers(0, 5), does=st.sampled_from(DOES), ticks=st.integers(0, 60))
    def send(self, which: int, does: str, ticks: int) -> None:
        clerk = self.pick(which)
        self.number += 1
        does = "work" if clerk.tired else does
        order = Order(f"entry {self.number}", does, clerk.paused)
        clerk.orders.append(order)
        body = {"entry": order.entry, "does": does}
        self.run(self.sys.send(clerk.pid, body, reply_to=f"task/{order.entry}", id=order.entry), ticks)

    @precondition(some)
    @rule(which=st.integers(0, 5), ticks=st.integers(0, 20))
    def pause(self, which: int, ticks: int) -> None:
        clerk = self.pick(which)
        self.expect(self.kernel.runner.pause(clerk.pid), not clerk.paused, ticks)
        clerk.paused = True

    @precondition(some)
    @rule(which=st.integers(0, 5), ticks=st.integers(0, 40))
    def resume(self, which: int, ticks: int) -> None:
        clerk = self.pick(which)
        self.expect(self.kernel.runner.resume(clerk.pid), clerk.paused, ticks)
        clerk.paused = False
        for order in clerk.orders:
            order.waits = False

    def expect(self, work: Coroutine[Any, Any, None], goes: bool, ticks: int) -> None:
        """Something happens, or is a Conflict."""
        if goes:
            self.run(work, ticks)
        else:
            with pytest.raises(Conflict):
                self.run(work, ticks)

    @precondition(some)
    @rule(which=st.integers(0, 5), ticks=st.integers(0, 40))
    def interrupt(self, which: int, ticks: int) -> None:
        clerk = self.pick(which)
        if clerk.tired:
            return
        clerk.breaks += 1
        for order in clerk.orders[:1] if clerk.paused else ():
            order.waits = order.waits and len(clerk.orders) > 1  # it may be the one that is broken off
        self.run(self.kernel.runner.interrupt(clerk.pid, "broken off"), ticks)

    @precondition(some)
    @rule(which=st.integers(0, 5), ticks=st.integers(0, 20))
    def configure(self, which: int, ticks: int) -> None:
        clerk = self.pick(which)
        clerk.version += 1
        budget = (Budget(money=1e9, tokens=10**9),)
        self.run(self.kernel.runner.configure(clerk.pid, {"version": clerk.version}, Grant(), budget), ticks)

    @precondition(some)
    @rule(which=st.integers(0, 5))
    def kill(self, which: int) -> None:
        clerk = self.pick(which)
        self.run(self.sys.kill(clerk.pid))
        clerk.killed = True
        assert not self.kernel.table.children(clerk.pid)

    @rule(ticks=st.integers(0, 100))
    def crash(self, ticks: int) -> None:
        self.store.dead = True
        self.run(self.kernel.close())
        self.run(self._boot(), ticks)

    @rule(ticks=st.integers(0, 100))
    def restart(self, ticks: int) -> None:
        self.run(self.kernel.close())
        self.run(self._boot(), ticks)

    @rule(ticks=st.integers(1, 200))
    def go_on(self, ticks: int) -> None:
        self.run(asyncio.sleep(0), ticks)

    def teardown(self) -> None:
        """Let everything come to its end, and look at what became of it."""
        try:
            if hasattr(self, "kernel"):
                self.run(self._finish())
        finally:
            self.loop.run_until_complete(self.kernel.close())
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _finish(self) -> None:
        for clerk in self.clerks:
            self._check_held(clerk)
            if clerk.paused and not clerk.killed:
                await self.kernel.runner.resume(clerk.pid)
        for clerk in self.clerks:
            if not clerk.killed:
                await self._drain(clerk)
            self._check_answers(clerk)
            self._check_bill(clerk)
        assert not [process for process in self.kernel.table.live.values() if process.life.ended]

    def _check_held(self, clerk: Clerk) -> None:
        life = self.kernel.table.get(clerk.pid).life
        assert (life.phase == "stopped") is clerk.killed
        assert life.paused is (clerk.paused and not clerk.killed)
        if life.paused:
            assert not [order for order in clerk.orders if order.waits and self._answers(order)]

    async def _drain(self, clerk: Clerk) -> None:
        """Wait for all answers, breaking off turns that would last for ever; then see that it still works."""
        async with asyncio.timeout(PATIENCE):
            while any(not self._answers(order) for order in clerk.orders):
                serving = self.kernel.table.get(clerk.pid).serving
                if serving is not None and serving.body["does"] == "idle":
                    clerk.breaks += 1
                    await self.kernel.runner.interrupt(clerk.pid, "it lasts for ever")
                await asyncio.sleep(0.001)
            await self.sys.send(clerk.pid, {"entry": "last", "does": "work"}, reply_to=f"task/last {clerk.pid}")
            last = await self.kernel.mail.wait(f"task/last {clerk.pid}")
            assert last.body["version"] == clerk.version
            while clerk.pid in self.kernel.table.live:
                await asyncio.sleep(0.001)
        assert self.kernel.table.get(clerk.pid).life == ("waiting", False)

    def _answers(self, order: Order) -> list[Json]:
        return [message.body for _, message in self.kernel.table.messages(f"task/{order.entry}", 10)]

    def _check_answers(self, clerk: Clerk) -> None:
        """One answer an order, a good one where nothing came between; one effect for it, and no memory lost."""
        done, version, broken = 0, 0, 0
        for order in clerk.orders:
            answers = self._answers(order)
            assert len(answers) == 1, (order, answers)
            assert len(self.ledger.keys[order.entry]) <= 1, order
            if "error" in answers[0]:
                broken += not order.does.endswith("fail")
                continue
            assert not order.does.endswith("fail") and order.does != "idle"
            assert len(self.ledger.keys[order.entry]) == 1
            broken += answers[0]["done"] == done  # the turn before was broken off after its answer
            assert answers[0]["done"] in (done, done + 1) and answers[0]["version"] >= version
            done, version = answers[0]["done"], answers[0]["version"]
        assert clerk.killed or broken <= clerk.breaks
        self._check_children(clerk)

    def _check_children(self, clerk: Clerk) -> None:
        """What a turn owns ends with it where it fails; the rest lives as long as its parent."""
        children = {
            self.kernel.table.get(each.pid).args for each in self.kernel.table.children(clerk.pid)
        }  # fmt: skip
        if clerk.killed:
            assert not children
        for order in () if clerk.killed else clerk.orders:
            well = "error" not in self._answers(order)[0]
            if well and order.does in (("process",) if clerk.breaks else ("turn", "process")):
                assert order.entry in children, order
            if not well and order.does.startswith("turn"):
                assert order.entry not in children, order

    def _check_bill(self, clerk: Clerk) -> None:
        """The rows, the process and its account agree on what was consumed."""
        process = self.kernel.table.get(clerk.pid)
        rows = [row for row in self.kernel.journal.rows(clerk.pid) if row.name not in MARKS]
        spent = sum(row.money for row in rows)
        assert process.tally.money == spent
        assert process.tally.steps == len(rows)
        used = dict(self.store.read("account.get", f"process/{clerk.pid}", ""))
        assert used.get("money", 0.0) == spent


TestProcesses = pytest.mark.timeout(3600)(Processes.TestCase)
TestProcesses.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
