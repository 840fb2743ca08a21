"""Long answers hold every slot; short ones arrive. How long do these take, and what does it cost the long ones?

python bench/mixed.py [--json] [--model tiny] [--long 1000] [--rounds 2]
"""

from __future__ import annotations

import argparse
import asyncio
import time

from common import Report, folder, medians, quantile, run
from serving import MODEL, Answer, Ask, Bed, bed, chat, settings

SLOTS = 8


async def workload(bed: Bed, options: argparse.Namespace, ask: Ask) -> dict[str, float]:
    """8 long answers at once, 24 short ones spread over the time that they would take."""
    began = time.perf_counter()
    longs = [asyncio.ensure_future(ask(chat(f"{bed.words(8)}. A story."), options.long)) for _ in range(SLOTS)]

    async def short(number: int) -> Answer:
        await asyncio.sleep(1.0 + options.gap * number)
        return await ask(chat(f"{bed.words(8)}. One sentence."), options.short)

    shorts = await asyncio.gather(*(short(number) for number in range(options.shorts)))
    answers = await asyncio.gather(*longs)
    everything = [*shorts, *answers]
    return {
        "short p95": quantile([each.ended - each.asked for each in shorts], 0.95),
        "short first token p95": quantile([each.first - each.asked for each in shorts], 0.95),
        "last long": max(each.ended - each.asked for each in answers),
        "tokens/s": sum(each.tokens for each in everything) / (max(each.ended for each in everything) - began),
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
    case = f"{options.model}, 8 x {options.long} + {options.shorts} x {options.short} tokens"
    for side, values in found.items():
        for name, value in values.items():
            report.add(case, f"{side}: {name}", value, "tokens/s" if name == "tokens/s" else "s")
    direct, system = found["direct"], found["OS"]
    report.add(case, "short p95 of direct", system["short p95"] / direct["short p95"], "", at_most=0.25)
    report.add(case, "tokens/s of direct", 100 * system["tokens/s"] / direct["tokens/s"], "%", at_least=95)
    report.add(case, "last long of direct", system["last long"] / direct["last long"], "", at_most=1.3)


if __name__ == "__main__":
    run(
        "mixed", __doc__, measure, **MODEL,
        long=(int, 1000, "tokens of a long answer"), short=(int, 16, "tokens of a short one"),
        shorts=(int, 24, "short answers"), gap=(float, 1.0, "seconds from one short one to the next"),
        rounds=(int, 2, "rounds of each side"),
    )  # fmt: skip
