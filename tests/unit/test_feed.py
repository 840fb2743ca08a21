"""The feed: every row once and in the order of the commits, from memory for who keeps up, however a commit went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import JournalFull
from llmagent_os.core.records import Json, Retention
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.feed import FeedReader
from llmagent_os.kernel.journal import Row
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.security.privacy import Privacy
from llmagent_os.stores.facts import StoredFacts
from llmagent_os.stores.sqlite import SQLiteStore


class Watched(SQLiteStore):
    """Counts how often the feed is read from the file; the next commit may fail, before or after it has an effect."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads = 0
        self.fails: str | None = None

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        self.reads += query == "call.feed"
        return super().read(query, *params)

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        fails, self.fails = self.fails, None
        if fails == "before":
            raise JournalFull("no space")
        super().write(batch, patience)
        if fails == "after":
            raise JournalFull("no space, but the rows are there")


async def counts(sys: Sys, args: Json, state: Json) -> Json:
    for _ in range(args):
        await sys.now()
    return None


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    made = Kernel(Watched(tmp_path / "journal.db"), {"counts": Program(counts)})
    yield made
    await made.close()


def kept(kernel: Kernel, after: int = 0) -> list[Row]:
    return [Row(*values, n) for n, *values in SQLiteStore.read(kernel.store, "call.feed", after, 10**6)]


async def run(kernel: Kernel, calls: int, processes: int = 1) -> None:
    sys = await kernel.service("test")
    pids = [await sys.spawn("counts", calls) for _ in range(processes)]
    for pid in pids:
        await sys.wait(pid)


async def test_who_keeps_up_is_given_every_row_in_commit_order_without_a_read(kernel: Kernel) -> None:
    seen: list[Row] = []
    reader = FeedReader(kernel.feed, seen.extend)
    kernel.worker("reader", reader.run())
    await run(kernel, 30, processes=5)
    async with asyncio.timeout(20):
        while len(seen) < kernel.feed.last:
            await asyncio.sleep(0.01)
    assert seen == kept(kernel) and kernel.store.reads == 0
    assert [row.n for row in seen] == list(range(1, len(seen) + 1))
    await kernel.service("another")  # a commit without a call
    await run(kernel, 3)
    reader.catch_up()
    assert seen == kept(kernel) and kernel.store.reads == 0


async def test_who_is_behind_reads_what_memory_no_longer_holds(tmp_path: Path, kernel: Kernel) -> None:
    await run(kernel, 2500)
    rows, n = [], 0
    while part := kernel.feed.after(n, 300):
        assert len(part) <= 300
        rows += part
        n = part[-1].n
    assert rows == kept(kernel) and 0 < kernel.store.reads < 5
    assert kernel.feed.after(kernel.feed.last) == []


async def test_numbers_go_on_after_a_restart_and_none_is_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    kernel = Kernel(SQLiteStore(path), {"counts": Program(counts)})
    await run(kernel, 5)
    last = kernel.feed.last
    kernel.store.write([("retain.calls_of", (1,)), ("retain.calls_of", (2,))])
    await kernel.close()
    kernel = Kernel(SQLiteStore(path), {"counts": Program(counts)})
    assert kernel.feed.last == last and [row.n for row in kernel.feed.after(0)] == [last], "the newest one stays"
    await run(kernel, 1)
    assert kernel.feed.after(last)[0].n == last + 1 and list(kernel.feed.after(0)) == kept(kernel)
    await kernel.close()


async def test_whose_row_is_the_newest_stays_until_there_is_a_newer_one(tmp_path: Path, kernel: Kernel) -> None:
    sys, facts = await kernel.service("test"), StoredFacts(kernel.store, kernel.journal.append)
    privacy = Privacy(kernel, kernel.store, facts, tmp_path, Retention(processes=0.0))
    longer, shorter = await sys.spawn("counts", 30), await sys.spawn("counts", 1)
    async with asyncio.timeout(20):
        while not (kernel.table.get(longer).life.ended and kernel.table.get(shorter).life.ended):
            await asyncio.sleep(0.01)
    last = kernel.feed.last
    assert kept(kernel, last - 1)[0].pid == longer and (await privacy.tidy())["processes"] == 0
    await sys.now()
    assert (await privacy.tidy())["processes"] == 1 and kernel.store.read("process.get", longer) == []
    assert {row.pid for row in kept(kernel)} == {sys.pid, shorter} and kernel.feed.last == last + 1


@pytest.mark.parametrize("fails", ["before", "after"])
async def test_a_commit_that_failed_leaves_no_row_out_and_none_twice(kernel: Kernel, fails: str) -> None:
    seen: list[Row] = []
    reader = FeedReader(kernel.feed, seen.extend)
    sys = await kernel.service("test")
    await sys.now()
    reader.catch_up()
    kernel.store.fails = fails
    with pytest.raises(JournalFull):
        await sys.now()
    for _ in range(3):
        await sys.random()
        reader.catch_up()
    assert seen == kept(kernel) and len(seen) == (5 if fails == "after" else 4)


async def test_who_waits_is_woken_by_a_commit_and_not_before(kernel: Kernel) -> None:
    sys = await kernel.service("test")
    waiting = asyncio.create_task(kernel.feed.beyond(kernel.feed.last))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await sys.now()
    await asyncio.wait_for(waiting, 20)
    left = asyncio.create_task(kernel.feed.beyond(kernel.feed.last))
    await asyncio.sleep(0)
    left.cancel()  # a reader that goes leaves nothing behind
    await asyncio.wait({left})
    assert not kernel.feed._waiting
