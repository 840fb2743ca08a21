"""Documents as rows: passages, and the postings by which they are found, made and taken back."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from ..core import codec
from ..core.postings import BLOCK, ENTRY, LONG, OFTEN
from ..core.records import Document, Sought
from . import words
from .passages import cut

Statement = tuple[str, tuple[Any, ...]]

LONGEST = 300  # characters of a title
ALL = ""
"""The term of every passage."""


class Rows:
    """Gathers the rows of documents, so that what they share is written once."""

    def __init__(self, place: int, document: int, passage: int) -> None:
        """The numbers are the next ones that are free."""
        self._place, self.document, self.passage = place, document, passage
        self._statements: list[Statement] = []
        self._posted: dict[int, defaultdict[str, bytearray]] = {}

    def add(self, document: Document) -> int:
        """Take in a document and return its number."""
        number, first, title = self.document, self.passage, document.title[:LONGEST]
        for begin, end in cut(document.text):
            text = document.text[begin:end]
            self._statements.append(("know.passage", (self.passage, number, begin, text)))
            self._post(title, text)
            self.passage += 1
        told = [codec.dumps(list(each)).decode() for each in (document.tags, document.origins)]
        row = (number, self._place, document.source, title, document.hash, *told, document.at, time.time())
        self._statements.append(("know.document", (*row, first, self.passage - 1)))
        self.document += 1
        return number

    def _post(self, title: str, text: str) -> None:
        block, number = divmod(self.passage, BLOCK)
        posted = self._posted.setdefault(block, defaultdict(bytearray))
        for term, entry in _entries(number, title, text).items():
            posted[term] += entry

    def statements(self) -> list[Statement]:
        """All that is to be written."""
        posts = [
            ("know.post", (self._place, term, block, bytes(posted[term])))
            for block, posted in self._posted.items()
            for term in sorted(posted)  # in the order of the table
        ]
        return [*self._statements, *posts]


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


def taken_back(place: int, title: str, passages: Iterable[tuple[int, str]]) -> Iterator[Statement]:
    """What takes back the postings of passages: their numbers, and their texts."""
    for passage, text in passages:
        block, number = divmod(passage, BLOCK)
        for term in _entries(number, title, text):
            yield "know.unpost", (number, place, term, block)
            yield "know.vacate", (place, term, block)


def filters(sought: Sought) -> tuple[Any, ...]:
    """What is asked of documents, as statements take it."""
    return sought.source, sought.since, sought.until, codec.dumps(list(sought.tags)).decode()
