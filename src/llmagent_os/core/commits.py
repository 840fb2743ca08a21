"""Group commit over a store: statements of one tick of the event loop become durable together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .errors import Conflict, InvalidRequest, JournalBusy, JournalUnavailable, LLMAgentOSError
from .ports import Store
from .worker import Worker

Statement = tuple[str, tuple[Any, ...]]
Taken = Callable[[Sequence[Statement], bool], None]

CHECKPOINT_EVERY = 4000  # entries; keeps the write-ahead log at some tens of megabytes
PATIENCE = 60.0  # seconds that a commit may take for those who say nothing else
WAIT = 5.0  # seconds that a commit waits for somebody else who writes
TARDY = 0.05  # seconds that a small commit may take before the next ones are a thread's
TRUST = 0.5  # seconds after a quick commit in which the next is expected to be quick, and is made without a thread
MISTRUST = 60.0  # for so many seconds
LIGHT = 1 << 17  # bytes; so much is written without a thread
BULKY = frozenset({"blob.add", "record.put"})
EACH = 512  # bytes: what a statement of another kind weighs, about, for its longer values are blobs
LOOK = 0.2  # seconds between two looks at who has waited long enough
SLOW = 1.0  # seconds after which a commit is said to be in trouble
DRAIN = 10.0  # seconds that a shutdown waits for the disk
UNAVAILABLE = (JournalUnavailable, OSError, MemoryError)
"""Errors of a commit that say nothing of what was to be written."""
OWN_FAULT = (InvalidRequest, Conflict)
"""Errors of a commit that say something of what was to be written, and nothing of the store."""

log = logging.getLogger(__name__)


class _Commit(asyncio.Future[None]):
    """What a commit becomes. Whoever waits for it may go; it is written all the same, so they hear that first."""

    def cancel(self, msg: Any = None) -> bool:
        """Not possible: who is cancelled while it waits goes on when it is written, or was not."""
        return False


@dataclass(slots=True, eq=False)
class Entry:
    """Statements that are committed together, and what happens then."""

    statements: Sequence[Statement]
    future: asyncio.Future[None]
    then: Callable[[], None] | None
    due: float  # by the loop's clock; after it nobody waits any more

    def settle(self, error: LLMAgentOSError | None) -> None:
        """It is written, or was not: let it take effect, and tell who still waits."""
        if error is None and self.then is not None:
            _attempt(self.then)
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(None)


class Commits:
    """Collects statements and commits them in groups: at once where that takes no waiting, else in a thread.

    A disk that takes its time, or a lock that somebody else holds, does not stop the loop; what arrives meanwhile
    makes the next group. Whoever waits is answered when its patience ends, whatever the disk does. `taken` is told what
    of a group was committed, and whether that is all that can have been.
    """

    def __init__(self, store: Store, taken: Taken) -> None:
        self._store, self._taken = store, taken
        self._trouble: str | None = None
        self._worker = Worker("journal", self._commit, self._settle) if store.concurrent else None
        self._pending: list[Entry] = []
        self._flight: list[Entry] = []  # the group that is being committed
        self._slow_until = self._quick_until = 0.0
        self._since = 0.0  # when it was handed over
        self._patience = PATIENCE
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._written = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def trouble(self) -> str | None:
        """Why the last commit failed, or that one takes too long; None once one succeeds again."""
        waited = time.monotonic() - self._since if self._flight else 0.0
        return f"a commit is not through after {waited:.1f} s" if waited > SLOW else self._trouble

    def append(
        self, statements: Sequence[Statement], then: Callable[[], None] | None = None, patience: float = PATIENCE
    ) -> asyncio.Future[None]:
        """Queue statements for the next commit; the future ends when they are durable, or with why they are not.

        `then` is called once they are, whoever still waits. After `patience` (seconds) the future ends with
        JournalUnavailable: what was not begun by then is not written, of the rest nobody knows yet.
        """
        loop = asyncio.get_running_loop()
        future = _Commit(loop=loop)
        self._pending.append(Entry(statements, future, then, loop.time() + min(patience, self._patience)))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)
        return future

    def _start(self) -> None:
        group, self._pending = self._pending, []
        if self._worker is None:
            self._settle(group, self._commit(group))
            return
        if self._store.prompt and self._slow_until <= time.monotonic() < self._quick_until and _weight(group) < LIGHT:
            with suppress(JournalBusy):  # to wait for somebody else is the thread's
                self._settle(group, self._here(group))
                return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._flight, self._since = group, time.monotonic()
        self._timer = loop.call_later(LOOK, self._look)
        self._worker.put(loop, group)

    def _here(self, group: list[Entry]) -> list[LLMAgentOSError | None]:
        """Commit without a thread, which would cost more than that; from a disk that is slow, once."""
        began = time.monotonic()
        outcomes = self._commit(group, 0.0)
        if self._weigh(began) > TARDY:
            self._slow_until = time.monotonic() + MISTRUST
        return outcomes

    def _weigh(self, began: float) -> float:
        """How long a commit took, which says what to expect of the next for a while."""
        ended = time.monotonic()
        self._quick_until = ended + TRUST if ended - began < TARDY else 0.0
        return ended - began

    def _look(self) -> None:
        """Answer those whose patience ended while a commit is not through."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for entry in (*self._flight, *self._pending):
            if entry.due <= now and not entry.future.done():
                entry.future.set_exception(JournalUnavailable(f"the journal does not answer: {self.trouble}"))
        self._pending = [entry for entry in self._pending if entry.due > now]
        self._timer = loop.call_later(LOOK, self._look)

    def _commit(self, group: list[Entry], patience: float = WAIT) -> list[LLMAgentOSError | None]:
        """Commit all entries at once; where one is at fault one by one, so that it stops only whoever made it.

        Without `patience` (seconds) raises JournalBusy where it would have to wait for somebody else.
        """
        try:
            self._store.write([statement for entry in group for statement in entry.statements], patience)
        except JournalBusy as error:
            if not patience:
                raise
            return [error] * len(group)
        except UNAVAILABLE as error:  # for all of them, and perhaps written nevertheless
            return [_refused(error)] * len(group)
        except Exception as error:  # whatever it is, everybody in the group is answered
            if len(group) == 1:
                return [_refused(error)]
        else:
            self._written += len(group)
            return [None] * len(group)
        outcomes: list[LLMAgentOSError | None] = []
        for number, entry in enumerate(group, 1):
            outcomes += self._commit([entry])
            last = outcomes[-1]
            if isinstance(last, JournalUnavailable) and "refused" not in last.facts:  # so will be the others, as late
                return outcomes + outcomes[-1:] * (len(group) - number)
        return outcomes

    def _settle(self, group: list[Entry], outcomes: list[LLMAgentOSError | None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._flight:
            self._weigh(self._since)
        self._flight, self._timer = [], None
        done: list[Statement] = []
        for entry, error in zip(group, outcomes, strict=True):
            self._trouble = None if error is None or isinstance(error, OWN_FAULT) else error.message
            entry.settle(error)
            if error is None:
                done += entry.statements
        self._taken(done, not any(outcomes))
        if self._trouble is not None:
            self._timer = asyncio.get_running_loop().call_later(SLOW, self._probe)
        if self._written >= CHECKPOINT_EVERY:
            self._written = 0
            self._spawn(self._checkpoint())
        if self._pending:
            asyncio.get_running_loop().call_soon(self._start)
        else:
            self._scheduled = False

    def _probe(self) -> None:
        """Find out whether the trouble is over, where nobody else writes."""
        if self._trouble is not None and not self._scheduled:
            probe = self.append([("record.put", ("journal", "probe", 1, b"null", time.time()))])
            probe.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def _checkpoint(self) -> None:
        try:
            await asyncio.to_thread(self._store.checkpoint)
        except LLMAgentOSError as error:
            self._trouble = error.message

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def hurry(self) -> None:
        """The system stops: from now on nobody waits long for the disk."""
        self._patience = DRAIN / 2
        until = asyncio.get_running_loop().time() + self._patience
        for entry in (*self._flight, *self._pending):
            entry.due = min(entry.due, until)

    async def drain(self) -> bool:
        """Wait until everything queued so far is committed; False where that takes too long."""
        until = time.monotonic() + DRAIN
        while self._scheduled and time.monotonic() < until:
            await asyncio.sleep(0.001)
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, until - time.monotonic()))
        return not self._scheduled


def _weight(group: Sequence[Entry]) -> int:
    """The bytes of what is to be written, about."""
    weight = 0
    for entry in group:
        weight += EACH * len(entry.statements)
        for name, values in entry.statements:
            if name in BULKY:
                weight += sum([len(value) for value in values if type(value) is bytes])
    return weight


def _attempt(effect: Callable[[], None]) -> None:
    """Let what was committed take effect; where that fails, the others of the group still hear of theirs."""
    try:
        effect()
    except Exception:
        log.exception("a commit could not take effect")


def _refused(error: Exception) -> LLMAgentOSError:
    """The error that a commit failed with, as its caller is told."""
    if isinstance(error, LLMAgentOSError):
        return error
    log.error("the journal could not write a group", exc_info=error)
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, UNAVAILABLE):
        return JournalUnavailable(f"the journal cannot be written ({text}); try again later")
    return JournalUnavailable(f"the journal did not take this ({text}); try again later", refused=type(error).__name__)
