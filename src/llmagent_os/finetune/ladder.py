"""The ladder: which way of doing a task is best for these rows within these minutes, and what that is known from.

By successive halving (Jamieson & Talwalkar 2016): every rung gets a share of a round's time, by its weight, and is
judged on held-out rows; the half that may still be the best goes on with more rows and more time, by score and error
together, as what learns slowly has answered few. In the end, of what is equal within the noise, the cheapest is taken.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..core.errors import LLMAgentOSError
from .rows import Row
from .rungs import Rung, Task

FIRST = 24  # held-out rows that a rung is judged on in the first round; four times as many in the next
LEAST = 8  # however slow it is
LEARNED = 0.7  # of a rung's time that goes into learning
NOISE = 1.0  # standard errors within which two scores are equal


@dataclass(frozen=True, slots=True)
class Judged:
    """How a rung did in a round: mean score of `asked` rows, and the seconds that learning and answering took."""

    rung: str
    round: int
    rows: int
    score: float
    asked: int
    learning: float
    answering: float
    why: str = ""  # why it could not

    @property
    def error(self) -> float:
        """The standard error of the score, with two rows more right and two more wrong (Agresti & Coull 1998)."""
        count = self.asked + 4
        mean = (self.score * self.asked + 2) / count
        return math.sqrt(mean * (1 - mean) / count)


@dataclass(slots=True)
class Climb:
    """What was tried, what was chosen, and why."""

    task: Task
    tried: list[Judged] = field(default_factory=list)
    chosen: str = ""
    why: str = ""
    seconds: float = 0.0


def climb(
    rungs: Sequence[Rung], task: Task, train: Sequence[Row], held: Sequence[Row], seconds: float,
    told: Callable[[str], None] = lambda line: None,
) -> tuple[Rung, Climb]:  # fmt: skip
    """Find the best of rungs, cheapest first; it has learned from all of `train` that its time was enough for.

    Raises LLMAgentOSError, with what each says, where none of them can do it.
    """
    began, found, left = time.monotonic(), Climb(task), list(rungs)
    rounds = max(1, math.ceil(math.log2(len(rungs))))
    for number in range(rounds):
        share = seconds / rounds / sum(rung.weight for rung in left)
        part = train if number == rounds - 1 else train[: max(64, len(train) >> (rounds - 1 - number))]
        asked = held[: FIRST * 4**number] if number < rounds - 1 else held
        judged = [_judged(rung, number + 1, part, held, asked, share * rung.weight, found, told) for rung in left]
        able = [(rung, each) for rung, each in zip(left, judged, strict=True) if not each.why]
        if not able:
            raise LLMAgentOSError("; ".join(f"{each.rung}: {each.why}" for each in judged))
        left = _hopeful(able) if number < rounds - 1 else [_cheapest(able)]
    last = {each.rung: each for each in found.tried}
    best = max((each for each in found.tried if not each.why and each.round == rounds), key=lambda each: each.score)
    chosen = last[left[0].name]
    found.chosen, found.seconds = left[0].name, time.monotonic() - began
    found.why = f"{chosen.score:.3f} on {chosen.asked} held-out rows"
    if best.rung != chosen.rung:
        found.why += f"; {best.rung} had {best.score:.3f}, which is within the noise, and costs more"
    return left[0], found


def _hopeful(able: list[tuple[Rung, Judged]]) -> list[Rung]:
    """The half that may still turn out to be the best; of equals the dearer ones, which have more to learn."""
    hopes = [(each.score + NOISE * each.error, place) for place, (_, each) in enumerate(able)]
    kept = sorted(hopes, reverse=True)[: math.ceil(len(able) / 2)]
    return [able[place][0] for place in sorted(place for _, place in kept)]


def _cheapest(able: list[tuple[Rung, Judged]]) -> Rung:
    """The first that is no worse than the best beyond the noise."""
    best = max((each for _, each in able), key=lambda each: each.score)
    return next(rung for rung, each in able if each.score >= best.score - NOISE * best.error)


def _judged(
    rung: Rung, number: int, train: Sequence[Row], held: Sequence[Row], asked: Sequence[Row], seconds: float,
    found: Climb, told: Callable[[str], None],
) -> Judged:  # fmt: skip
    began = time.monotonic()
    told(f"round {number}: {rung.name} learns from {len(train)} rows")
    try:
        rung.learn(train, held, seconds * LEARNED)
        learned = time.monotonic()
        scores: list[float] = []
        for row in asked:
            if len(scores) >= LEAST and time.monotonic() - learned > seconds * (1 - LEARNED):
                break
            scores.append(score(found.task, row.output, rung.answer(row)))
        done = Judged(rung.name, number, len(train), sum(scores) / max(1, len(scores)), len(scores),
                      learned - began, time.monotonic() - learned)  # fmt: skip
        told(f"round {number}: {rung.name} has {done.score:.3f} on {done.asked} held-out rows")
    except LLMAgentOSError as error:
        done = Judged(rung.name, number, len(train), 0.0, 0, time.monotonic() - began, 0.0, error.message)
        told(f"round {number}: {rung.name} cannot: {error.message}")
    found.tried.append(done)
    return done


def score(task: Task, wanted: str, answer: str) -> float:
    """Of a label 1 where it is said and nothing else, of a text the F1 of its words (Rajpurkar et al. 2016)."""
    wanted, answer = wanted.strip().casefold(), answer.strip().casefold()
    if task.labels:
        return float(wanted == answer.rstrip("."))
    one, other = Counter(wanted.split()), Counter(answer.split())
    shared = sum((one & other).values())
    return 2 * shared / (sum(one.values()) + sum(other.values())) if shared else float(one == other)
