"""Who gets an engine next, and who gives it back: policies, shares, and one pure scheduler an engine.

Nothing here waits, and the time is an argument: the kernel's dispatcher and the simulator drive the same code.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ..core.records import Json

READ, MADE = 1.0, 2.0
"""What a token costs that was read or made: the weights of the virtual token counter (Sheng et al., OSDI 2024)."""

LEVEL = 6  # by so much longer are the programs of the next level
PROMPT = 16  # tokens read count as one made towards a quantum: a place is rarely worth giving up in a prompt
NICE = 1.25  # a step of `nice` is worth this factor, as in Linux
CLASSES = {"interactive": 0, "batch": 10}
"""The service classes: what each adds to the nice value."""


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How an engine is shared out.

    `quantum` (tokens made) is how long a call keeps its place at least. `aging` (seconds) bounds starvation: no call
    waits behind calls that came more than `aging` times its handicap after it; the handicap is its nice step
    (`priority`) or its level (`las`). `adapter_turn` (seconds) is how long calls for the adapter that is in use may go
    before others. `quotas` are tokens a minute by tenant. `memory` (seconds) is the half-life of what a program that
    asks for nothing has had.
    """

    policy: str = "las"
    quantum: int = 16
    aging: float = 30.0
    adapter_turn: float = 2.0
    memory: float = 60.0
    quotas: dict[str, int] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Job:
    """A generation that wants an engine: what a policy may look at, and what the engine did for it so far.

    `program` is the process tree that it belongs to. `places` are held together. Times are in seconds of one clock;
    `deadline` is absolute. `movable` says that it can be taken off the engine and go on later.
    """

    number: int
    pid: int
    program: Hashable
    tenant: str
    agent: str
    arrived: float
    deadline: float = math.inf
    nice: int = 0
    adapter: str | None = None
    places: int = 1
    wanted: int = 0  # tokens that it will make at most; 0: not known
    movable: bool = True

    read: int = 0
    made: int = 0
    waited: float = 0.0  # before its present wait
    since: float = 0.0  # when that began, or its last token came
    quantum: int = 0  # tokens for which it keeps its place at least
    slice: float = 0.0  # what it had of that since it was put on
    leaving: bool = False  # it was told to give its place back
    first: float | None = None  # when it was first put on

    @property
    def weight(self) -> float:
        """Its share against one of nice 0."""
        return float(NICE**-self.nice)


class Shares:
    """What everybody has had: cost by program, by tenant, and by each of its agents, divided by its weight."""

    def __init__(self, settings: SchedulerSettings) -> None:
        self.settings = settings
        self.pace = 0.0  # seconds from token to token of one call, smoothed
        self._had: dict[Sharer, float] = {}
        self._present: defaultdict[Sharer, int] = defaultdict(int)
        self._left: dict[Sharer, float] = {}  # oldest first
        self._virtual: dict[Sharer, float] = {}  # of those who are parts of the same

    def had(self, *sharer: Hashable) -> float:
        """The weighted cost of `("program", p)`, `("tenant", t)` or `("agent", t, a)`."""
        return self._had.get(sharer, 0.0)

    def enter(self, job: Job, now: float) -> None:
        """A call came. A program that was away is not held to all it ever had, and nobody saves up credit."""
        for sharer in _sharers(job):
            self._present[sharer] += 1
            away = now - self._left.pop(sharer, now)
            if sharer[0] == "program":
                self._had[sharer] = self.had(*sharer) * 0.5 ** (away / self.settings.memory)
            else:  # the counter's lift, to the virtual time (Goyal et al. 1996: start-time fair queueing)
                self._had[sharer] = max(self.had(*sharer), self._virtual.get(sharer[:-1], 0.0))

    def start(self, job: Job) -> None:
        """A call is put on: the virtual time of those beside it is what its sharer has had."""
        for sharer in _sharers(job)[1:]:
            self._virtual[sharer[:-1]] = max(self._virtual.get(sharer[:-1], 0.0), self.had(*sharer))

    def leave(self, job: Job, now: float) -> None:
        """A call ended."""
        for sharer in _sharers(job):
            self._present[sharer] -= 1
            if not self._present[sharer]:
                del self._present[sharer]
                self._left[sharer] = now
        while self._left and now - self._left[oldest := next(iter(self._left))] > 20 * self.settings.memory:
            del self._left[oldest]
            self._had.pop(oldest, None)

    def charge(self, job: Job, read: int, made: int) -> None:
        """Book tokens that were read and made."""
        cost = READ * read + MADE * made
        for sharer in _sharers(job):
            tenant = sharer[0] == "tenant"
            weight = self.settings.weights.get(job.tenant, 1.0) if tenant else job.weight
            self._had[sharer] = self.had(*sharer) + cost / weight

    def level(self, program: Hashable) -> int:
        """The queue of a multi-level feedback that a program is in: the logarithm of what it had, in quanta.

        Each holds what is `LEVEL` times as long as in the one before, so that most who are in one end there.
        """
        quanta = self.had("program", program) / (MADE * self.settings.quantum)
        return int(math.log(quanta, LEVEL)) + 1 if quanta >= 1 else 0


Sharer = tuple[Hashable, ...]


def _sharers(job: Job) -> tuple[Sharer, Sharer, Sharer]:
    return ("program", job.program), ("tenant", job.tenant), ("agent", job.tenant, job.agent)


Rank = float
"""Where a call or a group of calls stands; the smallest goes first. While something waits its rank never falls."""


@dataclass(frozen=True, slots=True)
class SchedulingPolicy:
    """An order of service: pure functions of a job and the shares.

    `path` are the groups that a job waits in, outermost first; `rank` ranks a group, given its first job and how deep
    it lies (0 is outermost; the last depth is the job itself). `gain` is how much smaller the first rank of a waiting
    job must be than that of a running one to take its place; None: never.
    """

    path: Callable[[Job], tuple[Hashable, ...]]
    rank: Callable[[Job, int, Shares], Rank]
    gain: Callable[[SchedulerSettings], float] | None = None
    refuses: bool = False  # calls that would be late are refused
    slices: Callable[[Job, Shares], int] = lambda job, shares: 1  # quanta that a job is put on for


def _arrived(job: Job, depth: int, shares: Shares) -> Rank:
    return job.arrived


def _priority(job: Job, depth: int, shares: Shares) -> Rank:
    return job.arrived + shares.settings.aging * job.nice


def _fair(job: Job, depth: int, shares: Shares) -> Rank:
    if depth == 0:
        return shares.had("tenant", job.tenant)
    return shares.had("agent", job.tenant, job.agent) if depth == 1 else job.arrived


def _las(job: Job, depth: int, shares: Shares) -> Rank:
    return job.arrived + shares.settings.aging * shares.level(job.program)


def _deadline(job: Job, depth: int, shares: Shares) -> Rank:
    return job.deadline


def _alone(job: Job) -> tuple[Hashable, ...]:
    return ()


POLICIES = {
    # First come, first served (Silberschatz, Galvin, Gagne: Operating System Concepts, ch. 5).
    "fifo": SchedulingPolicy(_alone, _arrived),
    # Priorities with linear aging (the same, ch. 5.3.4): a nice step is overtaken by `aging` seconds of waiting.
    "priority": SchedulingPolicy(_alone, _priority, lambda settings: 0.0),
    # Weighted virtual token counters, of tenants and within each of its agents (Sheng et al.: Fairness in Serving
    # Large Language Models, OSDI 2024).
    "fair": SchedulingPolicy(lambda job: (job.tenant, job.agent), _fair, lambda settings: MADE * settings.quantum),
    # Least attained service of the whole program, in levels (Luo et al.: Autellix, arXiv 2502.13965), with aging.
    # The longer a program is, the longer its slices: it is then taken off less often (Corbato et al. 1962). Those of
    # one level take no turns, which would only make all of them late: half a level is the least that is gained.
    "las": SchedulingPolicy(
        lambda job: (job.program,),
        _las,
        lambda settings: settings.aging / 2,
        slices=lambda job, shares: 4 ** min(2, shares.level(job.program)),
    ),
    # Earliest deadline first (Liu and Layland 1973); what would be late anyway is refused.
    "deadline": SchedulingPolicy(_alone, _deadline, lambda settings: 0.0, refuses=True),
}


class Line:
    """Waiting jobs in the order of a policy: a heap of groups, each with a heap of its own.

    A group's rank grows when one of its jobs is served, which is noticed when the group comes to the top. So finding
    the first of n jobs takes O(log n), however many sharers change between.
    """

    def __init__(self, policy: SchedulingPolicy, shares: Shares, depth: int = 0) -> None:
        self._policy, self._shares, self._depth = policy, shares, depth
        self._groups: dict[Hashable, Line | Job] = {}
        self._ranks: dict[Hashable, Rank] = {}  # of each group's valid entry in the heap
        self._heap: list[tuple[Rank, int, Hashable]] = []

    def add(self, job: Job) -> None:
        """Put a job in."""
        path = self._policy.path(job)
        if self._depth == len(path):
            self._groups[job.number] = job
            self._push(job, job.number)
            return
        name = path[self._depth]
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Line(self._policy, self._shares, self._depth + 1)
        assert isinstance(group, Line)
        group.add(job)
        self._push(job, name)

    def _push(self, job: Job, name: Hashable) -> None:
        """Enter a group; one that has a better entry already keeps it."""
        rank = self._policy.rank(job, self._depth, self._shares)
        if rank < self._ranks.get(name, math.inf) or name not in self._ranks:
            self._ranks[name] = rank
            heapq.heappush(self._heap, (rank, job.number, name))

    def first(self) -> Job | None:
        """The job that goes next, left in."""
        while self._heap:
            rank, _, name = self._heap[0]
            if self._ranks.get(name) != rank:  # a better entry of the group came later, and is gone
                heapq.heappop(self._heap)
                continue
            group = self._groups.get(name)
            job = group.first() if isinstance(group, Line) else group
            if job is None:
                heapq.heappop(self._heap)
                self._groups.pop(name, None)
                del self._ranks[name]
                continue
            current = self._policy.rank(job, self._depth, self._shares)
            if current <= rank:
                return job
            self._ranks[name] = current
            heapq.heapreplace(self._heap, (current, job.number, name))
        return None

    def discard(self, job: Job) -> None:
        """Take a job out. Its entries in the heaps go when they come to the top."""
        path = self._policy.path(job)
        if self._depth == len(path):
            self._groups.pop(job.number, None)
        elif isinstance(group := self._groups.get(path[self._depth]), Line):
            group.discard(job)


@dataclass(slots=True)
class Bucket:
    """A tenant's quota: `rate` tokens a minute, saved up for one minute at most. Below zero it owes."""

    rate: int
    level: float
    at: float

    def refill(self, now: float) -> None:
        """Add what came since the last time."""
        self.level = min(self.rate, self.level + self.rate * (now - self.at) / 60)
        self.at = now


@dataclass(slots=True)
class Moves:
    """What to do now: put these on, tell these to give their place back, refuse these; look again `at` that time."""

    admit: list[Job] = field(default_factory=list)
    preempt: list[Job] = field(default_factory=list)
    refuse: list[Job] = field(default_factory=list)
    at: float | None = None


class Scheduler:
    """One engine's places: who holds them, who waits, who is over quota. Tell it what happened, then `decide`.

    An idle place never waits: while a job within its quota waits, every place is taken (unless the first in line wants
    several together, which are then kept for it).
    """

    def __init__(self, settings: SchedulerSettings, places: int) -> None:
        self.settings, self.places = settings, places
        self.policy = POLICIES[settings.policy]
        self.shares = Shares(settings)
        self.running: dict[int, Job] = {}
        self.taken = 0  # places of those that run
        self.waiting: dict[int, Job] = {}  # in a line, called, or held
        self._called: list[Job] = []  # next: somebody was told to make room for them
        self._held: dict[str, dict[int, Job]] = {}  # by tenants that are over their quota
        self._lines: dict[str | None, Line] = {}
        self._buckets = {tenant: Bucket(rate, rate, 0.0) for tenant, rate in settings.quotas.items()}
        self._adapter: str | None = None
        self._turn_ends = 0.0

    def arrive(self, job: Job, now: float) -> None:
        """A call came."""
        self.shares.enter(job, now)
        self._wait(job)

    def walk_in(self, job: Job, now: float) -> bool:
        """Put a call that came on at once, where nobody waits, no quota counts and there is room; else it `arrive`s."""
        if self.waiting or self._buckets or self._called or self.taken + job.places > self.places:
            return False
        if self.policy.refuses and now + job.wanted * self.shares.pace > job.deadline:
            return False
        self.shares.enter(job, now)
        self._run(job, now)
        return True

    def vacate(self, job: Job) -> None:
        """A job gave its place back and waits again."""
        del self.running[job.number]
        self.taken -= job.places
        job.leaving, job.slice = False, 0
        self._wait(job)

    def leave(self, job: Job, now: float) -> None:
        """A job ended, wherever it was: served, refused, cancelled, or its engine died."""
        self.shares.leave(job, now)
        if self.running.pop(job.number, None) is not None:
            self.taken -= job.places
        elif job.number in self.waiting:
            self._take(job)

    def charge(self, job: Job, read: int, made: int) -> None:
        """The engine read and made tokens for a job."""
        self.shares.charge(job, read, made)
        job.read += read
        job.made += made
        job.slice += made + read / PROMPT
        if (bucket := self._buckets.get(job.tenant)) is not None:
            bucket.level -= read + made

    @property
    def idle(self) -> bool:
        """Whether there is nothing to decide: nobody waits, and no quota runs out."""
        return not self.waiting and not self._buckets

    def renice(self, job: Job, nice: int) -> None:
        """Change a job's nice value, wherever it is."""
        job.nice = nice
        if job.number in self.waiting and job not in self._called:
            self._take(job)
            self._wait(job)

    def overview(self, now: float, most: int) -> dict[str, Json]:
        """How it stands, with the first `most` waiting jobs in the policy's order."""
        queue = heapq.nsmallest(most, self.waiting.values(), key=self._place)
        return {
            "policy": self.settings.policy, "running": len(self.running), "waiting": len(self.waiting),
            "held": sum(map(len, self._held.values())),
            "quotas": {tenant: {"level": b.level, "rate": b.rate} for tenant, b in self._buckets.items()},
            "queue": [
                {
                    "pid": job.pid, "agent": job.agent, "tenant": job.tenant, "nice": job.nice,
                    "waited": now - job.since + job.waited, "attained": self.shares.had("program", job.program),
                    "level": self.shares.level(job.program),
                }
                for job in queue
            ],
        }  # fmt: skip

    def _place(self, job: Job) -> tuple[bool, list[Rank], int]:
        ranks = [self.policy.rank(job, depth, self.shares) for depth in range(len(self.policy.path(job)) + 1)]
        return job.tenant in self._held, ranks, job.number

    def decide(self, now: float) -> Moves:
        """Fill free places, then have those give way who should, each for one who has more right to the place."""
        moves = Moves()
        self._hold(now, moves)
        room = _Room(self)
        while self._called and self._called[0].places <= room.free:
            room.claimed -= self._called[0].places
            self._put_on(self._called[0], now, room, moves)
        while (job := self._first(now)) is not None:
            if self.policy.refuses and now + (job.wanted - job.made) * self.shares.pace > job.deadline:
                self._take(job)
                moves.refuse.append(job)
            elif job.places <= room.free - room.claimed or not (self.running or self._called):
                self._put_on(job, now, room, moves)
            elif not self._make_room(job, room, moves):
                break
        return moves

    def _make_room(self, job: Job, room: _Room, moves: Moves) -> bool:
        """Have others give way to a job that waits; False where it has to wait for what comes by itself."""
        room.count()
        short = job.places - (room.free + room.leaving - room.claimed)
        victims = []
        for victim in self._victims(job):
            if short > 0:
                victims.append(victim)
                short -= victim.places
        if short > 0 or not victims:
            return False
        for victim in victims:
            victim.leaving = True
            room.leaving += victim.places
        moves.preempt += victims
        self._take(job)
        self.waiting[job.number] = job
        self._called.append(job)
        room.claimed += job.places
        return True

    def _put_on(self, job: Job, now: float, room: _Room, moves: Moves) -> None:
        self._take(job)
        room.free -= job.places
        self._run(job, now)
        moves.admit.append(job)

    def _run(self, job: Job, now: float) -> None:
        self.running[job.number] = job
        self.taken += job.places
        self.shares.start(job)
        job.quantum = self.settings.quantum * self.policy.slices(job, self.shares)
        job.first = now if job.first is None else job.first
        if job.adapter != self._adapter:
            self._adapter, self._turn_ends = job.adapter, now + self.settings.adapter_turn

    def _wait(self, job: Job) -> None:
        self.waiting[job.number] = job
        if job.tenant in self._held:
            self._held[job.tenant][job.number] = job
            return
        if job.adapter not in self._lines:
            self._lines[job.adapter] = Line(self.policy, self.shares)
        self._lines[job.adapter].add(job)

    def _take(self, job: Job) -> None:
        del self.waiting[job.number]
        if job in self._called:
            self._called.remove(job)
        elif self._held.get(job.tenant, {}).pop(job.number, None) is None:
            self._lines[job.adapter].discard(job)

    def _rank(self, job: Job) -> Rank:
        return self.policy.rank(job, 0, self.shares)

    def _first(self, now: float) -> Job | None:
        """The first of all lines; within its turn that of the adapter in use, whose calls share a batch."""
        line = self._lines.get(self._adapter)
        if now < self._turn_ends and line is not None and (job := line.first()) is not None:
            return job
        heads = [job for line in self._lines.values() if (job := line.first()) is not None]
        return heads[0] if len(heads) == 1 else min(heads, key=lambda job: (self._rank(job), job.number), default=None)

    def _victims(self, job: Job) -> list[Job]:
        """Who should give way to a waiting job: those who had their quantum, the last in the policy's order first."""
        due = [j for j in self.running.values() if j.slice >= j.quantum and j.movable and not j.leaving]
        if self.policy.gain is None or not due:
            return []
        gain = self.policy.gain(self.settings)
        ranks = [(self._rank(j), j.number, j) for j in due if self._gains(job, j, gain)]
        return [each for _, _, each in sorted(ranks, reverse=True)]

    def _gains(self, job: Job, running: Job, gain: float) -> bool:
        """Whether a waiting job has clearly more right to a place, where the two first belong to different groups."""
        mine, other = self.policy.path(job), self.policy.path(running)
        depth = next((at for at, (a, b) in enumerate(zip(mine, other, strict=True)) if a != b), len(mine))
        if depth and depth == len(mine):
            return False  # of one group, who runs goes on
        rank = self.policy.rank
        return rank(job, depth, self.shares) + gain < rank(running, depth, self.shares)

    def _hold(self, now: float, moves: Moves) -> None:
        """Keep the jobs of tenants that are over their quota out of line until it has been refilled."""
        for tenant, bucket in self._buckets.items():
            bucket.refill(now)
            if bucket.level > 0:
                for job in self._held.pop(tenant, {}).values():
                    self._wait(job)
                continue
            if tenant not in self._held:
                jobs = [job for job in self.waiting.values() if job.tenant == tenant]
                for job in jobs:
                    self._take(job)
                self._held[tenant] = {}
                for job in jobs:
                    self._wait(job)
            for job in self.running.values():
                if job.tenant == tenant and job.movable and not job.leaving:
                    job.leaving = True
                    moves.preempt.append(job)
            again = now + 60 * (1 - bucket.level) / bucket.rate
            moves.at = min(again, moves.at or again)


class _Room:
    """Places while moves are chosen: free now, about to be given back, and claimed by jobs that were called."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.free = scheduler.places - scheduler.taken
        self.claimed = sum(job.places for job in scheduler._called)
        self.leaving = -1  # not counted yet: where everybody finds a place nobody asks
        self._running = scheduler.running

    def count(self) -> None:
        """Count what is about to be given back, once it matters."""
        if self.leaving < 0:
            self.leaving = sum(job.places for job in self._running.values() if job.leaving)
