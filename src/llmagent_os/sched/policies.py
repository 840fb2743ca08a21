"""What an order of service is made of: calls that want an engine, what everybody has had of it, and the policies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

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
    prompt: int = 0  # its tokens; 0: not known
    movable: bool = True

    read: int = 0
    there: int = 0  # tokens of the prompt and the answer that lie on the engine, read or found there
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
