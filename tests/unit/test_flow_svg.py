"""A flow as an image: layers, long edges around nodes, states, and what an editor placed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.flow.compose import read
from llmagent_os.flow.graph import Graph
from llmagent_os.flow.svg import PLACES, lay_out, svg

SVG = "{http://www.w3.org/2000/svg}"


def graph(edges: list[Any], **nodes: Any) -> Graph:
    ends = [edge.split(" -> ") if isinstance(edge, str) else (edge["from"], edge["to"]) for edge in edges]
    names = sorted({each for pair in ends for each in pair} | nodes.keys())
    return read({"nodes": {name: nodes.get(name, {"function": "pass"}) for name in names}, "edges": edges})


def drawn(made: Graph, **states: str) -> ET.Element:
    told = {name: {"state": state, "seconds": 1.25} for name, state in states.items()}
    return ET.fromstring(svg(made, told or None))


def test_each_node_stands_below_all_that_lead_to_it() -> None:
    places, ways = lay_out(graph(["a -> b -> c -> d", "a -> d", "b -> d"]))
    assert [places[each][1] for each in "abcd"] == sorted({places[each][1] for each in "abcd"})
    assert [len(way) for way in ways] == [2, 2, 2, 4, 3]  # long edges go by places beside the nodes


def test_edges_do_not_cross_where_they_need_not() -> None:
    places, _ = lay_out(graph(["a -> d", "b -> e", "c -> f", "top -> c", "top -> b", "top -> a"]))
    for above, below in (("ab", "de"), ("bc", "ef"), ("ac", "df")):
        assert (places[above[0]][0] < places[above[1]][0]) == (places[below[0]][0] < places[below[1]][0])


def test_what_is_said_is_escaped_and_a_run_is_coloured() -> None:
    when = {"from": "a", "to": "b", "when": {"why": '<&">\x00'}}
    back = {"from": "b", "to": "a", "when": "again", "limit": 3}
    made = graph([when, back], a={"agent": "ada"}, b={"human": "Well, <you>?"})
    image = drawn(made, a="done", b="asks")
    texts = [each.text for each in image.iter(f"{SVG}text")]
    assert 'why: <&">' in texts and "at most 3x" in " ".join(filter(None, texts)) and "agent ada" in texts
    assert {"done, 1.2 s", "asks, 1.2 s"} <= set(texts)
    assert [each.get("style") for each in image.iter(f"{SVG}rect")] == ["fill:#cfe8cf", "fill:#ffd9a0"]
    assert [each.get("stroke-dasharray") for each in image.iter(f"{SVG}path") if each.get("marker-end")] == [
        None,
        "5 3",
    ]


def test_nodes_stand_where_an_editor_placed_them() -> None:
    made = read({"nodes": {"a": {"function": "pass", "at": [10, 20]}, "b": {"function": "pass", "at": [400, -30.5]}},
                 "edges": ["a -> b"]})  # fmt: skip
    boxes = [(float(each.get("x", 0)) + 95, float(each.get("y", 0)) + 29) for each in drawn(made).iter(f"{SVG}rect")]
    assert boxes == [(10, 20), (400, -30.5)]


def test_a_flow_of_a_thousand_nodes_is_drawn() -> None:
    chain = [f"n{n} -> n{n + 1}" for n in range(999)]
    long = [f"n{n} -> n999" for n in range(990)]
    made = graph(chain + long)
    places, ways = lay_out(made)
    assert len(places) <= 1000 + PLACES and len(ways) == len(made.edges)
    assert len(list(drawn(made).iter(f"{SVG}rect"))) == 1000


@settings(max_examples=50, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda pair: pair[0] < pair[1]), min_size=1))
def test_no_two_things_stand_in_one_place_and_every_way_leads_down(pairs: set[tuple[int, int]]) -> None:
    made = graph([f"n{a} -> n{b}" for a, b in sorted(pairs)])
    places, ways = lay_out(made)
    assert len(set(places.values())) == len(places) and made.by_id.keys() <= places.keys()
    for edge, way in zip(made.edges, ways, strict=True):
        assert (way[0], way[-1]) == (edge.source, edge.target)
        assert all(places[a][1] < places[b][1] for a, b in pairwise(way))
