"""Answers that are made while nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from .errors import TooManyRequests

MOST = 100  # that one person may have at a time
AGAIN = 5  # seconds after which one of them may have ended

Whose = tuple[str, str]
"""A tenant and a principal."""


class Background:
    """The responses that are being answered in the background, by their ids. They end with the system."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._whose: dict[str, Whose] = {}
        self._unkept: set[str] = set()
        self.closing = False

    def check(self, whose: Whose) -> None:
        """Raise TooManyRequests where somebody has as many as they may."""
        if sum(each == whose for each in self._whose.values()) >= MOST:
            text = f"{MOST} responses are being answered in the background; wait for one of them, or cancel it"
            raise TooManyRequests(text, retry_after=AGAIN)

    def start(self, name: str, work: Coroutine[None, None, None], whose: Whose) -> None:
        """Have a response answered; what goes wrong is the work's own to tell."""
        task = self._tasks[name] = asyncio.create_task(work)
        self._whose[name] = whose
        task.add_done_callback(lambda _: self._ended(name))

    def _ended(self, name: str) -> None:
        self._tasks.pop(name, None)
        self._whose.pop(name, None)
        self._unkept.discard(name)

    def runs(self, name: str) -> bool:
        """Whether a response is being answered."""
        return name in self._tasks

    def keeps(self, name: str) -> bool:
        """Whether it is kept how a response ended that was cancelled: not where the system stops, or it is erased."""
        return not self.closing and name not in self._unkept

    async def cancel(self, name: str) -> None:
        """Stop answering a response, and wait until it has stopped."""
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def erase(self, whose: Whose) -> None:
        """Stop answering what is somebody's; nothing of it is kept."""
        theirs = [name for name, each in self._whose.items() if each == whose]
        self._unkept.update(theirs)
        for name in theirs:
            await self.cancel(name)

    async def close(self) -> None:
        """Stop everything; what is not answered by now will not be."""
        self.closing = True
        for name in list(self._tasks):
            await self.cancel(name)
