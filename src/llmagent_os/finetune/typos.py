"""Mistakes of typing, put into texts: how much worse does a model do where people type as they do?"""

from __future__ import annotations

import random
import re
from dataclasses import replace

from ..core import spans
from .rows import Row

SHARE = 0.3  # of the words that have four letters or more
_WORD = re.compile(r"[^\W\d_]{4,}")
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def mistyped(row: Row, seed: int = 0) -> Row:
    """A row with a mistake in a share of its words, the same ones every time; in what is to be found there is none."""
    drawn, text = random.Random(f"{seed}.{row.sum}"), row.text
    if not text:
        return row
    spared = spans.located(text, spans.read(row.output) or []) or []

    def wrong(found: re.Match[str]) -> str:
        kept = any(each.start < found.end() and found.start() < each.end for each in spared)
        return found[0] if kept or drawn.random() >= SHARE else _mistake(found[0], drawn)

    place = max(n for n, each in enumerate(row.messages) if each.role == "user")
    message = replace(row.messages[place], content=_WORD.sub(wrong, text))
    return replace(row, messages=(*row.messages[:place], message, *row.messages[place + 1 :]))


def _mistake(word: str, drawn: random.Random) -> str:
    """Two letters turned about, one left out, one twice, or one that lies beside it on the keyboard; not the first."""
    at = drawn.randrange(1, len(word) - 1)
    one, other, rest = word[at], word[at + 1], word[at + 2 :]
    beside = next((_beside(keys, one.lower(), drawn) for keys in _KEYS if one.lower() in keys), one)
    return word[:at] + drawn.choice((other + one, other, one + one + other, beside + other)) + rest


def _beside(keys: str, letter: str, drawn: random.Random) -> str:
    at = keys.index(letter)
    return keys[drawn.choice([near for near in (at - 1, at + 1) if 0 <= near < len(keys)])]
