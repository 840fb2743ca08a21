"""The scheduler and the router on a virtual clock: up to a million agents on many engines, the kernel's own code.

An agent runs a program: up to 20 calls, each of which goes on from all that was said before, with tools in between.
Programs come at random (Poisson) at a given share of what the engines can do; their lengths have heavy tails. Tenants
have shares of 1, 1/2, 1/3 ...; every agent of a tenant has a system prompt, read once an engine. An engine is the cost
model `Costs`, fitted to the local one: its calls share its steps, so that rates change when the running set does, and
nothing is computed in between. Policies meet the same programs at the same times.

`oracle` is no policy but a bound: the program with the least left goes first, by a look into the future.

    python bench/sim.py [--json] [--programs 20000] [--engines 4] [--load 0.9] [--curves FOLDER]
    python bench/sim.py --programs 1000000 --engines 1000 --policies las
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import time
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, overload

from charts import chart
from common import Report, cpu, quantile, run

from llmagent_os.core.records import EngineInfo
from llmagent_os.sched.policies import CLASSES, POLICIES, Job, SchedulerSettings, SchedulingPolicy, Shares
from llmagent_os.sched.route import Candidate, Demand, choose
from llmagent_os.sched.scheduler import Scheduler

PLACES = 8
CHUNK = 128  # tokens of prompts that a step reads at most
TENANTS, AGENTS, SYSTEM = 8, 4, 300  # agents of a tenant, tokens of an agent's system prompt
CALLS_TAIL, CALLS_MOST = 1.1, 20  # Pareto
PROMPT, ANSWER = (3.5, 1.0, 1500), (3.4, 1.1, 1500)  # tokens: lognormal's mu and sigma, and the most
TOOL = 2.0  # seconds, mean of an exponential
BATCH = 0.3  # the share of programs that nobody waits for
PATIENCE, GRACE = 10.0, 5.0  # a call's deadline: so many times what it takes alone, and so many seconds
TIMED = 16  # of so many decisions one is timed: the clock takes longer than some of them
CYCLES = 20_000  # decisions that are timed while many calls wait


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds on an engine: a step of n streams takes `base + each * n`; a token `read`, saved or restored.

    What `bench/fit.py` found for the tiny model on 2 x AMD EPYC, 2026-11-25; `read` is of a quieter day (1,950 ms for
    1,000 tokens), for other work ran beside.
    """

    base: float = 0.0073
    each: float = 0.0041
    read: float = 0.00195
    save: float = 1.34e-5
    restore: float = 6.2e-6

    def step(self, readers: int, makers: int) -> float:
        """What a step takes in which some calls read and some make a token each."""
        return self.base + self.each * makers + (self.read * CHUNK if readers else 0.0)

    def alone(self, prompt: int, answer: int) -> float:
        """What a call takes on an idle engine."""
        return prompt * self.read + answer * (self.base + self.each)

    def full(self, prompt: int, answer: int) -> float:
        """What it takes of an engine that is full."""
        return prompt * self.read + answer * (self.base / PLACES + self.each)


COSTS = Costs()


@dataclass(slots=True, eq=False)
class Program:
    """What an agent does: (tokens added to the prompt, tokens answered, seconds of tools after it) a call."""

    number: int
    tenant: int
    agent: int
    nice: int
    steps: list[tuple[int, int, float]]
    began: float = 0.0
    done: int = 0  # calls
    context: int = 0  # tokens so far, the system prompt not counted
    home: int = -1  # the engine that has them

    def ideal(self) -> float:
        """Seconds that it takes alone."""
        return sum(COSTS.alone(prompt, answer) + wait for prompt, answer, wait in self.steps)


def programs(count: int, seed: int = 1) -> Iterator[Program]:
    """Random programs."""
    draw = random.Random(seed)
    shares = [1 / (1 + tenant) for tenant in range(TENANTS)]

    def tokens(mu: float, sigma: float, most: int) -> int:
        return 1 + min(most, int(draw.lognormvariate(mu, sigma)))

    for number in range(count):
        calls = min(CALLS_MOST, int(draw.paretovariate(CALLS_TAIL)))
        waits = [draw.expovariate(1 / TOOL) for _ in range(calls - 1)] + [0.0]
        steps = [(tokens(*PROMPT), tokens(*ANSWER), wait) for wait in waits]
        nice = CLASSES["batch" if draw.random() < BATCH else "interactive"]
        tenant = draw.choices(range(TENANTS), shares)[0]
        yield Program(number, tenant, draw.randrange(AGENTS), nice, steps)


@cache
def capacity(sample: int = 5000) -> float:
    """Programs a second that keep an engine full."""
    work = sum(COSTS.full(p, a) for each in programs(sample, seed=2) for p, a, _ in each.steps)
    return sample / work


_COMING: dict[Hashable, Program] = {}  # by number, for the oracle


def _left(job: Job, depth: int, shares: Shares) -> float:
    """What is left of a call's program, its own made tokens not counted."""
    program = _COMING[job.program]
    return sum(COSTS.full(prompt, answer) for prompt, answer, _ in program.steps[program.done :])


ORACLE = "oracle"
POLICIES[ORACLE] = SchedulingPolicy(lambda job: (), _left)


@dataclass(slots=True, eq=False)
class Task:
    """A call on its way: what is left of it, and where the engine's counter stands when the next thing happens."""

    job: Job
    program: Program
    unread: int
    unmade: int
    engine: Engine
    since: float = 0.0
    target: float = math.inf
    reading: bool = True


class Engine:
    """One engine: the kernel's scheduler, and steps that the running calls share.

    `made` and `read` count the tokens that a call would have had which was on it all the time; a call is a difference
    of such counts. So an event costs what it changes, not what runs beside it.
    """

    def __init__(self, number: int, settings: SchedulerSettings, world: World) -> None:
        self.number, self.world = number, world
        self.scheduler = Scheduler(settings, PLACES)
        self.scheduler.shares.pace = COSTS.base / PLACES + COSTS.each
        self.tasks: dict[int, Task] = {}
        self.running: list[Task] = []
        self.slots: OrderedDict[int, Program] = OrderedDict()  # whose contexts lie on them, the oldest first
        self.agents: set[tuple[int, int]] = set()  # whose system prompts were read here
        self.made = self.read = 0.0
        self.at = 0.0  # until when it has worked, or is kept from working by pages
        self.version = 0
        self.readers, self.step = 0, math.inf  # calls that read now, and seconds a step

    @property
    def load(self) -> float:
        """Calls by places."""
        return len(self.tasks) / PLACES

    def arrive(self, job: Job, program: Program, now: float) -> None:
        """A call came."""
        prompt, answer, _ = program.steps[program.done]
        unread = prompt if program.home in (-1, self.number) else prompt + program.context
        if (program.tenant, program.agent) not in self.agents:
            unread += SYSTEM
            self.agents.add((program.tenant, program.agent))
        program.home = self.number
        self.tasks[job.number] = Task(job, program, unread, answer, self)
        self.work(now)
        first = len(self.running) == PLACES and not self.scheduler.waiting
        self.scheduler.arrive(job, now)
        if first:  # from now on slices count
            for task in self.running:
                self._book(task)
                self._aim(task)
        self.decide(now)

    def work(self, now: float) -> None:
        """Count the steps up to now."""
        if now <= self.at:
            return
        steps = (now - self.at) / self.step
        self.made += steps
        if self.readers:
            self.read += steps * CHUNK / self.readers
        self.at = now

    def happen(self, now: float) -> None:
        """Something is due: a prompt was read, a quantum had, an answer ended."""
        self.work(now)
        for task in [t for t in self.running if (self.read if t.reading else self.made) >= t.target - 1e-6]:
            self._book(task)
            if task.unmade:
                self._aim(task)
            else:
                self.running.remove(task)
                del self.tasks[task.job.number]
                self.scheduler.leave(task.job, now)
                self.world.answered(task.program, task.job, now)
        if self.scheduler.waiting:
            self.decide(now)
        else:
            self._plan(now)

    def _book(self, task: Task) -> None:
        """Charge the whole tokens that a call had since the last time."""
        count = int((self.read if task.reading else self.made) - task.since + 1e-6)
        task.since += count
        if not task.reading:
            made = min(task.unmade, count)
            task.unmade -= made
            self.scheduler.charge(task.job, 0, made)
            return
        read = min(task.unread, count)
        task.unread -= read
        self.scheduler.charge(task.job, read, 0)
        if not task.unread:
            task.reading, task.since = False, self.made

    def _aim(self, task: Task) -> None:
        """Say when to look at a call again: at the end of its slice, but only its end matters if nobody waits."""
        count, scheduler = task.unread if task.reading else task.unmade, self.scheduler
        if not task.reading and scheduler.waiting and scheduler.policy.gain is not None:
            count = min(count, max(scheduler.settings.quantum, int(task.job.quantum - task.job.slice)))
        task.target = task.since + count

    def decide(self, now: float) -> None:
        """Do what the scheduler says, until it has nothing to say."""
        again = True
        while again:
            decision = self.world.timed(self.scheduler, now)
            for job in decision.refuse:
                self.scheduler.leave(job, now)
                self.world.refused(self.tasks.pop(job.number).program)
            for job in decision.preempt:
                self._take_off(self.tasks[job.number])
            for job in decision.admit:
                self._put_on(self.tasks[job.number], now)
            again = bool(decision.preempt)
        self._plan(now)

    def _take_off(self, task: Task) -> None:
        self._book(task)
        self.running.remove(task)
        self.scheduler.vacate(task.job)
        self.world.preempted += 1

    def _put_on(self, task: Task, now: float) -> None:
        """Give a call a slot: its context is brought there, and another one's saved, while the engine stands still."""
        program, pages = task.program, 0.0
        if program.number not in self.slots:
            pages += COSTS.restore * (program.context + SYSTEM)
            if len(self.slots) == PLACES:
                busy = {each.program.number for each in self.running}
                other = self.slots.pop(next(number for number in self.slots if number not in busy))
                pages += COSTS.save * other.context * (other.done < len(other.steps))
        self.slots[program.number] = program
        self.slots.move_to_end(program.number)
        self.at = max(self.at, now) + pages
        task.reading = task.unread > 0
        task.since = self.read if task.reading else self.made
        self.running.append(task)
        self._aim(task)

    def _plan(self, now: float) -> None:
        """Say when something happens next, if nothing happens before."""
        self.version += 1
        reads = [task.target for task in self.running if task.reading]
        makes = [task.target for task in self.running if not task.reading]
        self.readers, self.step = len(reads), COSTS.step(len(reads), len(makes)) if self.running else math.inf
        steps = min(makes) - self.made if makes else math.inf
        if reads:
            steps = min(steps, (min(reads) - self.read) * len(reads) / CHUNK)
        if self.running:
            self.world.at(max(now, self.at) + max(0.0, steps) * self.step, (self, self.version))


class Fleet(Sequence[Candidate]):
    """The engines as the router sees them, the one that has the context first; made when they are looked at."""

    INFO = EngineInfo("sim", "sim", limit=PLACES)
    FIRST, PACE = SYSTEM * COSTS.read, 1 / (COSTS.base + COSTS.each)

    def __init__(self, engines: Sequence[Engine], program: Program) -> None:
        self._engines, self._program = engines, program
        self._first = max(program.home, 0)

    def __len__(self) -> int:
        return len(self._engines)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if place >= len(self):
            raise IndexError(place)
        number = self._first if place == 0 else 0 if place == self._first else place
        engine, program = self._engines[number], self._program
        cached = program.context if number == program.home else 0
        tokens = program.context + program.steps[program.done][0]
        return Candidate(
            str(number), self.INFO, load=engine.load, first=tokens * COSTS.read, pace=self.PACE, cached=cached,
            tokens=tokens,
        )  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What came of a policy."""

    times: list[float] = field(default_factory=list)  # seconds from a program's arrival to its last answer
    slowdowns: list[float] = field(default_factory=list)  # the same by what it takes alone
    tenants: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  # slowdowns
    refused: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of the virtual clock
    preempted: int = 0
    decisions: int = 0
    decide: float = 0.0  # seconds of CPU of those that were timed
    wall: float = 0.0

    def jain(self) -> float:
        """Jain's index of the tenants' mean speeds (of 1 alone): 1 where all are slowed down alike."""
        speeds = [len(slow) / sum(slow) for slow in self.tenants.values()]
        return sum(speeds) ** 2 / (len(speeds) * sum(speed * speed for speed in speeds))


class World:
    """The clock, the engines, and the programs that come."""

    def __init__(self, policy: str, options: argparse.Namespace, load: float) -> None:
        self.engines = [
            Engine(number, SchedulerSettings(policy, options.quantum), self) for number in range(options.engines)
        ]
        self.outcome = Outcome()
        self.preempted = 0
        self._draw, self._times = random.Random(3), random.Random(4)
        self._coming = programs(options.programs)
        self._rate = load * options.engines * capacity()
        self._events: list[tuple[float, int, Program | tuple[Engine, int]]] = []
        self._count = self._calls = 0

    def at(self, when: float, what: Program | tuple[Engine, int]) -> None:
        """Have something happen: a program's next call, or what an engine planned."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what))

    def run(self) -> Outcome:
        """All of it."""
        began, now = time.perf_counter(), 0.0
        self._next(0.0)
        while self._events:
            now, _, what = heapq.heappop(self._events)
            if isinstance(what, Program):
                self._call(what, now)
            elif what[0].version == what[1]:
                what[0].happen(now)
        self.outcome.wall, self.outcome.seconds = time.perf_counter() - began, now
        self.outcome.preempted = self.preempted
        return self.outcome

    def _next(self, now: float) -> None:
        """Let the next program come."""
        program = next(self._coming, None)
        if program is not None:
            program.began = now + self._times.expovariate(self._rate)
            self.at(program.began, program)

    def _call(self, program: Program, now: float) -> None:
        if not program.done:
            self._next(now)
        prompt, answer, _ = program.steps[program.done]
        demand = Demand(frozenset(), frozenset(), prompt, answer)
        plan = choose(demand, Fleet(self.engines, program), now, self._draw.random())
        self._calls += 1
        _COMING[program.number] = program
        deadline = now + PATIENCE * COSTS.alone(prompt, answer) + GRACE
        job = Job(
            self._calls, program.number, program.number, str(program.tenant), str(program.agent), now, deadline,
            program.nice, wanted=answer,
        )  # fmt: skip
        self.engines[int(plan.order[0].model)].arrive(job, program, now)

    def timed(self, scheduler: Scheduler, now: float) -> Any:
        """A decision, and what it takes."""
        self.outcome.decisions += 1
        if self.outcome.decisions % TIMED:
            return scheduler.decide(now)
        began = cpu()
        decision = scheduler.decide(now)
        self.outcome.decide += cpu() - began
        return decision

    def answered(self, program: Program, job: Job, now: float) -> None:
        """A call ended: a tool runs and the next call comes, or the program has ended."""
        prompt, answer, wait = program.steps[program.done]
        program.done += 1
        program.context += prompt + answer
        self.outcome.tokens += job.read + job.made
        if program.done < len(program.steps):
            self.at(now + wait, program)
            return
        del _COMING[program.number]
        took = now - program.began
        self.outcome.times.append(took)
        self.outcome.slowdowns.append(took / program.ideal())
        self.outcome.tenants[program.tenant].append(took / program.ideal())

    def refused(self, program: Program) -> None:
        """A call was refused, and its program gives up."""
        program.done = len(program.steps)
        self.outcome.refused += 1


def deep(policy: str, waiting: int) -> float:
    """Microseconds of CPU a decision while so many calls wait; before each, one ends and another comes."""
    scheduler = Scheduler(SchedulerSettings(policy), PLACES)
    jobs = [
        Job(number, number // 2, number // 2, str(each.tenant), str(each.agent), number / 1e6, nice=each.nice)
        for number, each in enumerate(programs(waiting + CYCLES))
    ]
    for job in jobs[:waiting]:
        scheduler.arrive(job, job.arrived)
    scheduler.decide(1.0)
    used = 0.0
    for job in jobs[waiting:]:
        last = next(iter(scheduler.running.values()))
        scheduler.charge(last, 20, 32)
        scheduler.leave(last, 1.0)
        scheduler.arrive(job, 1.0)
        began = cpu()
        scheduler.decide(1.0)
        used += cpu() - began
    return used / CYCLES * 1e6


def tell(report: Report, policy: str, found: Outcome, waiting: int) -> None:
    """The results of one policy."""
    if found.times:
        report.add(policy, "mean completion", sum(found.times) / len(found.times), "s")
        for name, part in (("median", 0.5), ("p95", 0.95), ("p99", 0.99)):
            report.add(policy, f"{name} completion", quantile(found.times, part), "s")
        report.add(policy, "mean slowdown", sum(found.slowdowns) / len(found.slowdowns), "x")
        report.add(policy, "Jain index of tenants", found.jain(), "")
    report.add(policy, "programs refused", found.refused, "")
    report.add(policy, "tokens", found.tokens / found.seconds, "tokens/s")
    report.add(policy, "taken off", found.preempted, "times")
    report.add(policy, "CPU a decision", found.decide / max(1, found.decisions // TIMED) * 1e6, "us", at_most=20)
    if policy != ORACLE:
        report.add(policy, f"CPU a decision, {waiting:,} wait", deep(policy, waiting), "us", at_most=20)
    report.add(policy, "wall time", found.wall, "s", at_most=600)


def draw(folder: Path, options: argparse.Namespace, policies: Sequence[str]) -> None:
    """The curves: means and fairness against load, and how the completion times are spread at the given load."""
    loads = sorted({0.3, 0.5, 0.7, 0.8, 0.9, 0.95, options.load})
    found = {(policy, load): World(policy, options, load).run() for policy in policies for load in loads}

    def against(value: Any) -> dict[str, list[tuple[float, float]]]:
        return {policy: [(load, value(found[policy, load])) for load in loads] for policy in policies}

    times = {policy: sorted(found[policy, options.load].times) for policy in policies}
    parts = [n / 100 for n in range(1, 100)]
    spread = {policy: [(quantile(each, part), part) for part in parts] for policy, each in times.items()}
    across = "load (share of what the engines can do)"
    charts = {
        "completion": chart("Mean completion time of programs", across, "seconds",
                            against(lambda each: sum(each.times) / len(each.times)), log_y=True),
        "slowdown": chart("Mean slowdown of programs", across, "times as long as alone",
                          against(lambda each: sum(each.slowdowns) / len(each.slowdowns)), log_y=True),
        "fairness": chart("Jain's index of the tenants' mean speeds", across, "index", against(Outcome.jain)),
        "spread": chart(f"Completion times at a load of {options.load:g}", "seconds", "share of programs", spread,
                        log_x=True),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in charts.items():
        (folder / f"scheduler-{name}.svg").write_text(text)


def measure(report: Report, options: argparse.Namespace) -> None:
    """Every policy on the same programs."""
    policies = list(POLICIES) if options.policies == "all" else options.policies.split(",")
    for policy in policies:
        tell(report, policy, World(policy, options, options.load).run(), options.waiting)
    if options.curves:
        draw(Path(options.curves), options, policies)


if __name__ == "__main__":
    run(
        "sim", __doc__, measure,
        programs=(int, 20_000, "programs that come"), engines=(int, 4, "engines"),
        load=(float, 0.9, "share of what the engines can do"), quantum=(int, SchedulerSettings().quantum, "tokens"),
        waiting=(int, 100_000, "calls that wait while decisions are timed"),
        policies=(str, "all", "policies, with commas"), curves=(str, "", "folder to draw curves in"),
    )  # fmt: skip
