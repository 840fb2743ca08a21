"""64 agents with contexts of 1,000 tokens share 8 slots. How soon does each go on with its second turn?

python bench/switch.py [--json] [--agents 64] [--context 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from functools import partial

from common import Report, folder, gather, quantile, run, say
from serving import MODEL, Answer, Ask, Bed, bed, chat, settings

from llmagent_os.core.records import Message

SLOTS = 8


async def turns(bed: Bed, options: argparse.Namespace, ask: Ask) -> list[list[Message]]:
    """Everybody's first turn: the conversations that come of it."""
    conversations = [chat(bed.words(options.context)) for _ in range(options.agents)]
    answers = await gather(options.agents, lambda number: ask(conversations[number], 8))
    return [
        [*conversation, Message("assistant", "".join(answer.text)), Message("user", "Go on.")]
        for conversation, answer in zip(conversations, answers, strict=True)
    ]


async def in_turn(conversations: list[list[Message]], ask: Ask) -> list[Answer]:
    """Second turns one after the other: none finds its context on a slot."""
    return [await ask(conversation, 4) for conversation in conversations]


async def compare(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds to the next token: by restoring pages, and by computing everything again."""
    with folder() as path:
        async with bed(options, path, SLOTS, 2048) as made, made.system(settings(options)) as handles:
            ask = partial(made.through, handles["default"])
            say(f"switch: reading {options.agents} contexts of {options.context} tokens ...")
            conversations = await turns(made, options, ask)
            paged = await in_turn(conversations, ask)
            again = [chat(made.words(options.context)) for _ in range(SLOTS)]
            computed = [await ask(conversation, 4) for conversation in again]
    return {"paged": [a.first - a.asked for a in paged], "computed": [a.first - a.asked for a in computed]}


def measure(report: Report, options: argparse.Namespace) -> None:
    """Milliseconds."""
    found = asyncio.run(compare(options))
    case = f"{options.model}, {options.agents} agents, {options.context} tokens"
    report.add(case, "median from the call to the next token", 1000 * statistics.median(found["paged"]), "ms", 60)
    report.add(case, "p95", 1000 * quantile(found["paged"], 0.95), "ms")
    report.add(case, "computed again, median", 1000 * statistics.median(found["computed"]), "ms")


if __name__ == "__main__":
    run(
        "switch", __doc__, measure, **MODEL,
        agents=(int, 64, "agents"), context=(int, 1000, "tokens of a context"),
    )  # fmt: skip
