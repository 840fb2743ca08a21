"""Facts and what follows from them: kept as they change, or worked out for one question.

What follows is found semi-naively, a row at a time (Motik et al., "Parallel materialisation of Datalog programs in
centralised, main-memory RDF systems", AAAI 2014), and each row keeps the first reason that it was found by. When facts
go, rows go whose kept reason falls (Doyle, "A truth maintenance system", 1979: fewer than all that could be concluded
from them), and come back where another reason is left, as in DRed (Gupta, Mumick and Subrahmanian, "Maintaining views
incrementally", SIGMOD 1993).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from ...core.errors import InvalidRequest
from .change import Change, Rows
from .compiled import HEAD, LARGEST, Start, start
from .demand import Place, Plan, Question
from .limits import Limits, Meter
from .program import Program
from .relation import Given, Places, Relation, Why
from .spread import tables
from .syntax import Atom, Name, Row, Value, Variable, goal, told


class Fact(NamedTuple):
    """A predicate of some values."""

    predicate: str
    values: Row

    def __str__(self) -> str:
        return told(Atom(self.predicate, self.values))


class Answer(NamedTuple):
    """A fact that answers a question; `names` are the places of the question's variables."""

    fact: Fact
    names: Mapping[str, int]

    @property
    def values(self) -> dict[str, Value]:
        """The values of the question's variables."""
        return {name: self.fact.values[place] for name, place in self.names.items()}


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows that a change brought and took, by predicate; with what follows, where that is kept."""

    added: Mapping[str, Collection[Row]] = field(default_factory=dict)
    removed: Mapping[str, Collection[Row]] = field(default_factory=dict)


class Reasoner:
    """A program over facts that come and go.

    Until `saturate`, a question works out what it needs; from then on everything that follows is there, and kept up to
    date. Not for several threads at once.
    """

    def __init__(self, program: Program, limits: Limits | None = None) -> None:
        self.program, self.limits = program, limits or Limits()
        self.saturated = False
        self.relations: dict[Name, Relation] = {name: Relation() for name in program.arity}
        self._arity = dict(program.arity)
        self._plans: dict[tuple[Name, Places], Plan] = {}
        self._questions: dict[tuple[Name, Places], Question] = {}
        self._starts: dict[tuple[int, int, bool], Start] = {}
        self.change(program.facts)

    def change(self, add: Iterable[tuple[Name, Row, Given]] = (), remove: Iterable[tuple[Name, Row]] = ()) -> Changes:
        """Add facts and take away given ones, in one; what was not given is not taken. An error changes none.

        A fact that is given again has its later source. Raises InvalidRequest, and BudgetExceeded where too much
        follows: then what follows is forgotten, until it is asked for.
        """
        added, removed = self._read(add), defaultdict[Name, Rows](dict)
        for name, row in remove:
            why = self.relations[name].rows.get(row) if name in self.relations else None
            if isinstance(why, Given) and row not in added.get(name, ()):
                removed[name][row] = why
        self._questions.clear()
        return self._change(added, removed)

    def saturate(self) -> Changes:
        """Conclude everything that follows, and keep it so; raises BudgetExceeded where no end is in sight."""
        if self.saturated:
            return Changes()
        self._questions.clear()
        self.saturated = True
        for name in self.program.arity:
            self.relation(name).renew()
        return self._change({}, {}, first=True)

    def ask(self, question: str | Atom) -> list[Answer]:
        """The facts that answer a question like `parent(ann, X)`."""
        atom = goal(question) if isinstance(question, str) else question
        names = {term.name: n for n, term in enumerate(atom.terms) if isinstance(term, Variable) and not term.anonymous}
        predicate = str(atom.predicate)
        return [Answer(Fact(predicate, row), names) for row in self.matching(atom)]

    def matching(self, atom: Atom, meter: Meter | None = None) -> Iterator[Row]:
        """The rows that fit an atom; with a meter, that is part of what the meter counts."""
        arity = self._arity.get(atom.predicate, len(atom.terms))
        if arity != len(atom.terms):
            raise InvalidRequest(f"{told(Atom(atom.predicate))} has {arity} arguments, not {len(atom.terms)}: write "
                                 "`_` for those that do not matter", parameter="question")  # fmt: skip
        places = tuple(n for n, term in enumerate(atom.terms) if not isinstance(term, Variable))
        key = tuple(term for term in atom.terms if not isinstance(term, Variable))
        found = self._found(atom.predicate, places, key, meter)
        if len(set(atom.terms)) == len(atom.terms):
            return iter(found)
        first = [atom.terms.index(term) for term in atom.terms]
        return (row for row in found if all(row[n] == row[m] for n, m in enumerate(first)))

    @contextmanager
    def metered(self, meter: Meter | None = None) -> Iterator[Meter]:
        """A block that is one question to the limits, or part of one; what it leaves half worked out is forgotten."""
        try:
            yield meter or Meter(self.limits)
        except BaseException:
            self._questions.clear()
            raise

    def place(self, fact: Fact, meter: Meter) -> Place | None:
        """Where a fact is known, once it is worked out; None where it does not hold."""
        for (name, _), question in self._questions.items():
            if name == fact.predicate and fact.values in question.found.rows:
                return question, question.answers, fact.values
        if not any(True for _ in self.matching(Atom(*fact), meter)):
            return None
        if self.saturated or fact.predicate not in self.program.layer:
            return self, fact.predicate, fact.values
        question = self._questions[fact.predicate, tuple(range(len(fact.values)))]
        return question, question.answers, fact.values

    def reason(self, name: Name, row: Row) -> Why:
        """Why a row holds that is known."""
        return self.relations[name].rows[row]

    def reasons(self, name: Name, row: Row, meter: Meter) -> Iterator[Why]:
        """Every reason why it holds, the one that was kept first."""
        yield self.reason(name, row)
        for number in self.program.heads.get(name, ()):
            start = self.start(number, HEAD)
            yield from (why for _, why in start.run([row], 0, meter.tick, *tables(start, self.relation)))

    def premises(self, why: Why) -> tuple[int, list[Place]]:
        """The number of the rule, and where its premises are known."""
        assert isinstance(why, tuple)
        rule = self.program.rules[why[0]]
        names = [part.predicate for part in rule.body if isinstance(part, Atom) and not part.negated]
        names *= len(why) - 1 if rule.aggregates else 1
        return why[0], [(self, name, row) for name, row in zip(names, why[1:], strict=True)]

    def start(self, number: int, at: int, lenient: bool = False) -> Start:
        """A rule from one of its premises, compiled once."""
        key = (number, at, lenient)
        if key not in self._starts:
            self._starts[key] = start(number, self.program.rules[number], at, lenient)
        return self._starts[key]

    def relation(self, name: Name) -> Relation:
        """What is known of a predicate here."""
        return self.relations.setdefault(name, Relation())

    def _found(self, name: Name, places: Places, key: Row, meter: Meter | None) -> Collection[Row]:
        if self.saturated or name not in self.program.layer:
            relation = self.relation(name)
            if len(places) == self._arity.get(name, -1):
                return (key,) if key in relation.rows else ()
            return relation.index(places).get(key[0] if len(key) == 1 else key, ())
        meter = meter or Meter(self.limits)
        question = Question(self._plan(name, places, meter), self.relations, self._plan)
        found = question.ask(key, meter)
        self._questions[name, places] = question
        return found

    def _plan(self, name: Name, places: Places, meter: Meter) -> Plan:
        if (name, places) not in self._plans:
            self._plans[name, places] = Plan(self.program, name, places, meter.tick)
        return self._plans[name, places]

    def _change(self, added: dict[Name, Rows], removed: dict[Name, Rows], first: bool = False) -> Changes:
        before: dict[Name, Rows] = {
            name: {row: why for row in rows if isinstance(why := self.relation(name).rows.get(row), Given)}
            for name, rows in added.items()
        }
        change = Change(self, Meter(self.limits))
        try:
            change.make(added, removed, first)
        except BaseException:
            self._undo(added, before, removed)
            raise
        return Changes(_named(change.come), _named(change.gone))

    def _undo(self, *layers: Mapping[Name, Rows]) -> None:
        """Back to what was given before; what followed is forgotten."""
        added, before, removed = layers
        for name, relation in list(self.relations.items()):
            fresh = self.relations[name] = Relation()
            for row, why in relation.rows.items():
                if isinstance(why, Given) and row not in added.get(name, ()):
                    fresh.take(row, why)
            for row, why in (*before.get(name, {}).items(), *removed.get(name, {}).items()):
                fresh.take(row, why)
            fresh.done()
        self.saturated = False

    def _read(self, facts: Iterable[tuple[Name, Row, Given]]) -> dict[Name, Rows]:
        added = defaultdict[Name, Rows](dict)
        for name, row, why in facts:
            arity = self._arity.setdefault(name, len(row))
            if len(row) != arity:
                raise InvalidRequest(f"{told(Atom(name))} has {arity} arguments, and a fact has {len(row)}: {row}",
                                     parameter="facts")  # fmt: skip
            if not all(map(_is_value, row)):
                raise InvalidRequest(f"{told(Atom(name))}{row} cannot be reasoned with: facts hold texts and numbers "
                                     f"(whole ones below {LARGEST})", parameter="facts")  # fmt: skip
            added[name][row] = why
        return added


def _is_value(value: object) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is str or (type(value) is int and -LARGEST <= value < LARGEST)


def _named(rows: Mapping[Name, Collection[Row]]) -> dict[str, Collection[Row]]:
    return {name: each for name, each in rows.items() if isinstance(name, str)}
