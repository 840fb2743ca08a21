"""Parity: what is served says what the trainer says, or it is not handed on.

An adapter whose rows stand in the wrong order still looks tuned, so looking at answers does not tell. Compared are the
distributions of the next token on the same token ids, as the engine itself reads the prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import LLMAgentOSError

MOST = 0.002  # nats of mean divergence that are always allowed
FLOOR = 1.5  # times what the base model alone differs by, which its rounded weights and states make unavoidable
TOP = 100  # tokens that an engine is asked for; the rest counts as one
Served = Callable[[Sequence[int]], list[tuple[int, float]]]
"""The likeliest next tokens after a context, with their log-probabilities, by what is served."""


SAME = 0.95  # of the answers of an encoder, whose weights are rounded to be served, must be equal


class NotTheSame(LLMAgentOSError):
    """What is served differs from what was trained; facts: `divergence`, `most` (nats)."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Over `contexts`: the mean and the greatest KL(served || trained) in nats, and how often the first token agrees.

    `floor` is the mean of the base model alone, on the same contexts.
    """

    contexts: int
    mean: float
    greatest: float
    agreed: float
    floor: float = 0.0

    @property
    def most(self) -> float:
        """The mean divergence that is allowed."""
        return max(MOST, FLOOR * self.floor)

    def check(self) -> None:
        """Raise NotTheSame where the mean is over the bound."""
        if not self.mean <= self.most:
            text = f"what is served differs from what was trained: {self.mean:.4f} nats in the mean of {self.contexts} "
            text += f"prompts, at most {self.most:.4f} may be; it is not handed on"
            raise NotTheSame(text, divergence=self.mean, most=self.most)


def parity(trained: Callable[[Sequence[int]], Any], served: Served, contexts: Sequence[Sequence[int]]) -> Parity:
    """Compare on contexts (token ids). `trained` gives the log-probabilities of all tokens, by their number.

    KL(P || Q) = sum of p log(p / q) (Kullback & Leibler 1951) over the tokens that the engine tells and one more for
    all the others together, which is a lower bound that is tight where the others are unlikely.
    """
    divergences, agreed = [], 0
    for context in contexts:
        top, own = served(context), trained(context)
        divergences.append(_divergence(top, own))
        agreed += int(own.argmax()) == max(top, key=lambda each: each[1])[0]
    return Parity(len(contexts), sum(divergences) / len(contexts), max(divergences), agreed / len(contexts))


def _divergence(top: Sequence[tuple[int, float]], own: Any) -> float:
    pairs = [(math.exp(value), math.exp(float(own[token]))) for token, value in top]
    pairs.append((max(0.0, 1 - sum(p for p, _ in pairs)), max(1e-12, 1 - sum(q for _, q in pairs))))
    return sum(p * math.log(p / max(q, 1e-12)) for p, q in pairs if p > 0)


def same(answers: Sequence[tuple[str, str]]) -> None:
    """Raise NotTheSame where too few answers of what was trained are those of what is served."""
    equal = sum(one == other for one, other in answers) / max(1, len(answers))
    if answers and equal < SAME:
        text = f"what is served answers as what was trained does in {equal:.0%} of {len(answers)} cases alone"
        raise NotTheSame(f"{text}; it is not handed on", divergence=1 - equal, most=1 - SAME)
