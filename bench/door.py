"""What the door costs a call: permissions, labels and the journal, with 1 tenant and with 1,000.

A turn is as an agent's: a message, a prompt, a tool that reads 2 KB of somebody else's words, and a tool with two
arguments that act on the world, which are looked for in all of it. The tools do nothing, so what is counted is the
door; CPU is that of this process. "bare" has no filters and a journal that drops the rows of calls.

    python bench/door.py [--json] [--turns 500] [--tenants 1000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Mapping
from typing import Any

from common import Report, cpu, folder, interleaved, run
from loop import Forgetful

from llmagent_os.boot import filters_of, load_plugins, make_kernel
from llmagent_os.config import Config
from llmagent_os.core.records import (
    GenerateRequest,
    Grant,
    Json,
    Message,
    ModelSpec,
    Policy,
    Rule,
    Supervision,
    owned,
)
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.llm.engines import open_engine
from llmagent_os.plugins import hookimpl
from llmagent_os.security.approvals import Nobody
from llmagent_os.security.policy import Gate
from llmagent_os.stores.sqlite import SQLiteStore
from llmagent_os.tools.toolkit import ToolKit

PAGE = "Somebody wrote this, and it is long enough to be looked at for a while. " * 28  # 2 KB
TASK = "Read the page, then pay 50 to DE89370400440532013000, please."
CALLS = 6  # receive, generate, call, call, reply, and the park
GRANT = Grant(
    tools=("look", "pay"), models=("model",), agents=(),
    policy=Policy(tools={"pay": Rule(most={"amount": 100.0}, refuse=({"to": ("GB*",)},))}),
)  # fmt: skip


class Tools:
    """A page, and money."""

    @hookimpl
    def tools(self) -> Mapping[str, Any]:
        kit = ToolKit()

        @kit.add(effect="read")
        async def look() -> str:
            return PAGE

        @kit.add(meanings={"to": "recipient", "amount": "amount"})
        async def pay(to: str, amount: float) -> str:
            return "paid"

        return dict(kit)

    @hookimpl
    def programs(self) -> Mapping[str, Program]:
        return {"clerk": Program(clerk, wakes=True)}


async def clerk(sys: Sys, args: Json, state: Json) -> Any:
    """A turn."""
    asked = await sys.receive()
    page = await sys.call("look")
    messages = (Message("system", "You pay bills."), Message("user", asked.body), Message("tool", page, name="look"))
    await sys.generate(GenerateRequest("model", messages, stream=False))
    await sys.call("pay", {"to": "DE89370400440532013000", "amount": 50})
    await sys.reply(asked, {"text": "Paid, as you said."})
    return Idle()


@contextlib.asynccontextmanager
async def system(store: SQLiteStore, tenants: int, bare: bool) -> AsyncIterator[tuple[Kernel, list[int]]]:
    """A kernel, and a clerk of every tenant."""
    registry, tools, _ = load_plugins(Config(), [Tools()])
    kernel = make_kernel(store, registry, tools, filters=[] if bare else filters_of(registry, Gate(tools, Nobody())))
    kernel.engines.add("model", lambda: open_engine(ModelSpec("model", "scripted")))
    pids = []
    for tenant in range(tenants):
        made = kernel.table.create(
            "clerk", None, None, None, (), Supervision(), True, f"tenant-{tenant}", "owner", GRANT
        )
        await kernel.journal.append([("process.add", made.values(b"null"))])
        pids.append(made.pid)
    try:
        yield kernel, pids
    finally:
        await kernel.close()


async def turns(kernel: Kernel, pids: list[int], count: int) -> dict[str, float]:
    """Do so many turns, one after the other, and return the CPU milliseconds of a call."""
    services = [await kernel.service("bench", "owner", f"tenant-{n}") for n in range(len(pids))]
    gc.collect()
    began = cpu()
    for number in range(count):
        tenant = number % len(pids)
        pid, task = pids[tenant], owned(f"tenant-{tenant}", f"{began}-{number}")
        await services[tenant].send(pid, TASK, reply_to=f"task/{task}", task=task)
        answer = await kernel.mail.wait(f"task/{task}", timeout=10)
        if "error" in answer.body:
            raise SystemExit(f"a turn failed: {answer.body}")
    return {"a call": (cpu() - began) / count / (CALLS + 1) * 1e3}


async def compare(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """In turns: bare, one tenant, many."""
    with folder() as path:
        async with (
            system(Forgetful(), 1, bare=True) as bare,
            system(SQLiteStore(path / "one.db"), 1, bare=False) as one,
            system(SQLiteStore(path / "many.db"), options.tenants, bare=False) as many,
        ):
            cases = {
                "bare": lambda: turns(*bare, options.turns),
                "1 tenant": lambda: turns(*one, options.turns),
                f"{options.tenants} tenants": lambda: turns(*many, options.turns),
            }
            await interleaved(cases, 1)
            return await interleaved(cases, options.rounds)


def measure(report: Report, options: argparse.Namespace) -> None:
    """CPU a call, and what of it are permissions, labels and journal."""
    found = {case: values["a call"] for case, values in asyncio.run(compare(options)).items()}
    bare, one, many = found["bare"], found["1 tenant"], found[f"{options.tenants} tenants"]
    report.add("bare", "CPU a call", bare, "ms")
    report.add("1 tenant", "CPU a call", one, "ms")
    report.add("1 tenant", "of it permissions, labels, journal", one - bare, "ms", at_most=0.06)
    report.add(f"{options.tenants} tenants", "CPU a call of that with 1", many / one, "x", at_most=1.05)


if __name__ == "__main__":
    run(
        "door", __doc__, measure,
        turns=(int, 500, "turns a round"), tenants=(int, 1000, "tenants, each with an agent"),
        rounds=(int, 5, "medians are over so many rounds"),
    )  # fmt: skip
