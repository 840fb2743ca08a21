"""An agent that is held stays held: whatever its users do, whatever becomes of its turn, and across restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import Conflict, ProcessFailed
from llmagent_os.core.life import Life
from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.scripted import open_engine

SLOW = [{"match": "(.*)", "text": "x" * 400, "pace": 0.05}]


async def start(folder: Path) -> System:
    system = await boot(load({"data": folder, "model": "scripted"}))
    system.add_engine("slow", await open_engine(ModelSpec("slow", "scripted", options={"rules": SLOW})))
    return system


async def held(system: System, waiting: int) -> tuple[int, list[str]]:
    """A session in the middle of a turn, with more messages behind it; then paused."""
    await system.agents.create({"name": "bot", "model": "slow"})
    tasks = [await system.agents.send("bot", f"hi {n}", session="s") for n in range(1 + waiting)]
    (pid,) = system.kernel.table.named("bot@s")
    async with asyncio.timeout(20):
        while system.kernel.table.get(pid).engine is None:
            await asyncio.sleep(0.01)
    await system.kernel.runner.pause(pid)
    return pid, tasks


@pytest.mark.parametrize("waiting", [0, 1])
@pytest.mark.parametrize("restarts", [False, True])
async def test_cancelling_a_task_does_not_end_a_pause(tmp_path: Path, waiting: int, restarts: bool) -> None:
    system = await start(tmp_path)
    pid, tasks = await held(system, waiting)
    if restarts:
        await system.close()
        system = await start(tmp_path)
    await system.agents.cancel(tasks[0])
    with pytest.raises(ProcessFailed, match="gave up"):
        await system.agents.reply(tasks[0], 20)
    await asyncio.sleep(0.05)
    assert system.kernel.table.get(pid).life == Life("waiting", True)
    assert pid not in system.kernel.table.live
    with pytest.raises(Conflict):
        await system.kernel.runner.pause(pid)
    later = await system.agents.send("bot", "hello?", session="s")
    await asyncio.sleep(0.1)
    assert system.agents.answered(later) is None
    await system.agents.configure("bot", {"model": "scripted"})
    await system.kernel.runner.resume(pid)
    assert (await system.agents.reply(later, 20))["text"] == "hello?"
    await system.close()


async def test_what_is_held_and_killed_leaves_nothing_alive(tmp_path: Path) -> None:
    system = await start(tmp_path)
    pid, tasks = await held(system, 1)
    await system.kernel.runner.kill(pid)
    for task in tasks:
        with pytest.raises(ProcessFailed):
            await system.agents.reply(task, 20)
    assert pid not in system.kernel.table.live
    await system.close()
