"""Anomalies that only statistics say: a turn is held against those before, once the rows of its calls are committed.

A count far above those of earlier turns, or a sequence of tools that this agent hardly ever makes, is noted for a
person to look at; where the settings say so the turn is slowed or paused. Who stays within an agent's habits is not
seen, and who changes them slowly is learned. It reads the feed, so the calls wait for nothing of it.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from statistics import median
from typing import Any, NamedTuple, TypeVar, get_args
from urllib.parse import urlsplit

from ..core import codec
from ..core.errors import JournalDamaged, NotFound, PermissionDenied
from ..core.records import Json, Meaning, Traits, repeats
from ..core.values import leaves
from ..kernel.journal import ENDS, Row
from ..kernel.process import Process
from .anomaly import LABEL, MOST, Action, Anomalies, Anomaly, AnomalySettings, Feature, agent_of, over

T = TypeVar("T")

BEFORE: tuple[Feature, ...] = ("calls", "again", "places", "odd")
AFTER: tuple[Feature, ...] = ("tokens", "largest", "errors", "refusals", "odd")
TENANTS: tuple[Feature, ...] = ("calls", "places", "tokens", "errors", "refusals")  # counted by the minute, and noted
KEPT, EVERY, WEIGHT = 128, 8, 0.05  # turns in the window; between two looks at it; of a turn in the moving average
LEAST = 0.35  # the least spread of log(1 + count): where nothing ever varied, one more is no miracle
TOOLS, PLACES = 64, 512  # of an agent's habits
SLACK = 1.0  # nats over the usual that a step may surprise before they are summed up
START, ROW = "", 4
LARGE, HUGE = 2.0, 4.0  # z-scores of a step's size


class Baseline:
    """What a count came to in earlier turns, as log(1 + count), for lengths have heavy tails."""

    def __init__(self) -> None:
        self._window: deque[float] = deque(maxlen=KEPT)
        self._seen = 0
        self._mean = self._variance = self._center = 0.0
        self._deviation = self._spread = LEAST

    def add(self, count: float) -> None:
        """Learn a finished turn."""
        value = math.log1p(count)
        self._window.append(value)
        self._seen += 1
        widest = 3 * self._deviation if self._seen > EVERY else math.inf
        weight, off = max(WEIGHT, 1 / self._seen), min(max(value - self._mean, -widest), widest)  # nor move this far
        self._mean += weight * off
        self._variance = (1 - weight) * (self._variance + weight * off * off)
        self._deviation = max(math.sqrt(self._variance), LEAST)
        if self._seen % EVERY == 1:  # sorting takes longer than all the rest
            self._center = median(self._window)
            self._spread = max(1.4826 * median([abs(each - self._center) for each in self._window]), LEAST)

    def z(self, count: float) -> float:
        """How far a count lies above the ordinary: the smaller of two scores.

        One by an exponentially weighted mean and variance (EWMA; Roberts 1959), which follows habits that change; one
        by median and MAD (Iglewicz and Hoaglin 1993), which a few odd turns do not move.
        """
        value = math.log1p(count)
        return min((value - self._mean) / self._deviation, (value - self._center) / self._spread)


class Step(NamedTuple):
    """A tool call or a generation: its size (bytes of arguments, tokens), and what else may be odd about it."""

    tool: str
    size: int
    again: bool = False
    fresh: bool = False  # it goes where nothing went before


class Habits:
    """Which step follows which (a first-order Markov chain over tools), what steps are like, and where they go to."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], int] = {}
        self._after: dict[str, int] = {}
        self._tools: dict[str, int] = {}
        self._steps = 0
        self._like: dict[tuple[str, str, object], int] = {}
        self._sizes: dict[str, Baseline] = {}
        self._places: OrderedDict[str, None] = OrderedDict()
        self.usual = SLACK  # mean surprise of a step, nats

    def known(self, place: str) -> bool:
        """Whether something went there before."""
        return place in self._places

    def surprise(self, before: str, step: Step) -> tuple[float, float, float]:
        """How surprising it is in nats that this tool comes now, that it is called again, and that all is as it is.

        What comes now is smoothed by how common the tool is alone, what a step is like by half a case.
        """
        tool = step.tool
        seen = self._tools.get(tool, 0)
        alone = (seen + 0.5) / (self._steps + 0.5 * len(self._tools) + 0.5)
        follows = -math.log((self._pairs.get((before, tool), 0) + 2 * alone) / (self._after.get(before, 0) + 2))
        again, *rest = [-math.log((self._like.get(each, 0) + 0.5) / (seen + 1)) for each in self._is(step)]
        return follows, again, follows + again + sum(rest)

    def _is(self, step: Step) -> tuple[tuple[str, str, object], ...]:
        tool, sizes = step.tool, self._sizes.get(step.tool)
        z = sizes.z(step.size) if sizes is not None else 0.0
        return (tool, "again", step.again), (tool, "fresh", step.fresh), (tool, "size", (z >= LARGE) + (z >= HUGE))

    def learn(self, steps: Sequence[Step], places: Iterable[str], nats: float) -> None:
        """Take in the steps of a turn, and how much they surprised in all."""
        before, row = START, 0
        for step in steps:
            tool = step.tool
            if tool in self._tools or len(self._tools) < TOOLS:
                for each in self._is(step):
                    _count(self._like, each)
                _count(self._pairs, (before, tool))
                _count(self._after, before)
                _count(self._tools, tool)
                self._steps += 1
                if tool not in self._sizes:
                    self._sizes[tool] = Baseline()
                self._sizes[tool].add(step.size)
            before, row = _state(before, row, tool)
        _count(self._after, before)  # nothing came after it
        if steps:
            self.usual += WEIGHT * (nats / len(steps) - self.usual)
        for place in places:
            self._places[place] = None
            self._places.move_to_end(place)
        while len(self._places) > PLACES:
            self._places.popitem(last=False)


def _count(counts: dict[T, int], key: T) -> None:
    counts[key] = counts.get(key, 0) + 1


class Profile:
    """What is known of an agent, or of a tenant."""

    def __init__(self) -> None:
        self.turns = 0
        self.habits = Habits()
        self.baselines: dict[Feature, Baseline] = {each: Baseline() for each in get_args(Feature) if each != "odd"}

    def learn(self, stretch: Stretch) -> None:
        """Take in a turn that is over, unless it was stopped."""
        if not stretch.stopped:
            for feature, baseline in self.baselines.items():
                baseline.add(stretch.counts[feature])
            self.habits.learn(stretch.steps, stretch.places, stretch.nats)
            self.turns += 1


class Stretch:
    """What happened so far in a turn of a process, or in a minute of a tenant."""

    def __init__(self, profile: Profile, number: int, agent: str = "", shared: bool = False) -> None:
        """`shared`: the steps of many processes come in between each other; that is noted at most."""
        self.profile, self.number, self.agent, self._shared = profile, number, agent, shared
        self.counts: dict[Feature, float] = dict.fromkeys(get_args(Feature), 0)
        self.steps: list[Step] = []
        self.places: set[str] = set()
        self.nats = self._sum = self._streak = self._loop = 0.0
        self._before, self._alike, self._row = START, 0, 0
        self.stopped = False
        self.told: dict[str, Action] = {}

    def begins(self, tool: str, size: int, times: int, places: Set[str]) -> None:
        """Count a tool call of so many bytes, made `times` times before in its turn, that goes to `places`."""
        counts = self.counts
        self._row = self._row + 1 if times else 0
        fresh = sum(not self.profile.habits.known(place) for place in places - self.places) if places else 0
        self.places |= places
        counts["calls"] += 1
        counts["again"] = max(counts["again"], self._row)
        counts["places"] += fresh
        if not self._shared:
            self._step(Step(tool, size, times > 0, fresh > 0))

    def ends(self, row: Row, failure: str | None) -> None:
        """Count what a call came to; `failure` is the type of its error."""
        tokens, counts = row.input_tokens + row.output_tokens, self.counts
        if tokens:
            counts["tokens"] += tokens
            counts["largest"] = max(counts["largest"], tokens)
            if not self._shared:
                self._step(Step("generate", row.output_tokens))
        if failure is not None:
            counts["refusals" if failure == PermissionDenied.__name__ else "errors"] += 1

    def _step(self, step: Step) -> None:
        """Sum up what surprises more than usual (CUSUM; Page 1954), and how unlikely a row of the like is."""
        follows, again, nats = self.profile.habits.surprise(self._before, step)
        self._before, self._alike = _state(self._before, self._alike, step.tool)
        self._sum = max(0.0, self._sum + nats - self.profile.habits.usual - SLACK)
        self._streak = self._streak + follows if self._alike > 1 else 0.0
        self._loop = self._loop + again if step.again else 0.0
        self.counts["odd"] = max(self.counts["odd"], self._sum, self._streak, self._loop)
        self.nats += nats
        self.steps.append(step)

    def judge(self, settings: AnomalySettings, features: Sequence[Feature]) -> Anomaly | None:
        """The gravest thing to say about some counts as they are; what was said of one is not said again."""
        if self.profile.turns < settings.warm and (self._shared or settings.most.keys() <= MOST.keys()):
            return None
        worst: Anomaly | None = None
        for feature in features:
            if self.counts[feature] and (not self._shared or feature in TENANTS):
                found = self._judged(feature, settings)
                worst = found if _rank(found) > _rank(worst) else worst
        if worst is not None:
            self.told[worst.cause] = worst.action
            self.stopped |= worst.stops
        return worst

    def _judged(self, feature: Feature, settings: AnomalySettings) -> Anomaly | None:
        count, told = self.counts[feature], self.told.get(feature)
        if told == "pause":  # somebody looked, and let it go on
            return None
        if not self._shared and feature not in MOST and count > settings.most.get(feature, math.inf):
            return over(feature, count, settings.most[feature])
        if self.profile.turns < settings.warm:
            return None
        # a sequence that happens once in e^n times weighs as a z-score of sqrt(2n)
        z = math.sqrt(2 * count) if feature == "odd" else self.profile.baselines[feature].z(count)
        action: Action
        if not self._shared and settings.pause is not None and z >= settings.pause:
            action = "pause"
        elif not self._shared and settings.slow is not None and z >= settings.slow and told != "slow":
            action = "slow"
        elif z >= settings.note and told is None:
            action = "note"
        else:
            return None
        return Anomaly(action, feature, f"{feature} {count:.4g} is unusual (z {z:.1f})")


class Statistics:
    """A reader of the feed. It learns anew after each start, and tells `watch` what it finds.

    `traits` says what a tool declares, `find` a process by its pid, `unpack` what a packed value holds; `when` dates a
    row (seconds since the epoch).
    """

    def __init__(
        self, watch: Anomalies, traits: Callable[[str], Traits], find: Callable[[int], Process | None],
        unpack: Callable[[bytes | None], Any], when: Callable[[Row], float] = lambda row: row.started + row.seconds,
    ) -> None:  # fmt: skip
        self._watch, self._settings = watch, watch.settings
        self._traits, self._find, self._unpack, self._when = traits, find, unpack, when
        self._profiles: OrderedDict[tuple[str, ...], Profile] = OrderedDict()
        self._turns: dict[int, Stretch] = {}
        self._minutes: dict[tuple[str, ...], Stretch] = {}

    def take(self, rows: Iterable[Row]) -> None:
        """Take in rows in the order in which they were committed."""
        for row in rows:
            if row.name in ENDS:
                self._close(row.pid)
            elif row.name in self._watch.calls:
                self._call(row)

    def _call(self, row: Row) -> None:
        turn, tenant = self._turn(row), self._minute(row)
        stretches = (tenant,) if turn is None else (turn, tenant)
        if row.name == "call":
            asked = self._read(row.args)
            tool, arguments = asked.get("tool", ""), asked.get("arguments", {})  # an erased row has neither
            size, times, places = len(codec.dumps(arguments)), repeats(row.key), _places(arguments, self._traits(tool))
            for stretch in stretches:
                stretch.begins(tool, size, times, places)
        if _stopped(row):
            if turn is not None:
                turn.stopped = True
            return
        if row.name == "call":
            self._judge(row, turn, stretches, BEFORE)
        failure = str(self._read(row.error).get("type", "")) if row.outcome == "error" else None
        if failure is not None or row.output_tokens:
            for stretch in stretches:
                stretch.ends(row, failure)
            self._judge(row, turn, stretches, AFTER)

    def _judge(self, row: Row, turn: Stretch | None, stretches: Sequence[Stretch], features: Sequence[Feature]) -> None:
        found = max((stretch.judge(self._settings, features) for stretch in stretches), key=_rank)
        if found is not None:
            self._watch.report(found, row.tenant, turn.agent if turn is not None else "", row.pid, row.turn)

    def _read(self, packed: bytes | None) -> Mapping[str, Any]:
        """What a column holds; nothing where that was erased or is damaged."""
        try:
            return self._unpack(packed) or {}
        except (NotFound, JournalDamaged):
            return {}

    def _turn(self, row: Row) -> Stretch | None:
        """The turn that a call belongs to; those of services belong to none."""
        stretch = self._turns.get(row.pid)
        if stretch is None or stretch.number != row.turn:
            self._close(row.pid)
            agent = self._agent(row)
            if agent is None:
                return None
            stretch = self._turns[row.pid] = Stretch(self._profile((row.tenant, agent)), row.turn, agent)
        return stretch

    def _agent(self, row: Row) -> str | None:
        """Whose habits a call belongs to; a service's are nobody's. Where its row does not tell, its process does."""
        definition = codec.loads(row.decision).get("definition") if row.decision else None
        if definition is not None:
            return str(definition).rpartition("@")[0]
        process = self._find(row.pid)
        agent = None if process is None or process.program == "service" else agent_of(process)
        return None if "~" in (agent or "") else agent  # for one step: it has no habits, and would push out who has

    def _close(self, pid: int) -> None:
        if (stretch := self._turns.pop(pid, None)) is not None:
            stretch.profile.learn(stretch)

    def _minute(self, row: Row) -> Stretch:
        """The minute of a tenant."""
        key, minute = (row.tenant,), int(self._when(row) / 60)
        stretch, profile = self._minutes.get(key), self._profile(key)
        if stretch is None or stretch.number < minute:
            if stretch is not None:
                profile.learn(stretch)
            stretch = self._minutes[key] = Stretch(profile, minute, shared=True)
        return stretch

    def _profile(self, key: tuple[str, ...]) -> Profile:
        """What is known of an agent or tenant; who was not seen longest makes room for a new one."""
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = Profile()
            if len(self._profiles) > self._settings.profiles:
                gone, _ = self._profiles.popitem(last=False)
                self._minutes.pop(gone, None)
        self._profiles.move_to_end(key)
        return profile


def _stopped(row: Row) -> bool:
    """Whether the filter stopped a call, or its process after it."""
    return f'"{LABEL}' in (row.labels or "") and any(each.startswith(LABEL) for each in codec.loads(row.labels or "[]"))


def _rank(found: Anomaly | None) -> int:
    return 0 if found is None else 1 + ("note", "slow", "pause", "quarantine").index(found.action)


def _state(before: str, row: int, tool: str) -> tuple[str, int]:
    """What a chain remembers of its last step: the tool, and how often in a row (up to `ROW`); and that number."""
    row = row + 1 if before.rpartition(" ")[0] == tool else 1
    return f"{tool} {min(row, ROW)}", row


def _places(arguments: Mapping[str, Json], traits: Traits) -> Set[str]:
    """The recipients and hosts that a call goes to."""
    return {
        _place(each, meaning)
        for name, meaning in traits.meanings.items()
        if meaning in ("recipient", "url") and name in arguments
        for each in leaves(arguments[name])
    }


def _place(text: str, meaning: Meaning) -> str:
    text = text.strip().casefold()[:200]
    with suppress(ValueError):  # no URL
        text = (urlsplit(text).hostname if meaning == "url" else None) or text
    return text
