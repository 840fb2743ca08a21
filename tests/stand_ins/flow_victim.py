"""A system with flows that is killed again and again: `python -m tests.stand_ins.flow_victim DATA LEDGER RUNS`.

Every start accepts the same runs under the same tasks; it ends when all are answered. `works` has 100 nodes in ten
layers and asks a person in the middle; `gives_up` has as many, fails at its end and undoes them all. The ledger has a
line for each effect, which a tool makes once under one key; `executions` a line for each time that a tool ran.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmagent_os import ToolKit
from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import Conflict, LLMAgentOSError
from llmagent_os.plugins import hookimpl

LAYERS = WIDTH = 10


class Ledger:
    """Tools that append to files."""

    def __init__(self, folder: Path) -> None:
        self._folder, kit = folder, ToolKit()
        self._kit = kit

        @kit.add(effect="write", meanings={"what": "text"}, trusted=True, keyed=True)
        async def act(what: str, idempotency_key: str) -> str:
            """Write a line, once a key."""
            self._append("executions", f"{idempotency_key} {what}")
            done = self._folder / "ledger"
            known = {line.split()[0] for line in done.read_text().splitlines()} if done.exists() else set()
            if idempotency_key not in known:
                self._append("ledger", f"{idempotency_key} {what}")
            await asyncio.sleep(0.002)
            return what

        @kit.add(effect="read", trusted=True)
        async def never() -> str:
            """Fail."""
            raise RuntimeError("this is where it gives up")

    def _append(self, name: str, line: str) -> None:
        handle = os.open(self._folder / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(handle, f"{line}\n".encode())
        os.close(handle)

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(self._kit)


def layered(fails: bool) -> dict[str, Any]:
    """Ten layers of ten nodes, every second one a function; each is given what two of the layer before made."""
    nodes: dict[str, Any] = {}
    edges = []
    for layer in range(LAYERS):
        for place in range(WIDTH):
            name = f"n{layer}_{place}"
            did = {"tool": "act", "input": {"what": "${input}/" + name},
                   "undo": {"tool": "act", "input": {"what": "-${input}/" + name}}}  # fmt: skip
            nodes[name] = did if place % 2 == 0 else {"function": "pass", "input": name}
            if layer:
                edges += [f"n{layer - 1}_{place} -> {name}", f"n{layer - 1}_{(place + 1) % WIDTH} -> {name}"]
    last = [f"n{LAYERS - 1}_{place}" for place in range(WIDTH)]
    nodes["end"] = {"tool": "never", "input": {}} if fails else {"human": "All of ${input}?", "input": "${input}"}
    edges += [f"{name} -> end" for name in last]
    result = "${end.value}"
    return {"nodes": nodes, "edges": edges, "result": result}


async def work(data: Path, ledger: Path, runs: int) -> None:
    """Start, accept the runs, wait for all of them, and say so."""
    system = await boot(load({"data": data, "model": "scripted"}), [Ledger(ledger)])
    system.approvals.told.append(lambda question: answers.add(asyncio.ensure_future(_answer(system, question.id))))
    answers: set[asyncio.Task[None]] = set()
    for question in system.approvals.waiting():
        answers.add(asyncio.ensure_future(_answer(system, question["id"])))
    for name, fails in (("works", False), ("gives_up", True)):
        with suppress(Conflict):
            await system.agents.create({"name": name, "flow": layered(fails)})
    tasks = {}
    for name in ("works", "gives_up"):
        for number in range(runs):
            task = f"{name}{number}"
            tasks[task] = await system.agents.send(name, {"input": task}, session=task, task=task)
    for task in tasks.values():
        try:
            reply = await system.agents.reply(task, 120)
            print(f"{task} {reply['output']}", flush=True)
        except LLMAgentOSError as error:
            print(f"{task} {error.message[:60]}", flush=True)
    await system.close()


async def _answer(system: System, question: str) -> None:
    with suppress(LLMAgentOSError):  # it was answered before the last kill
        await system.sys.act("approvals.answer", id=question, allow=True)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
