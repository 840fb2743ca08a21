"""How long the local engine takes for what it does: the constants of the simulator's cost model (`bench/sim.py`).

The tiny model decodes on 1, 2, 4 ... streams at once, which gives the time of a step as `base + each * streams` by
least squares; reads a long prompt; and saves and restores what it read. Medians over the rounds.

    python bench/fit.py [--json] [--streams 16] [--tokens 48] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

from common import Report, folder, gather, run

from llmagent_os.core.records import GenerateRequest, Message, ModelSpec, Sampling
from llmagent_os.llm.catalog import resolve
from llmagent_os.llm.llamacpp import LlamaCpp, open_engine

ENDS = {"0": -100.0, "2": -100.0}  # the tiny model's <|endoftext|> and <|im_end|>
PROMPT = 900  # words of a long prompt, a token or more each


def request(text: str, tokens: int) -> GenerateRequest:
    """A greedy answer of exactly so many tokens."""
    sampling = Sampling(max_tokens=tokens, temperature=0.0, logit_bias=ENDS)
    return GenerateRequest("tiny", (Message("user", text),), sampling=sampling)


async def step(engine: LlamaCpp, streams: int, tokens: int) -> float:
    """Seconds from token to token while so many answers are made: from the last first token to the first end."""
    firsts: list[float] = []
    ends: list[float] = []
    made: list[int] = []

    async def stream(number: int) -> None:
        seen = 0
        async with aclosing(engine.generate(request(f"{time.time_ns()} {number}: a story", tokens))) as chunks:
            async for chunk in chunks:
                seen += bool(chunk.text)
                if len(firsts) < streams and seen == 1:
                    firsts.append(time.perf_counter())
                if len(firsts) == streams and not ends:
                    made.append(1)
        ends.append(time.perf_counter())

    await gather(streams, stream)
    return streams * (ends[0] - firsts[-1]) / len(made)


async def pages(engine: LlamaCpp, path: Path) -> dict[str, float]:
    """Seconds a token to read a prompt, to save what was read, and to restore it."""
    text = f"{time.time_ns()} " + " ".join(str(number) for number in range(PROMPT // 3))
    work = await engine.begin(request(text, 1))
    marks = [time.perf_counter()]
    async with aclosing(work.run(0)) as chunks:
        async for _ in chunks:
            pass
    marks.append(time.perf_counter())
    tokens = await engine.save(0, path)
    marks.append(time.perf_counter())
    await engine.restore(1, path)
    marks.append(time.perf_counter())
    read, save, restore = (after - before for before, after in pairwise(marks))
    return {"read": read / tokens, "save": save / tokens, "restore": restore / tokens}


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope of the least squares line."""
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    return intercept, slope


async def fit(spec: ModelSpec, options: argparse.Namespace, path: Path) -> tuple[list[tuple[float, float]], dict]:
    """Step times by streams, and what a token costs that is read, saved or restored."""
    engine = await open_engine(spec)
    numbers = [n for n in (1, 2, 4, 8, 12, 16) if n <= options.streams]
    try:
        await step(engine, 1, options.tokens)
        rounds = [[await step(engine, n, options.tokens) for n in numbers] for _ in range(options.rounds)]
        costs = [await pages(engine, path / "page") for _ in range(options.rounds)]
    finally:
        await engine.close()
    steps = [statistics.median(values) for values in zip(*rounds, strict=True)]
    medians = {name: statistics.median(each[name] for each in costs) for name in costs[0]}
    return list(zip(numbers, steps, strict=True)), medians


def measure(report: Report, options: argparse.Namespace) -> None:
    """The constants, in milliseconds."""
    spec = asyncio.run(resolve("tiny"))
    spec = ModelSpec(spec.name, spec.engine, spec.source, window=2048, limit=options.streams)
    with folder() as path:
        points, costs = asyncio.run(fit(spec, options, path))
    for streams, seconds in points:
        report.add("tiny", f"step of {streams:.0f} streams", seconds * 1e3, "ms")
    for name, value in zip(("base", "each"), line(points), strict=True):
        report.add("tiny", name, value * 1e3, "ms")
    for name, value in costs.items():
        report.add("tiny", name, value * 1e3, "ms/token")


if __name__ == "__main__":
    run(
        "fit", __doc__, measure,
        streams=(int, 16, "at most at once"), tokens=(int, 48, "tokens a stream"), rounds=(int, 3, "rounds"),
    )  # fmt: skip
