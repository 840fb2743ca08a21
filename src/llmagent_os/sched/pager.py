"""One engine's slots and pages: what the model computed is kept, forked and restored, wherever it lies.

A context is on a slot, in memory, on disk, or gone and computed again. Nobody waits here for a turn (see `dispatch`).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ..core.errors import EngineFailed
from ..core.ports import Owner, PageStore, Slotted, Work
from ..core.records import Json, Page
from .pages import Context, Contexts
from .prefixes import BLOCK

log = logging.getLogger(__name__)


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


class Pager:
    """The slots of an engine, and the pages of its contexts; an engine without slots has neither.

    `checkpoint`: an unfinished answer is saved after so many tokens (0: never).
    """

    def __init__(
        self, engine: Slotted | None, counts: Counts, store: PageStore | None = None, checkpoint: int = 0
    ) -> None:
        self.slots = [Slot(number) for number in range(engine.slots if engine is not None else 0)]
        self._engine, self._counts = engine, counts
        self._store, self._checkpoint = store, checkpoint
        self._contexts = Contexts()
        self._pages: dict[str, Context] = {}
        self._freed = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()

    def load(self, owner: Callable[[int], Owner | None]) -> None:
        """Take up the pages that an earlier run left for this model."""
        if self._store is None or self._engine is None:
            return
        for page in self._store.found(self._engine.fingerprint):
            context = Context(page.tokens, page.adapter, owner(page.pid), page.key, page=page, saved=len(page.tokens))
            self._pages[page.name] = context
            self._contexts.add(context)

    async def context(self, work: Work, adapter: str | None, process: Owner, key: str) -> Context:
        """The context of a call: a new one, or that of the same call before a crash."""
        left = self._contexts.of(key)
        if left is not None and work.movable and left.tokens[: len(work.prompt)] == work.prompt:
            left.owner = process
            if said := left.tokens[len(work.prompt) : left.saved]:
                await work.resume(said)
            left.made = len(said)
            return left
        return Context(work.prompt, adapter, process, key if process.service is None else "")

    def wanted(self, work: Work, context: Context) -> bool:
        """Whether to save now: somebody waits for a prefix that is there by now, or a checkpoint is due."""
        if self._store is None or not work.movable or (context.page is not None and context.page.readers):
            return False
        if any(work.computed >= tokens for tokens, _ in context.watchers):
            return True
        return bool(self._checkpoint and context.key) and context.dirty >= self._checkpoint

    def grown(self, context: Context, work: Work) -> None:
        """Note what lies on the slot by now: all but the last token, which the next slice reads."""
        context.tokens = (work.prompt + work.said)[: work.computed + 1]
        context.used = now()
        self._contexts.add(context)

    def put_down(self, context: Context, slot: Slot, work: Work) -> None:
        """A slice has ended, somehow: leave the context on its slot, and wake who waited for either."""
        if slot.context is context and work.computed:
            self.grown(context, work)
        elif slot.context is context:
            self._displace(slot)
        context.wake()
        self.release(slot)

    async def take(self, context: Context) -> tuple[Slot, Context | None, int]:
        """Take a slot; also says which context begins like this one, and with how many tokens."""
        while all(slot.busy for slot in self.slots) or self._busy(context):  # for the moment that saving it takes
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
            for shared, other in self._contexts.sharing(context.tokens, context.adapter)
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

    async def bring(self, context: Context, slot: Slot, source: Context | None, shared: int) -> None:
        """Bring to the slot what has been computed of the context, where it is not there already."""
        here = source is not None and source.slot == slot.number
        if not (here and (source is context or self._expendable(source, shared))):
            await self._evict(slot)
        if slot.context is not context:
            self._displace(slot)
        slot.context = context
        context.slot, context.used = slot.number, now()
        self._contexts.add(context)
        if source is not None and not here:
            context.waits = True
            try:
                if source is not context:  # whose page may be gone by now: it would wait for itself
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
            for shared, other in self._contexts.sharing(context.tokens, context.adapter)
            if other is not context
        ]
        missing = len(context.tokens) - max(pages, default=0)
        least = 1 if context.unfinished else BLOCK if context.worth()[0] else len(context.tokens) // 2
        if missing >= least:
            await self.save(context, slot)

    def _displace(self, slot: Slot) -> None:
        """Leave what lies on a slot with its page, or forget it."""
        context, slot.context = slot.context, None
        if context is not None:
            context.slot = None
            context.wake()
            self._freed.set()  # it may wait for its own slot no longer
            if context.page is None:
                self._contexts.drop(context)

    async def _publish(self, source: Context, shared: int) -> None:
        """Have a context's beginning in a page file: saved where it is idle, else by who runs it, at the next token."""
        while source.saved + BLOCK <= shared and source.slot is not None and self._store is not None:
            slot = self.slots[source.slot]
            if not slot.busy:
                slot.busy = True
                try:
                    await self.save(source, slot)
                finally:
                    self.release(slot)
                return
            event = asyncio.Event()
            source.watchers.append((shared, event))
            await event.wait()

    async def save(self, context: Context, slot: Slot) -> None:
        """Write what lies on a slot, which is the caller's, to a new page of the context."""
        assert self._engine is not None and self._store is not None
        pid = context.owner.pid if context.owner is not None else 0
        name, fingerprint = uuid.uuid4().hex, self._engine.fingerprint
        page = Page(name, fingerprint, context.tokens, context.adapter, context.key, pid, 0)
        try:
            page.tokens = context.tokens[: await self._engine.save(slot.number, self._store.path(page))]
            self._store.keep(page)
        except (EngineFailed, OSError) as error:
            log.warning("a context is not kept: %s", error)
            context.saved, context.dirty = len(context.tokens), 0  # do not try again at every token
            return
        finally:
            context.wake()
        self._counts.saves += 1
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
                self._contexts.drop(context)

    async def _fit(self) -> None:
        assert self._store is not None
        for page in await self._store.fit(lambda page: self._worth(page)):
            context = self._pages.pop(page.name, None)
            if context is not None and context.page is page:
                context.page, context.saved = None, 0
                if context.slot is None:
                    self._contexts.drop(context)

    def _worth(self, page: Page) -> tuple[int, float]:
        context = self._pages.get(page.name)
        return context.worth() if context is not None else (0, 0.0)

    async def _restore(self, source: Context, slot: Slot) -> None:
        """Fill a slot from a page; one that is damaged is deleted, and its tokens are computed again."""
        assert self._engine is not None
        page, store = source.page, self._store
        if page is None or store is None:
            return
        try:
            with store.reading(page) as path:
                if not await store.check(page):
                    raise EngineFailed("the file is damaged")
                await self._engine.restore(slot.number, path, page.adapter)
            source.used = now()
            self._counts.restores += 1
        except EngineFailed as error:
            self._counts.damaged += 1
            log.warning("a page of %d tokens (%s) is computed again: %s", len(page.tokens), page.tier, error.message)
            if source.page is page:
                self._forget(source)

    def release(self, slot: Slot) -> None:
        """A slot is free for others."""
        slot.busy = False
        self._freed.set()

    @asynccontextmanager
    async def lease(self, width: int) -> AsyncIterator[Sequence[int]]:
        """Hold so many slots for the block, with nothing on them; what somebody may come back for is saved."""
        taken: list[Slot] = []
        try:
            while len(taken) < width:
                slot, _, _ = await self.take(Context([], None, None))
                taken.append(slot)
                await self._evict(slot)
                self._displace(slot)
            yield [slot.number for slot in taken]
        finally:
            for slot in taken:
                self.release(slot)

    def tiers(self) -> dict[str, dict[str, int]]:
        """How many pages there are in memory and on disk, and what they hold."""
        tiers = {tier: {"count": 0, "bytes": 0, "tokens": 0} for tier in ("ram", "disk")}
        for context in self._pages.values():
            if (page := context.page) is not None:
                for name, amount in (("count", 1), ("bytes", page.size), ("tokens", len(page.tokens))):
                    tiers[page.tier][name] += amount
        return tiers

    def owned(self) -> Iterator[tuple[int, str, int]]:
        """Of every context that is somebody's: whose, where it lies (`slot`, `ram`, `disk`), and how many tokens."""
        for context in {*self._pages.values(), *(slot.context for slot in self.slots)}:
            if context is not None and context.owner is not None:
                yield context.owner.pid, "slot", len(context.tokens) if context.slot is not None else 0
                if context.page is not None:
                    yield context.owner.pid, context.page.tier, len(context.page.tokens)

    async def close(self) -> None:
        """Wait for what goes on in the background."""
        await asyncio.gather(*self._background, return_exceptions=True)


def now() -> float:
    """Seconds of the event loop's clock."""
    return asyncio.get_running_loop().time()
