"""The turnstile: while a person looks at a call, no other call of its process changes what was shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

from ..core.records import Call
from ..kernel.process import Process


@dataclass(slots=True)
class _Acts:
    """Of the calls of a process: those that a person looks at, the one that was allowed and is at work, and the others

    that are at work.
    """

    shown: list[Call] = field(default_factory=list)
    working: Call | None = None
    others: list[Call] = field(default_factory=list)
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
        """What was allowed is done."""
        self.working = None
        self.tell()

    def over(self, call: Call) -> None:
        """One of the others is done."""
        self.others = [each for each in self.others if each is not call]
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

        One that a person has `allowed` works alone: once what began before is over, which may change what was shown.
        """
        found = self._of.setdefault(process, _Acts())
        waited = False
        while found.holds(call):
            waited = True
            await _news(found, call)
        if waited or found.working is call:
            return not waited
        if not allowed:
            found.others.append(call)
            call.ends.append(partial(found.over, call))
            return True
        found.working = call
        call.ends.append(found.end)
        while any(each is not call for each in found.others):
            await _news(found, call)
        return True


async def _news(acts: _Acts, call: Call) -> None:
    """Wait until something is over."""
    with _standing(call):
        await acts.news.wait()


@contextmanager
def _standing(call: Call) -> Iterator[None]:
    """A block whose time is not the call's, but a person's."""
    if call.clock is not None:
        call.clock.stop()
    yield
    if call.clock is not None:
        call.clock.start()
