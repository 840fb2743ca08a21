"""The scheduler keeps its promises whatever comes: random calls, cancels, quotas, gangs, adapters and engine deaths.

`World` drives it on a clock of its own. `Oracle` says what may be decided, by looking at every call; where calls stand
alike it leaves the choice to the scheduler.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.sched.policies import MADE, POLICIES, PROMPT, READ, Job, SchedulerSettings
from llmagent_os.sched.scheduler import Moves, Scheduler

EXAMPLES = int(os.environ.get("LLMAGENT_OS_EXAMPLES", "200"))
TENANTS = ("a", "b", "limited")
QUOTA = 900  # tokens a minute of the last of them
CHUNK, TOKENS = 64, 8  # read, or made, by a job in a step
STEP = 0.1  # seconds


@dataclass(frozen=True)
class Come:
    """A call: who makes it, what it needs, and in how many seconds it must be answered."""

    tenant: str
    agent: str
    program: int
    nice: int
    adapter: str | None
    places: int
    movable: bool
    prompt: int
    answer: int
    patience: float


@dataclass(frozen=True)
class Run:
    """The engine works for so many steps."""

    steps: int


@dataclass(frozen=True)
class Cancel:
    """The caller of one of the open calls goes away."""

    which: int


@dataclass(frozen=True)
class Renice:
    """One of the open calls gets another nice value."""

    which: int
    nice: int


@dataclass(frozen=True)
class Die:
    """The engine dies: whatever runs on it ends with an error."""


Event = Come | Run | Cancel | Renice | Die

COMES = st.builds(
    Come, st.sampled_from(TENANTS), st.sampled_from("xy"), st.integers(0, 4), st.integers(-5, 10),
    st.sampled_from([None, None, "tuned"]), st.sampled_from([1, 1, 1, 2, 3]), st.sampled_from([True, True, False]),
    st.integers(0, 200), st.integers(1, 120), st.sampled_from([math.inf, 1.0, 5.0, 20.0]),
)  # fmt: skip
EVENTS = st.lists(
    st.one_of(
        COMES, COMES, COMES, st.builds(Run, st.integers(1, 20)), st.builds(Cancel, st.integers(0, 9)),
        st.builds(Renice, st.integers(0, 9), st.integers(-5, 10)), st.just(Die()),
    ),
    max_size=40,
)  # fmt: skip


def may_go_before(policy: str, ahead: Job, behind: Job, scheduler: Scheduler) -> bool:
    """The bound on starvation: whether one call may be put on while another waits that could have been."""
    aging, shares = scheduler.settings.aging, scheduler.shares
    later = ahead.arrived - behind.arrived  # seconds
    return {
        "fifo": later <= 0,
        "priority": later <= aging * (behind.nice - ahead.nice),
        "las": later <= aging * shares.level(behind.program),
        "fair": shares.had("tenant", ahead.tenant) <= shares.had("tenant", behind.tenant),
        "deadline": ahead.deadline <= behind.deadline,
    }[policy]


class Oracle:
    """What a decision may be, made from scratch: everything is looked at, nothing is remembered but the turn."""

    def __init__(self, world: World) -> None:
        scheduler = world.scheduler
        self.name, self.scheduler, self.now = scheduler.settings.policy, scheduler, world.now
        self.policy, self.shares = scheduler.policy, scheduler.shares
        self.over = {tenant for tenant, level in world.levels.items() if level <= 0}
        self.called = [job for job in scheduler._called if job.tenant not in self.over]
        waiting = [job for job in scheduler.waiting.values() if job.tenant not in self.over]
        self.pool = [job for job in waiting if job not in self.called]
        self.running = list(scheduler.running.values())
        self.leaving = [job for job in self.running if job.leaving]
        self.adapter, self.turn_ends = world.adapter, world.turn_ends
        self.order = {job: self._order(job) for job in (*self.pool, *self.running)}  # nothing is served meanwhile

    def check(self, decision: Moves, called: Sequence[Job]) -> None:
        """Follow a decision step by step; `called` are those for whom places are being vacated after it."""
        admit, refuse, preempt = list(decision.admit), list(decision.refuse), list(decision.preempt)
        self._evict_who_is_over(preempt)
        while self.called and self.called[0].places <= self._free():
            assert admit and admit[0] is self.called.pop(0)
            self._put_on(admit.pop(0))
        called = [job for job in called if job not in self.called]
        while self.pool:
            firsts = self._firsts()
            if refuse and refuse[0] in firsts:
                assert self._late(refuse[0])
                self.pool.remove(refuse.pop(0))
            elif admit and admit[0] in firsts:
                self._check_goes(admit[0])
                assert self._fits(admit[0]) and not self._late(admit[0])
                self.pool.remove(admit[0])
                self._put_on(admit.pop(0))
            elif called and called[0] in firsts:
                self._check_goes(called[0])
                self._check_called(called.pop(0), preempt)
            else:
                assert any(self._must_wait(job) for job in firsts)
                break
        assert not admit and not refuse and not preempt and not called

    def _evict_who_is_over(self, preempt: list[Job]) -> None:
        must = [j for j in self.running if j.tenant in self.over and j.movable and j not in self.leaving]
        assert set(must) == set(preempt[: len(must)])
        del preempt[: len(must)]
        self.leaving += must

    def _firsts(self) -> list[Job]:
        """Who may go first: of the adapter in use within its turn, else of all adapters."""
        least: dict[Hashable, float] = {}  # rank by adapter and the groups around it
        for job in self.pool:
            for group, rank in self._places(job):
                least[group] = min(rank, least.get(group, rank))
        adapters = self._adapters()
        best = min(least[adapter, ()] for adapter in adapters)
        heads = [job for job in self.pool if all(least[group] == rank for group, rank in self._places(job))]
        return [job for job in heads if job.adapter in adapters and self._rank(job) == best]

    def _places(self, job: Job) -> list[tuple[Hashable, float]]:
        return [((job.adapter, self.policy.path(job)[:depth]), rank) for depth, rank in enumerate(self.order[job])]

    def _adapters(self) -> set[str | None]:
        adapters = {job.adapter for job in self.pool}
        return {self.adapter} if self.adapter in adapters and self.now < self.turn_ends else adapters

    def _order(self, job: Job) -> tuple[float, ...]:
        return tuple(self.policy.rank(job, depth, self.shares) for depth in range(len(self.policy.path(job)) + 1))

    def _rank(self, job: Job) -> float:
        return self.order[job][0]

    def _check_goes(self, job: Job) -> None:
        passed = [each for each in self.pool if each.adapter in self._adapters()]
        assert all(may_go_before(self.name, job, each, self.scheduler) for each in passed)

    def _check_called(self, job: Job, preempt: list[Job]) -> None:
        """That a job is called means that exactly enough others are told to go, the last in order first."""
        assert not self._fits(job) and not self._late(job)
        before = self._room()
        while self._room() < job.places:
            victims = self._victims(job)
            assert preempt and preempt[0] in victims
            assert self._rank(preempt[0]) == max(map(self._rank, victims))
            self.leaving.append(preempt.pop(0))
        assert self._room() > before
        self.pool.remove(job)
        self.called.append(job)

    def _must_wait(self, job: Job) -> bool:
        movable = sum(victim.places for victim in self._victims(job))
        enough = self._room() < job.places <= self._room() + movable
        return not self._late(job) and not self._fits(job) and not enough

    def _victims(self, job: Job) -> list[Job]:
        if self.policy.gain is None:
            return []
        gain = self.policy.gain(self.scheduler.settings)
        due = [j for j in self.running if j.movable and j.slice >= j.quantum and j not in self.leaving]
        return [j for j in due if self._more_right(job, j, gain)]

    def _more_right(self, job: Job, running: Job, gain: float) -> bool:
        if self.name == "las" and job.program == running.program:
            return False
        if self.name == "fair" and job.tenant == running.tenant:
            had = [self.shares.had("agent", each.tenant, each.agent) for each in (job, running)]
            return job.agent != running.agent and had[0] + gain < had[1]
        return self._rank(job) + gain < self._rank(running)

    def _late(self, job: Job) -> bool:
        left = (job.wanted - job.made) * self.shares.pace
        return self.policy.refuses and self.now + left > job.deadline

    def _fits(self, job: Job) -> bool:
        return job.places <= self._free() - self._claimed() or not (self.running or self.called)

    def _free(self) -> int:
        return self.scheduler.places - sum(job.places for job in self.running)

    def _claimed(self) -> int:
        return sum(job.places for job in self.called)

    def _room(self) -> int:
        return self._free() + sum(job.places for job in self.leaving) - self._claimed()

    def _put_on(self, job: Job) -> None:
        self.running.append(job)
        if job.adapter != self.adapter:
            self.adapter, self.turn_ends = job.adapter, self.now + self.scheduler.settings.adapter_turn


class World:
    """Calls, an engine that serves them in steps, and books of its own about both."""

    def __init__(self, setting: SchedulerSettings, places: int) -> None:
        self.scheduler = Scheduler(setting, places)
        self.now = 0.0
        self.jobs: dict[int, Job] = {}
        self.todo: dict[int, list[int]] = {}  # of open jobs: tokens still to be read, and to be made
        self.ends: Counter[int] = Counter()
        self.levels = {tenant: float(rate) for tenant, rate in setting.quotas.items()}
        self.used: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()  # tokens since a decision last found the tenant within its quota
        self.adapter: str | None = None
        self.turn_ends = 0.0
        self.refilled = 0.0

    def apply(self, event: Event) -> None:
        """Let something happen, and the scheduler decide after it."""
        match event:
            case Come():
                self._come(event)
            case Run(steps):
                for _ in range(steps):
                    self.step()
            case Cancel(which) if self.todo:
                self._end(self._open(which))
            case Renice(which, nice) if self.todo:
                self.scheduler.renice(self._open(which), nice)
            case Die():
                for job in list(self.scheduler.running.values()):
                    self._end(job)
        self.decide()

    def _open(self, which: int) -> Job:
        return self.jobs[list(self.todo)[which % len(self.todo)]]

    def _come(self, come: Come) -> None:
        job = Job(
            len(self.jobs), come.program, come.program, come.tenant, come.agent, self.now, self.now + come.patience,
            come.nice, come.adapter, min(come.places, self.scheduler.places), come.answer, come.movable,
        )  # fmt: skip
        self.jobs[job.number], self.todo[job.number] = job, [come.prompt, come.answer]
        self.scheduler.arrive(job, self.now)

    def _end(self, job: Job) -> None:
        self.ends[job.number] += 1
        del self.todo[job.number]
        self.scheduler.leave(job, self.now)

    def step(self) -> None:
        """The engine reads or makes some tokens for everybody on it; who is done or told to go leaves."""
        self.now += STEP
        for job in list(self.scheduler.running.values()):
            self._serve(job)
            if not any(self.todo[job.number]):
                self._end(job)
            elif job.leaving:
                assert job.movable
                self.scheduler.vacate(job)
        self.decide()

    def _serve(self, job: Job) -> None:
        todo = self.todo[job.number]
        read = min(todo[0], CHUNK)
        made = 0 if read else min(todo[1], TOKENS)
        todo[0], todo[1] = todo[0] - read, todo[1] - made
        self.scheduler.charge(job, read, made)
        self.used[job.tenant] += read + made
        self.in_flight[job.tenant] += read + made
        if job.tenant in self.levels:
            self.levels[job.tenant] -= read + made

    def decide(self) -> None:
        """Have the scheduler decide, and look at what it says."""
        self._refill()
        oracle = Oracle(self)
        decision = self.scheduler.decide(self.now)
        oracle.check(decision, self.scheduler._called)
        self.adapter, self.turn_ends = oracle.adapter, oracle.turn_ends
        for job in decision.refuse:
            self.ends[job.number] += 1
            del self.todo[job.number]
            self.scheduler.leave(job, self.now)
        self._check(oracle.over)

    def _refill(self) -> None:
        for tenant, rate in self.scheduler.settings.quotas.items():
            since = self.now - self.refilled
            self.levels[tenant] = min(rate, self.levels[tenant] + rate * since / 60)
            if self.levels[tenant] > 0:
                self.in_flight[tenant] = 0
        self.refilled = self.now

    def _check(self, over: set[str]) -> None:
        """What holds at any time."""
        scheduler = self.scheduler
        running, waiting = scheduler.running, scheduler.waiting
        assert not running.keys() & waiting.keys() and running.keys() | waiting.keys() == self.todo.keys()
        free = scheduler.places - sum(job.places for job in running.values())
        assert free >= 0
        able = [job for job in waiting.values() if job.tenant not in over]
        if free and able:  # kept for several that want to be together
            assert any(job.places > 1 for job in able)
        for tenant, rate in scheduler.settings.quotas.items():
            assert self.used[tenant] <= rate * (1 + self.now / 60) + self.in_flight[tenant] + 1e-6
        assert all(job.leaving or not job.movable for job in running.values() if job.tenant in over)

    def drain(self) -> None:
        """Let everything that is open be served, however long the quotas make it wait."""
        while self.todo:
            if not self.scheduler.running:
                self.now += 60
            self.step()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(events=EVENTS, places=st.integers(1, 4), pace=st.sampled_from([0.0, 0.05]))
def test_every_decision_is_right_and_every_call_ends_once(
    policy: str, events: list[Event], places: int, pace: float
) -> None:  # fmt: skip
    world = World(
        SchedulerSettings(policy, quantum=16, aging=2.0, adapter_turn=1.0, quotas={TENANTS[-1]: QUOTA}), places
    )
    world.scheduler.shares.pace = pace
    for event in events:
        world.apply(event)
    world.drain()
    assert world.ends == Counter(world.jobs.keys())
    assert not world.scheduler.running and not world.scheduler.waiting


def apart(setting: SchedulerSettings, places: int) -> float:
    """The most that counters of tenants may differ who all have calls waiting (weights of 1).

    Sheng et al. bound it by 2 U for calls that run to their end, U being the most that can run at once. Here that is
    what every place can be given from one decision that may take it away to the next, and the gain that this needs.
    """
    served = max(MADE * setting.quantum, READ * PROMPT * setting.quantum) + max(MADE * TOKENS, READ * CHUNK)
    gain = POLICIES["fair"].gain
    assert gain is not None
    return 2 * (gain(setting) + places * served)


@pytest.mark.timeout(1800)
@settings(max_examples=EXAMPLES // 10, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), min_size=3, max_size=12),
    hog=st.integers(1, 6), places=st.integers(1, 4),
)  # fmt: skip
def test_fair_serves_tenants_that_wait_alike(lengths: list[tuple[int, int]], hog: int, places: int) -> None:
    setting = SchedulerSettings("fair", quantum=16)
    world = World(setting, places)
    for number in range(6):
        for tenant, calls in zip(TENANTS, (hog, 1, 1), strict=True):
            for call in range(calls):
                prompt, answer = lengths[(number + call + len(tenant)) % len(lengths)]
                world.apply(Come(tenant, "x", number, 0, None, 1, True, prompt, answer, math.inf))
    while {job.tenant for job in world.scheduler.waiting.values()} == set(TENANTS):
        world.step()
        had = [world.scheduler.shares.had("tenant", tenant) for tenant in TENANTS]
        assert max(had) - min(had) <= apart(setting, places)
