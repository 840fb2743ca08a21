"""Sentences, and what they say of things, by patterns that an expert declares; no model is asked.

    pattern("{S} takes place in {O}", room).
    pattern("{S}在{O}举行", room).

`{S}` is the subject, `{O}` the object, `{_}` anything. A pattern fits a whole clause: what stands between two commas.
Of one predicate the first that fits a clause counts, so the narrow ones stand before the wide ones. What is asked,
supposed or denied says nothing, nor does what begins with a pronoun: whom it means is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..core.errors import InvalidRequest
from .rules import Program
from .rules.syntax import Value

LONGEST = 500  # characters of a sentence that is looked at
NAME = 80  # characters of a name in it
TITLES = ("Mr", "Mrs", "Ms", "Dr", "St", "No", "Prof")
"""What has a full stop behind it and ends no sentence."""
_END = re.compile(
    r"(?<!\b[A-Z])" + "".join(rf"(?<!\b{title})" for title in TITLES) + r"(?<!e\.g)(?<!i\.e)"
    r"(?<![.!?])[.!?]++['”’\")\]]*+(?=\s|$)"
    r"|[。！？]+[”」』）]*|\n+"
)
_CLAUSE = re.compile(r"[,;:](?=\s)|[，；：]")
_PLACES = re.compile(r"\{(S|O|_)\}")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+(?=\S)", re.IGNORECASE)
_AROUND = " \t'\"“”‘’《》「」『』*_`-#|"
_NOTHING = re.compile(
    r"(?:not|no|never|nobody|none|it|its|he|she|they|we|you|i|this|that|these|those|there|which|who|what|if|whether"
    r"|unless|when|where)\b"
    r"|[不没未无非如若]|[他她它这那谁哪]|我们?|你们?|您",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|whether|unless|would|could|might|perhaps|maybe)\b|如果|假如|是否|也许|可能", re.IGNORECASE
)
_DENIED = re.compile(r"\b(?:not|never|no longer|hardly|neither|nor)\b|n['’]t\b|[不没未非]$", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,9})?")


class Sentence(NamedTuple):
    """A sentence, and where it begins in its text."""

    begin: int
    text: str


class Claim(NamedTuple):
    """What a sentence says of something."""

    subject: str
    predicate: str
    object: Value


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern as it was declared, and as it is looked for."""

    text: str
    predicate: str
    fits: Callable[[str], re.Match[str] | None]

    @classmethod
    def read(cls, text: str, predicate: str, where: str = "pattern") -> Pattern:
        """Raises InvalidRequest for one that has not one {S}, one {O}, and words between them."""
        places = _PLACES.findall(text)
        pieces = [" ".join(piece.split()) for piece in _PLACES.split(text)[::2]]
        if sorted(each for each in places if each != "_") != ["O", "S"] or not all(pieces[1:-1]):
            raise InvalidRequest(f"{where}: {text!r} is no pattern: it has {{S}} and {{O}} once each, for the subject "
                                 "and the object, and words between them", parameter="pattern")  # fmt: skip
        made = _words(pieces[0])
        for place, piece in zip(places, pieces[1:], strict=True):
            made += (r"\s*(.*?)\s*" if place == "_" else rf"\s*(?P<{place}>\S.*?)\s*") + _words(piece)
        return cls(text, predicate, re.compile(made, re.IGNORECASE).fullmatch)


def _words(piece: str) -> str:
    """A stretch of a pattern: no word of a text is cut in two by it."""
    if not piece:
        return ""
    first, last = (r"\b" if each.isascii() and each.isalnum() else "" for each in (piece[0], piece[-1]))
    return first + re.escape(piece).replace(r"\ ", r"\s+") + last


def patterns(program: Program) -> list[Pattern]:
    """Those that the rules declare; raises InvalidRequest."""
    found = [(row, given) for name, row, given in program.facts if name == "pattern" and len(row) == 2]
    return [Pattern.read(str(row[0]), str(row[1]), str(given.source)) for row, given in found]


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of a text, in order."""
    begin = 0
    for end in [*(found.end() for found in _END.finditer(text)), len(text)]:
        piece = text[begin:end]
        if words := piece.strip():
            yield Sentence(begin + len(piece) - len(piece.lstrip()), words)
        begin = end


def claims(sentence: str, declared: Iterable[Pattern]) -> list[Claim]:
    """What a sentence says by the patterns."""
    if len(sentence) > LONGEST or sentence.rstrip("'\"”」』)").endswith(("?", "？")) or _SUPPOSED.search(sentence):
        return []
    found, declared = list[Claim](), list(declared)
    for clause in map(_plain, _CLAUSE.split(sentence)):
        done = set[str]()
        for pattern in declared:
            if pattern.predicate in done or (fits := pattern.fits(clause)) is None:
                continue
            if any(_DENIED.search(each.strip()) for each in fits.groups()):
                break
            done.add(pattern.predicate)
            subject, thing = name(fits["S"]), name(fits["O"])
            if subject and thing:
                number = _number(thing)
                found.append(Claim(subject, pattern.predicate, thing if number is None else number))
    return found


def name(text: str) -> str:
    """What a sentence calls something, without articles and quotes; empty for what names nothing."""
    plain = _ARTICLE.sub("", " ".join(text.split()).strip(_AROUND)).strip(_AROUND)
    return "" if len(plain) > NAME or _NOTHING.match(plain) else plain


def _plain(clause: str) -> str:
    return clause.strip().rstrip(".!。！ ").strip(_AROUND)


def _number(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)
