"""Every pair of a life and an event, as data; and each of them in a system that stops and starts again in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import pytest

from llmagent_os.core.errors import Conflict, LLMAgentOSError
from llmagent_os.core.life import ALIVE, MOVES, Event, Life, Phase, transition
from llmagent_os.core.records import Grant, Json, Supervision
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.stores.sqlite import SQLiteStore

ENDS: tuple[Phase, ...] = ("done", "stopped", "quarantined")
LIVES = [Life(phase, paused) for phase in ALIVE for paused in (False, True)] + [Life(phase) for phase in ENDS]


@pytest.mark.parametrize("event", get_args(Event))
@pytest.mark.parametrize("life", LIVES)
def test_what_an_event_makes_of_a_life(life: Life, event: Event) -> None:
    goes = {
        "kill": life.phase in (*ALIVE, "quarantined"), "restart": life.phase in (*ALIVE, "done"),
        "pause": life.phase in ALIVE and not life.paused, "resume": life.paused,
    }.get(event, life.phase in ALIVE)  # fmt: skip
    if not goes:
        with pytest.raises(Conflict, match=event):
            transition(life, event)
        return
    after = transition(life, event)
    assert after.phase == (MOVES[event][0] or life.phase)
    if event in ("pause", "resume") or after.ended:
        assert after.paused is (event == "pause")
    else:
        assert after.paused is life.paused, "nothing but resume ends a pause, and nothing else begins one"


@pytest.mark.parametrize("life", LIVES)
def test_a_row_tells_the_life_it_was_written_for(life: Life) -> None:
    status, reason = life.row("why")
    assert (status, reason) == (("paused", life.phase) if life.paused else (life.phase, "why"))


async def worker(sys: Sys, args: Json, state: Json) -> Any:
    """Takes a message; answers it, fails, ends, or stays in its turn."""
    message = await sys.receive()
    if message.body == "stay":
        await sys.sleep(3600)
    if message.body == "slow fail":
        await asyncio.sleep(0.1)
    if message.body.endswith("fail"):
        raise RuntimeError("as asked")
    if message.body == "end":
        return "the end"
    await sys.reply(message, [message.body, args, state])
    return Idle((state or 0) + 1)


PROGRAMS = {"worker": Program(worker, wakes=True)}
PARKED = Life("waiting")


class World:
    """A kernel over a file, and one process of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def boot(self) -> None:
        self.kernel = Kernel(SQLiteStore(self.path), PROGRAMS)
        await self.kernel.start_all()
        self.sys = await self.kernel.service("test")
        await asyncio.sleep(0.01)

    async def again(self) -> None:
        """The system stops and starts."""
        await self.kernel.close()
        await self.boot()

    async def bring(self, life: Life) -> None:
        """A process of that life."""
        self.pid = await self.sys.spawn("worker", "args", supervision=Supervision("transient"))
        if life.phase == "running":
            await self.send("stay")
        if life.paused:
            await self.kernel.runner.pause(self.pid)
        if life.phase == "done":
            await self.send("end")
        if life.phase == "stopped":
            await self.kernel.runner.kill(self.pid)
        if life.phase == "quarantined":
            await self.send("first")
            await self.damage()
            await self.send("second")
        assert self.life() == life

    async def damage(self) -> None:
        """What it parked with cannot be read any more."""
        async with asyncio.timeout(20):
            while self.pid in self.kernel.table.live:
                await asyncio.sleep(0.01)
        self.kernel.store.write([("process.turn", (b"#" + bytes(16), b"{}", 0, 0, None, self.pid))])
        self.kernel.table.reload(self.kernel.table.get(self.pid))

    async def send(self, body: Json) -> None:
        await self.sys.send(self.pid, body, reply_to=f"task/{body}", id=f"{body}")
        await asyncio.sleep(0.05)

    def life(self) -> Life:
        process = self.kernel.table.get(self.pid)
        status, _ = process.life.row(None)
        assert self.kernel.store.read("process.get", self.pid)[0][6] == status, "memory and row say the same"
        return process.life

    def answer(self, body: str) -> Json:
        found = self.kernel.table.messages(f"task/{body}")
        return found[0][1].body if found else None


async def act(world: World, event: str) -> None:
    runner, pid = world.kernel.runner, world.pid
    await {
        "pause": lambda: runner.pause(pid), "resume": lambda: runner.resume(pid),
        "interrupt": lambda: runner.interrupt(pid, "broken off"), "kill": lambda: runner.kill(pid, "enough"),
        "configure": lambda: runner.configure(pid, "new", Grant()),
    }[event]()  # fmt: skip


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("event", ["pause", "resume", "interrupt", "kill", "configure"])
@pytest.mark.parametrize("life", LIVES)
async def test_every_act_on_every_life_with_a_restart_between(
    life: Life, event: Event, stops: bool, tmp_path: Path
) -> None:
    world = World(tmp_path / "journal.db")
    await world.boot()
    await world.bring(life)
    if stops:
        await world.again()
        assert world.life() == life
    try:
        expected = transition(life, event)
    except Conflict:
        with pytest.raises(Conflict):
            await act(world, event)
        expected = life
    else:
        await act(world, event)
    if stops:
        await world.again()
    assert world.life() == expected
    await check_what_follows(world, life, event, expected)
    await world.kernel.close()


async def check_what_follows(world: World, before: Life, event: str, life: Life) -> None:
    """Who waited is told; a living process works on, a held one when it is resumed, and nothing is left behind."""
    if before.phase == "running" and (event == "interrupt" or life.ended):
        assert world.answer("stay")["error"]["type"] == "ProcessFailed"
    if life.ended:
        assert world.pid not in world.kernel.table.live
        with pytest.raises(LLMAgentOSError):
            await world.send("late")
        return
    await world.send("late")
    if life.paused:
        assert world.answer("late") is None
        await world.kernel.runner.resume(world.pid)
    if life.phase == "running":
        await world.kernel.runner.interrupt(world.pid, "enough")
    async with asyncio.timeout(20):
        while world.answer("late") is None:
            await asyncio.sleep(0.01)
    assert world.answer("late") == ["late", "new" if event == "configure" else "args", None]


@pytest.mark.parametrize("body", ["fail", "end"])
async def test_a_turn_that_comes_to_its_end_while_it_is_held_ends_when_it_is_resumed(body: str, tmp_path: Path) -> None:
    world = World(tmp_path / "journal.db")
    await world.boot()
    world.pid = await world.sys.spawn("worker", supervision=Supervision("transient"))
    await world.kernel.runner.pause(world.pid)
    await world.send(body)
    await world.again()
    assert world.life() == Life("waiting", True) and world.answer(body) is None
    await world.kernel.runner.resume(world.pid)
    async with asyncio.timeout(20):
        while world.answer(body) is None:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert world.life() == (Life("done") if body == "end" else PARKED)
    await world.kernel.close()


@pytest.mark.parametrize("stops", [False, True])
async def test_a_pause_in_a_turn_that_fails_lasts_and_ends(stops: bool, tmp_path: Path) -> None:
    world = World(tmp_path / "journal.db")
    await world.boot()
    world.pid = await world.sys.spawn("worker", supervision=Supervision("transient"))
    await world.send("slow fail")
    await world.kernel.runner.pause(world.pid)
    await asyncio.sleep(0.2)
    if stops:
        await world.again()
        await asyncio.sleep(0.2)
    assert world.life() == Life("running", True) and world.answer("slow fail") is None
    await world.kernel.runner.resume(world.pid)
    async with asyncio.timeout(20):
        while world.answer("slow fail") is None:
            await asyncio.sleep(0.01)
    await world.send("and then?")
    assert world.answer("and then?") == ["and then?", None, None]
    await world.kernel.close()
