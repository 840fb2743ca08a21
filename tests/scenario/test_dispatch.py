"""Places taken away at a token and given back: nothing is lost, little is computed twice, nobody waits for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidRequest,
    PermissionDenied,
)
from llmagent_os.core.records import Budget, Decoding, GenerateRequest, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.llm.decoding import decoded
from llmagent_os.sched.dispatch import Dispatcher
from llmagent_os.sched.policies import SchedulerSettings
from llmagent_os.stores.pages import PageFiles
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.kernels import until
from tests.stand_ins.slotted import SlottedEngine, answer
from tests.stand_ins.stepper import Chain

QUICK = SchedulerSettings(quantum=4, aging=0.001)


class Host:
    """A kernel over one slotted engine."""

    def __init__(self, kernel: Kernel, engine: SlottedEngine, sys: Sys, pages: PageFiles) -> None:
        self.kernel, self.engine, self.sys, self.pages = kernel, engine, sys, pages

    @property
    def dispatcher(self) -> Dispatcher:
        return self.kernel.dispatchers["slotted"]

    async def ask(self, prompt: str, tokens: int = 16, **fields: Any) -> str:
        sampling = Sampling(max_tokens=tokens)
        return (await self.sys.generate(GenerateRequest("slotted", prompt=prompt, sampling=sampling, **fields))).text


@asynccontextmanager
async def host(
    folder: Path, engine: SlottedEngine, settings: SchedulerSettings = QUICK, ram: int = 1 << 30, disk: int = 1 << 30,
    checkpoint: int = 0, programs: dict[str, Program] | None = None,
) -> AsyncIterator[Host]:  # fmt: skip
    pages = PageFiles(folder / "pages", ram, disk)
    store = SQLiteStore(folder / "journal.db")
    kernel = Kernel(
        store, programs or {}, filters=[budgets], sharing=lambda model: settings, pages=pages, checkpoint=checkpoint
    )  # fmt: skip

    async def opened() -> Any:
        return engine

    kernel.engines.add("slotted", opened)
    try:
        yield Host(kernel, engine, await kernel.service("test"), pages)
    finally:
        await kernel.close()


def prompts(count: int, words: int = 40) -> list[str]:
    return [" ".join(f"w{number}x{word}" for word in range(words)) for number in range(count)]


async def test_answers_that_were_interrupted_are_those_of_undisturbed_runs(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=2)) as system:
        said = await asyncio.gather(*(system.ask(prompt, 40) for prompt in prompts(12)))
        assert said == [answer(prompt, 40) for prompt in prompts(12)]
        assert system.engine.restores > 12  # they did take turns
        needed = 12 * (40 + 40)
        assert system.engine.computed <= 1.05 * needed + system.engine.restores  # a token each time it goes on
        assert not any(slot.busy for slot in system.dispatcher.pager.slots)


async def test_pages_that_do_not_fit_in_memory_go_on_from_disk(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=2), ram=400) as system:
        said = await asyncio.gather(*(system.ask(prompt, 40) for prompt in prompts(12)))
        assert said == [answer(prompt, 40) for prompt in prompts(12)]
        assert any((tmp_path / "pages").glob("*.page"))
        assert system.engine.computed <= 1.05 * 12 * 80 + system.engine.restores


@pytest.mark.parametrize("_", range(15))  # of which one used to wait for itself
async def test_pages_that_fit_nowhere_are_computed_again(tmp_path: Path, _: int) -> None:
    async with host(tmp_path, SlottedEngine(slots=2), ram=0, disk=0) as system:
        said = await asyncio.gather(*(system.ask(prompt, 40) for prompt in prompts(12)))
        assert said == [answer(prompt, 40) for prompt in prompts(12)]


@pytest.mark.parametrize("tier", ["ram", "disk"])
async def test_a_damaged_page_is_refused_and_computed_again(tmp_path: Path, tier: str) -> None:
    async with host(tmp_path, SlottedEngine(slots=1), ram=1 << 30 if tier == "ram" else 0) as system:
        first, second = prompts(2, 100)
        for prompt in (first, second):
            await system.ask(prompt)
        await system.dispatcher.pager.close()
        for page in system.pages.found("slotted"):
            data = bytearray(system.pages.path(page).read_bytes())
            data[len(data) // 2] = ord("x")
            system.pages.path(page).write_bytes(data)
        before = system.engine.computed
        assert await system.ask(first) == answer(first, 16)
        assert system.engine.computed - before >= 100


async def test_pages_of_another_model_are_not_looked_at(tmp_path: Path) -> None:
    prompt = prompts(1, 100)[0]
    for fingerprint in ("one", "other"):
        async with host(tmp_path, SlottedEngine(1, fingerprint=fingerprint)) as system:
            assert await system.ask(prompt) == answer(prompt, 16)
            assert await system.ask(prompts(2, 100)[1])  # which puts the first one into a page
            assert system.engine.computed >= 200


async def test_who_begins_alike_at_once_reads_it_once(tmp_path: Path) -> None:
    shared = prompts(1, 320)[0]
    async with host(tmp_path, SlottedEngine(slots=8, pace=0.0005)) as system:
        asked = [f"{shared} and {number}" for number in range(8)]
        said = await asyncio.gather(*(system.ask(prompt) for prompt in asked))
        assert said == [answer(prompt, 16) for prompt in asked]
        assert system.engine.computed < 320 + 8 * (16 + 2 + 40)  # 2 of its own, at most 32 of a block


async def test_a_conversation_goes_on_where_it_was(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=2)) as system:
        for prompt in prompts(6, 200):
            await system.ask(prompt)
        before = system.engine.computed
        for prompt in prompts(6, 200):
            longer = f"{prompt} more"
            assert await system.ask(longer) == answer(longer, 16)
        assert system.engine.computed - before < 6 * (16 + 40)


async def test_cancelling_at_random_gives_everything_back(tmp_path: Path) -> None:
    chance = random.Random(5)
    async with host(tmp_path, SlottedEngine(slots=3, pace=0.0002)) as system:
        shared = prompts(1, 60)[0]
        tasks = [asyncio.ensure_future(system.ask(f"{shared} {number}", 30)) for number in range(60)]
        for task in chance.sample(tasks, 30):
            await asyncio.sleep(chance.random() * 0.01)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError) or result == answer(f"{shared} {number}", 30)
        await until(lambda: not any(slot.busy for slot in system.dispatcher.pager.slots))
        assert not system.dispatcher.scheduler.running and not system.dispatcher.scheduler.waiting
        assert not system.engine.working


async def test_an_engine_that_dies_fails_its_calls_and_holds_no_place(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=2, pace=0.0005)) as system:
        tasks = [asyncio.ensure_future(system.ask(prompt, 100)) for prompt in prompts(6)]
        await asyncio.sleep(0.02)
        system.engine.dead = True
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, EngineUnavailable) for result in results)
        system.engine.dead = False
        assert await system.ask("again") == answer("again", 16)


async def test_short_calls_do_not_wait_for_long_ones(tmp_path: Path) -> None:
    order: list[str] = []

    async def one(name: str, prompt: str, tokens: int) -> None:
        await system.ask(prompt, tokens)
        order.append(name)

    async with host(tmp_path, SlottedEngine(slots=2, pace=0.0002), SchedulerSettings(quantum=8)) as system:
        longs = [asyncio.ensure_future(one("long", prompt, 400)) for prompt in prompts(2)]
        await asyncio.sleep(0.03)
        await asyncio.gather(*(one("short", prompt, 8) for prompt in prompts(4)[2:]), *longs)
    assert order[:2] == ["short", "short"]


async def test_it_counts_what_it_takes_away_and_brings_back(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=1, pace=0.001)) as system:
        await asyncio.gather(*(system.ask(prompt, tokens=30) for prompt in prompts(3)))
        counts = system.dispatcher.counts
        assert counts.preemptions and counts.saves and counts.restores
        assert (counts.made, counts.damaged) == (90, 0)
        assert counts.read >= sum(len(prompt.split()) for prompt in prompts(3))


async def test_a_process_says_which_engine_serves_it(tmp_path: Path) -> None:
    async def teller(sys: Sys, args: Any, state: Any) -> Any:
        request = GenerateRequest("slotted", prompt=prompts(1)[0], sampling=Sampling(max_tokens=50))
        return (await sys.generate(request)).finish

    programs = {"teller": Program(teller)}
    async with host(tmp_path, SlottedEngine(slots=1, pace=0.001), programs=programs) as system:
        pid = await system.sys.spawn("teller")
        process = system.kernel.table.get(pid)
        await until(lambda: process.engine == "slotted")
        assert await system.sys.wait(pid) == "length"
        assert process.engine is None


async def test_a_late_call_is_refused_early_under_the_deadline_policy(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=1, pace=0.005), SchedulerSettings(policy="deadline")) as system:
        first = asyncio.ensure_future(system.ask("first", 60))
        await asyncio.sleep(0.05)
        request = GenerateRequest("slotted", prompt="second", sampling=Sampling(max_tokens=1000))
        with pytest.raises(DeadlineExceeded):
            await system.sys.generate(request, deadline=0.4)
        assert not first.done()
        assert await first == answer("first", 60)


async def test_calls_of_one_budget_at_once_do_not_overdraw_it(tmp_path: Path) -> None:
    async def spender(sys: Sys, args: Any, state: Any) -> Any:
        request = GenerateRequest("slotted", prompt="a b c d", sampling=Sampling(max_tokens=16))
        results = await asyncio.gather(*(sys.generate(request) for _ in range(10)), return_exceptions=True)
        return [type(result).__name__ for result in results]

    engine = SlottedEngine(slots=4, pace=0.0005)
    async with host(tmp_path, engine, programs={"spender": Program(spender)}) as system:
        pid = await system.sys.spawn("spender", budget=Budget(tokens=70))
        names = await system.sys.wait(pid)
        (draft,) = system.kernel.ledger.drawn(system.kernel.table.get(pid), "owner")
        assert 0 < draft.account.used["tokens"] <= 70
        assert set(names) == {"Generation", BudgetExceeded.__name__}
        assert not any(draft.account.reserved.values())


async def test_what_a_cancelled_call_had_is_in_its_row_and_in_the_accounts_of_the_scheduler(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=1, pace=0.005)) as system:
        asked = asyncio.ensure_future(system.ask("a b c d " * 10, 400))
        while not (asked.done() or system.engine.computed > 60):
            await asyncio.sleep(0.005)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        (row,) = [row for row in system.kernel.journal.rows(1) if row.name == "generate"]
        counts = system.dispatcher.counts
        assert (row.outcome, row.input_tokens, row.output_tokens) == ("cancelled", counts.read, counts.made)
        assert counts.read == 40 and 10 < counts.made < 400
        waiting = [asyncio.ensure_future(system.ask(prompt, 400)) for prompt in prompts(2)]
        await asyncio.sleep(0.05)
        for each in reversed(waiting):  # the second never got a place
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        costs = [row.output_tokens for row in system.kernel.journal.rows(1) if row.name == "generate"][1:]
        assert sorted(map(bool, costs)) == [False, True]


async def test_what_waited_is_recorded(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=1, pace=0.001), SchedulerSettings(policy="fifo")) as system:
        await asyncio.gather(*(system.ask(prompt) for prompt in prompts(3)))
        rows = [row for row in system.kernel.journal.rows(1) if row.name == "generate"]
        assert sorted(row.waited > 0.01 for row in rows) == [False, True, True]
        assert all(row.waited <= row.seconds for row in rows)


async def test_an_answer_cut_off_by_a_crash_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    async def teller(sys: Sys, args: Any, state: Any) -> Any:
        request = GenerateRequest("slotted", prompt=prompts(1, 100)[0], sampling=Sampling(max_tokens=200))
        return (await sys.generate(request)).text

    programs = {"teller": Program(teller)}
    dying = SlottedEngine(slots=1, pace=0.0005)
    async with host(tmp_path, dying, checkpoint=32, programs=programs) as system:
        pid = await system.sys.spawn("teller")
        await until(lambda: dying.computed > 180)
    engine = SlottedEngine(slots=1)
    async with host(tmp_path, engine, checkpoint=32, programs=programs) as system:
        await system.kernel.start_all()
        assert await system.sys.wait(pid) == answer(prompts(1, 100)[0], 200)
        assert engine.computed < 300 - 180 + 64


async def test_it_tells_who_is_on_its_slots_and_who_waits_in_which_order(tmp_path: Path) -> None:
    settings = SchedulerSettings(policy="priority", quotas={"default": 100_000})
    async with host(tmp_path, SlottedEngine(slots=1, pace=0.005), settings) as system:
        first, *others = prompts(3)
        running = asyncio.create_task(system.ask(first, tokens=100))
        while not (system.engine.working and system.dispatcher.scheduler.running):
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(system.ask(others[0], tokens=4, service="batch"))]
        waiting.append(asyncio.create_task(system.ask(others[1], tokens=4)))
        while len(system.dispatcher.scheduler.waiting) < 2:
            await asyncio.sleep(0.001)
        seen = system.dispatcher.overview(most=5)
        assert (seen["policy"], seen["running"], seen["waiting"], seen["held"]) == ("priority", 1, 2, 0)
        assert [job["nice"] for job in seen["queue"]] == [0, 10]
        (slot,) = seen["slots"]
        assert (slot["busy"], slot["pid"], slot["unfinished"]) == (True, system.sys.pid, True)
        assert seen["quotas"]["default"]["level"] <= 100_000
        assert system.dispatcher.overview()["queue"] == []
        await until(lambda: system.dispatcher.by_process()[system.sys.pid]["speed"] > 0)
        row = system.dispatcher.by_process()[system.sys.pid]
        assert row["slot"] >= slot["tokens"] and row["waited"] > 0
        await asyncio.gather(running, *waiting)
        seen = system.dispatcher.overview()
        assert (seen["served"], seen["waiting"], seen["slots"][0]["busy"]) == (3, 0, False)


async def test_a_child_may_be_nicer_than_its_parent_but_not_less_nice(tmp_path: Path) -> None:
    async def parent(sys: Sys, args: Any, state: Any) -> list[int]:
        kept, nicer = await sys.spawn("child"), await sys.spawn("child", nice=9)
        with pytest.raises(PermissionDenied, match="nice 5"):
            await sys.spawn("child", nice=4)
        return [kept, nicer]

    async def child(sys: Sys, args: Any, state: Any) -> None:
        return None

    programs = {"parent": Program(parent), "child": Program(child)}
    async with host(tmp_path, SlottedEngine(), programs=programs) as system:
        pids = await system.sys.wait(await system.sys.spawn("parent", nice=5))
        assert [system.kernel.table.get(pid).nice for pid in pids] == [5, 9]
        with pytest.raises(InvalidRequest, match="it goes from"):
            await system.sys.spawn("child", nice=20)


async def test_a_beam_on_an_engine_that_hands_out_its_own_slots(tmp_path: Path) -> None:
    kernel = Kernel(SQLiteStore(tmp_path / "journal.db"), {}, decode=decoded)

    async def opened() -> Any:
        return Chain("abc", slots=range(4))

    kernel.engines.add("chain", opened)
    try:
        sys = await kernel.service("test")
        decoding, sampling = Decoding("beam", width=3, n=2), Sampling(max_tokens=6)
        request = GenerateRequest("chain", prompt="go", sampling=sampling, decoding=decoding)
        alone = await collect(decoded(request, Chain("abc")), "chain")
        for _ in range(3):  # the slots come back
            asked = await sys.generate(request, deadline=5)
            assert (asked.text, asked.alternatives) == (alone.text, alone.alternatives)
    finally:
        await kernel.close()
