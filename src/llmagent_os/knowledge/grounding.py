"""Whether an answer stands in its sources: each sentence is looked for in the passages that it was given from.

No model is asked. A sentence is supported by a passage where some neighbouring sentences of that have nearly all of its
words, all of its numbers, days, months and names, and deny where it denies. So a paraphrase in other words counts as
unsupported: it is said too often, rather than too seldom, that something does not stand in the sources.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core.records import Json
from . import words
from .sentences import TITLES, sentences

ENOUGH = 0.75  # of the words of a sentence, for it to be supported
NEAR = 3  # sentences of a passage that may support one together
SUPPORTED, UNSUPPORTED, CONTRADICTED, NONE = "supported", "unsupported", "contradicted", "no claim"

_TITLE = re.compile(rf"\b({'|'.join(TITLES)})\.")
_LISTED = re.compile(r"^[ \t]*(?:\(?\d{1,3}[.)]|[-*•])(?=[ \t])", re.MULTILINE)
_MARK = re.compile(r"\[(\d[\d, ]*)\]")
_BEHIND = re.compile(r"(?:[ \t]*+\[\d[\d, ]*\])*+")
_DENIES = re.compile(
    r"\b(?:not?|never|none|nobody|nothing|neither|nor|without|cannot)\b|n['’]t\b|[不没未无]", re.IGNORECASE
)
_SHORTENED = re.compile(r"n['’]t\b")
_SILENT = re.compile(
    r"\bnot\b.{0,40}\b(?:in|by|from)\b.{0,20}\b(?:sources?|passages?|documents?)\b"
    r"|\b(?:sources?|passages?|documents?)\b.{0,20}\b(?:do|does|did)(?: not|n['’]t) "
    r"|(?:资料|来源|文档|文件).{0,4}(?:没有|未|不)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=[^\s.!?:\"'“(\[])\s+([A-Z][^\W_]+)")
_BEGINS = re.compile(r"^[\"'“(\[]*([A-Z][^\W_]+)(?=\s+[A-Z][^\W_])")  # of a name of several words
_WEEKDAY = re.compile(r"(?:周|星期|礼拜)([一二三四五六日天])")
_HAN = "〇零一二三四五六七八九十百千万亿两"
_HAN_NUMBER = re.compile(rf"(?:(?!一)[{_HAN}][{_HAN}]*|一(?:[{_HAN}]+|(?=[号日月点年时分层楼室])))[^\W\d_]?")
_COUNTED = (
    "one two three four five six seven eight nine ten eleven twelve first second third fourth fifth sixth seventh "
    "eighth ninth tenth monday tuesday wednesday thursday friday saturday sunday january february march april june "
    "july august september october november december"
)
_EXACT = frozenset(term for word in _COUNTED.split() for term in words.terms(word))
_STOP = frozenset([*"sdm", "ll", "re", "ve", *(term for word in words.STOP for term in words.terms(word))])

Against = Callable[[str], str | None]
"""The fact or rule that a sentence goes against, in words; None where there is none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one sentence: where it stands in the answer, whether it is supported, by which passages, or against what."""

    begin: int
    end: int
    verdict: str
    by: tuple[int, ...] = ()
    against: str = ""

    def told(self) -> dict[str, Json]:
        """As JSON."""
        data: dict[str, Json] = {"begin": self.begin, "end": self.end, "verdict": self.verdict, "by": list(self.by)}
        return data | ({"against": self.against} if self.against else {})


def judged(answer: str, passages: Mapping[int, str], against: Against = lambda sentence: None) -> list[Verdict]:
    """A verdict for each sentence of an answer, by passages under their numbers (with their titles)."""
    shown = {number: [_Claim.of(each[0]) for each in _sentences(text)] for number, text in passages.items()}
    return [_one(sentence, begin, shown, against) for sentence, begin in _sentences(answer)]


def _one(sentence: str, begin: int, shown: Mapping[int, Sequence[_Claim]], against: Against) -> Verdict:
    claim, end = _Claim.of(sentence), begin + len(sentence)
    if not claim.terms or sentence.rstrip().endswith(("?", "？")) or _SILENT.search(sentence):
        return Verdict(begin, end, NONE)
    if (fact := against(sentence)) is not None:
        return Verdict(begin, end, CONTRADICTED, (), fact)
    by = tuple(number for number, texts in shown.items() if claim.stands_in(texts))
    return Verdict(begin, end, SUPPORTED if by else UNSUPPORTED, by)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a sentence says, as far as that is compared: its words, those that have to be there, whether it denies."""

    terms: frozenset[str]
    exact: frozenset[str]
    denies: bool

    @classmethod
    def of(cls, sentence: str) -> _Claim:
        plain = _TITLE.sub(r"\1", _SHORTENED.sub(" not", _MARK.sub("", sentence)))
        terms = frozenset(words.terms(plain)) - _STOP
        names = [*_NAME.findall(plain), *_BEGINS.findall(plain.lstrip())]
        named = {term for name in names for term in words.terms(name)}
        exact = {term for term in terms if term in _EXACT or term in named or any(map(str.isdigit, term))}
        han = {f"周{day.replace('天', '日')}" for day in _WEEKDAY.findall(plain)}
        han |= set(_HAN_NUMBER.findall(_WEEKDAY.sub("", plain)))
        return cls(terms | han, frozenset(exact | han), _DENIES.search(plain) is not None)

    def stands_in(self, texts: Sequence[_Claim]) -> bool:
        """Whether some neighbouring sentences say it."""
        for first in range(len(texts)):
            near = texts[first : first + NEAR]
            there = frozenset[str]().union(*(each.terms for each in near))
            if self.exact <= there and len(self.terms & there) >= ENOUGH * len(self.terms):
                most = max(near, key=lambda each: len(each.terms & self.terms))
                if most.denies == self.denies:
                    return True
        return False


def _sentences(text: str) -> Iterator[tuple[str, int]]:
    """The sentences of a text, and where each begins; a mark such as `[1]` belongs to the one before it.

    What numbers the entries of a list is none of their words.
    """
    text, done = _LISTED.sub(lambda found: " " * len(found[0]), text), 0
    for begin, said in sentences(text):
        begin, end = max(begin, done), begin + len(said)
        marks = _BEHIND.match(text, end)
        done = marks.end() if marks else end
        sentence = text[begin:done].strip()
        if _MARK.sub("", sentence).strip(" ."):
            yield sentence, text.index(sentence, begin)
