"""Time as a tuning counts it: what passes, less what others had of the machine meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

TASKS = Path("/proc/self/task")


class Clock:
    """Seconds that go on only as fast as work could: a tuning goes last, and on a busy machine it has a tenth of it.

    Of the threads of this process the one that waited longest for a processor says what was lost (`schedstat` of
    Linux; elsewhere nothing is). What is waited for otherwise, a disk or a model far away, counts.
    """

    def __init__(self, tasks: Path = TASKS, now: Callable[[], float] = time.monotonic) -> None:
        self._tasks, self._now = tasks, now
        self._waited, self._last, self._lost = self._waits(), now(), 0.0

    def __call__(self) -> float:
        """The time now; it never goes back."""
        now, waits = self._now(), self._waits()
        longest = max((wait - self._waited.get(task, 0.0) for task, wait in waits.items()), default=0.0)
        self._lost += min(max(0.0, longest), now - self._last)
        self._waited, self._last = waits, now
        return now - self._lost

    def _waits(self) -> dict[str, float]:
        """The seconds that each thread has waited for a processor since it began."""
        found = {}
        for each in self._tasks.glob("*/schedstat"):
            try:
                found[each.parent.name] = int(each.read_text().split()[1]) / 1e9
            except (OSError, ValueError, IndexError):  # it has just ended, or nothing is counted here
                continue
        return found


counted = Clock()
