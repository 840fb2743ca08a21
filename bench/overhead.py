"""What the OS adds to a remote model: N agents make K calls each, one after the other, direct and through the OS.

The model is `mock_openai.py`, a process of its own that answers after 250 ms and costs almost no CPU. The OS is
`llmagent-os up`, a process of its own, journal on disk, with the mock registered as an `openai` model. Both are asked
by the same lean client, `POST /v1/chat/completions`, not streamed, over connections that stay open; the rounds of
both sides alternate. All three processes share the machine's cores.

Server CPU is user and system time of all its threads, less what it uses when idle. The target is for all calls
together: a lone call after 250 ms of nothing finds cold caches and costs more than one of many.

    python bench/overhead.py [--json] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from common import Report, cpu_of, folder, gather, interleaved, mock, quantile, run, serving

from llmagent_os.core.records import ModelSpec
from llmagent_os.llm import catalog

CASES = {(1, 4): 98.0, (16, 4): 98.0, (64, 2): 94.0, (250, 2): 85.0}
"""(agents, calls each) -> per cent of the direct throughput that must be left."""
IDLE = 2.0  # seconds
QUICK = 16
"""Up to so many agents the added latency is bounded."""

Session = aiohttp.ClientSession


class Side:
    """One way to the model, with what was seen of it."""

    def __init__(self, url: str, model: str, key: str = "") -> None:
        self._url, self._headers = f"{url}/chat/completions", {"Authorization": f"Bearer {key}"}
        self._body = {"model": model, "messages": [{"role": "user", "content": "What is the answer?"}]}
        self.latencies: list[float] = []

    async def wave(self, session: Session, agents: int, calls: int) -> dict[str, float]:
        """Calls a second with so many agents at once."""

        async def agent(_: int) -> None:
            for _ in range(calls):
                began = time.perf_counter()
                async with session.post(self._url, json=self._body, headers=self._headers) as response:
                    answer = await response.json()
                self.latencies.append(time.perf_counter() - began)
                if response.status != 200 or not answer["choices"][0]["message"]["content"]:
                    raise SystemExit(f"{self._url} answered {response.status}: {answer}")

        began = time.perf_counter()
        await gather(agents, agent)
        return {"throughput": agents * calls / (time.perf_counter() - began)}


async def compare(report: Report, direct: Side, through: Side, server: int, rounds: int) -> None:
    """All cases, both sides in turns."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector) as session:
        for side in (direct, through):
            await side.wave(session, max(CASES)[0], 1)  # opens the connections
        meter = await Meter.start(report, server)
        for (agents, calls), least in CASES.items():
            direct.latencies.clear()
            through.latencies.clear()
            cases = {
                "direct": lambda n=agents, k=calls: direct.wave(session, n, k),
                "OS": lambda n=agents, k=calls: through.wave(session, n, k),
            }
            with meter:
                found = await interleaved(cases, rounds)
            case = f"{agents} x {calls}"
            tell(report, case, found, direct, through, least, agents <= QUICK)
            report.add(case, "server CPU a call", meter.each(len(through.latencies)), "ms")
        report.add("all cases", "server CPU a call", meter.each_of_all(), "ms", at_most=0.6)


class Meter:
    """The server's CPU beyond what it uses when nobody asks it anything."""

    def __init__(self, server: int, idle: float) -> None:
        self._server, self._idle = server, idle
        self._used, self._all_used, self._all_calls = 0.0, 0.0, 0

    @classmethod
    async def start(cls, report: Report, server: int) -> Meter:
        """Find out what the idle server uses."""
        before = cpu_of(server)
        await asyncio.sleep(IDLE)
        idle = (cpu_of(server) - before) / IDLE
        report.add("idle", "server CPU a second", idle * 1e3, "ms")
        return cls(server, idle)

    def __enter__(self) -> None:
        self._before = cpu_of(self._server), time.monotonic()

    def __exit__(self, *_: object) -> None:
        used, at = self._before
        self._used = cpu_of(self._server) - used - self._idle * (time.monotonic() - at)

    def each(self, calls: int) -> float:
        """Milliseconds for each of the calls made under the meter."""
        self._all_used += self._used
        self._all_calls += calls
        return self._used / calls * 1e3

    def each_of_all(self) -> float:
        """Milliseconds for each call so far."""
        return self._all_used / self._all_calls * 1e3


def tell(
    report: Report, case: str, found: Mapping[str, Mapping[str, float]], direct: Side, through: Side,
    least: float, bounded: bool,
) -> None:  # fmt: skip
    """Report the ratio of the throughputs and the added latency."""
    ratio = found["OS"]["throughput"] / found["direct"]["throughput"]
    report.add(case, "throughput of direct", 100 * ratio, "%", at_least=least)
    for name, part, limit in (("p50", 0.5, 3.0), ("p99", 0.99, 20.0)):
        added = (quantile(through.latencies, part) - quantile(direct.latencies, part)) * 1e3
        report.add(case, f"added {name}", added, "ms", at_most=limit if bounded else None)


def measure(report: Report, options: argparse.Namespace) -> None:
    """The mock, the system, and the comparison."""
    with folder() as path, mock(delay=options.delay) as url:
        register(path, url)
        with serving(path) as (server, address):
            sides = Side(url, "mock"), Side(f"{address.url}/v1", "mock", address.key)
            asyncio.run(compare(report, *sides, server.pid, options.rounds))


def register(data: Path, url: str) -> None:
    """Make the mock known to the system that will run on the data folder."""
    os.environ["LLMAGENT_OS_MODELS"] = str(data / "models")
    catalog.add(ModelSpec("mock", "openai", source=url))


if __name__ == "__main__":
    run(
        "overhead", __doc__, measure,
        rounds=(int, 5, "rounds of each side"), delay=(float, 0.25, "seconds that the model takes"),
    )  # fmt: skip
