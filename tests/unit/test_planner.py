"""What makes up a plan, who does a step, and what follows when one goes wrong: decisions over data."""

from __future__ import annotations

from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.validity import fault
from llmagent_os.flow import compose
from llmagent_os.flow.check import About, World, check
from llmagent_os.planner.decide import Known, decide, offered, ranked
from llmagent_os.planner.plan import Step, asked, graph, read, schema, steps_of

NEEDS = ["read", "write"]


def step(do: str, *after: int, needs: str = "read") -> dict[str, Any]:
    return {"do": do, "needs": needs, "after": list(after)}


def plan(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"steps": list(steps)}


# -- plans


def test_steps_are_numbered_and_may_come_in_any_order() -> None:
    made = steps_of(plan(step("sum  it\nup", 2, needs="write"), step("read a")), NEEDS, 5)
    assert made == [Step(1, "sum it up", "write", (2,)), Step(2, "read a", "read")]
    more = steps_of(plan(step("read b", 1), step("write it", 4, 1)), NEEDS, 5, done=made[:1], first=4)
    assert [each.id for each in more] == ["s4", "s5"] and more[1].after == (1, 4)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "object"),
        (plan(), "steps"),
        (plan(*[step(f"read {n}") for n in range(6)]), "steps"),
        (plan(step("read a", needs="fly")), "needs"),
        (plan(step("x")), "do"),
        (plan(step("read a", 1)), "step 1 comes after 1, which is no other step"),
        (plan(step("read a", 3), step("read b")), "step 1 comes after 3, which is no other step"),
        (plan(step("read a", 2), step("read b", 1)), "steps 1, 2 wait for one another"),
        (plan(step("read a"), step("Read A")), "step 2 is step 1 once more"),
        (plan(step("read a"), step("Write.")), "step 2 says only what it needs"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(data: Any, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        steps_of(data, NEEDS, 5)


def test_the_schema_takes_what_is_read_and_nothing_longer() -> None:
    form = schema(NEEDS, 2, 2)
    assert fault(form, plan(step("read a"), step("write it", 1, needs="write"))) is None
    assert fault(form, plan(*[step(f"read {n}") for n in range(3)])) is not None


def test_a_plan_is_a_flow_that_is_checked_and_what_the_model_wrote_names_nothing() -> None:
    steps = [Step(1, "read ${s9} and ${input.secret}", "read", (), "ada"), Step(2, "write", "write", (1,), "bob")]
    made = compose.read(graph(steps, budget={"tokens": 100}))
    assert check(made, World(agent=lambda name: About())) == []
    assert [(edge.source, edge.target) for edge in made.edges] == [("s1", "s2")]
    assert made.by_id["s2"].join == 1 and made.by_id["s1"].budget == {"tokens": 100}
    assert "${s9}" not in asked(steps[0]) and "${input.secret}" not in asked(steps[0])
    assert "[s1] ${s1}" in asked(steps[1])
    later = compose.read(graph(steps, ["s1"]))
    assert later.by_id["s1"].work.kind == "function" and later.edges == made.edges


@pytest.mark.parametrize(
    ("data", "parameter"),
    [
        ([], "plan"),
        ({}, "plan.agents"),
        ({"agents": []}, "plan.agents"),
        ({"agents": ["a"], "step": 3}, "plan.step"),
        ({"agents": ["a"], "steps": 0}, "plan.steps"),
        ({"agents": ["a"], "steps": True}, "plan.steps"),
        ({"agents": ["a"], "stall": 0}, "plan.stall"),
        ({"agents": ["a"], "budget": 5}, "plan.budget"),
        ({"agents": ["a"], "templates": {"t": {"nodes": {}}}}, "plan.templates.t"),
        ({"agents": ["a"], "templates": {"t": {"flow": {"takes": {"properties": 3}}}}}, "plan.templates.t"),
    ],
)
def test_settings_that_are_none_are_refused_by_their_field(data: Any, parameter: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        read(data)
    assert told.value.facts["parameter"] == parameter


# -- who does it


def test_the_best_is_whose_runs_went_well_then_who_is_cheap_then_quick() -> None:
    bad = Known("bad", skills=["read"], runs=10, failed=8)
    new = Known("new", skills=["read"])
    dear = Known("dear", skills=["read", "write"], runs=10, money=0.2)
    cheap = Known("cheap", skills=["read"], runs=10, money=0.1, seconds=9.0)
    quick = Known("quick", skills=["read"], runs=10, money=0.1, seconds=2.0)
    team = [bad, new, dear, cheap, quick, Known("other", skills=["sing"])]
    assert [each.name for each in ranked(team, "read")] == ["quick", "cheap", "dear", "new", "bad"]
    assert [each.name for each in ranked(team, "read", {"quick", "cheap"})][-2:] == ["quick", "cheap"]


def test_what_is_offered_is_what_those_can_do_who_are_left() -> None:
    team = [Known("a", skills=["read"]), Known("b", skills=["read", "write"]), Known("plain")]
    assert offered(team) == ["read", "write", "plain"]
    assert offered(team, {"b"}) == ["read", "plain"]
    assert offered(team, {"a", "b", "plain"}) == ["read", "write", "plain"]


# -- what follows


@pytest.mark.parametrize(
    ("trouble", "tried", "able", "retries", "replans", "act", "agent"),
    [
        ("failed", ["a"], ["a", "b"], 1, 1, "retry", "a"),
        ("failed", ["a", "a"], ["a", "b"], 1, 1, "hand over", "b"),
        ("failed", ["a"], ["a", "b"], 0, 1, "hand over", "b"),
        ("failed", ["a", "b"], ["b", "a"], 0, 1, "replan", ""),
        ("failed", ["a", "b"], ["b", "a"], 0, 0, "give up", ""),
        ("failed", ["a"], [], 0, 0, "give up", ""),
        ("stalled", ["a"], ["a", "b"], 1, 1, "hand over", "b"),
        ("stalled", ["a"], ["a"], 1, 1, "retry", "a"),
        ("stalled", ["a", "a"], ["a"], 1, 1, "replan", ""),
        ("overran", ["a"], ["a", "b"], 5, 1, "hand over", "b"),
        ("overran", ["a"], ["a"], 5, 1, "replan", ""),
        ("gone", ["a"], ["a", "b"], 5, 0, "hand over", "b"),
        ("gone", ["a"], ["a"], 5, 0, "give up", ""),
    ],
)
def test_what_follows_from_a_try_that_went_wrong(
    trouble: Any, tried: list[str], able: list[str], retries: int, replans: int, act: str, agent: str
) -> None:
    made = decide("s1", trouble, "why it did", tried, able, retries, replans)
    assert (made.act, made.agent) == (act, agent)
    assert "s1" in made.reason and tried[-1] in made.reason and "why it did" in made.reason
