"""A flow as data: nodes, edges, and what each of them says; one meaning in Python, YAML and JSON.

`compose.read` takes data of either and gives a Graph; `Graph.data` gives its JSON form, of which `read` makes an equal
Graph. Positions of a drawn editor (`at`) are kept; lines of a file are known where `load` read it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from ..core import asks, codec, documents, outcomes, templates
from ..core.errors import InvalidRequest, nearest
from ..core.records import Ask, Json

Kind = Literal["agent", "tool", "function", "human", "similar"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Fails = Literal["stop", "skip"]
OTHERWISE = "else"
"""The condition of an edge that is taken where no other of its source is."""
RESERVED = ("input", "item")
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
AT_ONCE = 16
FEW = 1000  # nodes, up to which edges follow from what templates name


@dataclass(frozen=True, slots=True)
class Work:
    """What is done: by an agent, a tool, a function, a person (`name` is the question), or by likeness (see `Node`).

    `input` is a template over results by node, `input` (what the flow was given) and `item` (of a map); None: what
    comes along the edges. `ask`: a person is asked before a tool is called; of a person, what they are asked for, and
    `more` has what else is said of that (`asks.FIELDS`, of which `options` may be templates). `choices` of `similar`,
    whose `name` is the model that embeds, are descriptions by name; its result is the name that is nearest.
    """

    kind: Kind
    name: str
    input: Json = None
    ask: bool | Ask = False
    choices: Mapping[str, str] | None = None
    more: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A step of a flow. `takes` and `gives` are JSON schemas of what it is given and of its result.

    `over` names a list: the work is done for each `item`, `at_once` at a time, and the result is the list of results.
    It is tried `retry` times more, after `delay` seconds, doubled each time, and given up after `timeout` seconds;
    `budget` is what one try may consume; an agent works until its `outcome` is there (see `core.outcomes`). Then
    `fallback` is done instead; where that fails too, the flow stops, or (`skip`) goes on without. `undo` is done when
    the flow gives up after this was done. `join`: with `all` it waits until each edge to it is settled, with `first`
    for one, with a number for so many; who runs for nothing then is ended. A function that is not to `keep` its result
    is called again in a resume.
    """

    id: str
    work: Work
    over: Json = None
    at_once: int = AT_ONCE
    takes: Mapping[str, Json] | None = None
    gives: Mapping[str, Json] | None = None
    retry: int = 0
    delay: float = 0.0
    timeout: float | None = None
    budget: Mapping[str, Json] | None = None
    outcome: Mapping[str, Json] | None = None
    fallback: Work | None = None
    undo: Work | None = None
    fails: Fails = "stop"
    join: Literal["all", "first"] | int = "all"
    keep: bool = True
    at: tuple[float, float] | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Edge:
    """From one node to another, which gets the result, or what the template `value` says.

    `when` is a condition on the result (see `values.holds`), or `else`. An edge with a `limit` leads back: what lies
    between is done again, so often at most.
    """

    source: str
    target: str
    when: Mapping[str, Json] | Literal["else"] | None = None
    value: Json = None
    limit: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole flow. `result` is a template; None: the results of the nodes after which nothing comes. With `context`
    agents are told what came before them (see `core.context`).
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    result: Json = None
    takes: Mapping[str, Json] | None = None
    gives: Mapping[str, Json] | None = None
    at_once: int = AT_ONCE
    context: bool = False

    @property
    def by_id(self) -> dict[str, Node]:
        """The nodes by their ids."""
        return {node.id: node for node in self.nodes}

    def forward(self) -> list[Edge]:
        """The edges that do not lead back."""
        return [edge for edge in self.edges if edge.limit is None]

    def forward_to(self) -> dict[str, list[Edge]]:
        """Those edges by the node that they lead to."""
        found: dict[str, list[Edge]] = {}
        for edge in self.forward():
            found.setdefault(edge.target, []).append(edge)
        return found

    def ordered(self) -> list[Node]:
        """The nodes so that each comes after those before it; what lies in circles, or after them, is left out."""
        left, after = dict.fromkeys(self.by_id, 0), defaultdict[str, list[str]](list)
        for edge in self.forward():
            left[edge.target] += 1
            after[edge.source].append(edge.target)
        found, known = [each for each, count in left.items() if not count], self.by_id
        for each in found:  # which grows
            for target in after[each]:
                left[target] -= 1
                found += [] if left[target] else [target]
        return [known[each] for each in found]

    def below(self, start: str, edges: Sequence[Edge] | None = None) -> set[str]:
        """What comes after a node, itself included, along edges that do not lead back."""
        after: dict[str, list[str]] = {}
        for edge in self.forward() if edges is None else edges:
            after.setdefault(edge.source, []).append(edge.target)
        return _reached(start, after)

    def region(self, back: Edge) -> set[str]:
        """What is done again when an edge that leads back is taken."""
        upward = [Edge(edge.target, edge.source) for edge in self.forward()]
        return self.below(back.target) & self.below(back.source, upward)

    def data(self) -> dict[str, Json]:
        """The JSON form."""
        told: dict[str, Json] = {"nodes": {node.id: _told(node) for node in self.nodes}}
        if self.edges:
            told["edges"] = [_edge_told(edge) for edge in self.edges]
        return told | _lean(self, "result", "takes", "gives", "at_once", "context")


def linked(graph: Graph) -> Graph:
    """The graph with an edge to each node from those that its templates name, where none leads there.

    None is needed from a node that comes before it anyhow, or to one in a loop, whose beginning has them all.
    """
    known, edges = graph.by_id, list(graph.edges)
    direct = {(edge.source, edge.target) for edge in edges}
    loops = {edge.target for edge in edges if edge.limit is not None}
    before, forward = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for edge in edges:
        before[edge.target].append(edge.source)
        if edge.limit is None:
            forward[edge.target].append(edge.source)
    for node in graph.nodes:
        wanted = [each for each in dict.fromkeys(wants(node)) if each in known and (each, node.id) not in direct]
        if wanted and len(known) > FEW:  # each takes a search of the graph
            raise wrong(f"names {wanted[0]!r}; in a flow of over {FEW:,} nodes an edge says so", node.line, node.id)
        above = _reached(node.id, forward) if wanted else set()
        for source in wanted:
            if source not in above and loops.isdisjoint(_reached(node.id, before) if loops else ()):
                edges.append(Edge(source, node.id, line=node.line))
                before[node.id].append(source)
                forward[node.id].append(source)
                above |= _reached(source, forward)
    return replace(graph, edges=tuple(edges))


def _reached(start: str, ways: Mapping[str, Sequence[str]]) -> set[str]:
    """All that can be come to from a place, itself included."""
    found, todo = set[str](), [start]
    while todo:
        if (each := todo.pop()) not in found:
            found.add(each)
            todo += ways.get(each, ())
    return found


def wants(node: Node) -> Iterator[str]:
    """What a node's templates name, those of its fallback too."""
    for template in (node.over, node.work.input, node.fallback.input if node.fallback else None):
        yield from templates.named(template)
    if node.work.kind == "human":
        yield from templates.named([node.work.name, (node.work.more or {}).get("options")])


# -- data to records


class Lined(dict[Any, Any]):
    """A mapping of a file, with the line of each key."""

    lines: Mapping[Any, int] = {}


class Listed(list[Any]):
    """A list of a file, with the line of each item by its number."""

    lines: Mapping[Any, int] = {}


def _mapping(loader: Any, node: Any) -> Iterator[Lined]:
    made = Lined()
    yield made
    made.update({_key(key): value for key, value in loader.construct_mapping(node).items()})
    made.lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}


def _sequence(loader: Any, node: Any) -> Iterator[Listed]:
    made = Listed()
    yield made
    made += loader.construct_sequence(node)
    made.lines = {n: each.start_mark.line + 1 for n, each in enumerate(node.value)}


def _key(key: Any) -> str:
    return key if isinstance(key, str) else codec.dumps(documents.plain(key, "the name of a field")).decode()


def _lined(base: Any) -> Any:
    """A loader that keeps lines, and dates as they are written, as JSON has them."""
    loader: Any = type("Lining", (base,), {})
    loader.add_constructor("tag:yaml.org,2002:timestamp", base.construct_yaml_str)
    loader.add_constructor("tag:yaml.org,2002:map", _mapping)
    loader.add_constructor("tag:yaml.org,2002:seq", _sequence)
    return loader


_LOADERS = [_lined(base) for base in documents.LOADERS]


def load(text: str | bytes, source: str) -> list[Any]:
    """The definitions in a YAML text (JSON is YAML), with their lines; raises InvalidRequest as `documents.read`."""
    return documents.definitions(text, source, _LOADERS)


def line_of(container: Any, key: Any) -> int:
    """The line in a file at which an item stands; 0: none is known."""
    lines: Mapping[Any, int] = getattr(container, "lines", {})
    return lines.get(key, 0)


def wrong(text: str, line: int = 0, node: str = "") -> InvalidRequest:
    """The error about a part of a definition."""
    place = f"node {node!r}: " if node else ""
    told = f"line {line}: {place}{text}" if line else f"{place}{text}"
    return InvalidRequest(told, parameter=f"flow.nodes.{node}" if node else "flow")


def nodes_of(data: Any) -> Iterator[Node]:
    """The nodes of a mapping by their ids; raises InvalidRequest."""
    if not isinstance(data, Mapping):
        raise wrong("`nodes` is a mapping of nodes by their ids")
    yield from (node_of(name, each, line_of(data, name)) for name, each in data.items())


_WORK = (*KINDS, "input", "ask", "choices", "value", *asks.FIELDS)
_PLAIN = ("over", "takes", "gives", "at_once", "timeout", "fails", "join", "keep", "budget", "outcome")
_NODE = ("id", *_WORK, *_PLAIN, "retry", "fallback", "undo", "at")
_NUMBERS = ("tokens", "money", "steps", "seconds", "depth")


def node_of(name: Any, data: Any, line: int) -> Node:
    """A node from its data; raises InvalidRequest."""
    if not isinstance(name, str) or not _ID.fullmatch(name) or name in RESERVED:
        raise wrong(f"{name!r} is no id of a node: letters, digits, _ and -, and not `input` or `item`", line)
    if not isinstance(data, Mapping):
        raise wrong("is a mapping such as {agent: writer}", line, name)
    known_to(data, _NODE, line, name)
    more: dict[str, Any] = {each: data[each] for each in _PLAIN if data.get(each) is not None}
    retry = data.get("retry", 0)
    again = retry if isinstance(retry, Mapping) else {"times": retry}
    known_to(again, ("times", "delay"), line, name)
    more |= {"retry": again.get("times", 0), "delay": again.get("delay", 0.0)}
    for part in ("fallback", "undo"):
        if data.get(part) is not None:
            more[part] = work_of(data[part], line_of(data, part) or line, name, part)
    if data.get("at") is not None:
        more["at"] = tuple(data["at"]) if isinstance(data["at"], list | tuple) else data["at"]
    _typed(more, line, name)
    if "outcome" in more:
        if "agent" not in data:
            raise wrong("only an agent works towards an `outcome`", line, name)
        try:
            outcomes.read(more["outcome"])
        except InvalidRequest as error:
            raise wrong(error.message, line, name) from None
    return Node(name, work_of(data, line, name), line=line, **more)


def _typed(more: Mapping[str, Any], line: int, name: str) -> None:
    """Raise InvalidRequest for a setting that is of the wrong type."""

    def number(value: Any, least: float, whole: bool = False) -> bool:
        kind = int if whole else int | float
        return isinstance(value, kind) and not isinstance(value, bool) and least <= value < math.inf

    checks = {
        "at_once": (lambda v: number(v, 1, True), "a whole number from 1"),
        "retry": (lambda v: number(v, 0, True), "a whole number from 0, or {times: ..., delay: ...}"),
        "delay": (lambda v: number(v, 0), "seconds"),
        "timeout": (lambda v: number(v, 0.001), "seconds"),
        "fails": (lambda v: v in get_args(Fails), "stop or skip"),
        "join": (lambda v: v in ("all", "first") or number(v, 1, True), "all, first, or a whole number from 1"),
        "keep": (lambda v: isinstance(v, bool), "true or false"),
        "takes": (lambda v: isinstance(v, Mapping), "a JSON schema"),
        "gives": (lambda v: isinstance(v, Mapping), "a JSON schema"),
        "at": (lambda v: isinstance(v, tuple) and len(v) == 2 and all(number(x, -1e9) for x in v), "[x, y]"),
        "budget": (lambda v: isinstance(v, Mapping) and all(k in _NUMBERS and number(n, 0) for k, n in v.items()),
                   f"a mapping with numbers for {', '.join(_NUMBERS)}"),
    }  # fmt: skip
    for field_, value in more.items():
        if field_ in checks and not checks[field_][0](value):
            raise wrong(f"`{field_}` is {checks[field_][1]}", line, name)


def work_of(data: Any, line: int, name: str, part: str = "") -> Work:
    """What does the work of a node, or a `part` of it such as its fallback; raises InvalidRequest."""
    said = f"`{part}` " if part else ""
    if not isinstance(data, Mapping):
        raise wrong(f"{said}is a mapping such as {{tool: refund, input: ...}}", line, name)
    if part:
        known_to(data, _WORK, line, name)
    if "value" in data and not any(kind in data for kind in KINDS):
        return Work("function", "pass", data["value"])
    does = [kind for kind in KINDS if kind in data]
    if len(does) != 1:
        raise wrong(f"{said}says what does it by one of: {', '.join(KINDS)}", line, name)
    if not isinstance(data[does[0]], str) or not data[does[0]]:
        raise wrong(f"{said}`{does[0]}` is a name, in text", line, name)
    choices, ask = data.get("choices"), data.get("ask", False)
    more = {field: data[field] for field in asks.FIELDS if data.get(field) is not None}
    if (does[0] == "similar") != isinstance(choices, Mapping):
        raise wrong(f"{said}`similar` (and nothing else) has `choices`", line, name)
    if does[0] == "human":
        ask = "approve" if isinstance(ask, bool) else ask
        try:
            asks.form(ask, more)
        except InvalidRequest as error:
            raise wrong(f"{said}{error.message}", line, name) from None
    elif more or not isinstance(ask, bool):
        raise wrong(f"{said}`human` (and nothing else) has `{next(iter(more), 'ask')}` so", line, name)
    return Work(does[0], data[does[0]], data.get("input"), ask, choices, more or None)


def edges_of(data: Any, line: int) -> Iterator[Edge]:
    """The edges that one item of a list means; raises InvalidRequest."""
    if isinstance(data, str):
        data = [part.strip() for part in data.split("->")]
    if isinstance(data, list | tuple) and len(data) > 1 and all(isinstance(each, str) for each in data):
        yield from (Edge(*pair, line=line) for pair in pairwise(data))
        return
    if not isinstance(data, Mapping) or not all(isinstance(data.get(end), str) for end in ("from", "to")):
        raise wrong("an edge is `a -> b`, or {from: a, to: b, when: ..., value: ..., limit: ...}", line)
    known_to(data, ("from", "to", "when", "value", "limit"), line, "")
    when, limit = data.get("when"), data.get("limit")
    if when is not None and not isinstance(when, Mapping) and when != OTHERWISE:
        when = {templates.WHOLE: when}
    if limit is not None and (type(limit) is not int or limit < 1):
        raise wrong("`limit` of an edge is how often it may be taken, from 1", line, data["from"])
    yield Edge(data["from"], data["to"], when, data.get("value"), limit, line)


def known_to(data: Mapping[str, Any], known: Sequence[str], line: int, node: str) -> None:
    """Raise InvalidRequest for a field that is not known, with the nearest."""
    for name in data:
        if name not in known:
            raise wrong(f"unknown field {name!r}; {nearest(str(name), known)}", line_of(data, name) or line, node)


# -- records to data


def _lean(record: Any, *names: str) -> dict[str, Json]:
    """Some fields of a record by name, without those that are as they are by default."""
    usual = {name: each.default for name, each in type(record).__dataclass_fields__.items()}
    return {name: getattr(record, name) for name in names if getattr(record, name) != usual[name]}


def _told(node: Node) -> dict[str, Json]:
    told = _work_told(node.work) | _lean(
        node, "over", "at_once", "takes", "gives", "timeout", "budget", "fails", "join", "keep", "outcome"
    )
    if node.retry or node.delay:
        told["retry"] = {"times": node.retry, "delay": node.delay} if node.delay else node.retry
    told |= {part: _work_told(work) for part in ("fallback", "undo") if (work := getattr(node, part)) is not None}
    return told | ({"at": list(node.at)} if node.at is not None else {})


def _work_told(work: Work) -> dict[str, Json]:
    told = {work.kind: work.name, **_lean(work, "input", "choices"), **(work.more or {})}
    return told if work.ask in (False, "approve") else told | {"ask": work.ask}


def _edge_told(edge: Edge) -> Json:
    return {"from": edge.source, "to": edge.target} | _lean(edge, "when", "value", "limit")
