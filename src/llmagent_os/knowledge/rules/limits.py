"""What reasoning may take: a program without an end is ended, with an error that says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from dataclasses import dataclass

from ...core.errors import BudgetExceeded
from .relation import Relation

_LOOKS = 500  # steps between two looks at clock and count


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one change, question or explanation: facts that it may conclude (reasons that it may weigh), about, and
    seconds.
    """

    facts: int = 3_000_000
    seconds: float = 60.0
    clock: Callable[[], float] = time.monotonic


class Meter:
    """Counts the steps of one change, question or explanation; `tick` raises BudgetExceeded beyond the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._end = limits, limits.clock() + limits.seconds
        self._left = _LOOKS
        self.watched: list[Relation] = []
        self.reasons: Sized = ()

    def tick(self, steps: int = 1) -> None:
        """A step, or several."""
        self._left -= steps
        if self._left < 0:
            self._left = _LOOKS
            self.look()

    def look(self) -> None:
        """Compare with the limits now."""
        made = sum(len(relation.fresh) for relation in self.watched)
        if made > self._limits.facts:
            raise BudgetExceeded(
                f"the rules conclude more than {self._limits.facts} facts: a rule that counts up (Y = X + 1) needs a "
                "bound (Y < 100), or raise the limit", resource="facts", used=made, limit=self._limits.facts,
            )  # fmt: skip
        if len(self.reasons) > self._limits.facts:
            raise BudgetExceeded(
                f"the fact and what it stands on have more than {self._limits.facts} reasons, of which the surest are "
                "looked for: raise the limit", resource="facts", used=len(self.reasons), limit=self._limits.facts,
            )  # fmt: skip
        if self._limits.clock() > self._end:
            raise BudgetExceeded(
                f"the rules were not through within {self._limits.seconds:g} s: ask a narrower question, or raise the "
                "limit", resource="seconds", used=self._limits.seconds, limit=self._limits.seconds,
            )  # fmt: skip
