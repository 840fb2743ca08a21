"""Planners as agents: what is sent to one is a goal. Here the planner meets flows, which run what it plans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from ..agent.loop import Agent, Find, Memory
from ..agent.manager import PROGRAM, AgentManager
from ..agent.said import read as messages_of
from ..agent.spec import AgentSpec, stored
from ..core import codec
from ..core.errors import Conflict, DeadlineExceeded, InvalidRequest
from ..core.ports import Tool
from ..core.records import Call, Envelope, Json
from ..core.rows import Row
from ..core.sys import Sys
from ..flow import compose
from ..flow.check import check, demand
from ..flow.functions import FUNCTIONS, Function
from ..flow.graph import Graph
from ..flow.runner import SOON, Runner
from ..flow.state import Job, Run
from ..kernel.process import Process
from ..planner.decide import Decision
from ..planner.plan import Settings, read
from ..planner.planner import Judge, Kept, Planner, Ran, report
from ..planner.steps import DECIDED, MADE, QUIET
from .flows import world

LOOP = "planner"
"""The loop of planners."""


class Watched(Run):
    """A run of which each node that would be given up waits in `troubles`, until it is `settled` what follows.

    What a node itself says of retries and of a fallback comes first.
    """

    def __init__(self, graph: Graph, value: Json, origins: Iterable[str] = ()) -> None:
        self.troubles: list[tuple[Job, str]] = []
        self.tried: dict[str, list[str]] = {}  # by piece of work, who did each try
        self.by: dict[str, str] = {}  # by node, which agent or tool did it
        super().__init__(graph, value, origins)

    def failed(self, job: Job, error: str) -> None:
        """A piece of work has failed."""
        self.tried.setdefault(job.piece, []).append(job.work.name)
        if (job.attempt < job.node.retry or job.node.fallback is not None) and not job.second:
            super().failed(job, error)
        elif self._leaves(job):
            self.troubles.append((job, error))

    def done(self, job: Job, raw: Json, origins: Iterable[str] = ()) -> None:
        """A piece of work has ended well."""
        if job.work.kind in ("agent", "tool"):
            self.by[job.node.id] = job.work.name
        super().done(job, raw, origins)

    def settled(self, job: Job, error: str, decision: Decision) -> None:
        """What follows for one that waited."""
        if decision.act in ("retry", "hand over"):
            work = replace(job.work, name=decision.agent)
            self._enqueue(replace(job, work=work, attempt=job.attempt + 1, wait=0.0))
        else:
            self._fail(job.node, error)
        self._settle()

    def kept(self) -> Kept:
        """The results of the nodes that are done, with whose words they are made of."""
        return {name: (self.results[name], self._whose[name]) for name, how in self.stages.items() if how == "done"}


class Watcher(Runner):
    """Runs a graph, asks `judge` about every node that fails, and ends those without progress for `stall` seconds."""

    def __init__(
        self, sys: Sys, graph: Graph, functions: Mapping[str, Function], known: Kept, judge: Judge, stall: float
    ) -> None:
        super().__init__(sys, graph, functions, known)
        self._judge, self._stall, self._look = judge, stall, 0.0
        self._pid_of: dict[str, int] = {}  # of tries that have ended, by label
        self.state = self._made

    def _made(self, graph: Graph, value: Json, origins: Iterable[str]) -> Run:
        self.watched = Watched(graph, value, origins)
        return self.watched

    async def _begin(self, run: Run) -> None:
        await super()._begin(run)
        while self.watched.troubles:
            job, error = self.watched.troubles.pop(0)
            tried = self.watched.tried[job.piece]
            decision = await self._judge(job.node.id, tried[-1], error, self._pid_of.get(job.label), tried)
            self.watched.settled(job, error, decision)
            await super()._begin(run)

    async def _wait(self, run: Run) -> None:
        """As before, and now and then look who makes no progress."""
        now = await self._sys.now()
        self._look = self._look or now + self._stall
        if now < self._look:
            soonest = min([self._look, *self._due.values(), *(at for at, _ in self._later)])
            if soonest < self._look or not self._pids:
                return await super()._wait(run)
            try:
                return await self._go_on(run, max(SOON, self._look - now))
            except DeadlineExceeded:
                pass
        self._look = max(now, self._look) + self._stall
        quiet = await self._sys.syscall("plan_quiet", of=[*self._pids], seconds=self._stall)
        for pid in quiet:
            with suppress(Conflict):  # it has ended in this moment
                await self._sys.kill(pid, f"{QUIET} {self._stall:g} s")

    def _tell(self, run: Run, job: Job, ended: Mapping[str, Any]) -> None:
        self._pid_of[job.label] = ended["pid"]
        super()._tell(run, job, ended)


class PlanAgent(Agent):
    """The loop of planners: a message is a goal, its reply has the answer with its sources, and `plan`."""

    functions: Mapping[str, Function] = FUNCTIONS

    def __init__(self, spec: AgentSpec, tools: Mapping[str, Tool]) -> None:
        super().__init__(spec, tools)
        self._all = tools

    def check(self, find: Find) -> None:
        """Raise InvalidRequest, or NotFound, for a team that is not there and for every fault of a template."""
        super().check(find)
        settings = settings_of(self.spec)
        for name in settings.agents:
            if name == self.spec.name or find(name).plan is not None:
                text = f"agent definition: plan: {name!r} plans itself; a team is of those who do the work"
                raise InvalidRequest(text, parameter="plan.agents")
        for template in settings.templates.values():
            demand(compose.read(template.flow), world(self.spec, self._all, self.functions, find))

    async def turn(self, sys: Sys, envelope: Envelope, memory: Memory) -> dict[str, Json]:
        """Reach the goal, or say what is missing."""
        spec, settings, goal = self.spec, settings_of(self.spec), _goal(envelope.body)
        run = partial(self._run, sys, settings, tuple(envelope.origins))
        prompt = self._prompt() if "prompt" in spec.lean() else ""
        planner = Planner(sys, settings, spec.model, run, prompt, spec.sampling)
        made = await planner.work(goal)
        text, usage = report(made), codec.loads(codec.dumps(planner.usage))
        parts = [{"type": "text", "text": text}]
        return {"text": text, "parts": parts, "finish": "stop", "usage": usage, "model": spec.name, "plan": made}

    def again(self, envelope: Envelope, reply: Mapping[str, Any], why: str) -> Envelope:
        """The goal, and what was wrong with what came of it."""
        told = super().again(envelope, reply, f"{_goal(envelope.body)}\n\n{why}")
        return replace(told, body={name: each for name, each in told.body.items() if name != "messages"})

    async def _run(
        self, sys: Sys, settings: Settings, origins: Sequence[str], data: Mapping[str, Json], value: Json, kept: Kept,
        judge: Judge,
    ) -> Ran:  # fmt: skip
        watcher = Watcher(sys, compose.read(data), self.functions, kept, judge, settings.stall)
        made = await watcher.run(value, origins)
        return Ran(made.value, watcher.watched.kept(), watcher.watched.by, made.usage)


def _goal(body: Json) -> str:
    given = body.get("input") if isinstance(body, Mapping) and "text" not in body else None
    return given if isinstance(given, str) else messages_of(body)[0][-1].text


def settings_of(spec: AgentSpec) -> Settings:
    """What a planner works with; raises InvalidRequest for an agent that is none."""
    if spec.plan is None:
        raise InvalidRequest(f"agent {spec.name!r} is no planner: its definition has no `plan`", parameter="plan")
    return read(spec.plan)


def planning(functions: Mapping[str, Function]) -> type[PlanAgent]:
    """The loop, with functions beside those that every system has."""
    return type("PlanAgent", (PlanAgent,), {"functions": functions})


Acting = Callable[[Call], Awaitable[AgentManager]]


def about(acting: Acting) -> Callable[[Call, str], Awaitable[dict[str, Json]]]:
    """What an agent declares, for whom a call is made."""

    async def told(call: Call, name: str) -> dict[str, Json]:
        spec = (await acting(call)).get(name).spec
        return {"about": spec.description, "skills": spec.skills, "tools": spec.tools}

    return told


def faults(
    acting: Acting, tools: Callable[[], Mapping[str, Tool]], functions: Callable[[], Mapping[str, Function]]
) -> Callable[[Call, Process, Json], Awaitable[list[str]]]:
    """What is wrong with the graph of a plan, for the planner that made it."""

    async def found(call: Call, process: Process, graph: Json) -> list[str]:
        agents, spec = await acting(call), stored(process.args["spec"])
        there = world(spec, tools(), functions(), lambda name: agents.get(name).spec)
        try:
            return [str(each) for each in check(compose.read(graph), there)]
        except InvalidRequest as error:
            return [error.message]

    return found


def is_planner(process: Process) -> bool:
    """Whether a process runs a planner."""
    agent = process.program == PROGRAM and isinstance(process.args, Mapping)
    spec = process.args.get("spec") if agent else None
    return isinstance(spec, Mapping) and spec.get("loop") == LOOP


def planned(rows: Sequence[Row], unpack: Callable[[bytes | None], Any]) -> tuple[Graph | None, list[Json]]:
    """The newest graph of a planner's run, and its decisions so far, from its rows."""
    graph, decisions = None, list[Json]()
    for row in rows:
        if row.outcome == "ok" and row.name == MADE and unpack(row.result) == []:
            graph = compose.read(unpack(row.args)["graph"])
        elif row.outcome == "ok" and row.name == DECIDED:
            decisions.append({"step": unpack(row.args)["step"], **unpack(row.result)})
    return graph, decisions
