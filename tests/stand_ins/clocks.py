"""A clock that is set by hand, for triggers; as a plugin it stands in for the machine's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmagent_os.kernel.kernel import Kernel
from llmagent_os.plugins import hookimpl
from llmagent_os.triggers.calls import Calls, Clock


class Hands(Clock):
    """A clock whose hands are moved: `move` tells everybody who waits."""

    def __init__(self, at: float) -> None:
        self.at = at
        self._scopes: set[asyncio.Timeout] = set()

    def now(self) -> float:
        return self.at

    async def wait(self, news: Awaitable[None], until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as scope:
                self._scopes.add(scope)
                try:
                    await news
                finally:
                    self._scopes.discard(scope)

    def move(self, to: float) -> None:
        self.at = to
        for scope in self._scopes:
            scope.reschedule(asyncio.get_running_loop().time())


class Clocked:
    """The plugin: triggers wait by this clock. `kernel` gives the kernel that runs, `root` has the workspaces."""

    def __init__(self, clock: Clock, kernel: Callable[[], Kernel], root: Path) -> None:
        self._calls = Calls(kernel, _nobody, root, clock)

    @hookimpl
    def syscalls(self) -> dict[str, Any]:
        return {"trigger_wait": self._calls.table()["trigger_wait"]}


async def _nobody(*args: Any) -> Any:
    raise AssertionError("this one only waits")
