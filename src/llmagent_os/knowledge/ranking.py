"""Which passages fit a question best: BM25 over words and names, spread over the names by which passages are joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from .segments import LONG, OFTEN, TEXT, TITLE, Segment

SATURATION, LENGTH = 2.0, 0.6  # BM25's k1 and b
ABOVE = 3.0  # how often a term in the title counts as one in the text
COMMON = 5_000  # passages that a term may be in which says little, before it is left out beside rarer ones

Ranges = Any
"""An array of (first, last) passages, in order; None: all."""


def kept(passages: Any, ranges: Ranges) -> Any:
    """Which passages lie in one of some ranges."""
    place = numpy.searchsorted(ranges[:, 0], passages, side="right") - 1
    return (place >= 0) & (passages <= ranges[numpy.maximum(place, 0), 1])


@dataclass(slots=True)
class Scores:
    """The scores of passages, the best first."""

    passages: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Whole:
    """Segments as one: the passages of all, in their order, and how many words each has."""

    segments: Sequence[Segment]
    passages: Any
    norms: Any  # how much longer than others each passage is, as BM25 counts it
    bases: Any  # where the passages of each segment begin

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> Whole:
        """Of some segments, at least one."""
        words: Any = numpy.concatenate([each.words for each in segments]).astype(numpy.float32)
        norms = SATURATION * (1 - LENGTH + LENGTH / max(float(words.mean()), 1.0) * words)
        bases = numpy.cumsum([0, *(len(each.passages) for each in segments)])
        return cls(segments, numpy.concatenate([each.passages for each in segments]), norms, bases)

    def about(self, terms: Any) -> Any:
        """In how many passages each of some terms is."""
        found: Any = numpy.zeros(len(terms), int)
        for segment in self.segments:
            there, begins, ends = segment.find(terms)
            found[there] += ends - begins
        return found

    def posted(self, terms: Any, most: int | None = None) -> tuple[Any, Any, Any, Any]:
        """Where some terms stand, but for those in more than `most` passages: for each entry the place of its term, the
        one of its passage, and itself. And in how many passages each term is.

        Of terms that all are in more, the first of the rarest is there.
        """
        spans = [segment.find(terms) for segment in self.segments]
        about: Any = numpy.zeros(len(terms), int)
        for there, begins, ends in spans:
            about[there] += ends - begins
        wanted = about > 0
        if most is not None and wanted.any():
            rarest = numpy.flatnonzero(wanted)[about[wanted].argmin()]
            wanted &= about <= most
            wanted[rarest] = True
        found: list[Any] = [(numpy.zeros(0, int), numpy.zeros(0, int), numpy.zeros(0, numpy.uint32))]
        for segment, base, (there, begins, ends) in zip(self.segments, self.bases.tolist(), spans, strict=False):
            here = wanted[there]
            if here.any():
                begins, counts = begins[here], (ends - begins)[here]
                after = counts.cumsum()
                entries = segment.entries[numpy.arange(after[-1]) + numpy.repeat(begins - after + counts, counts)]
                found.append((numpy.repeat(there[here], counts), base + (entries & LONG), entries))
        which, where, entries = map(numpy.concatenate, zip(*found, strict=True))
        return which, where, entries, about

    def best(self, scores: Any, ranges: Ranges, most: int) -> Scores:
        """The passages with the highest scores, above nothing."""
        if ranges is not None:
            where = numpy.flatnonzero(scores > 0)
            scores[where[~kept(self.passages[where], ranges)]] = 0
        best = numpy.argpartition(scores, -most)[-most:] if len(scores) > most else numpy.arange(len(scores))
        best = best[scores[best] > 0]
        best = best[numpy.lexsort((self.passages[best], -scores[best]))]
        return Scores(self.passages[best].tolist(), scores[best].tolist())


def by_words(whole: Whole, terms: Iterable[int], ranges: Ranges = None, most: int = 100) -> Scores:
    """The best passages by BM25."""
    number, wanted = len(whole.passages), numpy.unique(numpy.array([*terms], numpy.uint32))
    which, where, entries, about = whole.posted(wanted, max(COMMON, number // 5))
    often = (entries >> TEXT & OFTEN) + ABOVE * (entries >> TITLE)
    weights = numpy.log1p((number - about + 0.5) / (about + 0.5)) * (SATURATION + 1)
    scores = numpy.bincount(where, weights[which] * often / (often + whole.norms[where]), number)
    return whole.best(scores, ranges, most)
