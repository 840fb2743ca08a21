"""Texts in the pieces that encoders of the BERT family read (Devlin et al. 2018), and where each stands in the text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

LONGEST = 100  # characters of a word that is looked up at all


class Piece(NamedTuple):
    """A piece of a text: its number in the vocabulary, its first character and the one after it, and whether a word
    begins with it."""

    id: int
    start: int
    end: int
    first: bool


class WordPiece:
    """Lower-cased words without accents, each in the longest pieces that there are, from the left."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = vocabulary
        self._ids = {word: number for number, word in enumerate(vocabulary)}
        self.begin, self.end, self.unknown, self.padding = (
            self._ids[name] for name in ("[CLS]", "[SEP]", "[UNK]", "[PAD]")
        )

    def pieces(self, text: str) -> list[Piece]:
        """All of a text, without what stands before and after it."""
        return [piece for word in _words(text) for piece in self._parted(word)]

    def _parted(self, word: list[tuple[str, int]]) -> list[Piece]:
        found: list[Piece] = []
        whole, at = "".join(letter for letter, _ in word), 0
        if len(whole) > LONGEST:
            return [self._piece(self.unknown, word, True)]
        while at < len(whole):
            mark = "##" if at else ""
            longest = next((to for to in range(len(whole), at, -1) if mark + whole[at:to] in self._ids), 0)
            if not longest:
                return [self._piece(self.unknown, word, True)]
            found.append(self._piece(self._ids[mark + whole[at:longest]], word[at:longest], not at))
            at = longest
        return found

    @staticmethod
    def _piece(number: int, letters: list[tuple[str, int]], first: bool) -> Piece:
        return Piece(number, letters[0][1], letters[-1][1] + 1, first)


def _words(text: str) -> Iterator[list[tuple[str, int]]]:
    """The words of a text, as letters with where each comes from; marks and ideographs are words of their own."""
    word: list[tuple[str, int]] = []
    for place, sign in enumerate(text):
        kind = unicodedata.category(sign)
        if sign.isspace() or _alone(sign, kind):
            if word:
                yield word
            word = []
            if not sign.isspace():
                yield [(sign, place)]
        elif kind not in ("Cc", "Cf", "Co", "Cs", "Cn") and sign != "\ufffd":
            plain = unicodedata.normalize("NFD", sign.lower())
            word += [(each, place) for each in plain if unicodedata.category(each) != "Mn"]
    if word:
        yield word


def _alone(sign: str, kind: str) -> bool:
    ascii_mark = sign.isascii() and not sign.isalnum() and sign.isprintable() and sign != " "
    number = ord(sign)
    ideograph = 0x4E00 <= number <= 0x9FFF or 0x3400 <= number <= 0x4DBF or 0xF900 <= number <= 0xFAFF
    return ascii_mark or kind.startswith("P") or ideograph or 0x20000 <= number <= 0x2CEAF
