"""Which passages fit a question best: BM25 over words and names, spread over the names by which passages are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from ..core.postings import BLOCK

ENTRY = numpy.dtype([("number", "<u2"), ("text", "u1"), ("title", "u1"), ("words", "<u2")])
SATURATION, LENGTH = 2.0, 0.6  # BM25's k1 and b
TITLE = 3.0  # how often a term in the title counts as one in the text
COMMON = 5_000  # passages that a term may be in which says little, before it is left out beside rarer ones

Ranges = Any
"""An array of (first, last) passages, in order; None: all."""


@dataclass(slots=True)
class Posted:
    """Where a term stands: passages, and the entry of each."""

    passages: Any
    entries: Any

    @classmethod
    def read(cls, rows: Sequence[tuple[int, bytes]]) -> Posted:
        """From rows: (block, data)."""
        entries = numpy.frombuffer(b"".join([data for _, data in rows]), ENTRY)
        counts = [len(data) // ENTRY.itemsize for _, data in rows]
        bases: Any = numpy.repeat(numpy.array([block for block, _ in rows], numpy.int64) * BLOCK, counts)
        return cls(bases + entries["number"], entries)


def kept(passages: Any, ranges: Ranges) -> Any:
    """Which passages lie in one of some ranges."""
    place = numpy.searchsorted(ranges[:, 0], passages, side="right") - 1
    return (place >= 0) & (passages <= ranges[numpy.maximum(place, 0), 1])


def titled(data: bytes) -> bytes:
    """The entries of those passages in whose title a term is."""
    entries = numpy.frombuffer(data, ENTRY)
    found: bytes = entries[entries["title"] > 0].tobytes()
    return found


@dataclass(slots=True)
class Scores:
    """The scores of passages, the best first."""

    passages: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def by_words(
    posted: Mapping[str, Posted], number: int, words: int, ranges: Ranges = None, most: int = 100
) -> Scores:  # fmt: skip
    """The best passages by BM25, of `number` that have so many `words` in all."""
    if not posted:
        return Scores()
    if ranges is not None and not len(ranges):
        return Scores()
    average = words / max(number, 1)
    found = sorted(posted.values(), key=lambda each: len(each.passages))
    rare = [each for n, each in enumerate(found) if n == 0 or len(each.passages) <= max(COMMON, number // 5)]
    last = max(int(each.passages.max()) for each in rare)
    first = min(int(each.passages.min()) for each in rare)
    scores: Any = numpy.zeros(last - first + 1, numpy.float32)
    for each in rare:
        often = each.entries["text"] + TITLE * each.entries["title"]
        about = len(each.passages)
        weight = numpy.log1p((number - about + 0.5) / (about + 0.5))
        norm = SATURATION * (1 - LENGTH + LENGTH / average * each.entries["words"])
        scores[each.passages - first] += weight * often * (SATURATION + 1) / (often + norm)
    if ranges is not None:
        where = numpy.flatnonzero(scores)
        scores[where[~kept(where + first, ranges)]] = 0
    best = numpy.argpartition(scores, -most)[-most:] if len(scores) > most else numpy.arange(len(scores))
    best = best[scores[best] > 0]
    best = best[numpy.lexsort((best, -scores[best]))]
    return Scores((best + first).tolist(), scores[best].tolist())
