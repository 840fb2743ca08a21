"""How turns and processes end: who is told, what ends with them, who is restarted, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import Conflict, JournalFull, ProcessFailed
from llmagent_os.core.records import ANSWER, Grant, Json, Spawn, Supervision
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.kernels import Boot, kernels, until


async def sleeper(sys: Sys, args: Json, state: Json) -> Any:
    await sys.sleep(3600)


async def boss(sys: Sys, args: Json, state: Json) -> Any:
    """Starts a child of each kind, and then does what the message says."""
    message = await sys.receive()
    for owner in ("turn", "process"):
        await sys.spawn("sleeper", name=owner, owner=owner)
    if message.body == "fail":
        raise RuntimeError("as asked")
    if message.body == "stay":
        await sys.sleep(3600)
    await sys.reply(message, "well")
    return Idle()


async def crashing(sys: Sys, args: Json, state: Json) -> Any:
    await sys.now()
    await asyncio.sleep(args)
    raise RuntimeError("always")


async def team(sys: Sys, args: Json, state: Json) -> Any:
    """Several children that fail at the same moment, restarted together."""
    keep = Supervision("permanent")
    await sys.spawn_many([Spawn("crashing", 0.02, supervision=keep) for _ in range(3)])
    await sys.sleep(3600)


async def stubborn(sys: Sys, args: Json, state: Json) -> Any:
    """Swallows its cancellation once, and goes on."""
    message = await sys.receive()
    try:
        await sys.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(0.01)
    await sys.reply(message, "too late")
    return Idle("a state that it should not have")


async def two(sys: Sys, args: Json, state: Json) -> Any:
    """Takes two messages, answers one or none, hands one on, and ends or fails."""
    first, second = await sys.receive(), await sys.receive()
    if second.body == "hand on":
        await sys.send("heir", "answer it", reply_to=second.reply_to)
    if first.body == "fail":
        raise RuntimeError("as asked")
    return "the end"


async def heir(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    await sys.reply(message, "by the heir")
    return Idle()


async def echo(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    if message.body == "fail":
        raise RuntimeError("as asked")
    await asyncio.sleep(0.05)
    await sys.reply(message, args)
    return Idle(state)


async def quits(sys: Sys, args: Json, state: Json) -> Any:
    await sys.receive()
    raise asyncio.CancelledError


async def asker(sys: Sys, args: Json, state: Json) -> Any:
    return (await sys.ask(args, "hello", timeout=20)).body


WAKING = (boss, stubborn, two, heir, echo, quits)
PROGRAMS = {each.__name__: Program(each, wakes=True) for each in WAKING}
PROGRAMS |= {each.__name__: Program(each) for each in (sleeper, crashing, team, asker)}


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[Boot]:
    async with kernels(tmp_path, PROGRAMS) as found:
        yield found


async def put(kernel: Kernel, pid: int | str, body: Json, task: str) -> None:
    """Send a message whose answer goes to a task."""
    await (await kernel.service("test")).send(pid, body, reply_to=f"task/{task}", id=task)


async def told(kernel: Kernel, task: str) -> Json:
    return (await kernel.mail.wait(f"task/{task}", 20)).body


@pytest.mark.parametrize("body", ["fail", "stay", "well"])
async def test_children_of_a_turn_end_with_one_that_fails_or_is_broken_off(boot: Boot, body: str) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("boss", supervision=Supervision("transient"))
    await put(kernel, pid, body, "a")
    await until(lambda: len(kernel.table.children(pid)) == 2 or kernel.table.messages("task/a"))
    if body == "stay":
        kernel = await boot()
        await kernel.runner.interrupt(pid, "its caller gave up")
    answer = await told(kernel, "a")
    await until(lambda: kernel.table.get(pid).life.phase == "waiting")
    assert kernel.table.named("process") != []
    assert (kernel.table.named("turn") != []) is (body == "well" and answer == "well")
    await put(kernel, pid, "well", "b")
    assert await told(kernel, "b") == "well"
    await kernel.runner.kill(pid)
    assert kernel.table.named("process") == kernel.table.named("turn") == []


async def test_what_a_child_is_given_is_its_own_and_equal_grants_are_one(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    given, grant = {"places": ["a"]}, Grant(tools=("look",))
    pids = [await sys.spawn("sleeper", given, grant=grant)]
    pids += await sys.spawn_many([Spawn("sleeper", given, grant=replace(grant))])
    given["places"].append("b")
    one, two = map(kernel.table.get, pids)
    assert one.args == two.args == {"places": ["a"]} and one.grant == grant and one.grant is two.grant


async def test_restarts_are_counted_across_restarts_of_the_system(boot: Boot) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("crashing", 0.05, supervision=Supervision("permanent", period=1e6))
    for count in (1, 2):
        await restarted(kernel, pid, count)
        kernel = await boot()
        assert len(kernel.table.get(pid).restarts) >= count
    with pytest.raises(ProcessFailed, match="too many restarts"):
        await (await kernel.service("test")).wait(pid, 5)


async def restarted(kernel: Kernel, pid: int, times: int) -> None:
    await until(lambda: len(kernel.table.get(pid).restarts) >= times)


async def test_children_that_fail_at_once_are_all_restarted_and_in_the_end_given_up(boot: Boot) -> None:
    kernel = await boot()
    rules = Supervision("permanent", strategy="one_for_all", intensity=5, period=1e6)
    pid = await (await kernel.service("test")).spawn("team", supervision=rules)
    await until(lambda: kernel.table.get(pid).life.ended or len(kernel.table.get(pid).restarts) > 4)
    children = [kernel.table.get(info["pid"]) for info in kernel.table.listed() if info["parent"] == pid]
    assert len(children) == 3
    await until(lambda: all(each.life.ended or each.task is not None for each in children))


async def test_a_program_that_swallows_its_cancellation_is_stopped_all_the_same(boot: Boot) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("stubborn", supervision=Supervision("transient"))
    await put(kernel, pid, "hello", "a")
    await until(lambda: kernel.table.get(pid).serving is not None)
    await kernel.runner.interrupt(pid, "enough")
    assert (await told(kernel, "a"))["error"]["message"] == "enough"
    assert kernel.journal.unpack(kernel.table.get(pid).state) is None


@pytest.mark.parametrize("ends", ["kill", "interrupt"])
async def test_what_is_stopped_before_it_began_is_not_lost(boot: Boot, ends: str) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("echo", "x", supervision=Supervision("transient"))
    await put(kernel, pid, "hello", "a")
    await getattr(kernel.runner, ends)(pid, "at once")
    if ends == "interrupt":
        await put(kernel, pid, "again", "b")
        assert await told(kernel, "b") == "x"
    assert await told(kernel, "a") == "x" or "error" in await told(kernel, "a")
    await until(lambda: pid not in kernel.table.live)


async def test_who_asks_for_an_end_may_go_before_it_has_come(boot: Boot) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("echo", "x")
    await put(kernel, pid, "hello", "a")
    await until(lambda: kernel.table.get(pid).serving is not None)
    gone = asyncio.ensure_future(kernel.runner.interrupt(pid, "enough"))
    await asyncio.sleep(0)
    gone.cancel()
    assert "error" in await told(kernel, "a")
    await put(kernel, pid, "again", "b")
    assert await told(kernel, "b") == "x"


@pytest.mark.parametrize("first", ["fail", "end"])
@pytest.mark.parametrize("second", ["keep", "hand on"])
async def test_everybody_who_waits_is_told_when_a_process_ends(boot: Boot, first: str, second: str) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    await sys.spawn("heir", name="heir")
    pid = await sys.spawn("two")
    await kernel.runner.pause(pid)
    for task, body in (("a", first), ("b", second), ("c", "never taken")):
        await put(kernel, pid, body, task)
    await kernel.runner.resume(pid)
    assert "error" in await told(kernel, "a") and "error" in await told(kernel, "c")
    answer = await told(kernel, "b")
    assert answer == "by the heir" if second == "hand on" else "error" in answer
    await until(lambda: kernel.table.get(pid).life.ended)
    with pytest.raises(Conflict, match="has ended"):
        await put(kernel, pid, "late", "d")


async def test_what_comes_while_a_process_ends_goes_back_to_its_sender(boot: Boot) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("echo", "x")
    await kernel.runner.kill(pid)
    row = ("late", f"pid/{pid}", b'"late"', "", "task/late", None, 0.0, None, "default", "owner")
    kernel.store.write([("message.add", row)])
    kernel.mail.notify(f"pid/{pid}")
    assert "has ended" in (await told(kernel, "late"))["error"]["message"]
    kernel.store.write([("message.add", ("later", *row[1:4], "task/later", *row[5:]))])
    kernel = await boot()
    assert "has ended" in (await told(kernel, "later"))["error"]["message"]


async def test_new_arguments_hold_from_the_next_turn_on_also_if_this_one_fails(boot: Boot) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("echo", 1, supervision=Supervision("transient"))
    await put(kernel, pid, "hello", "a")
    await until(lambda: kernel.table.get(pid).serving is not None)
    await kernel.runner.configure(pid, 2, Grant())
    await kernel.runner.interrupt(pid, "enough")
    kernel = await boot()
    await put(kernel, pid, "fail", "b")
    await told(kernel, "b")
    await put(kernel, pid, "hello", "c")
    assert await told(kernel, "c") == 2


async def test_a_program_that_cancels_itself_has_failed(boot: Boot) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("quits")
    await put(kernel, pid, "hello", "a")
    assert "cancelled itself" in (await told(kernel, "a"))["error"]["message"]


async def test_a_loop_that_ends_under_a_turn_leaves_it_to_the_next_start(boot: Boot) -> None:
    """`asyncio.run` cancels every task once its own has raised."""
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("echo", 1)
    await put(kernel, pid, "hello", "a")
    await until(lambda: kernel.table.get(pid).serving is not None)
    task = kernel.table.get(pid).task
    assert task is not None
    task.cancel()
    await asyncio.wait([task])
    kernel = await boot()
    assert await told(kernel, "a") == 1


async def test_a_service_is_not_paused_stopped_or_configured(boot: Boot) -> None:
    kernel = await boot()
    pid = (await kernel.service("test")).pid
    for act in (kernel.runner.pause(pid), kernel.runner.kill(pid), kernel.runner.interrupt(pid, "enough")):
        with pytest.raises(Conflict, match="service"):
            await act


async def test_a_wait_for_an_answer_ends_with_who_was_asked(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    asked = await sys.spawn("echo", "x")
    await kernel.runner.pause(asked)
    waits = await sys.spawn("asker", asked)
    await until(lambda: kernel.table.messages(f"pid/{asked}"))
    await kernel.runner.kill(asked, "no longer needed")
    assert "no longer needed" in (await sys.wait(waits, 20))["error"]["message"]


class Full(SQLiteStore):
    """A store that takes no ends of processes, for a while."""

    full = False

    def write(self, batch: Any, *limits: Any) -> None:
        if self.full and any(name == "process.result" for name, _ in batch):
            raise JournalFull("no space")
        super().write(batch, *limits)


async def test_an_end_that_cannot_be_written_has_not_happened(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.kernel.runner.RETRY_FULL", 0.05)
    kernel = await boot(Full)
    sys = await kernel.service("test")
    pid = await sys.spawn("echo", "x")
    assert isinstance(kernel.store, Full)
    kernel.store.full = True
    with pytest.raises(JournalFull):
        await kernel.runner.kill(pid)
    kernel.store.full = False
    await until(lambda: not kernel.table.get(pid).settling)
    await put(kernel, pid, "hello", "a")
    assert await told(kernel, "a") == "x"
    await kernel.runner.kill(pid)
    with pytest.raises(ProcessFailed):
        await sys.wait(pid, 20)


async def test_an_answer_is_told_apart_from_what_else_comes(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("echo", "x")
    sent = await sys.send(pid, "hello", reply_to=ANSWER)
    with pytest.raises(Exception, match="message of this process"):  # a service is nobody's box
        await sys.answer(sent, 5)
