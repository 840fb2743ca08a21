"""What a beam search costs, and what it finds: width 4, 32 tokens, on the tiny model.

Speed: the search against four greedy streams of the same prompt at once, in turns, on one loaded engine and with a
prompt that comes only once. Both make 32 tokens: the streams may not end, and the prompts are such that no search does.
Quality: over many prompts, the best answer's score (summed log-probability over length) against that of the greedy
answer, which is a search of width 1.

    python bench/beam.py [--json] [--width 4] [--tokens 32] [--rounds 10] [--prompts 100]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from common import Report, gather, interleaved, run
from engine import ENDS

from llmagent_os.core.records import Decoding, GenerateRequest, Generation, Message, ModelSpec, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.llm.catalog import resolve
from llmagent_os.llm.decoding import decoded
from llmagent_os.llm.llamacpp import LlamaCpp, open_engine

SAME = 1e-3  # nats a token: what one answer's score moves by with the batches it was computed in
QUESTIONS = (
    "Tell me a long story about number {} and its friends.",
    "What is the capital of country number {} on a list of countries by name?",
    "Write one line of a poem about {} birds.",
    "Is {} an odd number? Answer yes or no.",
    "Name a fruit that costs {} cents.",
)


class Bed:
    """One engine, and prompts that come only once."""

    def __init__(self, engine: LlamaCpp, width: int, tokens: int) -> None:
        self.engine, self.width, self.tokens = engine, width, tokens
        self._asked = 0

    def request(self, question: str, width: int | None = None, **sampling: Any) -> GenerateRequest:
        """A question with a new number in it, to be searched where `width` is given."""
        self._asked += 1
        return self.again(question.format(self._asked), width, **sampling)

    def again(self, text: str, width: int | None = None, **sampling: Any) -> GenerateRequest:
        """The text itself."""
        decoding = None if width is None else Decoding("beam", width=width, early_stopping=width == 1)
        drawn = Sampling(max_tokens=self.tokens, temperature=0.0, **sampling)
        return GenerateRequest("tiny", (Message("user", text),), sampling=drawn, decoding=decoding)

    async def search(self) -> dict[str, float]:
        """Seconds of one search."""
        request = self.request(QUESTIONS[0], self.width)
        began = time.perf_counter()
        answer = await self._ask(request)
        took = time.perf_counter() - began
        looked = 1 + self.width * (self.tokens - 1)
        if answer.usage.output_tokens != looked:
            raise SystemExit(f"the search should look at {looked} tokens, not {answer.usage.output_tokens}")
        return {"seconds": took}

    async def streams(self) -> dict[str, float]:
        """Seconds of as many greedy streams at once."""
        request = self.request(QUESTIONS[0], logit_bias=ENDS)
        began = time.perf_counter()
        answers = await gather(self.width, lambda number: self._ask(request))
        took = time.perf_counter() - began
        if any(answer.usage.output_tokens != self.tokens for answer in answers):
            raise SystemExit(f"every stream should have {self.tokens} tokens")
        return {"seconds": took}

    async def scores(self, number: int) -> tuple[float, float]:
        """The best score of a search, and the greedy answer's."""
        text = QUESTIONS[number % len(QUESTIONS)].format(number)
        found, greedy = [await self._ask(self.again(text, width)) for width in (self.width, 1)]
        return found.alternatives[0].score, greedy.alternatives[0].score

    async def _ask(self, request: GenerateRequest) -> Generation:
        return await collect(decoded(request, self.engine))


async def compare(spec: ModelSpec, report: Report, options: argparse.Namespace) -> None:
    """Both sides in turns, then the scores."""
    engine = await open_engine(spec)
    bed = Bed(engine, options.width, options.tokens)
    try:
        cases = {"beam": bed.search, "streams": bed.streams}
        await interleaved(cases, 1)
        found = await interleaved(cases, options.rounds)
        scores = [await bed.scores(number) for number in range(options.prompts)]
    finally:
        await engine.close()
    case = f"width {options.width}, {options.tokens} tokens"
    for side, values in found.items():
        report.add(case, side, values["seconds"], "s")
    report.add(case, "beam of streams", found["beam"]["seconds"] / found["streams"]["seconds"], "x", at_most=3)
    better = [best - greedy for best, greedy in scores]
    report.add(case, "mean gain over greedy", sum(better) / len(better), "nats a token")
    report.add(case, "prompts", len(better), "")
    report.add(case, "lower than greedy", sum(gain < -SAME for gain in better), "prompts", at_most=0)


def measure(report: Report, options: argparse.Namespace) -> None:
    """Time against streams, score against greedy."""
    spec = asyncio.run(resolve("tiny"))
    spec = ModelSpec(spec.name, spec.engine, spec.source, window=1024, limit=options.width)
    asyncio.run(compare(spec, report, options))


if __name__ == "__main__":
    run(
        "beam", __doc__, measure,
        width=(int, 4, "hypotheses"), tokens=(int, 32, "the most of an answer"),
        rounds=(int, 10, "rounds of each side"), prompts=(int, 100, "prompts whose scores are compared"),
    )  # fmt: skip
