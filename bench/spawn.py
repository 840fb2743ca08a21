"""What an idle process costs: 100,000 of them are spawned, then the system is started again with all of them there.

Spawned by one process in groups, each by a `spawn` call of its own, journalled. Memory is what this process grows by,
disk what the data folder does. The restart is a new Python process: from its start until a message to one of the
processes is answered.

    python bench/spawn.py [--json] [--processes 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys as python
import time
from collections.abc import Mapping
from pathlib import Path

from common import Report, cpu, disk, folder, gather, memory, run

from llmagent_os.boot import boot
from llmagent_os.config import Config
from llmagent_os.core.records import Json
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.plugins import hookimpl

GROUP = 32  # spawned at once


async def idle(sys: Sys, args: Json, state: Json) -> Idle:
    """Answer a message with its own number, and wait for the next."""
    await sys.reply(await sys.receive(), sys.pid)
    return Idle()


class Plugin:
    """The program of the idle processes."""

    @hookimpl
    def programs(self) -> Mapping[str, Program]:
        return {"idle": Program(idle, wakes=True)}


async def spawn(path: Path, count: int) -> tuple[dict[str, float], int]:
    """Spawn them and return what each cost and the last pid."""
    system = await boot(Config(data=path), [Plugin()])
    pids: list[int] = []
    await gather(GROUP, lambda _: system.sys.spawn("idle"))  # what is done once is no part of it
    before, resident, stored = cpu(), memory(), disk(path)
    for _ in range(count // GROUP):
        pids = await gather(GROUP, lambda _: system.sys.spawn("idle"))
    used, grown = cpu() - before, memory() - resident
    await system.close()
    return {"cpu": used / count * 1e6, "memory": grown / count, "disk": (disk(path) - stored) / count}, pids[-1]


async def answer(path: Path, pid: int) -> None:
    """Start on the folder and have one process answer."""
    system = await boot(Config(data=path), [Plugin()])
    await system.sys.send(pid, "hello", reply_to="task/hello")
    found = await system.kernel.mail.wait("task/hello", timeout=60)
    if found.body != pid:
        raise SystemExit(f"process {pid} answered {found.body!r}")
    await system.close()


def measure(report: Report, options: argparse.Namespace) -> None:
    """Spawn, then start again."""
    with folder() as path:
        each, last = asyncio.run(spawn(path, options.processes))
        case = f"{options.processes} idle processes"
        report.add(case, "CPU each", each["cpu"], "us", at_most=45)
        report.add(case, "memory each", each["memory"], "bytes", at_most=4096)
        report.add(case, "disk each", each["disk"], "bytes")
        began = time.monotonic()
        program = f"import asyncio, pathlib, spawn; asyncio.run(spawn.answer(pathlib.Path({str(path)!r}), {last}))"
        subprocess.run([python.executable, "-c", program], check=True, cwd=Path(__file__).parent)
        report.add(case, "restart until one answers", time.monotonic() - began, "s", at_most=5)


if __name__ == "__main__":
    run("spawn", __doc__, measure, processes=(int, 100_000, "how many"))
