"""What a text is made of, for a linear model over it: its words, neighbouring words, and pieces of words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

PIECE = 4  # characters of a piece of a word
_WORD = re.compile(r"\w+|[^\w\s]")


def grams(text: str) -> Counter[str]:
    """How often each stands in a text: words as they are, pairs with a blank, pieces after a `#`."""
    words = _WORD.findall(text.casefold())
    found = Counter(words)
    found.update(" ".join(pair) for pair in pairwise(words))
    for word in words:
        whole = f"#{word}#"
        found.update(f"#{whole[at : at + PIECE]}" for at in range(max(1, len(whole) - PIECE + 1)))
    return found


def weighed(text: str, rare: Mapping[str, float]) -> dict[str, float]:
    """The grams of a text that are known, by weight: (1 + log tf) idf, with the length of 1 (Salton & Buckley 1988)."""
    found = {gram: (1 + math.log(n)) * rare[gram] for gram, n in grams(text).items() if gram in rare}
    length = math.sqrt(sum(value * value for value in found.values())) or 1.0
    return {gram: value / length for gram, value in found.items()}


@dataclass(frozen=True)
class Labeller:
    """A linear model over grams: `grams` has, by gram, its idf and then a weight a label; `bias` one a label."""

    labels: Sequence[str]
    bias: Sequence[float]
    grams: Mapping[str, Sequence[float]]

    @cached_property
    def _rare(self) -> dict[str, float]:
        return {gram: values[0] for gram, values in self.grams.items()}

    def probabilities(self, text: str) -> dict[str, float]:
        """How likely each label is, by softmax."""
        scores = list(self.bias)
        for gram, value in weighed(text, self._rare).items():
            for n, weight in enumerate(self.grams[gram][1:]):
                scores[n] += value * weight
        highest = max(scores)
        odds = [math.exp(score - highest) for score in scores]
        whole = sum(odds)
        return {label: odd / whole for label, odd in zip(self.labels, odds, strict=True)}

    def label(self, text: str) -> str:
        """The likeliest label."""
        found = self.probabilities(text)
        return max(found, key=found.__getitem__)
