"""128 agents ask at once. Is the engine as fast as at its best concurrency, and is everybody served?

python bench/overload.py [--json] [--agents 128] [--slots 32]
"""

from __future__ import annotations

import argparse
import asyncio
import time

from common import Report, folder, gather, quantile, run, say
from serving import MODEL, Answer, Ask, Bed, bed, chat, settings

FIXED = (4, 8, 16, 24, 32)


async def workload(bed: Bed, options: argparse.Namespace, ask: Ask) -> dict[str, float]:
    """Everybody at once."""
    began = time.perf_counter()

    async def one(number: int) -> Answer:
        return await ask(chat(f"{bed.words(8)} {number}."), options.tokens)

    answers = await gather(options.agents, one)
    lasted = max(each.ended for each in answers) - began
    tokens = [each.tokens for each in answers]
    return {
        "tokens/s": sum(tokens) / lasted,
        "first token p99": quantile([each.first - began for each in answers], 0.99),
        "served": sum(count == options.tokens for count in tokens),
    }


def limited(ask: Ask, places: int) -> Ask:
    """At most so many questions at once."""
    places_left = asyncio.Semaphore(places)

    async def asked(*question: object) -> Answer:
        async with places_left:
            return await ask(*question)  # type: ignore[arg-type]

    return asked


async def compare(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The OS before and after every fixed concurrency of the engine itself: the mean of both."""
    found: dict[str, dict[str, float]] = {}
    with folder() as path:
        async with bed(options, path, options.slots, 512) as made:

            async def system() -> dict[str, float]:
                async with made.system(settings(options)) as handles:
                    sys = handles["default"]
                    result = await workload(made, options, lambda m, tokens: made.through(sys, m, tokens))
                    say(f"overload: learned {made.limits()}")
                    return result

            await workload(made, options, limited(made.direct, options.slots))  # the first to run finds cold memory
            runs = [await system()]
            for places in FIXED:
                if places <= options.slots:
                    found[f"{places} at once"] = await workload(made, options, limited(made.direct, places))
            runs.append(await system())
    found["OS"] = {key: (runs[0][key] + runs[1][key]) / 2 for key in runs[0]}
    return found


def measure(report: Report, options: argparse.Namespace) -> None:
    """The best fixed concurrency, and the OS against it."""
    found = asyncio.run(compare(options))
    case = f"{options.model}, {options.agents} agents x {options.tokens} tokens, {options.slots} slots"
    for side, values in found.items():
        report.add(case, f"{side}: tokens/s", values["tokens/s"], "tokens/s")
    best = max(values["tokens/s"] for side, values in found.items() if side != "OS")
    report.add(case, "OS of the best fixed", 100 * found["OS"]["tokens/s"] / best, "%", at_least=95)
    report.add(case, "OS: answers complete", found["OS"]["served"], "", at_least=options.agents)
    report.add(case, "OS: first token p99", found["OS"]["first token p99"], "s")


if __name__ == "__main__":
    run(
        "overload", __doc__, measure, **MODEL,
        agents=(int, 128, "at once"), slots=(int, 32, "slots of the engine"), tokens=(int, 64, "tokens of an answer"),
    )  # fmt: skip
