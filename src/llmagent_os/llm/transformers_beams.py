"""Beam search on a `transformers` model: the library's own, with the answers and scores that it gives."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import torch

from ..core.errors import Unsupported
from ..core.records import Alternative, Decoding, FinishReason, GenerateRequest
from .stops import Stops
from .transformers_run import End, Piece, Recipe, Take, explained, generate, processors, text_of

_DRAWING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "top_logprobs")


def refuse(request: GenerateRequest, decoding: Decoding) -> None:
    """Raise Unsupported for what these beams cannot honour: a grammar follows one sequence, a search has many."""
    sampling = request.sampling
    asked = {name: getattr(sampling, name) is not None for name in _DRAWING}
    asked["temperature"] = bool(sampling.temperature)  # 0 says what a search does anyway
    asked |= {"schema": request.schema is not None, "choices": request.choices is not None}
    asked |= {"tools": bool(request.offered()), "banned": bool(decoding.banned), "topics": bool(decoding.topics)}
    for name, used in asked.items():
        if used:
            message = f"the beams of transformers take no {name!r}: leave it out, or take another strategy"
            raise Unsupported(message, parameter=name, engine="transformers")


def settings(decoding: Decoding) -> dict[str, Any]:
    """What `generate` calls the parts of a beam search."""
    return {
        "num_beams": decoding.width,
        "num_return_sequences": decoding.n,
        "length_penalty": decoding.length_penalty,
        "early_stopping": decoding.early_stopping,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_scores": True,  # without it those of the sequences are not given either
    }


class Beams:
    """Called with `take` on a worker thread, as `Run` is; asks it at every token whether to go on."""

    def __init__(self, model: Any, tokenizer: Any, recipe: Recipe) -> None:
        self._model, self._tokenizer, self._recipe = model, tokenizer, recipe
        self._said = recipe.prompt[len(recipe.prompt) - recipe.said :]
        self._take: Take = lambda event: True
        self._tokens = 0

    def __call__(self, take: Take) -> None:
        """Search; raises as `generate` does. Every token that was looked at counts."""
        self._take = take
        found = generate(self._model, self._recipe, processors(self._recipe), self._stop)
        rows = found.sequences[:, len(self._recipe.prompt) :].tolist()
        best = self._ended(rows[0])
        text, stopped = self._read(rows[0])
        take(Piece(text))
        alternatives = () if len(rows) == 1 else tuple(map(self._alternative, rows, found.sequences_scores.tolist()))
        explanation = explained(self._model, self._tokenizer, self._recipe, best, take)
        finish: FinishReason = "stop" if stopped or best[-1] in self._recipe.ends else "length"
        take(End(finish, self._tokens, alternatives, explanation))

    def _alternative(self, row: list[int], score: float) -> Alternative:
        return Alternative(self._read(row)[0], score)

    def _ended(self, row: list[int]) -> list[int]:
        """A sequence without its padding, which is made of end tokens."""
        body = list(takewhile(lambda token: token not in self._recipe.ends, row))
        return row[: len(body) + 1]

    def _read(self, row: list[int]) -> tuple[str, bool]:
        """The text up to the first stop text, and whether there was one."""
        stops = Stops(self._recipe.stops)
        text, stopped = stops.add(text_of(self._tokenizer, self._ended(row), self._said))
        return text + stops.rest(), stopped

    def _stop(self, tokens: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Which candidates are finished: all when nobody wants an answer any more, else those with a stop text."""
        scores[-1].set_()  # frees the step's scores of the whole vocabulary, which would pile up until the end
        self._tokens += self._recipe.decoding.width if self._tokens else 1
        if self._take(Piece("")):
            return torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        drawn = tokens[:, len(self._recipe.prompt) :].tolist()
        return torch.tensor([bool(self._recipe.stops) and self._read(row)[1] for row in drawn], device=tokens.device)
