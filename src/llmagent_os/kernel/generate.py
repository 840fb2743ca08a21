"""The `generate` syscall: a strategy asks, the router chooses a model, and its dispatcher serves when it is time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..core.ports import Engine, Stepper
from ..core.records import Call, Chunk, Embeddings, EmbedRequest, EngineInfo, GenerateRequest, Generation, Usage
from ..core.stream import collect, priced
from ..sched.dispatch import Dispatcher
from ..sched.pager import now
from ..sched.policies import CLASSES, Job
from ..sched.router import Course, Leg
from . import budget
from .process import Process

if TYPE_CHECKING:
    from .kernel import Kernel

_NUMBERS = itertools.count(1)


async def generate(kernel: Kernel, call: Call, process: Process) -> Generation:
    """Answer a request and return it whole; the pieces go to `call.stream` as they come."""
    course = kernel.router.course(call.args["request"])
    name, engine, request = await course.begin()
    strategy = request.decoding.strategy if request.decoding is not None else None
    for said, what in (("adapter", request.adapter), ("strategy", strategy), ("definition", process.definition)):
        if what is not None:
            call.decision[said] = what
    model = (SteppedModel if kernel.dispatcher(name, engine).stepped else Model)(kernel, call, process, course, engine)
    model.name = name
    call.meter = model.consumed
    try:
        answer = await collect(kernel.decode(request, model), request.model, engine.info.name, watch=call.stream)
    finally:
        call.cost = model.consumed()  # also where it failed: what was computed was computed
    if (answer.engine, answer.usage) == (model.info.name, call.cost):
        return answer
    return replace(answer, engine=model.info.name, usage=call.cost)


@dataclass(slots=True, eq=False)
class Attempt:
    """What one engine did for a call: by its own count once it has ended, until then by the scheduler's."""

    job: Job
    info: EngineInfo
    counted: Usage | None = None

    def count(self, usage: Usage) -> None:
        """It has ended, and says what it used."""
        self.counted = priced(self.info, usage.input_tokens, usage.output_tokens, usage.cached_tokens)

    def consumed(self) -> Usage:
        """What it cost up to now."""
        return self.counted or priced(self.info, self.job.read, self.job.made)


class Model:
    """An Engine as a strategy sees it: every question waits for its turn, is bounded by budgets, and is counted."""

    name = ""

    def __init__(self, kernel: Kernel, call: Call, process: Process, course: Course, engine: Engine) -> None:
        self.info = engine.info
        self._course: Course | None = course  # until it has been taken
        self._attempts: list[Attempt] = []
        self._asked: Counter[str] = Counter()  # how often, by model
        self._kernel, self._call, self._process, self._engine = kernel, call, process, engine

    def consumed(self) -> Usage:
        """What the call has cost up to now: the one count for its row, `ps`, metrics and budgets."""
        return _total(self._attempts)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Stream an answer; see `core.ports.Engine`."""
        request, reserve = await budget.reserve(self._call, self._process, request, self._engine)
        kernel, call, process = self._kernel, self._call, self._process
        course, self._course = self._course or kernel.router.course(request), None
        course.ask(request)
        mine: list[Attempt] = []
        try:
            while (leg := await course.leg()) is not None:
                attempt = self._attempt(leg, mine)
                dispatcher = kernel.dispatcher(leg.model, leg.engine)
                with leg:
                    async with aclosing(dispatcher.serve(attempt.job, leg.request, process, call.key)) as chunks:
                        async for chunk in chunks:
                            piece = leg.take(chunk)
                            if chunk.usage is not None:
                                attempt.count(chunk.usage)
                                piece = _costing(piece, _total(mine))
                            yield piece
            if course.ending is not None:
                yield replace(course.ending, usage=_total(mine))
        finally:
            process.engine = None
            call.waited += sum(each.job.waited for each in mine)
            reserve.settle(_total(mine))

    def _attempt(self, leg: Leg, mine: list[Attempt]) -> Attempt:
        self.info = info = leg.engine.info
        attempt = Attempt(self._job(leg.request), info)
        self._attempts.append(attempt)
        mine.append(attempt)
        self._process.engine = info.name
        self._call.decision |= leg.why() | {"engine": info.name}
        self._asked[leg.model] += 1
        if len(self._attempts) > 1:  # the last one is not the only one
            self._call.decision["asked"] = self._asked
        return attempt

    def _job(self, request: GenerateRequest, places: int = 1) -> Job:
        call, process = self._call, self._process
        *_, root = process.lineage()
        program = root.pid if process.service is None else call.key
        agent = process.name or process.program if process.service is None else call.principal
        arrived = now()
        return Job(
            next(_NUMBERS), call.pid, program, call.tenant, agent, arrived, arrived + call.deadline,
            process.nice + CLASSES[request.service], request.adapter, places, request.sampling.max_tokens or 0,
        )  # fmt: skip

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Vectors of texts."""
        return await self._engine.embed(request)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The length of a prompt in tokens."""
        return await self._engine.count_tokens(request)

    def health(self) -> str | None:
        """What is wrong with the engine."""
        return self._engine.health()

    async def close(self) -> None:
        """Nothing: the engine is the kernel's."""


class SteppedModel(Model):
    """A Stepper as a strategy sees it."""

    _engine: Stepper
    _prompt = 0
    _dispatcher: Dispatcher
    _leased: Job

    async def encode(self, request: GenerateRequest) -> list[int]:
        """Token ids of the prompt."""
        tokens = await self._engine.encode(request)
        self._prompt = len(tokens)
        return tokens

    async def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return await self._engine.decode(tokens)

    def ends(self) -> frozenset[int]:
        """The tokens that end an answer."""
        return self._engine.ends()

    @asynccontextmanager
    async def lease(self, width: int) -> AsyncIterator[Sequence[int]]:
        """Hold slots, when the scheduler lets this call have so many at once."""
        request: GenerateRequest = self._call.args["request"]
        _, reserve = await budget.reserve(self._call, self._process, request, self._engine, width)
        self._dispatcher = self._kernel.dispatcher(self.name, self._engine)
        self._leased = job = self._job(request, width)
        self._attempts.append(attempt := Attempt(job, self._engine.info))
        try:
            async with self._dispatcher.lease(job, self._process) as slots:
                yield slots
        finally:
            self._call.waited += job.waited
            reserve.settle(attempt.consumed())

    async def step(
        self, contexts: Sequence[Sequence[int]], slots: Sequence[int], top: int, adapter: str | None = None
    ) -> list[list[tuple[int, float]]]:
        """The likeliest next tokens of contexts on leased slots."""
        self._dispatcher.worked(self._leased, self._prompt, len(contexts))
        self._prompt = 0  # it is read once
        return await self._engine.step(contexts, slots, top, adapter)


def _total(attempts: Sequence[Attempt]) -> Usage:
    if len(attempts) == 1:
        return attempts[0].consumed()
    return sum((attempt.consumed() for attempt in attempts), Usage())


def _costing(piece: Chunk, usage: Usage) -> Chunk:
    return piece if piece.usage == usage else replace(piece, usage=usage)
