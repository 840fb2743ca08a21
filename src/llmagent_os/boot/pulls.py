"""Models that are being fetched while nobody has to wait for them: how far each is, and how the last try ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..core.errors import Conflict, LLMAgentOSError, not_found
from ..core.sys import Sys
from ..llm.fetch import Progress, unseen

AT_ONCE = 4
KEPT = 50  # that have ended, to be told of


@dataclass(slots=True)
class Pull:
    """`state` is running, done, failed (with why) or stopped; `total` is 0 until it is known."""

    model: str
    done: int = 0
    total: int = 0
    state: str = "running"
    error: str | None = None


class Pulls:
    """What a system fetches. A fetch ends with the system, and goes on from there the next time it is asked for."""

    def __init__(self) -> None:
        self.found: dict[str, Pull] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, model: str, sys: Sys) -> Pull:
        """Fetch a model as whom `sys` acts for; one that is being fetched goes on. Raises Conflict for one too many."""
        if model in self._tasks:
            return self.found[model]
        if len(self._tasks) >= AT_ONCE:
            names = ", ".join(self._tasks)
            raise Conflict(f"{AT_ONCE} models are being fetched: {names}; wait for one of them, or stop it", name=model)
        self.found.pop(model, None)
        pull = self.found[model] = Pull(model)
        for old in [name for name in self.found if name not in self._tasks and name != model][:-KEPT]:
            del self.found[old]
        self._tasks[model] = asyncio.create_task(self._run(pull, sys))
        return pull

    async def _run(self, pull: Pull, sys: Sys) -> None:
        try:
            await sys.act("models.pull", model=pull.model)
            pull.state = "done"
        except asyncio.CancelledError:
            pull.state = "stopped"
        except LLMAgentOSError as error:
            pull.state, pull.error = "failed", error.message
        finally:
            del self._tasks[pull.model]

    def progress(self, model: str) -> Progress:
        """What takes note of how far a model is."""
        pull = self.found.get(model)

        def note(done: int, total: int) -> None:
            assert pull is not None
            pull.done, pull.total = done, total

        return note if pull is not None else unseen

    async def stop(self, model: str) -> None:
        """Stop fetching a model, and wait until it has stopped; raises NotFound."""
        if (task := self._tasks.get(model)) is None:
            raise not_found("model that is being fetched", model, self._tasks)
        task.cancel()
        await asyncio.wait([task])

    async def close(self) -> None:
        """Stop all."""
        for model in list(self._tasks):
            await self.stop(model)
