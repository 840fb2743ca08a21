"""What passages are found by, as the store keeps it: for some passages of a place all of it in one blob.

A segment has its terms by number (see `words.hashed`), in order, and for each term an entry for every passage that it
is in. A segment is never changed: what comes makes one of its own, which takes in the ones before it that are not much
larger, so that a place has few, and each passage was written some ten times when it lies in a full one.
"""

from __future__ import annotations

import struct
from array import array
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import getrandbits
from typing import Any

import numpy

from ..core import codec
from ..core.ports import Reads
from . import words

Statement = tuple[str, tuple[Any, ...]]

MOST = 2048  # passages of a segment
LARGER = 2  # times as large as what comes, at most, is a segment that it is put together with
CACHE = 192 << 20  # bytes of segments that are kept in memory
TEXT, TITLE = 16, 24
"""The bits of an entry from which on it says how often the term is in the text, and in the title; below them is the
place of the passage in its segment.
"""
OFTEN, LONG = 0xFF, 0xFFFF  # as often, and so many words, are told apart
_HEAD = struct.Struct("<III")
_INDEX = numpy.uint64(32)


@dataclass(frozen=True, slots=True)
class Segment:
    """Some passages: their numbers, the words of each, the terms, where the entries of each begin, the entries."""

    passages: Any
    words: Any
    terms: Any
    begins: Any
    entries: Any

    @classmethod
    def read(cls, data: bytes) -> Segment:
        """From what `data` gave."""
        passages, terms, entries = _HEAD.unpack_from(data)
        parts, at = list[Any](), _HEAD.size
        for kind, count in (("<u4", passages), ("<u4", terms), ("<u4", terms + 1), ("<u4", entries), ("<u2", passages)):
            parts.append(numpy.frombuffer(data, kind, count, at))
            at += parts[-1].nbytes
        return cls(parts[0], parts[4], parts[1], parts[2], parts[3])

    def data(self) -> bytes:
        """As bytes."""
        head = _HEAD.pack(len(self.passages), len(self.terms), len(self.entries))
        parts = self.passages, self.terms, self.begins, self.entries, self.words
        return b"".join([head, *(each.tobytes() for each in parts)])

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        parts = self.passages, self.words, self.terms, self.begins, self.entries
        return sum(each.nbytes for each in parts)

    def find(self, terms: Any) -> tuple[Any, Any, Any]:
        """Which of some terms are in it: their places among them, and where the entries of each begin and end."""
        at: Any = numpy.searchsorted(self.terms, terms)
        there = numpy.flatnonzero(self.terms.take(at, mode="clip") == terms) if len(self.terms) else at[:0]
        at = at[there]
        return there, self.begins[at].astype(int), self.begins[at + 1].astype(int)

    def without(self, gone: Any) -> Segment | None:
        """Those passages that are not among some; None where none are left."""
        stay = ~numpy.isin(self.passages, gone)
        if stay.all():
            return self
        if not stay.any():
            return None
        index = numpy.cumsum(stay) - 1
        here = stay[self.entries & LONG]
        return _made(self._keys(index)[here], self.entries[here], self.passages[stay], self.words[stay])

    def _keys(self, index: Any) -> Any:
        terms: Any = numpy.repeat(self.terms, numpy.diff(self.begins)).astype(numpy.uint64)
        return terms << _INDEX | index[self.entries & LONG].astype(numpy.uint64)


def joined(first: Segment, second: Segment) -> Segment:
    """Two as one; the passages of the second come after those of the first."""
    count = len(first.passages)
    keys = numpy.concatenate(
        [each._keys(numpy.arange(begin, begin + len(each.passages))) for each, begin in ((first, 0), (second, count))]
    )
    order = numpy.argsort(keys, kind="stable")
    often, passages, size = (
        numpy.concatenate(both)
        for both in ((first.entries, second.entries), (first.passages, second.passages), (first.words, second.words))
    )
    return _made(keys[order], often[order], passages, size)


def _made(keys: Any, often: Any, passages: Any, size: Any) -> Segment:
    """From keys in order, each a term and the place of a passage, and how often it is there as entries have it."""
    every = (keys >> _INDEX).astype("<u4")
    begins = _begins(every)
    entries = (keys & numpy.uint64(LONG)).astype("<u4") | (often & ~numpy.uint32(LONG))
    ends = numpy.concatenate([begins, [len(keys)]]).astype("<u4")
    return Segment(passages.astype("<u4"), size.astype("<u2"), every[begins], ends, entries)


def _begins(values: Any) -> Any:
    """Where each value begins, of values in order."""
    return numpy.flatnonzero(numpy.concatenate([[True], values[1:] != values[:-1]])) if len(values) else values


class Gathered:
    """Passages that come, until they are made segments."""

    def __init__(self) -> None:
        self._passages, self._size = array("I"), array("I")
        self._text, self._title = array("I"), array("I")
        self._texts, self._titles = array("I"), array("I")  # how many terms each passage has in them

    def add(self, passage: int, title: str, text: str) -> None:
        """Take in a passage."""
        found, above = words.hashed(text), words.hashed(title)
        names, own = words.mentions(text), map(words.number, words.titles(title))
        self._passages.append(passage)
        self._size.append(min(len(found) + len(above), LONG))
        for terms, more, all_terms, counts in ((found, names, self._text, self._texts),
                                               (above, own, self._title, self._titles)):  # fmt: skip
            terms.extend(more)
            all_terms.extend(terms)
            counts.append(len(terms))

    def segments(self) -> list[Segment]:
        """As many as that makes."""
        passages, size = (numpy.frombuffer(each, numpy.uint32) for each in (self._passages, self._size))
        found, begins = [], [0, 0]
        for first in range(0, len(passages), MOST):
            here, sides = slice(first, first + MOST), []
            for side, (terms, counts) in enumerate(((self._text, self._texts), (self._title, self._titles))):
                often = numpy.frombuffer(counts, numpy.uint32)[here].astype(int)
                end = begins[side] + int(often.sum())
                these = numpy.frombuffer(terms, numpy.uint32)[begins[side] : end].astype(numpy.uint64)
                index: Any = numpy.repeat(numpy.arange(len(often), dtype=numpy.uint64), often)
                sides.append(numpy.sort(these << _INDEX | index))
                begins[side] = end
            keys = numpy.sort(numpy.concatenate(sides))
            keys = keys[_begins(keys)]
            text, title = (_spread(keys, each) for each in sides)
            found.append(_made(keys, text << TEXT | title << TITLE, passages[here], size[here]))
        return found


def _spread(keys: Any, some: Any) -> Any:
    """How often each of the keys is there, of which some are; both in order."""
    begins = _begins(some)
    often: Any = numpy.zeros(len(keys), numpy.uint32)
    counts = numpy.diff(numpy.concatenate([begins, [len(some)]]))
    often[numpy.searchsorted(keys, some[begins])] = numpy.minimum(counts, OFTEN)
    return often


@dataclass(frozen=True, slots=True)
class Row:
    """Where a segment is kept; `rev` is another one whenever it was written."""

    place: int
    first: int
    last: int
    passages: int
    rev: int


class Segments:
    """The segments of a store, for one thread: read where they changed, and as many kept as there is room for."""

    def __init__(self, reads: Reads, room: int = CACHE) -> None:
        self._reads, self._room, self._size = reads, room, 0
        self._kept = OrderedDict[tuple[int, int], tuple[int, Segment]]()

    def of(self, places: Iterable[int]) -> list[Segment]:
        """Those of some places."""
        return [self._segment(row) for row in self.rows(places)]

    def rows(self, places: Iterable[int]) -> list[Row]:
        """Where those of some places are kept, in order."""
        return [Row(*row) for row in self._reads.read("know.segments", codec.dumps(list(places)).decode())]

    def change(self, place: int, come: Sequence[Segment], gone: Sequence[int]) -> list[Statement]:
        """What is to be written for segments that come, after all others, and passages that go."""
        there = {row.first: row for row in self.rows([place])}
        passages: Any = numpy.sort(numpy.array(gone, numpy.uint32))
        made, tail = dict[int, Segment | None](), list[int]()
        for first, row in there.items():
            here = passages[(passages >= first) & (passages <= row.last)]
            if len(here):
                made[first] = self._segment(row).without(here)
            if made.get(first, row) is not None:
                tail.append(first)
        for new in come:
            while tail and self._fits(new, before := made.get(tail[-1]) or there[tail[-1]]):
                new = joined(before if isinstance(before, Segment) else self._segment(before), new)
                made[tail.pop()] = None
            made[int(new.passages[0])] = new
            tail.append(int(new.passages[0]))
        return [statement for first, each in made.items() for statement in self._written(place, first, each, there)]

    def _fits(self, new: Segment, before: Segment | Row) -> bool:
        count = len(before.passages) if isinstance(before, Segment) else before.passages
        return count <= LARGER * len(new.passages) and count + len(new.passages) <= MOST

    def _written(self, place: int, first: int, made: Segment | None, there: Container[int]) -> Iterator[Statement]:
        if made is None:
            self._drop(place, first)
            if first in there:
                yield "know.drop_segment", (place, first)
            return
        rev = getrandbits(62)  # of what fails to be written, none is found
        last, count = int(made.passages[-1]), len(made.passages)
        self._keep(place, first, rev, made)
        yield "know.segment", (place, first, last, count, rev, made.data())

    def _segment(self, row: Row) -> Segment:
        kept = self._kept.get((row.place, row.first))
        if kept is not None and kept[0] == row.rev:
            self._kept.move_to_end((row.place, row.first))
            return kept[1]
        ((data,),) = self._reads.read("know.segment", row.place, row.first)
        found = Segment.read(data)
        self._keep(row.place, row.first, row.rev, found)
        return found

    def _keep(self, place: int, first: int, rev: int, segment: Segment) -> None:
        self._drop(place, first)
        self._size += segment.size
        self._kept[place, first] = rev, segment
        while self._size > self._room and len(self._kept) > 1:
            self._drop(*next(iter(self._kept)))

    def _drop(self, place: int, first: int) -> None:
        if (kept := self._kept.pop((place, first), None)) is not None:
            self._size -= kept[1].size
