"""Looks at a graph before it runs: every fault names its node, and its line where one is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from itertools import islice

from ..core import asks, schemas, templates
from ..core.errors import InvalidRequest, NotFound, nearest, not_found
from ..core.ports import Tool
from ..core.records import EVERYTHING, Budget, Grant, Json
from . import values
from .graph import RESERVED, Edge, Graph, Node, Work, wants
from .steps import ASK

SHOWN = 20  # faults of a kind: nobody reads more at once, and each takes a search for what may have been meant
APPROVED: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"}, "value": {}, "why": {"type": "string"}, "by": {"type": "string"},
    },
}  # fmt: skip
"""What a person gives who is asked to approve."""
FEW = 500  # nodes, up to which every pair of them is looked at


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an agent: the type of its answers, what its definition names, and its graph if it is a flow."""

    gives: Mapping[str, Json] | None = None
    tools: Collection[str] = ()
    model: str = ""
    graph: Graph | None = None


def _nobody(name: str) -> About:
    raise not_found("agent", name, ())


@dataclass(frozen=True, slots=True)
class World:
    """What there is to do the work: tools, functions, agents by name; and what the flow itself holds."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    functions: Collection[str] = ()
    agent: Callable[[str], About] = _nobody  # raises NotFound
    grant: Grant = EVERYTHING
    budgets: Sequence[Budget] = ()
    name: str = ""  # the flow's own


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, where: `line` is 0 where none is known."""

    node: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        return f"{f'line {self.line}: ' if self.line else ''}node {self.node!r}: {self.text}"


def check(graph: Graph, world: World) -> list[Fault]:
    """What is wrong with a graph, of each kind the first `SHOWN`; nothing is run."""
    world = replace(world, agent=cache(world.agent))
    ends = list(islice(_ends(graph), SHOWN))
    if ends:  # what follows needs a graph whose edges lead somewhere
        return ends
    cycles, unclear = list(_cycles(graph)), list(islice(_schemas(graph), SHOWN))
    kinds = [_missing(graph, world), cycles, unclear, _capabilities(graph, world)]
    if not cycles:
        kinds += [_loops(graph), _references(graph), _budget(graph, world)]
        if not unclear:
            kinds += [_unreachable(graph), _types(graph, world)]
    found = dict.fromkeys(fault for kind in kinds for fault in islice(kind, SHOWN))
    return sorted(found, key=lambda each: each.line)


def demand(graph: Graph, world: World) -> None:
    """Raise InvalidRequest with all that is wrong, if anything is."""
    if found := check(graph, world):
        raise InvalidRequest("\n".join(map(str, found)), parameter=f"flow.nodes.{found[0].node}")


def works(node: Node) -> list[Work]:
    """All that may be done for a node."""
    return [work for work in (node.work, node.fallback, node.undo) if work is not None]


def _ends(graph: Graph) -> Iterator[Fault]:
    known = graph.by_id
    for edge in graph.edges:
        for end in (edge.source, edge.target):
            if end not in known:
                yield Fault(end, f"an edge names it, and it is not there; {nearest(end, known)}", edge.line)


def _missing(graph: Graph, world: World) -> Iterator[Fault]:
    leads_back = cache(lambda name: _calls_itself(name, world))
    for node in graph.nodes:
        for work in works(node):
            known: Collection[str] | None = {"tool": world.tools, "function": world.functions}.get(work.kind)
            if known is not None and work.name not in known:
                yield Fault(node.id, f"no {work.kind} named {work.name!r}; {nearest(work.name, known)}", node.line)
            if work.kind == "agent" and work.name != world.name:
                try:
                    world.agent(work.name)
                except NotFound as error:
                    yield Fault(node.id, error.message, node.line)
            if work.kind == "agent" and leads_back(work.name):
                yield Fault(
                    node.id, f"{work.name!r} leads back to this flow: it would call itself without end", node.line
                )


def _about(world: World, name: str) -> About | None:
    try:
        return world.agent(name)
    except NotFound:
        return None


def _calls_itself(agent: str, world: World) -> bool:
    """Whether the flow is among what an agent leads to; each of those is looked at once."""
    seen, todo = set[str](), [agent]
    while todo:
        if (each := todo.pop()) in seen:
            continue
        seen.add(each)
        found = _about(world, each)
        if found is not None and found.graph is not None:
            todo += [work.name for node in found.graph.nodes for work in works(node) if work.kind == "agent"]
    return world.name in seen


def _cycles(graph: Graph) -> Iterator[Fault]:
    """Circles of edges that have no limit, the first of them."""
    ordered = {node.id for node in graph.ordered()}
    left = [node.id for node in graph.nodes if node.id not in ordered]
    if not left:
        return
    into, path = graph.forward_to(), left[:1]
    while (before := next(e.source for e in into[path[-1]] if e.source not in ordered)) not in path:
        path.append(before)
    circle = [*path[path.index(before) :], before][::-1]
    told = " -> ".join(circle)
    yield Fault(circle[0], f"a cycle without a bound: {told}; give the edge that leads back a `limit`",
                graph.by_id[circle[0]].line)  # fmt: skip


def _loops(graph: Graph) -> Iterator[Fault]:
    """What is done again is left only from where it is decided whether it is."""
    known = graph.by_id
    for back in (edge for edge in graph.edges if edge.limit is not None):
        region = graph.region(back)
        inner = region - {back.source}
        if not region:
            text = f"its edge to {back.target!r} has a limit, and leads to nothing that comes before it"
            yield Fault(back.source, text, back.line or known[back.source].line)
        for edge in graph.forward():
            if edge.source in inner and edge.target not in region:
                text = f"its edge to {edge.target!r} leaves the loop of {back.source!r}; leave it from there"
                yield Fault(edge.source, text, edge.line or known[edge.source].line)


def _references(graph: Graph) -> Iterator[Fault]:
    """Templates name what is there, and what is done by then."""
    known = graph.by_id
    for node in graph.nodes:
        undo = templates.named(node.undo.input) if node.undo is not None else ()
        for name in dict.fromkeys((*wants(node), *undo)):
            if name == "item" and node.over is None:
                yield Fault(node.id, "`${item}` is there only with `over`", node.line)
            elif name not in known and name not in RESERVED:
                yield Fault(node.id, f"`${{{name}}}` is no node; {nearest(name, [*known, 'input'])}", node.line)
    yield from _carried(graph)


def _carried(graph: Graph) -> Iterator[Fault]:
    """The same of templates on edges, and of the result."""
    known, few = graph.by_id, len(graph.nodes) <= FEW
    for edge in graph.edges:
        for name in templates.named(edge.value):
            if name not in known and name != "input":
                yield Fault(edge.source, f"`${{{name}}}` of its edge is no node; {nearest(name, known)}", edge.line)
            elif name != "input" and few and edge.source not in graph.below(name):
                yield Fault(edge.source, f"`${{{name}}}` of its edge is not done by then", edge.line)
    for name in templates.named(graph.result):
        if name not in known and name != "input":
            yield Fault(name, f"`result` names it, and it is not there; {nearest(name, known)}")


def _unreachable(graph: Graph) -> Iterator[Fault]:
    """Nodes to which nothing leads although other nodes are connected, and those that no condition can ever let in."""
    linked = {end for edge in graph.edges for end in (edge.source, edge.target)} | {*templates.named(graph.result)}
    reached, known, forward = set[str](), graph.by_id, graph.forward_to()
    for node in graph.ordered():
        into = forward.get(node.id, [])
        if not into and node.id not in linked and len(graph.nodes) > 1 and graph.edges:
            yield Fault(
                node.id, "it is unreachable: no edge leads to it or from it, and `result` does not name it", node.line
            )
        elif into and not any(edge.source in reached and _may(edge, known[edge.source]) for edge in into):
            why = "what its edges say can never be"
            if dead := next((e for e in into if e.source in reached), None):
                why = f"{dead.source!r} never gives what its edge asks for"
            yield Fault(node.id, f"it is unreachable: {why}", node.line)
        else:
            reached.add(node.id)


def _may(edge: Edge, source: Node) -> bool:
    """Whether a condition may hold, as far as its source says what it gives."""
    if not isinstance(edge.when, Mapping) or source.gives is None:
        return True
    for path, expected in edge.when.items():
        has = values.under(source.gives, path)
        wants_ = (
            expected
            if isinstance(expected, Mapping)
            else {"enum": list(expected) if isinstance(expected, list) else [expected]}
        )
        if has is not None and values.misfit(has, wants_):
            return False
    return True


def _schemas(graph: Graph) -> Iterator[Fault]:
    for place, name, schema, line in _said(graph):
        try:
            schemas.meant(schema, f"`{name}`", name)
        except InvalidRequest as error:
            yield Fault(place, error.message, line)
    for node in graph.nodes:
        if node.work.kind == "similar" and not node.work.choices:
            yield Fault(node.id, "`similar` has no choices", node.line)


def _said(graph: Graph) -> Iterator[tuple[str, str, Json, int]]:
    """Every schema of a graph: at which place, called how, and in which line."""
    typed = [(node.id, node.takes, node.gives, node.line) for node in graph.nodes]
    for place, takes, gives, line in (("flow", graph.takes, graph.gives, 0), *typed):
        said = (("takes", takes), ("gives", gives))
        yield from ((place, name, each, line) for name, each in said if each is not None)
    for edge in graph.edges:
        asked = edge.when.values() if isinstance(edge.when, Mapping) else ()
        yield from ((edge.target, "when", each, edge.line) for each in asked if isinstance(each, Mapping))


def _types(graph: Graph, world: World) -> Iterator[Fault]:
    """What a node is given is of the type that it takes, as far as both are known."""
    known, into = graph.by_id, graph.forward_to()
    types = {"input": graph.takes, "item": None} | {node.id: _gives(node, world) for node in graph.nodes}
    for node in graph.nodes:
        takes = _takes(node, world)
        edges = into.get(node.id, [])
        if isinstance(node.join, int) and len(edges) < node.join:
            yield Fault(node.id, f"it waits for {node.join} branches, and {len(edges)} lead to it", node.line)
        if takes is None or (node.over is not None and node.work.input is None):
            continue
        if node.work.input is not None:
            given = values.type_of(node.work.input, types)
            if wrong := values.misfit(given, takes):
                yield Fault(node.id, f"it is given what it does not take: {wrong}", node.line)
        elif not edges and (wrong := values.misfit(graph.takes, takes)):
            yield Fault(node.id, f"the flow's input is not what it takes: {wrong}", node.line)
        for edge in edges if node.work.input is None and (len(edges) == 1 or node.join == "first") else ():
            given = types[edge.source] if edge.value is None else values.type_of(edge.value, types)
            if wrong := values.misfit(given, takes):
                text = f"what {edge.source!r} gives is not what it takes: {wrong}"
                yield Fault(node.id, text, edge.line or known[node.id].line)


def _gives(node: Node, world: World) -> Mapping[str, Json] | None:
    if node.over is not None:
        return {"type": "array"} | ({"items": node.gives} if node.gives else {})
    if node.gives is not None or node.fallback is not None:
        return node.gives
    if node.work.kind == "similar":
        return {"type": "string"}
    if node.work.kind == "human":
        return asks.form(node.work.ask or "approve", node.work.more or {}) or APPROVED
    about = _about(world, node.work.name) if node.work.kind == "agent" else None
    if about is None or about.graph is not None:
        return about.graph.gives if about is not None and about.graph is not None else None
    return about.gives or {"type": "string"}


def _takes(node: Node, world: World) -> Mapping[str, Json] | None:
    if node.takes is not None:
        return node.takes
    if node.work.kind == "tool" and node.work.name in world.tools:
        return {"type": "object"} | dict(world.tools[node.work.name].spec.parameters)
    about = _about(world, node.work.name) if node.work.kind == "agent" else None
    return about.graph.takes if about is not None and about.graph is not None else None


def _capabilities(graph: Graph, world: World) -> Iterator[Fault]:
    """What a node does is held by the flow; nobody below it can hold more."""
    held = world.grant
    for node in graph.nodes:
        for work in works(node):
            about = _about(world, work.name) if work.kind == "agent" else None
            tools = [work.name] if work.kind == "tool" else []
            if work.kind == "human" and not held.policy.approvals:
                yield Fault(node.id, "the policy of the flow has nobody asked (`approvals: 0`)", node.line)
            inner = about.tools if about else ()
            models = [about.model] if about and about.graph is None else [work.name] if work.kind == "similar" else []
            for kind, names, patterns in (
                ("tool", [*tools, *inner], held.tools), ("model", models, held.models),
                ("agent", [work.name] if work.kind == "agent" else [], held.agents),
                ("syscall", [ASK] if work.kind == "human" else [], held.syscalls),
            ):  # fmt: skip
                for name in names:
                    if patterns is not None and not any(fnmatchcase(name, each) for each in patterns):
                        whose = f", which {work.name!r} needs," if work.kind == "agent" and kind != "agent" else ""
                        yield Fault(
                            node.id, f"the grant of the flow does not cover the {kind} {name!r}{whose}", node.line
                        )


def _budget(graph: Graph, world: World) -> Iterator[Fault]:
    """What is done for certain costs no more than there is: of each work the least that it can take."""
    certain, steps, tokens, money = set[str](), 1, 0, 0.0
    into = graph.forward_to()
    for node in graph.ordered():
        edges = into.get(node.id, [])
        sure = [edge for edge in edges if edge.source in certain and edge.when is None]
        if edges and (not sure or node.over is not None):
            continue
        certain.add(node.id)
        agent, tool = node.work.kind == "agent", world.tools.get(node.work.name) if node.work.kind == "tool" else None
        steps += node.work.kind != "function"
        tokens += 2 * (agent and (about := _about(world, node.work.name)) is not None and about.graph is None)
        money += tool.traits.cost if tool is not None else 0.0
        apart = node.work.kind in ("agent", "tool", "human")
        for limit in world.budgets:
            for what, least, most in (("steps", steps, limit.steps), ("tokens", tokens, limit.tokens),
                                      ("money", money, limit.money), ("depth", int(apart), limit.depth)):  # fmt: skip
                if most is not None and least > most:
                    yield Fault(node.id, f"the budget of the flow cannot suffice: {least:g} {what} are the least up to "
                                f"here, and {most:g} are the most", node.line)  # fmt: skip
                    return
        own = node.budget or {}
        for what, least in (("steps", 1), ("tokens", 2 * agent), ("money", tool.traits.cost if tool else 0.0)):
            if own.get(what) is not None and own[what] < least:
                yield Fault(node.id, f"its budget cannot suffice: {least:g} {what} are the least", node.line)
