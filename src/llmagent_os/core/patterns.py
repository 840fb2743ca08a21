"""Regular expressions of JSON schemas (ECMA 262), looked for in bounded time; and a text that fits one.

Python's `re` reads another dialect, and takes for ever over some that a client may send. Here a place in the pattern is
tried once at each place of the text: look-arounds are answered and remembered, counted repeats are written out.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from .remembered import remembered

STEPS = 200_000  # of one search: about a tenth of a second
_LARGEST = 20_000  # instructions
_WRITING = threading.Lock()
_WRITTEN = 50  # times that a character's repeat is written out: each step is then remembered, so all stay linear

Fits = Callable[[str], bool]


class Unreadable(ValueError):
    """The text is no regular expression, or one of a kind that is not known here; the message says why."""


class TooLong(ValueError):
    """The search would take too many steps; whether the text matches is not known."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression. `kind` says which fields count.

    `one`: a character that `fits` (`shown` is one). `all`, `any`: the `parts` in a row, or one of them. `repeat`: the
    first part `low` to `high` times (None: any number). `look`: the first part does, or with `wanted` false does not,
    match here; `behind`: up to here. `edge`: a place, `shown` is `^`, `$`, `b` or `B`. `group`: the first part, kept as
    number `low`. `same`: what group `low` kept.
    """

    kind: str
    parts: tuple[Node, ...] = ()
    fits: Fits = str.isprintable
    shown: str = ""
    low: int = 0
    high: int | None = None
    wanted: bool = True
    behind: bool = False


def character(letter: str) -> Node:
    """The node for a letter itself."""
    return Node("one", fits=letter.__eq__, shown=letter)


class Steps:
    """How many steps searches may take yet, those of one check together."""

    def __init__(self) -> None:
        self.left = STEPS

    def take(self, number: int) -> None:
        """Take some; raises TooLong where there are no more."""
        self.left -= number
        if self.left < 0:
            raise TooLong("the pattern takes too long to look for")


class Pattern:
    """One expression; made by `compiled`. It is `regular` where it looks neither around nor back."""

    def __init__(self, text: str) -> None:
        reader = _Reader(text)
        self._root = reader.whole()
        self._kept = reader.groups if reader.refers else 0
        self.regular = not (reader.looks or reader.refers)
        self._code: list[tuple[str, Node, int, int]] = []
        self._length = self._size(self._root)
        if self._length >= _LARGEST:
            raise Unreadable("it repeats too much")

    def search(self, text: str, steps: Steps | None = None) -> bool:
        """Whether it matches anywhere in the text; raises TooLong where that would take too many steps."""
        steps = steps or Steps()
        with _WRITING:  # when it is first used: a schema may have thousands that never are
            if not self._code:
                steps.take(self._length)
                self._write(self._root)
                self._add("found", self._root)
        return _Search(self._code, text, self._kept, steps).anywhere()

    def sample(self, more: int = 0) -> str:
        """A short text that the pattern would match but for its look-arounds; `more` repeats what may be repeated."""
        return _sample(self._root, more)

    def _size(self, node: Node) -> int:
        """How many instructions `_write` makes of a part."""
        inner = sum(map(self._size, node.parts))
        if node.kind == "any":
            return inner + 2 * len(node.parts) - 2
        if node.kind == "repeat":
            if self._runs(node, node.parts[0]):
                return 1
            most = inner + 2 if node.high is None else (node.high - node.low) * (inner + 1)
            return node.low * inner + most
        if node.kind == "look" or (node.kind == "group" and self._kept):
            return inner + 2
        return inner if node.kind in ("all", "group") else 1

    @staticmethod
    def _runs(node: Node, part: Node) -> bool:
        return part.kind == "one" and max(node.low, node.high or 0) > _WRITTEN

    def _add(self, op: str, node: Node, x: int = 0, y: int = 0) -> int:
        self._code.append((op, node, x, y))
        return len(self._code) - 1

    def _write(self, node: Node) -> None:
        kind = node.kind
        if kind == "all":
            for part in node.parts:
                self._write(part)
        elif kind == "any":
            self._alternatives(node)
        elif kind == "repeat":
            self._repeat(node, node.parts[0])
        elif kind == "look":
            at = self._add("look", node)
            self._write(node.parts[0])
            self._add("found", node)
            self._code[at] = ("look", node, at + 1, len(self._code))
        elif kind == "group" and self._kept:
            self._add("keep", node, 2 * node.low)
            self._write(node.parts[0])
            self._add("keep", node, 2 * node.low + 1)
        elif kind == "group":
            self._write(node.parts[0])
        else:
            self._add(kind, node)

    def _alternatives(self, node: Node) -> None:
        jumps = []
        for part in node.parts[:-1]:
            fork = self._add("fork", node)
            self._write(part)
            jumps.append(self._add("jump", node))
            self._code[fork] = ("fork", node, fork + 1, len(self._code))
        self._write(node.parts[-1])
        for jump in jumps:
            self._code[jump] = ("jump", node, len(self._code), 0)

    def _repeat(self, node: Node, part: Node) -> None:
        if self._runs(node, part):
            self._add("run", node)
            return
        for _ in range(node.low):
            self._write(part)
        if node.high is None:
            fork = self._add("fork", node)
            self._write(part)
            self._add("jump", node, fork)
            self._code[fork] = ("fork", node, fork + 1, len(self._code))
            return
        forks = []
        for _ in range(node.high - node.low):
            forks.append(self._add("fork", node))
            self._write(part)
        for fork in forks:
            self._code[fork] = ("fork", node, fork + 1, len(self._code))


@remembered(512, 1 << 12)
def compiled(text: str) -> Pattern:
    """Read an expression; raises Unreadable."""
    return Pattern(text)


State = tuple[int, int, tuple[int, ...]]
"""A place in the pattern, one in the text, and what groups kept where something refers to them."""


class _Search:
    """One search of one text."""

    def __init__(self, code: list[tuple[str, Node, int, int]], text: str, kept: int, steps: Steps) -> None:
        self._code, self._text, self._steps = code, text, steps
        self._empty = (-1,) * (2 * kept + 2 if kept else 0)
        self._looked: dict[State, bool] = {}

    def anywhere(self) -> bool:
        seen: set[State] = set()
        return any(self._from(0, start, self._empty, seen) for start in range(len(self._text) + 1))

    def _from(
        self, pc: int, at: int, kept: tuple[int, ...], seen: set[State],
        end: int | None = None,
    ) -> bool:  # fmt: skip
        stack = [(pc, at, kept)]
        while stack:
            state = stack.pop()
            if state in seen:
                continue
            seen.add(state)
            self._steps.take(1)
            if self._code[state[0]][0] != "found":
                stack += self._step(*state)
            elif end is None or state[1] == end:
                return True
        return False

    def _step(self, pc: int, at: int, kept: tuple[int, ...]) -> list[State]:
        """The states after one; the last is to be tried first."""
        op, node, x, y = self._code[pc]
        if op == "fork":
            return [(y, at, kept), (x, at, kept)]
        if op == "jump":
            return [(x, at, kept)]
        if op == "keep":
            return [(pc + 1, at, (*kept[:x], at, *kept[x + 1 :]))]
        if op == "look":
            return [(y, at, kept)] if self._look(node, x, at, kept) is node.wanted else []
        return [(pc + 1, place, kept) for place in self._places(op, node, at, kept)]

    def _places(self, op: str, node: Node, at: int, kept: tuple[int, ...]) -> list[int]:
        """Where it goes on in the text."""
        if op == "one":
            return [at + 1] if at < len(self._text) and node.fits(self._text[at]) else []
        if op == "run":
            return self._run(node, at)
        if op == "edge":
            return [at] if self._edge(node.shown, at) else []
        begin, stop = kept[2 * node.low : 2 * node.low + 2]
        said = self._text[begin:stop] if begin >= 0 and stop >= 0 else ""
        return [at + len(said)] if self._text.startswith(said, at) else []

    def _run(self, node: Node, at: int) -> list[int]:
        """Where a repeat of one character may end; the longest last, to be tried first."""
        fits, text = node.parts[0].fits, self._text
        most = len(text) if node.high is None else min(len(text), at + node.high)
        end = at
        while end < most and fits(text[end]):
            end += 1
        self._steps.left -= end - at
        return list(range(at + node.low, end + 1))

    def _edge(self, kind: str, at: int) -> bool:
        if kind == "^":
            return at == 0
        if kind == "$":
            return at == len(self._text)
        before = at > 0 and _word(self._text[at - 1])
        after = at < len(self._text) and _word(self._text[at])
        return (before != after) is (kind == "b")

    def _look(self, node: Node, pc: int, at: int, kept: tuple[int, ...]) -> bool:
        known = (pc, at, kept)
        if known not in self._looked:
            starts = range(at, -1, -1) if node.behind else (at,)
            end = at if node.behind else None
            self._looked[known] = any(self._from(pc, start, kept, set(), end) for start in starts)
        return self._looked[known]


def _sample(node: Node, more: int) -> str:
    if node.kind == "one":
        return node.shown
    if node.kind == "any":
        return min((_sample(part, more) for part in node.parts), key=len)
    if node.kind == "repeat":
        most = node.low + more if node.high is None else min(node.low + more, node.high)
        return _sample(node.parts[0], more) * min(most, 10_000)
    return "".join(_sample(part, more) for part in node.parts) if node.kind in ("all", "group") else ""


def _word(letter: str) -> bool:
    return letter == "_" or (letter.isascii() and letter.isalnum())


_CLASSES: dict[str, tuple[Fits, str]] = {
    "d": (lambda c: "0" <= c <= "9", "0"),
    "w": (_word, "a"),
    "s": (lambda c: c.isspace() or c == "\ufeff", " "),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "v": "\v", "f": "\f", "0": "\0"}
_EDGES = {"b": "b", "B": "B", "A": "^", "Z": "$", "z": "$"}
_HEXES = {"x": 2, "u": 4}
_LONG = {"Letter": "L", "Lowercase_Letter": "Ll", "Uppercase_Letter": "Lu", "Number": "N", "Mark": "M",
         "Decimal_Number": "Nd", "Punctuation": "P", "Symbol": "S", "Separator": "Z"}  # fmt: skip
_CATEGORIES = {
    "L": "ultmo", "M": "nce", "N": "dlo", "P": "cdseifo", "S": "mcko", "Z": "slp", "C": "cfonos",
}  # fmt: skip
_LOOKS = {"?=": (True, False), "?!": (False, False), "?<=": (True, True), "?<!": (False, True)}
_TRIED = " aA0-_.:/@\n" + "".join(map(chr, range(33, 127))) + "éß中あя"  # for a character that a class takes


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._names: dict[str, int] = {}
        self._case = self._dots = False  # flags i and s
        self._depth = 0
        self.groups = 0
        self.refers = self.looks = False

    def whole(self) -> Node:
        """All of it."""
        node = self._any()
        if self._at < len(self._text):
            raise Unreadable("a `)` closes nothing")
        return node

    def _next(self, text: str) -> bool:
        """Take `text` if it is next."""
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _take(self) -> str:
        if self._at >= len(self._text):
            raise Unreadable("it ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _until(self, end: str) -> str:
        found, closed, _ = self._text[self._at :].partition(end)
        if not closed:
            raise Unreadable(f"{end!r} is missing")
        self._at += len(found) + len(end)
        return found

    def _any(self) -> Node:
        self._depth += 1
        if self._depth > 50:
            raise Unreadable("its groups are nested too deep")
        parts = [self._all()]
        while self._next("|"):
            parts.append(self._all())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Node("any", tuple(parts))

    def _all(self) -> Node:
        parts = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            atom = self._atom()
            if atom is not None:
                parts.append(self._times(atom))
        return parts[0] if len(parts) == 1 else Node("all", tuple(parts))

    def _times(self, atom: Node) -> Node:
        at = self._at
        found = self._count()
        if found is None:
            self._at = at
            return atom
        self._next("?")
        low, high = found
        if high is not None and high < low:
            raise Unreadable(f"{{{low},{high}}} is out of order")
        if self._count() is not None:
            raise Unreadable("a repeat is repeated")
        return Node("repeat", (atom,), low=low, high=high)

    def _count(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._next(sign):
                return bounds
        at = self._at
        if self._next("{"):
            inner, closed, _ = self._text[self._at :].partition("}")
            low, comma, high = inner.partition(",")
            if closed and low.isdecimal() and (not high or high.isdecimal()):
                self._at += len(inner) + 1
                return int(low), int(high) if high else (None if comma else int(low))
        self._at = at
        return None

    def _atom(self) -> Node | None:
        letter = self._take()
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._set()
        if letter == "\\":
            return self._escape()
        if letter == ".":
            return Node("one", fits=_any_letter if self._dots else _no_line_end, shown="a")
        if letter in "^$":
            return Node("edge", shown=letter)
        if letter in "*+?":
            raise Unreadable(f"there is nothing before {letter!r} to repeat")
        return self._cased(letter)

    def _group(self) -> Node | None:
        if not self._next("?"):
            return self._kept()
        for sign, (wanted, behind) in _LOOKS.items():
            if self._next(sign[1:]):
                self.looks = True
                return Node("look", (self._closed(),), wanted=wanted, behind=behind)
        if self._next("P<") or self._next("<"):
            name = self._until(">")
            self._names[name] = self.groups + 1
            return self._kept()
        flags = ""
        while self._at < len(self._text) and self._text[self._at] in "is":
            flags += self._take()
        before = self._case, self._dots
        self._case, self._dots = self._case or "i" in flags, self._dots or "s" in flags
        if flags and self._next(")"):
            return None
        if not self._next(":"):
            raise Unreadable("a group of a kind that is not known")
        node = self._closed()
        self._case, self._dots = before
        return node

    def _kept(self) -> Node:
        self.groups += 1
        number = self.groups
        return Node("group", (self._closed(),), low=number)

    def _closed(self) -> Node:
        node = self._any()
        if not self._next(")"):
            raise Unreadable("a `(` is not closed")
        return node

    def _escape(self) -> Node:
        letter = self._take()
        if letter in _EDGES:
            return Node("edge", shown=_EDGES[letter])
        if letter in "123456789":
            while self._at < len(self._text) and self._text[self._at].isdecimal():
                letter += self._take()
            return self._same(int(letter))
        if letter == "k" and self._next("<"):
            return self._same(self._names.get(self._until(">"), 0))
        fits, shown = self._class(letter)
        if fits is not None:
            return Node("one", fits=fits, shown=shown)
        return self._cased(shown)

    def _same(self, number: int) -> Node:
        if not 0 < number <= self.groups:
            raise Unreadable("it refers to a group that is not there")
        self.refers = True
        return Node("same", low=number)

    def _class(self, letter: str) -> tuple[Fits | None, str]:
        """What an escape stands for: a class and one of it, or None and the character."""
        if letter.lower() in _CLASSES:
            fits, shown = _CLASSES[letter.lower()]
            return (fits, shown) if letter.islower() else _other(fits)
        if letter in "pP":
            return self._category(letter == "P")
        if letter in _CONTROLS:
            return None, _CONTROLS[letter]
        if letter == "c":
            return None, chr(ord(self._take()) % 32)
        if letter in _HEXES:
            return None, self._code(letter)
        if letter.isascii() and letter.isalnum():
            raise Unreadable(f"`\\{letter}` is not known")
        return None, letter

    def _category(self, other: bool) -> tuple[Fits, str]:
        name = self._until("}") if self._next("{") else self._take()
        name = name.rpartition("=")[2]
        name = _LONG.get(name, name)
        if name[:1] not in _CATEGORIES or len(name) > 2 or name[1:] not in _CATEGORIES[name[0]]:
            raise Unreadable(f"the class of characters {name!r} is not known")

        def fits(letter: str) -> bool:
            return unicodedata.category(letter).startswith(name)

        return _other(fits) if other else (fits, _one_of(fits))

    def _code(self, kind: str) -> str:
        digits = self._until("}") if kind == "u" and self._next("{") else "".join(
            self._take() for _ in range(_HEXES[kind])
        )  # fmt: skip
        try:
            code = int(digits, 16)
            if 0xD800 <= code < 0xDC00 and self._next("\\u"):
                low = int("".join(self._take() for _ in range(4)), 16)
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            return chr(code)
        except (ValueError, OverflowError) as error:
            raise Unreadable(f"`\\{kind}{digits}` is no character") from error

    def _cased(self, letter: str) -> Node:
        if not self._case:
            return character(letter)
        both = {letter.lower(), letter.upper()}
        return Node("one", fits=both.__contains__, shown=letter)

    def _set(self) -> Node:
        other = self._next("^")
        classes: list[Fits] = []
        ranges: list[tuple[str, str]] = []
        while not self._next("]"):
            first = last = self._member(classes)
            if first is None:
                continue
            if self._text[self._at :][:1] == "-" and self._text[self._at :][1:2] != "]":
                self._take()
                last = self._member(classes)
                if last is None:
                    ranges.append(("-", "-"))
            if last is not None and last < first:
                raise Unreadable(f"the range {first}-{last} is out of order")
            ranges.append((first, last or first))
        return self._class_node(classes, ranges, other)

    def _member(self, classes: list[Fits]) -> str | None:
        """A character of a set; None where a class was added instead."""
        letter = self._take()
        if letter != "\\":
            return letter
        letter = self._take()
        if letter == "b":
            return "\b"
        fits, shown = self._class(letter)
        if fits is None:
            return shown
        classes.append(fits)
        return None

    def _class_node(self, classes: list[Fits], ranges: list[tuple[str, str]], other: bool) -> Node:
        def within(letter: str) -> bool:
            return any(low <= letter <= high for low, high in ranges) or any(fits(letter) for fits in classes)

        def either(letter: str) -> bool:
            return within(letter.lower()) or within(letter.upper())

        fits = either if self._case else within
        if other:
            return Node("one", fits=lambda letter: not fits(letter), shown=_other(fits)[1])
        return Node("one", fits=fits, shown=ranges[0][0] if ranges else _one_of(fits))


def _any_letter(letter: str) -> bool:
    return True


def _no_line_end(letter: str) -> bool:
    return letter not in "\n\r\u2028\u2029"


def _one_of(fits: Fits) -> str:
    return next(filter(fits, _TRIED), "")


def _other(fits: Fits) -> tuple[Fits, str]:
    def rest(letter: str) -> bool:
        return not fits(letter)

    return rest, _one_of(rest)
