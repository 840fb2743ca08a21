"""One question without all that follows: rules rewritten so that they conclude only what it asks for.

Magic sets (Bancilhon, Maier, Sagiv and Ullman, PODS 1986; Beeri and Ramakrishnan, "On the power of magic", 1991): a
guard before each rule holds the values that are asked for. What is negated or aggregated is a question of its own,
answered to its end first; it lies in a lower layer, so this ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .compiled import HEAD, Groups, Start, start
from .limits import Meter
from .program import Program, in_order, variables
from .relation import Places, Relation, Why, key_of
from .spread import Watch, spread, tables
from .syntax import Atom, Comparison, Name, Row, Rule, Term, Variable

COPY, GUARD = -1, -2
"""Instead of the number of a rule: a fact that was given, or what is asked for."""
Place = tuple[Any, Name, Row]
"""Where a row is known (a Reasoner or a Question), and by which name there."""


def _named(kind: str, name: Name, places: Places) -> Name:
    return (kind, ",".join(map(str, places)), *((name,) if isinstance(name, str) else name))


def plain(name: Name) -> Name:
    """The name of a predicate as the program has it."""
    if isinstance(name, tuple) and name[0] == "of":
        return name[2] if len(name) == 3 else name[2:]
    return name


def _at(places: Places, terms: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(terms[place] for place in places)


@dataclass(frozen=True, slots=True)
class Guided:
    """A rewritten rule, and the number of the rule that it comes from."""

    rule: Rule
    origin: int


class Plan:
    """How questions of one form are answered: for a predicate whose terms at some places are known."""

    def __init__(self, program: Program, name: Name, places: Places, tick: Callable[[], None]) -> None:
        self._program, self.name, self.places = program, name, places
        self.rules: list[Guided] = []
        self.questions: dict[Name, tuple[Name, Places]] = {}
        """What is asked to its end before: by the name that it has in the rules."""
        self.names, self._forms = set[Name](), list[tuple[Name, Places]]()
        self._form(name, places)
        for form in self._forms:  # it grows
            self._rewrite(*form, tick)
        self.rules.sort(key=lambda guided: guided.origin)  # guards first: then less is found twice
        self.starts = defaultdict[Name, list[Start]](list)
        for number, guided in enumerate(self.rules):
            tick()
            for place, part in enumerate(guided.rule.body):
                if isinstance(part, Atom) and part.predicate in self.names:
                    self.starts[part.predicate].append(self._start(number, guided, place))

    def _start(self, number: int, guided: Guided, place: int) -> Start:
        if not guided.rule.aggregates:
            return start(number, guided.rule, place)
        return _groups_asked(number, guided.rule, self._program.rules[guided.origin])

    def _form(self, name: Name, places: Places) -> None:
        if (of := _named("of", name, places)) not in self.names:
            self.names |= {of, _named("for", name, places)}
            self._forms.append((name, places))

    def _rewrite(self, name: Name, places: Places, tick: Callable[[], None]) -> None:
        terms = tuple(Variable(f"_{n}") for n in range(self._program.arity[name]))
        guard = Atom(_named("for", name, places), _at(places, terms))
        copied = Rule(Atom(_named("of", name, places), terms), (guard, Atom(name, terms)))
        self.rules.append(Guided(copied, COPY))
        for number in self._program.heads[name]:
            tick()
            rule = self._program.rules[number]
            guard = Atom(guard.predicate, _at(places, rule.head.terms))
            head = Atom(copied.head.predicate, rule.head.terms)
            (self._group if rule.aggregates else self._guide)(number, rule, head, guard, places)

    def _group(self, number: int, rule: Rule, head: Atom, guard: Atom, places: Places) -> None:
        keys, body = Groups(number, rule).keys, rule.body[0]
        assert isinstance(body, Atom)
        known = tuple(n for n, place in enumerate(keys) if place in places)
        self.questions[_named("ask", body.predicate, known)] = (body.predicate, known)
        asked = Atom(_named("ask", body.predicate, known), body.terms)
        self.rules.append(Guided(replace(rule, head=head, body=(guard, asked)), number))

    def _guide(self, number: int, rule: Rule, head: Atom, guard: Atom, places: Places) -> None:
        known = {term for term in guard.terms if isinstance(term, Variable)}
        body: list[Atom | Comparison] = list(rule.body)
        before, guarded = list[Atom | Comparison](), True
        for place in in_order(rule.body, known, range(len(rule.body))):
            part = rule.body[place]
            if isinstance(part, Atom) and part.predicate in self._program.layer:
                bound = tuple(n for n, term in enumerate(part.terms) if not isinstance(term, Variable) or term in known)
                if part.negated:
                    body[place] = replace(part, predicate=_named("ask", part.predicate, bound))
                    self.questions[_named("ask", part.predicate, bound)] = (part.predicate, bound)
                else:
                    self._form(part.predicate, bound)
                    asked = Atom(_named("for", part.predicate, bound), _at(bound, part.terms))
                    body[place] = replace(part, predicate=_named("of", part.predicate, bound))
                    if asked == guard:
                        guarded = False  # its rows are guarded already
                    else:
                        self.rules.append(Guided(Rule(asked, (guard, *before)), GUARD))
            before.append(body[place])
            known.update(variables(part))
        kept = (guard, *body) if guarded else tuple(body)
        self.rules.append(Guided(replace(rule, head=head, body=kept), number))


class Question:
    """Questions of one form, over facts that stay as they are."""

    def __init__(self, plan: Plan, facts: Mapping[Name, Relation], plans: Callable[..., Plan]) -> None:
        self.plan, self._facts, self._plans = plan, facts, plans
        self._relations: dict[Name, Any] = {name: Relation() for name in plan.names}
        self._asked: dict[Name, Question] = {}
        self._meter: Meter | None = None
        self._guard = self._relations[_named("for", plan.name, plan.places)]
        self.answers = _named("of", plan.name, plan.places)
        self.found: Relation = self._relations[self.answers]
        self._index = self.found.index(plan.places)
        self._key = key_of(tuple(range(len(plan.places))))
        self._watches: dict[Name, list[Watch]] = {
            name: [Watch(each, self._relations[name].fresh, self._relation) for each in plan.starts[name]]
            for name in plan.names
        }

    def ask(self, key: Row, meter: Meter) -> Collection[Row]:
        """The rows that have these values at the places of the form."""
        if key not in self._guard.rows:
            self._meter = meter
            meter.watched += [self._relations[name] for name in self.plan.names]
            self._guard.take(key, (GUARD,))
            spread(self._watches[_named("for", self.plan.name, self.plan.places)], self._watches, meter.tick)
            self.found.settle()
        return self._index.get(self._key(key), ())

    def reason(self, name: Name, row: Row) -> Why:
        """Why a row holds that was found."""
        why: Why = self._relation(name).rows[row]
        if isinstance(why, tuple) and self.plan.rules[why[0]].origin == COPY:
            return self._facts[plain(name)].rows[row]
        return why

    def reasons(self, name: Name, row: Row, meter: Meter) -> Iterator[Why]:
        """Every reason why it holds, the one that was kept first."""
        self._meter = meter  # not that of the question, whose time may be over
        for relation in self._relations.values():
            relation.settle()  # what was found last, no run has looked for
        yield self.reason(name, row)
        for number, guided in enumerate(self.plan.rules):
            if guided.rule.head.predicate == name and guided.origin >= 0 and not guided.rule.aggregates:
                again = start(number, guided.rule, HEAD)
                yield from (why for _, why in again.run([row], 0, meter.tick, *tables(again, self._relation)))

    def premises(self, why: Why) -> tuple[int, list[Place]]:
        """The number of the rule, and where its premises are known."""
        assert isinstance(why, tuple)
        guided, found = self.plan.rules[why[0]], list[Place]()
        parts = [part for part in guided.rule.body if isinstance(part, Atom) and not part.negated]
        if guided.rule.aggregates:
            asked = self.asked(parts[1].predicate)
            return guided.origin, [(asked, asked.answers, row) for row in why[1:]]
        for part, row in zip(parts, why[1:], strict=True):
            if part.predicate[0] != "for" or isinstance(part.predicate, str):
                found.append((self, part.predicate, row))
        return guided.origin, found

    def asked(self, name: Name) -> Question:
        """The question that is answered before, by its name in the rules."""
        if name not in self._asked:
            assert self._meter is not None
            plan = self._plans(*self.plan.questions[name], self._meter)
            self._asked[name] = Question(plan, self._facts, self._plans)
        return self._asked[name]

    def _relation(self, name: Name) -> Any:
        if name in self.plan.questions:
            return _Before(self, name)
        if name not in self._relations:
            self._relations[name] = self._facts.get(name) or Relation()
        return self._relations[name]


class _Before:
    """What another question says, as a table of rows."""

    def __init__(self, question: Question, name: Name, single: bool = False) -> None:
        self._question, self._name, self._single = question, name, single

    @property
    def rows(self) -> _Before:
        return self

    def index(self, places: Places) -> _Before:
        return _Before(self._question, self._name, len(places) == 1)

    def __contains__(self, key: Any) -> bool:
        return bool(self.ask((key,) if self._single else key))

    def ask(self, key: Row) -> Collection[Row]:
        meter = self._question._meter
        assert meter is not None
        return self._question.asked(self._name).ask(key, meter)


def _groups_asked(number: int, guided: Rule, rule: Rule) -> Start:
    """The groups that a guard asks for."""
    groups, (guard, asked) = Groups(number, rule), guided.body
    assert isinstance(guard, Atom) and isinstance(asked, Atom) and isinstance(asked.predicate, tuple)
    places = [int(place) for place in guard.predicate[1].split(",") if place]
    known = [places.index(place) for place in groups.keys if place in places]
    key = key_of(groups.places)

    def run(rows: Sequence[Row], at: int, tick: Callable[[], None], before: _Before) -> Iterator[tuple[Row, Any]]:
        while at < len(rows):
            found = defaultdict[Any, list[Row]](list)
            for row in before.ask(tuple(rows[at][place] for place in known)):
                found[key(row)].append(row)
            at += 1
            tick()
            for each in found.values():
                if made := groups.row(each):
                    yield made

    return Start(guided.head.predicate, ((asked.predicate, None),), run)
