"""A tiny language model whose every probability is known: a Markov chain of order one, as an Engine and a Stepper."""

from __future__ import annotations

import math
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from llmagent_os.core.records import (
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    GenerateRequest,
    TokenLogprob,
    Usage,
)
from llmagent_os.llm.engines import check

END = 0
END_TEXT = "</s>"


class Talker:
    """An Engine that can only be asked. `pieces` are the texts of its tokens; token 0 ends an answer.

    The same `seed` makes the same chain; what a prompt says does not matter to it. At `temperature` 0 it takes the
    likeliest token, else it draws with the request's seed. It leaves stop texts to others.
    """

    def __init__(self, pieces: Sequence[str], seed: int = 0) -> None:
        self.info = EngineInfo(
            "chain", "chain", window=256, abilities=frozenset({"prompt", "chat", "said", "choices"}), limit=8
        )
        self.pieces = [END_TEXT, *pieces]
        draw = random.Random(seed)
        weights = [[draw.expovariate(1.0) + 1e-6 for _ in self.pieces] for _ in self.pieces]
        self.rows = [[math.log(weight / sum(row)) for weight in row] for row in weights]
        self._split = re.compile("|".join(map(re.escape, sorted(pieces, key=len, reverse=True))))

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """A chunk a token."""
        check(request, self.info)
        if request.choices is not None:
            yield _chosen(request, request.choices)
            return
        context = await self.encode(request)
        read, most, draw, token = len(context), request.sampling.max_tokens or 64, random.Random(), -1
        draw.seed(request.sampling.seed)
        while len(context) - read < most and token != END:
            row = self.rows[context[-1]]
            greedy = request.sampling.temperature == 0
            token = row.index(max(row)) if greedy else draw.choices(range(len(row)), list(map(math.exp, row)))[0]
            yield Chunk(self.pieces[token] if token != END else "", self._logprobs(row, token, request))
            context.append(token)
        yield Chunk(finish="stop" if token == END else "length", usage=Usage(read, len(context) - read))

    def _logprobs(self, row: list[float], token: int, request: GenerateRequest) -> tuple[TokenLogprob, ...]:
        top = request.sampling.top_logprobs
        if top is None:
            return ()
        best = sorted(zip(self.pieces, row, strict=True), key=lambda pair: -pair[1])[:top]
        return (TokenLogprob(self.pieces[token], row[token], tuple(best)),)

    async def encode(self, request: GenerateRequest) -> list[int]:
        """A start (whose row is that of the end token), and what was said."""
        return [END, *(self.pieces.index(piece) for piece in self._split.findall(request.said))]

    async def embed(self, request: EmbedRequest) -> Embeddings:
        raise NotImplementedError

    async def count_tokens(self, request: GenerateRequest) -> int:
        return len(await self.encode(request))

    def health(self) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing is held."""


class Chain(Talker):
    """The same model as a Stepper with `slots` slots; `read` counts the tokens that its slots did not hold yet."""

    def __init__(self, pieces: Sequence[str], seed: int = 0, slots: Sequence[int] = range(64)) -> None:
        super().__init__(pieces, seed)
        self.read = 0
        self._slots = slots
        self._held: dict[int, list[int]] = {}

    async def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self.pieces[token] for token in tokens if token != END)

    def ends(self) -> frozenset[int]:
        return frozenset({END})

    @asynccontextmanager
    async def lease(self, width: int) -> AsyncIterator[Sequence[int]]:
        assert width <= len(self._slots)
        yield self._slots[:width]

    async def step(
        self, contexts: Sequence[Sequence[int]], slots: Sequence[int], top: int, adapter: str | None = None
    ) -> list[list[tuple[int, float]]]:
        assert len(set(slots)) == len(contexts) and set(slots) <= set(self._slots)
        for context, slot in zip(contexts, slots, strict=True):
            held = self._held.get(slot, [])
            same = next((i for i, pair in enumerate(zip(context, held, strict=False)) if len(set(pair)) > 1), len(held))
            self.read += len(context) - min(same, len(context))
            self._held[slot] = list(context)
        return [sorted(enumerate(self.rows[context[-1]]), key=lambda pair: -pair[1])[:top] for context in contexts]


def _chosen(request: GenerateRequest, choices: Sequence[str]) -> Chunk:
    """The first choice that the text at the end of the question contains, else the last: a judge of topics."""
    text = request.messages[-1].text.partition("Text: ")[2]
    return Chunk(next((each for each in choices if each in text), choices[-1]), finish="stop", usage=Usage(1, 1))
