"""A rule as a Python generator: given rows of one premise, it joins the others and yields what follows.

The text that is compiled holds numbers of our own making only: values of the rules come in as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .program import in_order, variables
from .relation import Index, Places, Why, key_of
from .syntax import Atom, Comparison, Expression, Name, Operation, Row, Rule, Term, Value, Variable

Found = Iterator[tuple[Row, Any]]
HEAD, NOTHING = -1, -2
"""Where a rule may start, other than at the place of a premise: rows of its head are to be shown; nothing is known."""
LARGEST = 2**63  # of whole numbers that are worked out


@dataclass(frozen=True)
class Start:
    """A rule that starts somewhere. `run(rows, at, tick, *tables)` yields heads and reasons for the rows from `at` on.

    It goes on while the list grows. `reads` are the tables: a predicate, and the places of an index (None: the rows).
    """

    head: Name
    reads: tuple[tuple[Name, Places | None], ...]
    run: Callable[..., Found]


def start(number: int, rule: Rule, at: int, lenient: bool = False) -> Start:
    """The rule of that number from that start; `lenient` leaves out what must not hold."""
    if not rule.aggregates:
        return _Writer(number, rule, at, lenient).made()
    return _made_of(number, rule) if lenient else _aggregate(number, rule, at)


# -- what has no value (a sum of texts, a division by zero, a number too large) is None, and then nothing holds


def number(value: Any) -> int | float | None:
    """A number within bounds, else None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and -LARGEST <= value < LARGEST else None


def work_out(operator: str, left: Any, right: Any) -> int | float | None:
    """Arithmetic; None where it has no value."""
    if number(left) is None or number(right) is None:
        return None
    try:
        return number(_OPERATIONS[operator](left, right))
    except (ZeroDivisionError, OverflowError):
        return None


def holds(operator: str, left: Any, right: Any) -> bool:
    """A comparison: numbers with numbers, texts with texts; what is of two kinds is different, and in no order."""
    if left is None or right is None:
        return False
    if operator in ("=", "!="):
        return (left == right) == (operator == "=")
    if isinstance(left, str) != isinstance(right, str):
        return False
    return bool(_ORDERS[operator](left, right))


def value_of(part: Expression, bindings: dict[Variable, Value]) -> Value | None:
    """An expression whose variables are bound."""
    if isinstance(part, Operation):
        return work_out(part.operator, value_of(part.left, bindings), value_of(part.right, bindings))
    return bindings[part] if isinstance(part, Variable) else part


_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "//": lambda a, b: a // b, "mod": lambda a, b: a % b,
}  # fmt: skip
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


class _Writer:
    """Writes the generator of one rule, a line at a time."""

    def __init__(self, number: int, rule: Rule, at: int, lenient: bool) -> None:
        self._number, self._rule, self._at, self._lenient = number, rule, at, lenient
        self._lines, self._indent = list[str](), 2
        self._values, self._reads = list[Any](), list[tuple[Name, Places | None]]()
        self._names = dict[Variable, str]()
        self._loops = 0
        self._write()

    def made(self) -> Start:
        tables = "".join(f", t{n}" for n in range(len(self._reads)))
        head = f"def run(n, k, work_out, holds, rows, at, tick{tables}):\n while at < len(rows):\n"
        text = head + "\n".join(self._lines)  # rules that differ in their values and number have the same
        space: dict[str, Any] = {}
        exec(_code(text), space)  # see above: no word of the rule stands in it
        run, number, values = space["run"], self._number, tuple(self._values)
        return Start(self._rule.head.predicate, tuple(self._reads),
                     lambda *given: run(number, values, work_out, holds, *given))  # fmt: skip

    def _write(self) -> None:
        body = self._rule.body
        rest = [place for place in range(len(body)) if not (self._lenient and getattr(body[place], "negated", False))]
        self._line("row = rows[at]; at += 1; tick()")
        if self._at == HEAD:
            self._match(self._rule.head, "row", ())
        elif self._at != NOTHING:
            first = body[self._at]
            assert isinstance(first, Atom)
            if not first.negated:
                self._line(f"r{self._at} = row")
                rest.remove(self._at)
            self._match(first, "row", ())
        for place in in_order(body, self._names, rest):
            part = body[place]
            if isinstance(part, Comparison):
                self._compare(part)
            elif part.negated:
                self._absent(part)
            else:
                self._join(part, place)
        proof = "".join(f"r{n}, " for n, part in enumerate(body) if isinstance(part, Atom) and not part.negated)
        self._line(f"yield {self._tuple(self._rule.head.terms)}, (n, {proof})")

    def _line(self, text: str) -> None:
        self._lines.append(" " * self._indent + text)

    def _table(self, name: Name, places: Places | None) -> str:
        self._reads.append((name, places))
        return f"t{len(self._reads) - 1}"

    def _value(self, term: Term) -> str:
        if isinstance(term, Variable):
            return self._names[term]
        self._values.append(term)
        return f"k[{len(self._values) - 1}]"

    def _tuple(self, terms: Sequence[Term]) -> str:
        return f"({''.join(self._value(term) + ', ' for term in terms)})"

    def _key(self, atom: Atom, places: Places) -> str:
        terms = [atom.terms[place] for place in places]
        return self._value(terms[0]) if len(terms) == 1 else self._tuple(terms)

    def _known(self, atom: Atom) -> Places:
        return tuple(n for n, term in enumerate(atom.terms) if not isinstance(term, Variable) or term in self._names)

    def _match(self, atom: Atom, row: str, known: Places) -> None:
        """Take the values of a row; at the places of `known` they were looked for."""
        for place, term in enumerate(atom.terms):
            if place in known or (isinstance(term, Variable) and term.anonymous):
                continue
            if isinstance(term, Variable) and term not in self._names:
                self._names[term] = f"v{len(self._names)}"
                self._line(f"{self._names[term]} = {row}[{place}]")
            else:
                self._line(f"if {row}[{place}] != {self._value(term)}: continue")

    def _join(self, atom: Atom, place: int) -> None:
        known, row = self._known(atom), f"r{place}"
        if len(known) == len(atom.terms):
            self._line(f"{row} = {self._tuple(atom.terms)}")
            self._line(f"if {row} not in {self._table(atom.predicate, None)}: continue")
            return
        rows = f"f{place}"
        self._line(f"{rows} = {self._table(atom.predicate, known)}.get({self._key(atom, known)}, ())")
        self._line(f"tick(1 + len({rows}) // 50)" if self._loops else f"if len({rows}) > 50: tick(len({rows}) // 50)")
        self._loops += 1
        self._line(f"for {row} in {rows}:")
        self._indent += 1
        self._match(atom, row, known)

    def _absent(self, atom: Atom) -> None:
        known = self._known(atom)
        every = len(known) == len(atom.terms)
        key = self._tuple(atom.terms) if every else self._key(atom, known)
        self._line(f"if {key} in {self._table(atom.predicate, None if every else known)}: continue")

    def _compare(self, part: Comparison) -> None:
        for side, other in ((part.left, part.right), (part.right, part.left)):
            if isinstance(side, Variable) and side not in self._names:
                value = self._expression(other)
                self._names[side] = f"v{len(self._names)}"
                self._line(f"{self._names[side]} = {value}")
                self._line(f"if {self._names[side]} is None: continue")
                return
        sides = f"{self._expression(part.left)}, {self._expression(part.right)}"
        self._line(f"if not holds({part.operator!r}, {sides}): continue")

    def _expression(self, part: Expression) -> str:
        if isinstance(part, Operation):
            return f"work_out({part.operator!r}, {self._expression(part.left)}, {self._expression(part.right)})"
        return self._value(part)


@lru_cache(1000)
def _code(text: str) -> Any:
    return compile(text, "<rule>", "exec")


# -- aggregates


@dataclass(frozen=True)
class Groups:
    """What the aggregates of a rule make of the rows that its body found."""

    number: int
    rule: Rule
    keys: tuple[int, ...] = field(init=False)
    """The places of the head that say which group it is of."""
    places: Places = field(init=False)
    """The places of a row of the body that do."""

    def __post_init__(self) -> None:
        functions = dict(self.rule.aggregates)
        grouping = [n for n, term in enumerate(self.rule.head.terms) if n not in functions]
        keys = {term: n for n in grouping for term in variables(self.rule.head.terms[n])}
        object.__setattr__(self, "keys", tuple(keys.values()))
        object.__setattr__(self, "places", tuple(range(len(keys))))

    def row(self, rows: Sequence[Row]) -> tuple[Row, Why] | None:
        """The head and the reason for the rows of one group; None where an aggregate has no value."""
        functions, columns = dict(self.rule.aggregates), self.rule.body[0]
        assert isinstance(columns, Atom)
        made: list[Any] = []
        for place, term in enumerate(self.rule.head.terms):
            if place in functions:
                column = columns.terms.index(term)
                made.append(_aggregated(functions[place], [row[column] for row in rows]))
            else:
                made.append(rows[0][columns.terms.index(term)] if isinstance(term, Variable) else term)
        return None if None in made else (tuple(made), (self.number, *rows))


def _aggregated(function: str, values: Sequence[Any]) -> Any:
    if function == "count":
        return len(values)
    if all(isinstance(value, str) for value in values):
        return None if function == "sum" else (min if function == "min" else max)(values)
    if any(isinstance(value, str) for value in values):
        return None
    if function == "sum":  # the same in any order
        return number(sum(values) if all(isinstance(value, int) for value in values) else _fsum(values))
    return (min if function == "min" else max)(values)


def _fsum(values: Sequence[Any]) -> float | None:
    try:
        return math.fsum(values)
    except OverflowError:
        return None


def _aggregate(number: int, rule: Rule, at: int) -> Start:
    """From rows of the body, or of the head (HEAD): all of their groups anew."""
    groups, body = Groups(number, rule), rule.body[0]
    assert isinstance(body, Atom)
    key = key_of(groups.keys if at == HEAD else groups.places)

    def run(rows: Sequence[Row], at: int, tick: Callable[[], None], found: Index) -> Found:
        for each in dict.fromkeys(map(key, rows[at:])):
            tick()
            made = groups.row(list(found[each])) if each in found else None
            if made is not None:
                yield made

    return Start(rule.head.predicate, ((body.predicate, groups.places),), run)


def _made_of(number: int, rule: Rule) -> Start:
    """From rows of the body: the heads that were made of their groups, as they stand."""
    groups, body = Groups(number, rule), rule.body[0]
    assert isinstance(body, Atom)
    key = key_of(groups.places)

    def run(rows: Sequence[Row], at: int, tick: Callable[[], None], made: Index, reasons: dict[Row, Why]) -> Found:
        for row in rows[at:]:
            for head in made.get(key(row), ()):
                why = reasons[head]
                if isinstance(why, tuple) and why[0] == number:
                    yield head, why

    return Start(rule.head.predicate, ((rule.head.predicate, groups.keys), (rule.head.predicate, None)), run)
