"""Many children at once, and which of them, of answers and of messages is there first: also after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import DeadlineExceeded, NotFound, PermissionDenied, ProcessFailed
from llmagent_os.core.records import ANSWER, Answer, Budget, Grant, Json, Question, Spawn
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.monitoring.replay import replay
from llmagent_os.security.policy import Gate
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.kernels import Boot, kernels, until


async def racer(sys: Sys, args: Json, state: Json) -> Any:
    """Ends when it is told to."""
    return (await sys.receive()).body


async def race(sys: Sys, args: Json, state: Json) -> Any:
    """Starts several racers and says in which order they came in, and with what; then waits to be let go."""
    children = await sys.spawn_many([Spawn("racer", name=f"racer {n}") for n in range(args)])
    order, left = [], list(children)
    while left:
        first = await sys.select(left)
        left.remove(first)
        order.append([children.index(first), await sys.wait(first)])
    await sys.receive()
    return order


async def answers(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    await asyncio.sleep(message.body)
    await sys.reply(message, message.body)
    return Idle()


async def first_of(sys: Sys, args: Json, state: Json) -> Any:
    """Asks several with different patience, and takes what comes first, until it has all of it, or is called off."""
    sent = [await sys.send(to, seconds, reply_to=ANSWER) for to, seconds in args]
    got: list[Json] = []
    while sent:
        first = await sys.select(sent, inbox=True)
        if first is None:
            return [*got, (await sys.receive()).body]
        sent.remove(first)
        got.append((await sys.answer(first)).body)
    return got


async def many(sys: Sys, args: Json, state: Json) -> Any:
    return await sys.spawn_many([Spawn(program) for program in args])


async def strays(sys: Sys, args: Json, state: Json) -> Any:
    return await sys.select(args)


PROGRAMS = {
    "racer": Program(racer, wakes=True), "answers": Program(answers, wakes=True), "race": Program(race),
    "first_of": Program(first_of), "many": Program(many), "strays": Program(strays),
}  # fmt: skip


class Nobody:
    """Nobody is there to approve of anything."""

    async def ask(self, question: Question) -> Answer:
        return Answer(False)


class Counting(SQLiteStore):
    """A store that counts its commits."""

    commits = 0

    def write(self, batch: Sequence[Any], *limits: Any) -> None:
        super().write(batch, *limits)
        self.commits += 1


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[Boot]:
    async with kernels(tmp_path, PROGRAMS, store=Counting, filters=[Gate({}, Nobody()), budgets]) as found:
        yield found


async def test_the_order_in_which_children_end_is_the_same_after_a_crash_and_in_a_replay(boot: Boot) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("race", 3)
    await until(lambda: len(kernel.table.children(pid)) == 3)
    children = [child.pid for child in kernel.table.children(pid)]
    for number in (1, 0):
        await (await kernel.service("test")).send(children[number], f"from {number}")
        await until(lambda number=number: kernel.table.get(children[number]).life.ended)
    kernel = await boot()
    sys = await kernel.service("test")
    await sys.send(children[2], "from 2")
    await sys.send(pid, "let go")
    order = await sys.wait(pid, 20)
    assert sorted(order) == [[0, "from 0"], [1, "from 1"], [2, "from 2"]] and order[2][0] == 2
    report = await replay(kernel.store, pid, PROGRAMS, kernel.door.table)
    assert report.diverged is None and report.calls >= 8


async def test_many_children_are_one_commit_and_start_in_order(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    assert isinstance(kernel.store, Counting)
    before = kernel.store.commits
    pids = await sys.spawn_many([Spawn("racer", n, name="racer") for n in range(100)])
    assert kernel.store.commits == before + 1
    assert pids == kernel.table.named("racer") == sorted(pids)
    assert [kernel.table.get(pid).args for pid in pids] == list(range(100))


async def test_all_children_or_none(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    with pytest.raises(NotFound, match="no program"):
        await sys.spawn_many([Spawn("racer", name="racer"), Spawn("unknown")])
    assert kernel.table.named("racer") == []
    assert await sys.spawn_many([]) == []


async def test_a_grant_and_a_depth_hold_for_each_of_many(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    held = await sys.spawn("many", ["racer", "answers"], grant=Grant(agents=("racer",)))
    with pytest.raises(ProcessFailed, match="answers"):
        await sys.wait(held, 20)
    deep = await sys.spawn("many", ["racer"], budget=Budget(depth=0))
    with pytest.raises(ProcessFailed, match="depth"):
        await sys.wait(deep, 20)


async def test_the_first_answer_is_taken_first_and_a_message_breaks_in(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    slow, quick = await sys.spawn_many([Spawn("answers"), Spawn("answers")])
    pid = await sys.spawn("first_of", [[slow, 0.2], [quick, 0.0]])
    assert await sys.wait(pid, 20) == [0.0, 0.2]
    stuck = await sys.spawn("first_of", [[slow, 3600], [quick, 0.01]])
    await until(lambda: [row.name for row in kernel.journal.rows(stuck)].count("answer"))
    await sys.send(stuck, "never mind")
    assert await sys.wait(stuck, 20) == [0.01, "never mind"]


async def test_one_selects_only_what_is_there_and_ones_own(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    for of in ([12345], ["no such message"]):
        with pytest.raises(ProcessFailed, match="no "):
            await sys.wait(await sys.spawn("strays", of), 20)
    racer = await sys.spawn("racer")
    with pytest.raises(DeadlineExceeded):
        await sys.select([racer], timeout=0.05)
    await kernel.runner.kill(racer)
    assert await sys.select([racer]) == racer
    with pytest.raises(PermissionDenied, match="budgets of their own"):
        await Sys(kernel.door, kernel.table.get(await sys.spawn("racer"))).spawn_many(
            [Spawn("racer", budget=Budget(account="tenant", money=1.0))]
        )
