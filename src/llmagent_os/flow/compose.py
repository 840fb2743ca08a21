"""Chain, Parallel and Select: compositions that nest and become graphs; and `read`, which takes a flow in any form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, NamedTuple

from ..core import codec
from ..core.errors import InvalidRequest
from .graph import (
    AT_ONCE,
    OTHERWISE,
    Edge,
    Graph,
    Node,
    Work,
    edges_of,
    known_to,
    line_of,
    linked,
    node_of,
    nodes_of,
    work_of,
    wrong,
)

MOST_NODES, MOST_EDGES, MOST_LOOPS = 10_000, 50_000, 50  # of a definition: it is looked at as a whole, and by people
COMPOSED = ("chain", "parallel", "select")
_SETTINGS = ("result", "takes", "gives", "at_once", "context")
When = Mapping[str, Any] | Literal["else"] | None


class Tail(NamedTuple):
    """Where what comes next is hung: after which node, on which condition, and with what it is given."""

    source: str
    when: When = None
    value: Any = None


@dataclass(slots=True)
class _Build:
    """A graph while it is put together."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)  # ids, and the last number behind each
    fails: Literal["stop", "skip"] = "stop"  # of nodes that do not say

    def add(self, node: Node, tails: Sequence[Tail]) -> list[Tail]:
        """Put a node after others: of several, of which one comes, it takes what comes first."""
        if len(self.nodes) == MOST_NODES:
            raise _too_many()
        if node.id in self.taken:
            name, number = node.id, self.taken[node.id] + 1
            while f"{name}{number}" in self.taken:
                number += 1
            self.taken[name], node = number, replace(node, id=f"{name}{number}")
        self.taken[node.id] = 1
        if len(tails) > 1 and node.join == "all":
            node = replace(node, join="first")
        if self.fails == "skip":
            node = replace(node, fails="skip")
        self.nodes.append(node)
        self.edges += [Edge(each.source, node.id, each.when, each.value, line=node.line) for each in tails]
        return [Tail(node.id)]


@dataclass(frozen=True, slots=True, init=False)
class Chain:
    """One step after the other, each given what the one before it made."""

    steps: tuple[Step, ...]

    def __init__(self, *steps: Step) -> None:
        object.__setattr__(self, "steps", steps)

    def build(self, made: _Build, tails: list[Tail]) -> list[Tail]:
        """Put the steps after `tails`."""
        for step in self.steps:
            tails = _put(step, made, tails)
        return tails


@dataclass(frozen=True, slots=True, init=False)
class Parallel:
    """All branches at once, each given the same. `wait` for all of them, the first, or so many.

    `then` makes one result of theirs: it is given them by the ids of their last nodes; without it they are a list.
    A branch that fails stops the flow only where all are waited for.
    """

    branches: tuple[Step, ...]
    wait: Literal["all", "first"] | int = "all"
    then: Work | None = None

    def __init__(self, *branches: Step, wait: Literal["all", "first"] | int = "all", then: Work | None = None) -> None:
        for name, value in (("branches", branches), ("wait", wait), ("then", then)):
            object.__setattr__(self, name, value)

    def build(self, made: _Build, tails: list[Tail]) -> list[Tail]:
        """Put the branches after `tails`, and one node after them."""
        if len(tails) > 1:
            tails = made.add(Node("pass", Work("function", "pass")), tails)
        before, ends = made.fails, list[Tail]()
        made.fails = before if self.wait == "all" else "skip"
        for branch in self.branches:
            ends += _put(branch, made, tails)
        made.fails = before
        usual = Work("function", "first" if self.wait == "first" else "list")
        joined = made.add(Node("join", self.then or usual), ())
        last = made.nodes[-1]
        made.nodes[-1] = replace(last, join=self.wait)
        made.edges += [Edge(each.source, last.id, each.when, each.value) for each in ends]
        return joined


@dataclass(frozen=True, slots=True)
class Select:
    """One of several branches, each given what came in.

    With `by` (an agent, a function, likeness) its result is the name of the branch. Without it `rules` are conditions
    by branch, on what came in. The branch named `else` is for what no other one takes.
    """

    cases: Mapping[str, Step]
    by: Work | None = None
    rules: Mapping[str, Mapping[str, Any]] | None = None

    def build(self, made: _Build, tails: list[Tail]) -> list[Tail]:
        """Put the choice after `tails`, and the branches after it."""
        if len(tails) != 1 or tails[0].when is not None or tails[0].value is not None or self.by is None:
            tails = made.add(Node("pass", Work("function", "pass")), tails)
        came = "${" + tails[0].source + "}"
        names = [name for name in self.cases if name != OTHERWISE]
        if self.by is not None:
            tails = made.add(_choice(self.by, names, came), tails)
        ends = list[Tail]()
        for name, step in self.cases.items():
            when: When = {".": name} if self.rules is None else self.rules.get(name)
            when = "else" if name == OTHERWISE else when
            ends += _put(step, made, [Tail(tails[0].source, when, came)])
        return ends


Step = Node | Chain | Parallel | Select


def _choice(by: Work, names: list[str], came: str) -> Node:
    """What chooses: an agent is asked, and can only answer with one of the names."""
    gives = {"type": "string", "enum": names}
    if by.kind != "agent":
        return Node("choice", by if by.input is not None else replace(by, input=came), gives=gives)
    asked = f"Which of {', '.join(names)} fits this message best?\n\nMessage: {came}"
    return Node("choice", replace(by, input=asked) if by.input is None else by, gives=gives)


def _put(step: Step, made: _Build, tails: list[Tail]) -> list[Tail]:
    return made.add(step, tails) if isinstance(step, Node) else step.build(made, tails)


def graph(step: Step, **settings: Any) -> Graph:
    """A composition as a graph; `settings` are fields of `Graph`."""
    made = _Build()
    _put(step, made, [])
    return linked(Graph(tuple(made.nodes), tuple(made.edges), **settings))


# -- data to compositions


def read(data: Any) -> Graph:
    """A graph from its data: `nodes` and `edges`, or one composition; raises InvalidRequest naming node and line."""
    if not isinstance(data, Mapping):
        raise wrong(f"a flow is a mapping with `nodes`, `chain`, `parallel` or `select`, not {type(data).__name__}")
    known_to(data, ("nodes", "edges", *COMPOSED, *_SETTINGS), 0, "")
    at_once = data.get("at_once", AT_ONCE)
    if type(at_once) is not int or at_once < 1:
        raise wrong("`at_once` is a whole number from 1", line_of(data, "at_once"))
    if type(data.get("context", False)) is not bool:
        raise wrong("`context` is true or false", line_of(data, "context"))
    given = {name: data[name] for name in ("result", "takes", "gives", "context") if data.get(name) is not None}
    if not all(isinstance(given.get(name, {}), Mapping) for name in ("takes", "gives")):
        raise wrong("`takes` and `gives` are JSON schemas", line_of(data, "takes"))
    if "nodes" not in data:
        composition = {name: data[name] for name in COMPOSED if name in data}
        try:
            return graph(_step(composition, 0, "flow"), at_once=at_once, **given)
        except RecursionError:
            raise wrong("a composition lies in so many others that it cannot be read; flatten it") from None
    nodes, listed = tuple(islice(nodes_of(data["nodes"]), MOST_NODES + 1)), data.get("edges") or []
    if len(nodes) > MOST_NODES:
        raise _too_many()
    if not nodes or not isinstance(listed, list | tuple):
        raise wrong("`nodes` has some, and `edges` is a list", line_of(data, "nodes"))
    found = (edge for n, each in enumerate(listed) for edge in edges_of(each, line_of(listed, n)))
    edges = tuple(islice(found, MOST_EDGES + 1))
    loops = sum(edge.limit is not None for edge in edges)
    if len(edges) > MOST_EDGES or loops > MOST_LOOPS:
        raise wrong(f"a flow has at most {MOST_EDGES:,} edges, of which {MOST_LOOPS} lead back")
    return linked(Graph(nodes, edges, at_once=at_once, **given))


def _too_many() -> InvalidRequest:
    return wrong(f"a flow has at most {MOST_NODES:,} nodes; make a flow of a part of it, and a node of that")


def _step(data: Any, line: int, name: str) -> Step:
    if not isinstance(data, Mapping):
        raise wrong(f"a step is a mapping such as {{agent: writer}}, not {codec.dumps(data).decode()[:50]}", line)
    kind = next((each for each in COMPOSED if each in data), None)
    if kind is None:
        return node_of(data.get("id") or _name(data), data, line)
    if len(data) != 1:
        raise wrong(f"{kind} stands alone, without {', '.join(sorted({*data} - {kind}))}", line)
    inner, here = data[kind], line_of(data, kind) or line
    if kind == "chain":
        return Chain(*_steps(inner, here, "chain"))
    return _parallel(inner, here) if kind == "parallel" else _select(inner, here)


def _name(data: Mapping[str, Any]) -> str:
    """What a step is called that has no `id`: by who does it."""
    said = next((str(data[each]) for each in ("agent", "tool", "function") if each in data), "step")
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in said)[:60].lstrip("0123456789") or "step"


def _steps(data: Any, line: int, what: str) -> list[Step]:
    if not isinstance(data, list | tuple) or not data:
        raise wrong(f"`{what}` is a list of steps", line)
    if len(data) > MOST_NODES:
        raise _too_many()
    return [_step(each, line_of(data, n) or line, what) for n, each in enumerate(data)]


def _parallel(data: Any, line: int) -> Parallel:
    if not isinstance(data, Mapping):
        data = {"branches": data}
    known_to(data, ("branches", "wait", "then"), line, "")
    wait = data.get("wait", "all")
    if wait not in ("all", "first") and (type(wait) is not int or wait < 1):
        raise wrong("`wait` is all, first, or a whole number from 1", line)
    then = work_of(data["then"], line, "join", "then") if data.get("then") is not None else None
    return Parallel(*_steps(data.get("branches"), line, "branches"), wait=wait, then=then)


def _select(data: Any, line: int) -> Select:
    """`{by: WORK, cases: {NAME: STEP}}`, or `{cases: {NAME: {when: CONDITION, do: STEP}}}`; `else` is a case too."""
    if not isinstance(data, Mapping) or not isinstance(data.get("cases"), Mapping) or not data["cases"]:
        raise wrong("`select` has `cases`, steps by name, and says `by` what, or each has `when`", line)
    known_to(data, ("by", "cases"), line, "")
    listed, rules, cases = data["cases"], dict[str, Mapping[str, Any]](), dict[str, Step]()
    for name, each in listed.items():
        here = line_of(listed, name) or line
        if data.get("by") is None and name != OTHERWISE:
            if not isinstance(each, Mapping) or {*each} != {"when", "do"} or not isinstance(each["when"], Mapping):
                raise wrong(f"case {name!r} has `when`, a mapping, and `do`, a step", here)
            rules[name], each = each["when"], each["do"]
        cases[name] = _step(each, here, name)
    by = work_of(data["by"], line, "choice", "by") if data.get("by") is not None else None
    return Select(cases, by, None if by is not None else rules)
