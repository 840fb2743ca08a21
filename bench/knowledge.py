"""How well and how fast what is known is found: labelled questions, and 100,000 passages.

`--data FOLDER` has folders of `passages.jsonl` (`id`, `title`, `text`) and `queries.jsonl` (`text`, and `gold`: the ids
of all that are needed, or `grades`: id -> gain), or is such a folder. No model is asked. Times are of a search in a
thread of its own, in memory (a store without a file) for the questions, on disk for the 100,000.

    python bench/knowledge.py [--data FOLDER] [--passages 100000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from common import Report, cpu, folder, run, say

from llmagent_os.core.records import Document, Place, Sought
from llmagent_os.kernel.journal import Journal
from llmagent_os.knowledge.base import Knowledge
from llmagent_os.stores.sqlite import SQLiteStore

HERE = Place("bench")
WITHIN = 10  # hits that are looked at
TARGETS = {"cranfield": {"nDCG@10": 0.36}, "hotpot": {"all@10": 0.96, "recall@5": 0.95}}
AGENTS = 100  # each has as many of the passages
TURNS = 30


def opened(path: Path | None = None) -> Knowledge:
    """Knowledge in memory, or in a file."""
    store = SQLiteStore(path)
    return Knowledge(store, Journal(store).append)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def ndcg(found: Sequence[str], grades: Mapping[str, float]) -> float:
    """The discounted gain of the first hits, of the best there could be."""
    gains = [grades.get(each, 0) for each in found[:WITHIN]]
    best = sorted(grades.values(), reverse=True)[:WITHIN]
    whole = sum(gain / math.log2(place + 2) for place, gain in enumerate(best))
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains)) / whole if whole else 0.0


async def quality(report: Report, data: Path) -> None:
    """What is found of one set."""
    known = opened()
    passages = lines(data / "passages.jsonl")
    await known.add(HERE, [Document(str(each["id"]), each["text"], each.get("title", "")) for each in passages])
    scores: dict[str, list[float]] = {}
    for query in lines(data / "queries.jsonl"):
        hits = await known.search(known.places("bench"), Sought(query["text"], 3 * WITHIN))
        found = list(dict.fromkeys(hit.source for hit in hits))
        if "grades" in query:
            scores.setdefault("nDCG@10", []).append(ndcg(found, query["grades"]))
            relevant = {each for each, gain in query["grades"].items() if gain > 0}
            scores.setdefault("recall@10", []).append(len(relevant & set(found[:WITHIN])) / max(len(relevant), 1))
        else:
            gold = set(map(str, query["gold"]))
            scores.setdefault("all@10", []).append(gold <= set(found[:WITHIN]))
            scores.setdefault("recall@5", []).append(len(gold & set(found[:5])) / len(gold))
    for metric, values in scores.items():
        least = TARGETS.get(data.name, {}).get(metric)
        report.add(f"{data.name}, {len(values)} questions", metric, mean(values), "", at_least=least)


def made(number: int, texts: Sequence[str]) -> list[Document]:
    """So many documents, each of words from a few of some texts, under a name of its own."""
    chance, words = random.Random(7), [text.split() for text in texts]
    documents = []
    for each in range(number):
        mixed = [word for source in chance.choices(words, k=3) for word in source[: len(source) // 3 + 1]]
        documents.append(Document(f"d{each}", " ".join(mixed), f"Item {each} {chance.choice(mixed)}"))
    return documents


async def speed(report: Report, number: int, texts: Sequence[str], questions: Sequence[str]) -> None:
    """How long it takes with many passages, which 100 agents share."""
    documents = made(number, texts)
    with folder() as path:
        known, each = opened(path / "journal.db"), number // AGENTS
        began, used, passages = time.perf_counter(), cpu(), 0
        for agent in range(AGENTS):
            passages += await known.add(Place("bench", f"a{agent}"), documents[agent * each : (agent + 1) * each])
        took = time.perf_counter() - began
        report.add(f"{passages} passages", "ingest", passages / took, "1/s", at_least=5000)
        report.add(f"{passages} passages", "ingest, of CPU", passages / (cpu() - used), "1/s of CPU")
        places = {"all": known.places("bench"), "1 %": known.places("bench", "a7")}
        for (name, looked), most in zip(places.items(), (30, 2), strict=True):
            times = []
            for turn in range(2 * TURNS):
                began = time.perf_counter()
                await known.search(looked, Sought(questions[turn % TURNS % len(questions)]))
                times.append(time.perf_counter() - began)
            warm = 1000 * median(times[TURNS:])
            report.add(f"{passages} passages", f"search p50, {name}", warm, "ms", at_most=most)
        times = []
        for turn in range(10):
            began = time.perf_counter()
            await known.add(
                Place("bench", "a7"), [Document(f"new{turn}", f"the zymurgist number{turn} is here", "New")]
            )
            found = await known.search(known.places("bench", "a7"), Sought(f"zymurgist number{turn}"))
            times.append(time.perf_counter() - began)
            assert f"new{turn}" in [hit.source for hit in found]  # names of other texts may lead elsewhere first
        report.add(f"{passages} passages", "one added and found", 1000 * median(times), "ms", at_most=50)
        known.close()


TEXTS = [
    "The museum of Ann Arbor was founded in 1901 by John Smith and holds old maps of the Great Lakes region",
    "A steam engine turns heat into motion and the valve gear of George Stephenson made it easy to reverse",
    "Rice is sown in spring in the valleys of the south and the terraces are older than the Song dynasty",
    "The committee met on Tuesday and agreed that the budget of the library will be doubled within two years",
]


async def measured(report: Report, given: argparse.Namespace) -> None:
    sets = [] if given.data is None else [given.data, *sorted(given.data.iterdir())]
    texts, questions = list[str](), list[str]()
    for data in (each for each in sets if (each / "passages.jsonl").is_file()):
        await quality(report, data)
        texts += [each["text"] for each in lines(data / "passages.jsonl")]
        questions += [each["text"] for each in lines(data / "queries.jsonl")]
    if given.passages:
        say(f"knowledge: {given.passages} passages")
        await speed(report, given.passages, texts or TEXTS, questions or TEXTS)


if __name__ == "__main__":
    run(
        "knowledge", __doc__ or "", lambda report, given: asyncio.run(measured(report, given)),
        data=(Path, None, "labelled sets"), passages=(int, 100_000, "how many to be fast with; 0: none"),
    )  # fmt: skip
