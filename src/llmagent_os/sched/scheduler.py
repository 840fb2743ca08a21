"""Who gets an engine next, and who gives it back: one pure scheduler an engine, by one of the policies.

Nothing here waits, and the time is an argument: the kernel's dispatcher and the simulator drive the same code.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from dataclasses import dataclass, field

from ..core.records import Json
from .policies import POLICIES, PROMPT, Job, Rank, SchedulerSettings, SchedulingPolicy, Shares


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
