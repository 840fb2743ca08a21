"""Which engine answers: opened when first asked for, once; chosen for each call; and another one where it fails."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

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
from ..core.records import Chunk, EngineInfo, GenerateRequest, Json, Route
from ..core.stream import Continuation, estimate
from .prefixes import of_texts
from .route import FIRST, PACE, Breaker, Candidate, Demand, Plan, choose, demand_of, is_open, none_left, resumes, unread

Opener = Callable[[], Awaitable[Engine]]

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
        self.adapters: dict[str, str] = {}  # by name, what holds where a request names none
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

    def adapter(self, name: str) -> str | None:
        """The adapter that holds for a model, alias or route where a request names none; raises NotFound."""
        if name in self.adapters or name in self.routes or not self.adapters:
            return self.adapters.get(name)
        return self.adapters.get(self.resolve(name))

    def behind(self, name: str) -> frozenset[str]:
        """The models that a name, alias or route stands for; raises NotFound."""
        route = self.routes.get(name)
        return frozenset(route.roles() if route is not None else {self.resolve(name)})

    def remote(self, name: str) -> frozenset[str]:
        """Those of them that what they are asked leaves this system for; raises NotFound."""
        return self.behind(name) & self._remote

    def window(self, name: str) -> int:
        """The longest window (tokens) of the models behind a name; 0 unless all of them say; raises NotFound."""
        route = self.routes.get(name)
        models = route.roles().keys() if route is not None else {self.resolve(name)}
        windows = [engine.info.window if (engine := self.opened(model)) is not None else 0 for model in models]
        return max(windows) if all(windows) else 0

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

    def aliases(self) -> dict[str, str]:
        """The other names of models, with whose they are; routes not included."""
        return {name: model for name, model in self._aliases.items() if name not in self.routes}

    def knows(self, name: str) -> bool:
        """Whether a name or alias stands for a model."""
        return self._aliases.get(name, name) in self._openers

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


class Router:
    """Asks the best of the models behind a name, and on a failure goes on with the next where the first broke off."""

    def __init__(self, engines: Engines, clock: Callable[[], float] = time.monotonic) -> None:
        self.engines = engines
        self.clock = clock
        self.standings: defaultdict[str, Standing] = defaultdict(Standing)
        self._read: OrderedDict[tuple[str, bytes], None] = OrderedDict()  # beginnings of prompts, the latest last

    async def plan(self, request: GenerateRequest) -> Plan:
        """Whom a request would be put to now, and why; raises NotFound for an unknown name."""
        return await self.look(self.course(request))

    def course(self, request: GenerateRequest) -> Course:
        """The way of one call through the models of its name, of which a plain one is the only one.

        One that names no adapter has that of its name; an empty one is none. Raises NotFound for an unknown name.
        """
        adapter = (self.engines.adapter(request.model) if request.adapter is None else request.adapter) or None
        if adapter != request.adapter:
            request = replace(request, adapter=adapter)
        route = self.engines.routes.get(request.model) or _alone(self.engines.resolve(request.model))
        return Course(self, request, route)

    async def look(self, course: Course) -> Plan:
        """Choose for a call as it stands. Opens the engine that comes first, and has it count what may not fit."""
        demand, roles = demand_of(course.request, course.route, course.answer.shown), course.route.roles()
        while True:
            now, seen = self.clock(), [self.standings[model] for model in roles]
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
                self.standings[model].breaker.failed(self.clock(), error.message, down=True)

    def _candidate(
        self, course: Course, demand: Demand, model: str, role: int, first: float, pace: float
    ) -> Candidate:  # fmt: skip
        seen, engine, route = self.standings[model], self.engines.opened(model), course.route
        info = engine.info if engine is not None else None
        cached = next((length for key, length in reversed(course.beginnings) if (model, key) in self._read), 0)
        quality = seen.quality[demand.task] * route.quality.get(model, {}).get(demand.task, 1.0)
        rests, probed = (seen.breaker.rests, seen.breaker.probed) if route.shared else (0.0, False)
        return Candidate(
            model, info, role, seen.load(info), first, pace, quality, cached, course.counted[model],
            route.languages.get(model, ()), rests, probed, seen.breaker.trouble, course.failed[model],
        )  # fmt: skip

    def first(self, plan: Plan, name: str) -> Candidate:
        """The model to ask now; raises, with a reason for every model, where none of a route can answer."""
        if plan.order:
            return plan.order[0]
        alone = plan.candidates[0]
        if name in self.engines.routes or plan.refusals()[alone.model][0] is BudgetExceeded:
            raise none_left(name, plan)
        return alone  # its own driver says best what it cannot do

    def remember(self, model: str, beginnings: list[tuple[bytes, int]]) -> None:
        """Note what a model has read."""
        for key, _ in beginnings:
            self._read[model, key] = None
            self._read.move_to_end((model, key))
        while len(self._read) > READ:
            self._read.popitem(last=False)


class Course:
    """The way of one call: its answer so far, failures by model, and its prompt's length as models count.

    Nothing is repeated and nothing left out, however many engines it takes. For each in turn:

        while (leg := await course.leg()) is not None:
            with leg:  # takes in an EngineFailed where another engine may be asked
                async for chunk in ...generate(leg.request): yield leg.take(chunk)
    """

    def __init__(self, router: Router, request: GenerateRequest, route: Route) -> None:
        self.router, self.request, self.route = router, request, route
        self.answer = Continuation(request)
        self.open = is_open(request)
        self.beginnings = list(_beginnings(request)) if route.shared else []
        self.failed: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.plan: Plan | None = None  # the last one
        self.ending: Chunk | None = None  # of an answer that had all its tokens when it broke off

    async def begin(self) -> tuple[str, Engine, GenerateRequest]:
        """The model that is asked first, its engine, and the request with the decoding for its task. Raises as `leg`.

        The first leg goes by the same plan.
        """
        model = await self._choose()
        plan = self.plan
        if plan is not None and plan.decoding is not self.request.decoding:
            self.request = replace(self.request, decoding=plan.decoding)
        return model, await self.router.engines.get(model), self.request

    def ask(self, request: GenerateRequest) -> None:
        """Put it so: the same question within what a budget leaves, or as a strategy wants it."""
        self.request, self.answer, self.open = request, Continuation(request), is_open(request)

    async def leg(self) -> Leg | None:
        """The next engine to ask and what for; None once the answer is whole.

        Raises what the last engine did when the route's retries are used up; EngineUnavailable, Unsupported,
        ContextOverflow or BudgetExceeded, with a reason for every model, when none of them can answer (any more).
        """
        if self.answer.finished or self.ending is not None:
            return None
        if self.failed and all(self.failed[model] for model in self._order()):
            pause = self.route.pause * 2.0 ** (self.failed.total() - 1)
            await asyncio.sleep(random.random() * min(LONGEST, pause))  # full jitter (Brooker, AWS Blog, 2015)
        fresh = self.plan is None or self.answer.shown or self.failed
        model = await self._choose() if fresh else self._model()
        engine = await self.router.engines.get(model)
        rest = self.answer.rest(resumes(self.open, engine.info))
        if rest is None:
            self.ending = self.answer.end()
            return None
        return Leg(self, model, engine, rest)

    async def _choose(self) -> str:
        if self.request.needs is None and self.request.model not in self.router.engines.routes:
            return self.route.replicas[0]  # there is nothing to choose; its own driver says best what it cannot do
        self.plan = await self.router.look(self)
        return self._model()

    def _model(self) -> str:
        assert self.plan is not None
        return self.router.first(self.plan, self.request.model).model

    def _order(self) -> Iterable[str]:
        return [each.model for each in self.plan.order] if self.plan is not None else self.route.replicas

    def may_go_on(self) -> bool:
        """Whether another engine may be asked after one has failed."""
        return not self.answer.finished and self.failed.total() <= self.route.retries


class Leg:
    """One engine's part of an answer: `request` is what is left to ask for."""

    def __init__(self, course: Course, model: str, engine: Engine, request: GenerateRequest) -> None:
        self.model, self.engine, self.request = model, engine, request
        self._course, self._answer, self._seen = course, course.answer, course.router.standings[model]
        self._began, self._crowd = 0.0, 1.0
        self._first: float | None = None  # when its first piece came

    def __enter__(self) -> None:
        seen = self._seen
        self._crowd += seen.load(self.engine.info)  # a crowd makes it slower; that is not its fault
        self._began = self._course.router.clock()
        seen.running += 1
        seen.breaker.begin()

    def why(self) -> dict[str, Json]:
        """What the row says of the choice: the model; of several their expected costs, and how likely it was chosen."""
        plan = self._course.plan
        if plan is None or len(plan.candidates) == 1:
            return {"model": self.model}
        return {"model": self.model, "candidates": plan.weighed(), "probability": plan.probability}

    def take(self, chunk: Chunk) -> Chunk:
        """What is new in a piece of the engine's."""
        if self._first is None:
            self._answers()
        return self._answer.take(chunk)

    def _answers(self) -> None:
        course, seen, plan = self._course, self._seen, self._course.plan
        self._first = first = course.router.clock()
        share = unread(plan.demand, _candidate(plan, self.model)) if plan is not None else 1.0
        seen.first.add((first - self._began) / self._crowd / share, first)
        seen.breaker.succeeded()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        course, seen, answer = self._course, self._seen, self._answer
        seen.running -= 1
        seen.breaker.probed = False  # also where the caller left before there was a verdict
        if error is None and not answer.finished:
            broken = EngineFailed("the answer broke off before its end; try again", engine=self.model)
            self._failed(broken)
            if not course.may_go_on():
                raise broken
        elif error is None:
            self._succeeded()
        elif isinstance(error, EngineFailed):
            self._failed(error)
            return course.may_go_on()
        return False

    def _succeeded(self) -> None:
        """Note how it did."""
        course, seen, pieces = self._course, self._seen, self._answer.pieces
        if pieces > 1 and self._first is not None:
            seconds = max(1e-6, course.router.clock() - self._first)
            seen.pace.add(pieces / seconds * self._crowd, self._first)
        course.router.remember(self.model, course.beginnings)
        seen.judge(_task(course.request), True)

    def _failed(self, error: EngineFailed) -> None:
        course, seen = self._course, self._seen
        course.failed[self.model] += 1
        seen.judge(_task(course.request), False)
        seen.breaker.failed(course.router.clock(), error.message, down=self.engine.health() is not None)
        self._answer.broke(estimate(course.request), self.engine.info)


@lru_cache(maxsize=1024)
def _alone(model: str) -> Route:
    """The route of a plain name: it is made for every call."""
    return Route((model,), retries=0)


def _task(request: GenerateRequest) -> str:
    return request.needs.task if request.needs is not None else ""


def _candidate(plan: Plan, model: str) -> Candidate:
    return next(each for each in plan.candidates if each.model == model)


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
