"""Each kind of bad definition is told before it runs, with its node and line."""

from __future__ import annotations

import time
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest, not_found
from llmagent_os.core.records import Budget, Grant, Policy
from llmagent_os.flow.check import SHOWN, About, World, check
from llmagent_os.flow.compose import read
from llmagent_os.flow.functions import FUNCTIONS
from llmagent_os.flow.graph import load
from llmagent_os.tools.toolkit import ToolKit

KIT = ToolKit()


@KIT.add(cost=2.0)
def pay(to: str, amount: float) -> str:
    """Pay."""
    return "paid"


@KIT.add(effect="read")
def find(order: int) -> str:
    """Find an order."""
    return "found"


SELF = read({"nodes": {"a": {"agent": "outer"}}})
AGENTS = {
    "writer": About(None, ["find"], "small"), "counter": About({"type": "integer"}, [], "small"),
    "loop": About(graph=SELF),
}  # fmt: skip


def agent(name: str) -> About:
    if name not in AGENTS:
        raise not_found("agent", name, AGENTS)
    return AGENTS[name]


def faults(text: str, **more: Any) -> list[str]:
    world = World(dict(KIT), FUNCTIONS, agent, name="outer", **more)
    return list(map(str, check(read(load(text, "a file")[0]), world)))


GOOD = """
takes: {type: object, properties: {order: {type: integer}}, required: [order]}
nodes:
  look: {tool: find, input: {order: "${input.order}"}}
  write: {agent: writer, gives: {type: object, properties: {kind: {enum: [good, bad]}}}}
  again: {agent: writer}
  good: {human: "Is ${write} fine?"}
  bad: {function: text}
edges:
  - look -> write
  - write -> again
  - {from: again, to: write, when: worse, limit: 2}
  - {from: again, to: good, when: else}
  - {from: good, to: bad, when: {approved: false}}
"""


def test_nothing_is_wrong_with_a_good_one() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodes:\n  a: {agent: wrtier}", "line 2: node 'a': no agent named 'wrtier'; did you mean 'writer'?"),
        ("nodes:\n  a: {tool: fnd}", "line 2: node 'a': no tool named 'fnd'; did you mean 'find'?"),
        ("nodes:\n  a: {function: vot}", "line 2: node 'a': no function named 'vot'; did you mean 'vote'?"),
        ("nodes:\n  a: {agent: writer, fallback: {tool: fnd}}", "line 2: node 'a': no tool named 'fnd'"),
        ("nodes:\n  a: {agent: writer, undo: {function: vot}}", "line 2: node 'a': no function named 'vot'"),
        ("nodes:\n  a: {agent: loop}", "line 2: node 'a': 'loop' leads back to this flow"),
        ("nodes:\n  a: {agent: outer}", "line 2: node 'a': 'outer' leads back to this flow"),
        ("nodes:\n  a: {agent: writer}\nedges:\n  - a -> b", "line 4: node 'b': an edge names it"),
        (
            "nodes:\n  a: {agent: writer}\n  b: {agent: writer}\n  c: {agent: writer}\nedges: [a -> b, b -> c, c -> b]",
            "a cycle without a bound: b -> c -> b",
        ),
        (
            "nodes:\n  a: {agent: writer}\n  b: {agent: writer}\nedges:\n  - {from: a, to: b, limit: 2}",
            "line 5: node 'a': its edge to 'b' has a limit, and leads to nothing that comes before it",
        ),
        (
            "nodes: {a: {agent: writer}, b: {agent: writer}, c: {agent: writer}}\nedges:\n  - a -> b\n  - a -> c\n"
            "  - {from: b, to: a, when: more, limit: 2}",
            "line 4: node 'a': its edge to 'c' leaves the loop of 'b'",
        ),
        ("nodes:\n  a: {agent: writer, input: '${b.x}'}", "line 2: node 'a': `${b}` is no node"),
        ("nodes:\n  a: {agent: writer, input: '${item}'}", "line 2: node 'a': `${item}` is there only with `over`"),
        ("nodes:\n  a: {agent: writer}\nresult: '${b}'", "node 'b': `result` names it"),
        (
            "nodes:\n  a: {agent: writer}\n  b: {agent: writer}\n  c: {agent: writer}\nedges: [a -> b]",
            "line 4: node 'c': it is unreachable: no edge leads to it",
        ),
        (
            "nodes:\n  a: {agent: writer, gives: {enum: [x, y]}}\n  b: {agent: writer}\n"
            "edges: [{from: a, to: b, when: z}]",
            "line 3: node 'b': it is unreachable: 'a' never gives what its edge asks for",
        ),
        (
            "nodes:\n  a: {agent: counter}\n  b: {function: text, takes: {type: string}}\nedges:\n  - a -> b",
            "line 5: node 'b': what 'a' gives is not what it takes: it is integer, and string is taken",
        ),
        (
            "nodes:\n  a: {tool: pay, input: {to: x}}",
            "line 2: node 'a': it is given what it does not take: amount is taken, and not given",
        ),
        (
            "takes: {type: object, properties: {n: {type: string}}}\nnodes:\n"
            "  a: {tool: find, input: {order: '${input.n}'}}",
            "line 3: node 'a': it is given what it does not take: order is string, and integer is taken",
        ),
        (
            "takes: {type: string}\nnodes:\n  a: {tool: find}",
            "line 3: node 'a': the flow's input is not what it takes: it is string, and object is taken",
        ),
        (
            "nodes:\n  a: {agent: writer}\n  b: {agent: writer, join: 2}\nedges: [a -> b]",
            "line 3: node 'b': it waits for 2 branches, and 1 lead to it",
        ),
        ("nodes:\n  a: {agent: writer, gives: {type: strin}}", "line 2: node 'a': `gives`"),
        (
            "nodes:\n  a: {agent: writer}\n  b: {agent: writer}\nedges: [{from: a, to: b, when: {x: {type: strin}}}]",
            "line 4: node 'b': `when`: type is 'strin', which is no type of JSON schemas; did you mean 'string'?",
        ),
        (
            "chain:\n  - {agent: writer}\n  - select:\n      cases:\n"
            "        x: {when: {.: {pattern: '('}}, do: {id: e, function: pass}}",
            "node 'e': `when`: pattern is no regular expression",
        ),
    ],
)
def test_each_kind_of_fault(text: str, expected: str) -> None:
    found = faults(text)
    assert any(expected in each for each in found), found


def test_flows_that_ask_one_twice_each_are_looked_at_once() -> None:
    """Forty deep; were each looked at as often as it is asked, this would not end."""
    asked = []

    def nested(name: str) -> About:
        if name == "outer":
            return agent(name)
        asked.append(name)
        below = str(int(name) - 1) if name != "0" else "outer"
        return About(graph=read({"nodes": {"a": {"agent": below}, "b": {"agent": below}}}))

    world = World(agent=nested, name="outer")
    (told,) = check(read({"nodes": {"a": {"agent": "40"}}}), world)
    assert "'40' leads back to this flow" in told.text and len(asked) < 100


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        (Grant(tools=("other",)), "line 2: node 'a': the grant of the flow does not cover the tool 'find'"),
        (
            Grant(tools=("other",)),
            "line 3: node 'b': the grant of the flow does not cover the tool 'find', which 'writer' needs",
        ),
        (
            Grant(models=("big",)),
            "line 3: node 'b': the grant of the flow does not cover the model 'small', which 'writer' needs",
        ),
        (Grant(agents=()), "line 3: node 'b': the grant of the flow does not cover the agent 'writer'"),
        (Grant(syscalls=()), "line 4: node 'c': the grant of the flow does not cover the syscall 'ask'"),
        (Grant(policy=Policy(approvals=0)), "line 4: node 'c': the policy of the flow has nobody asked"),
    ],
)
def test_a_capability_that_a_node_would_lack(grant: Grant, expected: str) -> None:
    text = (
        "nodes:\n  a: {tool: find, input: {order: 1}}\n  b: {agent: writer}\n  c: {human: fine}\nedges: [a -> b -> c]"
    )
    assert any(each.startswith(expected) for each in faults(text, grant=grant))
    assert faults(text, grant=Grant(tools=("find",), syscalls=("a*",), models=("small",), agents=("writer",))) == []


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        (Budget(money=3.0), "money"),
        (Budget(steps=2), "steps"),
        (Budget(depth=0), "depth"),
        (Budget(tokens=1), "tokens"),
    ],
)
def test_a_budget_that_cannot_suffice(budget: Budget, what: str) -> None:
    pays = "{tool: pay, input: {to: x, amount: 1}}"
    text = f"nodes:\n  a: {{agent: writer}}\n  b: {pays}\n  c: {pays}\nedges: [a -> b, b -> c]"
    (told,) = faults(text, budgets=[budget])
    assert "the budget of the flow cannot suffice: " in told and what in told and told.startswith("line ")
    assert faults(text, budgets=[Budget(money=4.0, steps=20, depth=1, tokens=100)]) == []


def test_what_may_not_be_done_costs_nothing() -> None:
    text = """
    nodes:
      a: {agent: writer, gives: {enum: [x, y]}}
      b: {tool: pay, input: {to: x, amount: 1}}
      c: {tool: pay, input: {to: x, amount: 1}}
    edges: [{from: a, to: b, when: x}, {from: a, to: c, when: y}]
    """
    assert faults(text, budgets=[Budget(money=1.0)]) == []


def test_a_nodes_own_budget() -> None:
    text = "nodes:\n  a: {tool: pay, input: {to: x, amount: 1}, budget: {money: 1}}"
    assert faults(text) == ["line 2: node 'a': its budget cannot suffice: 2 money are the least"]


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"value": 1}
    for _ in range(levels):
        found = {"chain": [found]}
    return found


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        ({"chain": [{"value": 1}] * 100_000}, "at most 10,000 nodes"),
        ({"chain": [{"parallel": [{"value": 1}] * 2000}] * 6}, "at most 10,000 nodes"),
        ({"nodes": {f"n{n}": {"value": 1} for n in range(10_001)}}, "at most 10,000 nodes"),
        ({"nodes": {"a": {"value": 1}, "b": {"value": 1}}, "edges": ["a -> b"] * 50_001}, "at most 50,000 edges"),
        (
            {
                "nodes": {f"n{n}": {"value": 1} for n in range(52)},
                "edges": [{"from": f"n{n + 1}", "to": f"n{n}", "limit": 2} for n in range(51)],
            },
            "of which 50 lead back",
        ),
        (deep(600), "flatten it"),
    ],
)
def test_what_is_larger_than_anybody_could_look_at_is_refused(flow: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidRequest, match=expected):
        read(flow)


def test_a_thousand_nodes_with_templates_are_read() -> None:
    nodes = {f"n{n}": {"value": f"${{n{n - 1}}} ${{n{n // 2}}}" if n else 1} for n in range(1000)}
    graph = read({"nodes": nodes})
    assert {(edge.source, edge.target) for edge in graph.edges} == {(f"n{n - 1}", f"n{n}") for n in range(1, 1000)}


def test_a_large_flow_is_read_and_checked_in_a_moment_and_says_its_edges() -> None:
    names = [f"n{n}" for n in range(10_000)]
    began = time.process_time()
    graph = read({"nodes": {name: {"value": 1} for name in names}, "edges": [" -> ".join(names)]})
    assert check(graph, World(functions=["pass"])) == []
    assert len(read({"chain": [{"value": 1}] * 10_000}).nodes) == 10_000
    assert time.process_time() - began < 10  # it is linear: what was quadratic took minutes
    with pytest.raises(InvalidRequest, match="node 'n1': names 'n0'; in a flow of over 1,000 nodes an edge says so"):
        read({"nodes": {name: {"value": f"${{n{n - 1}}}" if n else 1} for n, name in enumerate(names)}})


def test_of_each_kind_of_fault_the_first_are_told() -> None:
    nodes = {f"n{n}": {"function": "pass"} for n in range(1000)}
    missing = read({"nodes": nodes, "edges": [f"n{n} -> m{n}" for n in range(1000)]})
    assert len(check(missing, World(functions=["pass"]))) == SHOWN
    assert len(check(read({"nodes": nodes}), World())) == SHOWN


@pytest.mark.parametrize("wrong", [{"type": 5}, {"enum": 5}, {"properties": [1]}, {"type": "object", "required": 5}])
@pytest.mark.parametrize("place", ["flow", "node"])
def test_a_schema_that_is_none_is_a_fault_and_no_more(wrong: dict[str, Any], place: str) -> None:
    node: dict[str, Any] = {"function": "pass", "input": "${input}"}
    flow: dict[str, Any] = {"nodes": {"a": node, "b": {"function": "pass"}}, "edges": ["a -> b"]}
    (flow if place == "flow" else node)["takes"] = wrong
    (flow if place == "flow" else node)["gives"] = wrong
    assert any("takes" in fault.text for fault in check(read(flow), World(functions=["pass"])))
