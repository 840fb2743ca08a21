"""Rules over the nouns of WordNet: one question, one proof, everything that follows, one fact more or less.

    apt-get install wordnet-base      # the facts: /usr/share/wordnet/data.noun
    python bench/reason.py [--data FOLDER] [--json]

CPU seconds of this process: of the reasoner alone, then of facts in a store (`--joined 0` leaves that out).
335,000 facts: words, glosses, hypernyms, parts. Hypernymy is transitive, parts are inherited.
Proofs are checked by `reason_check`, which shares no code with what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import reason_check
from common import Report, run, say

from llmagent_os.core.records import Place
from llmagent_os.knowledge.base import Knowledge
from llmagent_os.knowledge.facts import FactBase
from llmagent_os.knowledge.rules import Fact, Given, Program, Reasoner, Statement, explain
from llmagent_os.stores.sqlite import SQLiteStore

RULES = """
is_a(X, Y) :- hypernym(X, Y).
is_a(X, Z) :- is_a(X, Y), hypernym(Y, Z).
has_part(X, P) :- part(X, P).
has_part(X, P) :- is_a(X, Y), part(Y, P).
"""
KINDS = {"@": "hypernym", "@i": "hypernym", "%p": "part", "%m": "part", "%s": "part"}
MISSING = """{file} is not there. It comes with the Debian package wordnet-base (6 MB):
    apt-get install wordnet-base
or, without installing it, in any folder:
    apt-get download wordnet-base && dpkg-deb -x wordnet-base_*.deb .
    python bench/reason.py --data usr/share/wordnet"""
Row = tuple[str, tuple[str, str], Given]


def facts(file: Path) -> Iterator[Row]:
    """The facts of WordNet's file of nouns; each says in which line it stands."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith(" "):
                continue  # the licence
            head, gloss = line.split(" | ", 1)
            fields = head.split()
            noun, words, given = fields[0], int(fields[3], 16), Given(f"data.noun, line {number}")
            yield "gloss", (noun, gloss.strip()), given
            for n in range(words):
                yield "word", (noun, fields[4 + 2 * n]), given
            for n in range(5 + 2 * words, len(fields) - 3, 4):
                sign, other, kind = fields[n : n + 3]
                if kind == "n" and sign in KINDS:
                    yield KINDS[sign], (noun, other), given


def each(calls: Iterable[Callable[[], object]]) -> float:
    """Milliseconds of CPU of a call, in the middle."""
    taken = []
    for call in calls:
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken) * 1000


def measure(report: Report, given: argparse.Namespace) -> None:
    file = Path(given.data) / "data.noun"
    if not file.is_file():
        sys.exit(MISSING.format(file=file))
    known = list(facts(file))
    chance = random.Random(given.seed)
    nouns = chance.sample(sorted({row[0] for name, row, _ in known if name == "hypernym"}), given.questions)
    start = time.process_time()
    reasoner = Reasoner(Program.read(RULES))
    reasoner.change(known)
    report.add("facts", f"{len(known)} read in", time.process_time() - start, "s CPU")

    def proved(noun: str) -> None:
        for answer in reasoner.ask(f'has_part("{noun}", X)'):
            explain(reasoner, answer.fact)

    reasoner.ask('is_a("", X)'), reasoner.ask('has_part("", X)')  # the plans are made once
    report.add("a question", "ancestors", each(lambda noun=noun: reasoner.ask(f'is_a("{noun}", X)') for noun in nouns),
               "ms CPU", at_most=0.1)  # fmt: skip
    report.add(
        "a question",
        "inherited parts",
        each(lambda n=noun: reasoner.ask(f'has_part("{n}", X)') for noun in nouns),
        "ms CPU",
    )
    report.add("a question", "inherited parts, each with its proof",
               each(lambda noun=noun: proved(noun) for noun in nouns), "ms CPU", at_most=1)  # fmt: skip
    start = time.process_time()
    reasoner.saturate()
    follows = sum(len(reasoner.relations[name].rows) for name in ("is_a", "has_part"))
    report.add("everything", f"{follows} facts with their reasons", time.process_time() - start, "s CPU", at_most=6)
    report.add(
        "everything",
        "ancestors, looked up",
        each(lambda n=noun: reasoner.ask(f'is_a("{n}", X)') for noun in nouns),
        "ms CPU",
    )
    one = [("hypernym", (f"new {n}", noun), Given()) for n, noun in enumerate(nouns)]
    report.add(
        "a change", "a fact added", each(lambda fact=fact: reasoner.change([fact]) for fact in one), "ms CPU", at_most=1
    )
    report.add(
        "a change",
        "that fact removed",
        each(lambda fact=fact: reasoner.change((), [fact[:2]]) for fact in one),
        "ms CPU",
    )
    wrong = list(refused(reasoner, {(name, row) for name, row, _ in known}, chance, given.proofs))
    for words in wrong[:3]:
        say(words)
    report.add("proofs", f"refused of {given.proofs} by the checker", len(wrong), "", at_most=0)
    if given.joined:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(joined(report, known, nouns, Path(folder)))


async def joined(report: Report, known: list[Row], nouns: list[str], folder: Path) -> None:
    """The same questions asked of facts that are kept: as somebody asks who waits for the answer."""
    store = SQLiteStore(folder / "facts.db")

    async def append(statements: Any, then: Callable[[], None]) -> None:
        store.write(statements)
        then()

    knowledge, here = Knowledge(store, append), Place("bench")
    facts = FactBase(knowledge, store)

    async def timed(work: Callable[[str], Awaitable[object]]) -> float:
        taken = []
        for noun in nouns:
            start = time.process_time()
            await work(noun)
            taken.append(time.process_time() - start)
        return statistics.median(taken) * 1000

    start = time.process_time()
    await facts.put_rules(here, "wordnet.rules", RULES)
    await facts.add(here, [Statement(*row[:1], name, row[1][:1000], source=why.source) for name, row, why in known])
    report.add("joined", f"{len(known)} facts kept", time.process_time() - start, "s CPU")
    places, start = knowledge.places("bench"), time.process_time()
    await facts.infer(places, 'is_a("", X)')
    await facts.infer(places, 'has_part("", X)')
    report.add("joined", "the first question, which reads them", time.process_time() - start, "s CPU")
    report.add("joined", "inherited parts, each with its proof and its sentence",
               await timed(lambda noun: facts.infer(places, f'has_part("{noun}", X)', 50)), "ms CPU")  # fmt: skip
    state = await facts.state(places, lambda state: state)
    asked = (lambda noun=noun: state.reasoner.ask(f'is_a("{noun}", X)') for noun in nouns)
    report.add("joined", "ancestors, no proof", each(asked), "ms CPU", at_most=0.1)

    async def one(noun: str) -> None:
        await facts.add(here, [Statement(f"new {noun}", "hypernym", noun)])
        await facts.state(places, lambda state: None)

    report.add("joined", "a fact added: committed, and taken in", await timed(one), "ms CPU", at_most=1)
    facts.close(), knowledge.close(), store.close()


def refused(
    reasoner: Reasoner, known: set[tuple[str, tuple[str, str]]], chance: random.Random, most: int
) -> Iterator[str]:
    """What the checker says against proofs of facts by chance."""
    lines = RULES.strip().splitlines()
    rules = dict(zip(lines, reason_check.read(RULES), strict=True))
    derived = [Fact(name, row) for name in ("is_a", "has_part") for row in reasoner.relations[name].rows]
    for fact in chance.sample(derived, most):
        proof = explain(reasoner, fact).data()
        said = reason_check.verify(proof, rules, known)
        if said or (proof[0]["predicate"], tuple(proof[0]["values"])) != tuple(fact):
            yield f"{fact}: {said}"


if __name__ == "__main__":
    run("reason", __doc__, measure, data=(str, "/usr/share/wordnet", "the folder with data.noun"),
        questions=(int, 1000, "nouns that are asked about"), proofs=(int, 1000, "proofs that are checked"),
        seed=(int, 1, "of chance"), joined=(int, 1, "0: the reasoner alone"))  # fmt: skip
