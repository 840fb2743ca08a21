"""Texts cut into passages: each is a stretch of its document, by offsets in characters, that can be read alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 1500  # characters of a passage
_PARAGRAPH = re.compile(r"\n\s*?\n|\n(?=#{1,6} )")
_SENTENCE = re.compile(r"[.!?]['”\")]?\s|[。！？]|\n")
_SPACE = re.compile(r"\s")
_CUTS = (_PARAGRAPH, _SENTENCE, _SPACE)


def cut(text: str, longest: int = LONGEST) -> Iterator[tuple[int, int]]:
    """Where the passages of a text begin and end, in order; what is left out between them is white space.

    A passage is as long as may be, and ends with a paragraph, else a sentence, else a word, in its second half.
    """
    begin = 0
    while begin < len(text):
        end = begin + longest if len(text) - begin > longest else len(text)
        if end < len(text):
            end = _end(text, begin + longest // 2, end)
        piece = text[begin:end]
        first, last = begin + len(piece) - len(piece.lstrip()), begin + len(piece.rstrip())
        if last > first:
            yield first, last
        begin = end


def _end(text: str, least: int, most: int) -> int:
    """The last good place for a cut between two offsets."""
    for kind in _CUTS:
        places = [found.end() for found in kind.finditer(text, least, most)]
        if places:
            return places[-1]
    return most
