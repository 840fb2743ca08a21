"""What is known of one predicate: its rows, each with why it holds, and indexes that follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from .syntax import Row


@dataclass(frozen=True, slots=True)
class Given:
    """Why a fact holds that was told: where it stands (a passage, a line), and how sure it is (above 0, at most 1).

    `origins` are whose words it is in that may not direct an agent; `fact` is its number where it is kept, else 0;
    `sentence` is what says so, from `begin` on in its source.
    """

    source: Any = ""
    confidence: float = 1.0
    origins: tuple[str, ...] = ()
    fact: int = 0
    sentence: str = ""
    begin: int | None = None


Why = Given | tuple[Any, ...]
"""Why a row holds: given, or the number of a rule and the rows of its atoms, as they are written."""
Index = dict[Any, dict[Row, None]]
Places = tuple[int, ...]


def key_of(places: Places) -> Callable[[Row], Any]:
    """What a row is found by: the value at one place, else a tuple of them."""
    return itemgetter(*places) if places else lambda row: ()


class Relation:
    """Rows with their reasons. `fresh` are those of the present change; indexes learn of them when `settled`."""

    __slots__ = ("_indexed", "fresh", "indexes", "rows")

    def __init__(self) -> None:
        self.rows: dict[Row, Why] = {}
        self.fresh: list[Row] = []
        self.indexes: dict[Places, Index] = {}
        self._indexed = 0

    def index(self, places: Places) -> Index:
        """Rows by their values at some places; it stays the same object, and up to date when settled."""
        if places not in self.indexes:
            self.settle()
            self.indexes[places] = {}
            _enter(self.indexes[places], places, self.rows)
        return self.indexes[places]

    def take(self, row: Row, why: Why) -> None:
        """Add a row, unless it is there."""
        if row not in self.rows:
            self.rows[row] = why
            self.fresh.append(row)

    def settle(self) -> None:
        """Let the indexes know all rows."""
        if self._indexed < len(self.fresh):
            rows = self.fresh[self._indexed :]
            self._indexed = len(self.fresh)
            for places, index in self.indexes.items():
                _enter(index, places, rows)

    def renew(self) -> None:
        """Let all rows count as fresh."""
        self.fresh, self._indexed = list(self.rows), len(self.rows)

    def done(self) -> list[Row]:
        """End the present change: the rows that it brought."""
        self.settle()
        rows, self.fresh, self._indexed = self.fresh, [], 0
        return rows

    def remove(self, row: Row) -> None:
        """Forget a row; only between changes."""
        del self.rows[row]
        for places, index in self.indexes.items():
            key = key_of(places)(row)
            del index[key][row]
            if not index[key]:
                del index[key]


def _enter(index: Index, places: Places, rows: Iterable[Row]) -> None:
    key = key_of(places)
    for row in rows:
        value = key(row)
        bucket = index.get(value)
        if bucket is None:
            index[value] = {row: None}
        else:
            bucket[row] = None
