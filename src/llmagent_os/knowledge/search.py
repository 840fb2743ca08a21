"""Looking for passages: by words first, then along the names that the first hits share with others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log1p
from typing import Any

import numpy

from ..core import codec
from ..core.ports import Reads
from ..core.records import Hit, Place, Sought
from . import words
from .graph import FADES, Graph
from .ranking import Scores, Whole, by_words, kept
from .rows import filters
from .segments import TITLE, Segments

CANDIDATES = 100  # passages that words find
FIRST = 20  # of them, from which the graph is walked
RINGS = 2  # times that the names of what was reached are read
ALONG = 10  # passages that were reached and whose names are read next
MANY = 50  # passages that may mention a title, for it to lead to them
KEPT = 20_000  # passages whose names are kept in mind
GRAPH = 1.5  # what a share of the graph's counts beside one of the words'
SHARP = 3  # the power of a first hit's score that goes along the graph: the best ones lead


class Search:
    """Finds passages, for one thread."""

    def __init__(self, reads: Reads, segments: Segments) -> None:
        self._reads, self._segments = reads, segments
        self._names: dict[int, set[str]] = {}  # of passages, whose numbers are never used again

    def find(self, places: Mapping[int, Place], sought: Sought) -> list[Hit]:
        """The best passages of some places, the best first."""
        ranges, segments = None, self._segments.of(places)
        if sought.source or sought.tags or sought.since is not None or sought.until is not None:
            found = self._reads.read("know.ranges", codec.dumps(list(places)).decode(), *filters(sought))
            ranges = numpy.array(found, numpy.int64).reshape(-1, 2)
        if not segments or (ranges is not None and not len(ranges)):
            return []
        whole = Whole.of(segments)
        first = by_words(whole, map(words.number, words.asked(sought.text)), ranges, CANDIDATES)
        if not first.passages:
            return []
        legs = {"words": _even(first)}
        legs["graph"], came = self._walked(whole, legs["words"], ranges) if sought.along else ({}, {})
        scores: dict[int, float] = defaultdict(float)
        for leg, counts in (("words", 1.0), ("graph", GRAPH)):
            for passage, score in legs[leg].items():
                scores[passage] += counts / (1 + GRAPH) * score
        best = sorted(scores, key=lambda passage: (-scores[passage], passage))[: sought.limit]
        return self._hits(places, best, scores, legs, came)

    def _walked(
        self, whole: Whole, first: Mapping[int, float], ranges: Any
    ) -> tuple[dict[int, float], dict[int, tuple[int, str]]]:  # fmt: skip
        """How much of the first hits leads to each passage (1: all of the best one), and how it was reached."""
        seeds = {passage: score**SHARP for passage, score in list(first.items())[:FIRST]}
        graph, known, ring = Graph(), set[int](), list(seeds)
        for _ in range(RINGS):
            self._join(graph, whole, ring, ranges)
            known.update(ring)
            at, came = graph.spread(seeds)
            ring = sorted(at.keys() - known, key=lambda passage: (-at[passage], passage))[:ALONG]
            if not ring:
                break
        return {passage: share / FADES for passage, share in at.items()}, came

    def _join(self, graph: Graph, whole: Whole, passages: Sequence[int], ranges: Any) -> None:
        """Put passages into the graph, with those that bear a name that they mention."""
        new = [each for each in passages if each not in self._names]
        if len(self._names) + len(new) > KEPT:
            self._names.clear()
            new = list(passages)
        for passage, _, text, _, _, _, title, *_ in self._passages(new):
            self._names[passage] = words.mentioned(text) | words.single(text) | words.titles(title)
        bearers: dict[str, dict[int, bool]] = defaultdict(dict)
        for passage in passages:
            for name in self._names.get(passage, ()):
                bearers[name][passage] = False
        names = list(bearers)
        numbers = numpy.array([*map(words.number, names)], numpy.uint32)
        which, where, entries, about = whole.posted(numbers)
        owns, often = entries >> TITLE > 0, about > MANY
        plain = numpy.array([words.number(name.removeprefix(words.NAME)) for name in names], numpy.uint32)
        number = len(whole.passages)  # a name of one word is as rare as that is
        rare = (numpy.log1p(number / numpy.maximum(numpy.maximum(about, whole.about(plain)), 1)) / log1p(number)) ** 2
        told = owns | ~often[which]
        passages = whole.passages[where[told]].tolist()
        for name, passage, own in zip(which[told].tolist(), passages, owns[told].tolist(), strict=True):
            bearers[names[name]][passage] = own
        for (name, found), many, weight in zip(bearers.items(), often.tolist(), rare.tolist(), strict=True):
            if len(found) > 1:
                back = not many and len(found) <= MANY
                graph.join(name, found if ranges is None else _inside(found, ranges), back, weight)

    def _passages(self, passages: Iterable[int]) -> list[tuple[Any, ...]]:
        return self._reads.read("know.passages", codec.dumps(list(passages)).decode())

    def _hits(
        self, places: Mapping[int, Place], best: Sequence[int], scores: Mapping[int, float],
        legs: Mapping[str, Mapping[int, float]], came: Mapping[int, tuple[int, str]],
    ) -> list[Hit]:  # fmt: skip
        rows = {row[0]: row[1:] for row in self._passages({*best, *(came[each][0] for each in best if each in came)})}
        hits = []
        for passage in best:
            if passage not in rows:  # removed meanwhile
                continue
            begin, text, document, place, source, title, tags, origins, at = rows[passage]
            tagged, whose = tuple(codec.loads(tags)), tuple(codec.loads(origins))
            each = {leg: round(found[passage], 4) for leg, found in legs.items() if passage in found}
            path: tuple[str, ...] = ()
            if passage in came and passage not in legs["words"] and came[passage][0] in rows:
                origin, name = came[passage]
                path = (rows[origin][5], name.removeprefix(words.NAME), title)
            hits.append(
                Hit(passage, document, source, title, text, begin, begin + len(text), at, tagged, whose, places[place],
                    round(scores[passage], 4), each, path)
            )  # fmt: skip
        return hits


def _inside(bearers: Mapping[int, bool], ranges: Any) -> dict[int, bool]:
    """Those of some passages that lie in one of the ranges."""
    passages = numpy.array(list(bearers))
    return {passage: bearers[passage] for passage in passages[kept(passages, ranges)].tolist()}


def _even(found: Scores) -> dict[int, float]:
    """Scores between 0 and 1, the best first."""
    top = found.values[0]
    return {passage: value / top for passage, value in zip(found.passages, found.values, strict=True)}
