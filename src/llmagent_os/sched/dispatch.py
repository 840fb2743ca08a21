"""One engine's places at work: puts jobs on, and takes them off at a token.

The scheduler decides who runs; here is done what it says. On an engine with slots a job is run in slices, and the pager
keeps what the model computed for it meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict

from ..core.errors import DeadlineExceeded, LLMAgentOSError
from ..core.ports import Engine, Owner, PageStore, Slotted, Stepper, Work
from ..core.records import NOTHING, Chunk, GenerateRequest, Json
from ..core.stream import estimate, tokens_in
from .limit import Limit
from .pager import Counts, Pager, Slot, now
from .pages import Context
from .policies import Job, SchedulerSettings
from .scheduler import Scheduler

SMOOTH = 0.02  # the weight of a token in the average of how long one takes
BOOKED = 16  # tokens that are booked together where nobody can take the place meanwhile


class Dispatcher:
    """Serves the calls to one engine. `checkpoint`: an unfinished answer is saved after so many tokens (0: never)."""

    def __init__(
        self, engine: Engine, settings: SchedulerSettings, store: PageStore | None = None, checkpoint: int = 0
    ) -> None:
        self.engine = engine
        self.scheduler = Scheduler(settings, engine.info.limit)
        self._slotted = engine if isinstance(engine, Slotted) else None  # asked once: a protocol is slow to ask for
        self.stepped = isinstance(engine, Stepper)
        self.served = 0
        self.counts = Counts()
        self.pager = Pager(self._slotted, self.counts, store, checkpoint)
        self.limit = Limit(engine.info.limit, learns=bool(self.pager.slots))
        self._turns: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def serve(self, job: Job, request: GenerateRequest, process: Owner, key: str) -> AsyncGenerator[Chunk]:
        """Stream an answer, whenever the scheduler lets it. Closing the iterator gives everything back."""
        return (self._in_slices if self._slotted is not None else self._at_once)(job, request, process, key)

    async def _at_once(
        self, job: Job, request: GenerateRequest, process: Owner, key: str
    ) -> AsyncGenerator[Chunk]:  # fmt: skip
        """On an engine that cannot stop and go on: wait for a place, then keep it.

        Nobody can be put in its stead, so its tokens are booked some at a time; the prompt's when they are counted, or
        by estimate where the answer is cut off.
        """
        job.movable, pieces, owed = False, 0, 0
        try:
            await self._turn(job, process)
            owed = estimate(request)
            async with aclosing(self.engine.generate(request)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    if chunk.usage is not None:
                        made, pieces, owed = max(0, chunk.usage.output_tokens - job.made), 0, 0
                        self._charge(job, chunk.usage.input_tokens, made)
                    elif (pieces := pieces + tokens_in(chunk)) >= BOOKED:
                        self._charge(job, 0, pieces)
                        pieces = 0
                    yield chunk
        except LLMAgentOSError:
            owed = owed if pieces or job.made else 0  # it may not have been reached at all
            raise
        finally:
            if pieces or owed:
                self._charge(job, owed, pieces)
            self._leave(job)

    async def _in_slices(
        self, job: Job, request: GenerateRequest, process: Owner, key: str
    ) -> AsyncGenerator[Chunk]:  # fmt: skip
        """On slots: run until the answer ends or the place is wanted, then wait for the next turn."""
        assert self._slotted is not None
        try:
            work = await self._slotted.begin(request)
            job.prompt = len(work.prompt)
            context = await self.pager.context(work, request.adapter, process, key)
            while True:
                await self._turn(job, process)
                context.tokens = work.prompt + work.said
                slot, source, shared = await self.pager.take(context)
                try:
                    await self.pager.bring(context, slot, source, shared)
                    async with aclosing(self._slice(job, work, context, slot)) as chunks:
                        async for chunk in chunks:
                            if chunk != NOTHING:
                                yield chunk
                            if chunk.finish is not None:
                                context.key, context.unfinished = "", False
                                return
                finally:
                    self.pager.put_down(context, slot, work)
                self.scheduler.vacate(job)
                self.counts.preemptions += 1
        finally:
            self._leave(job)

    async def _slice(self, job: Job, work: Work, context: Context, slot: Slot) -> AsyncGenerator[Chunk]:
        """Run on a slot, pausing to save the context for those who wait to fork it."""
        while True:
            async with aclosing(work.run(slot.number)) as chunks:
                async for chunk in chunks:
                    self._progress(job, work, context)
                    yield chunk
                    if chunk.finish is not None or job.leaving:
                        return
                    if self.pager.wanted(work, context):
                        break
            self.pager.grown(context, work)
            await self.pager.save(context, slot)

    def _progress(self, job: Job, work: Work, context: Context) -> None:
        """Book what was read and made since the last time."""
        made, context.made = len(work.said) - context.made, len(work.said)
        job.there = work.computed
        job.movable = context.movable = work.movable
        context.dirty += work.read - job.read + made
        self._charge(job, work.read - job.read, made)

    def reading(self, pid: int) -> tuple[int, int] | None:
        """How far the prompt of a process's call is read, as (tokens, of so many); None where none is being read."""
        for job in self.scheduler.running.values():
            if job.pid == pid and not job.made and job.there < job.prompt:
                return job.there, job.prompt
        return None

    def renice(self, pid: int, change: int) -> None:
        """Change how the calls of a process stand in line."""
        for job in [*self.scheduler.waiting.values(), *self.scheduler.running.values()]:
            if job.pid == pid:
                self.scheduler.renice(job, job.nice + change)
        self._decide()

    # -- turns

    async def _turn(self, job: Job, process: Owner) -> None:
        """Wait until the scheduler puts the job on; raises DeadlineExceeded where it refuses it."""
        began = job.since = now()
        self.scheduler.places = self.limit.places
        if job.number not in self.scheduler.waiting and self.scheduler.walk_in(job, began):
            return
        turn = self._turns[job.number] = asyncio.get_running_loop().create_future()
        process.doing = "ready"
        if job.number not in self.scheduler.waiting:
            self.scheduler.arrive(job, began)
        self._decide()
        try:
            await turn
        finally:
            del self._turns[job.number]
            process.doing = "running"
            job.waited += now() - began

    def _decide(self) -> None:
        self.scheduler.places = self.limit.places
        if self.scheduler.idle and self._timer is None:
            return
        decision = self.scheduler.decide(now())
        for job in decision.admit:
            if not (turn := self._turns[job.number]).done():  # its caller may have gone, and not said so yet
                turn.set_result(None)
        for job in decision.refuse:
            text = f"it could not be answered within {job.deadline - job.arrived:g} s; ask for less, or allow more time"
            self._turns[job.number].set_exception(DeadlineExceeded(text, call="generate"))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if decision.at is not None:
            self._timer = asyncio.get_running_loop().call_at(decision.at, self._decide)

    def _charge(self, job: Job, read: int, made: int) -> None:
        at = now()
        if made:
            shares = self.scheduler.shares
            shares.pace += (1 - (1 - SMOOTH) ** made) * ((at - job.since) / made - shares.pace)
        job.since = at
        self.counts.read += read
        self.counts.made += made
        self.scheduler.charge(job, read, made)
        self.limit.count(at, len(self.scheduler.running), bool(self.scheduler.waiting), read, made)
        if self.scheduler.waiting or self.scheduler.settings.quotas:
            self._decide()

    def worked(self, job: Job, read: int, made: int) -> None:
        """Book tokens that were read and made for a job on slots that it leased."""
        self.counts.read += read
        self.counts.made += made
        self.scheduler.charge(job, read, made)

    def _leave(self, job: Job) -> None:
        if job.number in self.scheduler.running or job.number in self.scheduler.waiting:
            self.served += 1
            self.scheduler.leave(job, now())
            self._decide()

    @asynccontextmanager
    async def lease(self, job: Job, process: Owner) -> AsyncIterator[Sequence[int]]:
        """Hold `job.places` slots for the block: the kernel's to give, or the engine's own."""
        job.movable = False
        try:
            await self._turn(job, process)
            if self._slotted is None:
                assert isinstance(self.engine, Stepper)
                leased = self.engine.lease(job.places)
            else:
                leased = self.pager.lease(job.places)
            async with leased as slots:
                yield slots
        finally:
            self._leave(job)

    def overview(self, most: int = 0) -> dict[str, Json]:
        """What goes on here, as JSON: places, slots, pages, and the first `most` calls of the line."""
        return {
            **self.scheduler.overview(now(), most), "limit": self.limit.places, "most": self.limit.most,
            "served": self.served, "speeds": {str(places): speed for places, speed in self.limit.speeds.items()},
            "slots": [slot.overview() for slot in self.pager.slots], "pages": self.pager.tiers(),
            "counts": asdict(self.counts),
        }  # fmt: skip

    def by_process(self) -> dict[int, dict[str, float]]:
        """Of every process with calls or contexts here: tokens a second, seconds of waiting, tokens by where they lie.

        Speed and wait are those of its present calls; the speed leaves out the time that they waited.
        """
        found: defaultdict[int, dict[str, float]] = defaultdict(
            lambda: dict.fromkeys(("speed", "waited", "slot", "ram", "disk"), 0.0)
        )
        for number, job in {**self.scheduler.waiting, **self.scheduler.running}.items():
            waited = job.waited + (now() - job.since if number in self.scheduler.waiting else 0.0)
            row, served = found[job.pid], now() - job.arrived - waited
            row["waited"] += waited
            row["speed"] += job.made / served if job.made and served > 0 else 0.0
        for pid, place, tokens in self.pager.owned():
            found[pid][place] += tokens
        return dict(found)
