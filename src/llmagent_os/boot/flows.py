"""Flows as agents: what is sent to one is the input of its graph. Here the rooms meet, which do not know each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from ..agent.loop import Agent, Find, Memory
from ..agent.said import read as messages_of
from ..agent.spec import ASKED, AgentSpec
from ..core import codec, context, templates
from ..core.errors import InvalidRequest, nearest
from ..core.ports import Tool
from ..core.records import Envelope, Json
from ..core.sys import Sys
from ..flow import compose, values
from ..flow.check import About, World, check, demand
from ..flow.functions import FUNCTIONS, Function
from ..flow.graph import Edge, Graph
from ..flow.runner import Runner
from ..flow.state import Job, Run, Value
from ..flow.steps import AGENT as AGENTS
from ..flow.trace import forked


@lru_cache(maxsize=64)
def _graph(packed: bytes) -> Graph:
    return compose.read(codec.loads(packed))


def graph_of(spec: AgentSpec) -> Graph:
    """The graph of a flow, read once; raises InvalidRequest for an agent that is none."""
    if spec.flow is None:
        raise InvalidRequest(f"agent {spec.name!r} is no flow: its definition has no `flow`", parameter="flow")
    return _graph(codec.dumps(spec.flow))


class Informed(Runner):
    """A run whose agents are told what came before them: with what each is given goes the context record."""

    base: context.Record | None = None
    """The record of the flow that it is a node of."""
    _run: Run

    async def _start(self, run: Run, jobs: Sequence[Job], before: str = "") -> list[str | None]:
        self._run = run
        return await super()._start(run, jobs, before)

    def _child(self, job: Job, before: str, results: Mapping[str, Json]) -> dict[str, Any]:
        child = super()._child(job, before, results)
        if child["kind"] == AGENTS and not before:
            record = self._record(job.node.id)
            child["body"]["context"] = record.data()
            child["origins"] = list(dict.fromkeys((*child["origins"], *record.whose)))
        return child

    def _record(self, node: str) -> context.Record:
        """What has come along the edges to a node: it follows from the run, so it is the same in a resume."""
        run, base = self._run, self.base
        goal = base.goal if base is not None else templates.text(run.results["input"])
        record = context.Record(goal[: context.GOAL], base.summary if base is not None else "")
        record.entries += base.entries if base is not None else []
        record.see(run.whose("input"))
        above = self._graph.below(node, [Edge(edge.target, edge.source) for edge in self._graph.forward()])
        for name, value in run.results.items():
            if name in above and name != node:
                record.add(name, value, run.whose(name))
        return record


class FlowAgent(Agent):
    """The loop of flows: a message is a run of the graph.

    Its input is the body's `input`, else its text (of a conversation the last message), read as JSON where the graph
    takes no text. With `retry` (a pid) and `from` (a node) the run takes over what an earlier one finished; `input` is
    then what that node is given instead.
    """

    functions: Mapping[str, Function] = FUNCTIONS

    def __init__(self, spec: AgentSpec, tools: Mapping[str, Tool]) -> None:
        super().__init__(spec, tools)
        self._all = tools

    def check(self, find: Find) -> None:
        """Raise InvalidRequest with every fault of the graph."""
        demand(graph_of(self.spec), world(self.spec, self._all, self.functions, find))

    async def turn(self, sys: Sys, envelope: Envelope, memory: Memory) -> dict[str, Json]:
        """Run the graph; the reply has the result as `output`, and in words."""
        graph, body, origins = graph_of(self.spec), envelope.body, envelope.origins
        known, instead = dict[str, Value](), dict[str, Value]()
        if isinstance(body, Mapping) and "retry" in body:
            found = await sys.syscall("flow_recall", pid=body["retry"], without=again(graph, body.get("from")))
            instead = found.get("instead", {}) | forked(body, origins)
            body, origins, known = found["body"], found["origins"], found["known"]
        runner = (Informed if graph.context else Runner)(sys, graph, self.functions, known, instead)
        if isinstance(runner, Informed) and isinstance(body, Mapping):
            runner.base = context.load(body.get("context"))
        made = await runner.run(given(graph, body), origins)
        text = templates.text(made.value)
        parts = [{"type": "text", "text": text}] if text else []
        usage = codec.loads(codec.dumps(made.usage))
        return {
            "text": text,
            "parts": parts,
            "finish": "stop",
            "usage": usage,
            "model": self.spec.name,
            "output": made.value,
        }

    def again(self, envelope: Envelope, reply: Mapping[str, Any], why: str) -> Envelope:
        """The same message: a graph is run anew, with what it was given."""
        return envelope


def again(graph: Graph, node: Any) -> list[str]:
    """The nodes that are done again from one on; all, where none is named. Raises InvalidRequest for what is none."""
    known = graph.by_id
    if node is None:
        return sorted(known)
    if not isinstance(node, str) or node not in known:
        raise InvalidRequest(f"the flow has no node {node!r}; {nearest(str(node), known)}", parameter="from")
    return sorted(graph.below(node))


def given(graph: Graph, body: Json) -> Json:
    """The input that a message is; raises InvalidRequest for one that the graph does not take."""
    if isinstance(body, Mapping) and "input" in body:
        value = body["input"]
    else:
        value = messages_of(body)[0][-1].text
        takes = values.kinds(graph.takes) if graph.takes else None
        if takes is not None and "string" not in takes:
            try:
                value = codec.loads(value)
            except ValueError:
                raise InvalidRequest("the flow takes JSON, and this is none", parameter="input") from None
    if graph.takes and (wrong := values.valid(graph.takes, value)):
        raise InvalidRequest(f"the flow does not take this input: {wrong}", parameter="input")
    return value


def with_functions(functions: Mapping[str, Function]) -> type[FlowAgent]:
    """The loop, with functions beside those that every system has."""
    return type("FlowAgent", (FlowAgent,), {"functions": functions})


def world(spec: AgentSpec, tools: Mapping[str, Tool], functions: Mapping[str, Function], find: Find) -> World:
    """What a flow can be made of; `find` gives the definition of an agent or raises NotFound."""
    return World(tools, functions, partial(_about, find), spec.granted(), spec.drawn(spec.name, ""), spec.name)


def _about(find: Find, name: str) -> About:
    spec = find(name)
    graph = graph_of(spec) if spec.flow is not None else None
    tools = [each for each in spec.tools if not each.startswith(ASKED)]
    return About(spec.answer_schema, tools, spec.model, graph)


__all__ = ["FlowAgent", "again", "check", "given", "graph_of", "with_functions", "world"]
