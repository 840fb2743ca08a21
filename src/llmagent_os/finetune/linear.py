"""The first rung for labels: TF-IDF and logistic regression, in seconds and without torch. Needs numpy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from ..core import codec
from ..core.grams import Labeller, grams, weighed
from .kept import describe
from .rows import Row

MOST = 60_000  # grams that are kept, the most frequent
ROUNDS = 200
STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse strengths of the regularisation that are tried."""


def fit(train: Sequence[Row], held: Sequence[Row], strengths: Sequence[float] = STRENGTHS) -> Labeller:
    """The logistic regression that labels most of the held-out rows right, of several strengths."""
    labels = sorted({row.output for row in train})
    rare = _rare(train)
    matrix = _Matrix([weighed(row.text, rare) for row in train], rare)
    wanted = numpy.array([labels.index(row.output) for row in train])
    found = []
    for strength in strengths:
        weights, bias = _regression(matrix, wanted, len(labels), strength)
        values = zip(rare.items(), weights.round(5).tolist(), strict=True)
        made = Labeller(labels, bias.round(5).tolist(), {gram: [round(idf, 5), *each] for (gram, idf), each in values})
        found.append((sum(made.label(row.text) == row.output for row in held), -strength, made))
    return max(found, key=lambda each: each[:2])[2]


def save(labeller: Labeller, folder: Path, told: Mapping[str, Any]) -> None:
    """Write a model as the engine `labels` reads it; `told` is said of it."""
    folder.mkdir(parents=True, exist_ok=True)
    held = {"labels": labeller.labels, "bias": labeller.bias, "grams": labeller.grams}
    (folder / "labels.json").write_bytes(codec.dumps(held))
    describe(folder, "labels", "labels.json", told)


def _rare(rows: Sequence[Row]) -> dict[str, float]:
    """The idf of each gram that more than one text has: 1 + log((1 + n) / (1 + df))."""
    count = Counter(gram for row in rows for gram in grams(row.text))
    kept = [(gram, n) for gram, n in count.most_common(MOST) if n > 1] or list(count.items())
    return {gram: 1 + math.log((1 + len(rows)) / (1 + n)) for gram, n in kept}


class _Matrix:
    """Rows of weights by gram, without the zeros."""

    def __init__(self, rows: Sequence[Mapping[str, float]], rare: Mapping[str, float]) -> None:
        places = {gram: n for n, gram in enumerate(rare)}
        self.shape = (len(rows), len(rare))
        self.rows: Any = numpy.repeat(numpy.arange(len(rows)), [len(row) for row in rows])
        self.columns: Any = numpy.array([places[gram] for row in rows for gram in row], dtype=numpy.int64)
        self.values = numpy.array([value for row in rows for value in row.values()])

    def times(self, right: Any) -> Any:
        """This, times a matrix."""
        return _summed(self.rows, self.values[:, None] * right[self.columns], self.shape[0])

    def turned_times(self, right: Any) -> Any:
        """This turned about, times a matrix."""
        return _summed(self.columns, self.values[:, None] * right[self.rows], self.shape[1])


def _summed(places: Any, values: Any, size: int) -> Any:
    return numpy.stack([numpy.bincount(places, each, size) for each in values.T], axis=1)


def _regression(matrix: _Matrix, wanted: Any, labels: int, strength: float) -> tuple[Any, Any]:
    """Weights and bias that minimise the mean of -log softmax(x W + b)[label] + |W|^2 / (2 n strength).

    By Nesterov's accelerated gradient (1983), in steps of one over the gradient's Lipschitz constant: rows have the
    length of 1, and one more for the bias.
    """
    count, ridge = len(wanted), 1 / (len(wanted) * strength)
    weights, bias = numpy.zeros((matrix.shape[1], labels)), numpy.zeros(labels)
    ahead, shift, rate = weights, bias, 1 / (1 + ridge)
    target = numpy.eye(labels)[wanted]
    for n in range(ROUNDS):
        scores = matrix.times(ahead) + shift
        odds = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        error = (odds / odds.sum(axis=1, keepdims=True) - target) / count
        fresh = ahead - rate * (matrix.turned_times(error) + ridge * ahead)
        moved = shift - rate * error.sum(axis=0)
        push = n / (n + 3)
        ahead, shift = fresh + push * (fresh - weights), moved + push * (moved - bias)
        weights, bias = fresh, moved
    return weights, bias
