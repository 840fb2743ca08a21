"""32 agents start at once with one system prompt. When does each have its first token?

python bench/coldstart.py [--json] [--agents 32] [--prompt 500] [--tokens 256] [--rounds 2]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from common import Report, folder, gather, medians, run
from serving import MODEL, Answer, Ask, Bed, bed, chat, settings

SLOTS = 8


async def workload(bed: Bed, options: argparse.Namespace, ask: Ask) -> dict[str, float]:
    """Everybody asks something else under the same new system prompt."""
    system = bed.words(options.prompt)
    began = time.perf_counter()

    async def one(number: int) -> Answer:
        return await ask(chat(f"Tell me about number {number}.", system), options.tokens)

    answers = await gather(options.agents, one)
    firsts = sorted(each.first - began for each in answers)
    return {
        "first token median": statistics.median(firsts),
        "first token of the 8th": firsts[min(SLOTS, len(firsts)) - 1],
        "first token last": firsts[-1],
        "tokens/s": sum(each.tokens for each in answers) / (max(each.ended for each in answers) - began),
    }


async def compare(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Both sides in turns."""
    with folder() as path:
        async with bed(options, path, SLOTS, 2048) as made:
            rounds = [
                await made.sides(lambda ask: workload(made, options, ask), {"OS": settings(options)})
                for _ in range(options.rounds)
            ]
    return {side: medians([each[side] for each in rounds]) for side in rounds[0]}


def measure(report: Report, options: argparse.Namespace) -> None:
    """The ratios."""
    found = asyncio.run(compare(options))
    case = f"{options.model}, {options.agents} agents, prompt of {options.prompt}, {options.tokens} tokens"
    for side, values in found.items():
        for name, value in values.items():
            report.add(case, f"{side}: {name}", value, "tokens/s" if name == "tokens/s" else "s")
    ratio = found["direct"]["first token median"] / found["OS"]["first token median"]
    report.add(case, "first token median, direct over OS", ratio, "x", at_least=8)
    report.add(case, "tokens/s of direct", 100 * found["OS"]["tokens/s"] / found["direct"]["tokens/s"], "%")


if __name__ == "__main__":
    run(
        "coldstart", __doc__, measure, **MODEL,
        agents=(int, 32, "at once"), prompt=(int, 500, "tokens of the system prompt"),
        tokens=(int, 256, "tokens of an answer"), rounds=(int, 2, "rounds of each side"),
    )  # fmt: skip
