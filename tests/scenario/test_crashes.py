"""A system that stops after every single commit, in turn: nothing is lost, nothing done twice. Both durabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.agent.loop import Agent, program
from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.records import Json, Supervision, Ticket, ToolSpec, Traits
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.kernel.syscalls import Builtins
from llmagent_os.monitoring.replay import replay
from llmagent_os.plugins import hookimpl
from llmagent_os.stores.sqlite import Durability, SQLiteStore
from tests.stand_ins.kernels import until


class Ledger:
    """A tool outside the system: remembers keys, as a payment service would, and counts what it executes."""

    spec = ToolSpec("ledger", "add an entry")
    traits = Traits("write", meanings={"n": "amount"})

    def __init__(self) -> None:
        self.entries: dict[str, Json] = {}

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        self.entries.setdefault(ticket.key, arguments["n"])
        return arguments["n"] * 10


class Stopping(SQLiteStore):
    """A store that says when its n-th commit is through."""

    def __init__(self, path: Path, durability: Durability, after: int) -> None:
        self.left = after
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        super().__init__(path, durability)

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        super().write(batch, patience)
        self.left -= 1
        if self.left == 0:
            self._loop.call_soon_threadsafe(self.reached.set)


async def clerk(sys: Sys, args: Json, state: Json) -> Any:
    """Takes a message, books three entries (two at once), asks a child, and answers with the sum so far."""
    message = await sys.receive()
    first = await sys.call("ledger", {"n": message.body})
    pair = await asyncio.gather(*(sys.call("ledger", {"n": message.body + n}) for n in (1, 2)))
    child = await sys.wait(await sys.spawn("child", first))
    total = (state or 0) + first + sum(pair) + child
    await sys.reply(message, total)
    return Idle(total)


async def child(sys: Sys, args: Json, state: Json) -> Any:
    return await sys.call("ledger", {"n": args + 1000})


PROGRAMS = {"clerk": Program(clerk, wakes=True), "child": Program(child)}


@pytest.mark.parametrize("durability", ["crash", "power"])
async def test_stopping_after_any_commit_loses_and_repeats_nothing(tmp_path: Path, durability: Durability) -> None:
    expected: dict[str, Json] = {}
    for stop_after in range(1, 40):
        ledger, path = Ledger(), tmp_path / f"{stop_after}.db"
        answers, stopped = await run_with_a_stop(path, durability, ledger, stop_after)
        again, _ = await run_with_a_stop(path, durability, ledger, None)
        answers = answers or again
        expected = answers if stop_after == 1 else expected
        assert again == expected
        assert sorted(ledger.entries.values()) == [1, 2, 3, 4, 5, 6, 1010, 1040]
        if not stopped:
            assert stop_after > 10
            return
    pytest.fail("the program has more commits than were tried")


async def run_with_a_stop(
    path: Path, durability: Durability, ledger: Ledger, stop_after: int | None
) -> tuple[dict[str, Json], bool]:
    """Send two tasks under fixed ids and wait for both answers, or for the stop."""
    store = Stopping(path, durability, stop_after or -1)
    kernel = Kernel(store, PROGRAMS, {"ledger": ledger}, [budgets])
    await kernel.start_all()
    work = asyncio.ensure_future(send_two(kernel))
    stop = asyncio.ensure_future(store.reached.wait())
    await asyncio.wait({work, stop}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    stopped = not work.done()
    assert stopped is False or stop.done(), "the system hangs"
    work.cancel()
    stop.cancel()
    await asyncio.wait({work, stop})
    await kernel.close()
    return ({} if work.cancelled() else work.result()), stopped


async def send_two(kernel: Kernel) -> dict[str, Json]:
    """What a client does that retries with the same ids until it has its answers."""
    sys = await kernel.service("client")
    pids = kernel.table.named("clerk")
    pid = pids[0] if pids else await sys.spawn("clerk", name="clerk")
    for task, body in (("a", 1), ("b", 4)):
        await sys.send(pid, body, reply_to=f"task/{task}", task=task, id=task)
    return {task: (await kernel.mail.wait(f"task/{task}", 10)).body for task in ("a", "b")}


async def node(sys: Sys, args: Json, state: Json) -> Any:
    """A supervisor with three children; or a child that counts its starts and fails when told."""
    if args == "supervisor":
        for name in ("one", "two", "three"):
            await sys.spawn("node", name, name=name, supervision=Supervision("permanent"))
        await sys.sleep(3600)
    await sys.call("ledger", {"n": 1})
    message = await sys.receive()
    raise RuntimeError(message.body)


@pytest.mark.parametrize(
    ("strategy", "starts"),
    [("one_for_one", [1, 2, 1]), ("one_for_all", [2, 2, 2]), ("rest_for_one", [1, 2, 2])],
)
async def test_a_failing_child_restarts_whom_the_strategy_says(
    tmp_path: Path, strategy: Any, starts: list[int]
) -> None:
    kernel = Kernel(SQLiteStore(tmp_path / "j.db"), {"node": Program(node)}, {"ledger": Ledger()})
    sys = await kernel.service("test")
    top = await sys.spawn("node", "supervisor", supervision=Supervision(strategy=strategy))
    while len(kernel.table.children(top)) < 3:
        await asyncio.sleep(0.01)
    pids = [kernel.table.named(name)[0] for name in ("one", "two", "three")]
    await until(lambda: starts_of(kernel, pids) == [1, 1, 1])
    await sys.send(pids[1], "fail")
    await until(lambda: starts_of(kernel, pids) == starts)
    await asyncio.sleep(0.05)
    assert starts_of(kernel, pids) == starts
    await kernel.close()


async def test_too_many_restarts_below_end_the_supervisor_and_its_tree(tmp_path: Path) -> None:
    kernel = Kernel(SQLiteStore(tmp_path / "j.db"), {"node": Program(node)}, {"ledger": Ledger()})
    sys = await kernel.service("test")
    top = await sys.spawn("node", "supervisor", supervision=Supervision(intensity=2, period=60))
    while len(kernel.table.children(top)) < 3:
        await asyncio.sleep(0.01)
    child = kernel.table.named("two")[0]
    for n in range(3):
        await sys.send(child, f"fail {n}")
        await asyncio.sleep(0.05)
    ended = await asyncio.wait_for(kernel.runner.ended(top), 20)
    assert ended.status == "stopped" and "too many restarts" in str(ended.reason)
    assert not kernel.table.children(top)
    await kernel.close()


def starts_of(kernel: Kernel, pids: list[int]) -> list[int]:
    return [sum(row.name == "call" for row in kernel.journal.rows(pid)) for pid in pids]


class Tools:
    """A plugin with the ledger."""

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return {"ledger": Ledger()}


async def test_a_conversation_is_replayed_with_the_versions_it_ran_under(tmp_path: Path, models_folder: Path) -> None:
    system = await boot(load({"data": tmp_path, "model": "scripted"}), [Tools()])
    await system.agents.create({"name": "clerk", "tools": ["ledger"], "prompt": "old"})
    for n, prompt in enumerate(["old", "new", "newer"]):
        await system.agents.configure("clerk", {"prompt": prompt})
        await system.agents.ask("clerk", f'call ledger with {{"n": {n}}}', session="s", timeout=20)
    pid = system.kernel.table.named("clerk@s")[0]
    await until(lambda: pid not in system.kernel.table.live)
    report = await replay_in(system, pid, Agent)
    assert report.diverged is None and report.turns >= 3 and report.calls > 9
    diverged = (await replay_in(system, pid, Terse)).diverged
    assert diverged is not None and diverged.startswith("turn 1: the program asks for generate(")
    await system.close()


class Terse(Agent):
    """A changed loop: it asks the model for less."""

    def _instructions(self, *arguments: Any) -> Any:
        return []


async def replay_in(system: System, pid: int, loop: type[Agent]) -> Any:
    programs = {"agent": program(system.tools, {"default": loop})}
    return await replay(system.kernel.store, pid, programs, Builtins(system.kernel).table())
