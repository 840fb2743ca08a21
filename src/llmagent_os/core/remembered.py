"""A cache for what is made of texts that somebody else sends: it remembers small ones, and a few."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

LARGE = 1 << 17  # characters or bytes: what is made of more is made anew each time

S = TypeVar("S", str, bytes)
T = TypeVar("T")


def remembered(most: int, large: int = LARGE) -> Callable[[Callable[[S], T]], Callable[[S], T]]:
    """A decorator that keeps what a function gave for the last `most` texts, those that are not longer than `large`."""

    def around(made: Callable[[S], T]) -> Callable[[S], T]:
        kept = functools.lru_cache(maxsize=most)(made)

        def found(text: S) -> T:
            return kept(text) if len(text) <= large else made(text)

        return functools.update_wrapper(found, made)

    return around
