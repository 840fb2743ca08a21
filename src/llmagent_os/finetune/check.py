"""What is to be known of rows before they are learned from: doubles, contradictions, leaks, doubtful labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import extras, spans
from ..core.errors import MissingExtra
from .rows import Row
from .rungs import task_of
from .split import near

SHOWN = 5  # examples of each finding
NAMED = 1000  # of each, as data
LEAST = 20  # rows that are needed to learn from some and choose by others
RARE = 10  # rows of a label, below which it can hardly be learned
SKEWED = 20  # times as many rows of the commonest label as of the rarest
DOUBTED = 20_000  # rows, over which labels are not doubted: it would take minutes


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that something is to be known of, each (where it stands, and where what it meets does, or a label)."""

    what: str
    rows: tuple[tuple[str, str], ...]
    trouble: bool = False

    def told(self) -> str:
        """In a line, with some of them."""
        shown = "; ".join(" and ".join(filter(None, pair)) for pair in self.rows[:SHOWN])
        more = f"; and {len(self.rows) - SHOWN} more" if len(self.rows) > SHOWN else ""
        return f"{len(self.rows)} {self.what}: {shown}{more}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What rows hold, what was found in them, and what is wrong: `troubles` has a sentence each."""

    rows: int
    labels: dict[str, int] = field(default_factory=dict)
    found: tuple[Found, ...] = ()
    few: tuple[str, ...] = ()

    @property
    def troubles(self) -> list[str]:
        """What should be mended before anything is learned."""
        return [*(each.told() for each in self.found if each.trouble), *self.few]

    def told(self) -> Iterator[str]:
        """In lines."""
        yield f"{self.rows} rows: {len(self.labels)} labels" if self.labels else f"{self.rows} rows: texts"
        yield from (each.told() for each in self.found if not each.trouble)
        yield from self.troubles

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        found = [{"what": each.what, "count": len(each.rows), "trouble": each.trouble,
                  "rows": [list(pair) for pair in each.rows[:NAMED]]} for each in self.found]  # fmt: skip
        return {"rows": self.rows, "labels": self.labels, "found": found, "troubles": self.troubles}


def check(rows: Sequence[Row], against: Sequence[Row] = (), doubts: bool = False) -> Checked:
    """Look at rows. `against` are rows that are to measure: none of these may say what one of them does.

    With `doubts` labels are looked at too; without numpy that is left out, which is said.
    """
    task, first = task_of(rows), dict[str, Row]()
    same = [(row, one) for row in rows if (one := first.setdefault(row.sum, row)) is not row]
    kept = list(first.values())
    both = [*kept, *against]
    close = [(one, other, both[one], both[other]) for one, other in near(both)]
    within = [(one, other) for _, place, one, other in close if place < len(kept)]
    nearly = {id(other): (other, one) for one, other in within if one.output == other.output}
    leaks = [(one, other) for place, other_place, one, other in close if place < len(kept) <= other_place]
    labels = Counter(row.output for row in rows) if task.labels else Counter[str]()
    if task.kinds:
        labels = Counter(kind for row in rows for kind, _ in spans.read(row.output) or ())
    found = [
        _pairs("rows say the same as another", same), _pairs("rows say nearly the same as another", nearly.values()),
        _pairs("pairs of rows contradict each other", _contradictions(rows, within if task.labels else ()), True),
        _pairs("rows say what a row does that is to measure", leaks, True),
        Found("rows have hardly an input", tuple((row.origin, "") for row in rows if len(row.text) < 3), True),
    ]  # fmt: skip
    if doubts and task.labels and len(rows) <= DOUBTED:
        found.append(_doubted(rows))
    few = list(_labels(labels))
    if len(rows) < LEAST:
        few.append(f"{len(rows)} rows are too few to tune by: bring at least {LEAST}")
    elif (different := len(kept) - len(nearly)) < 50:
        few.append(f"{different} different rows are few: what is measured on them will be rough")
    return Checked(len(rows), dict(labels), tuple(each for each in found if each.rows), tuple(few))


def _contradictions(rows: Sequence[Row], close: Iterable[tuple[Row, Row]]) -> Iterator[tuple[Row, Row]]:
    """Rows of the same input that want something else, and those of rows that are `close`."""
    by: defaultdict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by[repr([(each.role, each.text) for each in row.messages])].setdefault(row.output, row)
    for answers in by.values():
        first, *others = answers.values()
        yield from ((first, other) for other in others)
    yield from (pair for pair in close if pair[0].output != pair[1].output and pair[0].text != pair[1].text)


def _doubted(rows: Sequence[Row]) -> Found:
    try:
        module = extras.imported("llmagent_os.finetune.doubts", "knowledge", "looking for doubtful labels")
    except MissingExtra as error:
        return Found("look was left out", ((error.message, ""),))
    told = (
        (f"{row.origin} ({row.output[:40]})", f"the others say {label[:40]}") for row, label in module.doubtful(rows)
    )
    return Found("rows have a label that the others speak against", tuple(told))


def _pairs(what: str, pairs: Iterable[tuple[Row, Row]], trouble: bool = False) -> Found:
    told = (tuple(f"{row.origin} ({row.output[:40]})" for row in pair) for pair in pairs)
    return Found(what, tuple((one, other) for one, other in told), trouble)


def _labels(labels: Counter[str]) -> Iterator[str]:
    rare = [label for label, count in labels.items() if count < RARE]
    if rare:
        yield f"{len(rare)} labels have fewer than {RARE} rows: {', '.join(rare[:SHOWN])}"
    if labels and max(labels.values()) > SKEWED * min(labels.values()):
        (often, most), (seldom, least) = labels.most_common()[0], labels.most_common()[-1]
        yield f"{often!r} has {most} rows and {seldom!r} {least}: the rare one will hardly be answered"
