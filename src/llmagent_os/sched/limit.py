"""How many calls an engine serves at once, learned from its own throughput curve: more is not always faster."""

from __future__ import annotations

from .policies import MADE, READ

WINDOW = 1.0  # seconds over which one speed is taken
SETTLE = 0.3  # seconds after a change that are not counted
REST = 30.0  # seconds to the next trial after one that changed nothing; doubled each time
LONGEST_REST = 960.0
BETTER = 1.05  # what a step has to be worth


class Limit:
    """Climbs the curve of tokens a second over calls at once, a step at a time, from `most` downwards.

    Only while calls wait: the present limit (`home`) and a neighbouring one are tried in turns, a window each, and it
    moves where the neighbour was clearly faster twice of three times. What other work on the machine does to the speed,
    it does to both.
    """

    def __init__(self, most: int, learns: bool = True) -> None:
        self.most = self.places = most
        self.speeds: dict[int, float] = {}  # last measured
        self._steps = _steps(most) if learns else [most]
        self.home = most
        self._down = True
        self._pairs: list[tuple[float, float]] = []  # (home, neighbour)
        self._began: float | None = None
        self._cost = 0.0
        self._next, self._rest = 0.0, REST

    def count(self, now: float, running: int, waiting: bool, read: int, made: int) -> None:
        """The engine read and made tokens while so many calls ran."""
        if len(self._steps) == 1 or (now < self._next and self.places == self.home):
            return
        if not waiting or running < self.places:  # this is not what so many at once can do
            self._began = None
        elif self._began is None or running > self.places:
            self._began, self._cost = now + SETTLE, 0.0
        elif now >= self._began:
            self._cost += (READ * read + MADE * made) / MADE
            if now - self._began >= WINDOW:
                self._measured(now, self._cost / (now - self._began))
                self._began = None

    def _measured(self, now: float, speed: float) -> None:
        self.speeds[self.places] = speed
        if self.places == self.home:
            self.places = self._neighbour()
            return
        self._pairs.append((self.speeds[self.home], speed))
        neighbour, self.places = self.places, self.home
        better = sum(tried > home * BETTER for home, tried in self._pairs)
        if better == 2:
            self.home = self.places = neighbour
            self._pairs, self._rest = [], REST
        elif len(self._pairs) - better == 2:
            self._pairs, self._down = [], not self._down
            if self._down or self.home == self.most:  # both sides were tried
                self._down = True
                self._next, self._rest = now + self._rest, min(2 * self._rest, LONGEST_REST)

    def _neighbour(self) -> int:
        at = self._steps.index(self.home) + (-1 if self._down else 1)
        return self._steps[min(max(at, 0), len(self._steps) - 1)]


def _steps(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, 24 ... up to `most`."""
    steps = {most, 1}
    for power in range(most.bit_length()):
        steps |= {2**power, 3 * 2 ** max(power - 1, 0)}
    return sorted(step for step in steps if 1 <= step <= most)
