"""Duplicates, and splits that leak nothing: what belongs together, or says nearly the same, is on one side."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..core.errors import InvalidRequest
from .rows import Row

NEAR = 0.8  # of the shingles of two texts, shared, that make them near duplicates
BANDS, DEEP = 16, 4  # of MinHash (Broder 1997): texts that share 0.8 are compared with probability 0.9998
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to train on and rows that are held out; `dropped` were the same as another, or nearly."""

    train: list[Row]
    held: list[Row]
    dropped: int = 0


def distinct(rows: Sequence[Row]) -> tuple[list[Row], int, int]:
    """The rows without those that say again what an earlier one says: and how many were the same, and nearly so.

    Nearly the same is an equal output to an input that shares 80 % of its shingles.
    """
    exact: dict[str, Row] = {}
    for row in rows:
        exact.setdefault(row.sum, row)
    kept = list(exact.values())
    again = {other for one, other in near(kept) if kept[one].output == kept[other].output}
    left = [row for number, row in enumerate(kept) if number not in again]
    return left, len(rows) - len(kept), len(again)


def near(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Pairs of numbers (the smaller first) of rows whose inputs are nearly the same."""
    shingles = [_shingles(row.text) for row in rows]
    buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for number, each in enumerate(shingles):
        for band in range(BANDS):
            buckets[band, _sketch(each, band)].append(number)
    pairs = {(one, other) for bucket in buckets.values() for n, one in enumerate(bucket) for other in bucket[n + 1 :]}
    return sorted(pair for pair in pairs if _shared(shingles[pair[0]], shingles[pair[1]]) >= NEAR)


def _shingles(text: str) -> frozenset[int]:
    """Numbers for the pairs of neighbouring words of a text."""
    words = _WORD.findall(text.casefold()) or [text]
    pairs = {" ".join(pair) for pair in pairwise(words)} or set(words)
    return frozenset(int.from_bytes(hashlib.blake2b(each.encode(), digest_size=8).digest()) for each in pairs)


_PRIME = (1 << 61) - 1
_DRAWN = random.Random(7)
_PERMUTED = [(_DRAWN.randrange(1, _PRIME), _DRAWN.randrange(_PRIME)) for _ in range(BANDS * DEEP)]


def _sketch(shingles: frozenset[int], band: int) -> bytes:
    used = _PERMUTED[band * DEEP : (band + 1) * DEEP]
    least = [min((a * each + b) % _PRIME for each in shingles) for a, b in used]
    return b"".join(each.to_bytes(8) for each in least)


def _shared(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other)


def split(rows: Sequence[Row], held: float, seed: int = 0) -> Split:
    """Hold out a share of the rows, of each label that enough of them have; duplicates are dropped first.

    Groups, and rows that are nearly the same, stay on one side. Raises InvalidRequest where nothing would be left.
    """
    kept, same, nearly = distinct(rows)
    families = _families(kept)
    random.Random(seed).shuffle(families)
    wanted, taken = Counter[str](), Counter[str]()
    count = Counter(row.output for row in kept)
    few = len(count) <= len(kept) // 4
    # the rest of them is parted together: of an answer that one row has none would ever be held out
    kinds = {output for output, n in count.items() if few and n * held >= 1}
    for row in kept:
        wanted[row.output if row.output in kinds else ""] += 1
    out: list[Row] = []
    train: list[Row] = []
    for family in families:
        label = family[0].output if family[0].output in kinds else ""
        if taken[label] + len(family) <= round(wanted[label] * held):
            out += family
            taken[label] += len(family)
        else:
            train += family
    if not train:
        raise InvalidRequest(f"of {len(rows)} rows none is left to train on; bring more", parameter="rows")
    return Split(train, out, same + nearly)


def _families(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that must not be parted, together."""
    up = list(range(len(rows)))

    def root(number: int) -> int:
        while up[number] != number:
            up[number] = up[up[number]]
            number = up[number]
        return number

    first: dict[str, int] = {}
    joined = [(first.setdefault(row.group, n), n) for n, row in enumerate(rows) if row.group]
    for one, other in [*joined, *near(rows)]:
        up[root(other)] = root(one)
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for number, row in enumerate(rows):
        found[root(number)].append(row)
    return list(found.values())
