"""Looking for passages: by words first, then along the names that the first hits share with others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy

from ..core import codec
from ..core.ports import Reads
from ..core.postings import BLOCK, ENTRY
from ..core.records import Hit, Place, Sought
from . import words
from .graph import FADES, Graph
from .ranking import Posted, Scores, by_words, kept, titled
from .rows import ALL, filters

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

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._sizes: dict[int, tuple[int, int]] = {}
        self._names: dict[int, set[str]] = {}  # of passages, whose numbers are never used again

    def changed(self, place: int) -> None:
        """Something was added to a place, or removed."""
        self._sizes.pop(place, None)

    def find(self, places: Mapping[int, Place], sought: Sought) -> list[Hit]:
        """The best passages of some places, the best first."""
        ids, ranges = codec.dumps(list(places)).decode(), None
        if sought.source or sought.tags or sought.since is not None or sought.until is not None:
            found = self._reads.read("know.ranges", ids, *filters(sought))
            ranges = numpy.array(found, numpy.int64).reshape(-1, 2)
        number, size = self._size(places)
        first = by_words(self._posted(ids, words.asked(sought.text)), number, size, ranges, CANDIDATES)
        if not first.passages:
            return []
        legs = {"words": _even(first)}
        legs["graph"], came = self._walked(ids, legs["words"], ranges)
        scores: dict[int, float] = defaultdict(float)
        for leg, counts in (("words", 1.0), ("graph", GRAPH)):
            for passage, score in legs[leg].items():
                scores[passage] += counts / (1 + GRAPH) * score
        best = sorted(scores, key=lambda passage: (-scores[passage], passage))[: sought.limit]
        return self._hits(places, best, scores, legs, came)

    def _size(self, places: Iterable[int]) -> tuple[int, int]:
        """How many passages places have, and how many words they have together."""
        for place in places:
            if place not in self._sizes:
                every = self._posted(codec.dumps([place]).decode(), [ALL]).get(ALL)
                size = (0, 0) if every is None else (len(every.passages), int(every.entries["words"].sum()))
                self._sizes[place] = size
        known = [self._sizes[place] for place in places]
        return sum(each for each, _ in known), sum(each for _, each in known)

    def _posted(self, places: str, terms: Iterable[str]) -> dict[str, Posted]:
        rows: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for term, block, data in self._read(places, terms):
            rows[term].append((block, data))
        return {term: Posted.read(found) for term, found in rows.items()}

    def _read(self, places: str, terms: Iterable[str]) -> list[tuple[str, int, bytes]]:
        """The rows of terms: (term, block, entries)."""
        return self._reads.read("know.posted", places, codec.dumps(list(terms)).decode())

    def _walked(
        self, places: str, first: Mapping[int, float], ranges: Any
    ) -> tuple[dict[int, float], dict[int, tuple[int, str]]]:  # fmt: skip
        """How much of the first hits leads to each passage (1: all of the best one), and how it was reached."""
        seeds = {passage: score**SHARP for passage, score in list(first.items())[:FIRST]}
        graph, known, ring = Graph(), set[int](), list(seeds)
        for _ in range(RINGS):
            self._join(graph, places, ring, ranges)
            known.update(ring)
            at, came = graph.spread(seeds)
            ring = sorted(at.keys() - known, key=lambda passage: (-at[passage], passage))[:ALONG]
            if not ring:
                break
        return {passage: share / FADES for passage, share in at.items()}, came

    def _join(self, graph: Graph, places: str, passages: Sequence[int], ranges: Any) -> None:
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
        often = set[str]()
        for name, block, data in self._read(places, bearers):
            if len(data) > MANY * ENTRY.size:
                often.add(name)
                data = titled(data)
            for number, _, title, _ in ENTRY.iter_unpack(data):
                bearers[name][block * BLOCK + number] = title > 0
        for name, found in bearers.items():
            if len(found) > 1:
                back = name not in often and len(found) <= MANY
                graph.join(name, found if ranges is None else _inside(found, ranges), back)

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
