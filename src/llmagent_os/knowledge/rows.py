"""Documents as rows: passages, and the postings by which they are found, made and taken back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core import codec
from ..core.records import Document, Sought
from .passages import cut

if TYPE_CHECKING:
    from .segments import Gathered, Segments

Statement = tuple[str, tuple[Any, ...]]

LONGEST = 300  # characters of a title
PART = 2048  # passages, at most, that are committed together
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""Characters that do something to a terminal, or end a line, and halves of one."""

Parts = Iterator[list[Statement]]


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

    What the passages of a part are found by is written once. A document is there before its passages, and goes after
    them. Until the last part is in, a document of every source has no hash: broken off, it is not taken for what is
    known.
    """

    def __init__(self, place: int, free: Free, index: Segments, gathered: Callable[[], Gathered]) -> None:
        self.passages = 0
        """How many have come."""
        self._place, self._free, self._index, self._gathered = place, free, index, gathered
        self._statements: list[Statement] = []
        self._come, self._gone, self._size = gathered(), list[int](), 0

    def parts(self, new: Iterable[Document], old: Sequence[Sequence[Any]]) -> Parts:
        """What puts in the new documents and then takes out old ones, by their rows."""
        marked = dict[str, tuple[str, int]]()
        for each in new:
            about = each.hash
            if each.source not in marked:
                marked[each.source], about = (about, self._free.document), ""
            yield from self._add(each, about)
        yield from self._drop(old)
        self._statements += [("know.hash", each) for each in marked.values()]
        if self._statements:
            yield self._taken()

    def _add(self, document: Document, about: str) -> Parts:
        title, places = line(document.title)[:LONGEST], list(cut(document.text))
        number, first = self._free.take(len(places))
        self.passages += len(places)
        told = [codec.dumps(list(each)).decode() for each in (document.tags, document.origins)]
        row = (number, self._place, document.source, title, about, *told, document.at, time.time())
        self._statements.append(("know.document", (*row, first, first + len(places) - 1)))
        for passage, (begin, end) in enumerate(places, first):
            text = document.text[begin:end]
            self._statements.append(("know.passage", (passage, number, begin, text)))
            self._come.add(passage, title, text)
            self._size += 1
            if self._size >= PART:
                yield self._taken()

    def _drop(self, old: Sequence[Sequence[Any]]) -> Parts:
        if old:  # the last to go
            self._statements.append(("know.hash", ("", old[-1][0])))
        for document, *_, first, last in old:
            for begin in range(first, last + 1, PART):
                gone = range(begin, min(begin + PART - 1, last) + 1)
                self._statements.append(("know.drop_passages", (gone[0], gone[-1])))
                self._gone += gone
                self._size += len(gone)
                if self._size >= PART:
                    yield self._taken()
            self._statements.append(("know.drop", (document,)))

    def _taken(self) -> list[Statement]:
        """All that is to be written now."""
        found = self._statements + self._index.change(self._place, self._come.segments(), self._gone)
        self._statements, self._come, self._gone, self._size = [], self._gathered(), [], 0
        return found


def line(text: str) -> str:
    """A text on one line, without characters that control."""
    return " ".join(CONTROL.sub(" ", text).split())


def filters(sought: Sought) -> tuple[Any, ...]:
    """What is asked of documents, as statements take it."""
    return sought.source, sought.since, sought.until, codec.dumps(list(sought.tags)).decode()
