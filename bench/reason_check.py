"""Proofs, checked by what shares no code with the reasoner: a parser, a matcher and a naive evaluator of its own.

It is slow and plain on purpose: rules are tried over all facts, again and again, until nothing new comes.
"""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(r'\s*(?:%.*)?("(?:[^"\\]|\\.)*"|:-|::|!=|<=|>=|//|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|\w+|[^\s\w])')
COMPARED = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WORKED = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
          "mod": operator.mod}  # fmt: skip
BEFORE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "mod": 2}

Fact = tuple[str, tuple[Any, ...]]
Facts = set[Fact]
Bindings = dict[str, Any]


@dataclass
class Clause:
    """`head :- body`; terms are ("var", name), ("value", x) or ("agg", function, name)."""

    name: str
    terms: list[Any]
    body: list[Any]


class Text:
    """Tokens of a text, from the front."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text.strip())
        self.anonymous = 0

    def take(self, wanted: str | None = None) -> str:
        token = self.tokens.pop(0)
        assert wanted in (None, token), f"{token} instead of {wanted}"
        return str(token)

    def clause(self) -> Clause:
        if self.tokens[1] == "::":
            del self.tokens[:2]
        name, terms = self.atom()
        body = []
        while self.take() != ".":  # `:-` or `,`
            body.append(self.premise())
        return Clause(name, terms, body)

    def atom(self) -> tuple[str, list[Any]]:
        name, terms = self.value(self.take()), list[Any]()
        if self.tokens and self.tokens[0] == "(":
            while self.take() != ")":  # `(` or `,`
                terms.append(self.term())
                if self.tokens[0] == "(":
                    self.take()
                    terms[-1] = ("agg", terms[-1][1], self.take())
                    self.take(")")
                if self.tokens[0] == ")":
                    self.take()
                    break
        return name, terms

    def term(self) -> Any:
        token = self.take()
        if token == "-":
            return ("value", -self.value(self.take()))
        if token == "_":
            self.anonymous += 1
            return ("var", f"_{self.anonymous}")
        return ("var", token) if token[0].isupper() else ("value", self.value(token))

    @staticmethod
    def value(token: str) -> Any:
        if token[0] == '"':
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        return (float if set(token) & set(".e") else int)(token) if token[0].isdigit() else token

    def premise(self) -> Any:
        if self.tokens[0] == "not":
            self.take()
            return ("not", *self.atom())
        if self.tokens[1] == "(" or self.tokens[1] in (",", "."):
            return ("atom", *self.atom())
        left = self.expression(1)
        return ("compare", self.take(), left, self.expression(1))

    def expression(self, level: int) -> Any:
        if level == 3:
            if self.tokens[0] != "(":
                return self.term()
            self.take()
            inner = self.expression(1)
            self.take(")")
            return inner
        left = self.expression(level + 1)
        while BEFORE.get(self.tokens[0]) == level:
            left = ("work", self.take(), left, self.expression(level + 1))
        return left


def read(text: str) -> list[Clause]:
    """The clauses of a text."""
    words, clauses = Text(text), []
    while words.tokens:
        clauses.append(words.clause())
    return clauses


class Undefined(Exception):
    """An expression has no value."""


def value(part: Any, known: Bindings) -> Any:
    if part[0] == "var":
        return known[part[1]]
    if part[0] == "value":
        return part[1]
    left, right = value(part[2], known), value(part[3], known)
    if isinstance(left, str) or isinstance(right, str):
        raise Undefined
    try:
        found = WORKED[part[1]](left, right)
    except ZeroDivisionError:
        raise Undefined from None
    if isinstance(found, int) and not -(2**63) <= found < 2**63:
        raise Undefined
    return found


def matched(terms: Sequence[Any], row: Sequence[Any], known: Bindings) -> Bindings | None:
    """The bindings with which terms are a row."""
    found = dict(known)
    for term, each in zip(terms, row, strict=True):
        if term[0] == "agg":
            continue
        if (found.setdefault(term[1], each) if term[0] == "var" else term[1]) != each:
            return None
    return found


def compared(part: Any, known: Bindings) -> Bindings | None:
    """The bindings with which a comparison holds; None where it does not; KeyError where it must wait."""
    _, sign, left, right = part
    for side, other in ((left, right), (right, left)):
        if sign == "=" and side[0] == "var" and side[1] not in known:
            try:
                return known | {side[1]: value(other, known)}
            except Undefined:
                return None
    try:
        a, b = value(left, known), value(right, known)
    except Undefined:
        return None
    if isinstance(a, str) != isinstance(b, str):
        return known if sign == "!=" else None
    return known if COMPARED[sign](a, b) else None


def solutions(body: Sequence[Any], known: Bindings, facts: Mapping[str, Collection[tuple[Any, ...]]],
              absent: Mapping[str, Collection[tuple[Any, ...]]]) -> Iterator[Bindings]:  # fmt: skip
    """The bindings with which a body holds: first its atoms, then what compares, then what must not be."""
    atoms = [part for part in body if part[0] == "atom"]
    found = [known]
    for _, name, terms in atoms:
        found = [
            more for each in found for row in facts.get(name, ()) if (more := matched(terms, row, each)) is not None
        ]
    for each in found:
        after = _compared([part for part in body if part[0] == "compare"], each)
        if after is not None and not any(
            matched(terms, row, after) is not None
            for sign, name, *rest in body if sign == "not" for terms in rest for row in absent.get(name, ())
        ):  # fmt: skip
            yield after


def _compared(parts: list[Any], known: Bindings) -> Bindings | None:
    while parts:
        for part in parts:
            try:
                more = compared(part, known)
            except KeyError:
                continue
            if more is None:
                return None
            known, parts = more, [each for each in parts if each is not part]
            break
    return known


def heads(clause: Clause, found: Iterable[Bindings]) -> Iterator[tuple[Any, ...]]:
    """What a clause concludes from the solutions of its body."""
    if not any(term[0] == "agg" for term in clause.terms):
        for each in found:
            yield tuple(value(term, each) for term in clause.terms)
        return
    groups = defaultdict[Any, dict[Any, Bindings]](dict)
    for each in found:
        named = {name: it for name, it in each.items() if name[0] != "_"}
        key = tuple(value(term, each) for term in clause.terms if term[0] != "agg")
        groups[key][tuple(sorted(named.items(), key=repr))] = named
    for rows in groups.values():
        first = next(iter(rows.values()))
        made = [_aggregate(term[1], [row[term[2]] for row in rows.values()]) if term[0] == "agg" else value(term, first)
                for term in clause.terms]  # fmt: skip
        if None not in made:
            yield tuple(made)


def _aggregate(function: str, values: list[Any]) -> Any:
    if function == "count":
        return len(values)
    kinds = {isinstance(each, str) for each in values}
    if len(kinds) > 1 or (function == "sum" and True in kinds):
        return None
    return {"sum": sum, "min": min, "max": max}[function](values)


def model(clauses: Sequence[Clause], given: Iterable[Fact]) -> Facts:
    """Everything that follows, layer by layer, naively."""
    layer = _layers(clauses)
    known = defaultdict[str, set[tuple[Any, ...]]](set)
    for name, row in given:
        known[name].add(row)
    for level in range(max(layer.values(), default=0) + 1):
        before = -1
        while before != (before := sum(map(len, known.values()))):
            for clause in clauses:
                if layer[clause.name] == level:
                    known[clause.name].update(list(heads(clause, solutions(clause.body, {}, known, known))))
    return {(name, row) for name, rows in known.items() for row in rows}


def _layers(clauses: Sequence[Clause]) -> dict[str, int]:
    layer = dict.fromkeys((clause.name for clause in clauses), 0)
    for _ in range(len(layer) * len(clauses) + 1):
        for clause in clauses:
            strict = any(term[0] == "agg" for term in clause.terms)
            for part in clause.body:
                if part[0] != "compare" and part[1] in layer:
                    layer[clause.name] = max(layer[clause.name], layer[part[1]] + (part[0] == "not" or strict))
    return layer


def verify(proof: Sequence[Mapping[str, Any]], clauses: Mapping[str, Clause], given: Collection[Fact],
           everything: Mapping[str, Collection[tuple[Any, ...]]] | None = None) -> str:  # fmt: skip
    """What is wrong with a proof, as `Proof.data` tells it; empty where nothing is.

    `clauses` are those of the program by their text; `everything` that holds shows what is not there.
    """
    if not proof:
        return "it is empty"
    for number, step in enumerate(proof):
        fact = (step["predicate"], tuple(step["values"]))
        if "rule" not in step:
            if fact not in given:
                return f"{fact} was not given"
            continue
        if any(each <= number for each in step["premises"]):
            return f"{fact} stands on itself"
        if step["rule"] not in clauses:
            return f"{step['rule']} is no rule"
        premises = defaultdict[str, list[tuple[Any, ...]]](list)
        for each in step["premises"]:
            premises[proof[each]["predicate"]].append(tuple(proof[each]["values"]))
        clause = clauses[step["rule"]]
        if fact[0] != clause.name or fact[1] not in _concluded(clause, fact[1], premises, everything or {}):
            return f"{fact} does not follow by {step['rule']} from {dict(premises)}"
    return ""


def _concluded(clause: Clause, row: tuple[Any, ...], premises: Mapping[str, Collection[tuple[Any, ...]]],
               everything: Mapping[str, Collection[tuple[Any, ...]]]) -> Collection[tuple[Any, ...]]:  # fmt: skip
    known = matched(clause.terms, row, {})
    return [] if known is None else list(heads(clause, solutions(clause.body, known, premises, everything)))
