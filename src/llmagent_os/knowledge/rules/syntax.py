"""Rules as an expert writes them, read into data: in linear time, with errors that say where and what to do.

    grandparent(X, Z) :- parent(X, Y), parent(Y, Z).       % a variable begins with a capital letter, `_` or `?`
    0.8 :: likes(X, Y) :- friend(X, Y), not quarrel(X, Y). # how sure the rule is, above 0, at most 1
    pension(P, Y) :- born(P, B), Y = B + 67, Y >= 2000.
    family(P, count(C), min(A)) :- parent(P, C), age(C, A).
    父母("王 五", 张三).

Names without quotes are texts: `ann` is "ann". `_` is a variable that is named nowhere else. Aggregates (count, sum,
min, max) stand in the head, and go over the different values that the named variables of the body take. Full-width
punctuation is read like its narrow kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NoReturn

from ...core.errors import InvalidRequest
from ...core.remembered import remembered

RULES = "rules"  # what a text is called that has no name
LONGEST = 1_000_000  # characters of a text of rules
PREMISES, ARGUMENTS, NESTED = 32, 32, 30  # of one rule, of one atom, parentheses
DIGITS = 18  # of a whole number: what is larger has no exact place in JSON or SQL
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
AGGREGATES = ("count", "sum", "min", "max")
_LEVELS = (("+", "-"), ("*", "/", "//", "mod"))
_HINTS = {"=<": "<=", "==": "=", "\\=": "!=", "\\+": "not", "<-": ":-", ";": "a rule of its own for each case"}
_WIDE = str.maketrans("，。（）：", ",.():")
_TOKEN = re.compile(
    r"""(?P<space>\s+|[%\#][^\n]*)
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<variable>\?\w+)
    |(?P<word>\w+)
    |(?P<sign>[:：]-|::|=<|<=|<-|>=|!=|==|\\=|\\\+|//|[-+*/()=<>.,;，。（）])""",
    re.VERBOSE,
)
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"})
_PLAIN = re.compile(r"(?![0-9])\w+")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a rule; what `_` stands for has a `#` in its name."""

    name: str

    @property
    def anonymous(self) -> bool:
        """Whether it was written `_`."""
        return "#" in self.name


@dataclass(frozen=True, slots=True)
class Operation:
    """Arithmetic; the operator is one of + - * / // mod."""

    operator: str
    left: Expression
    right: Expression


Value = str | int | float
Term = Variable | Value
Expression = Term | Operation
Row = tuple[Value, ...]
Name = str | tuple[str, ...]
"""Of a predicate; tuples are those that we make ourselves, which no text can name."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A predicate with its arguments, as a premise perhaps negated."""

    predicate: Name
    terms: tuple[Term, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A premise that compares, or gives a variable its value (`=`)."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Rule:
    """`head :- body.` as it stands in a line of a text, which `source` names.

    `aggregates` are functions in the head, by the place of their term.
    """

    head: Atom
    body: tuple[Atom | Comparison, ...] = ()
    weight: float = 1.0
    line: int = 0
    text: str = ""
    aggregates: tuple[tuple[int, str], ...] = ()
    source: str = ""

    @property
    def at(self) -> str:
        """Where it stands."""
        return f"{self.source}, line {self.line}" if self.source else f"line {self.line}"


def told(part: Expression | Atom | Comparison) -> str:
    """A part of a rule as it is written."""
    if isinstance(part, Variable):
        return "_" if part.anonymous else part.name
    if isinstance(part, Atom):
        name = part.predicate if isinstance(part.predicate, str) else "/".join(part.predicate)
        terms = f"({', '.join(map(told, part.terms))})" if part.terms else ""
        return ("not " if part.negated else "") + told(name) + terms
    if isinstance(part, Comparison | Operation):
        inner = isinstance(part, Operation)
        sides = [f"({told(side)})" if inner and isinstance(side, Operation) else told(side)
                 for side in (part.left, part.right)]  # fmt: skip
        return f"{sides[0]} {part.operator} {sides[1]}"
    if isinstance(part, str):
        plain = _PLAIN.fullmatch(part) and not _is_variable(part) and part not in ("not", "mod")
        return part if plain else '"' + part.translate(_ESCAPED) + '"'
    return repr(part)


def fail(message: str, line: int, column: int | None = None, source: str = RULES) -> NoReturn:
    """Refuse a text, with the place."""
    place = f"line {line}" + (f", column {column}" if column else "")
    raise InvalidRequest(f"{source}, {place}: {message}", parameter=source, line=line, column=column)


def rules(text: str, source: str = RULES) -> list[Rule]:
    """The rules and facts of a text; raises InvalidRequest with line and column."""
    reader, made = _Reader(text, source), []
    while reader.kind != "end":
        made.append(reader.rule())
    return made


@remembered(1000, large=1000)
def goal(text: str) -> Atom:
    """A question: an atom, whose variables are asked for; a `.` or `?` after it does no harm."""
    reader = _Reader(text.rstrip("?？. 。\n"), "the question")
    atom = reader.atom()
    if reader.kind != "end":
        reader.fail(f"a question is one atom, like parent(ann, X); leave out {reader.word!r} and what follows")
    return atom


def _is_variable(word: str) -> bool:
    return word[0] in "_?" or word[0].isupper() or word[0].istitle()


class _Reader:
    """One look ahead: `kind` and `word` of the present token, which begins at `start`."""

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source, self._end = text, source, 0
        self._line, self._counted, self._anonymous, self._operations = 1, 0, 0, 0
        self.kind = self.word = ""
        self.start = self.before = 0  # `before`: where the token before ended
        if len(text) > LONGEST:
            fail(f"the text has {len(text)} characters, at most {LONGEST} are read: cut it in two", 1, None, source)
        self._next()

    @property
    def line(self) -> int:
        """Of the present token; each line break is counted once."""
        self._line += self._text.count("\n", self._counted, self.start)
        self._counted = self.start
        return self._line

    def fail(self, message: str) -> NoReturn:
        """Refuse the present token; what is written otherwise elsewhere is told how it is written here."""
        if self.kind == "sign" and self.word in _HINTS:
            message = f"write {_HINTS[self.word]} instead of {self.word}"
        fail(message, self.line, self.start - self._text.rfind("\n", 0, self.start), self._source)

    def rule(self) -> Rule:
        """Up to its full stop."""
        start, line, weight = self.start, self.line, self._weight()
        head, aggregates = self._head()
        body: list[Atom | Comparison] = []
        if self._take(":-"):
            body.append(self._premise())
            while self._take(","):
                if len(body) == PREMISES:
                    self.fail(f"a rule has at most {PREMISES} premises: give some of them a rule of their own")
                body.append(self._premise())
        self._expect(".", "`.` ends a rule, `,` stands between premises, `:-` after a head")
        text = " ".join(self._text[start : self.before].split())
        return Rule(head, tuple(body), weight, line, text, aggregates, self._source if self._source != RULES else "")

    def atom(self) -> Atom:
        """A predicate with its arguments."""
        return self._applied(self._name())

    def _weight(self) -> float:
        if self.kind != "number":
            return 1.0
        weight = self._number()
        if not 0 < weight <= 1:
            fail(f"a rule is sure by more than 0 and at most 1, not {weight}", self.line, None, self._source)
        self._expect("::", "after the weight of a rule comes `::`")
        return float(weight)

    def _head(self) -> tuple[Atom, tuple[tuple[int, str], ...]]:
        name, aggregates, terms = self._name(), list[tuple[int, str]](), list[Term]()
        if self._take("("):
            while not terms or self._take(","):
                function = self.word if self.kind == "word" else ""
                term = self._term()
                if self.word == "(" and self.kind == "sign":
                    if function not in AGGREGATES:
                        self.fail(
                            f"in a head only {', '.join(AGGREGATES)} are applied: work it out in a premise, V = ..."
                        )
                    aggregates.append((len(terms), function))
                    term = self._aggregated()
                terms.append(term)
            self._expect(")", "the arguments of a head end with `)`")
        return self._checked(Atom(name, tuple(terms))), tuple(aggregates)

    def _aggregated(self) -> Variable:
        self._expect("(", "`(` begins what is aggregated")
        term = self._term()
        if not isinstance(term, Variable) or term.anonymous:
            self.fail("an aggregate goes over a variable with a name, like sum(V)")
        self._expect(")", "an aggregate goes over one variable, like sum(V)")
        return term

    def _premise(self) -> Atom | Comparison:
        if self.kind == "word" and self.word == "not":
            self._next()
            return replace(self.atom(), negated=True)
        named = self.kind in ("word", "string") and not (self.kind == "word" and _is_variable(self.word))
        left = self._sum(0)
        if self.kind == "sign" and self.word in COMPARISONS:
            operator = self.word
            self._next()
            return Comparison(operator, left, self._sum(0))
        if not (named and isinstance(left, str)):
            self.fail("a premise is an atom like parent(X, Y), or compares, like X < Y")
        if left in AGGREGATES and self.word == "(":
            self.fail(f"aggregates stand in the head: total(P, {left}(V)) :- ...")
        return self._applied(left)

    def _applied(self, name: str) -> Atom:
        terms: list[Term] = []
        if self._take("("):
            while not terms or self._take(","):
                terms.append(self._term())
            self._expect(
                ")", "`,` stands between arguments, `)` after the last; work out numbers in a premise, V = X + 1"
            )
        return self._checked(Atom(name, tuple(terms)))

    def _checked(self, atom: Atom) -> Atom:
        if len(atom.terms) > ARGUMENTS:
            self.fail(f"{told(Atom(atom.predicate))} has {len(atom.terms)} arguments, at most {ARGUMENTS} are read")
        return atom

    def _name(self) -> str:
        if self.kind == "word" and self.word == "not":
            self.fail("`not` stands before a premise, and nowhere else")
        if self.kind not in ("word", "string") or (self.kind == "word" and _is_variable(self.word)):
            self.fail(f"the name of a predicate is expected, not {self._shown()}: small letters first, or quotes")
        return str(self._term())

    def _sum(self, level: int, depth: int = 0) -> Expression:
        if level == len(_LEVELS):
            return self._factor(depth)
        if level == depth == 0:
            self._operations = 0
        left = self._sum(level + 1, depth)
        while self.kind != "string" and self.word in _LEVELS[level]:
            self._operations += 1
            if self._operations > PREMISES:  # each may be a level of the code that is made of it
                self.fail("this is too long: work it out in steps, V = ...")
            operator = self.word
            self._next()
            left = Operation(operator, left, self._sum(level + 1, depth))
        return left

    def _factor(self, depth: int) -> Expression:
        if not self._take("("):
            return self._term()
        if depth == NESTED:
            self.fail(f"parentheses are nested deeper than {NESTED}: work it out in steps, V = ...")
        inner = self._sum(0, depth + 1)
        self._expect(")", "`)` is missing")
        return inner

    def _term(self) -> Term:
        kind, word = self.kind, self.word
        if kind == "number" or (kind == "sign" and word == "-"):
            return self._number()
        if kind not in ("word", "string", "variable"):
            self.fail(f"a name, a variable, a number or a text in quotes is expected, not {self._shown()}")
        if kind == "string":
            value = self._unquoted(word)
            self._next()
            return value
        self._next()
        if kind == "word" and not _is_variable(word):
            return word
        self._anonymous += word == "_"
        return Variable(word if word != "_" else f"_#{self._anonymous}")

    def _number(self) -> int | float:
        sign = -1 if self._take("-") else 1
        if self.kind != "number":
            self.fail(f"a number is expected after `-`, not {self._shown()}")
        whole = self.word.isdecimal()
        if len(self.word) > (DIGITS if whole else 40):
            self.fail(f"a number of more than {DIGITS} digits: write it as a text, in quotes")
        value = sign * (int(self.word) if whole else float(self.word))
        if value in (float("inf"), float("-inf")):
            self.fail("a number without an end: write a smaller one")
        self._next()
        return value

    def _unquoted(self, word: str) -> str:
        text = re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), word[1:-1])
        return text

    def _take(self, sign: str) -> bool:
        if self.kind != "sign" or self.word != sign:
            return False
        self._next()
        return True

    def _expect(self, sign: str, message: str) -> None:
        if not self._take(sign):
            self.fail(f"`{sign}` is expected, not {self._shown()}: {message}")

    def _shown(self) -> str:
        return "the end of the text" if self.kind == "end" else f"`{self.word[:40]}`"

    def _next(self) -> None:
        self.before = self._end
        while self._end < len(self._text):
            found = _TOKEN.match(self._text, self._end)
            self.start = self._end
            if found is None:
                self.kind, self.word = "odd", self._text[self.start]
                self._unreadable()
            self._end = found.end()
            if found.lastgroup != "space":
                self.kind, self.word = str(found.lastgroup), found.group()
                if self.kind == "sign":
                    self.word = self.word.translate(_WIDE)
                return
        self.kind, self.word, self.start = "end", "", len(self._text)

    def _unreadable(self) -> NoReturn:
        if self.word in "\"'":
            self.fail(f"a text begins with {self.word} and has no end in its line: end it, or write \\n for a new line")
        self.fail(f"{self.word!r} means nothing here: put texts with such characters in quotes")
