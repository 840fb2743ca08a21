"""What is to be known of rows before they are learned from: doubles, contradictions, imbalance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import spans
from .rows import Row
from .rungs import task_of
from .split import distinct, near

SHOWN = 5  # examples of each trouble
LEAST = 20  # rows that are needed to learn from some and choose by others
RARE = 10  # rows of a label, below which it can hardly be learned
SKEWED = 20  # times as many rows of the commonest label as of the rarest


@dataclass(frozen=True, slots=True)
class Checked:
    """What rows hold, and what is wrong with them: `troubles` has a sentence each, with where it stands."""

    rows: int
    labels: dict[str, int] = field(default_factory=dict)
    same: int = 0
    nearly: int = 0
    contradictions: int = 0
    troubles: tuple[str, ...] = ()

    def told(self) -> Iterator[str]:
        """In lines."""
        kinds = f"{len(self.labels)} labels" if self.labels else "texts"
        yield f"{self.rows} rows: {kinds}, {self.same} the same as another, {self.nearly} nearly so"
        yield from self.troubles

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def check(rows: Sequence[Row]) -> Checked:
    """Look at rows."""
    kept, same, nearly = distinct(rows)
    task = task_of(rows)
    labels = Counter(row.output for row in rows) if task.labels else Counter[str]()
    if task.kinds:
        labels = Counter(kind for row in rows for kind, _ in spans.read(row.output) or ())
    against = list(_contradictions(rows))
    troubles = [*_named("contradict each other", against), *_labels(labels)]
    empty = [row.origin for row in rows if len(row.text) < 3]
    troubles += [f"{len(empty)} rows have hardly an input: {', '.join(empty[:SHOWN])}"] if empty else []
    if len(rows) < LEAST:
        troubles.append(f"{len(rows)} rows are too few to tune by: bring at least {LEAST}")
    elif len(kept) < 50:
        troubles.append(f"{len(kept)} different rows are few: what is measured on them will be rough")
    return Checked(len(rows), dict(labels), same, nearly, len(against), tuple(troubles))


def _contradictions(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Rows of the same input, or for labels nearly the same, that want something else."""
    by: defaultdict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by[repr([(each.role, each.text) for each in row.messages])].setdefault(row.output, row)
    for answers in by.values():
        first, *others = answers.values()
        yield from ((first, other) for other in others)
    if task_of(rows).labels:
        for one, other in near(rows):
            if rows[one].output != rows[other].output and rows[one].text != rows[other].text:
                yield rows[one], rows[other]


def _named(what: str, pairs: Sequence[tuple[Row, Row]]) -> list[str]:
    if not pairs:
        return []
    shown = "; ".join(f"{one.origin} ({one.output[:40]}) and {other.origin} ({other.output[:40]})"
                      for one, other in pairs[:SHOWN])  # fmt: skip
    return [f"{len(pairs)} pairs of rows {what}: {shown}"]


def _labels(labels: Counter[str]) -> Iterator[str]:
    rare = [label for label, count in labels.items() if count < RARE]
    if rare:
        yield f"{len(rare)} labels have fewer than {RARE} rows: {', '.join(rare[:SHOWN])}"
    if labels and max(labels.values()) > SKEWED * min(labels.values()):
        (often, most), (seldom, least) = labels.most_common()[0], labels.most_common()[-1]
        yield f"{often!r} has {most} rows and {seldom!r} {least}: the rare one will hardly be answered"
