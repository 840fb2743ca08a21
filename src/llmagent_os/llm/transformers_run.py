"""One generation of a `transformers` model on a worker thread: draw tokens, read them as text, stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from llguidance import LLMatcher
from transformers import GenerationConfig, LogitsProcessorList, RepetitionPenaltyLogitsProcessor, StoppingCriteriaList

from ..core.errors import EngineFailed, InvalidRequest
from ..core.records import Alternative, Decoding, FinishReason, Json, Sampling, TokenLogprob
from .stops import Stops
from .transformers_explain import explain


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token added: text (none while a character is incomplete) and its log-probability where asked for."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """Why the generation ended, how many tokens it drew, and what else was asked for."""

    finish: FinishReason
    tokens: int
    alternatives: tuple[Alternative, ...] = ()
    explanation: Mapping[str, Json] | None = None
    stopped: str | None = None


Take = Callable[[Piece | End], bool]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to generate: after the `prompt` tokens, until one of the `ends` tokens or one of the `stops` texts.

    The last `said` tokens of the prompt are the beginning of the answer.
    """

    prompt: list[int]
    said: int
    sampling: Sampling
    decoding: Decoding
    config: GenerationConfig
    ends: frozenset[int]
    stops: tuple[str, ...]
    matcher: LLMatcher | None


class Run:
    """Called with `take` on a worker thread; hands on every token as `generate` asks whether to stop."""

    def __init__(self, model: Any, tokenizer: Any, recipe: Recipe) -> None:
        self._model, self._tokenizer, self._recipe = model, tokenizer, recipe
        self._text = _Text(tokenizer, recipe.prompt[len(recipe.prompt) - recipe.said :])
        self._stops = Stops(recipe.stops)
        self._scores = _Scores(tokenizer, recipe.sampling.top_logprobs)
        self._take: Take = lambda event: True
        self._done = False
        self._finish: FinishReason = "length"
        self._drawn: list[int] = []

    def __call__(self, take: Take) -> None:
        """Generate; raises InvalidRequest for a value that transformers refuses, EngineFailed for torch's trouble."""
        self._take = take
        seed = self._recipe.sampling.seed
        with nullcontext() if seed is None else torch.random.fork_rng():
            if seed is not None:
                torch.manual_seed(seed)
            generate(self._model, self._recipe, self._processors(), self._stop)
        if not self._done:
            rest, _ = self._stops.add(self._text.rest())
            take(Piece(rest + self._stops.rest()))
        explanation = explained(self._model, self._tokenizer, self._recipe, self._drawn, take)
        take(End(self._finish, len(self._drawn), explanation=explanation, stopped=self._stops.found))

    def _processors(self) -> list[Any]:
        """Look at the model's own scores before anything changes them."""
        own = [self._scores] if self._recipe.sampling.top_logprobs is not None else []
        return [*own, *processors(self._recipe)]

    def _stop(self, tokens: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """`generate` calls this after every token; on some devices once more than it needed."""
        if self._finish == "length" and not self._done:
            self._add(int(tokens[0, -1]))
        return torch.full((len(tokens),), self._done, device=tokens.device)

    def _add(self, token: int) -> None:
        self._drawn.append(token)
        ended = token in self._recipe.ends
        text, stopped = self._stops.add("" if ended else self._text.add(token))
        if ended or stopped:
            self._finish = "stop"
        self._done = self._take(Piece(text, self._scores.of(token))) or stopped


def generate(
    model: Any, recipe: Recipe, processors: list[Any], stop: Callable[..., torch.Tensor], **options: Any
) -> Any:
    """transformers' own `generate`; raises InvalidRequest for a value it refuses, EngineFailed for torch's trouble."""
    tokens = torch.tensor([recipe.prompt], device=model.device)
    with failures():
        return model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            generation_config=recipe.config,
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList([stop]),
            **options,
        )


@contextmanager
def failures() -> Iterator[None]:
    """Errors of transformers and torch as ours."""
    try:
        yield
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    except RuntimeError as error:
        raise EngineFailed(str(error), engine="transformers") from error


def processors(recipe: Recipe) -> list[Any]:
    """In order: penalise, constrain; `generate` adds temperature and cuts after."""
    sampling = recipe.sampling
    repetition = sampling.repetition_penalty
    found: list[Any] = [] if repetition is None else [RepetitionPenaltyLogitsProcessor(repetition)]
    found.append(Shift(sampling, len(recipe.prompt) - recipe.said))
    if recipe.matcher is not None:
        found.append(Constrain(recipe.matcher))
    return found


def explained(
    model: Any, tokenizer: Any, recipe: Recipe, drawn: Sequence[int], take: Take
) -> Mapping[str, Json] | None:
    """The explanation of an answer where it was asked for; None also when nobody wants it any more."""
    if not recipe.decoding.explain:
        return None
    with failures():
        return explain(model, tokenizer, recipe.prompt, drawn, lambda: take(Piece("")))


class Shift:
    """Presence and frequency penalties over the tokens drawn so far (not the prompt), and logit biases."""

    def __init__(self, sampling: Sampling, prompt: int) -> None:
        self._presence = sampling.presence_penalty or 0.0
        self._frequency = sampling.frequency_penalty or 0.0
        self._bias: Mapping[int, float] = {int(token): bias for token, bias in (sampling.logit_bias or {}).items()}
        self._prompt = prompt

    def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`generate`'s signature: tokens (rows, length) and scores (rows, vocabulary)."""
        scores = scores.clone()
        if self._presence or self._frequency:
            drawn = tokens[:, self._prompt :]
            counts = torch.stack([torch.bincount(row, minlength=scores.shape[-1]) for row in drawn])
            scores -= self._presence * (counts > 0) + self._frequency * counts
        for token, bias in self._bias.items():
            scores[:, token] += bias
        return scores


class Constrain:
    """Leaves only the tokens that the grammar allows next."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._begun = False

    def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`generate`'s signature: tokens (1, length) and scores (1, vocabulary)."""
        if self._begun:
            self._matcher.consume_token(int(tokens[0, -1]))
        self._begun = True
        bits = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        if self._matcher.is_error():
            raise EngineFailed(f"the grammar broke: {self._matcher.get_error()}")
        allowed = torch.zeros(scores.shape[-1], dtype=torch.bool)
        known = torch.from_numpy(numpy.unpackbits(bits, bitorder="little").astype(bool))[: scores.shape[-1]]
        allowed[: len(known)] = known
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)


class _Scores:
    """Remembers the model's log-probabilities of the step, before anything changes them."""

    def __init__(self, tokenizer: Any, top: int | None) -> None:
        self._tokenizer, self._top = tokenizer, top
        self._logprobs: torch.Tensor | None = None

    def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._logprobs = torch.log_softmax(scores[0].float(), dim=-1)
        return scores

    def of(self, token: int) -> tuple[TokenLogprob, ...]:
        if self._logprobs is None:
            return ()
        best = torch.topk(self._logprobs, min(self._top or 0, len(self._logprobs)))
        top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        others = tuple((self._tokenizer.decode([other]), value) for other, value in top)
        return (TokenLogprob(self._tokenizer.decode([token]), float(self._logprobs[token]), others),)


def text_of(tokenizer: Any, tokens: Sequence[int], said: Sequence[int] = ()) -> str:
    """The text of tokens that come after `said`."""
    text = _Text(tokenizer, said)
    return "".join(map(text.add, tokens)) + text.rest()


class _Text:
    """Tokens to text as they come: a character cut between tokens waits, bytes that are no text are left out."""

    def __init__(self, tokenizer: Any, said: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._tokens = list(said)
        self._start, self._read = 0, len(said)  # decoding from `start` gives the white space before `read` its meaning

    def add(self, token: int) -> str:
        self._tokens.append(token)
        text = self._new()
        if not text or text.endswith("\ufffd"):
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return text.replace("\ufffd", "")

    def rest(self) -> str:
        return self._new().replace("\ufffd", "")

    def _new(self) -> str:
        return self._decode(None)[len(self._decode(self._read)) :]

    def _decode(self, end: int | None) -> str:
        tokens = self._tokens[self._start : end]
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
