"""The choice of an engine, and the circuit breaker: pure decisions on a clock of the test's own."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagent_os.core.errors import BudgetExceeded, ContextOverflow, EngineUnavailable, Unsupported
from llmagent_os.core.records import Decoding, EngineInfo, GenerateRequest, Message, Needs, Route, Sampling
from llmagent_os.sched.route import MANY, Breaker, Candidate, choose, cost, demand_of, none_left, refusal, worst_price

ENGINE = EngineInfo("e", "m", window=1000, abilities=frozenset({"chat", "said"}), limit=4)
ROUTE = Route(("a", "b"), ("c",))


def request(text: str = "hello " * 20, limit: int | None = 50, **fields) -> GenerateRequest:
    return GenerateRequest("r", (Message("user", text),), sampling=Sampling(max_tokens=limit), **fields)


def names(demand, *candidates: Candidate, now: float = 0.0, draw: float = 0.0) -> list[str]:
    return [each.model for each in choose(demand, candidates, now, draw).order]


DEMAND = demand_of(request(), ROUTE)

infos = st.none() | st.builds(
    EngineInfo,
    name=st.just("e"),
    model=st.just("m"),
    window=st.sampled_from([0, 100, 1000]),
    abilities=st.sampled_from([frozenset({"chat"}), frozenset({"prompt"}), frozenset({"chat", "tools", "said"})]),
    parameters=st.sampled_from([frozenset({"max_tokens"}), frozenset({"max_tokens", "temperature"})]),
    limit=st.integers(1, 8),
    output_price=st.sampled_from([0.0, 1.0, 1e6]),
)
standings = st.builds(
    Candidate,
    model=st.just(""),
    info=infos,
    role=st.integers(0, 2),
    load=st.floats(0, 10),
    first=st.floats(0, 10),
    pace=st.floats(0.1, 1000),
    quality=st.floats(0, 1),
    cached=st.integers(0, 2000),
    tokens=st.sampled_from([0, 99, 100, 2000]),
    languages=st.sampled_from([(), ("de",), ("en", "fr")]),
    rests=st.sampled_from([0.0, 5.0, 50.0]),
    probed=st.booleans(),
    failed=st.integers(0, 2),
)
demands = st.builds(
    demand_of,
    st.builds(
        request,
        limit=st.sampled_from([None, 10]),
        needs=st.none()
        | st.builds(Needs, language=st.sampled_from(["", "en"]), max_price=st.sampled_from([None, 0.0, 1.0])),
    ),
    st.just(ROUTE),
    st.booleans(),
)


@given(demands, st.lists(standings, max_size=MANY + 20), st.floats(0, 60), st.floats(0, 1, exclude_max=True))
def test_only_what_fits_is_chosen_and_every_candidate_is_explained(demand, found, now, draw):
    candidates = [replace(each, model=f"m{n}") for n, each in enumerate(found)]
    plan = choose(demand, candidates, now, draw)
    fit = [each for each in candidates if refusal(demand, each, now) is None]
    assert all(each in fit for each in plan.order)
    assert bool(plan.order) == bool(fit)
    assert len(plan.order) == len(fit) or len(candidates) > MANY
    assert all(each.rests <= now and not each.probed for each in plan.order)
    reasons = list(plan.reasons())
    assert sorted(each.model for each, _, _ in reasons) == sorted(each.model for each in candidates)
    assert all(text for _, _, text in reasons)
    assert all(math.isnan(worth) or worth >= 0 for _, worth, _ in reasons if worth is not None)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"rests": 3.0, "trouble": "no route to host"}, EngineUnavailable, "rests for 3.0 s: no route to host"),
        ({"probed": True}, EngineUnavailable, "trying it out"),
        ({"languages": ("en",)}, Unsupported, "does not speak 'de'"),
        ({"info": replace(ENGINE, abilities=frozenset())}, Unsupported, "has no chat"),
        ({"info": replace(ENGINE, parameters=frozenset())}, Unsupported, "does not take max_tokens"),
        ({"tokens": 1000}, ContextOverflow, "window of 1000 tokens"),
        ({"info": replace(ENGINE, output_price=1e6)}, BudgetExceeded, "may cost $50, over the ceiling of $2"),
    ],
)
def test_a_refusal_says_why(changes, kind, words):
    demand = demand_of(request(needs=Needs(language="de", max_price=2.0)), ROUTE)
    good = Candidate("a", ENGINE)
    assert refusal(demand, good, 0.0) is None
    bad = replace(good, model="b", **changes)
    found = refusal(demand, bad, 0.0)
    assert found is not None and found[0] is kind and words in found[1]
    assert names(demand, bad, good) == ["a"]
    error = none_left("r", choose(demand, [bad], 0.0))
    assert type(error) is kind and words in error.message and "'r'" in error.message


def test_what_nothing_limits_may_cost_anything():
    priced = replace(ENGINE, window=0, output_price=1.0)
    demand = demand_of(request(limit=None, needs=Needs(max_price=1000.0)), ROUTE)
    assert worst_price(demand, Candidate("a", priced)) == math.inf
    assert names(demand, Candidate("a", priced), Candidate("b", ENGINE)) == ["b"]


def test_an_answer_that_was_begun_goes_where_it_can_go_on():
    plain = Candidate("plain", replace(ENGINE, abilities=frozenset({"chat"})))
    goes_on = Candidate("goes on", ENGINE, load=5.0)
    assert names(demand_of(request(), ROUTE, shown=True), plain, goes_on) == ["goes on"]
    greedy = replace(request(), sampling=Sampling(temperature=0))
    assert names(demand_of(greedy, ROUTE, shown=True), plain, goes_on) == ["plain", "goes on"]
    held = replace(request(), schema={"type": "object"})
    held_demand = replace(demand_of(held, ROUTE, shown=True), abilities=frozenset({"chat"}))
    assert names(held_demand, plain, goes_on) == []


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"load": 1.0}),
        ({}, {"first": 5.0}),
        ({}, {"pace": 1.0}),
        ({}, {"quality": 0.5}),
        ({}, {"info": replace(ENGINE, output_price=1e6)}),
        ({"cached": 30, "first": 2.0}, {"first": 2.0}),
        ({"load": 9.0}, {"role": 1}),
        ({"load": 9.0}, {"failed": 1}),
        ({"role": 1}, {"role": 2, "pace": 1e6}),
    ],
)
def test_what_is_better_goes_first(better, worse):
    found = [Candidate("worse", **{"info": ENGINE, **worse}), Candidate("better", **{"info": ENGINE, **better})]
    assert names(DEMAND, *found, draw=0.99) == ["better", "worse"]


def test_the_cost_is_in_seconds_and_a_wrong_answer_is_asked_again():
    one = Candidate("a", replace(ENGINE, output_price=1e6), first=2.0, pace=10.0)
    demand = replace(DEMAND, patience=3.0)
    assert cost(demand, one) == pytest.approx(2.0 + 5.0 + 3.0 * 50)
    assert cost(demand, replace(one, load=1.0)) == pytest.approx(2 * 7.0 + 3.0 * 50)
    assert cost(demand, replace(one, quality=0.5)) == pytest.approx(2 * cost(demand, one))


@pytest.mark.parametrize("count", [2, 3, 8, 40])
@pytest.mark.parametrize("at_once", [False, True])
def test_replicas_get_equal_loads(count: int, at_once: bool):
    draw, running, served = random.Random(7), Counter[int](), Counter[int]()
    calls = 300 * count
    for n in range(calls):
        candidates = [Candidate(str(k), ENGINE, load=running[k] / ENGINE.limit) for k in range(count)]
        chosen = int(choose(DEMAND, candidates, 0.0, draw.random()).order[0].model)
        served[chosen] += 1
        running[chosen] += 1
        if not at_once:
            running[chosen] -= 1
        elif n % 7:  # calls end in no order
            running[draw.choice([k for k in range(count) if running[k]])] -= 1
    even, off = calls / count, 0.1 if count <= MANY else 0.25  # few of many are looked at
    assert all(abs(served[k] - even) <= off * even for k in range(count))


def test_a_strategy_goes_with_the_task_and_the_callers_own_goes_first():
    route = Route(("a",), decodings={"maths": Decoding("vote", width=5)})
    assert demand_of(request(needs=Needs("maths")), route).decoding == Decoding("vote", width=5)
    assert demand_of(request(needs=Needs("chat")), route).decoding is None
    own = request(needs=Needs("maths"), decoding=Decoding("beam"))
    assert demand_of(own, route).decoding == Decoding("beam")


# The circuit breaker


def test_failures_that_come_together_open_it_and_a_probe_closes_it():
    breaker = Breaker(limit=3, window=10.0, pause=1.0)
    breaker.failed(0.0, "a")
    breaker.failed(20.0, "b")
    breaker.failed(25.0, "c")
    assert breaker.rests == 0.0  # the first was too long ago
    breaker.failed(29.0, "d")
    assert breaker.rests == 30.0 and breaker.trouble == "d"
    breaker.begin()
    assert breaker.probed
    breaker.succeeded()
    breaker.begin()
    assert not breaker.probed
    breaker.failed(31.0, "e")
    assert breaker.rests == 30.0  # closed: it counts from the start


def test_it_rests_twice_as_long_each_time_up_to_a_limit():
    breaker, now = Breaker(limit=1, pause=1.0, longest=5.0), 0.0
    pauses = []
    for _ in range(5):
        breaker.begin()
        breaker.failed(now, "down")
        pauses.append(breaker.rests - now)
        now = breaker.rests
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_what_cannot_be_reached_needs_no_counting():
    breaker = Breaker(limit=3)
    breaker.failed(0.0, "connection refused", down=True)
    assert breaker.rests == 1.0


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["ok", "fail", "down", "leave"])), max_size=60))
def test_an_open_breaker_always_ends_and_one_call_at_a_time_tries_it(events):
    breaker, now = Breaker(limit=2, pause=1.0, longest=8.0), 0.0
    for pause, event in events:
        now += pause
        if breaker.rests > now or breaker.probed:
            continue
        breaker.begin()
        if event == "ok":
            breaker.succeeded()
        elif event == "leave":
            breaker.probed = False
        else:
            breaker.failed(now, "x", down=event == "down")
        assert breaker.rests - now <= 8.0 + 1e-6 and not breaker.probed


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5]), st.sampled_from([0.5, 0.55, 2.0])), min_size=1, max_size=6))
def test_a_choice_comes_as_often_as_its_probability_says(standing: list[tuple[float, float]]) -> None:
    candidates = [
        Candidate(str(n), ENGINE, load=load, first=first, pace=math.inf) for n, (load, first) in enumerate(standing)
    ]
    draws = 60  # a multiple of every number of alike ones
    plans = [choose(DEMAND, candidates, 0.0, n / 1e6) for n in range(draws)]
    shares = Counter(plan.order[0].model for plan in plans)
    assert all(shares[plan.order[0].model] / draws == pytest.approx(plan.probability) for plan in plans)
