"""Several answers drawn at once, of which the best is returned: by a score, or by a vote of the answers themselves."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from inspect import isawaitable
from types import MappingProxyType
from typing import TypeVar

from ...core import codec
from ...core.errors import Unsupported, not_found
from ...core.ports import Engine
from ...core.records import Alternative, Chunk, Decoding, GenerateRequest, Generation, Usage
from ...core.stream import collect
from .bans import restrained

_TEMPERATURE = 0.7  # where the request names none (Wang et al. 2022): greedy draws would all be the same

_T = TypeVar("_T")

Scorer = Callable[[str, str], float | Awaitable[float]]
"""`(prompt, answer)` -> how good the answer is; higher is better."""

NO_SCORERS: Mapping[str, Scorer] = MappingProxyType({})


async def best_of(
    request: GenerateRequest, engine: Engine, scorers: Mapping[str, Scorer] = NO_SCORERS
) -> AsyncIterator[Chunk]:
    """The best of `width` draws, with the `n` best as alternatives.

    Scored by `logprob`, the summed log-probability over `length ** length_penalty`, or by one of `scorers`. Raises
    NotFound for a scorer that is not there, Unsupported where the engine gives no log-probabilities.
    """
    decoding = request.decoding or Decoding()
    scored = decoding.scorer == "logprob"
    if not scored and decoding.scorer not in scorers:
        raise not_found("scorer", decoding.scorer, ("logprob", *scorers))
    if scored and "top_logprobs" not in engine.info.parameters:
        raise Unsupported(f"{engine.info.name} gives no log-probabilities: name a scorer", parameter="scorer")
    drawn = await _draw(request, engine, with_logprobs=scored)
    if scored:
        scores = [_likelihood(each, decoding.length_penalty) for each in drawn]
    else:
        scores = await _together([_judge(scorers[decoding.scorer], _prompt(request), each.text) for each in drawn])
    ranked = sorted(zip(drawn, scores, strict=True), key=lambda pair: pair[1], reverse=True)
    yield _answer(request, drawn, ranked)


async def vote(request: GenerateRequest, engine: Engine) -> AsyncIterator[Chunk]:
    """The answer that most of `width` draws end in (self-consistency, Wang et al. 2022); ties go to the likelier.

    An alternative is the likeliest draw of each final answer; its score is the share of the votes.
    """
    drawn = await _draw(request, engine, with_logprobs="top_logprobs" in engine.info.parameters)
    groups: dict[str, list[Generation]] = defaultdict(list)
    for each in sorted(drawn, key=_likelihood, reverse=True):
        groups[final_answer(each.text)].append(each)
    ranked = sorted(groups.values(), key=len, reverse=True)  # keeps the likelier first among equals
    yield _answer(request, drawn, [(group[0], len(group) / len(drawn)) for group in ranked])


def _answer(request: GenerateRequest, drawn: Sequence[Generation], ranked: Sequence[tuple[Generation, float]]) -> Chunk:
    n, best = (request.decoding or Decoding()).n, ranked[0][0]
    return Chunk(
        best.text,
        best.logprobs if request.sampling.top_logprobs is not None else (),
        best.tool_calls,
        best.finish,
        sum((each.usage for each in drawn), Usage()),
        tuple(Alternative(each.text, score) for each, score in ranked[:n]),
    )


async def _draw(request: GenerateRequest, engine: Engine, with_logprobs: bool) -> list[Generation]:
    """All at once; each obeys the bans of the request."""
    decoding, sampling = request.decoding or Decoding(), request.sampling
    if sampling.temperature is None:
        sampling = replace(sampling, temperature=_TEMPERATURE)
    if with_logprobs:
        sampling = replace(sampling, top_logprobs=sampling.top_logprobs or 0)
    bans = replace(Decoding(), banned=decoding.banned, topics=decoding.topics)
    bound = bool(bans.banned or bans.topics)
    works = []
    for number in range(decoding.width):
        seed = None if sampling.seed is None else (sampling.seed + number) % 2**32
        one = replace(request, sampling=replace(sampling, seed=seed), decoding=bans if bound else None, stream=False)
        works.append(collect(restrained(one, engine) if bound else engine.generate(one)))
    return await _together(works)


async def _together(works: Sequence[Awaitable[_T]]) -> list[_T]:
    """The results in order; the first failure, or being cancelled, ends them all."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _judge(scorer: Scorer, prompt: str, answer: str) -> float:
    score = scorer(prompt, answer)
    return await score if isawaitable(score) else score


def _prompt(request: GenerateRequest) -> str:
    """What was asked, as a scorer sees it."""
    return request.prompt or "\n\n".join(message.text for message in request.messages if message.text)


def _likelihood(answer: Generation, length_penalty: float = 1.0) -> float:
    logprobs = [each.logprob for each in answer.logprobs]
    return sum(logprobs) / max(1, len(logprobs)) ** length_penalty


_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_MARKED = re.compile(r"(?:\banswer\b\s*(?:is\b|[:=])|答案\s*[是为：:])[ \t:：]*(.+)", re.IGNORECASE)
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


def final_answer(text: str) -> str:
    """What a text comes to, in a form that equal answers share.

    It is the last `\\boxed{}`, the JSON value (its `answer`, where it has one), what follows "answer:" or "answer is",
    or the last line. A single number in it stands for it; else case, spacing and closing punctuation do not count.
    """
    found = _value(text)
    if found is None:
        marked = _BOXED.findall(text) or _MARKED.findall(text) or text.strip().splitlines() or [""]
        found = marked[-1]
    numbers = _NUMBER.findall(found)
    if len(numbers) == 1:
        number = Decimal(numbers[0].replace(",", ""))
        return f"{number.normalize():f}" if number else "0"
    return " ".join(found.casefold().split()).strip(" .,;:!。'\"*_$`")


def _value(text: str) -> str | None:
    """The JSON value that a text is, as text."""
    try:
        value = codec.loads(text)
    except ValueError:
        return None
    if isinstance(value, dict) and "answer" in value:
        value = value["answer"]
    return codec.words(value)
