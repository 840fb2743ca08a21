"""Rules run until nothing new follows. Each start remembers how far it has read, so no premise is looked at twice.

Indexes are brought up to date before each run and not within it. Of rows that join, the one that is read last finds the
others: those were in their lists when its run began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .compiled import Start
from .relation import Relation
from .syntax import Name, Row


def tables(start: Start, relations: Callable[[Name], Any]) -> list[Any]:
    """What a start reads."""
    found = [(relations(name), places) for name, places in start.reads]
    return [each.rows if places is None else each.index(places) for each, places in found]


class Watch:
    """A start that reads a list of rows, which may grow, and adds what follows to a relation."""

    __slots__ = ("_at", "_relations", "_rows", "_run", "_tables", "_target", "head")

    def __init__(self, start: Start, rows: list[Row], relations: Callable[[Name], Any]) -> None:
        self.head, self._rows, self._run, self._at = start.head, rows, start.run, 0
        read = [relations(name) for name, _ in start.reads]
        self._relations = [each for each in read if isinstance(each, Relation)]
        self._tables = tables(start, relations)
        self._target: Relation = relations(start.head)

    def read(self, tick: Callable[[], None]) -> bool:
        """Read what is new; whether anything follows."""
        if self._at == len(self._rows):
            return False
        for relation in self._relations:
            relation.settle()
        before, take = len(self._target.fresh), self._target.take
        for head, why in self._run(self._rows, self._at, tick, *self._tables):
            take(head, why)
        self._at = len(self._rows)
        return len(self._target.fresh) > before


def spread(first: Iterable[Watch], watches: Mapping[Name, Sequence[Watch]], tick: Callable[[], None]) -> None:
    """Read until nothing new follows; `watches` are those of each predicate."""
    work = list(first)
    for watch in work:  # it grows
        if watch.read(tick):
            work += watches[watch.head]
