"""What people ask an assistant for every day: how much of it an agent does right, against a framework's plain loop.

About ninety messages in English and Chinese, over files, tables, sums, dates, mail, code, look-ups, plain talk and
what cannot be done (`everyday_tasks.py`). Each is set up in a workspace of its own and judged by what was done (files,
mails, calls) and by what was said: the right numbers, no denial of what was done, no claim of what was not, no call
written out as text (`everyday_checks.py`).

Two sides, on one model loaded once: `agent` is an agent of ours as it is defined by its tools alone; `plain` is the
loop that frameworks have, over our `/v1/chat/completions`, at temperature 0: ask, run the tools that are called, ask
again, with errors told to the model.

With `--model scripted` the checks are checked instead: of every task a right transcript must pass, a wrong one not.
Models named `right` and `wrong` do what these do.

    python bench/everyday.py [--json] [--model default] [--sides agent,plain] [--only files,mail] [--every 3] [--seed 1]
                             [--temperature 0.5] [--at-once 4] [--manner turns] [--failures FILE] [--resume FILE]
                             [--minutes 8] [--sample 30 --draw 1] [--fresh 1]

`--failures` appends a line of JSON for each failure: task, side, seed, faults, and the transcript. `--resume` appends
one for each task that was done, and passes over those that are in the file already: a run that was cut off, or ended by
`--minutes`, goes on where it stood. What there is is reported; targets hold for the whole set.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
from common import Report, folder, run, say
from everyday_checks import Made, Outcome, common_faults, day_of
from everyday_fresh import FRESH
from everyday_manners import TRIED
from everyday_tasks import TASKS, Task

from llmagent_os import ToolKit
from llmagent_os.agent.loop import Agent, Turn
from llmagent_os.config import Config
from llmagent_os.core import codec
from llmagent_os.core.errors import LLMAgentOSError, ToolFailed
from llmagent_os.core.places import folders
from llmagent_os.core.records import GenerateRequest, Grant, Json, Message, ModelSpec, Policy, Ticket
from llmagent_os.core.sys import Sys
from llmagent_os.gateway.server import Running, running
from llmagent_os.llm.catalog import resolve
from llmagent_os.llm.manners import MANNERS
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import ScriptedEngine
from llmagent_os.plugins import hookimpl

PATIENCE = 600.0  # seconds for a turn
ROUNDS = 10  # model calls of a turn, on either side
STOCK = {"apple": 37, "pear": 12, "苹果": 37, "梨": 12}
PRICES = {"cherries": 7.80, "plums": 3.40, "apples": 2.90}
WEATHER = {
    "oslo": ("snow", -4),
    "rome": ("cloudy", 17),
    "paris": ("rain", 9),
    "北京": ("sunny", 8),
    "beijing": ("sunny", 8),
}
PEOPLE = {"bob": "bob.stone@example.com", "anna": "anna@example.com", "张伟": "zhang.wei@example.com"}


class Office:
    """The tools that do not come with the system: mail that is only noted, and things to look up."""

    def __init__(self) -> None:
        self.sent: dict[str, list[dict[str, str]]] = defaultdict(list)  # by whose workspace it is
        self.turns: dict[str, list[Message]] = {}  # the calls and results of an agent's last turn
        kit = self._kit = ToolKit()
        kit.add(self.send_mail, effect="external")
        for look in (self.stock, self.price, self.weather, self.contact):
            kit.add(look, effect="read", idempotent=True)

    async def send_mail(self, to: str, subject: str, body: str, ticket: Ticket) -> str:
        """Send an e-mail to an address."""
        if "@" not in to or to.endswith("gone.example"):
            raise ToolFailed(f"the mail was not sent: there is no mailbox {to!r}")
        self.sent[ticket.home].append({"to": to, "subject": subject, "body": body})
        return f"sent to {to}"

    async def stock(self, item: str) -> dict[str, Json]:
        """Say how many of an item are in stock."""
        return {"item": item, "in_stock": _found(STOCK, item, "item")}

    async def price(self, item: str) -> dict[str, Json]:
        """Say what a kilo of an item costs."""
        return {"item": item, "euros_per_kilo": _found(PRICES, item, "item")}

    async def weather(self, city: str) -> dict[str, Json]:
        """Say what the weather in a city is now."""
        sky, celsius = _found(WEATHER, city, "city")
        return {"city": city, "sky": sky, "celsius": celsius}

    async def contact(self, name: str) -> dict[str, Json]:
        """Look up a person's mail address."""
        return {"name": name, "mail": _found(PEOPLE, name, "contact")}

    @hookimpl
    def tools(self) -> Mapping[str, Any]:
        return self._kit

    @hookimpl
    def loops(self) -> Mapping[str, type[Agent]]:
        """The default loop, which here keeps what was called, for transcripts."""
        turns = self.turns

        class Watched(Agent):
            async def infer(self, sys: Sys, turn: Turn, request: GenerateRequest) -> None:
                turns[self.spec.name] = turn.exchange
                await super().infer(sys, turn, request)

        return {"watched": Watched}


def _found(table: Mapping[str, Any], name: str, what: str) -> Any:
    """What a table has under a name, in any case, in the singular or the plural; raises ToolFailed."""
    for each in (name.strip().lower(), name.strip().lower().removesuffix("s")):
        if each in table:
            return table[each]
    raise ToolFailed(f"there is no {what} named {name!r}")


# -- a task on a side


@dataclass(slots=True)
class Bed:
    """A running system, and where its workspaces lie."""

    running: Running
    office: Office
    data: Path
    http: aiohttp.ClientSession
    model: str
    sampling: dict[str, Json]
    count: int = 0

    async def play(self, task: Task, side: str, model: str) -> tuple[list[str], Outcome, float]:
        """Do a task on a side; what was wrong, what was done, and how many seconds it took."""
        self.count += 1
        name = f"{task.name}-{side}-{self.count}"
        home = self.data.joinpath("workspaces", *folders(f"default/{name}"))
        home.mkdir(parents=True)
        for path, text in task.files.items():
            (home / path).write_text(text)
        begun, started = datetime.now(UTC), time.monotonic()
        do = self._agent if side == "agent" else self._plain
        said, made, transcript = await do(task, name, model)
        seconds = time.monotonic() - started
        after = {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}
        mails, ended = self.office.sent.pop(f"default/{name}", []), datetime.now(UTC)
        outcome = Outcome(said, task.files, after, mails, made, begun, ended, transcript)
        shutil.rmtree(home)
        found = list(common_faults(outcome, task.tools, task.changes, task.admits))
        return found + [fault for check in task.checks for fault in check(outcome)], outcome, seconds

    async def _agent(self, task: Task, name: str, model: str) -> tuple[str, list[Made], list[dict[str, Any]]]:
        """As an agent of ours, made of nothing but its tools. Nobody is asked: policy is not measured here."""
        agents, grant = self.running.system.agents, Grant(policy=Policy(untrusted="allow"))
        await agents.create({
            "name": name, "model": model, "tools": list(task.tools), "loop": "watched", "shared": True, "grant": grant,
            "sampling": self.sampling, "max_steps": ROUNDS,
        })  # fmt: skip
        try:
            said = (await agents.ask(name, task.prompt, timeout=PATIENCE))["text"]
        except (LLMAgentOSError, TimeoutError) as error:
            said = f"(failed: {error})"
        exchange = self.office.turns.pop(name, [])
        await agents.delete(name)
        told = [codec.loads(codec.dumps(message)) for message in exchange]
        results = {message.tool_call_id: message.text for message in exchange if message.role == "tool"}
        calls = [call for message in exchange for call in message.tool_calls]
        made = [_made(call.name, call.arguments, results.get(call.id, "")) for call in calls]
        return str(said), made, [*told, {"role": "assistant", "content": said}]

    async def _plain(self, task: Task, name: str, model: str) -> tuple[str, list[Made], list[dict[str, Any]]]:
        """As a loop over the OpenAI API: what the SDKs of frameworks send, and what they do with the answer."""
        tools = self.running.system.tools
        offered = [
            {
                "type": "function",
                "function": {
                    "name": tools[each].spec.name,
                    "description": tools[each].spec.description,
                    "parameters": tools[each].spec.parameters,
                },
            }
            for each in task.tools
        ]
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": task.prompt}
        ]  # fmt: skip
        made: list[Made] = []
        ticket = Ticket("", home=f"default/{name}")
        for _ in range(ROUNDS):
            body = {"model": model, "messages": messages, "tools": offered, "temperature": 0}
            async with self.http.post(f"{self.running.url}/v1/chat/completions", json=body) as response:
                answer = await response.json()
            if response.status != 200:
                return f"(failed: {answer})", made, messages
            message = answer["choices"][0]["message"]
            messages.append({key: message.get(key) for key in ("role", "content", "tool_calls") if message.get(key)})
            for call in message.get("tool_calls") or ():
                arguments = json.loads(call["function"]["arguments"])
                result = await _run(tools.get(call["function"]["name"]), arguments, ticket)
                made.append(_made(call["function"]["name"], arguments, result))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
            if not message.get("tool_calls"):
                break
        return message.get("content") or "", made, messages


def _made(name: str, arguments: Mapping[str, Json], result: str) -> Made:
    return Made(name, arguments, result, result.startswith("error: "))


async def _run(tool: Any, arguments: dict[str, Json], ticket: Ticket) -> str:
    """A tool's result as a framework tells it."""
    if tool is None:
        return "error: there is no such tool"
    try:
        result = await tool.run(arguments, ticket)
    except LLMAgentOSError as error:
        return f"error: {error.message}"
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


# -- the scripted engine

ACTED = ("right", "wrong")
"""The models that do what a task's own transcripts do."""


def acted(which: str, request: GenerateRequest) -> Reply:
    """What a task's own transcript does next: `right` or `wrong`."""
    prompt = next(message.text for message in request.messages if message.role == "user")
    task = next(each for each in (*TASKS, *FRESH) if each.prompt == prompt)
    step = getattr(task, which)[sum(message.role == "assistant" for message in request.messages)]
    if isinstance(step, str):
        return Reply(_told(step))
    return Reply(calls=((step[0], {name: _told(value) for name, value in step[1].items()}),))


def _told(text: Any) -> Any:
    """Text with what the clock says in place of `<day>`, `<day+1>`, `<weekday>` and `<time ZONE>`."""
    if not isinstance(text, str):
        return text
    now = datetime.now(UTC)
    dated = Outcome("", {}, {}, (), (), now, now)
    text = text.replace("<day>", f"{day_of(dated)}").replace("<day+1>", f"{day_of(dated, 1)}")
    text = text.replace("<weekday>", f"{now:%A}")
    return re.sub(r"<time ([\w/]+)>", lambda zone: f"{now.astimezone(ZoneInfo(zone[1])):%H:%M}", text)


@contextlib.asynccontextmanager
async def bed(options: argparse.Namespace, path: Path) -> AsyncIterator[Bed]:
    """A system with the office's tools and the model; scripted ones named `right` and `wrong` beside it."""
    office = Office()
    sampling: dict[str, Json] = {"seed": options.seed}
    if options.temperature:
        sampling["temperature"] = float(options.temperature)
    config = Config(data=path, port=0, model="scripted" if options.model in ACTED else options.model)
    if options.manner:
        MANNERS[(await resolve(options.model)).name] = TRIED[options.manner]
    async with running(config, [office]) as system:
        for which in ACTED:
            script = ScriptedEngine(ModelSpec(which, "scripted"), lambda request, which=which: acted(which, request))
            system.system.add_engine(which, script)
        headers, timeout = {"Authorization": f"Bearer {system.key}"}, aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            yield Bed(system, office, path, http, options.model, sampling)


def chosen(options: argparse.Namespace) -> list[Task]:
    """The tasks that the options name, in order."""
    wanted = options.only.split(",") if options.only else [""]
    found = [task for task in (FRESH if options.fresh else TASKS) if any(task.name.startswith(each) for each in wanted)]
    if options.sample:
        found = random.Random(options.draw).sample(found, min(options.sample, len(found)))
    return found[options.offset :: options.every]


def note(options: argparse.Namespace, task: Task, side: str, faults: list[str], outcome: Outcome) -> None:
    """Say what failed, and keep its transcript where a file is named."""
    say(f"{side}: {task.name}: {'; '.join(faults)}"[:300])
    if options.failures:
        kept = {
            "task": task.name, "side": side, "seed": options.seed, "prompt": task.prompt, "faults": faults,
            "said": outcome.said, "transcript": outcome.transcript,
        }  # fmt: skip
        with Path(options.failures).open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")


async def check(report: Report, options: argparse.Namespace, path: Path) -> None:
    """Play every task's right and wrong transcript on both sides."""
    passed: dict[tuple[str, str], list[bool]] = defaultdict(list)
    async with bed(options, path) as played:
        for task in chosen(options):
            for side, which in product(options.sides.split(","), ACTED):
                faults, outcome, _ = await played.play(task, side, which)
                passed[side, which].append(not faults)
                if bool(faults) == (which == "right"):
                    note(options, task, f"{side}, {which}", faults or ["passes"], outcome)
    for (side, which), flags in passed.items():
        bound = {"at_least": 100.0} if which == "right" else {"at_most": 0.0}
        report.add(f"{side}: {which} transcripts", "passed", 100.0 * sum(flags) / len(flags), "%", **bound)


Row = dict[str, Any]
"""A task that was done: `task` and `side`, what `ALIKE` names, `seconds` and `faults`."""


class Kept:
    """The rows of a run, which go on from those in a file, and are written there one by one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._file = Path(options.resume) if options.resume else None
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file and self._file.exists() else []
        alike = self._row("", "", 0, [])
        found = [row for row in map(json.loads, lines) if all(row[key] == alike[key] for key in ALIKE)]
        self.rows: dict[tuple[str, str], Row] = {(row["task"], row["side"]): row for row in found}

    def _row(self, task: str, side: str, seconds: float, faults: list[str]) -> Row:
        given = {key: getattr(self._options, key) for key in ALIKE}
        return {"task": task, "side": side, **given, "seconds": round(seconds, 1), "faults": faults}

    def add(self, task: str, side: str, seconds: float, faults: list[str]) -> None:
        """Take a row in."""
        self.rows[task, side] = row = self._row(task, side, seconds, faults)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


ALIKE = ("model", "manner", "seed", "temperature")
"""The options that rows have in common that count together."""


async def compare(report: Report, options: argparse.Namespace, path: Path) -> None:
    """Do the tasks on the sides in turns, and report how many each did right."""
    sides, tasks, kept = options.sides.split(","), chosen(options), Kept(options)
    places, until = asyncio.Semaphore(options.at_once), time.monotonic() + 60 * (options.minutes or 1e6)

    async def one(task: Task, side: str) -> None:
        async with places:
            if time.monotonic() > until:
                return
            faults, outcome, seconds = await played.play(task, side, options.model)
        kept.add(task.name, side, seconds, faults)
        if faults:
            note(options, task, side, faults, outcome)

    turns = [(task, side) for i, task in enumerate(tasks) for side in (sides if i % 2 == 0 else sides[::-1])]
    turns = [(task, side) for task, side in turns if (task.name, side) not in kept.rows]
    if turns:
        async with bed(options, path) as played:
            await asyncio.gather(*(one(*each) for each in turns))
    done = [task for task in tasks if all((task.name, side) in kept.rows for side in sides)]
    say(f"{len(done)} of {len(TASKS)} tasks")
    if done:
        tell(report, options, {side: [(task, kept.rows[task.name, side]) for task in done] for side in sides})


def tell(report: Report, options: argparse.Namespace, found: Mapping[str, list[tuple[Task, Row]]]) -> None:
    """Report the same tasks of each side: by category, in all, and how long a turn takes. Targets are of the whole."""
    whole = options.model in GOAL and not options.manner and not options.fresh
    whole = whole and all(len(rows) == len(TASKS) for rows in found.values())
    share = {side: 100.0 * sum(not row["faults"] for _, row in rows) / len(rows) for side, rows in found.items()}
    median = {side: statistics.median(row["seconds"] for _, row in rows) for side, rows in found.items()}
    for side, rows in found.items():
        right: dict[str, list[bool]] = defaultdict(list)
        for task, row in rows:
            right[task.category].append(not row["faults"])
        for category, flags in right.items():
            report.add(f"{side}: {category}", f"right of {len(flags)}", sum(flags), "")
        ours = whole and side == "agent"
        report.add(side, f"right of {len(rows)}", share[side], "%", at_least=GOAL[options.model] if ours else None)
        limit = median.get("plain") if ours else None
        report.add(side, "median turn", median[side], "s", at_most=limit)
        told = sum(untrue(row["faults"]) for task, row in rows if task.category in ("files", "mail"))
        report.add(side, "files and mail told the wrong way round", told, "", at_most=0 if ours else None)
    if found.keys() == {"agent", "plain"}:
        report.add("agent over plain", "right", share["agent"] - share["plain"], "points")


def untrue(faults: list[str]) -> bool:
    """Whether all was done and the answer denies it, or the answer claims what was not done."""
    denied = bool(faults) and all(fault.startswith("it denies") for fault in faults)
    return denied or any(fault.startswith("it claims") for fault in faults)


GOAL = {"default": 85.0, "small": 60.0}
"""What an agent is to do right of all the tasks, in percent, by the model."""


def measure(report: Report, options: argparse.Namespace) -> None:
    """The checks with the scripted model, the sides with any other."""
    with folder() as path:
        asyncio.run((check if options.model == "scripted" else compare)(report, options, path))


if __name__ == "__main__":
    run(
        "everyday", __doc__, measure,
        model=(str, "default", "model; `scripted` checks the checks"), sides=(str, "agent,plain", "which sides"),
        only=(str, "", "names of tasks by their beginnings"), every=(int, 1, "every so many tasks"),
        offset=(int, 0, "tasks to leave out at first"), seed=(int, 1, "of the agent's sampling"),
        temperature=(str, "", "of the agent's sampling; empty: as it is"),
        fresh=(int, 0, "1: those of `everyday_fresh.py` instead, which no manner was chosen by"),
        sample=(int, 0, "so many of them, drawn by chance; 0: all"), draw=(int, 1, "the seed that they are drawn by"),
        manner=(str, "", f"how the model is told of its tools, in place of its own: {', '.join(TRIED)}"),
        at_once=(int, 1, "tasks at once, which is faster, but turns are slower"),
        failures=(str, "", "a file for transcripts"), resume=(str, "", "a file to go on from"),
        minutes=(float, 0.0, "after which no task is begun; 0: never"),
    )  # fmt: skip
