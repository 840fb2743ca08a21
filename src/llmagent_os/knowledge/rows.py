"""Documents as rows: passages, and the postings by which they are found, made and taken back."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import codec
from ..core.postings import BLOCK, ENTRY, LONG, OFTEN
from ..core.records import Document, Sought
from . import words
from .passages import cut

Statement = tuple[str, tuple[Any, ...]]

LONGEST = 300  # characters of a title
PART = 20_000  # rows of postings, at most, that are committed together
ALL = ""
"""The term of every passage."""
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""Characters that do something to a terminal, or end a line, and halves of one."""

Parts = Iterator[list[Statement]]
Texts = Callable[[int, int], Iterable[tuple[int, str]]]
"""The passages from one to another, with their texts."""


@dataclass(slots=True)
class Free:
    """The next numbers that no document and no passage had."""

    document: int
    passage: int

    def take(self, passages: int) -> tuple[int, int]:
        """The number of a document, and of the first of its passages."""
        taken = self.document, self.passage
        self.document, self.passage = self.document + 1, self.passage + passages
        return taken


class Rows:
    """Gathers what documents that come and go change, in parts that are committed one after the other.

    What the passages of a part share is written once. A document is there before its passages, and goes after them.
    Until the last part is in, a document of every source has no hash: broken off, it is not taken for what is known.
    """

    def __init__(self, place: int, free: Free) -> None:
        self.passages = 0
        """How many have come."""
        self._place, self._free = place, free
        self._statements: list[Statement] = []
        self._post, self._unpost = _Postings(), _Postings()
        self._size = 0

    def parts(self, new: Iterable[Document], old: Sequence[Sequence[Any]], texts: Texts) -> Parts:
        """What puts in the new documents and then takes out old ones: by their rows, with the texts of passages."""
        marked = dict[str, tuple[str, int]]()
        for each in new:
            about = each.hash
            if each.source not in marked:
                marked[each.source], about = (about, self._free.document), ""
            yield from self._come(each, about)
        yield from self._go(old, texts)
        self._statements += [("know.hash", each) for each in marked.values()]
        if self._statements:
            yield self._taken()

    def _come(self, document: Document, about: str) -> Parts:
        title, places = line(document.title)[:LONGEST], list(cut(document.text))
        number, first = self._free.take(len(places))
        self.passages += len(places)
        told = [codec.dumps(list(each)).decode() for each in (document.tags, document.origins)]
        row = (number, self._place, document.source, title, about, *told, document.at, time.time())
        self._statements.append(("know.document", (*row, first, first + len(places) - 1)))
        for passage, (begin, end) in enumerate(places, first):
            text = document.text[begin:end]
            self._statements.append(("know.passage", (passage, number, begin, text)))
            self._size += self._post.add(passage, title, text)
            if self._size >= PART:
                yield self._taken()

    def _go(self, old: Sequence[Sequence[Any]], texts: Texts) -> Parts:
        if old:  # the last to go
            self._statements.append(("know.hash", ("", old[-1][0])))
        for document, _, _, title, *_, first, last in old:
            for begin in range(first, last + 1, BLOCK):
                for passage, text in texts(begin, min(begin + BLOCK - 1, last)):
                    self._statements.append(("know.drop_passage", (passage,)))
                    self._size += self._unpost.add(passage, title, text)
                    if self._size >= PART:
                        yield self._taken()
            self._statements.append(("know.drop", (document,)))

    def _taken(self) -> list[Statement]:
        """All that is to be written now."""
        statements = self._statements
        statements += [("know.post", (data, self._place, *where)) for data, *where in self._post.rows()]
        for data, *where in self._unpost.rows():
            statements.append(("know.unpost", (data, self._place, *where)))
            statements.append(("know.vacate", (self._place, *where)))
        self._statements, self._size = [], 0
        self._post, self._unpost = _Postings(), _Postings()
        return statements


class _Postings:
    """The entries of passages, by block and term."""

    def __init__(self) -> None:
        self._found: dict[int, defaultdict[str, bytearray]] = {}

    def add(self, passage: int, title: str, text: str) -> int:
        """Take in a passage; returns about how many rows that touches."""
        block, number = divmod(passage, BLOCK)
        found, entries = self._found.setdefault(block, defaultdict(bytearray)), _entries(number, title, text)
        for term, entry in entries.items():
            found[term] += entry
        return len(entries) + 1

    def rows(self) -> Iterator[tuple[bytes, str, int]]:
        """Entries, their term and their block, in the order of the table."""
        for block, found in self._found.items():
            for term in sorted(found):
                yield bytes(found[term]), term, block


def line(text: str) -> str:
    """A text on one line, without characters that control."""
    return " ".join(CONTROL.sub(" ", text).split())


def _entries(number: int, title: str, text: str) -> dict[str, bytes]:
    """The terms of a passage, each with its entry."""
    found, above, names, own = words.terms(text), words.terms(title), words.mentioned(text), words.titles(title)
    size = min(found.total() + above.total(), LONG)
    once = ENTRY.pack(number, 1, 0, size)
    entries = {ALL: once, **dict.fromkeys(found, once), **dict.fromkeys(names, once)}
    for term, times in found.items():
        if times > 1:
            entries[term] = ENTRY.pack(number, min(times, OFTEN), 0, size)
    for term, times in above.items():
        entries[term] = ENTRY.pack(number, min(found[term], OFTEN), min(times, OFTEN), size)
    for name in own:
        entries[name] = ENTRY.pack(number, name in names, 1, size)
    return entries


def filters(sought: Sought) -> tuple[Any, ...]:
    """What is asked of documents, as statements take it."""
    return sought.source, sought.since, sought.until, codec.dumps(list(sought.tags)).decode()
