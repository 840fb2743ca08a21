"""What a run of an agent costs: a user message, three tool calls, an answer; four model calls in all.

1 and 100 agents at once, each with its own conversation of one message a run, through `AgentManager`, in this process.
The models answer at once: the scripted engine in this process, and the mock server (`mock_openai.py`, a process of its
own) through the `openai` engine, streamed as it is for any task, where our HTTP client's work counts too.
User-CPU is that of this process, per run.

Without the journal: the store is in memory and drops the rows of calls; processes and mailboxes stay, as nothing runs
without them, and the door packs and sums every row all the same. With: SQLite (WAL) on disk, as shipped. Every filter
is there, and metrics and the statistics of anomalies read the feed, as in a server; its garbage collector is set, too.

    python bench/loop.py [--json] [--runs 400] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import Report, cpu, folder, gather, interleaved, mock, run, user_cpu

from llmagent_os.agent.manager import AgentManager, acts
from llmagent_os.boot import filters_of, load_plugins, make_kernel, masking, reviewing, traits
from llmagent_os.config import Config
from llmagent_os.core.records import Call, ModelSpec
from llmagent_os.gateway.server import spare_the_collector
from llmagent_os.kernel.feed import FeedReader
from llmagent_os.llm.engines import open_engine
from llmagent_os.monitoring.metrics import Metrics
from llmagent_os.plugins import hookimpl
from llmagent_os.security.administration import Administration
from llmagent_os.security.anomaly import Anomalies
from llmagent_os.security.anomaly_statistics import Statistics
from llmagent_os.security.approvals import Approvals
from llmagent_os.security.intents import Intents
from llmagent_os.security.policy import Gate
from llmagent_os.security.vault import Vault
from llmagent_os.stores.facts import StoredFacts
from llmagent_os.stores.sqlite import SQLiteStore
from llmagent_os.tools.toolkit import ToolKit

LIMITS = {
    ("scripted", 1): {"without journal": 1.3, "journalled": 1.8},
    ("scripted", 100): {"without journal": 0.9, "journalled": 1.1},
    ("openai", 1): {"without journal": None, "journalled": None},
    ("openai", 100): {"without journal": None, "journalled": 1.6},
}
"""Milliseconds of user-CPU a run, by engine and agents at once."""
TASK = 'call look with {"place": "a"}, then call look with {"place": "b"}, then call look with {"place": "c"}'


class Places:
    """The tool of the loop, which counts."""

    looked = 0

    async def look(self, place: str) -> str:
        """Say what is at a place."""
        Places.looked += 1
        return f"nothing at {place}"

    @hookimpl
    def tools(self) -> Mapping[str, Any]:
        kit = ToolKit()
        kit.add(self.look, effect="read")
        return kit


class Forgetful(SQLiteStore):
    """A store without a journal: rows of calls are dropped, the rest is kept in memory.

    But for those of messages taken: a process that answers one message is handed it by its row.
    """

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        kept = [each for each in batch if each[0] != "call.add" or each[1][3] == "receive"]
        if kept:
            super().write(kept, patience)


@contextlib.asynccontextmanager
async def system(store: SQLiteStore, model: ModelSpec) -> AsyncIterator[AgentManager]:
    """A kernel with one agent that has the tool, as `boot` makes it, over any store: with every filter and reader."""
    config, administration = Config(), Administration()
    facts = StoredFacts(store, lambda statements: kernel.journal.append(statements))
    approvals = Approvals(facts, lambda pid: kernel.table.find(pid), lambda tenant, one, other: False)
    anomalies = Anomalies(
        config.anomalies, lambda name: traits(tools, name), lambda pid, why: kernel.runner.pause(pid, why), facts
    )
    registry, tools, loops = load_plugins(config, [Places()])
    intents = Intents(tools, approvals, lambda call, process: kernel.intend(call, process))
    vault = Vault(bytes(32), facts)
    inner = (reviewing(config, registry, vault, approvals), masking(config, registry, vault, lambda name: False))
    filters = filters_of(registry, Gate(tools, approvals), anomalies, intents, *inner)
    kernel = make_kernel(store, registry, tools, None, filters, administration)
    kernel.engines.add("model", lambda: open_engine(model))
    kernel.worker("metrics", Metrics(kernel.feed, kernel.journal.unpack, anomalies.seen).reader.run())
    statistics = Statistics(anomalies, lambda name: traits(tools, name), kernel.table.find, kernel.journal.unpack)
    kernel.worker("anomalies", FeedReader(kernel.feed, statistics.take).run())
    spare_the_collector()
    agents = AgentManager(kernel, facts, await kernel.service("system"), tools, loops)

    async def acting(call: Call) -> AgentManager:
        return agents

    administration.takes(acts(acting))
    await agents.create({"name": "looker", "model": "model", "tools": ["look"]})
    try:
        yield agents
    finally:
        await kernel.close()


async def runs(agents: AgentManager, at_once: int, total: int) -> dict[str, float]:
    """Do `total` runs, `at_once` at a time, and return the CPU milliseconds of each."""
    tasks = iter(range(total))

    async def agent(_: int) -> None:
        for _ in tasks:
            _, task = await agents.once("looker", TASK)
            await agents.reply(task)

    looked, user, both = Places.looked, user_cpu(), cpu()
    await gather(at_once, agent)
    if Places.looked - looked != 3 * total:
        raise SystemExit(f"{total} runs used the tool {Places.looked - looked} times, not three times each")
    return {"user": (user_cpu() - user) / total * 1e3, "both": (cpu() - both) / total * 1e3}


async def compare(
    model: ModelSpec, at_once: int, options: argparse.Namespace, path: Path
) -> dict[str, dict[str, float]]:
    """The same runs without and with the journal, in turns."""
    async with (
        system(Forgetful(), model) as without,
        system(SQLiteStore(path / "journal.db"), model) as journalled,
    ):
        cases = {
            "without journal": lambda: runs(without, at_once, options.runs),
            "journalled": lambda: runs(journalled, at_once, options.runs),
        }
        await interleaved(cases, 1)  # what is done once is not part of a run
        return await interleaved(cases, options.rounds)


def measure(report: Report, options: argparse.Namespace) -> None:
    """Both engines, 1 and 100 agents, without and with the journal."""
    with mock(delay=0, tools=3, arguments='{"place": "a"}') as url:
        for model in (ModelSpec("model", "scripted"), ModelSpec("model", "openai", source=url, model="mock")):
            for at_once in (1, 100):
                with folder() as path:
                    found = asyncio.run(compare(model, at_once, options, path))
                for case, limit in LIMITS[model.engine, at_once].items():
                    name = f"{at_once} at once, {model.engine}, {case}"
                    report.add(name, "user-CPU a run", found[case]["user"], "ms", at_most=limit)
                    report.add(name, "CPU a run", found[case]["both"], "ms")


if __name__ == "__main__":
    run(
        "loop", __doc__, measure,
        runs=(int, 400, "runs a round"), rounds=(int, 5, "medians are over so many rounds"),
    )  # fmt: skip
