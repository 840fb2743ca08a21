"""Which engine serves a model: opened when first asked for, once, and watched from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..core.errors import EngineUnavailable, LLMAgentOSError, not_found
from ..core.ports import Engine

Opener = Callable[[], Awaitable[Engine]]


class Engines:
    """The engines by model name, with aliases. Opening is shared: callers that come meanwhile wait for the same one."""

    def __init__(self) -> None:
        self._openers: dict[str, Opener] = {}
        self._aliases: dict[str, str] = {}
        self._open: dict[str, asyncio.Task[Engine]] = {}
        self._borrowed: set[str] = set()

    def add(self, model: str, opener: Opener, borrowed: bool = False) -> None:
        """Make a model known; it is opened at the first `get`. A borrowed engine is its owner's to close."""
        self._openers[model] = opener
        if borrowed:
            self._borrowed.add(model)

    def alias(self, name: str, model: str) -> None:
        """Let `name` stand for a model."""
        self._aliases[name] = model

    async def remove(self, model: str) -> None:
        """Forget a model and close its engine."""
        self._openers.pop(model, None)
        self._aliases = {name: target for name, target in self._aliases.items() if target != model}
        opening = self._open.pop(model, None)
        if opening is not None and model not in self._borrowed:
            await _close(opening)

    def names(self) -> list[str]:
        """The models known, aliases not included."""
        return sorted(self._openers)

    def resolve(self, name: str) -> str:
        """The model that a name or alias stands for; raises NotFound with the nearest match."""
        model = self._aliases.get(name, name)
        if model not in self._openers:
            raise not_found("model", name, [*self._openers, *self._aliases])
        return model

    async def get(self, name: str) -> Engine:
        """The engine for a model or alias, opened if need be.

        Raises NotFound, or EngineUnavailable where it cannot be opened; the next `get` tries again.
        """
        model = self.resolve(name)
        opening = self._open.get(model)
        if opening is None:
            opening = self._open[model] = asyncio.ensure_future(self._openers[model]())
        try:
            return await asyncio.shield(opening)
        except LLMAgentOSError:
            self._open.pop(model, None)
            raise
        except (OSError, RuntimeError, ValueError) as error:  # what loaders of model files raise
            self._open.pop(model, None)
            raise EngineUnavailable(f"model {model!r} cannot be opened: {error}", engine=model) from error

    def health(self) -> dict[str, str | None]:
        """Per engine that was opened: None, or what is wrong with it."""
        return {model: _health(opening) for model, opening in self._open.items()}

    async def close(self) -> None:
        """Close every engine."""
        for model in list(self._openers):
            await self.remove(model)


def _health(opening: asyncio.Task[Engine]) -> str | None:
    if not opening.done():
        return None
    if opening.cancelled() or opening.exception() is not None:
        return "cannot be opened"
    return opening.result().health()


async def _close(opening: asyncio.Task[Engine]) -> None:
    if not opening.done():
        opening.cancel()
    elif not opening.cancelled() and opening.exception() is None:
        await opening.result().close()
