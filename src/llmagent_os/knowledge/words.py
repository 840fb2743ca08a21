"""What a text is found by: its words as terms, and the names that stand in it.

A term is a word in small letters without accents and, in English, without its ending; of Chinese, Japanese and Korean,
which do not part their words, each two neighbouring characters are one. A name is a run of capitalised words; it is a
term as well, of several words. A passage is posted under the names that it mentions, and under those that its title is:
so names join the passages that speak of a thing to the one that is about it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain
from zlib import crc32

from .stem import stem

NAME = "\x1f"
"""What begins the term of a name: no word has it."""
LONGEST = 5  # words of a name that is looked for within a longer one
WORD = 64  # characters of a word that count
ASKED = 200  # words of a question, for a longer one asks for nothing in particular
KEPT = 1 << 18  # words whose terms are kept

_WORDS = re.compile(r"\w+")  # a third quicker than without what is joined by `_`, which is taken apart once
_CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_RUN = re.compile(f"[{_CJK}]+|[^{_CJK}]+")
_FIRST = re.compile(f"[{_CJK}]")
_CAPITALS = "".join(each for each in map(chr, range(0x41, 0x530)) if each.isupper())
_CAPITAL = rf"(?:[{_CAPITALS}][^\W_]*+)"
_NAMES = re.compile(
    rf"{_CAPITAL}(?:(?:\. |\.|, |[ '’&-]|[ -](?:of|the|and|in|on|for|to|a|de|la|le|du|del|der|von|van|y|at) "
    rf"(?:the )?){_CAPITAL})*+"
)
_QUOTED = re.compile(r"[《「『“\"]([^《》「」『』“”\"]{2,60})[》」』”\"]")
_ASIDE = re.compile(r"\s*[(（][^()（）]*+[)）]\s*$")
_SAY_NOTHING = (
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it "
    "its me my no not of on or our she so than that the their them then there these they this those to was we were "
    "what when where which while who whom whose why will with would you your"
)
STOP = frozenset(_SAY_NOTHING.split())
"""English words that say nothing of what a question is about, and are no names."""


class _Terms(dict[str, tuple[str, ...]]):
    """The terms of words as they are written, made once."""

    def __missing__(self, word: str) -> tuple[str, ...]:
        if len(self) >= KEPT:
            self.clear()
        found = self[word] = tuple(chain.from_iterable(map(_made, word[:WORD].split("_"))))
        return found


def _made(word: str) -> Iterator[str]:
    if word.isascii():
        yield from [stem(word.lower())] if word else ()
        return
    plain = unicodedata.normalize("NFKD", word.casefold())
    plain = unicodedata.normalize("NFC", "".join(each for each in plain if not unicodedata.combining(each)))
    for run in _RUN.findall(plain):
        if not _FIRST.match(run):
            yield stem(run) if run.isascii() else run
        elif len(run) == 1:
            yield run
        else:
            yield from (run[n : n + 2] for n in range(len(run) - 1))


_TERMS = _Terms()


def number(term: str) -> int:
    """The number by which a term is kept; hardly ever another one's."""
    return crc32(term.encode())


class _Numbers(dict[bytes, tuple[int, ...]]):
    """The numbers of the terms of what stands between marks of ASCII, made once but for what is long."""

    def __missing__(self, stretch: bytes) -> tuple[int, ...]:
        found = tuple(map(number, terms(stretch.decode())))
        if len(stretch) <= WORD:
            if len(self) >= KEPT:
                self.clear()
            self[stretch] = found
        return found


_NUMBERS = _Numbers()
_PLAIN = bytes(each if each > 127 or chr(each).isalnum() or chr(each) == "_" else 32 for each in range(256))
"""What is no mark of ASCII; the rest is a space."""


def terms(text: str) -> list[str]:
    """The terms of a text, in order."""
    return list(chain.from_iterable(map(_TERMS.__getitem__, _WORDS.findall(text))))


def hashed(text: str) -> list[int]:
    """The terms of a text by number, in order: as bytes it is taken apart in half the time."""
    stretches = text.encode(errors="replace").translate(_PLAIN).split()
    return list(chain.from_iterable(map(_NUMBERS.__getitem__, stretches)))


def asked(text: str) -> list[str]:
    """The terms that a question is looked for by: its words, and whatever of it may be a name."""
    words = _WORDS.findall(text)[:ASKED]
    meant = [word for word in words if word.lower() not in STOP] or words
    found = dict.fromkeys(chain.from_iterable(map(_TERMS.__getitem__, meant)))
    return [*found, *dict.fromkeys(_within(words, 1))]


class _Runs(dict[str, tuple[str, ...]]):
    """The names of two words and more in runs of capitalised words, made once."""

    def __missing__(self, run: str) -> tuple[str, ...]:
        if len(self) >= KEPT:
            self.clear()
        found = self[run] = tuple(_within(_WORDS.findall(run), 2))
        return found


_RUNS = _Runs()


class _RunNumbers(dict[str, tuple[int, ...]]):
    """The same by number, made once."""

    def __missing__(self, run: str) -> tuple[int, ...]:
        if len(self) >= KEPT:
            self.clear()
        found = self[run] = tuple(map(number, _RUNS[run]))
        return found


_RUN_NUMBERS = _RunNumbers()


def mentioned(text: str) -> set[str]:
    """The names of two words and more that a text mentions, as terms. Those of one word are words anyway."""
    return {*chain.from_iterable(map(_RUNS.__getitem__, _NAMES.findall(text))), *_quoted(text)}


def mentions(text: str) -> set[int]:
    """The same by number."""
    found = set(chain.from_iterable(map(_RUN_NUMBERS.__getitem__, _NAMES.findall(text))))
    return found.union(map(number, _quoted(text)))


def _quoted(text: str) -> list[str]:
    return [NAME + " ".join(_key(_WORDS.findall(quoted))) for quoted in _QUOTED.findall(text)]


def single(text: str) -> set[str]:
    """The capitalised words of a text, each as the name that it may be alone."""
    alone = {word for run in _NAMES.findall(text) for word in _WORDS.findall(run) if word.lower() not in STOP}
    return {NAME + " ".join(_TERMS[word]) for word in alone}


def titles(title: str) -> set[str]:
    """The names that a title is: as it stands, and without what is in brackets at its end."""
    forms = (_key(_WORDS.findall(form)) for form in (title, _ASIDE.sub("", title)))
    return {NAME + " ".join(form) for form in forms if form}


def _key(words: list[str]) -> list[str]:
    """The words of a name as they are compared: without an article before it."""
    flat = [" ".join(_TERMS[word]) for word in words]
    return flat[1:] if len(flat) > 1 and flat[0] in ("the", "a", "an") else flat


def _within(words: list[str], least: int) -> Iterator[str]:
    """The names of up to LONGEST words in a row of words: none begins or ends with a word that says nothing."""
    edge = [word.lower() not in STOP for word in words]
    flat = [" ".join(_TERMS[word]) for word in words]
    for begin in range(len(flat)):
        if edge[begin]:
            for end in range(begin + least, min(begin + LONGEST, len(flat)) + 1):
                if edge[end - 1]:
                    yield NAME + " ".join(flat[begin:end])
