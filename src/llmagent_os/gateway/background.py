"""Answers that are made while nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Background:
    """The responses that are being answered in the background, by their ids. They end with the system."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.closing = False

    def start(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Have a response answered; what goes wrong is the work's own to tell."""
        task = self._tasks[name] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    def runs(self, name: str) -> bool:
        """Whether a response is being answered."""
        return name in self._tasks

    async def cancel(self, name: str) -> None:
        """Stop answering a response, and wait until it has stopped."""
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop everything; what is not answered by now will not be."""
        self.closing = True
        for name in list(self._tasks):
            await self.cancel(name)
