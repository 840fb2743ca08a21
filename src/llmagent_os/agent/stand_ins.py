"""Stand-ins: while a replica waits for a person, another one answers what is sent to its agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..core.errors import LLMAgentOSError
from ..core.records import Question
from ..kernel.process import Process
from .manager import AgentManager

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds after which it is looked again: a process that is paused when it is answered goes on later


class StandIns:
    """Hears of each question (`asked`), and of each that has an answer or is over (`look`).

    A task is at work while there is one, and no longer.
    """

    def __init__(self, agents_of: Callable[[str], Awaitable[AgentManager]]) -> None:
        """`agents_of` a tenant."""
        self._agents_of = agents_of
        self._queue: asyncio.Queue[Question | None] = asyncio.Queue()
        self._held: dict[int, tuple[AgentManager, list[Process]]] = {}  # by the pid that asks
        self._task: asyncio.Task[None] | None = None

    def asked(self, question: Question) -> None:
        """A question waits."""
        self._queue.put_nowait(question)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    def look(self) -> None:
        """Something has changed."""
        if self._held:
            self._queue.put_nowait(None)

    async def close(self) -> None:
        """Leave things as they are."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _work(self) -> None:
        while self._held or not self._queue.empty():
            question = await self._heard()
            try:
                if question is not None:
                    await self._begin(question)
                for pid in [pid for pid, (_, held) in self._held.items() if held and held[0].asking <= 1]:
                    agents, held = self._held.pop(pid)
                    await agents.stand_back(held)
            except LLMAgentOSError as error:  # who waits behind a question waits on
                log.error("a question holds up others: %s", error.message)

    async def _heard(self) -> Question | None:
        """A question, or None where it is to be looked whether those before are over."""
        try:
            async with asyncio.timeout(LOOK):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def _begin(self, question: Question) -> None:
        if question.pid not in self._held:
            agents = await self._agents_of(question.tenant)
            if held := await agents.stand_in(question.pid):
                self._held[question.pid] = agents, held
