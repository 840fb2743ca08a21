"""Connections that ask nothing, or a byte at a time, beside honest clients: is everybody who asks answered, and when?

The crowd is a process of its own (`crowd_attack.py`): a client that waits for its own event loop is no measure of the
server. Half of it sends half a head and waits, a quarter nothing at all, a quarter a byte a second; each comes again
when it is sent away. The server may hold as many files as a shell usually allows.

    python bench/crowd.py [--json] [--crowd 2000] [--clients 50] [--seconds 20] [--files 1024]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import aiohttp
from common import Report, Server, cpu_of, folder, quantile, run, say


async def honest(url: str, until: float, seconds: list[float], failures: list[str]) -> None:
    """Ask on a connection of one's own each time, a few times a second, as scripts do."""
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            timeout = aiohttp.ClientTimeout(total=30)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/health") as answer:
                await answer.read()
                if answer.status != 200:
                    failures.append(str(answer.status))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failures.append(repr(error))
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(0.25)


async def besiege(url: str, pid: int, options: argparse.Namespace) -> dict[str, float]:
    """The crowd first, then the honest ones beside it."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("crowd_attack.py")),
        url.rpartition(":")[2],
        str(options.crowd),
    ]
    crowd = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert crowd.stdin is not None
    assert crowd.stdout is not None
    await crowd.stdout.readline()
    await asyncio.sleep(1)
    seconds: list[float] = []
    failures: list[str] = []
    until, before = time.monotonic() + options.seconds, cpu_of(pid)
    await asyncio.gather(*(honest(url, until, seconds, failures) for _ in range(options.clients)))
    used = cpu_of(pid) - before
    crowd.stdin.close()
    counts = json.loads(await crowd.stdout.readline())
    await crowd.wait()
    for words in sorted(set(failures)):
        say(f"crowd: {failures.count(words)} x {words}")
    return {
        "asked": len(seconds), "failed": len(failures), "p50": quantile(seconds, 0.5), "p99": quantile(seconds, 0.99),
        "cpu": used / options.seconds, **counts,
    }  # fmt: skip


def measure(report: Report, options: argparse.Namespace) -> None:
    """A server that may raise its limit of files, and one that may not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for this side of the connections
    for name, limit in (("may have more", "-S"), ("no more", "")):
        with folder() as path:
            server = Server(path / "data", limit=f"{limit} -n {options.files}")
            address = server.start()
            try:
                found = asyncio.run(besiege(address.url, server.pid, options))
            finally:
                server.stop()
        case = f"{options.crowd} beside {options.clients}, {options.files} files, {name}"
        report.add(case, "honest requests", found["asked"], "")
        report.add(case, "not answered", found["failed"], "", at_most=0)
        report.add(case, "p50", found["p50"], "s")
        report.add(case, "p99", found["p99"], "s", at_most=1)
        report.add(case, "server CPU a second", found["cpu"], "s")
        report.add(case, "connections sent away", found["sent away"], "")


if __name__ == "__main__":
    run(
        "crowd", __doc__, measure,
        crowd=(int, 2000, "connections that ask nothing"), clients=(int, 50, "honest clients"),
        seconds=(float, 20.0, "seconds that it goes on"), files=(int, 1024, "files that the server may hold"),
    )  # fmt: skip
