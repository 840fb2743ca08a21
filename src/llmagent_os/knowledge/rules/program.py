"""A text of rules, checked: every variable has a value when it is needed, nothing depends on its own absence.

Layers are those of stratified negation (Apt, Blair and Walker, "Towards a theory of declarative knowledge", 1988).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NoReturn

from .relation import Given
from .syntax import RULES, Atom, Comparison, Expression, Name, Operation, Rule, Variable, fail, rules, told

LAYERS = 50  # of negation and aggregates on top of one another
JOINED = 16  # atoms of a body: Python nests 20 loops
_TRIED = 20  # rules that are looked at to say which is at fault


def variables(part: Expression | Atom | Comparison) -> Iterator[Variable]:
    """The variables of a part of a rule, in order."""
    if isinstance(part, Variable):
        yield part
    elif isinstance(part, Atom):
        yield from (term for term in part.terms if isinstance(term, Variable))
    elif isinstance(part, Operation | Comparison):
        yield from variables(part.left)
        yield from variables(part.right)


@dataclass(frozen=True)
class Program:
    """Rules that hold together. Where rules have aggregates, their bodies have become rules of their own.

    `layer` has the number of the layer of each predicate of a head: what is negated or aggregated lies below.
    """

    rules: tuple[Rule, ...] = ()
    facts: tuple[tuple[Name, tuple[str | int | float, ...], Given], ...] = ()
    layer: dict[Name, int] = field(default_factory=dict)
    arity: dict[Name, int] = field(default_factory=dict)

    @cached_property
    def users(self) -> dict[Name, list[tuple[int, int]]]:
        """The rules, and the places in their bodies, where a predicate is a premise."""
        users = defaultdict[Name, list[tuple[int, int]]](list)
        for number, rule in enumerate(self.rules):
            for place, part in enumerate(rule.body):
                if isinstance(part, Atom):
                    users[part.predicate].append((number, place))
        return dict(users)

    @cached_property
    def heads(self) -> dict[Name, list[int]]:
        """The rules that conclude a predicate."""
        heads = defaultdict[Name, list[int]](list)
        for number, rule in enumerate(self.rules):
            heads[rule.head.predicate].append(number)
        return dict(heads)

    @classmethod
    def read(cls, text: str, source: str = RULES) -> Program:
        """Read and check a text; raises InvalidRequest, which names line and variable."""
        return cls.of(rules(text, source), source)

    @classmethod
    def of(cls, written: Sequence[Rule], source: str = RULES) -> Program:
        """Check rules that were read."""
        facts, kept = [], list[Rule]()
        arity = _arities(written, source)
        for number, rule in enumerate(written):
            _safe(rule, source)
            if rule.body:
                kept += _grouped(rule, number) if rule.aggregates else [rule]
            else:
                row = tuple(term for term in rule.head.terms if not isinstance(term, Variable))
                facts.append(
                    (rule.head.predicate, row, Given(f"{rule.source or source}, line {rule.line}", rule.weight))
                )
        arity |= {rule.head.predicate: len(rule.head.terms) for rule in kept}
        return cls(tuple(kept), tuple(facts), _layers(kept, source), arity)


def in_order(
    body: Sequence[Atom | Comparison], bound: Iterable[Variable], places: Iterable[int], as_written: bool = False
) -> list[int]:
    """The places of a body in an order in which each premise finds the values that it needs.

    What only tests comes as soon as it can, then the atom with the fewest unknowns, rather one that something is known
    of; or `as_written`, as far as that can be. Raises Unbound.
    """
    known, left, order = set(bound), list(places), list[int]()
    while left:
        costs = [(*cost, place) for place in left if (cost := _unknowns(body[place], known)) is not None]
        if not costs:
            raise Unbound(next(each for place in left for each in variables(body[place]) if each not in known))
        place = min(cost[-1:] if as_written else cost for cost in costs)[-1]
        order.append(place)
        left.remove(place)
        known.update(variables(body[place]))
    return order


class Unbound(Exception):
    """A variable that has no value where one is needed; the argument is the variable."""


def _unknowns(part: Atom | Comparison, known: set[Variable]) -> tuple[int, bool] | None:
    """How many values a premise finds, and whether nothing is known of it; None where it must wait for others."""
    unknown = {each for each in variables(part) if each not in known}
    if isinstance(part, Atom) and not part.negated:
        return len(unknown), len(unknown) == len(part.terms)
    if isinstance(part, Atom):
        return (-1, False) if all(each.anonymous for each in unknown) else None
    if not unknown:
        return -2, False
    gives = part.operator == "=" and len(unknown) == 1 and any(
        isinstance(side, Variable) and side in unknown and side not in set(variables(other))
        for side, other in ((part.left, part.right), (part.right, part.left))
    )  # fmt: skip
    return (-1, False) if gives else None


def _arities(written: Sequence[Rule], source: str) -> dict[Name, int]:
    first = dict[Name, tuple[int, Rule]]()
    for rule in written:
        for atom in (rule.head, *(part for part in rule.body if isinstance(part, Atom))):
            arity, other = first.setdefault(atom.predicate, (len(atom.terms), rule))
            if arity != len(atom.terms):
                name = told(atom.predicate) if isinstance(atom.predicate, str) else str(atom.predicate)
                there = other.at if other.source != rule.source else f"line {other.line}"
                _fault(f"{name} has {len(atom.terms)} arguments here and {arity} in {there}: give one of them "
                     "another name, or the argument that is missing", rule, source)  # fmt: skip
    return {name: arity for name, (arity, _) in first.items()}


def _safe(rule: Rule, source: str) -> None:
    """Every variable gets its value from an atom that is not negated, or is worked out from such."""
    if sum(isinstance(part, Atom) and not part.negated for part in rule.body) > JOINED:
        _fault(f"a rule joins at most {JOINED} atoms: give some of them a rule of their own", rule, source)
    try:
        in_order(rule.body, (), range(len(rule.body)))
        found = {each for part in rule.body for each in variables(part)}
        for each in variables(rule.head):
            if each not in found or each.anonymous:
                raise Unbound(each)
    except Unbound as unbound:
        (variable,) = unbound.args
        name = told(variable)
        _fault(f"nothing gives the variable {name} a value: use it in a premise like p({name}) that is not negated, or "
             "work it out (V = ...)", rule, source)  # fmt: skip


def _grouped(rule: Rule, number: int) -> list[Rule]:
    """A rule with aggregates as two: what its body finds, and what is made of it by groups."""
    places = {place for place, _ in rule.aggregates}
    keys = [each for place, term in enumerate(rule.head.terms) if place not in places for each in variables(term)]
    others = [each for part in rule.body for each in variables(part) if not each.anonymous]
    found = Atom(("body", str(number)), tuple(dict.fromkeys([*keys, *others])))
    inner = replace(rule, head=found, aggregates=(), weight=1.0)
    return [inner, replace(rule, body=(found,))]


def _fault(message: str, rule: Rule, source: str) -> NoReturn:
    """Refuse a rule, with the place."""
    fail(message, rule.line, None, rule.source or source)


def needed(rule: Rule) -> Iterator[tuple[Name, bool]]:
    """The predicates of a body, and whether all of each must be known before."""
    for part in rule.body:
        if isinstance(part, Atom):
            yield part.predicate, part.negated or bool(rule.aggregates)


def _layers(kept: Sequence[Rule], source: str) -> dict[Name, int]:
    layer = {rule.head.predicate: 0 for rule in kept}
    users = defaultdict[Name, list[Rule]](list)
    for rule in kept:
        for name, _ in needed(rule):
            users[name].append(rule)
    work = list(layer)
    for name in work:  # it grows
        for rule in users[name]:
            head = rule.head.predicate
            least = layer[name] + any(below for each, below in needed(rule) if each == name)
            if least > layer[head]:
                if least > LAYERS:
                    _refuse(kept, layer, source)
                layer[head] = least
                work.append(head)
    return layer


def _refuse(kept: Sequence[Rule], layer: dict[Name, int], source: str) -> None:
    """Say which rule needs its own conclusion to be known before, or that there are too many layers."""
    uses = defaultdict[Name, set[Name]](set)
    for rule in kept:
        uses[rule.head.predicate].update(name for name, _ in needed(rule))
    below_first = [rule for rule in kept if any(below for _, below in needed(rule))]
    for rule in sorted(below_first, key=lambda rule: -layer[rule.head.predicate])[:_TRIED]:
        for name, below in needed(rule):
            if below and rule.head.predicate in _reached(uses, name):
                how = "its aggregate" if rule.aggregates else f"not {told(Atom(name))}"
                _fault(f"{told(Atom(rule.head.predicate))} depends on itself through {how}: it would have to be known "
                     "before it is concluded; make two predicates of it", rule, source)  # fmt: skip
    _fault(f"more than {LAYERS} layers of negation and aggregates stand on one another", kept[-1], source)


def _reached(uses: dict[Name, set[Name]], name: Name) -> set[Name]:
    seen, work = {name}, [name]
    for each in work:  # it grows
        more = uses[each] - seen if each in uses else set()
        seen |= more
        work += more
    return seen
