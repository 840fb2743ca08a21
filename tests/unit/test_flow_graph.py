"""Flows as data: one meaning in Python, YAML and JSON, and nothing lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.flow.compose import Chain, Parallel, Select, graph, read
from llmagent_os.flow.graph import Edge, Node, Work, load
from tests.stand_ins.flows import definitions


@settings(deadline=None)
@given(definitions())
def test_yaml_to_graph_to_json_to_graph_is_the_identity(data: dict[str, Any]) -> None:
    (written,) = load(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), "a file")
    made = read(written)
    again = read(codec.loads(codec.dumps(made.data())))
    assert again == made == read(data)
    assert again.data() == made.data()
    assert [node.at for node in again.nodes] == [node.at for node in made.nodes]


def test_what_templates_name_comes_before() -> None:
    made = read({"nodes": {"b": {"function": "pass", "input": "${a.x}"}, "a": {"function": "pass"}}})
    assert made.edges == (Edge("a", "b"),)


def test_a_chain_is_the_same_in_python_and_in_yaml() -> None:
    text = """
    chain:
      - {id: draft, agent: writer}
      - parallel:
          branches: [{id: facts, agent: checker}, {id: style, agent: editor}]
          then: {function: vote}
      - select:
          cases:
            good: {when: {".": fine}, do: {id: publish, tool: publish}}
            else: {id: tell, function: text}
    """
    node = {
        name: Node(name, Work("agent", agent))
        for name, agent in (("draft", "writer"), ("facts", "checker"), ("style", "editor"))
    }
    cases = {"good": Node("publish", Work("tool", "publish")), "else": Node("tell", Work("function", "text"))}
    made = graph(
        Chain(
            node["draft"],
            Parallel(node["facts"], node["style"], then=Work("function", "vote")),
            Select(cases, rules={"good": {".": "fine"}}),
        )
    )
    assert read(load(text, "a file")[0]) == made
    assert [each.id for each in made.nodes] == ["draft", "facts", "style", "join", "pass", "publish", "tell"]
    assert Edge("pass", "tell", "else", "${pass}") in made.edges


def test_compositions_nest_and_ids_stay_unique() -> None:
    inner = Parallel(
        Chain(Node("a", Work("agent", "x")), Node("b", Work("agent", "x"))), Node("a", Work("agent", "y")), wait="first"
    )
    made = graph(Chain(inner, inner))
    assert len({node.id for node in made.nodes}) == len(made.nodes) == 8
    assert [node.join for node in made.nodes if node.id.startswith("join")] == ["first", "first"]
    assert made.by_id["a"].fails == "skip"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodes:\n  a: {agnet: x}", "line 2: node 'a': unknown field 'agnet'; did you mean 'agent'?"),
        ("nodes:\n  a: {agent: x}\n  b: {}", "line 3: node 'b': says what does it by one of"),
        ("nodes:\n  a: {agent: x, tool: y}", "line 2: node 'a': says what does it by one of"),
        ("nodes:\n  a: {agent: x}\n  b:\n    agent: x\n    join: 0", "node 'b': `join` is all, first"),
        ("nodes:\n  a: {agent: x, retry: -1}", "line 2: node 'a': `retry` is a whole number"),
        ("nodes:\n  a: {agent: x, timeout: no}", "line 2: node 'a': `timeout` is seconds"),
        ("nodes:\n  a: {agent: x, undo: {do: y}}", "unknown field 'do'"),
        ("nodes:\n  in put: {agent: x}", "line 2: 'in put' is no id"),
        ("nodes:\n  input: {agent: x}", "line 2: 'input' is no id"),
        ("nodes: {a: {agent: x}}\nedges:\n  - a -> a\n  - {from: a}", "line 4: an edge is `a -> b`"),
        ("nodes: {a: {agent: x}}\nedges:\n  - {from: a, to: a, limit: 0}", "line 3: node 'a': `limit`"),
        ("chain:\n  - {agent: x}\n  - {parallel: []}", "line 3: `branches` is a list of steps"),
        ("select:\n  cases:\n    a: {agent: x}", "line 3: case 'a' has `when`"),
        ("nods: {}", "unknown field 'nods'; did you mean 'nodes'?"),
        ("nodes: {}", "`nodes` has some"),
        ("[]", "a flow is a mapping"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, expected: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        read(yaml_of(text))
    assert expected in told.value.message


def yaml_of(text: str) -> Any:
    """The one document of a text, with its lines; a list is one as well."""
    return next(iter(load(text, "a file")), [])
