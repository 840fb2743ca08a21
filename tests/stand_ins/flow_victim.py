"""A system with flows that is killed again and again: `python -m tests.stand_ins.flow_victim DATA FOLDER`.

It does rounds: two graphs of 100 nodes (`works` asks a person in the middle, `gives_up` fails at its end and undoes all
that it did) and the flows of the examples: the support desk twice, with a refund and with a question, the document
review, and the research task, whose reader is ended on purpose each time. Beside them three triggers start a flow every
second, each with another rule for what was missed. A start goes on with the round in which the last one was
killed; it ends after a round once there is a file `enough`.

In the folder `ledger` has a line for each effect, which a tool makes once under one key, `executions` one for each time
that a tool ran, `answers` one for each round, `asked` one each time that a person is asked, and `journal` in the end
what the journal says.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from llmagent_os import ToolKit
from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import Conflict, LLMAgentOSError
from llmagent_os.core.records import Json, ModelSpec, Ticket
from llmagent_os.flow.trace import Trace
from llmagent_os.llm.scripted import ScriptedEngine
from llmagent_os.plugins import hookimpl
from llmagent_os.triggers.plan import State
from tests.stand_ins.examples import FOLDER as EXAMPLES
from tests.stand_ins.examples import loaded
from tests.stand_ins.ledgers import noted
from tests.stand_ins.players import anybody

LAYERS = WIDTH = 10
EVERY = 1.0  # seconds
RULES = ("all", "once", "skip")
PATIENCE = 240.0  # seconds for one answer


class Shop:
    """Tools that append to files, and the model that all agents have."""

    def __init__(self, folder: Path) -> None:
        self.system: System
        self._folder, kit = folder, ToolKit()
        self._kit = kit
        files = EXAMPLES / "research" / "files"
        for each in loaded("document_review").TOOLS:
            kit.add(each, effect="read", trusted=True)

        @kit.add(effect="write", meanings={"what": "text"}, trusted=True, keyed=True)
        async def act(what: str, idempotency_key: str) -> str:
            """Write a line, once a key."""
            await self._once(what, idempotency_key)
            return what

        @kit.add(effect="read", trusted=True)
        async def never() -> str:
            """Fail."""
            raise RuntimeError("this is where it gives up")

        @kit.add(effect="read", trusted=True)
        def find_order(number: int) -> Json:
            """Look an order up."""
            return {"found": True, "number": number, "customer": "Ada", "what": "a lamp", "amount": 30}

        @kit.add(effect="external", meanings={"amount": "amount"}, keyed=True)
        async def refund(number: int, amount: int, idempotency_key: str) -> Json:
            """Give money back, once a key."""
            await self._once(f"refund/{number}", idempotency_key)
            return {"number": number, "amount": amount}

        @kit.add(effect="external", keyed=True)
        async def take_back(number: int, idempotency_key: str) -> str:
            """Take a refund back."""
            await self._once(f"-refund/{number}", idempotency_key)
            return "taken back"

        @kit.add(effect="read")
        def find_files(word: str) -> list[dict[str, str]]:
            """Find the files in which a word stands, in any case, with their texts."""
            texts = {each.name: each.read_text(encoding="utf-8") for each in sorted(files.iterdir())}
            return [{"path": name, "text": text} for name, text in texts.items() if word.casefold() in text.casefold()]

        @kit.add(effect="read")
        async def read_text(path: str, ticket: Ticket) -> str:
            """Read a file by its name; the reader is ended when it does."""
            if "research_reader" in ticket.home:
                ending = asyncio.ensure_future(self.system.sys.kill(ticket.pid, "killed on purpose"))
                await asyncio.shield(ending)
            return (files / Path(path).name).read_text(encoding="utf-8")

    async def _once(self, what: str, key: str) -> None:
        self.append("executions", f"{key} {time.time()!r}")
        done = self._folder / "ledger"
        known = {line.split()[0] for line in done.read_text().splitlines()} if done.exists() else set()
        if key not in known:
            self.append("ledger", f"{key} {what}")
        await asyncio.sleep(0.002)

    def append(self, name: str, line: str) -> None:
        """Append a line to a file, whole."""
        noted(self._folder / name, line)

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(self._kit)

    @hookimpl
    def engines(self) -> dict[str, Any]:
        async def opened(spec: ModelSpec) -> ScriptedEngine:
            return ScriptedEngine(spec, anybody)

        return {"scripted": opened}


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


def definitions() -> list[dict[str, Any]]:
    """All agents: those of the examples under names that begin with their example's."""
    found: list[dict[str, Any]] = [
        {"name": "works", "flow": layered(False)}, {"name": "gives_up", "flow": layered(True)},
        {"name": "tick", "flow": {"nodes": {"act": {"tool": "act", "input": {"what": "tick/${input}"}}}}},
    ]  # fmt: skip
    for name in ("desk", "review", "research"):
        for each in yaml.safe_load_all((EXAMPLES / name / f"{name}.yaml").read_text(encoding="utf-8")):
            made = _renamed(each, f"{name}_")
            found.append({**made, "name": f"{name}_{each['name']}", "model": "scripted"})
    return found


def _renamed(data: Any, before: str) -> Any:
    """The same with other names for agents."""
    if isinstance(data, list):
        return [_renamed(each, before) for each in data]
    if not isinstance(data, dict):
        return data
    made = {name: _renamed(each, before) for name, each in data.items()}
    if isinstance(data.get("agent"), str):
        made["agent"] = before + data["agent"]
    if isinstance(data.get("agents"), list):
        made["agents"] = [before + each for each in data["agents"]]
    return made


def tasks(number: int) -> dict[str, tuple[str, Json]]:
    """What is asked of whom in a round, by task."""
    return {
        f"works{number}": ("works", {"input": f"works{number}"}),
        f"gives_up{number}": ("gives_up", {"input": f"gives_up{number}"}),
        f"refund{number}": ("desk_desk", {"text": f"I want my money back for order {number}."}),
        f"asks{number}": ("desk_desk", {"text": "When are you open?"}),
        f"review{number}": ("review_review", {"text": str(EXAMPLES / "review" / "proposal.md")}),
        f"research{number}": ("research_researcher", {"text": "What does the night bus cost?"}),
    }


async def work(data: Path, folder: Path) -> None:
    """Start, do rounds until it is enough, and tell what the journal says."""
    shop = Shop(folder)
    system = shop.system = await boot(load({"data": data, "model": "scripted"}), [shop])
    answering: set[asyncio.Task[None]] = set()

    def asked(identifier: str) -> None:
        shop.append("asked", identifier)
        answering.add(asyncio.ensure_future(_answer(system, identifier)))

    system.approvals.told.append(lambda question: asked(question.id))
    for question in system.approvals.waiting():
        asked(question["id"])
    for each in definitions():
        with suppress(Conflict):
            await system.agents.create(each)
    for rule in RULES:
        await system.sys.act("processes.trigger", definition={
            "name": rule, "agent": "tick", "every": EVERY, "missed": rule, "most": 1000, "late": 1e6,
            "overlap": "queue", "input": "${name}.${number}",
        })  # fmt: skip
    answers = folder / "answers"
    number = len(answers.read_text().splitlines()) if answers.exists() else 0
    while True:
        shop.append("answers", json.dumps(await _round(system, number)))
        number += 1
        if (folder / "enough").exists():
            break
    (folder / "journal").write_text(json.dumps(_told(system, number)))
    await system.close()


async def _round(system: System, number: int) -> dict[str, Json]:
    """The answers, or what was failed with, by task."""
    found: dict[str, Json] = {}
    for task, (agent, body) in tasks(number).items():
        await system.agents.send(agent, body, session=task, task=task)
    for task in tasks(number):
        try:
            reply = await system.agents.reply(task, PATIENCE)
            found[task] = reply["plan"]["answer"] if "plan" in reply else reply["output"]
        except LLMAgentOSError as error:
            found[task] = error.message[:60]
    return found


async def _answer(system: System, question: str) -> None:
    with suppress(LLMAgentOSError):  # it was answered before the last kill
        await system.sys.act("approvals.answer", id=question, allow=True)


def _told(system: System, rounds: int) -> Json:
    """By task the work that was begun twice; and of each trigger its rows, and what it keeps."""
    twice: dict[str, list[str]] = {}
    kernel = system.kernel
    for number in range(rounds):
        for task, (agent, _) in tasks(number).items():
            (pid,) = kernel.table.named(f"{agent}@{task}", "default")
            trace = Trace(kernel.journal.rows(pid), kernel.journal.unpack)
            labels = Counter(each.label for each in trace.tries)
            twice[task] = [label for label, count in labels.items() if count > 1]
    return {"twice": twice, "triggers": [_trigger(system, rule) for rule in RULES]}


def _trigger(system: System, name: str) -> Json:
    """What is parked, and the rows up to there: of each due time how it was settled; and what waits for its turn."""
    kernel = system.kernel
    (pid,) = kernel.table.named(f"trigger:{name}", "default")
    (written,) = kernel.store.read("process.get", pid)
    packed, parked = written[5], written[14]  # of one moment: the trigger goes on, and a thread may commit
    state, rows = State.load(kernel.journal.unpack(packed)), kernel.journal.rows(pid)
    said = [(row, kernel.journal.unpack(row.args)) for row in rows
            if row.name in ("trigger_start", "trigger_skip") and row.seq < parked]  # fmt: skip
    settled = [(each["due"], each.get("missed", 0), each.get("why")) for _, each in said]
    settled += [(each.due, each.missed, None) for each in state.queue]
    return {"name": name, "pid": pid, "begun": state.begun, "last": state.last, "settled": settled}


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2])))
