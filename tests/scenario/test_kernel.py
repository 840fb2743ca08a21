"""The kernel with real rows and the scripted engine: processes run, park, fail, are resumed and replayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import (
    Conflict,
    DeadlineExceeded,
    HandlerFailed,
    NotFound,
    PermissionDenied,
    ProcessFailed,
)
from llmagent_os.core.ports import Syscall, own, uncovered
from llmagent_os.core.records import (
    Budget,
    Call,
    GenerateRequest,
    Json,
    Message,
    ModelSpec,
    Supervision,
    Ticket,
    ToolSpec,
    Traits,
)
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Process, Program
from llmagent_os.kernel.syscalls import Builtins
from llmagent_os.monitoring.replay import replay
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.kernels import Boot, kernels, until


class Ledger:
    """A tool that counts: what it was asked, under which keys."""

    spec = ToolSpec("ledger", "add an entry")
    traits = Traits("write", meanings={"n": "amount"})

    def __init__(self) -> None:
        self.entries: list[tuple[str, Json]] = []
        self.block: asyncio.Event | None = None

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        self.entries.append((ticket.key, arguments["n"]))
        if self.block is not None and arguments["n"] == 2:
            await self.block.wait()
        return len(self.entries)


async def counter(sys: Sys, args: Json, state: Json) -> Any:
    """An actor: adds up what it is sent and says the sum."""
    message = await sys.receive()
    total = (state or 0) + message.body
    await sys.reply(message, total)
    return Idle(total)


async def three_steps(sys: Sys, args: Json, state: Json) -> Any:
    return [await sys.call("ledger", {"n": n}) for n in (1, 2, 3)]


async def asks(sys: Sys, args: Json, state: Json) -> Any:
    answer = await sys.generate(GenerateRequest("scripted", (Message("user", args),)))
    return answer.text


async def crashes(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    if message.body == "boom":
        raise RuntimeError("as asked")
    await sys.reply(message, "fine")
    return Idle(message.body)


async def parent(sys: Sys, args: Json, state: Json) -> Any:
    children = [await sys.spawn("asks", f"child {n}") for n in range(3)]
    return [await sys.wait(child) for child in children]


async def forever(sys: Sys, args: Json, state: Json) -> Any:
    await sys.spawn("sleeper")
    await sys.sleep(3600)


async def sleeper(sys: Sys, args: Json, state: Json) -> Any:
    await sys.sleep(3600)


async def at_once(sys: Sys, args: Json, state: Json) -> Any:
    return await asyncio.gather(*(sys.call("ledger", {"n": n}) for n in (1, 2, 3)))


PROGRAMS = {
    "counter": Program(counter, wakes=True),
    "crashes": Program(crashes, wakes=True),
    "three": Program(three_steps),
    "asks": Program(asks),
    "parent": Program(parent),
    "forever": Program(forever),
    "sleeper": Program(sleeper),
    "at_once": Program(at_once),
}


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[Boot]:
    async with kernels(tmp_path, PROGRAMS, [ModelSpec("scripted", "scripted")], filters=[budgets]) as found:
        yield found


async def ask(kernel: Kernel, sys: Sys, pid: int | str, body: Json, task: str) -> Json:
    """Send a message and wait for its answer."""
    await sys.send(pid, body, reply_to=f"task/{task}", task=task, id=task)
    return (await kernel.mail.wait(f"task/{task}", timeout=20)).body


async def test_a_program_runs_to_its_result(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("asks", "hello there")
    assert "hello there" in await sys.wait(pid)
    info = next(info for info in kernel.table.listed() if info["pid"] == pid)
    assert info["status"] == "done" and info["usage"]["output_tokens"] > 0


async def test_children_run_and_are_waited_for(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    results = await sys.wait(await sys.spawn("parent"))
    assert [f"child {n}" in text for n, text in enumerate(results)] == [True] * 3


async def test_an_idle_process_is_only_a_row_and_keeps_its_state_across_a_restart(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("counter", name="sum")
    assert await ask(kernel, sys, pid, 2, "a") == 2
    assert await ask(kernel, sys, "sum", 3, "b") == 5
    await until(lambda: pid not in kernel.table.live)
    kernel = await boot()
    assert await ask(kernel, await kernel.service("test"), "sum", 5, "c") == 10


async def test_the_same_message_is_delivered_once(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    await sys.spawn("counter", name="sum")
    assert await ask(kernel, sys, "sum", 2, "a") == 2
    await sys.send("sum", 2, reply_to="task/a", id="a")
    assert await ask(kernel, sys, "sum", 3, "b") == 5


async def test_a_restart_repeats_no_finished_step_and_reissues_the_open_one_under_its_key(boot: Boot) -> None:
    ledger = Ledger()
    ledger.block = asyncio.Event()
    kernel = await boot(tools={"ledger": ledger})
    pid = await (await kernel.service("test")).spawn("three")
    while len(ledger.entries) < 2:
        await asyncio.sleep(0.01)
    ledger.block = None
    kernel = await boot(tools={"ledger": ledger})
    assert await (await kernel.service("test")).wait(pid) == [1, 3, 4]
    assert [n for _, n in ledger.entries] == [1, 2, 2, 3]
    assert ledger.entries[1][0] == ledger.entries[2][0]
    assert len({key for key, _ in ledger.entries}) == 3


async def test_calls_made_at_once_resume_each_under_its_own_key(boot: Boot) -> None:
    ledger = Ledger()
    ledger.block = asyncio.Event()
    kernel = await boot(tools={"ledger": ledger})
    pid = await (await kernel.service("test")).spawn("at_once")
    while len(kernel.journal.rows(pid)) < 2:
        await asyncio.sleep(0.01)
    ledger.block = None
    kernel = await boot(tools={"ledger": ledger})
    assert await (await kernel.service("test")).wait(pid) == [1, 4, 3]


async def test_a_failing_turn_answers_its_message_and_a_transient_process_goes_on(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("crashes", supervision=Supervision("transient"))
    reply = await ask(kernel, sys, pid, "boom", "a")
    assert reply["error"]["type"] == "ProcessFailed" and "as asked" in reply["error"]["message"]
    assert await ask(kernel, sys, pid, "hi", "b") == "fine"


async def test_a_process_that_keeps_failing_is_given_up(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("crashes", supervision=Supervision("permanent"))
    for n in range(4):
        assert "error" in await ask(kernel, sys, pid, "boom", f"t{n}")
    with pytest.raises(ProcessFailed, match="too many restarts"):
        await sys.wait(pid, timeout=20)


async def test_kill_ends_the_tree_and_only_descendants_may_be_killed(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("forever")
    while len(kernel.table.live) < 2:
        await asyncio.sleep(0.01)
    child = kernel.table.children(pid)[0].pid
    with pytest.raises(PermissionDenied):
        await Sys(kernel.door, kernel.table.get(child)).kill(pid)
    await sys.kill(pid, "enough")
    with pytest.raises(ProcessFailed, match="its parent"):
        await sys.wait(child, timeout=20)
    with pytest.raises(ProcessFailed, match="enough"):
        await sys.wait(pid, timeout=20)
    with pytest.raises(Conflict):
        await sys.send(pid, "hello?")


async def test_pause_holds_the_next_call_also_across_a_restart(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("counter")
    await kernel.runner.pause(pid)
    await sys.send(pid, 4, reply_to="task/a", id="a")
    with pytest.raises(TimeoutError):
        await kernel.mail.wait("task/a", timeout=0.1)
    kernel = await boot()
    with pytest.raises(TimeoutError):
        await kernel.mail.wait("task/a", timeout=0.1)
    await kernel.runner.resume(pid)
    assert (await kernel.mail.wait("task/a", timeout=20)).body == 4


@pytest.mark.parametrize(
    ("budget", "resource"),
    [
        (Budget(steps=2), "steps"),
        (Budget(tokens=5), "tokens"),
        (Budget(seconds=0.0), "seconds"),
        (Budget(depth=0), "depth"),
    ],
)
async def test_budgets_are_kept(boot: Boot, budget: Budget, resource: str) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("parent", budget=budget)
    with pytest.raises(ProcessFailed, match=resource):
        await sys.wait(pid, timeout=20)


async def test_a_handler_that_hangs_raises_or_blocks_cancellation_still_answers(boot: Boot) -> None:
    async def stubborn(call: Call, process: Process) -> Json:
        while True:
            try:
                await asyncio.sleep(0.5)
                return None
            except asyncio.CancelledError:
                continue

    async def raises(call: Call, process: Process) -> Json:
        raise ZeroDivisionError("oops")

    kernel = await boot(
        syscalls={"stubborn": Syscall(stubborn, 0.1, uncovered, own), "raises": Syscall(raises, 1, uncovered, own)}
    )
    sys = await kernel.service("test")
    with pytest.raises(DeadlineExceeded, match="stubborn"):
        await sys.syscall("stubborn")
    with pytest.raises(HandlerFailed, match="oops"):
        await sys.syscall("raises")
    with pytest.raises(NotFound, match="did you mean 'raises'"):
        await sys.syscall("raise")


async def test_a_dead_worker_turns_health_red(boot: Boot) -> None:
    async def dies() -> None:
        raise OSError("the disk is gone")

    kernel = await boot()
    assert not any(kernel.health().values())
    kernel.worker("dying", dies())
    await until(lambda: kernel.health()["worker dying"])
    assert "the disk is gone" in str(kernel.health()["worker dying"])


async def test_replay_needs_no_model_and_finds_the_difference(boot: Boot, tmp_path: Path) -> None:
    kernel = await boot(tools={"ledger": Ledger()})
    sys = await kernel.service("test")
    pids = [await sys.spawn("three"), await sys.spawn("at_once"), await sys.spawn("parent")]
    for pid in pids:
        await sys.wait(pid)
    actor = await sys.spawn("crashes", supervision=Supervision("transient"))
    for n, body in enumerate(["hi", "boom", "again"]):
        await ask(kernel, sys, actor, body, f"m{n}")
    await asyncio.sleep(0.05)
    store = SQLiteStore(tmp_path / "journal.db")
    table = Builtins(kernel).table()
    for pid in [*pids, actor]:
        report = await replay(store, pid, PROGRAMS, table)
        assert report.diverged is None and report.calls > 0

    async def changed(sys: Sys, args: Json, state: Json) -> Any:
        return [await sys.call("ledger", {"n": n}) for n in (1, 2, 4)]

    report = await replay(store, pids[0], PROGRAMS | {"three": Program(changed)}, table)
    assert report.diverged is not None
    assert '"n":4' in report.diverged and '"n":3' in report.diverged
    store.close()


async def test_a_child_may_be_born_with_a_message_that_it_has_received(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def answers(sys: Sys, args: Json, state: Json) -> Json:
        message = await sys.receive()
        seen.append((message.body, message.sender, message.principal, args))
        if message.body == "fail":
            raise RuntimeError("it failed")
        await sys.reply(message, {"got": message.body})
        return None

    programs = {"answers": Program(answers, wakes=True)}
    kernel = Kernel(SQLiteStore(tmp_path / "j.db"), programs)
    sys = await kernel.service("test", "ann")
    commits, write = 0, kernel.store.write

    def counting(batch: Any, *patience: float) -> None:
        nonlocal commits
        commits += 1
        write(batch, *patience)

    kernel.store.write = counting  # type: ignore[method-assign]
    await sys.spawn("answers", 7, first={"body": "hi", "reply_to": "task/one", "task": "one", "id": "one"})
    assert (await kernel.mail.wait("task/one", 20)).body == {"got": "hi"} and commits == 2
    await sys.spawn("answers", 7, first={"body": "fail", "reply_to": "task/two"})
    assert "it failed" in str((await kernel.mail.wait("task/two", 20)).body["error"])
    assert seen == [("hi", "", "ann", 7), ("fail", "", "ann", 7)]
    asked = kernel.table.message("one")
    assert asked is not None and kernel.table.messages(asked.box) == []  # taken
    await kernel.close()


async def test_a_first_message_outlives_a_crash_before_its_child_ran(tmp_path: Path) -> None:
    held, ran = asyncio.Event(), asyncio.Event()

    async def answers(sys: Sys, args: Json, state: Json) -> Json:
        ran.set()
        await held.wait()
        message = await sys.receive()
        await sys.reply(message, {"got": message.body})
        return None

    programs = {"answers": Program(answers, wakes=True)}
    kernel = Kernel(SQLiteStore(tmp_path / "j.db"), programs)
    pid = await (await kernel.service("test")).spawn("answers", first={"body": "hi", "reply_to": "task/one"})
    await ran.wait()
    await kernel.close()
    held.set()
    kernel = Kernel(SQLiteStore(tmp_path / "j.db"), programs)
    await kernel.start_all()
    assert (await kernel.mail.wait("task/one", 20)).body == {"got": "hi"}
    await kernel.runner.ended(pid)
    report = await replay(kernel.store, pid, kernel.programs, kernel.door.table)
    assert report.diverged is None
    await kernel.close()
