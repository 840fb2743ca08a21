"""Flows as agents: what is sent to one is the input of its graph. Here the rooms meet, which do not know each other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from ..agent.loop import Agent, Find, Memory
from ..agent.said import read as messages_of
from ..agent.spec import ASKED, AgentSpec
from ..core import codec, templates
from ..core.errors import InvalidRequest, nearest
from ..core.ports import Tool
from ..core.records import Envelope, Json
from ..core.sys import Sys
from ..flow import compose, values
from ..flow.check import About, World, check, demand
from ..flow.functions import FUNCTIONS, Function
from ..flow.graph import Graph
from ..flow.runner import Runner
from ..flow.state import Value
from ..flow.trace import forked


@lru_cache(maxsize=256)
def _graph(packed: bytes) -> Graph:
    return compose.read(codec.loads(packed))


def graph_of(spec: AgentSpec) -> Graph:
    """The graph of a flow, read once; raises InvalidRequest for an agent that is none."""
    if spec.flow is None:
        raise InvalidRequest(f"agent {spec.name!r} is no flow: its definition has no `flow`", parameter="flow")
    return _graph(codec.dumps(spec.flow))


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
        made = await Runner(sys, graph, self.functions, known, instead).run(given(graph, body), origins)
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
