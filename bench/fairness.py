"""Two tenants, one of which asks for ten times as much. Who gets what, and does the other one notice?

python bench/fairness.py [--json] [--seconds 40]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from functools import partial

from common import Report, folder, quantile, run
from serving import MODEL, Answer, Ask, Bed, bed, chat, settings

SLOTS = 8


def jain(shares: list[float]) -> float:
    """Jain's index: 1 where all are equal, 1/n where one has everything (Jain, Chiu, Hawe 1984)."""
    return sum(shares) ** 2 / (len(shares) * sum(each * each for each in shares))


async def tenant(bed: Bed, ask: Ask, streams: int, until: float, tokens: int) -> list[Answer]:
    """So many streams that ask again as soon as they are answered."""

    async def stream(number: int) -> list[Answer]:
        answers = []
        while time.perf_counter() < until:
            answers.append(await ask(chat(f"{bed.words(6)} {number}."), tokens))
        return answers

    return [answer for part in await asyncio.gather(*(stream(n) for n in range(streams))) for answer in part]


async def contend(bed: Bed, options: argparse.Namespace, heavy: int) -> tuple[float, float]:
    """Jain's index of the tokens served while both ask, and the light tenant's p95."""
    async with bed.system(settings(options, policy="fair"), tenants=("light", "heavy")) as handles:
        began = time.perf_counter()
        until = began + options.seconds
        light, other = await asyncio.gather(
            tenant(bed, partial(bed.through, handles["light"]), SLOTS, until, options.tokens),
            tenant(bed, partial(bed.through, handles["heavy"]), heavy, until, options.tokens),
        )
    served = [sum(answer.tokens for answer in answers if answer.ended <= until) for answers in (light, other)]
    return jain([float(each) for each in served]), quantile([a.ended - a.asked for a in light], 0.95)


async def compare(options: argparse.Namespace) -> list[tuple[float, float]]:
    """The heavy tenant with its fair share of streams, then with ten times as many."""
    with folder() as path:
        async with bed(options, path, SLOTS, 1024) as made:
            return [await contend(made, options, SLOTS), await contend(made, options, 10 * SLOTS)]


def measure(report: Report, options: argparse.Namespace) -> None:
    """Jain's index, and the ratio of the p95."""
    (_, alone), (index, beside) = asyncio.run(compare(options))
    case = f"{options.model}, {SLOTS} and {10 * SLOTS} streams on {SLOTS} slots"
    report.add(case, "Jain's index of served tokens", index, "", at_least=0.95)
    report.add(case, "light tenant's p95, the other with its fair share", alone, "s")
    report.add(case, "light tenant's p95, the other with ten times that", beside, "s")
    report.add(case, "ratio", beside / alone, "", at_most=1.5)


if __name__ == "__main__":
    run(
        "fairness", __doc__, measure, **MODEL,
        seconds=(float, 40.0, "seconds of each case"), tokens=(int, 48, "tokens of an answer"),
    )  # fmt: skip
