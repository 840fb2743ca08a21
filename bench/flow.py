"""What a flow costs: function nodes in its own process, nodes that are processes, large graphs, many flows, a resume.

Chains of 100 nodes and ten layers of ten, in memory (a store without a file) and journalled; 1,000 and 10,000 nodes;
1,000 flows of 10 nodes at once; and how long a flow of 1,000 nodes takes from a start until its first new node, after
it was cut off in the middle.

    python bench/flow.py [--json] [--repeats 5]
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

    def __init__(self) -> None:
        self.graphs: dict[str, Any] = {}

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(KIT)

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
        spent = {}
        for count in (1_000, 10_000):
            plugin.graphs["g"] = read(chain(count, node))
            spent[count] = await one(system, plugin, "g", 1)
            report.add(f"{kind} nodes, chain of {count}", "CPU a node", spent[count] / count, "ms")
        report.add(
            f"{kind} nodes", "10,000 nodes over ten times 1,000", spent[10_000] / spent[1_000] / 10, "x", at_most=1.2
        )
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
    plugin, gate = Plugin(), asyncio.Event()
    plugin.graphs["g"] = read(chain(1_000, TOOL))
    begun: list[float] = []

    @KIT.add(name="nothing", effect="read", trusted=True)
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


def measure(report: Report, options: argparse.Namespace) -> None:
    """All of it."""
    asyncio.run(in_memory(report, options.repeats))
    with folder() as path:
        asyncio.run(costs(report, path, options.repeats))
    with folder() as path:
        asyncio.run(resumed(report, path))


if __name__ == "__main__":
    run("flow", __doc__, measure, repeats=(int, 5, "runs of which the median counts"))
