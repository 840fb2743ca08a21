"""Which engine answers: opened when first asked for, once; chosen for each call; and another one where it fails."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from ..core.errors import (
    BudgetExceeded,
    EngineFailed,
    EngineUnavailable,
    LLMAgentOSError,
    MissingExtra,
    NotFound,
    not_found,
)
from ..core.ports import Engine
from ..core.records import Chunk, EngineInfo, GenerateRequest, Route
from ..core.stream import Continuation
from .prefixes import of_texts
from .route import FIRST, PACE, Breaker, Candidate, Demand, Plan, choose, demand_of, none_left, resumes, unread

Opener = Callable[[], Awaitable[Engine]]
Serve = Callable[[str, Engine, GenerateRequest], AsyncGenerator[Chunk]]
"""Streams an answer of one engine: `(model, engine, request)`."""

SMOOTH = 0.1  # the weight of a new measurement in an average of many
TIGHT = 2  # a prompt whose estimate times this is over the window is counted
BLOCK = 1024  # characters of a raw prompt that are looked for together among what a model has read
READ = 8192  # beginnings of prompts that are remembered
LONGEST = 5.0  # seconds of pause at most before a model is asked again that has just failed
FRESH = 60.0  # seconds after which a measurement counts no more, so that who was slow once is tried again


class Engines:
    """The engines by model name, with aliases. Opening is shared: callers that come meanwhile wait for the same one."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self._openers: dict[str, Opener] = {}
        self._aliases: dict[str, str] = {}
        self._open: dict[str, asyncio.Task[Engine]] = {}
        self._borrowed: set[str] = set()
        self._remote: set[str] = set()

    def add(self, model: str, opener: Opener, borrowed: bool = False, remote: bool = False) -> None:
        """Make a model known; it is opened at the first `get`. A borrowed engine is its owner's to close.

        `remote`: what it is asked leaves this system.
        """
        self._openers[model] = opener
        (self._remote.add if remote else self._remote.discard)(model)
        if borrowed:
            self._borrowed.add(model)

    def alias(self, name: str, model: str) -> None:
        """Let `name` stand for a model or a route."""
        if model in self.routes:
            self.routes[name] = self.routes[model]
        self._aliases[name] = self._aliases.get(model, model)

    def add_route(self, name: str, route: Route) -> None:
        """Let `name` stand for several models; where one must do, that is the first replica."""
        self.routes[name] = route
        self._aliases[name] = route.replicas[0]

    def remote(self, name: str) -> frozenset[str]:
        """The models behind a name that what they are asked leaves this system for; raises NotFound."""
        route = self.routes.get(name)
        return frozenset(self._remote & (route.roles().keys() if route is not None else {self.resolve(name)}))

    async def remove(self, model: str) -> None:
        """Forget a model and close its engine."""
        self._openers.pop(model, None)
        self._aliases = {name: target for name, target in self._aliases.items() if target != model}
        opening = self._open.pop(model, None)
        if opening is not None and model not in self._borrowed:
            await _close(opening)

    def names(self) -> list[str]:
        """The models known, aliases not included."""
        return sorted(self._openers)

    def resolve(self, name: str) -> str:
        """The model that a name or alias stands for; raises NotFound with the nearest match."""
        model = self._aliases.get(name, name)
        if model not in self._openers:
            raise not_found("model", name, [*self._openers, *self._aliases])
        return model

    async def get(self, name: str) -> Engine:
        """The engine for a model or alias, opened if need be.

        Raises NotFound, or EngineUnavailable where it cannot be opened; the next `get` tries again.
        """
        model = self.resolve(name)
        opening = self._open.get(model)
        if opening is None:
            opening = self._open[model] = asyncio.ensure_future(self._openers[model]())
        try:
            return await asyncio.shield(opening)
        except LLMAgentOSError:
            self._open.pop(model, None)
            raise
        except (OSError, RuntimeError, ValueError) as error:  # what loaders of model files raise
            self._open.pop(model, None)
            raise EngineUnavailable(f"model {model!r} cannot be opened: {error}", engine=model) from error

    def opened(self, model: str) -> Engine | None:
        """The engine of a model, if it is open."""
        opening = self._open.get(model)
        return _result(opening) if opening is not None else None

    def health(self) -> dict[str, str | None]:
        """Per engine that was opened: None, or what is wrong with it."""
        return {model: _health(opening) for model, opening in self._open.items()}

    async def close(self) -> None:
        """Close every engine."""
        for model in list(self._openers):
            await self.remove(model)


def _result(opening: asyncio.Task[Engine]) -> Engine | None:
    failed = not opening.done() or opening.cancelled() or opening.exception() is not None
    return None if failed else opening.result()


def _health(opening: asyncio.Task[Engine]) -> str | None:
    if not opening.done():
        return None
    engine = _result(opening)
    return "cannot be opened" if engine is None else engine.health()


async def _close(opening: asyncio.Task[Engine]) -> None:
    engine = _result(opening)
    if engine is not None:
        await engine.close()
    else:
        opening.cancel()


@dataclass(slots=True)
class Average:
    """An exponentially weighted moving average; the plain one of the first few values. `at` is when the last came."""

    value: float = 0.0
    at: float = -math.inf
    count: int = 0

    def add(self, value: float, at: float) -> None:
        """Take in a measurement."""
        self.count, self.at = self.count + 1, at
        self.value += max(SMOOTH, 1 / self.count) * (value - self.value)


@dataclass(slots=True)
class Standing:
    """What was seen of a model: calls there now, seconds to the first token, tokens a second, and what succeeded."""

    breaker: Breaker = field(default_factory=Breaker)
    running: int = 0
    first: Average = field(default_factory=Average)
    pace: Average = field(default_factory=Average)
    quality: defaultdict[str, float] = field(default_factory=lambda: defaultdict(lambda: 1.0))  # by task

    def load(self, info: EngineInfo | None) -> float:
        """Calls by places."""
        return self.running / (info.limit if info is not None else 1)

    def judge(self, task: str, succeeded: bool) -> None:
        """An answer came to its end, or not."""
        self.quality[task] += SMOOTH * (succeeded - self.quality[task])


@dataclass(slots=True)
class Course:
    """What one call has been through: its answer so far, failures by model, and its prompt's length as models count."""

    request: GenerateRequest
    route: Route
    answer: Continuation
    beginnings: list[tuple[bytes, int]]
    failed: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)


class Router:
    """Asks the best of the models behind a name, and on a failure goes on with the next where the first broke off."""

    def __init__(self, engines: Engines, clock: Callable[[], float] = time.monotonic) -> None:
        self.engines = engines
        self._clock = clock
        self._standings: defaultdict[str, Standing] = defaultdict(Standing)
        self._read: OrderedDict[tuple[str, bytes], None] = OrderedDict()  # beginnings of prompts, the latest last

    async def plan(self, request: GenerateRequest) -> Plan:
        """Whom a request would be put to now, and why; raises NotFound for an unknown name."""
        return await self._plan(self._course(request))

    async def take(self, request: GenerateRequest) -> tuple[str, Engine, GenerateRequest]:
        """The model that a request would be put to first, its engine, and the request with the decoding for its task.

        Raises as `stream` does.
        """
        if request.model not in self.engines.routes:
            return self.engines.resolve(request.model), await self.engines.get(request.model), request
        plan = await self.plan(request)
        model = self._first(plan, request.model).model
        return model, await self.engines.get(model), replace(request, decoding=plan.strategy)

    def _course(self, request: GenerateRequest) -> Course:
        """A plain model is a route of itself."""
        route = self.engines.routes.get(request.model) or Route((self.engines.resolve(request.model),), retries=0)
        return Course(request, route, Continuation(request), list(_beginnings(request)) if route.shared else [])

    async def _plan(self, course: Course) -> Plan:
        """Choose. Opens the engine that comes first, and has it count a prompt that may not fit."""
        demand, roles = demand_of(course.request, course.route, course.answer.shown), course.route.roles()
        while True:
            now, seen = self._clock(), [self._standings[model] for model in roles]
            firsts = _measured([each.first for each in seen], now, FIRST)
            paces = _measured([each.pace for each in seen], now, PACE)
            models = zip(roles, roles.values(), firsts, paces, strict=True)
            candidates = [self._candidate(course, demand, *each) for each in models]
            candidates.sort(key=lambda each: -each.cached)
            plan = choose(demand, candidates, now, random.random())
            if not plan.order or (question := _open_question(demand, plan.order[0], course.route)) is None:
                return plan
            model = plan.order[0].model
            try:
                engine = await self.engines.get(model)
                if question == "length":
                    course.counted[model] = max(1, await engine.count_tokens(course.request))
            except (EngineFailed, NotFound, MissingExtra) as error:
                if not course.route.shared:
                    raise
                self._standings[model].breaker.failed(self._clock(), error.message, down=True)

    def _candidate(
        self, course: Course, demand: Demand, model: str, role: int, first: float, pace: float
    ) -> Candidate:  # fmt: skip
        seen, engine, route = self._standings[model], self.engines.opened(model), course.route
        info = engine.info if engine is not None else None
        cached = next((length for key, length in reversed(course.beginnings) if (model, key) in self._read), 0)
        quality = seen.quality[demand.task] * route.quality.get(model, {}).get(demand.task, 1.0)
        rests, probed = (seen.breaker.rests, seen.breaker.probed) if route.shared else (0.0, False)
        return Candidate(
            model, info, role, seen.load(info), first, pace, quality, cached, course.counted[model],
            route.languages.get(model, ()), rests, probed, seen.breaker.trouble, course.failed[model],
        )  # fmt: skip

    def _first(self, plan: Plan, name: str) -> Candidate:
        if plan.order:
            return plan.order[0]
        alone = plan.candidates[0]
        if name in self.engines.routes or plan.refusals()[alone.model][0] is BudgetExceeded:
            raise none_left(name, plan)
        return alone  # its own driver says best what it cannot do

    async def stream(self, request: GenerateRequest, serve: Serve) -> AsyncGenerator[Chunk]:
        """Stream an answer, from as many engines as it takes: nothing is repeated, nothing left out.

        Raises what the last engine did when the route's retries are used up; EngineUnavailable, Unsupported,
        ContextOverflow or BudgetExceeded, with a reason for every model, when none of them can answer (any more).
        """
        course = self._course(request)
        while not course.answer.finished:
            plan = await self._plan(course)
            chosen = self._first(plan, request.model)
            try:
                async with aclosing(self._ask(chosen, course, plan.demand, serve)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except EngineFailed:
                failed, route = course.failed, course.route
                failed[chosen.model] += 1
                if course.answer.finished or failed.total() > route.retries:
                    raise
                if all(failed[each.model] for each in plan.order):  # full jitter (Brooker, AWS Architecture Blog, 2015)
                    await asyncio.sleep(random.random() * min(LONGEST, route.pause * 2.0 ** (failed.total() - 1)))

    async def _ask(self, chosen: Candidate, course: Course, demand: Demand, serve: Serve) -> AsyncGenerator[Chunk]:
        """Put what is left of a call to one engine, and note how it does."""
        model, answer = chosen.model, course.answer
        engine, seen = await self.engines.get(model), self._standings[model]
        rest = answer.rest(resumes(demand, engine.info))
        if rest is None:
            yield answer.end()
            return
        began, crowd = self._clock(), 1.0 + chosen.load  # a crowd makes it slower; that is not its fault
        seen.running += 1
        seen.breaker.begin()
        try:
            async with aclosing(serve(model, engine, rest)) as chunks:
                async for chunk in chunks:
                    if not answer.pieces:
                        first = self._clock()
                        seen.first.add((first - began) / crowd / unread(demand, chosen), first)
                        seen.breaker.succeeded()
                    if chunk.finish is not None and answer.pieces > 1:
                        seen.pace.add(answer.pieces / max(1e-6, self._clock() - first) * crowd, first)
                    yield answer.take(chunk)
            if not answer.finished:
                raise EngineFailed("the answer broke off before its end; try again", engine=model)
            self._remember(model, course.beginnings)
            seen.judge(demand.task, True)
        except EngineFailed as error:
            seen.judge(demand.task, False)
            seen.breaker.failed(self._clock(), error.message, down=engine.health() is not None)
            answer.broke(demand.tokens, engine.info)
            raise
        finally:
            seen.running -= 1
            seen.breaker.probed = False  # also where the caller left before there was a verdict

    def _remember(self, model: str, beginnings: list[tuple[bytes, int]]) -> None:
        """Note what a model has read."""
        for key, _ in beginnings:
            self._read[model, key] = None
            self._read.move_to_end((model, key))
        while len(self._read) > READ:
            self._read.popitem(last=False)


def _open_question(demand: Demand, candidate: Candidate, route: Route) -> str | None:
    """What is still to be asked of the engine that would be chosen: its promises, or the prompt's exact length."""
    if candidate.info is None:
        return "info"
    tight = route.shared and demand.tokens * TIGHT > (candidate.info.window or math.inf)
    return "length" if not candidate.tokens and (tight or demand.max_price < math.inf) else None


def _beginnings(request: GenerateRequest) -> Iterator[tuple[bytes, int]]:
    """What a request's prompt begins with, shortest first: a name, and the length in tokens of four characters."""
    prompt = request.prompt or ""
    parts: list[tuple[str, str]] = [(each.role, each.text) for each in request.messages]
    parts += [("", prompt[start : start + BLOCK]) for start in range(0, len(prompt), BLOCK)]
    length = 0
    for name, (_, text) in zip(of_texts(parts), parts, strict=True):
        length += len(text)
        yield name, length // 4


def _measured(averages: Sequence[Average], now: float, unknown: float) -> list[float]:
    """What was measured lately; who was not is taken for as good as the others are on average."""
    fresh = [each.value for each in averages if now - each.at < FRESH]
    typical = sum(fresh) / len(fresh) if fresh else unknown
    return [each.value if now - each.at < FRESH else typical for each in averages]
