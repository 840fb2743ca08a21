"""Kill the server again and again while agents work, and count what was lost, repeated or written twice.

`llmagent-os up` runs with `ledger_plugin.py`: an agent on the scripted engine whose tool appends to a ledger. Each of
50 sessions of it is sent one task after another over REST, every task three tool calls; what gets no answer is sent
again under the same Idempotency-Key. Meanwhile the server is killed with SIGKILL at random moments, sometimes while it
starts, and started again. In the end, after all tasks were answered, these are compared: the replies, the ledger, the
log of executions, and the journal.

    python bench/kill9.py [--json] [--kills 200] [--agents 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sqlite3
import statistics
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from common import Report, Server, folder, run, say

from llmagent_os.gateway.client import Address

STEPS = 3  # tool calls a task
CONVERSATION = 10  # tasks of one session, then a new one begins
WORKING = (0.05, 1.0)  # seconds from ready to the kill
STARTING = (0.0, 0.8)  # seconds from the start to a kill that does not wait for it
EARLY = 0.15  # so often a start is cut off
TOLD = 10  # kills between two lines of progress
PATIENCE = 120.0  # seconds that the last tasks get

Failures = (aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass
class Run:
    """What the driver knows: where the server is, what was accepted, what came back."""

    address: Address | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    enough: bool = False
    accepted: set[str] = field(default_factory=set)
    replies: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)

    async def ask(self, session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Ask whichever server is up until one answers."""
        while True:
            await self.up.wait()
            assert self.address is not None
            headers = {"Authorization": f"Bearer {self.address.key}", **options.get("headers", {})}
            try:
                async with session.request(
                    method, self.address.url + path, json=options.get("json"), headers=headers
                ) as response:
                    answer = await response.json()
            except Failures:
                await asyncio.sleep(0.02)
                continue
            if response.status not in (200, 202):
                self.refused.append(f"{method} {path}: {response.status} {answer}")
                await asyncio.sleep(0.1)
                continue
            return answer


async def agent(driver: Run, session: aiohttp.ClientSession, number: int) -> None:
    """Give one session after the other a task, and the next once it is answered."""
    task = 0
    while not driver.enough:
        name = f"a{number}.t{task}"
        calls = [f'call append with {{"entry": "{name}.{step}"}}' for step in range(STEPS)]
        said = {"text": ", then ".join(calls), "session": f"a{number}.{task // CONVERSATION}", "wait": 0}
        path = "/v1/agents/clerk/messages"
        answer = await driver.ask(session, "POST", path, json=said, headers={"Idempotency-Key": name})
        driver.accepted.add(name)
        while not answer["done"]:
            answer = await driver.ask(session, "GET", f"/v1/tasks/{name}?wait=20")
        driver.replies[name] = answer["reply"]["text"]
        task += 1


async def killer(driver: Run, server: Server, kills: int, chance: random.Random) -> None:
    """Start and kill the server; leave it running after the last kill."""
    for number in range(1, kills + 1):
        if chance.random() < EARLY:
            server.launch()
            await asyncio.sleep(chance.uniform(*STARTING))
        else:
            await start(driver, server)
            await asyncio.sleep(chance.uniform(*WORKING))
        driver.up.clear()
        server.kill()
        if number % TOLD == 0:
            starts = driver.ready[-TOLD:]
            middle, slowest = statistics.median(starts), max(starts)
            say(f"{number} kills, {len(driver.replies)} tasks answered, starts {middle:.2f} to {slowest:.2f} s")
    await start(driver, server)


async def start(driver: Run, server: Server) -> None:
    """Start the server and note how long it took until it answered."""
    began = time.monotonic()
    driver.address = await asyncio.to_thread(server.start)
    driver.ready.append(time.monotonic() - began)
    driver.up.set()


async def drive(driver: Run, server: Server, options: argparse.Namespace) -> None:
    """All kills, then wait for the tasks under way."""
    chance = random.Random(options.seed)
    limits = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=limits, timeout=aiohttp.ClientTimeout(total=40)) as session:
        agents = [asyncio.create_task(agent(driver, session, number)) for number in range(options.agents)]
        try:
            await killer(driver, server, options.kills, chance)
            await asyncio.sleep(1)
            driver.enough = True
            await asyncio.wait(agents, timeout=PATIENCE)
        finally:
            for task in agents:
                task.cancel()
            await asyncio.gather(*agents, return_exceptions=True)
            server.stop()


def verify(report: Report, driver: Run, path: Path, kills: int) -> None:
    """Compare what was accepted with replies, ledger, executions and journal."""
    expected = {f"{task}.{step}" for task in driver.accepted for step in range(STEPS)}
    wrong = [task for task in driver.accepted if driver.replies.get(task) != reply(task)]
    entries = Counter(line.split()[1] for line in (path / "ledger").read_text().splitlines())
    executions, steps, repeated = journalled(path)
    case = f"{kills} kills, {len(driver.accepted)} tasks"
    report.add(case, "accepted tasks lost or answered wrongly", len(wrong), "tasks", at_most=0)
    report.add(case, "finished steps repeated", repeated, "steps", at_most=0)
    report.add(case, "steps missing in the journal", len(expected) - steps, "steps", at_most=0)
    report.add(case, "ledger entries missing", len(expected - entries.keys()), "entries", at_most=0)
    report.add(case, "ledger entries too many", entries.total() - len(entries.keys() & expected), "entries", at_most=0)
    report.add(case, "requests refused", len(driver.refused), "requests", at_most=0)
    report.add(case, "steps cut off and issued again", executions - len(entries), "steps")
    report.add(case, "slowest start", max(driver.ready), "s", at_most=3)
    report.add(case, "median start", statistics.median(driver.ready), "s")
    for line in [*driver.refused[:3], *(f"task {task}: {driver.replies.get(task)!r}" for task in sorted(wrong)[:3])]:
        say(line)


def reply(task: str) -> str:
    """What the scripted engine reports of a task's results."""
    return "Done: " + "; ".join(f"{task}.{step}" for step in range(STEPS))


def journalled(path: Path) -> tuple[int, int, int]:
    """Count executions of the tool, steps in the journal, and steps done again.

    A step was done again if it has two rows, or was executed after its row says that it had ended.
    """
    with closing(sqlite3.connect(path / "data" / "journal.db")) as journal:
        rows = journal.execute("SELECT key, started + seconds FROM call WHERE name = 'call'").fetchall()
        twice = journal.execute("SELECT count(*) - count(DISTINCT key) FROM call").fetchone()[0]
    ended = dict(rows)
    executions = [line.split() for line in (path / "executions").read_text().splitlines()]
    late = sum(float(at) > ended.get(key, float("inf")) for key, at in executions)
    return len(executions), len(ended), late + twice


def measure(report: Report, options: argparse.Namespace) -> None:
    """Kill, then compare."""
    driver = Run()
    with folder() as path:
        os.environ["LEDGER"] = str(path)
        server = Server(path / "data", [Path(__file__).with_name("ledger_plugin.py")])
        asyncio.run(drive(driver, server, options))
        verify(report, driver, path, options.kills)


if __name__ == "__main__":
    run(
        "kill9", __doc__, measure,
        kills=(int, 200, "how often the server is killed"), agents=(int, 50, "sessions at work"),
        seed=(int, 1, "of the random moments"),
    )  # fmt: skip
