"""One engine's places at work: puts jobs on, takes them off at a token, and keeps, forks and restores their contexts.

The scheduler decides who runs; here is done what it says. On an engine with slots a job is run in slices, and what the
model computed for it is a page: on a slot, in memory, on disk, or gone and computed again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DeadlineExceeded, EngineFailed, LLMAgentOSError
from ..core.ports import Engine, Owner, PageStore, Slotted, Stepper, Work
from ..core.records import NOTHING, Chunk, GenerateRequest, Json, Page
from ..core.stream import estimate, tokens_in
from .limit import Limit
from .pages import Context, Contexts
from .prefixes import BLOCK
from .scheduler import Job, Scheduler, SchedulerSettings

log = logging.getLogger(__name__)

SMOOTH = 0.02  # the weight of a token in the average of how long one takes
BOOKED = 16  # tokens that are booked together where nobody can take the place meanwhile


@dataclass(slots=True, eq=False)
class Slot:
    """A slot of the engine. While it is busy, only who made it so may touch it."""

    number: int
    context: Context | None = None
    busy: bool = False

    def worth(self) -> tuple[int, float]:
        """What is taken first: an empty slot, then that of the context worth least."""
        return self.context.worth() if self.context is not None else (-1, 0.0)

    def overview(self) -> dict[str, Json]:
        """Whose context lies here, and how much of one."""
        context = self.context
        owner, tokens = (context.owner, len(context.tokens)) if context is not None else (None, 0)
        return {
            "slot": self.number, "busy": self.busy, "pid": owner.pid if owner is not None else None, "tokens": tokens,
            "adapter": context.adapter if context is not None else None,
            "unfinished": context is not None and context.unfinished,
        }  # fmt: skip


@dataclass(slots=True)
class Counts:
    """What happened on an engine since the start. `read` and `made` are tokens, `damaged` pages that had to go."""

    preemptions: int = 0
    saves: int = 0
    restores: int = 0
    damaged: int = 0
    read: int = 0
    made: int = 0


class Dispatcher:
    """Serves the calls to one engine. `checkpoint`: an unfinished answer is saved after so many tokens (0: never)."""

    def __init__(
        self, engine: Engine, settings: SchedulerSettings, store: PageStore | None = None, checkpoint: int = 0
    ) -> None:
        self.engine = engine
        self.scheduler = Scheduler(settings, engine.info.limit)
        self.contexts = Contexts()
        self._slotted = engine if isinstance(engine, Slotted) else None  # asked once: a protocol is slow to ask for
        self.stepped = isinstance(engine, Stepper)
        self.slots = [Slot(number) for number in range(self._slotted.slots if self._slotted is not None else 0)]
        self.served = 0
        self.counts = Counts()
        self.limit = Limit(engine.info.limit, learns=bool(self.slots))
        self._store, self._checkpoint = store, checkpoint
        self._turns: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._freed = asyncio.Event()
        self._pages: dict[str, Context] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def load(self, owner: Callable[[int], Owner | None]) -> None:
        """Take up the pages that an earlier run left for this model."""
        if self._store is None or self._slotted is None:
            return
        for page in self._store.found(self._slotted.fingerprint):
            context = Context(page.tokens, page.adapter, owner(page.pid), page.key, page=page, saved=len(page.tokens))
            self._pages[page.name] = context
            self.contexts.add(context)

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
            context = await self._context(work, request.adapter, process, key)
            while True:
                await self._turn(job, process)
                context.tokens = work.prompt + work.said
                slot, source, shared = await self._take(context)
                try:
                    await self._bring(context, slot, source, shared)
                    async with aclosing(self._slice(job, work, context, slot)) as chunks:
                        async for chunk in chunks:
                            if chunk != NOTHING:
                                yield chunk
                            if chunk.finish is not None:
                                context.key, context.unfinished = "", False
                                return
                finally:
                    self._put_down(context, slot, work)
                self.scheduler.vacate(job)
                self.counts.preemptions += 1
        finally:
            self._leave(job)

    async def _context(self, work: Work, adapter: str | None, process: Owner, key: str) -> Context:
        """The context of a call: a new one, or that of the same call before a crash."""
        left = self.contexts.of(key)
        if left is not None and work.movable and left.tokens[: len(work.prompt)] == work.prompt:
            left.owner = process
            if said := left.tokens[len(work.prompt) : left.saved]:
                await work.resume(said)
            left.made = len(said)
            return left
        return Context(work.prompt, adapter, process, key if process.service is None else "")

    async def _slice(self, job: Job, work: Work, context: Context, slot: Slot) -> AsyncGenerator[Chunk]:
        """Run on a slot, pausing to save the context for those who wait to fork it."""
        while True:
            async with aclosing(work.run(slot.number)) as chunks:
                async for chunk in chunks:
                    self._progress(job, work, context)
                    yield chunk
                    if chunk.finish is not None or job.leaving:
                        return
                    if self._wanted(work, context):
                        break
            self._grown(context, work)
            await self._save(context, slot)

    def _progress(self, job: Job, work: Work, context: Context) -> None:
        """Book what was read and made since the last time."""
        made, context.made = len(work.said) - context.made, len(work.said)
        job.movable = context.movable = work.movable
        context.dirty += work.read - job.read + made
        self._charge(job, work.read - job.read, made)

    def _wanted(self, work: Work, context: Context) -> bool:
        """Whether to save now: somebody waits for a prefix that is there by now, or a checkpoint is due."""
        if self._store is None or not work.movable or (context.page is not None and context.page.readers):
            return False
        if any(work.computed >= tokens for tokens, _ in context.watchers):
            return True
        return bool(self._checkpoint and context.key) and context.dirty >= self._checkpoint

    def _grown(self, context: Context, work: Work) -> None:
        """Note what lies on the slot by now: all but the last token, which the next slice reads."""
        context.tokens = (work.prompt + work.said)[: work.computed + 1]
        context.used = now()
        self.contexts.add(context)

    def _put_down(self, context: Context, slot: Slot, work: Work) -> None:
        """A slice has ended, somehow: leave the context on its slot, and wake who waited for either."""
        if slot.context is context and work.computed:
            self._grown(context, work)
        elif slot.context is context:
            self._displace(slot)
        context.wake()
        self._release(slot)

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

    # -- slots and pages

    async def _take(self, context: Context) -> tuple[Slot, Context | None, int]:
        """Take a slot; also says which context begins like this one, and with how many tokens."""
        while all(slot.busy for slot in self.slots):  # one may be busy for the moment that saving it takes
            self._freed.clear()
            await self._freed.wait()
        shared, source = self._source(context)
        idle = [slot for slot in self.slots if not slot.busy]
        slot = next((s for s in idle if source is not None and s.number == source.slot), None)
        if slot is None or not (source is context or self._expendable(source, shared)):
            slot = min(idle, key=lambda each: (each is slot, each.worth()))
        slot.busy = True
        return slot, source, shared

    def _source(self, context: Context) -> tuple[int, Context | None]:
        """Of the contexts that begin like this one the best to go on from, and how many of its tokens can be had."""
        found = [
            (self._to_be_had(shared, other), other)
            for shared, other in self.contexts.sharing(context.tokens, context.adapter)
        ]
        ready = [
            (shared // BLOCK, other is context, other.readiness(self._busy(other)), shared, other)
            for shared, other in found
        ]
        *_, shared, source = max(ready, key=lambda each: each[:3], default=(0, None))
        return (shared, source) if shared >= BLOCK else (0, None)

    def _busy(self, context: Context) -> bool:
        return context.slot is not None and self.slots[context.slot].busy

    def _to_be_had(self, shared: int, other: Context) -> int:
        """How many of the shared tokens can be taken over: what runs can be forked where it can stop."""
        if other.slot is None or (self._busy(other) and not (other.movable and not other.waits)):
            return min(shared, other.saved)
        return shared

    def _expendable(self, context: Context | None, shared: int) -> bool:
        """Whether nothing is lost when only the first `shared` tokens of a context on a slot are kept."""
        if context is None or not context.unsaved():
            return True
        return not context.unfinished and (context.worth()[0] == 0 or len(context.tokens) - shared < BLOCK)

    async def _bring(self, context: Context, slot: Slot, source: Context | None, shared: int) -> None:
        """Bring to the slot what has been computed of the context, where it is not there already."""
        here = source is not None and source.slot == slot.number
        if not (here and (source is context or self._expendable(source, shared))):
            await self._evict(slot)
        if slot.context is not context:
            self._displace(slot)
        slot.context = context
        context.slot, context.used = slot.number, now()
        self.contexts.add(context)
        if source is not None and not here:
            context.waits = True
            try:
                await self._publish(source, shared)
                await self._restore(source, slot)
            finally:
                context.waits = False

    async def _evict(self, slot: Slot) -> None:
        """Save what lies on a slot, if somebody may come back for it and no other page has nearly all of it."""
        context = slot.context
        if context is None or self._store is None or not context.unsaved():
            return
        pages = [
            min(shared, other.saved)
            for shared, other in self.contexts.sharing(context.tokens, context.adapter)
            if other is not context
        ]
        missing = len(context.tokens) - max(pages, default=0)
        least = 1 if context.unfinished else BLOCK if context.worth()[0] else len(context.tokens) // 2
        if missing >= least:
            await self._save(context, slot)

    def _displace(self, slot: Slot) -> None:
        """Leave what lies on a slot with its page, or forget it."""
        context, slot.context = slot.context, None
        if context is not None:
            context.slot = None
            context.wake()
            if context.page is None:
                self.contexts.drop(context)

    async def _publish(self, source: Context, shared: int) -> None:
        """Have a context's beginning in a page file: saved where it is idle, else by who runs it, at the next token."""
        while source.saved + BLOCK <= shared and source.slot is not None and self._store is not None:
            slot = self.slots[source.slot]
            if not slot.busy:
                slot.busy = True
                try:
                    await self._save(source, slot)
                finally:
                    self._release(slot)
                return
            event = asyncio.Event()
            source.watchers.append((shared, event))
            await event.wait()

    async def _save(self, context: Context, slot: Slot) -> None:
        """Write what lies on a slot, which is the caller's, to a new page of the context."""
        assert self._slotted is not None and self._store is not None
        pid = context.owner.pid if context.owner is not None else 0
        name, fingerprint = uuid.uuid4().hex, self._slotted.fingerprint
        page = Page(name, fingerprint, context.tokens, context.adapter, context.key, pid, 0)
        try:
            page.tokens = context.tokens[: await self._slotted.save(slot.number, self._store.path(page))]
            self._store.keep(page)
        except (EngineFailed, OSError) as error:
            log.warning("a context is not kept: %s", error)
            context.saved, context.dirty = len(context.tokens), 0  # do not try again at every token
            return
        finally:
            context.wake()
        self.counts.saves += 1
        self._forget(context)
        context.page, context.saved, context.dirty = page, len(page.tokens), 0
        self._pages[page.name] = context
        task = asyncio.get_running_loop().create_task(self._fit())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _forget(self, context: Context) -> None:
        """Drop a context's page."""
        if context.page is not None and self._store is not None:
            self._store.drop(context.page)
            self._pages.pop(context.page.name, None)
        context.page, context.saved = None, 0

    def forget(self, pids: Collection[int]) -> None:
        """Drop the pages of processes."""
        for context in [each for each in self._pages.values() if each.page is not None and each.page.pid in pids]:
            self._forget(context)
            if context.slot is None:
                self.contexts.drop(context)

    async def _fit(self) -> None:
        assert self._store is not None
        for page in await self._store.fit(lambda page: self._worth(page)):
            context = self._pages.pop(page.name, None)
            if context is not None and context.page is page:
                context.page, context.saved = None, 0
                if context.slot is None:
                    self.contexts.drop(context)

    def _worth(self, page: Page) -> tuple[int, float]:
        context = self._pages.get(page.name)
        return context.worth() if context is not None else (0, 0.0)

    async def _restore(self, source: Context, slot: Slot) -> None:
        """Fill a slot from a page; one that is damaged is deleted, and its tokens are computed again."""
        assert self._slotted is not None
        page, store = source.page, self._store
        if page is None or store is None:
            return
        try:
            with store.reading(page) as path:
                if not await store.check(page):
                    raise EngineFailed("the file is damaged")
                await self._slotted.restore(slot.number, path, page.adapter)
            source.used = now()
            self.counts.restores += 1
        except EngineFailed as error:
            self.counts.damaged += 1
            log.warning("a page of %d tokens (%s) is computed again: %s", len(page.tokens), page.tier, error.message)
            if source.page is page:
                self._forget(source)

    def _release(self, slot: Slot) -> None:
        slot.busy = False
        self._freed.set()

    # -- several places at once

    @asynccontextmanager
    async def lease(self, job: Job, process: Owner) -> AsyncIterator[Sequence[int]]:
        """Hold `job.places` slots for the block."""
        job.movable = False
        taken: list[Slot] = []
        try:
            await self._turn(job, process)
            while len(taken) < job.places:
                slot, _, _ = await self._take(Context([], None, None))
                taken.append(slot)
                await self._evict(slot)
                self._displace(slot)
            yield [slot.number for slot in taken]
        finally:
            for slot in taken:
                self._release(slot)
            self._leave(job)

    def overview(self, most: int = 0) -> dict[str, Json]:
        """What goes on here, as JSON: places, slots, pages, and the first `most` calls of the line."""
        tiers = {tier: {"count": 0, "bytes": 0, "tokens": 0} for tier in ("ram", "disk")}
        for context in self._pages.values():
            if (page := context.page) is not None:
                for name, amount in (("count", 1), ("bytes", page.size), ("tokens", len(page.tokens))):
                    tiers[page.tier][name] += amount
        return {
            **self.scheduler.overview(now(), most), "limit": self.limit.places, "most": self.limit.most,
            "served": self.served, "speeds": {str(places): speed for places, speed in self.limit.speeds.items()},
            "slots": [slot.overview() for slot in self.slots], "pages": tiers, "counts": asdict(self.counts),
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
        for context in {*self._pages.values(), *(slot.context for slot in self.slots)}:
            if context is not None and context.owner is not None:
                row = found[context.owner.pid]
                row["slot"] += len(context.tokens) if context.slot is not None else 0
                if context.page is not None:
                    row[context.page.tier] += len(context.page.tokens)
        return dict(found)

    async def close(self) -> None:
        """Wait for what goes on in the background."""
        await asyncio.gather(*self._background, return_exceptions=True)


def now() -> float:
    """Seconds of the event loop's clock."""
    return asyncio.get_running_loop().time()
