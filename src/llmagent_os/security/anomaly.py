"""Anomalies: who does other than they always did, and what is done about it.

What can be said exactly stops an agent: a planted string (canary) or a key on its way out, more of something in one
turn than the limits allow. What only statistics say is noted, for a person to look at: a count far above those of
earlier turns, or a sequence of tools that this agent hardly ever makes. This is telemetry, not the boundary: who stays
within an agent's habits is not seen, and who changes them slowly is learned (the boundary is `policy`).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import time
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from ..core import codec
from ..core.errors import Conflict, LLMAgentOSError, PermissionDenied, not_found
from ..core.ports import Proceed, Records
from ..core.records import Call, Json, Traits, owned, owner_of
from ..kernel.process import Process
from .labels import definition, leaves
from .recognisers import keys

log = logging.getLogger(__name__)

Action = Literal["note", "slow", "pause", "quarantine"]
Feature = Literal["calls", "again", "places", "odd", "tokens", "largest", "errors", "refusals"]
"""What is counted in a turn: tool calls; those in a row that were all made before, with the same arguments; recipients
and hosts never seen before; how odd the sequence of steps is (nats, see `Habits`); tokens, and those of the largest
generation; calls that failed, and that were refused."""

SPACE = "quarantine"
MOST: Mapping[Feature, float] = {
    "calls": 300, "again": 20, "tokens": 2_000_000, "largest": 100_000, "errors": 100, "refusals": 30
}  # fmt: skip
"""What one turn may come to where nothing else is configured: far more than work takes, less than a night's loop."""
BEFORE: tuple[Feature, ...] = ("calls", "again", "places", "odd")
AFTER: tuple[Feature, ...] = ("tokens", "largest", "errors", "refusals", "odd")
TENANTS: tuple[Feature, ...] = ("calls", "places", "tokens", "errors", "refusals")  # counted by the minute, and noted
KEPT, EVERY, WEIGHT = 128, 8, 0.05  # turns in the window; between two looks at it; of a turn in the moving average
LEAST = 0.35  # the least spread of log(1 + count): where nothing ever varied, one more is no miracle
TOOLS, PLACES, LATELY = 64, 512, 200  # of an agent's habits; verdicts that are kept to be shown
SLACK = 1.0  # nats over the usual that a step may surprise before they are summed up
START, ROW = "", 4
LARGE, HUGE = 2.0, 4.0  # z-scores of a step's size


@dataclass(frozen=True, slots=True)
class Settings:
    """How anomalies are judged. Nothing may send out one of `canaries`, nor, with `keys`, what looks like a secret key.

    `most` is what one turn may come to, by feature, beside `MOST`. Counts are held against earlier turns from the
    `warm`-th on: from a z-score of `note` they are noted; from `slow` each further call waits `delay` seconds; from
    `pause` the process is paused (None: never, for some of them would be innocent). `profiles` is how many agents and
    tenants are remembered.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where the configuration enters
    canaries: tuple[str, ...] = ()
    keys: bool = True
    most: Mapping[Feature, float] = field(default_factory=dict)
    note: float = 3.2
    slow: float | None = None
    pause: float | None = None
    warm: int = 30
    delay: float = 1.0
    profiles: int = 1000


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What was out of the ordinary, and what was done; `cause` is a feature, `canary`, `key` or `quarantine`."""

    action: Action
    cause: str
    reason: str


class Baseline:
    """What a count came to in earlier turns, as log(1 + count), for lengths have heavy tails."""

    def __init__(self) -> None:
        self._window: deque[float] = deque(maxlen=KEPT)
        self._seen = 0
        self._mean = self._variance = self._center = 0.0
        self._spread = LEAST

    def add(self, count: float) -> None:
        """Learn a finished turn."""
        value = math.log1p(count)
        self._window.append(value)
        self._seen += 1
        widest = 3 * max(math.sqrt(self._variance), LEAST) if self._seen > EVERY else math.inf
        weight, off = max(WEIGHT, 1 / self._seen), min(max(value - self._mean, -widest), widest)  # nor move this far
        self._mean += weight * off
        self._variance = (1 - weight) * (self._variance + weight * off * off)
        if self._seen % EVERY == 1:  # sorting takes longer than all the rest
            self._center = median(self._window)
            self._spread = max(1.4826 * median(abs(each - self._center) for each in self._window), LEAST)

    def z(self, count: float) -> float:
        """How far a count lies above the ordinary: the smaller of two scores.

        One by an exponentially weighted mean and variance (EWMA; Roberts 1959), which follows habits that change; one
        by median and MAD (Iglewicz and Hoaglin 1993), which a few odd turns do not move.
        """
        value = math.log1p(count)
        moving = (value - self._mean) / max(math.sqrt(self._variance), LEAST)
        return min(moving, (value - self._center) / self._spread)


@dataclass(frozen=True, slots=True)
class Step:
    """A tool call or a generation: its size (bytes of arguments, tokens), and what else may be odd about it."""

    tool: str
    size: int
    again: bool = False
    fresh: bool = False  # it goes where nothing went before


class Habits:
    """Which step follows which (a first-order Markov chain over tools), what steps are like, and where they go to."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._after: Counter[str] = Counter()
        self._tools: Counter[str] = Counter()
        self._steps = 0
        self._like: Counter[tuple[str, str, object]] = Counter()
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
        tool, seen = step.tool, self._tools[step.tool]
        alone = (seen + 0.5) / (self._steps + 0.5 * len(self._tools) + 0.5)
        follows = -math.log((self._pairs[before, tool] + 2 * alone) / (self._after[before] + 2))
        again, *rest = (-math.log((self._like[tool, *each] + 0.5) / (seen + 1)) for each in self._is(step))
        return follows, again, follows + again + sum(rest)

    def _is(self, step: Step) -> tuple[tuple[str, object], ...]:
        sizes = self._sizes.get(step.tool)
        z = sizes.z(step.size) if sizes is not None else 0.0
        return ("again", step.again), ("fresh", step.fresh), ("size", (z >= LARGE) + (z >= HUGE))

    def learn(self, steps: Sequence[Step], places: Iterable[str], nats: float) -> None:
        """Take in the steps of a turn, and how much they surprised in all."""
        before, row = START, 0
        for step in steps:
            tool = step.tool
            if tool in self._tools or len(self._tools) < TOOLS:
                self._like.update((tool, *each) for each in self._is(step))
                self._pairs[before, tool] += 1
                self._after[before] += 1
                self._tools[tool] += 1
                self._steps += 1
                self._sizes.setdefault(tool, Baseline()).add(step.size)
            before, row = _state(before, row, tool)
        self._after[before] += 1  # nothing came after it
        if steps:
            self.usual += WEIGHT * (nats / len(steps) - self.usual)
        for place in places:
            self._places[place] = None
            self._places.move_to_end(place)
        while len(self._places) > PLACES:
            self._places.popitem(last=False)


class Profile:
    """What is known of an agent, or of a tenant."""

    def __init__(self) -> None:
        self.turns = 0
        self.habits = Habits()
        self.baselines: dict[Feature, Baseline] = {each: Baseline() for each in get_args(Feature) if each != "odd"}

    def learn(self, span: Span) -> None:
        """Take in a turn that is over, unless it was stopped."""
        if not span.stopped:
            for feature, baseline in self.baselines.items():
                baseline.add(span.counts[feature])
            self.habits.learn(span.steps, span.places, span.nats)
            self.turns += 1


class Span:
    """What happened so far in a turn of a process, or in a minute of a tenant."""

    def __init__(self, profile: Profile, number: int, shared: bool = False) -> None:
        """`shared`: the steps of many processes come in between each other; that is noted at most."""
        self.profile, self.number, self._shared = profile, number, shared
        self.counts: dict[Feature, float] = dict.fromkeys(get_args(Feature), 0)
        self.steps: list[Step] = []
        self.places: set[str] = set()
        self.nats = self._sum = self._streak = self._loop = 0.0
        self._before, self._alike, self._row = START, 0, 0
        self.stopped = False
        self.told: dict[str, Action] = {}
        self.alive: Any = None  # ends the span with its process

    def begins(self, call: Call, traits: Traits, size: int) -> None:
        """Count a tool call that is about to be made, with so many bytes of arguments."""
        counts, habits = self.counts, self.profile.habits
        self._row = self._row + 1 if call.times else 0
        places = set(_places(call.args["arguments"], traits)) - self.places
        fresh = sum(not habits.known(place) for place in places)
        self.places |= places
        counts["calls"] += 1
        counts["again"] = max(counts["again"], self._row)
        counts["places"] += fresh
        self._step(Step(call.args["tool"], size, call.times > 0, fresh > 0))

    def ends(self, call: Call, failure: LLMAgentOSError | None) -> None:
        """Count what a call came to."""
        tokens, counts = call.cost.input_tokens + call.cost.output_tokens, self.counts
        if tokens:
            counts["tokens"] += tokens
            counts["largest"] = max(counts["largest"], tokens)
            self._step(Step("generate", call.cost.output_tokens))
        if failure is not None:
            counts["refusals" if isinstance(failure, PermissionDenied) else "errors"] += 1

    def _step(self, step: Step) -> None:
        """Sum up what surprises more than usual (CUSUM; Page 1954), and how unlikely a row of the like is."""
        if self._shared:
            return
        follows, again, nats = self.profile.habits.surprise(self._before, step)
        self._before, self._alike = _state(self._before, self._alike, step.tool)
        self._sum = max(0.0, self._sum + nats - self.profile.habits.usual - SLACK)
        self._streak = self._streak + follows if self._alike > 1 else 0.0
        self._loop = self._loop + again if step.again else 0.0
        self.counts["odd"] = max(self.counts["odd"], self._sum, self._streak, self._loop)
        self.nats += nats
        self.steps.append(step)

    def judge(self, settings: Settings, features: Sequence[Feature]) -> Anomaly | None:
        """The gravest thing to say about some counts as they are; what was said of one is not said again."""
        counted = (each for each in features if self.counts[each] and (not self._shared or each in TENANTS))
        found = [self._judged(feature, settings) for feature in counted]
        worst = max((each for each in found if each is not None), key=_rank, default=None)
        if worst is not None:
            self.told[worst.cause] = worst.action
        return worst

    def _judged(self, feature: Feature, settings: Settings) -> Anomaly | None:
        count, told = self.counts[feature], self.told.get(feature)
        most = settings.most.get(feature, MOST.get(feature, math.inf))
        if told == "pause":  # somebody looked, and let it go on
            return None
        if count > most and not self._shared:
            return Anomaly("pause", feature, f"{feature} {count:g}, over the limit of {most:g} in a turn")
        if self.profile.turns < settings.warm:
            return None
        # a stretch that happens once in e^n times weighs as a z-score of sqrt(2n)
        z = math.sqrt(2 * count) if feature == "odd" else self.profile.baselines[feature].z(count)
        action: Action
        if not self._shared and settings.pause is not None and z >= settings.pause:
            action = "pause"
        elif not self._shared and settings.slow is not None and z >= settings.slow:
            action = "slow"
        elif z >= settings.note and told is None:
            action = "note"
        else:
            return None
        return Anomaly(action, feature, f"{feature} {count:.4g} is unusual (z {z:.1f})")


class Anomalies:
    """The filter. It stands outside the gate, so that it sees what that refuses.

    `traits` says what a tool declares, `pause` holds a process, `records` keep who is in quarantine. `seen` counts
    what was done, by action and cause; `lately` holds the last of it.
    """

    def __init__(
        self, settings: Settings, traits: Callable[[str], Traits], pause: Callable[[int], Awaitable[None]],
        records: Records, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.settings, self._traits, self._pause = settings, traits, pause
        self._records, self._clock = records, clock
        self._profiles: OrderedDict[tuple[str, ...], Profile] = OrderedDict()
        self._turns: dict[int, Span] = {}
        self._minutes: dict[tuple[str, ...], Span] = {}
        self._canaries = [form for canary in settings.canaries for form in _forms(canary)]
        held = {name: str(reason) for name, (_, reason) in records.list(SPACE).items()}
        self._held = {(owner_of(name), name.rpartition("/")[2]): reason for name, reason in held.items()}
        self.seen: Counter[tuple[str, str]] = Counter()
        self.lately: deque[dict[str, Json]] = deque(maxlen=LATELY)

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Let a call proceed, or raise PermissionDenied; the process is then paused until somebody has looked."""
        if call.name not in ("call", "generate", "send"):
            return await proceed(call)
        agent, traits, data = _agent(process), Traits(), b""
        if call.name == "call":
            traits, data = self._traits(call.args["tool"]), codec.dumps(call.args["arguments"])
        elif call.name == "send":
            data = codec.dumps(call.args["body"]) if self._canaries else b""
        spans = self._spans(call, process, agent)
        found = self._exact(call, agent, traits, data)
        if call.name == "call":
            for span in spans:
                span.begins(call, traits, len(data))
            found = max((found, *(span.judge(self.settings, BEFORE) for span in spans)), key=_rank)
        if found is not None:
            await self._act(found, call, process, agent)
            if found.action in ("pause", "quarantine"):
                text = f"stopped: {found.reason}; look at `logs {call.pid}`, then {_way_on(found, process, agent)}"
                raise PermissionDenied(text, anomaly=found.cause, pid=call.pid)
        failure: LLMAgentOSError | None = None
        try:
            return await proceed(call)
        except LLMAgentOSError as error:
            failure = error
            raise
        finally:
            if failure is not None or call.cost.output_tokens:
                await self._after(call, process, agent, spans, failure)

    async def _after(
        self, call: Call, process: Process, agent: str, spans: Sequence[Span], failure: LLMAgentOSError | None
    ) -> None:
        for span in spans:
            span.ends(call, failure)
        found = max((span.judge(self.settings, AFTER) for span in spans), key=_rank)
        if found is not None:
            await self._act(found, call, process, agent)

    def quarantined(self, tenant: str) -> dict[str, str]:
        """The agents of a tenant that may do nothing, and why."""
        return {agent: reason for (owner, agent), reason in self._held.items() if owner == tenant}

    def quarantine(self, tenant: str, agent: str, reason: str) -> None:
        """Let no process of an agent call a tool or send a message, until it is released."""
        self._held[tenant, agent] = reason
        self._records.put(SPACE, owned(tenant, agent), reason)

    def release(self, tenant: str, agent: str) -> None:
        """End a quarantine; its processes stay paused until they are resumed. Raises NotFound."""
        if self._held.pop((tenant, agent), None) is None:
            raise not_found("quarantine", agent, self.quarantined(tenant))
        self._records.drop(SPACE, owned(tenant, agent))

    def _exact(self, call: Call, agent: str, traits: Traits, data: bytes) -> Anomaly | None:
        """What needs no statistics."""
        if self._held and call.name != "generate":
            reason = self._held.get((call.tenant, agent))
            if reason is not None:
                return Anomaly("pause", "quarantine", f"{agent} is in quarantine ({reason})")
        if any(form in data for form in self._canaries):
            return Anomaly("quarantine", "canary", "a planted string that nothing may send was about to go out")
        if call.name == "call" and self.settings.keys and traits.effect == "external" and keys(data.decode()):
            return Anomaly("pause", "key", f"what {call.args['tool']} was to send looks like a secret key")
        return None

    async def _act(self, found: Anomaly, call: Call, process: Process, agent: str) -> None:
        call.labels += (f"anomaly:{found.cause}",)
        self.seen[found.action, found.cause] += 1
        self.lately.append({
            "at": self._clock(), "tenant": call.tenant, "agent": agent, "pid": call.pid, "action": found.action,
            "cause": found.cause, "reason": found.reason,
        })  # fmt: skip
        log.warning("%s: process %d (%s): %s", found.action, call.pid, agent, found.reason)
        if found.action == "slow":
            await asyncio.sleep(self.settings.delay)
        if found.action == "quarantine":
            self.quarantine(call.tenant, agent, found.reason)
        if found.action in ("pause", "quarantine") and process.service is None:
            if (span := self._turns.get(call.pid)) is not None:
                span.stopped = True
            with suppress(Conflict):  # paused already
                await self._pause(call.pid)
                process.reason = found.reason

    def _spans(self, call: Call, process: Process, agent: str) -> tuple[Span, ...]:
        """What a call belongs to: the turn of its process, and the minute of its tenant."""
        tenant = self._minute((call.tenant,), int(self._clock() / 60))
        if process.service is not None:
            return (tenant,)
        span = self._turns.get(call.pid)
        if span is None or span.number != process.turn:
            self._close(call.pid)
            span = self._turns[call.pid] = Span(self._profile((call.tenant, agent)), process.turn)
            pid = call.pid  # not the call, whose arguments may be large
            span.alive = weakref.ref(process, lambda _: self._close(pid))  # parked, or ended
        return span, tenant

    def _close(self, pid: int) -> None:
        if (span := self._turns.pop(pid, None)) is not None:
            span.profile.learn(span)

    def _minute(self, key: tuple[str, ...], minute: int) -> Span:
        span, profile = self._minutes.get(key), self._profile(key)
        if span is None or span.number != minute:
            if span is not None:
                profile.learn(span)
            span = self._minutes[key] = Span(profile, minute, shared=True)
        return span

    def _profile(self, key: tuple[str, ...]) -> Profile:
        """What is known of an agent or tenant; who was not seen longest makes room for a new one."""
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = Profile()
            if len(self._profiles) > self.settings.profiles:
                gone, _ = self._profiles.popitem(last=False)
                self._minutes.pop(gone, None)
        self._profiles.move_to_end(key)
        return profile


def _rank(found: Anomaly | None) -> int:
    return 0 if found is None else 1 + ("note", "slow", "pause", "quarantine").index(found.action)


def _state(before: str, row: int, tool: str) -> tuple[str, int]:
    """What a chain remembers of its last step: the tool, and how often in a row (up to `ROW`); and that number."""
    row = row + 1 if before.rpartition(" ")[0] == tool else 1
    return f"{tool} {min(row, ROW)}", row


def _way_on(found: Anomaly, process: Process, agent: str) -> str:
    if process.service is not None:
        return "ask again without it"
    lifted = found.cause in ("canary", "quarantine")
    return (f"`anomalies release {agent}` and " if lifted else "") + f"`resume {process.pid}` or `kill {process.pid}`"


def _agent(process: Process) -> str:
    """Whose habits a call belongs to: an agent's over all its processes, else a program's."""
    spec = definition(process.args)
    return str((spec and spec.get("name")) or process.name or process.program)


def _places(arguments: Mapping[str, Json], traits: Traits) -> Iterator[str]:
    """The recipients and hosts that a call goes to."""
    for name, meaning in traits.meanings.items():
        if meaning in ("recipient", "url") and name in arguments:
            for each in leaves(arguments[name]):
                text = each.strip().casefold()[:200]
                with suppress(ValueError):  # no URL
                    text = (urlsplit(text).hostname if meaning == "url" else None) or text
                yield text


def _forms(canary: str) -> Iterator[bytes]:
    """A string as it may stand in JSON: plain, in hexadecimal, in Base64 at each of three offsets."""
    data = canary.encode()
    yield codec.dumps(canary)[1:-1]
    yield data.hex().encode()
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + data)
        yield whole[offset + (offset > 0) : len(whole) - 4 if (offset + len(data)) % 3 else None]
