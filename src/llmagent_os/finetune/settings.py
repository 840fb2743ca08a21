"""What a training is told: plain values, checked once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..core.errors import InvalidRequest, nearest


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is tuned.

    `rank`, `alpha` and `dropout` are those of LoRA (Hu et al. 2021: the change of a weight W is alpha / rank * B A).
    `rate` is AdamW's learning rate at its height, after a warm-up of `warmup` of the steps; `decay` its weight decay
    (Loshchilov & Hutter 2017), `clip` the longest gradient (Pascanu et al. 2013), `smoothing` what is taken from the
    right token's probability and given to all (Szegedy et al. 2015), `adversarial` how far embeddings are moved to
    where that hurts most (of encoders alone). A step reads `batch` rows, in pieces of at most
    `tokens` tokens, which is what bounds the memory. It ends after `epochs` or `steps` or `minutes` (0: no bound), or
    once `patience` looks at the held-out rows brought nothing better; the best of them is kept. `held` is the share of
    rows held out, `looks` how often an epoch looks at them, `longest` the longest example in tokens; `threads` 0: all.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    rate: float = 1e-3
    warmup: float = 0.05
    decay: float = 0.01
    clip: float = 1.0
    smoothing: float = 0.0
    adversarial: float = 0.0
    batch: int = 16
    tokens: int = 1024
    longest: int = 1024
    epochs: int = 3
    steps: int = 0
    minutes: float = 0.0
    held: float = 0.1
    looks: int = 2
    patience: int = 4
    seed: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= (value := getattr(self, name)) <= most:
                raise InvalidRequest(f"{name} is {value}; it goes from {least:g} to {most:g}", parameter=name)


_RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 256), "alpha": (0.001, 1024), "dropout": (0, 0.9), "rate": (1e-7, 1), "warmup": (0, 1),
    "decay": (0, 10), "clip": (1e-3, 1e6), "smoothing": (0, 0.9), "adversarial": (0, 100),
    "batch": (1, 4096), "tokens": (16, 1 << 20),
    "longest": (8, 1 << 20), "epochs": (1, 1000), "steps": (0, 1e9), "minutes": (0, 1e6), "held": (0, 0.9),
    "looks": (1, 100), "patience": (1, 1000), "threads": (0, 1024),
}  # fmt: skip


def settings_of(given: dict[str, Any]) -> Settings:
    """The settings with these values; raises InvalidRequest for an unknown name or a value out of its range."""
    known = [field.name for field in fields(Settings)]
    for name, value in given.items():
        if name not in known:
            raise InvalidRequest(f"unknown setting {name!r}; {nearest(name, known)}", parameter=name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRequest(f"{name} is {value!r}, which is no number", parameter=name)
    return Settings(**given)
