"""A store that fails at random: full, locked, constraints, torn writes, slow commits.

Callers are answered in time, health tells the truth, nothing is lost or doubled, work goes on when the fault has gone.
`LLMAGENT_OS_RUNS=1000` for a long look.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.records import Json
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.stores.sqlite import SQLiteStore

RUNS = int(os.environ.get("LLMAGENT_OS_RUNS", "60"))
AT_ONCE = 12
LATE = 1.0  # seconds beyond its deadline within which a caller is answered
BUSY = 1.0  # seconds at most that are put down to the machine
TOLD = 2.0  # seconds within which health tells
KINDS = ("full", "locked", "constraint", "torn", "half written", "slow", "stuck", "odd")

Batch = Sequence[tuple[str, tuple[Any, ...]]]


class FaultyStore(SQLiteStore):
    """Fails in one way, with a chance, while told to."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        super().__init__(path)
        self._path, self._chance = path, chance
        self.fault: str | None = None
        self.share = 1.0
        self.failed = 0  # commits that did not do what they were asked

    def write(self, batch: Batch, patience: float = 5.0) -> None:
        fault = self.fault
        if fault is None or self._chance.random() > self.share:
            return super().write(batch, patience)
        self.failed += 1
        if fault == "full":
            return self._full(batch)
        if fault == "locked":
            return self._locked(batch, patience)
        if fault == "constraint":
            return super().write([*batch, ("record.put", (None, "y", 1, b"", 0.0))])
        if fault == "torn":  # after all but the last statement
            return super().write([*batch, ("zzz", ())])
        if fault in ("slow", "stuck"):
            time.sleep(self._chance.uniform(0.05, 0.4) if fault == "slow" else self._chance.uniform(1.5, 3.0))
            return super().write(batch, patience)
        if fault == "half written":  # it is there, and the disk says that it is not
            super().write(batch, patience)
            raise OSError(5, "input/output error")
        raise RuntimeError("odd")

    def _full(self, batch: Batch) -> None:
        pages = self._writer.execute("PRAGMA page_count").fetchone()[0]
        self._writer.execute(f"PRAGMA max_page_count = {pages}")
        try:
            super().write([*batch, ("record.put", ("x", "y", 1, b"0" * 200_000, 0.0))])
        finally:
            self._writer.execute("PRAGMA max_page_count = 1000000")

    def _locked(self, batch: Batch, patience: float) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            super().write(batch, min(patience, 0.2))


async def counter(sys: Sys, args: Json, state: Json) -> Any:
    """Adds up what it is sent, with some calls of its own on the way."""
    message = await sys.receive()
    await asyncio.gather(sys.now(), sys.random())
    total = (state or 0) + message.body
    await sys.reply(message, total)
    return Idle(total)


async def spin(sys: Sys, args: Json, state: Json) -> Any:
    for _ in range(args):
        await sys.now()
    return args


PROGRAMS = {"counter": Program(counter, wakes=True), "spin": Program(spin)}


class Lag:
    """How late the event loop was, for whatever else this machine does: that is no fault of a system's."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=2000)

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            self._seen.append((time.monotonic(), time.monotonic() - began - 0.02))

    def since(self, moment: float) -> float:
        return sum(late for at, late in self._seen if at > moment)


class Run:
    """One system, one fault, some callers."""

    def __init__(self, folder: Path, seed: int, lag: Lag) -> None:
        self.lag = lag
        self.chance = random.Random(seed)
        self.store = FaultyStore(folder / f"{seed}.db", self.chance)
        self.kernel = Kernel(self.store, PROGRAMS)
        self.kind = KINDS[seed % len(KINDS)]
        self.store.prompt = self.store.prompt and self.kind != "stuck"  # else its first such commit is on the loop

    async def go(self) -> None:
        await self.kernel.start_all()
        self.sys = await self.kernel.service("test")
        self.actor = await self.sys.spawn("counter")
        spinner = await self.sys.spawn("spin", 50)
        self.store.share = self.chance.choice((0.3, 0.8, 1.0))
        watch = asyncio.ensure_future(self.watch(self.chance.uniform(0.3, 4.0)))
        amounts = [self.chance.randrange(1, 100) for _ in range(8)]
        await asyncio.gather(*(self.call(number, amount) for number, amount in enumerate(amounts)))
        await watch
        async with asyncio.timeout(20):
            for number, amount in enumerate(amounts):  # as a client does that does not know: again, under the same id
                await self.send(number, amount, 10.0)
            assert await self.sys.wait(spinner) == 50
            while self.kernel.table.waiting_messages(f"pid/{self.actor}") or self.total() != sum(amounts):
                await asyncio.sleep(0.05)
        assert [row.name for row in self.kernel.journal.rows(spinner)].count("now") >= 50
        await self.kernel.close()
        with closing(sqlite3.connect(self.store._path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def total(self) -> int:
        state = self.kernel.table.get(self.actor).state
        return self.kernel.journal.unpack(state) or 0 if state else 0

    async def watch(self, seconds: float) -> None:
        """Let the store fail for a while, and hold health against it."""
        await asyncio.sleep(self.chance.uniform(0.0, 0.2))
        self.store.fault = self.kind
        until = time.monotonic() + seconds
        red = False
        while time.monotonic() < until:
            red = red or self.trouble()
            await asyncio.sleep(0.05)
        fails = self.kind != "slow" and self.store.share == 1.0 and self.store.failed
        assert red or seconds < TOLD + BUSY or not fails, f"{self.kind}: green after {seconds:.1f} s"
        self.store.fault = None
        until = time.monotonic() + TOLD + 3.0 * (self.kind == "stuck")  # one that is stuck is so till it comes back
        while self.trouble():
            late = time.monotonic() - until - min(BUSY, self.lag.since(until - TOLD))
            assert late < 0, f"{self.kind}: still red: {self.kernel.health()['journal']}"
            await asyncio.sleep(0.05)

    def trouble(self) -> bool:
        return self.kernel.health()["journal"] is not None

    async def call(self, number: int, amount: int) -> None:
        """Send something at some moment, with some patience; fail if the answer comes too late."""
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))
        deadline, began = self.chance.uniform(0.1, 1.5), time.monotonic()
        with suppress(LLMAgentOSError):
            await self.send(number, amount, deadline)
        took = time.monotonic() - began - min(BUSY, self.lag.since(began))
        assert took < deadline + LATE, f"{self.kind}: answered after {took:.1f} s, with a deadline of {deadline:.1f} s"

    async def send(self, number: int, amount: int, deadline: float) -> None:
        message = {"to": self.actor, "body": amount, "reply_to": None, "task": None, "id": f"m{number}"}
        await self.sys.syscall("send", deadline, **message)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_store_that_fails_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.kernel.runner.RETRY_FULL", 0.1)
    places = asyncio.Semaphore(AT_ONCE)
    failures: list[str] = []
    lag = Lag()
    ticks = asyncio.ensure_future(lag.run())

    async def one(seed: int) -> None:
        async with places:
            try:
                await Run(tmp_path, seed, lag).go()
            except Exception as error:
                failures.append(f"seed {seed}, {KINDS[seed % len(KINDS)]}: {type(error).__name__}: {error}")
        for file in tmp_path.glob(f"{seed}.db*"):
            file.unlink()

    await asyncio.gather(*(one(seed) for seed in range(RUNS)))
    ticks.cancel()
    assert not failures, "\n".join(failures)
