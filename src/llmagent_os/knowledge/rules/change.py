"""What a change of facts brings and takes, a layer of the program at a time: see `reasoner` for the papers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Protocol

from .compiled import HEAD, NOTHING, Start
from .limits import Meter
from .program import Program
from .relation import Relation, Why
from .spread import Watch, spread, tables
from .syntax import Atom, Name, Row

Rows = dict[Row, Why]


class Holder(Protocol):
    """Who holds the rows that change."""

    program: Program
    saturated: bool

    def relation(self, name: Name) -> Relation:
        """What is known of a predicate."""

    def start(self, number: int, at: int, lenient: bool = False) -> Start:
        """A rule from one of its premises."""


class Change:
    """One change. `come` and `gone` are the rows that it brought and took in the end, by predicate."""

    def __init__(self, holder: Holder, meter: Meter) -> None:
        self._relation, self._start, self._program = holder.relation, holder.start, holder.program
        self._layer = holder.program.layer if holder.saturated else {}  # else nothing is concluded
        self._tick, self._meter = meter.tick, meter
        self._doomed: dict[Name, Rows] = defaultdict(dict)
        self.come: dict[Name, list[Row]] = {}
        self.gone: dict[Name, Rows] = {}

    def make(self, added: Mapping[Name, Rows], removed: Mapping[Name, Rows], first: bool) -> None:
        """Make it; `first` is the one in which everything that is given counts as new."""
        names = {*self._layer, *added, *removed, *(self._program.arity if first else ())}
        levels = defaultdict[int, list[Name]](list)
        for name in names:
            levels[self._layer.get(name, -1)].append(name)
        if any(removed.values()):
            self._doom(removed)
        for level in sorted(levels):
            self._doom_by_presence(level)
            self._make(level, sorted(levels[level], key=str), added, first)

    def _make(self, level: int, names: list[Name], added: Mapping[Name, Rows], first: bool) -> None:
        relations = {name: self._relation(name) for name in names}
        self._meter.watched += relations.values()
        doomed = {name: self._doomed[name] for name in names if name in self._doomed}
        self._given(relations, doomed, added)
        for name, rows in doomed.items() if level >= 0 else ():
            for number in self._program.heads[name]:
                Watch(self._start(number, HEAD), list(rows), self._relation).read(self._tick)
        if level >= 0:
            self._spread(level, relations, first)
        self._meter.look()
        for name, relation in relations.items():
            lost = doomed.get(name, {})
            if come := [row for row in relation.done() if row not in lost]:
                self.come[name] = come
            if gone := {row: why for row, why in lost.items() if row not in relation.rows}:
                self.gone[name] = gone

    @staticmethod
    def _given(relations: Mapping[Name, Relation], doomed: Mapping[Name, Rows], added: Mapping[Name, Rows]) -> None:
        for name, relation in relations.items():
            for row in doomed.get(name, ()):
                relation.remove(row)
            for row, why in added.get(name, {}).items():
                relation.take(row, why)
                relation.rows[row] = why

    # -- what goes

    def _doom(self, rows: Mapping[Name, Rows]) -> None:
        """Doom rows, and all those whose reason stands on them."""
        work = dict[Name, list[Row]]()
        for name, each in rows.items():
            self._doomed[name].update(each)
            work[name] = list(each)
        while work:
            name, lost = work.popitem()
            for number, place, part in self._used(name):
                if not part.negated:
                    self._doomed_by(self._start(number, place, True), lost, work)

    def _doom_by_presence(self, level: int) -> None:
        """Doom rows whose reason was that something is not there, or what a group had in it."""
        work = dict[Name, list[Row]]()
        for name, come in self.come.items():
            for number, place, part in self._used(name, level):
                if part.negated or self._program.rules[number].aggregates:
                    self._doomed_by(self._start(number, place, True), come, work)
        if work:
            self._doom({name: {row: self._doomed[name][row] for row in rows} for name, rows in work.items()})

    def _doomed_by(self, start: Start, lost: list[Row], work: dict[Name, list[Row]]) -> None:
        relation, doomed = self._relation(start.head), self._doomed[start.head]
        for head, why in start.run(lost, 0, self._tick, *tables(start, self._relation)):
            if head not in doomed and relation.rows.get(head) == why:
                doomed[head] = why
                work.setdefault(start.head, []).append(head)

    def _used(self, name: Name, level: int | None = None) -> Iterator[tuple[int, int, Atom]]:
        """Where a predicate is a premise: the rule, the place, and the premise; in rules of one level, or of all."""
        for number, place in self._program.users.get(name, ()) if self._layer else ():
            rule = self._program.rules[number]
            part = rule.body[place]
            if isinstance(part, Atom) and level in (None, self._layer[rule.head.predicate]):
                self._tick()
                yield number, place, part

    # -- what comes

    def _spread(self, level: int, relations: Mapping[Name, Relation], first: bool) -> None:
        watches, below = _Watches(self, level), defaultdict[int, dict[int, list[Row]]](dict)
        for name in {**self.come, **self.gone}:
            for number, place, part in self._used(name, level):
                come, gone = self.come.get(name, []), list(self.gone.get(name, ()))
                aggregates = bool(self._program.rules[number].aggregates)
                below[number][place] = come + gone if aggregates else gone if part.negated else come
        begin = [self.watch(number, place, rows) for number, each in below.items()
                 for place, rows in self._least(number, each)]  # fmt: skip
        begin += [watch for name, each in relations.items() if each.fresh for watch in watches[name]]
        for name in relations if first else ():
            for number in self._program.heads[name]:
                if not any(isinstance(part, Atom) and not part.negated for part in self._program.rules[number].body):
                    begin.append(self.watch(number, NOTHING, [()]))
        spread(begin, watches, self._tick)

    def watch(self, number: int, at: int, rows: list[Row]) -> Watch:
        """A rule from one of its premises, over rows of that."""
        return Watch(self._start(number, at), rows, self._relation)

    def watches(self, name: Name, level: int) -> list[Watch]:
        """The rules that go on from what is new of a predicate of their own level."""
        return [self.watch(number, place, self._relation(name).fresh) for number, place, _ in self._used(name, level)]

    def _least(self, number: int, below: Mapping[int, list[Row]]) -> Iterator[tuple[int, list[Row]]]:
        """Where a premise has nothing but new rows, every conclusion goes through it, and it alone need be read."""
        whole = [place for place, rows in below.items() if self._all_new(number, place, rows)]
        place = min(whole, key=lambda place: len(below[place]), default=None)
        return iter(below.items() if place is None else [(place, below[place])])

    def _all_new(self, number: int, place: int, rows: list[Row]) -> bool:
        part = self._program.rules[number].body[place]
        return isinstance(part, Atom) and not part.negated and len(rows) == len(self._relation(part.predicate).rows)


class _Watches(dict[Name, list[Watch]]):
    """The watches of a level, made when their predicate has something new."""

    def __init__(self, change: Change, level: int) -> None:
        super().__init__()
        self._change, self._level = change, level

    def __missing__(self, name: Name) -> list[Watch]:
        self[name] = self._change.watches(name, self._level)
        return self[name]
