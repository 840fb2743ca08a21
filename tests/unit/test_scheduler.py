"""The scheduler by example: each policy's order, who gives way, quotas, adapters, gangs. Random ones: `_properties`."""

from __future__ import annotations

import math

import pytest

from llmagent_os.sched.policies import MADE, Job, SchedulerSettings
from llmagent_os.sched.scheduler import Scheduler


def job(number: int, program: int = 0, tenant: str = "t", agent: str = "a", **fields: object) -> Job:
    return Job(number, program or number, program or number, tenant, agent, **{"arrived": float(number)} | fields)


def numbers(jobs: list[Job]) -> list[int]:
    return [each.number for each in jobs]


def scheduler(places: int = 1, **settings: object) -> Scheduler:
    return Scheduler(SchedulerSettings(**settings), places)


def order(made: Scheduler, jobs: list[Job], now: float = 0.0) -> list[int]:
    """How jobs that came are served on one place, each to its end before the next is put on."""
    for each in jobs:
        made.arrive(each, each.arrived)
    served: list[int] = []
    while made.waiting:
        decision = made.decide(now)
        served += numbers(decision.admit)
        for each in decision.admit + decision.refuse:
            made.leave(each, now)
    return served


def test_fifo_serves_in_the_order_of_arrival_and_takes_nothing_away() -> None:
    made = scheduler(policy="fifo")
    for number in (3, 1, 2):
        made.arrive(job(number), number)
    first = made.decide(3).admit
    made.charge(first[0], 0, 1000)
    assert numbers(first) == [1] and made.decide(3).preempt == []
    made.leave(first[0], 3)
    assert order(made, []) == [2, 3]


@pytest.mark.parametrize(("niced", "served"), [(0, [1, 2]), (2, [2, 1])])
def test_a_nice_step_is_overtaken_by_one_aging_time(niced: int, served: list[int]) -> None:
    assert order(scheduler(policy="priority", aging=1.0), [job(1, nice=niced), job(2)]) == served


def test_fair_serves_the_tenant_that_had_least_and_its_agent_that_had_least() -> None:
    made = scheduler(policy="fair")
    for number, tenant, agent, tokens in ((1, "big", "x", 90), (2, "small", "x", 40), (3, "small", "y", 10)):
        had = job(number, tenant=tenant, agent=agent)
        made.arrive(had, 0)
        made.charge(had, 0, tokens)
    jobs = [job(4, tenant="big"), job(5, tenant="small", agent="x"), job(6, tenant="small", agent="y")]
    for each in jobs:
        made.arrive(each, 0)
    assert numbers(made.decide(0).admit) == [3]


def test_under_fair_a_weight_of_two_is_twice_the_share() -> None:
    made = scheduler(policy="fair", quantum=1, weights={"double": 2.0})
    jobs = {name: job(number, tenant=name) for number, name in enumerate(("double", "single"))}
    for each in jobs.values():
        made.arrive(each, 0)
    for _ in range(300):
        decision = made.decide(0)
        for each in decision.preempt:
            made.vacate(each)
        for each in made.running.values():
            made.charge(each, 0, 1)
    assert jobs["double"].made == pytest.approx(2 * jobs["single"].made, abs=3)


def test_under_fair_who_was_away_has_saved_no_credit() -> None:
    made = scheduler(policy="fair")
    old, new = job(1, tenant="old"), job(2, tenant="new")
    made.arrive(old, 0)
    made.decide(0)
    made.charge(old, 0, 1000)
    made.vacate(old)
    made.decide(0)
    made.arrive(new, 0)
    assert made.shares.had("tenant", "new") == made.shares.had("tenant", "old") == 1000 * MADE


def test_under_fair_who_always_asked_for_little_has_saved_no_credit() -> None:
    made = scheduler(places=3, policy="fair")
    jobs = [job(1, tenant="little"), job(2, tenant="much"), job(3, tenant="much")]
    made.arrive(jobs[0], 0)
    made.arrive(jobs[1], 0)
    made.decide(0)
    made.charge(jobs[1], 0, 1000)
    made.arrive(jobs[2], 0)
    made.decide(0)  # nobody had to wait so far
    for number, tenant in ((4, "little"), (5, "new")):
        made.arrive(job(number, tenant=tenant), 0)
    assert made.shares.had("tenant", "little") == made.shares.had("tenant", "new") == 1000 * MADE


def test_las_serves_the_program_that_had_least_and_forgets() -> None:
    made = scheduler(policy="las", quantum=10, aging=100, memory=60)
    first = job(1, program=1)
    made.arrive(first, 0)
    made.charge(first, 0, 80)
    assert made.shares.level(1) == 2  # 8 quanta: the level that begins with 6
    made.leave(first, 0)
    assert order(made, [job(2, program=1, arrived=0), job(3, program=3, arrived=9)]) == [3, 2]
    late = job(4, program=1, arrived=240)
    made.arrive(late, 240)
    assert made.shares.level(1) == 0  # four half-lives


def test_las_lets_equals_end_one_after_the_other() -> None:
    """Everybody has a first slice at once; from then on only who had clearly less takes a place."""
    made, end = scheduler(policy="las", quantum=10), {1: 0, 2: 0, 3: 0}
    jobs = [job(number, program=number) for number in end]
    for each in jobs:
        made.arrive(each, 0)
    taken_off, order = 0, []
    while len(order) < len(jobs):
        decision = made.decide(1)
        for each in decision.preempt:
            made.vacate(each)
            taken_off += 1
        for each in list(made.running.values()):
            made.charge(each, 0, 1)
            if each.made == 40:
                made.leave(each, 1)
                order.append(each.number)
    assert taken_off == 2 and order == [3, 1, 2]


def test_las_takes_the_place_from_who_had_its_quantum_and_more() -> None:
    made = scheduler(policy="las", quantum=10)
    long, short = job(1), job(2)
    made.arrive(long, 1)
    made.decide(1)
    made.charge(long, 0, 9)
    made.arrive(short, 2)
    assert made.decide(2).preempt == []  # its quantum is not over
    made.charge(long, 0, 20)
    assert made.decide(2).preempt == [long] and long.leaving
    assert made.decide(2).preempt == []  # told once
    made.vacate(long)
    assert made.decide(2).admit == [short]


def test_a_job_that_cannot_move_keeps_its_place() -> None:
    made = scheduler(policy="las", quantum=1)
    made.arrive(job(1, movable=False), 1)
    made.decide(1)
    made.charge(made.running[1], 0, 500)
    made.arrive(job(2), 2)
    assert made.decide(2).preempt == []


def test_deadline_serves_the_earliest_and_refuses_what_would_be_late() -> None:
    made = scheduler(policy="deadline")
    made.shares.pace = 0.1
    for each in (job(1, deadline=9.0), job(2, deadline=5.0), job(3, deadline=4.0, wanted=100), job(4)):
        made.arrive(each, 0)
    decision = made.decide(0)
    assert numbers(decision.refuse) == [3] and numbers(decision.admit) == [2]


def test_what_was_made_already_is_not_held_against_a_deadline() -> None:
    made = scheduler(policy="deadline")
    made.shares.pace = 0.1
    half = job(1, deadline=5.0, wanted=80)
    made.arrive(half, 0)
    half.made = 60
    assert made.decide(1).admit == [half]


def test_a_tenant_over_its_quota_waits_until_it_is_refilled_and_others_go_on() -> None:
    made = scheduler(places=2, policy="fifo", quotas={"limited": 60})
    used, other = job(1, tenant="limited"), job(3)
    made.arrive(used, 0)
    made.decide(0)
    made.charge(used, 30, 40)
    made.arrive(job(2, tenant="limited"), 0)
    made.arrive(other, 0)
    decision = made.decide(0)
    assert decision.preempt == [used] and decision.admit == [other]
    assert decision.at == pytest.approx(11)  # ten tokens owed and one to go on with, at one a second
    made.vacate(used)
    assert made.decide(10).admit == []
    assert made.decide(decision.at).admit == [used]


def test_calls_for_the_adapter_in_use_go_first_until_its_turn_ends() -> None:
    made = scheduler(policy="fifo", adapter_turn=2.0)
    for each in (job(1, adapter="a"), job(2, adapter="b"), job(3, adapter="a"), job(4, adapter="a")):
        made.arrive(each, 0)
    served = []
    for now in (0.0, 1.0, 2.5, 3.0):
        for each in made.decide(now).admit:
            served.append(each.number)
            made.leave(each, now)
    assert served == [1, 3, 2, 4]


def test_places_are_kept_for_a_gang_and_given_to_it_together() -> None:
    made = scheduler(places=3, policy="fifo")
    for each in (job(1), job(2), job(3, places=3), job(4)):
        made.arrive(each, 0)
    assert numbers(made.decide(0).admit) == [1, 2]
    made.leave(made.running[1], 0)
    assert made.decide(0).admit == []
    made.leave(made.running[2], 0)
    assert numbers(made.decide(0).admit) == [3]


def test_nobody_is_taken_off_for_a_gang_where_that_would_not_be_enough() -> None:
    made = scheduler(places=2, policy="priority", quantum=1)
    for each in (job(1, nice=5), job(2, nice=5, movable=False)):
        made.arrive(each, 0)
    for each in made.decide(0).admit:
        made.charge(each, 0, 10)
    made.arrive(job(3, places=2, nice=-5), 0)
    assert made.decide(0).preempt == []


def test_a_gang_larger_than_the_engine_runs_alone() -> None:
    made = scheduler(places=2, policy="fifo")
    made.arrive(job(1, places=4), 0)
    made.arrive(job(2), 0)
    assert numbers(made.decide(0).admit) == [1]
    assert made.decide(0).admit == []


def test_renice_moves_a_job_that_waits() -> None:
    made = scheduler(policy="priority")
    jobs = [job(1, arrived=0.0), job(2, arrived=0.0), job(3, arrived=0.0)]
    for each in jobs:
        made.arrive(each, 0)
    made.renice(jobs[0], 5)
    made.renice(jobs[2], -5)
    assert order(made, []) == [3, 2, 1]


def test_a_call_without_a_deadline_is_last_and_never_refused() -> None:
    made = scheduler(policy="deadline")
    made.shares.pace = 1.0
    assert order(made, [job(1, deadline=math.inf, wanted=10**6), job(2, deadline=99.0)]) == [2, 1]
