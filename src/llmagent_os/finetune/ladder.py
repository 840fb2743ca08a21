"""The ladder: which way of doing a task is best for these rows within these minutes, and what that is known from.

By successive halving (Jamieson & Talwalkar 2016): every rung gets a share of a round's time, by its weight, and is
judged on held-out rows; the half that may still be the best goes on with more rows and more time, by score and error
together, as what learns slowly has answered few. In the end, of what is equal within the noise, the cheapest is taken.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core import codec, spans
from ..core.errors import LLMAgentOSError
from ..core.whole import write_whole
from .clock import counted
from .rows import Row
from .rungs import Rung, Task

FIRST = 24  # held-out rows that a rung is judged on in the first round; four times as many in the next
LEAST = 8  # however slow it is
LEARNED = 0.7  # of a rung's time that goes into learning
NOISE = 1.0  # standard errors within which two scores are equal


class Halted(Exception):
    """The work was stopped, and can go on."""


class Notes:
    """What was found out so far, by name, in a file if there is one: who begins again need not find it out again.

    Numbers and lists of JSON data alone. `halt` says when to stop.
    """

    def __init__(self, path: Path | None = None, halt: Callable[[], bool] = lambda: False) -> None:
        self._path, self.halt = path, halt
        self._held: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            self._held = codec.loads(path.read_bytes()) if path is not None else {}

    def get(self, name: str) -> Any:
        """What was found out; None where nothing was."""
        return self._held.get(name)

    def put(self, name: str, value: Any) -> None:
        """Keep what was found out."""
        self._held[name] = value
        if self._path is not None:
            write_whole(self._path, codec.dumps(self._held))

    def step(self) -> None:
        """Raise Halted once it is time to stop."""
        if self.halt():
            raise Halted


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
    told: Callable[[str], None] = lambda line: None, notes: Notes | None = None,
) -> tuple[Rung, Climb]:  # fmt: skip
    """Find the best of rungs, cheapest first; it has learned from all of `train` that its time was enough for.

    What stands in `notes` is not tried again. Raises LLMAgentOSError, with what each says, where none of them can do
    it, and Halted where the notes say so.
    """
    found, left, notes = Climb(task), list(rungs), notes or Notes()
    rounds = max(1, math.ceil(math.log2(len(rungs))))
    for number in range(rounds):
        share = seconds / rounds / sum(rung.weight for rung in left)
        part = train if number == rounds - 1 else train[: max(64, len(train) >> (rounds - 1 - number))]
        asked = held[: FIRST * 4**number] if number < rounds - 1 else held
        place = _Round(task, number + 1, part, held, asked, told, notes)
        judged = [_known(place, rung, share * rung.weight, found) for rung in left]
        able = [(rung, each) for rung, each in zip(left, judged, strict=True) if not each.why]
        if not able:
            raise LLMAgentOSError("; ".join(f"{each.rung}: {each.why}" for each in judged))
        left = _hopeful(able) if number < rounds - 1 else [_cheapest(able)]
    last = {each.rung: each for each in found.tried}
    best = max((each for each in found.tried if not each.why and each.round == rounds), key=lambda each: each.score)
    chosen = last[left[0].name]
    found.chosen, found.seconds = left[0].name, sum(each.learning + each.answering for each in found.tried)
    found.why = f"{chosen.score:.3f} on {chosen.asked} held-out rows"
    if best.rung != chosen.rung:
        found.why += f"; {best.rung} had {best.score:.3f}, which is within the noise, and costs more"
    if left[0] in place.untaught:  # it was judged before this run began
        left[0].learn(train, held, share * left[0].weight * LEARNED)
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


@dataclass(slots=True)
class _Round:
    """What the rungs of a round learn from, and are asked; and which of them have not learned in this run."""

    task: Task
    number: int
    train: Sequence[Row]
    held: Sequence[Row]
    asked: Sequence[Row]
    told: Callable[[str], None]
    notes: Notes
    untaught: list[Rung] = field(default_factory=list)


def _known(place: _Round, rung: Rung, seconds: float, found: Climb) -> Judged:
    """How a rung does, by the notes or else by trying it."""
    name = f"{place.number}.{rung.name}"
    if (known := place.notes.get(name)) is not None:
        place.untaught.append(rung)
        found.tried.append(Judged(**known))
    else:
        found.tried.append(_judged(place, rung, seconds))
        place.notes.put(name, asdict(found.tried[-1]))
    return found.tried[-1]


def _judged(place: _Round, rung: Rung, seconds: float) -> Judged:
    began, number = counted(), place.number
    place.told(f"round {number}: {rung.name} learns from {len(place.train)} rows")
    try:
        rung.learn(place.train, place.held, seconds * LEARNED)
        learned = counted()
        scores: list[float] = []
        for row in place.asked:
            place.notes.step()
            if len(scores) >= LEAST and counted() - learned > seconds * (1 - LEARNED):
                break
            scores.append(score(place.task, row.output, rung.answer(row)))
        done = Judged(rung.name, number, len(place.train), sum(scores) / max(1, len(scores)), len(scores),
                      learned - began, counted() - learned)  # fmt: skip
        place.told(f"round {number}: {rung.name} has {done.score:.3f} on {done.asked} held-out rows")
    except LLMAgentOSError as error:
        done = Judged(rung.name, number, len(place.train), 0.0, 0, counted() - began, 0.0, error.message)
        place.told(f"round {number}: {rung.name} cannot: {error.message}")
    return done


def score(task: Task, wanted: str, answer: str) -> float:
    """Of a label 1 where it is said and nothing else, of a text the F1 of its words (Rajpurkar et al. 2016),
    of spans the F1 of those that have their kind and text."""
    wanted, answer = wanted.strip().casefold(), answer.strip().casefold()
    if task.labels:
        return float(wanted == answer.rstrip("."))
    if task.kinds:
        one, other, both = spans.shared(wanted, answer)
        if spans.read(answer) is None:
            return 0.0
        shared = sum(both.values())
    else:
        one, other = Counter(wanted.split()), Counter(answer.split())
        shared = sum((one & other).values())
    return 2 * shared / (sum(one.values()) + sum(other.values())) if shared else float(one == other)
