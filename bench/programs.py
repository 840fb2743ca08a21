"""Programs of agents arrive at random: 1 to 20 calls, tool waits, heavy-tailed lengths, shared system prompts.

The same programs are run directly, under `fifo`, and under the policy; what counts is when a whole program is done.

    python bench/programs.py [--json] [--programs 60] [--rate 1.2] [--rounds 2]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common import Report, folder, medians, quantile, run, say
from serving import MODEL, Bed, bed, settings

from llmagent_os.core import codec
from llmagent_os.core.records import Json, Message
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.process import Program

SLOTS = 8
SYSTEMS = 4  # different system prompts


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a program arrives (seconds), its system prompt, and its calls: what it is told, tokens, wait afterwards."""

    arrives: float
    system: str
    calls: list[tuple[str, int, float]]

    @property
    def tokens(self) -> int:
        return sum(tokens for _, tokens, _ in self.calls)


def arrivals(bed: Bed, options: argparse.Namespace, seed: int) -> list[Arrival]:
    """Poisson arrivals; the number of calls is Pareto, the length of an answer lognormal, waits are exponential."""
    chance = random.Random(seed)
    systems = [bed.words(options.prompt) for _ in range(SYSTEMS)]
    found, now = [], 0.0
    for _ in range(options.programs):
        now += chance.expovariate(options.rate)
        calls = [
            (
                bed.words(12),
                max(4, min(300, round(chance.lognormvariate(3.0, 1.0)))),
                chance.expovariate(1 / options.wait),
            )
            for _ in range(min(20, int(chance.paretovariate(0.9))))
        ]
        found.append(Arrival(now, chance.choice(systems), calls))
    return found


Runner = Callable[[Arrival], Awaitable[None]]


async def workload(programs: list[Arrival], runner: Runner) -> dict[str, float]:
    """Start each program when it arrives."""
    began = time.perf_counter()

    async def one(arrival: Arrival) -> float:
        await asyncio.sleep(arrival.arrives)
        started = time.perf_counter()
        await runner(arrival)
        return time.perf_counter() - started

    times = await asyncio.gather(*(one(arrival) for arrival in programs))
    lasted = time.perf_counter() - began
    return {
        "mean": statistics.fmean(times),
        "median": statistics.median(times),
        "p95": quantile(list(times), 0.95),
        "tokens/s": sum(arrival.tokens for arrival in programs) / lasted,
    }


async def directly(bed: Bed, arrival: Arrival) -> None:
    """A program that asks llama.cpp."""
    messages = [Message("system", arrival.system)]
    for text, tokens, wait in arrival.calls:
        messages.append(Message("user", text))
        answer = await bed.direct(messages, tokens)
        messages.append(Message("assistant", "".join(answer.text)))
        await asyncio.sleep(wait)


def program(bed: Bed) -> Program:
    """The same as a process."""

    async def tells(sys: Sys, args: Json, state: Json) -> Json:
        messages = [Message("system", args["system"])]
        for text, tokens, wait in args["calls"]:
            messages.append(Message("user", text))
            answer = await sys.generate(bed.request(messages, tokens), stream=lambda chunk: None)
            messages.append(Message("assistant", answer.text))
            await sys.sleep(wait)

    return Program(tells)


async def sides(bed: Bed, options: argparse.Namespace, number: int) -> dict[str, dict[str, float]]:
    """One round: the same arrivals and lengths for all, each with words of its own."""
    found = {}
    for side in ("direct", "fifo", options.policy):
        programs = arrivals(bed, options, options.seed + number)
        say(f"programs: {side}, {sum(arrival.tokens for arrival in programs)} tokens ...")
        if side == "direct":
            found[side] = await workload(programs, lambda arrival: directly(bed, arrival))
            continue
        async with bed.system(settings(options, policy=side), {"tells": program(bed)}) as handles:
            sys = handles["default"]

            async def through(arrival: Arrival, sys: Sys = sys) -> None:
                await sys.wait(await sys.spawn("tells", codec.loads(codec.dumps(arrival))))

            found[side] = await workload(programs, through)
    return found


async def compare(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All sides in turns."""
    with folder() as path:
        async with bed(options, path, SLOTS, 4096) as made:
            rounds = [await sides(made, options, number) for number in range(options.rounds)]
    return {side: medians([each[side] for each in rounds]) for side in rounds[0]}


def measure(report: Report, options: argparse.Namespace) -> None:
    """The ratios."""
    found = asyncio.run(compare(options))
    case = f"{options.model}, {options.programs} programs, {options.rate:g} a second"
    for side, values in found.items():
        for name, value in values.items():
            report.add(case, f"{side}: {name}", value, "tokens/s" if name == "tokens/s" else "s")
    system = found[options.policy]
    for other in ("direct", "fifo"):
        report.add(case, f"mean of {other}", system["mean"] / found[other]["mean"], "", at_most=0.5)
    report.add(case, "tokens/s of direct", 100 * system["tokens/s"] / found["direct"]["tokens/s"], "%", at_least=95)


if __name__ == "__main__":
    run(
        "programs", __doc__, measure, **MODEL,
        programs=(int, 60, "programs"), rate=(float, 1.2, "arrivals a second"), wait=(float, 0.5, "mean tool wait"),
        prompt=(int, 200, "tokens of a system prompt"), seed=(int, 1, "of the workload"),
        rounds=(int, 2, "rounds of each side"),
    )  # fmt: skip
