"""The graph of names: passages that mention a name are joined with those whose title it is.

A walk begins at the first hits, and goes a step or two along such names (a personalised PageRank, cut off early). What
it reaches has to do with the question, though no word of the question may stand in it: the second document of a
question that takes two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

STEPS = 2
FADES = 0.5  # what is left of a share at each step


class Graph:
    """Passages joined by names."""

    def __init__(self) -> None:
        self._to: dict[int, dict[int, tuple[float, str]]] = defaultdict(dict)

    def join(self, name: str, bearers: Mapping[int, bool], back: bool = True, weight: float = 1.0) -> None:
        """Put a name into it, with the passages that it stands in: whether it is their title.

        Those lead to whose title it is and, with `back`, those to them, each the less, the more there are; `weight` is
        what the name counts beside others.
        """
        owners = [passage for passage, owns in bearers.items() if owns]
        for passage, owns in bearers.items():
            for other in () if owns else owners:  # passages of one title say no more of each other
                self._lead(passage, other, weight / len(owners), name)
                if back:
                    self._lead(other, passage, weight / len(bearers), name)

    def _lead(self, passage: int, other: int, weight: float, name: str) -> None:
        if weight > self._to[passage].get(other, (0.0, ""))[0]:
            self._to[passage][other] = weight, name

    def spread(self, seeds: Mapping[int, float]) -> tuple[dict[int, float], dict[int, tuple[int, str]]]:
        """What of the seeds' shares reaches each passage, and from which one, by which name, most of it first came."""
        reached, came = defaultdict[int, float](float), dict[int, tuple[int, str]]()
        at, fades = dict(seeds), 1.0
        for _ in range(STEPS):
            after, most = defaultdict[int, float](float), dict[int, tuple[float, int, str]]()
            fades *= FADES
            for passage, share in at.items():
                to = self._to.get(passage, {})
                whole = sum(weight for weight, _ in to.values())
                for other, (weight, name) in to.items():
                    part = share * weight / whole
                    after[other] += part
                    if part > most.get(other, (0.0,))[0]:
                        most[other] = part, passage, name
            for other, part in after.items():
                reached[other] += fades * part
                came.setdefault(other, most[other][1:])
            at = after
        return dict(reached), came
