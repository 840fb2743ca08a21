"""One generation of a `transformers` model on a worker thread: draw tokens, read them as text, stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from llguidance import LLMatcher
from transformers import GenerationConfig, LogitsProcessorList, RepetitionPenaltyLogitsProcessor, StoppingCriteriaList

from ..core.errors import EngineFailed, InvalidRequest
from ..core.records import FinishReason, Sampling, TokenLogprob
from .stops import Stops


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token added: text (none while a character is incomplete) and its log-probability where asked for."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """Why the generation ended, and how many tokens it drew."""

    finish: FinishReason
    tokens: int


Take = Callable[[Piece | End], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to generate: after the `prompt` tokens, until one of the `ends` tokens or one of the `stops` texts."""

    prompt: list[int]
    sampling: Sampling
    config: GenerationConfig
    ends: frozenset[int]
    stops: tuple[str, ...]
    matcher: LLMatcher | None


class Run:
    """Called with `take` on a worker thread; also the streamer that `generate` hands every token to."""

    def __init__(self, model: Any, tokenizer: Any, plan: Plan) -> None:
        self._model, self._plan = model, plan
        self._text = _Text(tokenizer)
        self._stops = Stops(plan.stops)
        self._scores = _Scores(tokenizer, plan.sampling.top_logprobs)
        self._take: Take = lambda event: True
        self._prompt_seen = False
        self._done = False
        self._finish: FinishReason = "length"
        self._tokens = 0

    def __call__(self, take: Take) -> None:
        """Generate; raises InvalidRequest for a value that transformers refuses, EngineFailed for torch's trouble."""
        self._take = take
        seed = self._plan.sampling.seed
        with nullcontext() if seed is None else torch.random.fork_rng():
            if seed is not None:
                torch.manual_seed(seed)
            self._generate()
        if not self._done:
            rest, _ = self._stops.add(self._text.rest())
            take(Piece(rest + self._stops.rest()))
        take(End(self._finish, self._tokens))

    def _generate(self) -> None:
        tokens = torch.tensor([self._plan.prompt], device=self._model.device)
        try:
            self._model.generate(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=self._plan.config,
                logits_processor=LogitsProcessorList(self._processors()),
                stopping_criteria=StoppingCriteriaList([self._stop]),
                streamer=self,
            )
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        except RuntimeError as error:
            raise EngineFailed(str(error), engine="transformers") from error

    def _processors(self) -> list[Any]:
        """In order: look at the model's own scores, penalise, constrain; `generate` adds temperature and cuts after."""
        sampling = self._plan.sampling
        processors: list[Any] = [self._scores] if sampling.top_logprobs is not None else []
        if sampling.repetition_penalty is not None:
            processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        processors.append(Shift(sampling, len(self._plan.prompt)))
        if self._plan.matcher is not None:
            processors.append(Constrain(self._plan.matcher))
        return processors

    def put(self, tokens: torch.Tensor) -> None:
        """`generate` calls this with the prompt first, then with every token."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        token = int(tokens)
        self._tokens += 1
        ended = token in self._plan.ends
        text, stopped = self._stops.add("" if ended else self._text.add(token))
        if ended or stopped:
            self._finish = "stop"
        self._done = self._take(Piece(text, self._scores.of(token))) or stopped

    def end(self) -> None:
        """`generate` calls this at the end."""

    def _stop(self, tokens: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((len(tokens),), self._done, device=tokens.device)


class Shift:
    """Presence and frequency penalties over the tokens drawn so far (not the prompt), and logit biases."""

    def __init__(self, sampling: Sampling, prompt: int) -> None:
        self._presence = sampling.presence_penalty or 0.0
        self._frequency = sampling.frequency_penalty or 0.0
        self._bias: Mapping[int, float] = {int(token): bias for token, bias in (sampling.logit_bias or {}).items()}
        self._prompt = prompt

    def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`generate`'s signature: tokens (1, length) and scores (1, vocabulary)."""
        scores = scores.clone()
        if self._presence or self._frequency:
            counts = torch.bincount(tokens[0, self._prompt :], minlength=scores.shape[-1])
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


class _Text:
    """Tokens to text as they come: a character cut between tokens waits, bytes that are no text are left out."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._start = self._read = 0  # decoding from `start` gives the white space before `read` its meaning

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
