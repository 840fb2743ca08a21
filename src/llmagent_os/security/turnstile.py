"""The turnstile: while a person looks at a call, no other call of its process changes what was shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ..core.records import Call
from ..kernel.process import Process


@dataclass(slots=True)
class _Acts:
    """Of the calls of a process: those that a person looks at, and the one that was allowed and is at work."""

    shown: list[Call] = field(default_factory=list)
    working: Call | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def holds(self, call: Call) -> bool:
        """Whether a call has to wait."""
        others = [each for each in (*self.shown, self.working) if each is not None and each is not call]
        return bool(others)

    def tell(self) -> None:
        """Let who waits look again."""
        self.news.set()
        self.news = asyncio.Event()

    def end(self) -> None:
        """What was at work is done."""
        self.working = None
        self.tell()


class Turnstile:
    """Holds the acts of a process while others are asked about, and while one that was allowed is at work."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Process, _Acts] = WeakKeyDictionary()

    @contextmanager
    def showing(self, call: Call, process: Process) -> Iterator[None]:
        """A block in which a person looks at a call."""
        found = self._of.setdefault(process, _Acts())
        found.shown.append(call)
        try:
            yield
        finally:
            found.shown = [each for each in found.shown if each is not call]
            found.tell()

    async def passes(self, call: Call, process: Process, allowed: bool) -> bool:
        """Whether a call may begin, now; False after it had to wait, for it is to be judged anew.

        One that a person has `allowed` works alone, until it is over.
        """
        found = self._of.get(process)
        waited = False
        while found is not None and found.holds(call):
            waited = True
            with _standing(call):
                await found.news.wait()
        if allowed and found is not None and not waited and found.working is not call:
            found.working = call
            call.ends.append(found.end)
        return not waited


@contextmanager
def _standing(call: Call) -> Iterator[None]:
    """A block whose time is not the call's, but a person's."""
    if call.clock is not None:
        call.clock.stop()
    yield
    if call.clock is not None:
        call.clock.start()
