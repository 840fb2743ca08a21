"""Folding: a text in plain letters, digits, blanks and hyphens, as its reader takes it, and the way back to its places.

What is folded: full-width forms, digits of other scripts, unusual blanks and hyphens, what cannot be seen, and the
spellings of JSON, URLs and HTML (`\\n`, `%40`, `&amp;`). So recognisers and checksums see one spelling of a value.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

STRETCH = 8192  # characters that are looked at in one go: within it no other thread has its turn

_HYPHENS = (*range(0x2010, 0x2016), 0x2043, 0x2212)
_BLANKS = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
_DOTS = (0x2022, 0x2027, 0x2219, 0x22C5, 0x30FB, 0xFF65)  # as they stand in number plates
_QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}
_UNSEEN = r"\xad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0f\ufeff\u20e3"
_FORMS = (range(0xFE50, 0xFE70), range(0xFF01, 0xFF5F), range(0x1D400, 0x1D800))  # small, full-width, mathematical


def _plain() -> Iterator[tuple[int, str]]:
    for code in (code for form in _FORMS for code in form):
        letter = unicodedata.normalize("NFKC", chr(code))
        if letter.isascii() and len(letter) == 1:
            yield code, letter
    for code in range(0x660, 0x1B60):  # the digits of the scripts of Asia
        if (digit := unicodedata.decimal(chr(code), None)) is not None:
            yield code, str(int(digit))
    yield from ((code, "-") for code in _HYPHENS)
    yield from ((code, " ") for code in _BLANKS)
    yield from ((code, "·") for code in _DOTS)
    yield from _QUOTES.items()


PLAIN = {code: ord(letter) for code, letter in _plain()}
"""Letters that stand for a plain one, by code: a letter for a letter, so that places stay where they are."""

_SPELLED = re.compile(
    r"\\{1,8}(?:[nrt\"'/]|u00[2-7][0-9A-Fa-f]|x[2-7][0-9A-Fa-f])|%(?:0[9AaDd]|[2-7][0-9A-Fa-f])"
    rf"|&(?:amp|quot|apos|nbsp|commat|lt|gt|#\d{{2,3}}|#x[0-9A-Fa-f]{{2}});|[{_UNSEEN}]+"
)
_SIGNS = re.compile(rf"[\\%&{_UNSEEN}]")
_NAMED = {"amp": "&", "quot": '"', "apos": "'", "nbsp": " ", "commat": "@", "lt": "<", "gt": ">"}
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_WIDEST = 14  # characters of the longest spelling of a letter


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text. From each of the places `cuts` on the original is further on, by as much as `shifts` says."""

    text: str
    cuts: tuple[int, ...] = ()
    shifts: tuple[int, ...] = ()

    def back(self, place: int) -> int:
        """Where in the original a place of the folded text is."""
        here = bisect_right(self.cuts, place)
        return place + self.shifts[here - 1] if here else place


def fold(text: str) -> Folded:
    """Fold a text, a stretch at a time."""
    if text.isascii() and "\\" not in text and "%" not in text and "&" not in text:
        return Folded(text)
    parts: list[str] = []
    cuts: list[int] = []
    shifts: list[int] = []
    length = begin = 0
    while begin < len(text):
        end = _safe(text, begin)
        piece = text[begin:end]
        plain = piece if piece.isascii() else piece.translate(PLAIN)
        done = 0
        for match in _SPELLED.finditer(plain) if _SIGNS.search(plain) else ():
            letter = _letter(match[0])
            parts += (plain[done : match.start()], letter)
            length += match.start() - done + len(letter)
            done = match.end()
            cuts.append(length)
            shifts.append(begin + done - length)
        parts.append(plain[done:])
        length += len(plain) - done
        begin = end
    return Folded("".join(parts), tuple(cuts), tuple(shifts))


def _safe(text: str, begin: int) -> int:
    """Where a stretch ends: not within a letter that is spelled by several."""
    end = begin + STRETCH
    sign = _SIGNS.search(text, end - _WIDEST, end) if end < len(text) else None
    return sign.start() if sign else min(end, len(text))


def _letter(spelled: str) -> str:
    """The letter that is spelled so; nothing for what cannot be seen."""
    first, rest = spelled[0], spelled[1:]
    if first == "%":
        return chr(int(rest, 16))
    if first == "\\":
        rest = rest.lstrip("\\")
        return _ESCAPED.get(rest, rest) if len(rest) == 1 else chr(int(rest[-2:], 16))
    if first != "&":
        return ""
    name = rest[:-1]
    if name in _NAMED:
        return _NAMED[name]
    code = int(name[2:], 16) if name[1] == "x" else int(name[1:])
    return chr(code) if 32 <= code < 127 else " "


def matches(pattern: re.Pattern[str], text: str, ahead: int = 512) -> Iterator[re.Match[str]]:
    """Where a pattern stands, looked for a stretch at a time; `ahead` is how long a match may be."""
    for begin in range(0, len(text), STRETCH):
        for match in pattern.finditer(text, begin, begin + STRETCH + ahead):
            if match.start() >= begin + STRETCH:
                break
            yield match
