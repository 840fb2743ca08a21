"""Graphs by chance, for properties: nodes with edges forward only, of every kind that a graph may have."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
SCHEMAS = st.sampled_from(
    [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "integer"}}}, {"enum": [1]}]
)


def _some(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


_NAMES = st.sampled_from(["writer", "find", "pass"])
_INPUTS = st.sampled_from(["${input}", {"a": "${n0.x.0}"}, ["${n1}", 3], "of ${n0}: ${input.y}"])
_WORK = st.one_of(
    st.fixed_dictionaries({"agent": _NAMES}, optional={"input": _INPUTS}),
    st.fixed_dictionaries({"tool": _NAMES}, optional={"input": _INPUTS, "ask": st.booleans()}),
    st.fixed_dictionaries({"function": _NAMES}, optional={"input": _INPUTS}),
    st.fixed_dictionaries({"human": TEXT.filter(bool)}),
    st.fixed_dictionaries(
        {"human": TEXT.filter(bool), "ask": st.just("choose"), "options": st.just(["a", "b"]), "expires": st.just(9)},
        optional={"otherwise": st.just("a"), "escalate": st.just({"after": 5, "to": "bob"})},
    ),
    st.fixed_dictionaries(
        {"similar": _NAMES, "choices": st.dictionaries(TEXT.filter(bool), TEXT, min_size=1, max_size=2)}
    ),
)
_MORE = _some(
    over=st.just("${n0}"), at_once=st.integers(1, 9), takes=SCHEMAS, gives=SCHEMAS, timeout=st.floats(0.1, 9),
    retry=st.integers(0, 3) | st.fixed_dictionaries({"times": st.integers(0, 3), "delay": st.floats(0, 3)}),
    budget=_some(tokens=st.integers(0, 9), money=st.floats(0, 9)),
    fallback=_WORK | st.fixed_dictionaries({"value": TEXT}),
    undo=_WORK, fails=st.sampled_from(["stop", "skip"]), keep=st.booleans(), join=st.just("first") | st.integers(1, 3),
    at=st.tuples(st.floats(-99, 99), st.integers(-99, 99)).map(list),
)  # fmt: skip


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A flow as data, such as a file holds it."""
    count = draw(st.integers(1, 6))
    nodes = {f"n{i}": {**draw(_WORK), **draw(_MORE)} for i in range(count)}
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges: list[Any] = []
    for a, b in draw(st.lists(pairs, max_size=6)):
        more = _some(when=st.just("else") | st.dictionaries(TEXT, VALUES, max_size=2) | TEXT, value=_INPUTS,
                     limit=st.integers(1, 3))  # fmt: skip
        whole = {"from": f"n{a}", "to": f"n{b}", **draw(more)}
        edges.append(whole if len(whole) > 2 else draw(st.sampled_from([whole, f"n{a} -> n{b}", [f"n{a}", f"n{b}"]])))
    settings = _some(result=_INPUTS, takes=SCHEMAS, gives=SCHEMAS, at_once=st.integers(1, 9),
                     context=st.booleans())  # fmt: skip
    return {"nodes": nodes, "edges": edges, **draw(settings)}


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """A graph of functions in which every edge leads forward, with conditions, joins, and nodes that may fail."""
    count = draw(st.integers(1, 9))
    nodes: dict[str, Any] = {}
    edges = []
    for i in range(count):
        sources = draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else []
        nodes[f"n{i}"] = {"tool": "work", "input": None, "retry": draw(st.integers(0, 2)),
                          "fails": draw(st.sampled_from(["stop", "skip"])), "undo": {"tool": "undo"}}  # fmt: skip
        if len(sources) > 1:
            nodes[f"n{i}"]["join"] = draw(st.sampled_from(["all", "all", "first", 2]))
        for source in sources:
            when = draw(st.sampled_from([None, None, 0, 1, "else"]))
            edges.append({"from": f"n{source}", "to": f"n{i}", **({} if when is None else {"when": when})})
    return {"nodes": nodes, "edges": edges, "at_once": draw(st.integers(1, 4))}
