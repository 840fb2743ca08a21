"""Blocking engines on threads: each call is a stream of events for the event loop, cancelled when it is left."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

from ..core.errors import EngineFailed, EngineUnavailable

DRAINED = 0.05  # seconds between two looks
_STALL_SECONDS = 30.0
_FAILURE_SECONDS = 10.0  # how long one failure shows in `health`, unless a call succeeds before

_T = TypeVar("_T")


class Workers:
    """The threads of one engine: as many calls at once as it has threads, the rest wait their turn."""

    def __init__(self, engine: str, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=engine)
        self._relay: _Relay | None = None
        self._running: set[Stream[Any]] = set()
        self._closed = False
        self._failure, self._failed_at = "", 0.0

    @contextmanager
    def run(self, work: Callable[[Callable[[_T], bool]], object]) -> Iterator[Stream[_T]]:
        """Start `work(take)` on a thread; it calls `take(event)` for each event and stops when that is True.

        Leaving the block makes it True. Raises EngineUnavailable once closed.
        """
        self.check_open()
        stream: Stream[_T] = Stream(self._engine, self._relay_here())
        future = self._threads.submit(work, stream.take)
        future.add_done_callback(stream.end)
        self._running.add(stream)
        try:
            yield stream
            self._failure = ""
        except EngineFailed as error:
            self._failure, self._failed_at = error.message, time.monotonic()
            raise
        finally:
            stream.cancelled = True
            future.cancel()
            self._running.discard(stream)

    def check_open(self) -> None:
        """Raise EngineUnavailable once closed."""
        if self._closed:
            raise EngineUnavailable(f"this {self._engine} engine is closed; open it again", engine=self._engine)

    def health(self) -> str | None:
        """What is wrong: closed, a failure a moment ago, or a call that has not moved for 30 seconds."""
        if self._closed:
            return "closed"
        now = time.monotonic()
        silence = now - max((stream.moved for stream in self._running), default=now)
        if silence > _STALL_SECONDS:
            return f"nothing has come from the engine for {silence:.0f} s; it may be stuck"
        return self._failure if self._failure and now - self._failed_at < _FAILURE_SECONDS else None

    async def drained(self) -> None:
        """Wait until what runs now has ended; what begins meanwhile does not count."""
        running = set(self._running)
        while running & self._running:
            await asyncio.sleep(DRAINED)

    async def close(self) -> None:
        """Stop what runs (its callers get EngineUnavailable) and wait for the threads."""
        self._closed = True
        for stream in self._running:
            stream.closed = stream.cancelled = True
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def _relay_here(self) -> _Relay:
        loop = asyncio.get_running_loop()
        if self._relay is None or self._relay.loop is not loop:
            self._relay = _Relay(loop)
        return self._relay


class Stream(Generic[_T]):
    """One call's events. The worker calls `take` and `end`; the event loop iterates, and gets what the work raised."""

    def __init__(self, engine: str, relay: _Relay) -> None:
        self.cancelled = False
        self.closed = False
        self.moved = time.monotonic()
        self._engine = engine
        self._relay = relay
        self._events: deque[_T | Future[object]] = deque()
        self._ready = asyncio.Event()
        self._over = False

    def take(self, event: _T) -> bool:
        """Pass an event on; True asks the work to stop."""
        self.moved = time.monotonic()
        if not self.cancelled:
            self._relay.put(self, event)
        return self.cancelled

    def end(self, work: Future[object]) -> None:
        """The work is over: done, failed, or cancelled before it began."""
        self._relay.put(self, work)

    def deliver(self, event: _T | Future[object]) -> None:
        """Called by the relay on the event loop."""
        self._events.append(event)
        self._ready.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        while not self._events:
            await self._ready.wait()
            self._ready.clear()
        event = self._events.popleft()
        if isinstance(event, Future):
            self._over = True
            self._finish(event)
            raise StopAsyncIteration
        return event

    async def stop(self) -> None:
        """Ask the work to stop, and wait until it has."""
        self.cancelled = True
        while not self._over:
            while not self._events:
                await self._ready.wait()
                self._ready.clear()
            self._over = isinstance(self._events.popleft(), Future)

    def _finish(self, work: Future[object]) -> None:
        if self.closed or work.cancelled():
            raise EngineUnavailable(f"the {self._engine} engine was closed", engine=self._engine)
        work.result()


class _Relay:
    """Carries events to an event loop, waking it once for many."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._events: deque[tuple[Stream[Any], Any]] = deque()
        self._woken = False

    def put(self, stream: Stream[Any], event: object) -> None:
        """Called from any thread."""
        self._events.append((stream, event))
        if not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop is closed: nobody waits any more
                stream.cancelled = True

    def _drain(self) -> None:
        self._woken = False  # before the queue is emptied: what comes after finds it false and wakes the loop again
        while self._events:
            stream, event = self._events.popleft()
            stream.deliver(event)
