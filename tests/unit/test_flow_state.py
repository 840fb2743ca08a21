"""The state of a run, driven by hand: what begins when, with what, and what follows from ends in any order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core import templates
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Json
from llmagent_os.flow import values
from llmagent_os.flow.compose import read
from llmagent_os.flow.graph import Graph
from llmagent_os.flow.state import Job, Run
from tests.stand_ins.flows import layers


def run(data: dict[str, Any], value: Json = None) -> Run:
    return Run(read(data), value)


def finish(made: Run, results: dict[str, Json]) -> list[str]:
    """Let everything end at once, wave by wave; returns the labels in the order in which they began."""
    begun = []
    while jobs := made.take():
        for job in jobs:
            begun.append(job.label)
            answer = results.get(job.label, results.get(job.node.id, job.input))
            made.failed(job, str(answer)) if isinstance(answer, Exception) else made.done(job, answer)
    return begun


A = {"agent": "x"}


def test_a_value_goes_along_the_edges() -> None:
    made = run({"nodes": {"a": A, "b": A, "c": A}, "edges": ["a -> b", "a -> c"], "result": "${b}-${c}"}, 1)
    assert finish(made, {"a": 2, "b": 3}) == ["a", "b", "c"]
    assert made.result() == "3-2"


def test_a_join_sees_what_came_by_source_and_the_first_its_value() -> None:
    data = {
        "nodes": {"a": A, "b": A, "c": A, "d": {**A, "join": "first"}},
        "edges": ["a -> c", "b -> c", "a -> d", "b -> d"],
    }
    made = run(data, 1)
    finish(made, {"a": 2, "b": 3})
    assert made.results["c"] == {"a": 2, "b": 3} and made.results["d"] == 2
    assert made.result() == {"c": {"a": 2, "b": 3}, "d": 2}


def test_conditions_and_else() -> None:
    edges = [{"from": "a", "to": "b", "when": {"kind": "x"}}, {"from": "a", "to": "c", "when": {"n": {"minimum": 5}}},
             {"from": "a", "to": "d", "when": "else"}, "d -> e"]  # fmt: skip
    data = {"nodes": dict.fromkeys("abcde", A), "edges": edges}
    for value, expected in (({"kind": "x", "n": 9}, "abc"), ({"kind": "y", "n": 9}, "ac"), ({"kind": "y"}, "ade")):
        assert finish(run(data, value), {}) == list(expected)


def test_a_loop_goes_round_until_it_may_not() -> None:
    data = {
        "nodes": {"draft": A, "review": A, "publish": A},
        "edges": ["draft -> review", {"from": "review", "to": "draft", "when": "worse", "limit": 2},
                  {"from": "review", "to": "publish", "when": "else"}],
    }  # fmt: skip
    made = run(data, "x")
    begun = finish(made, {"review": "worse"})
    assert begun == ["draft", "review", "draft#1", "review#1", "draft#2", "review#2", "publish"]
    assert finish(run(data, "x"), {"review": "worse", "review#1": "fine"})[-3:] == ["draft#1", "review#1", "publish"]


def test_a_map_has_so_many_at_once_and_keeps_the_order() -> None:
    made = run({"nodes": {"m": {**A, "over": "${input}", "at_once": 2}}}, [1, 2, 3])
    first, second = made.take()
    assert made.take() == [] and (first.input, second.input) == (1, 2)
    made.done(second, "b")
    (third,) = made.take()
    made.done(third, "c")
    made.done(first, "a")
    assert made.result() == ["a", "b", "c"]
    assert finish(empty := run({"nodes": {"m": {**A, "over": "${input}"}, "n": A}, "edges": ["m -> n"]}, []), {}) == [
        "n"
    ]
    assert empty.result() == []


def test_retry_then_fallback_then_the_flow_stops_or_goes_on() -> None:
    node = {**A, "retry": {"times": 2, "delay": 1.0}, "fallback": {"agent": "y"}}
    made = run({"nodes": {"a": node}})
    waits = []
    for _ in range(3):
        (job,) = made.take()
        waits.append((job.label, job.wait, job.work.name))
        made.failed(job, "no")
    (job,) = made.take()
    assert [*waits, (job.label, job.wait, job.work.name)] == [
        ("a", 0.0, "x"), ("a!1", 1.0, "x"), ("a!2", 2.0, "x"), ("a!3", 0.0, "y"),
    ]  # fmt: skip
    made.failed(job, "never")
    assert made.failure == "node 'a': never"
    skips = run({"nodes": {"a": {**A, "fails": "skip"}, "b": A, "c": A}, "edges": ["a -> c", "b -> c"]}, 1)
    finish(skips, {"a": ValueError("no")})
    assert skips.failure is None and skips.results["c"] == {"b": 1}


def test_who_loses_a_race_is_ended_with_what_comes_before_it_alone() -> None:
    nodes = {"a": A, "slow": A, "slower": A, "quick": A, "j": {**A, "join": "first"}, "other": A}
    made = run(
        {
            "nodes": nodes,
            "edges": ["a -> slow", "slow -> slower", "slower -> j", "a -> quick", "quick -> j", "a -> other"],
        }
    )
    (a,) = made.take()
    made.done(a, 1)
    jobs = {job.label: job for job in made.take()}
    made.done(jobs["quick"], 2)
    assert made.losers == ["slow"] and made.stages["slower"] == "ended" and made.stages["other"] == "running"


def test_a_quorum_that_cannot_be_is_a_failure() -> None:
    skip = {**A, "fails": "skip"}
    data = {"nodes": {"a": skip, "b": skip, "c": skip, "j": {**A, "join": 2}}, "edges": ["a -> j", "b -> j", "c -> j"]}
    made = run(data, 1)
    finish(made, {"a": ValueError("no"), "b": ValueError("no")})
    assert made.failure == "node 'j': it needs 2 branches, and 1 came"


def test_what_is_not_of_the_type_that_a_node_gives_has_failed() -> None:
    made = run({"nodes": {"a": {**A, "gives": {"type": "object", "required": ["x"]}}}})
    finish(made, {"a": '{"x": 1}'})
    assert made.result() == {"x": 1}
    wrong = run({"nodes": {"a": {**A, "gives": {"type": "integer"}}}})
    finish(wrong, {"a": "many"})
    assert "its result is not what it gives" in str(wrong.failure)


def test_origins_go_with_values_and_with_nothing_else() -> None:
    nodes = {"page": {"tool": "page"}, "own": {"tool": "pay", "input": {"to": "${input.to}"}},
             "theirs": {"tool": "pay", "input": {"to": "${page.to}"}},
             "short": {"function": "pass", "input": "${theirs}"},
             "last": A}  # fmt: skip
    made = Run(
        read({"nodes": nodes, "edges": ["page -> own", "page -> theirs", "theirs -> short", "short -> last"]}),
        {"to": 1},
    )
    whose: dict[str, tuple[str, ...]] = {}
    while jobs := made.take():
        for job in jobs:
            whose[job.node.id] = job.origins
            made.done(
                job, {}, job.origins if job.node.id == "theirs" else ["tool page"] if job.node.id == "page" else ()
            )
    assert whose == {"page": (), "own": (), "theirs": ("tool page",), "short": ("tool page",), "last": ("tool page",)}


# -- properties of random graphs


@settings(deadline=None)
@given(layers(), st.data())
def test_random_graphs_whatever_ends_first(data: dict[str, Any], choose: st.DataObject) -> None:
    """Every node runs at most once a try, with what the edges brought; a failure undoes in order."""
    graph = read(data)
    made = Run(graph, 7)
    begun: Counter[str] = Counter()
    running: list[Job] = []
    done: list[str] = []
    ended: set[str] = set()
    while made.failure is None:
        for job in made.take():
            begun[job.label] += 1
            _joined(graph, made, job)
            running.append(job)
        ended |= set(made.losers)
        running = [job for job in running if job.label not in ended]
        assert {job.label for job in running} == set(made.running)
        assert len(running) <= graph.at_once
        if not running:
            break
        job = running.pop(choose.draw(st.integers(0, len(running) - 1)))
        if choose.draw(st.integers(0, 4)) == 0:
            made.failed(job, "by chance")
        else:
            made.done(job, choose.draw(st.integers(0, 2)))
            done.append(job.label)
    assert set(begun.values()) <= {1}
    assert [job.label for job, _, _ in made.finished] == done
    assert [job.work.name for job in made.undoing()] == ["undo"] * len(done)
    tries = Counter(label.split("!")[0] for label in begun)
    assert all(count <= graph.by_id[node].retry + 1 for node, count in tries.items())
    if made.failure is None:
        assert set(made.stages.values()) <= {"done", "skipped", "failed", "ended"}
        assert not made.running


def _joined(graph: Graph, made: Run, job: Job) -> None:
    """A node is given exactly what its live edges bring."""
    into = graph.forward_to().get(job.node.id, [])
    sources = {edge.source for edge in into}
    if not into:
        assert job.input == 7
    elif len(into) == 1 or job.node.join == "first":
        assert job.input in [made.results[each] for each in sources if each in made.results]
    else:
        assert set(job.input) <= sources
        assert all(made.results[each] == value and made.stages[each] == "done" for each, value in job.input.items())
        if job.node.join == "all":
            live = {
                e.source for e in into if made.stages[e.source] == "done" and _taken(graph, made, e.source, job.node.id)
            }
            assert set(job.input) == live
        else:
            assert len(job.input) >= 2


def _taken(graph: Graph, made: Run, source: str, target: str) -> bool:
    """Whether the edge between two nodes is taken, by its words alone."""
    value = made.results[source]
    own = next(edge for edge in graph.edges if (edge.source, edge.target) == (source, target))
    said = [edge for edge in graph.edges if edge.source == source and isinstance(edge.when, dict)]
    if own.when is None or isinstance(own.when, dict):
        return own.when is None or own.when["."] == value
    return not any(edge.when["."] == value for edge in said if isinstance(edge.when, dict))


def test_texts_that_double_from_node_to_node_end_before_they_fill_the_memory() -> None:
    text = "x" * 1000
    with pytest.raises(InvalidRequest, match="pass less on"):
        for _ in range(30):
            text = templates.fill("${a}${a}", {"a": text})
    assert len(text) <= templates.LONGEST and templates.fill("${a.%s}" % ("9" * 5000), {"a": [1]}) is None


def test_a_schema_is_meant_as_clients_write_it_when_values_are_held_to_it_too() -> None:
    """Such a one passes the check of a flow, and broke off its run."""
    assert values.holds({"x": {"type": "STRING"}}, {"x": "a"}) and not values.holds({"x": {"type": "STRING"}}, {"x": 1})
    assert values.valid({"type": "Integer"}, 3) is None and "not integer" in str(values.valid({"type": "Integer"}, "3"))
    assert "no type of JSON schemas" in str(values.valid({"type": "strin"}, "a"))
