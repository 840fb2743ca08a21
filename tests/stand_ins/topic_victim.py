"""A system with a topic that is killed again and again: `python -m tests.stand_ins.topic_victim DATA LEDGER COUNT`.

Every start publishes the same messages under the same keys to two groups of two consumers each; it ends when all are
settled. The ledger has a line for each message that a consumer did something about, once a key; one of them fails now
and then, and gives back what it took.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from llmagent_os import ToolKit
from llmagent_os.boot import boot
from llmagent_os.config import load
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.process import Program
from llmagent_os.plugins import hookimpl
from tests.stand_ins.ledgers import noted

WHERE = {"topic": "work", "of": "tenant"}


class Consumers:
    """The programs, and the tool by which consumers act."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._kit = folder, ToolKit()

        @self._kit.add(effect="write", meanings={"what": "text"}, trusted=True, idempotent=True)
        async def act(what: str) -> str:
            """Write a line, unless it is there: the consumer keeps the keys of messages."""
            noted(self._folder / "deliveries", what)
            done = self._folder / "ledger"
            if not done.exists() or what not in done.read_text().splitlines():
                noted(done, what)
            return what

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(self._kit)

    @hookimpl
    def programs(self) -> dict[str, Program]:
        async def publishes(sys: Sys, args: Any, state: Any) -> Any:
            for n in range(args):
                await sys.syscall("publish", value=n, key=f"m{n}", **WHERE)

        async def consumes(sys: Sys, args: Any, state: Any) -> Any:
            while True:
                for each in await sys.syscall("topic_take", group=args, most=3, wait=60, tries=99, **WHERE):
                    fails = each["n"] % 7 == 0 and each.get("tries", 1) == 1
                    if not fails:
                        await sys.call("act", {"what": f"{args} {each['id']}"})
                    more = {"failed": "not now"} if fails else {}
                    await sys.syscall("topic_settle", group=args, numbers=[each["n"]], **WHERE, **more)

        return {"publishes": Program(publishes), "consumes": Program(consumes)}


async def work(data: Path, ledger: Path, count: int) -> None:
    """Start what is not there yet, and wait until all is settled."""
    system = await boot(load({"data": data, "model": "scripted"}), [Consumers(ledger)])
    table = system.kernel.table
    for group in ("a", "b"):
        for number in "12":
            if not table.named(f"{group}{number}"):
                await system.sys.spawn("consumes", group, f"{group}{number}")
    pids = table.named("publisher")
    done = [row for row in table.listed() if row["name"] == "publisher"]
    if not pids and not done:
        await system.sys.spawn("publishes", count, "publisher")
    while True:
        row = next((row for row in table.listed() if row["name"] == "publisher"), None)
        found = system.teamwork.topics.listed("default/all").get("work", {"messages": 1, "groups": {}})
        if row is not None and row["status"] == "done" and not found["messages"] and len(found["groups"]) == 2:
            break
        await asyncio.sleep(0.02)
    print("settled", flush=True)
    await system.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
