"""Which engine is asked, as a pure decision: candidates in, a plan with its reasons out; and the circuit breaker.

Nothing here waits or reads a clock: the kernel's router and the simulator drive the same code.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..core.errors import BudgetExceeded, ContextOverflow, EngineUnavailable, LLMAgentOSError, Unsupported
from ..core.records import Decoding, EngineInfo, GenerateRequest, Route
from ..core.stream import estimate

FIRST, PACE = 0.5, 30.0
"""Seconds to the first token and tokens a second, as long as no model is measured: alike for all, so load decides."""

ANSWER = 256  # tokens that an answer is expected to have where the request sets no limit
ALIKE = 1.2  # of candidates whose costs are within this factor of the best the least loaded is asked
LEAST = 0.25  # the share of the time to the first token that does not come from reading
MANY, DRAWN = 16, 4  # of more candidates than MANY only the first and DRAWN at random are looked at


@dataclass(frozen=True, slots=True)
class Demand:
    """What a call takes, worked out once. Tokens are estimates, of four characters each.

    `shown`: a part of the answer was shown already. `again`: asking again from the start gives the same answer;
    `open`: nothing (a schema, tools) makes the beginning of an answer more than text that one can go on from.
    """

    abilities: frozenset[str]
    parameters: frozenset[str]
    tokens: int
    limit: int | None
    task: str = ""
    language: str = ""
    max_price: float = math.inf
    patience: float = 600.0
    decoding: Decoding | None = None
    shown: bool = False
    again: bool = False
    open: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be asked, as it stands now.

    `info` is None until its engine was opened; `tokens` is the prompt's length by its own count (0: not counted),
    `cached` how much of that it has read before. `load` is calls by places; `first` (seconds) and `pace` (tokens a
    second) are measured without load. `failed` counts its failures in this very call; `rests` is until when its
    circuit breaker is open, in seconds of the clock that `now` is of, and `trouble` what opened it.
    """

    model: str
    info: EngineInfo | None = None
    role: int = 0
    load: float = 0.0
    first: float = FIRST
    pace: float = PACE
    quality: float = 1.0
    cached: int = 0
    tokens: int = 0
    languages: Sequence[str] = ()
    rests: float = 0.0
    probed: bool = False
    trouble: str = ""
    failed: int = 0


Refusal = tuple[type[LLMAgentOSError], str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask, best first, and how the answer is decoded.

    `probability` is that with which the first was chosen, among those that were looked at.
    """

    order: tuple[Candidate, ...]
    decoding: Decoding | None
    demand: Demand
    candidates: Sequence[Candidate]
    now: float
    probability: float = 1.0

    def weighed(self) -> dict[str, float | None]:
        """What each of at most MANY models was expected to cost, as `cost` has it; None: it was out."""
        fit, asked = [(each.model, cost(self.demand, each)) for each in self.order], {c.model for c in self.order}
        out = [(each.model, None) for each in self.candidates if each.model not in asked]
        return dict([*fit, *out][:MANY])

    def refusals(self) -> dict[str, Refusal]:
        """Why each model that is out is out."""
        found = {c.model: refusal(self.demand, c, self.now) for c in self.candidates}
        return {model: why for model, why in found.items() if why is not None}

    def reasons(self) -> Iterator[tuple[Candidate, float | None, str]]:
        """For every candidate its cost (None: refused) and why it stands where it does; those to ask come first."""
        for place, each in enumerate(self.order, 1):
            role = f"fallback {each.role}" if each.role else "replica"
            speed = f"first token {each.first:.2g} s, {each.pace:.3g} tokens/s, quality {each.quality:.2g}"
            prompt = f"{each.cached} of {_prompt(self.demand, each)} tokens cached"
            text = f"choice {place}: {role}, load {each.load:.2g}, {speed}, {prompt}"
            yield each, cost(self.demand, each), f"{text}, at most ${worst_price(self.demand, each):.2g}"
        refusals, asked = self.refusals(), {each.model for each in self.order}
        for each in (each for each in self.candidates if each.model not in asked):
            yield each, None, refusals.get(each.model, (None, "not drawn among so many"))[1]


def choose(demand: Demand, candidates: Sequence[Candidate], now: float, draw: float = 0.0) -> Plan:
    """Order the candidates that fit by failures in this call, role, and cost. `draw` in 0..1 shares out the alike.

    Of very many few are drawn (Mitzenmacher 2001: two choices are nearly as good as all); put the one with most of
    the context first, for it is looked at always.
    """
    seen = _some(candidates, draw) if len(candidates) > MANY else candidates
    ranked = _ranked(demand, seen, now)
    if not ranked and len(seen) < len(candidates):
        ranked = _ranked(demand, candidates, now)
    probability = 1.0
    if len(ranked) > 1:
        failed, role, best, _ = ranked[0]
        alike = sum(1 for each in ranked if each[:2] == (failed, role) and each[2] <= best * ALIKE)
        start = int(draw * 1e6)  # its last digits: the first ones may have drawn `seen`
        least = min(each[3].load for each in ranked[:alike])
        idle = [n for n in range(alike) if ranked[n][3].load == least]
        first = min(idle, key=lambda n: (n - start) % alike)
        before = idle[idle.index(first) - 1]  # every start after it, up to `first`, leads there
        probability = ((first - before) % alike or alike) / alike
        ranked.insert(0, ranked.pop(first))
    return Plan(tuple([each[3] for each in ranked]), demand.decoding, demand, candidates, now, probability)


def _some(candidates: Sequence[Candidate], draw: float) -> list[Candidate]:
    """The first, if it has any of the context, and a few more: multiples of the golden ratio spread one number."""
    places = {int((draw + n * 0.618033988749895) % 1 * len(candidates)) for n in range(DRAWN)}
    return [candidates[place] for place in places | ({0} if candidates[0].cached else set())]


def _ranked(demand: Demand, candidates: Sequence[Candidate], now: float) -> list[tuple[int, int, float, Candidate]]:
    fit = [(c.failed, c.role, cost(demand, c), c) for c in candidates if refusal(demand, c, now) is None]
    fit.sort(key=lambda each: each[:3])
    return fit


def cost(demand: Demand, candidate: Candidate) -> float:
    """The seconds that a right answer is expected to take, and what it costs in seconds of patience.

    Time grows with the calls already there (Finagle's peak EWMA); a wrong answer, of share 1 - quality, is asked again.
    """
    seconds = candidate.first * unread(demand, candidate) + (demand.limit or ANSWER) / candidate.pace
    info, money = candidate.info, 0.0
    if info is not None and (info.input_price or info.output_price):
        tokens = _prompt(demand, candidate) * info.input_price + (demand.limit or ANSWER) * info.output_price
        money = tokens / 1e6 * demand.patience
    return (seconds * (1.0 + candidate.load) + money) / max(candidate.quality, 0.01)


def unread(demand: Demand, candidate: Candidate) -> float:
    """The share of the time to the first token that is left where a part of the prompt was read before."""
    return max(LEAST, 1.0 - candidate.cached / (_prompt(demand, candidate) or 1))


def worst_price(demand: Demand, candidate: Candidate) -> float:
    """The most that a call may cost, in US dollars: infinite where nothing limits the answer."""
    info = candidate.info
    if info is None or not (info.input_price or info.output_price):
        return 0.0
    prompt = _prompt(demand, candidate)
    made = demand.limit or (info.window - prompt if info.window else math.inf)
    return (prompt * info.input_price + (made * info.output_price if info.output_price else 0.0)) / 1e6


def _prompt(demand: Demand, candidate: Candidate) -> int:
    return candidate.tokens or demand.tokens


def refusal(demand: Demand, candidate: Candidate, now: float) -> Refusal | None:
    """Why a candidate cannot be asked, or None."""
    if candidate.rests > now:
        return EngineUnavailable, f"rests for {candidate.rests - now:.1f} s: {candidate.trouble}"
    if candidate.probed:
        return EngineUnavailable, f"one call is trying it out: {candidate.trouble}"
    if demand.language and candidate.languages and demand.language not in candidate.languages:
        return Unsupported, f"does not speak {demand.language!r}, but {', '.join(candidate.languages)}"
    return _unfit(demand, candidate, candidate.info) if candidate.info is not None else None


def _unfit(demand: Demand, candidate: Candidate, info: EngineInfo) -> Refusal | None:
    """What the engine's own promises say against it."""
    if not demand.abilities <= info.abilities:
        return Unsupported, f"has no {', '.join(sorted(demand.abilities - info.abilities))}"
    if not demand.parameters <= info.parameters:
        return Unsupported, f"does not take {', '.join(sorted(demand.parameters - info.parameters))}"
    if info.window and candidate.tokens >= info.window:
        return ContextOverflow, f"its window of {info.window} tokens cannot hold the prompt of {candidate.tokens}"
    if demand.shown and not (demand.again or resumes(demand.open, info)):
        return Unsupported, "cannot go on from the beginning of an answer, nor give the same one again"
    if demand.max_price < math.inf and (price := worst_price(demand, candidate)) > demand.max_price:
        return BudgetExceeded, f"may cost ${price:.4g}, over the ceiling of ${demand.max_price:.4g}; set max_tokens"
    return None


def is_open(request: GenerateRequest) -> bool:
    """Whether the beginning of an answer is only text: then one can go on from it."""
    return request.schema is None and request.choices is None and not request.tools


def resumes(is_open: bool, info: EngineInfo) -> bool:
    """Whether an engine can go on from the text that was shown."""
    return is_open and "said" in info.abilities


def none_left(name: str, plan: Plan) -> LLMAgentOSError:
    """The error for a plan that is empty: why each of the models is out."""
    refusals = plan.refusals()
    kinds = {kind for kind, _ in refusals.values()}
    kind = kinds.pop() if len(kinds) == 1 else EngineUnavailable if EngineUnavailable in kinds else Unsupported
    reasons = "; ".join(f"{model}: {why}" for model, (_, why) in refusals.items())
    return kind(f"no model of {name!r} can answer: {reasons}", models=sorted(refusals))


def demand_of(request: GenerateRequest, route: Route, shown: bool = False) -> Demand:
    """Work out what a request takes on a route."""
    needs, sampling = request.needs, request.sampling
    task, ceiling = (needs.task, needs.max_price) if needs is not None else ("", None)
    return Demand(
        frozenset(request.abilities()), frozenset(sampling.sent()), estimate(request), sampling.max_tokens,
        task, needs.language if needs is not None else "",
        min(route.max_price, ceiling if ceiling is not None else math.inf), route.patience,
        request.decoding or route.decodings.get(task), shown,
        again=sampling.temperature == 0 or sampling.seed is not None,
        open=is_open(request),
    )  # fmt: skip


class Breaker:
    """A circuit breaker (Nygard: Release It!). Closed, it counts failures; open, nobody asks; half-open, one call does.

    `limit` failures within `window` seconds open it, for `pause` seconds, twice as long each time up to `longest`.
    """

    def __init__(self, limit: int = 3, window: float = 30.0, pause: float = 1.0, longest: float = 60.0) -> None:
        self.rests, self.probed, self.trouble = 0.0, False, ""
        self._failures: deque[float] = deque(maxlen=limit)
        self._window, self._pause, self._longest = window, pause, longest
        self._trips = 0

    def begin(self) -> None:
        """A call is put through; the first one after a rest tries it out. Whoever leaves early resets `probed`."""
        self.probed = self._trips > 0

    def succeeded(self) -> None:
        """It has answered."""
        if self._trips:
            self._failures.clear()
        self._trips, self.probed = 0, False

    def failed(self, now: float, trouble: str, down: bool = False) -> None:
        """It failed; `down`: it cannot be reached at all, which needs no counting."""
        self.probed, self.trouble = False, trouble
        self._failures.append(now)
        full = len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window
        if down or full or self._trips:
            self.rests = now + min(self._longest, self._pause * 2.0**self._trips)
            self._trips += 1
