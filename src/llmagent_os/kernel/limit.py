"""How many calls an engine serves at once, learned from its own throughput curve: more is not always faster."""

from __future__ import annotations

from .scheduler import MADE, READ

WINDOW = 2.0  # seconds over which one speed is taken
PATIENCE = 30.0  # seconds after which another step is tried again
BETTER = 1.02  # a step has to be worth this factor
SMOOTH = 0.5  # weight of a new measurement of a step


class Limit:
    """Climbs the curve of tokens a second over calls at once, a step at a time, from `most` downwards.

    Hill climbing with restarts: while calls wait, the speed at the present limit is taken; then a neighbouring step is
    tried for one window, and kept if it is faster. Nothing is learned, and nothing lost, while the engine has room.
    """

    def __init__(self, most: int, learns: bool = True) -> None:
        self.most = self.places = most
        self.speeds: dict[int, float] = {}
        self._steps = _steps(most) if learns else [most]
        self._home = most
        self._next = 0.0
        self._down = True
        self._began = 0.0
        self._cost = 0.0

    def count(self, now: float, running: int, waiting: bool, read: int, made: int) -> None:
        """The engine read and made tokens while so many calls ran."""
        if len(self._steps) == 1:
            return
        if not waiting or running != self.places:  # not what this number of places can do
            self._began, self._cost = now, 0.0
            return
        self._cost += (READ * read + MADE * made) / MADE
        if now - self._began >= WINDOW:
            self._measured(now, self._cost / (now - self._began))
            self._began, self._cost = now, 0.0

    def _measured(self, now: float, speed: float) -> None:
        old = self.speeds.get(self.places, speed)
        self.speeds[self.places] = old + SMOOTH * (speed - old)
        home = self.speeds.get(self._home, 0.0)
        if self.places != self._home:
            if speed > home * BETTER:
                self._home, self._next = self.places, now  # and on in this direction
            else:
                self._down, self._next = not self._down, now + (PATIENCE if not self._down else 0.0)
            self.places = self._home
        elif now >= self._next:
            self.places = self._neighbour()

    def _neighbour(self) -> int:
        at = self._steps.index(self._home) + (-1 if self._down else 1)
        if 0 <= at < len(self._steps):
            return self._steps[at]
        self._down = not self._down
        return self._home


def _steps(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, 24 ... up to `most`."""
    steps = {most, 1}
    for power in range(most.bit_length()):
        steps |= {2**power, 3 * 2 ** max(power - 1, 0)}
    return sorted(step for step in steps if 1 <= step <= most)
