"""Can code get out of the sandbox, and what does a call cost?

Every escape probe of `probes.py` runs as a plain subprocess first, where it must succeed, and then in the sandbox,
where none may. Bombs have no such control: each must end in time, within the limits of memory, processes and disk. A
call's cost is that of one that says what time it is: until it does, and until its result is there, beside plain
`python3 -c`, in turns.

    python bench/sandbox.py [--json] [--level bwrap] [--rounds 20] [--only WORD]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from common import Report, folder, quantile, run, say
from probes import BOMBS, PROBES, Probe, World, world

from llmagent_os.core.trees import remove
from llmagent_os.tools.sandbox import Job, Result, Sandbox, SandboxSettings, watch
from llmagent_os.tools.sandbox.levels import interpreter

MEMORY, DISK, PROCESSES, SECONDS = 256 << 20, 64 << 20, 48, 3.0
SLACK = 1.5  # how far over a limit a bomb may get before it is stopped
BETWEEN = 128 << 20  # bytes that a disk takes between two looks
NOW = "import time; print(time.monotonic())"


def settings(level: str, **more: object) -> SandboxSettings:
    small = {"memory": MEMORY, "disk": DISK, "processes": PROCESSES, "seconds": SECONDS, "cpu": 10, "unsafe": True}
    return SandboxSettings(**{"level": level, "warm": 0, **small, **more})  # type: ignore[arg-type]


def filled(probe: Probe, facts: dict[str, object]) -> str:
    code = probe.code
    for name, value in facts.items():
        code = code.replace("{" + name + "}", str(value))
    return code


def empty(workspace: Path) -> None:
    for path in workspace.iterdir():
        remove(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def got_through(probe: Probe, at: World, output: str) -> bool:
    time.sleep(probe.seconds)
    changed = at.changed()
    seen = "THROUGH" in output or at.secret in output or changed or (probe.after is not None and probe.after(at))
    empty(at.workspace)
    return seen


def plain(probe: Probe, at: World) -> bool:
    command = [interpreter(), "-c", filled(probe, at.facts)]
    done = subprocess.run(command, cwd=at.workspace, capture_output=True, text=True, timeout=60, check=False)
    return got_through(probe, at, done.stdout)


async def caged(probe: Probe, at: World, sandbox: Sandbox) -> bool:
    done = await sandbox.run(Job(filled(probe, at.facts), folder=at.workspace))
    return got_through(probe, at, done.stdout)


async def escape(report: Report, level: str, only: str) -> None:
    """All probes, and how many of them are through."""
    out, tried = 0, 0
    sandbox = Sandbox(settings(level))
    with folder() as path, world(path) as at:
        for probe in (each for each in PROBES if only in each.name):
            if not plain(probe, at):
                say(f"{probe.name}: not even a plain subprocess can do that here; not counted")
                continue
            tried += 1
            if await caged(probe, at, sandbox):
                out += 1
                say(f"{probe.name}: THROUGH")
    report.add("probes", "tried", tried, "probes", at_least=None if only else 24)
    report.add("probes", "through", out, "probes", at_most=0)


def _free(place: Path) -> int:
    disk = os.statvfs(place)
    return disk.f_bfree * disk.f_frsize


@contextmanager
def peaks(place: Path) -> Iterator[dict[str, int]]:
    """The most memory and disk (of that of a folder), in bytes, and processes that descendants have at once.

    Who else writes to that disk meanwhile is counted with them.
    """
    seen, over = {"memory": 0, "processes": 0, "disk": 0}, Event()
    free = _free(place)
    before = set(watch.family(os.getpid()))

    def look() -> None:
        while not over.wait(0.01):
            pids = [pid for pid in watch.family(os.getpid()) if pid not in before]
            seen["memory"] = max(seen["memory"], watch.memory(pids, 0))
            seen["processes"] = max(seen["processes"], len(pids))
            seen["disk"] = max(seen["disk"], free - _free(place))

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


async def bombs(report: Report, level: str, only: str) -> None:
    """Each bomb, and how many got over the limits."""
    out = 0
    chosen = [each for each in BOMBS if only in each.name]
    sandbox = Sandbox(settings(level))
    for bomb in chosen:
        with folder() as path, peaks(path) as most:
            done = await sandbox.run(Job(bomb.code, folder=path))
            kept = watch.survey(path)
            empty(path)
        over = over_limits(done, most, kept)
        told = (
            f"{done.seconds:.1f} s, {most['memory'] >> 20} MB, {most['processes']} processes, "
            f"{most['disk'] >> 20} MB of the disk, {kept >> 20} MB kept"
        )
        say(f"{bomb.name}: {told}; {done.killed or f'exit {done.exit}'}{' OVER' * bool(over)}")
        out += over
    report.add("bombs", "tried", len(chosen), "bombs")
    report.add("bombs", "over the limits", out, "bombs", at_most=0)


def over_limits(done: Result, most: dict[str, int], kept: int) -> bool:
    used = most["memory"] > SLACK * MEMORY or most["processes"] > PROCESSES + 8 or kept > SLACK * DISK
    used = used or most["disk"] > SLACK * DISK + BETWEEN
    return used or done.seconds > SECONDS + 3


async def starts(report: Report, level: str, rounds: int) -> None:
    """Milliseconds until a call's code runs, and until its result is there: plain, a new sandbox, one from the pool."""
    begun: dict[str, list[float]] = {"plain python3": [], "new sandbox": [], "from the pool": []}
    whole: dict[str, list[float]] = {name: [] for name in begun}
    with folder() as path:
        path.chmod(0o755)
        cold, pool = Sandbox(settings(level)), Sandbox(settings(level, warm=1))
        job = Job(NOW, folder=path)

        async def plain() -> str:
            process = await asyncio.create_subprocess_exec(interpreter(), "-c", NOW, env={}, stdout=subprocess.PIPE)
            return (await process.communicate())[0].decode()

        async def timed(name: str, run: Callable[[], Awaitable[str]]) -> None:
            start = time.monotonic()
            began = float(await run())
            whole[name].append((time.monotonic() - start) * 1000)
            begun[name].append((began - start) * 1000)

        async def sandboxed(sandbox: Sandbox) -> str:
            return (await sandbox.run(job)).stdout

        await sandboxed(cold)
        for _ in range(rounds):
            await timed("plain python3", plain)
            await timed("new sandbox", lambda: sandboxed(cold))
            await pool.prepare(path)
            await asyncio.sleep(0.1)  # until it waits
            await timed("from the pool", lambda: sandboxed(pool))
            await pool.close()
    for name in begun:
        most = 30 if name == "from the pool" else None
        report.add(name, "until the code runs", statistics.median(begun[name]), "ms", at_most=most)
        report.add(name, "whole call", statistics.median(whole[name]), "ms", at_most=most)
    report.add("from the pool", "whole call, p95", quantile(whole["from the pool"], 0.95), "ms")
    for metric, seen in (("until the code runs", begun), ("whole call", whole)):
        ratios = [new / base for new, base in zip(seen["new sandbox"], seen["plain python3"], strict=True)]
        report.add("new sandbox of plain", metric, statistics.median(ratios), "x", at_most=1.6)


def measure(report: Report, options: argparse.Namespace) -> None:
    """Probes, bombs, then time."""
    if platform.machine() != "x86_64":
        raise SystemExit("the probes are written with the system call numbers of x86_64")
    asyncio.run(escape(report, options.level, options.only))
    asyncio.run(bombs(report, options.level, options.only))
    if not options.only:
        asyncio.run(starts(report, options.level, options.rounds))


if __name__ == "__main__":
    run(
        "sandbox", __doc__, measure,
        level=(str, "bwrap", "which sandbox: bwrap, landlock or subprocess"),
        rounds=(int, 20, "calls timed of each kind"),
        only=(str, "", "probes and bombs whose name has this"),
    )  # fmt: skip
