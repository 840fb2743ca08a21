"""What a flow costs: function nodes in its own process, nodes that are processes, large graphs, many flows, a resume.

Chains of 100 nodes and ten layers of ten, in memory (a store without a file) and journalled; 1,000 and 10,000 nodes;
1,000 flows of 10 nodes at once; how long a flow of 1,000 nodes takes from a start until its first new node, after
it was cut off in the middle; and what a delivery costs of a topic to 1,000 groups that take 100 messages at a time, all
of it counted: publishing, taking, settling.

    python bench/flow.py [--json] [--repeats 5] [--only topic] [--messages 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

from common import Report, cpu, disk, folder, memory, run

from llmagent_os import ToolKit
from llmagent_os.boot import System, boot
from llmagent_os.boot.flows import FlowAgent
from llmagent_os.config import Config
from llmagent_os.core.sys import Sys
from llmagent_os.flow.compose import read
from llmagent_os.flow.runner import Runner
from llmagent_os.kernel.process import Program
from llmagent_os.plugins import hookimpl

KIT = ToolKit()


@KIT.add(effect="read", trusted=True)
async def nothing() -> int:
    """Do nothing."""
    return 1


def chain(count: int, node: dict[str, Any]) -> dict[str, Any]:
    """Nodes in a row."""
    names = [f"n{i}" for i in range(count)]
    return {"nodes": dict.fromkeys(names, node), "edges": [" -> ".join(names)] if count > 1 else []}


def layers(width: int, depth: int, node: dict[str, Any]) -> dict[str, Any]:
    """Nodes in layers, each given what two of the layer before made."""
    nodes = {f"n{i}_{j}": node for i in range(depth) for j in range(width)}
    edges = [f"n{i - 1}_{k % width} -> n{i}_{j}" for i in range(1, depth) for j in range(width) for k in (j, j + 1)]
    return {"nodes": nodes, "edges": edges}


FUNCTION = {"function": "pass", "input": "${input}"}
TOOL = {"tool": "nothing", "input": {}}


class Plugin:
    """The tool, and a program that runs a graph and nothing else."""

    def __init__(self, kit: ToolKit = KIT) -> None:
        self.graphs: dict[str, Any] = {}
        self._kit = kit

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(self._kit)

    @hookimpl
    def programs(self) -> dict[str, Program]:
        async def runs(sys: Sys, args: Any, state: Any) -> Any:
            return (await Runner(sys, self.graphs[args], FlowAgent.functions).run(7)).value

        return {"runs": Program(runs)}


async def one(system: System, plugin: Plugin, name: str, repeats: int) -> float:
    """CPU milliseconds of one run, the median of several."""
    found = []
    for _ in range(repeats + 1):
        began = cpu()
        await system.sys.wait(await system.sys.spawn("runs", name), 600)
        found.append((cpu() - began) * 1000)
    return statistics.median(found[1:] or found)


async def grown(system: System, plugin: Plugin, node: dict[str, Any], rounds: int) -> tuple[float, float]:
    """CPU milliseconds a node in graphs of 10,000, and how many times that of ten graphs of 1,000: those of the rounds
    that are in the middle. Both in turns, for a machine is not as fast in one minute as in the next.
    """
    small, large, spent = read(chain(1_000, node)), read(chain(10_000, node)), list[tuple[float, float]]()
    for _ in range(rounds):
        plugin.graphs["g"] = small
        ten = sum([await one(system, plugin, "g", 0) for _ in range(10)])
        plugin.graphs["g"] = large
        spent.append((await one(system, plugin, "g", 0) / 10_000, ten / 10_000))
    return statistics.median(big for big, _ in spent), statistics.median(big / little for big, little in spent)


async def costs(report: Report, path: Path, repeats: int) -> None:
    """The rows of single flows, journalled."""
    plugin = Plugin()
    system = await boot(Config(data=path, model="scripted"), [plugin])
    for kind, node, most, large in (("function", FUNCTION, 0.1, 300), ("process", TOOL, 0.3, 1000)):
        for shape, data in (("chain of 100", chain(100, node)), ("10 layers of 10", layers(10, 10, node))):
            plugin.graphs["g"] = read(data)
            await one(system, plugin, "g", 0)
            system.kernel.store.checkpoint()  # else a page for every commit is still in the log
            before = disk(path / "journal.db")
            spent = await one(system, plugin, "g", repeats)
            system.kernel.store.checkpoint()
            grown = (disk(path / "journal.db") - before) / (repeats + 1) / 100
            report.add(f"{kind} nodes, {shape}, journalled", "CPU a node", spent / 100, "ms", at_most=most)
            report.add(f"{kind} nodes, {shape}, journalled", "disk a node", grown, "bytes", at_most=large)
        large, times = await grown(system, plugin, node, repeats if kind == "function" else 1)
        report.add(f"{kind} nodes, chain of 10000", "CPU a node", large, "ms")
        report.add(f"{kind} nodes", "10,000 nodes over ten times 1,000", times, "x", at_most=1.2)
    plugin.graphs["g"] = read(chain(10, FUNCTION))
    began, resident = cpu(), memory()
    pids = await asyncio.gather(*(system.sys.spawn("runs", "g") for _ in range(1_000)))
    await asyncio.gather(*(system.sys.wait(pid, 600) for pid in pids))
    report.add("1,000 flows of 10 function nodes at once", "CPU a node", (cpu() - began) / 10, "ms")
    report.add(
        "1,000 flows of 10 function nodes at once",
        "memory a node",
        (memory() - resident) / 10_000,
        "bytes",
        at_most=5_000,
    )
    await system.close()


async def in_memory(report: Report, repeats: int) -> None:
    """Function nodes whose results are not kept: nothing is written for them."""
    plugin = Plugin()
    with folder() as path:
        system = await boot(Config(data=path, model="scripted"), [plugin])
        for shape, data in (
            ("chain of 100", chain(100, FUNCTION | {"keep": False})),
            ("10 layers of 10", layers(10, 10, FUNCTION | {"keep": False})),
        ):
            plugin.graphs["g"] = read(data)
            report.add(
                f"function nodes, {shape}, not kept",
                "CPU a node",
                await one(system, plugin, "g", repeats * 4) / 100,
                "ms",
                at_most=0.05,
            )
        await system.close()


async def resumed(report: Report, path: Path) -> None:
    """A flow of 1,000 nodes, cut off in the middle, and its first new node after the next start."""
    kit, gate = ToolKit(), asyncio.Event()
    plugin = Plugin(kit)
    plugin.graphs["g"] = read(chain(1_000, TOOL))
    begun: list[float] = []

    @kit.add(name="nothing", effect="read", trusted=True)
    async def counted() -> int:
        """Do nothing, up to the middle."""
        begun.append(time.monotonic())
        if len(begun) == 500:
            await gate.wait()
        return 1

    system = await boot(Config(data=path, model="scripted"), [plugin])
    await system.sys.spawn("runs", "g")
    while len(begun) < 500:
        await asyncio.sleep(0.01)
    await system.close()
    before, started = len(begun), time.monotonic()
    system = await boot(Config(data=path, model="scripted"), [plugin])
    while len(begun) == before:
        await asyncio.sleep(0.001)
    report.add("1,000 nodes, cut off at 500", "start to the first new node", begun[before] - started, "s", at_most=1.0)
    await system.close()


class Listeners:
    """Programs that publish to a topic, and that take from it; those tell what they were given."""

    @hookimpl
    def programs(self) -> dict[str, Program]:
        async def publishes(sys: Sys, args: Any, state: Any) -> None:
            for n in range(args):
                await sys.syscall("publish", topic="t", value={"order": n}, key=f"m{n}", wait=True)

        async def listens(sys: Sys, args: Any, state: Any) -> list[int]:
            where, count, ids = {"topic": "t", "group": args["group"]}, 0, set[str]()
            await sys.receive()  # until all groups are there, and everything is published
            while len(ids) < args["messages"]:
                taken = await sys.syscall("topic_take", most=args["most"], wait=60, lease=3600, **where)
                await sys.syscall("topic_settle", numbers=[each["n"] for each in taken], **where)
                count += len(taken)
                ids.update(each["id"] for each in taken)
            return [count, len(ids)]

        return {"publishes": Program(publishes), "listens": Program(listens)}


async def delivered(report: Report, path: Path, groups: int, messages: int, most: int) -> None:
    """What a delivery of a topic costs, and whether each group was given every message once."""
    system = await boot(Config(data=path, model="scripted"), [Listeners()])
    sys = system.sys
    began = cpu()
    for group in range(groups):
        await sys.syscall("topic_take", topic="t", group=f"g{group}")
    await sys.wait(await sys.spawn("publishes", messages), 3600)
    published = cpu() - began
    wanted = [{"group": f"g{group}", "messages": messages, "most": most} for group in range(groups)]
    pids = [await sys.spawn("listens", each) for each in wanted]
    for pid in pids:
        await sys.send(pid, "go")
    found = [await sys.wait(pid, 3600) for pid in pids]
    each, name = groups * messages, f"topic, {groups:,} groups, {messages:,} messages, {most} a take"
    report.add(name, "CPU a delivery", (cpu() - began) / each * 1000, "ms", at_most=0.05 if most > 1 else None)
    report.add(name, "CPU a message published", published / messages * 1000, "ms")
    report.add(name, "lost", each - sum(ids for _, ids in found), "messages", at_most=0)
    report.add(name, "twice", sum(count - ids for count, ids in found), "messages", at_most=0)
    await system.close()


def topic(report: Report, options: argparse.Namespace) -> None:
    """The rows of topics."""
    with folder() as path:
        asyncio.run(delivered(report, path, 1_000, options.messages, 100))
    with folder() as path:
        asyncio.run(delivered(report, path, 1, 1_000, 1))


def measure(report: Report, options: argparse.Namespace) -> None:
    """All of it."""
    topic(report, options)
    if options.only == "topic":
        return
    asyncio.run(in_memory(report, options.repeats))
    with folder() as path:
        asyncio.run(costs(report, path, options.repeats))
    with folder() as path:
        asyncio.run(resumed(report, path))


if __name__ == "__main__":
    run("flow", __doc__, measure, repeats=(int, 5, "runs of which the median counts"),
        only=(str, "", "topic: those rows alone"), messages=(int, 10_000, "messages of a topic"))  # fmt: skip
