"""Whether agents remember each thing once, of a matter the newest, and lose nothing that was acknowledged.

So many things are remembered, and some of them again: half of the copies word for word, half in other case, with words
that say nothing, a part moved, or a letter wrong. The things differ from one another in a name, a number or a word.
Then facts about a matter, each contradicted by a later one, told in any order. At last a process that remembers is
killed with SIGKILL at random moments, and started again; what it had acknowledged is looked for.

    python bench/memory.py [--items 20000] [--again 1000] [--kills 50] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

from common import Report, cpu, folder, run, say

from llmagent_os.core.records import Document, Place
from llmagent_os.kernel.journal import Journal
from llmagent_os.knowledge.base import Knowledge
from llmagent_os.knowledge.memory import MEMORY, Memory
from llmagent_os.stores.sqlite import SQLiteStore

HERE = Place("bench", "clerk", "ann")
NAMES = [
    "Ada", "Bela", "Carl", "Dora", "Emil", "Frida", "Gero", "Hanna", "Ivo", "Jana", "Karl",
    "Lena", "Milo", "Nora", "Otto", "Paula", "Quirin", "Rosa", "Sven", "Tina",
]  # fmt: skip
FAMILIES = [
    "Adler", "Berger", "Conrad", "Dietz", "Ebert", "Fuchs", "Graf", "Haas", "Jung", "Kern",
    "Lang", "Maier", "Noll", "Ott", "Pohl", "Roth", "Sauer", "Thiel",
]  # fmt: skip
THINGS = [
    "invoice", "contract", "parcel", "ticket", "bicycle", "printer", "meeting", "lecture",
    "garden", "passport", "kitchen", "violin",
]  # fmt: skip
DEEDS = ["lost", "sold", "ordered", "repaired", "returned", "cancelled", "praised", "borrowed", "painted", "insured"]
TOWNS = ["Lisbon", "Prague", "Vienna", "Turin", "Basel", "Ghent", "Leeds", "Malmo", "Porto", "Cork"]


def items(number: int, chance: random.Random) -> list[str]:
    """So many things that differ."""
    found = dict[str, None]()
    while len(found) < number:
        who, thing = f"{chance.choice(NAMES)} {chance.choice(FAMILIES)}", chance.choice(THINGS)
        deed, town = chance.choice(DEEDS), chance.choice(TOWNS)
        day, count = chance.randint(1, 28), chance.randint(100, 999)
        found[f"On the {day} of May, {who} {deed} the {thing} {count} at the office of {town}."] = None
    return list(found)


def nearly(text: str, chance: random.Random) -> str:
    """The same in other words, as far as those say nothing, or with a letter wrong."""
    head, rest = text.rstrip(".").split(", ")
    kind = chance.randrange(4)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return f"{rest} on the {head.removeprefix('On the ')}"
    if kind == 2:
        return f"{head}, {rest.replace(' the ', ' really the ', 1)}!"
    word = next(word for word in rest.split() if word in {*DEEDS, *THINGS} and len(word) > 5)
    place = len(word) // 2
    return text.replace(word, word[:place] + word[place + 1 :], 1)


def opened(path: Path | None) -> Knowledge:
    store = SQLiteStore(path)
    return Knowledge(store, Journal(store).append)


async def kept(report: Report, number: int, again: int, path: Path) -> None:
    """How many are refused, and what is known of a matter."""
    chance = random.Random(13)
    known = opened(path)
    memory, texts = Memory(known), items(number, chance)
    began, used = time.perf_counter(), cpu()
    sources = [await memory.keep(HERE, Document("", text)) for text in texts]
    took, used = time.perf_counter() - began, cpu() - used
    wrong = number - len(set(sources))
    case = f"{number} things"
    report.add(case, "remembered", number / took, "1/s")
    report.add(case, "remembered, of CPU", number / used, "1/s of CPU")
    report.add(case, "distinct ones refused", 100 * wrong / number, "%", at_most=0.5)
    picked = chance.sample(range(number), again)
    long = [n for n in picked if any(word in texts[n] for word in ("invoice", "contract", "bicycle", "printer"))]
    exact, near = picked[: again // 2], (long * again)[: again - again // 2]
    same = sum([await memory.keep(HERE, Document("", texts[n])) == sources[n] for n in exact])
    same += sum([await memory.keep(HERE, Document("", nearly(texts[n], chance))) == sources[n] for n in near])
    report.add(f"{again} exact and near duplicates", "refused", 100 * same / again, "%", at_least=98)
    facts = [(n, at) for n in range(again) for at in (1.0, 2.0, 3.0)]
    chance.shuffle(facts)
    for n, at in facts:
        about = f"where {NAMES[n % 20]} {n} lives"
        text = f"{NAMES[n % 20]} {n} lives in {TOWNS[int(n + at) % 10]}"
        await memory.keep(HERE, Document("", text, about, at), about)
    newest = whole = 0
    for document in known.documents(known.places("bench"), limit=-1):
        if document.source.startswith(f"{MEMORY}about/"):
            newest += document.at == 3.0
            whole += {each["at"] for each in memory.history(HERE, document.source)} == {1.0, 2.0}
    report.add(f"{again} contradictions by time", "newest wins", 100 * newest / again, "%", at_least=100)
    report.add(f"{again} contradictions by time", "history whole", 100 * whole / again, "%", at_least=100)
    known.close()


async def killed(report: Report, kills: int, path: Path) -> None:
    """What of acknowledged memories is lost over kills."""
    chance, acknowledged = random.Random(5), list[str]()
    for kill in range(kills):
        with subprocess.Popen(  # noqa: ASYNC220 - nothing else is done meanwhile
            [sys.executable, __file__, "--writes", str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            writer.kill()
            acknowledged += [line.strip() for line in (first, *writer.stdout.readlines()) if line.endswith("\n")]
        if (kill + 1) % 10 == 0:
            say(f"memory: {kill + 1} kills, {len(acknowledged)} acknowledged")
    known = opened(path)
    there = known.sources(HERE, MEMORY)
    lost = sum(source not in there for source in acknowledged)
    found = known.documents(known.places("bench"), limit=-1)
    torn = sum(not known.read(each) or not each.hash for each in found)
    report.add(f"{kills} kills", "acknowledged", len(acknowledged), "")
    report.add(f"{kills} kills", "acknowledged and lost", lost, "", at_most=0)
    report.add(f"{kills} kills", "there in part", torn, "", at_most=0)
    known.close()


async def write(path: Path) -> None:
    """Remember until killed, and say what."""
    memory = Memory(opened(path))
    for text in items(100_000, random.Random(time.time_ns())):
        print(await memory.keep(HERE, Document("", text)), flush=True)


async def measured(report: Report, given: argparse.Namespace) -> None:
    with folder() as path:
        if given.items:
            await kept(report, given.items, min(given.again, given.items), path / "journal.db")
        if given.kills:
            await killed(report, given.kills, path / "killed.db")


if __name__ == "__main__":
    if "--writes" in sys.argv:
        asyncio.run(write(Path(sys.argv[-1])))
    else:
        run(
            "memory", __doc__ or "", lambda report, given: asyncio.run(measured(report, given)),
            items=(int, 20_000, "things that are remembered"), kills=(int, 50, "how often a writer is killed"),
            again=(int, 1000, "duplicates, and contradictions"),
        )  # fmt: skip
