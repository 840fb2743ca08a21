"""A Stepper made of questions: engines that are asked over a network give the next tokens one answer at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from ...core.errors import Unsupported
from ...core.ports import Engine, Stepper
from ...core.records import GenerateRequest, Sampling, TokenLogprob, Usage
from ...core.stream import collect

_END = 0
_ENDS = re.compile(r"</s>|<eos>|<end_of_turn>|<\|[^|]+\|>")
"""How tokens that end an answer are written; only their text comes over the network."""


def stepper(request: GenerateRequest, engine: Engine) -> Stepper | AskedStepper:
    """The engine itself where it can be driven by tokens, else one made of questions; raises Unsupported."""
    return engine if isinstance(engine, Stepper) else AskedStepper(request, engine)


class AskedStepper:
    """Drives an engine by one-token answers that go on from what was said; its token ids number texts.

    A token whose text is not whole characters is left out: it could not be said again.
    """

    def __init__(self, request: GenerateRequest, engine: Engine) -> None:
        if "said" not in engine.info.abilities or "top_logprobs" not in engine.info.parameters:
            raise Unsupported(
                f"{engine.info.name} cannot be driven token by token: that needs `said` and `top_logprobs`",
                parameter="decoding",
                engine=engine.info.name,
            )
        self.usage = Usage()
        self._request = replace(request, decoding=None, stream=False)
        self._engine = engine
        self._texts = [""]
        self._ids: dict[str, int] = {}

    async def encode(self, request: GenerateRequest) -> list[int]:
        """What was said as one token; the prompt has none, for every question carries it."""
        return [self._id(request.said)] if request.said else []

    async def decode(self, tokens: Sequence[int]) -> str:
        """The texts of the tokens."""
        return "".join(self._texts[token] for token in tokens)

    def ends(self) -> frozenset[int]:
        """One id stands for every token that ends an answer."""
        return frozenset({_END})

    @asynccontextmanager
    async def lease(self, width: int) -> AsyncIterator[Sequence[int]]:
        """There are no slots to hold."""
        yield range(width)

    async def step(
        self, contexts: Sequence[Sequence[int]], slots: Sequence[int], top: int, adapter: str | None = None
    ) -> list[list[tuple[int, float]]]:
        """One question a context, all at once; the adapter is the request's."""
        return await asyncio.gather(*(self._ask(context, top) for context in contexts))

    async def _ask(self, context: Sequence[int], top: int) -> list[tuple[int, float]]:
        sampling = Sampling(max_tokens=1, temperature=0.0, top_logprobs=top)
        question = replace(self._request, said=await self.decode(context), sampling=sampling)
        answer = await collect(self._engine.generate(question))
        self.usage += answer.usage
        if not answer.logprobs:
            return [(_END, 0.0)]  # it ended at once, which some servers do not give a probability
        return self._read(answer.logprobs[0], ended=not answer.text)

    def _read(self, row: TokenLogprob, ended: bool) -> list[tuple[int, float]]:
        """The likeliest end stands for all: their probabilities are those of one continuation."""
        found: dict[int, float] = {}
        for text, logprob in row.top:
            if _ENDS.fullmatch(text) or (ended and text == row.token):
                found.setdefault(_END, logprob)
            elif text and "\ufffd" not in text:
                found.setdefault(self._id(text), logprob)
        return list(found.items())

    def _id(self, text: str) -> int:
        if text not in self._ids:
            self._ids[text] = len(self._texts)
            self._texts.append(text)
        return self._ids[text]
