"""A system with a planner that may be killed: `python -m tests.stand_ins.plan_victim DATA LOG`.

Every start accepts the same goal under the same task and prints the answer. The log has a line for each time that the
model was asked: `plan`, or what a step said. The second of the three steps waits until there is a file `go` beside it.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from llmagent_os.boot import boot
from llmagent_os.config import load
from llmagent_os.core.errors import Conflict
from llmagent_os.core.records import GenerateRequest, ModelSpec
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine

PLAN = (
    '{"steps": [{"do": "first", "needs": "worker", "after": []}, {"do": "second", "needs": "worker", "after": [1]}, '
    '{"do": "third", "needs": "worker", "after": [2]}]}'
)


async def work(data: Path, log: Path) -> None:
    """Start, accept the goal, wait for the answer, and print it."""

    def script(request: GenerateRequest) -> Reply:
        said = request.messages[-1].text.split()[0]
        plans = said == "Goal:"
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{'plan' if plans else said}\n")
        waits = said == "second" and not log.with_name("go").exists()
        return Reply(PLAN if plans else said, delay=60.0 if waits else 0.0)

    system = await boot(load({"data": data, "model": "scripted"}))
    system.add_engine("m", await open_engine(ModelSpec("m", "scripted", options={"script": script})))
    with suppress(Conflict):
        await system.agents.create({"name": "worker", "model": "m"})
        await system.agents.create({"name": "planner", "model": "m", "plan": {"agents": ["worker"]}})
    task = await system.agents.send("planner", "all three", session="s", task="t")
    print((await system.agents.reply(task, 60))["plan"]["answer"], flush=True)
    await system.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2])))
