"""Answers are taken off the engine at random tokens, kept in memory and on disk, and cut off by kill -9: the same?

200 processes of a system ask for greedy answers, 8 at a time on the engine, while their places are taken away by the
scheduler and at random; the whole system is killed several times and started again. Every answer is compared with that
of an undisturbed run, and every token that the engine computed is counted, also by those that were killed.

Two likely tokens may be as good as equal. Which of them is the greater then hangs on the order in which the engine adds
numbers up, and that on how many answers it writes at once, and on whether a text was read or written: an answer may
differ for that alone. So two more things are measured. How many answers of a second undisturbed run, asked for in the
opposite order, are not those of the first; and, where an interrupted answer leaves the undisturbed one, how far apart
the two tokens were (in nats, of the text before them). A page of another answer, or one that is a token short, shows as
an answer that is apart by more than a tie.

    python bench/resume.py [--json] [--answers 200] [--tokens 240] [--kills 4]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import mmap
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import Report, folder, run, say

from llmagent_os.core import codec
from llmagent_os.core.records import Chunk, GenerateRequest, Json, ModelSpec, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.llm.catalog import resolve
from llmagent_os.llm.llamacpp import LlamaCpp, open_engine
from llmagent_os.sched.policies import SchedulerSettings
from llmagent_os.stores.pages import PageFiles
from llmagent_os.stores.sqlite import SQLiteStore

SLOTS = 8
ENDS = {"0": -100.0, "2": -100.0}  # the tiny model's <|endoftext|> and <|im_end|>
RAM = 40 << 20  # bytes: too little for all, so that most pages go to disk
CHECKPOINT = 64
TIE = 0.25  # nats between two tokens that the engine may exchange: undisturbed answers part at up to 0.18 of them
COUNTERS = ("read", "made", "slices", "saved", "from memory", "from disk", "interrupted")


def request(number: int, tokens: int) -> GenerateRequest:
    """A prompt that begins like no other, so that only its own pages can serve it."""
    prompt = f"{number} {number * 7919 % 9973} is the number of a story. It goes like this:"
    length = tokens // 2 + number * 37 % tokens
    return GenerateRequest("tiny", prompt=prompt, sampling=Sampling(max_tokens=length, temperature=0, logit_bias=ENDS))


class Counters:
    """Numbers in a file that outlive the process that counts."""

    def __init__(self, path: Path) -> None:
        path.touch()
        if not path.stat().st_size:
            path.write_bytes(bytes(8 * len(COUNTERS)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * len(COUNTERS))

    def add(self, name: str, number: int = 1) -> None:
        at = 8 * COUNTERS.index(name)
        self._map[at : at + 8] = struct.pack("q", struct.unpack("q", self._map[at : at + 8])[0] + number)

    def all(self) -> dict[str, int]:
        return dict(zip(COUNTERS, struct.unpack(f"{len(COUNTERS)}q", self._map), strict=True))


class CountedWork:
    """A work whose tokens are counted as they are computed."""

    def __init__(self, work: Any, counters: Counters) -> None:
        self._work, self._counters = work, counters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)

    async def run(self, slot: int) -> AsyncGenerator[Chunk]:
        work, read, made = self._work, self._work.read, len(self._work.said)
        first = made
        async with aclosing(work.run(slot)) as chunks:
            async for chunk in chunks:
                if made == first < len(work.said):
                    self._counters.add("slices")
                self._counters.add("read", work.read - read)
                self._counters.add("made", len(work.said) - made)
                read, made = work.read, len(work.said)
                yield chunk


class Counted:
    """An engine whose works and pages are counted."""

    def __init__(self, engine: LlamaCpp, counters: Counters) -> None:
        self._engine, self._counters = engine, counters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def begin(self, asked: GenerateRequest) -> CountedWork:
        return CountedWork(await self._engine.begin(asked), self._counters)

    async def save(self, slot: int, path: Path) -> int:
        self._counters.add("saved")
        return await self._engine.save(slot, path)

    async def restore(self, slot: int, path: Path, adapter: str | None = None) -> int:
        self._counters.add("from memory" if "shm" in path.parts else "from disk")
        return await self._engine.restore(slot, path, adapter)


async def opened() -> LlamaCpp:
    """The tiny model."""
    spec = await resolve("tiny")
    return await open_engine(ModelSpec(spec.name, spec.engine, spec.source, window=1024, limit=SLOTS))


async def undisturbed(options: argparse.Namespace, step: int = 1) -> list[str]:
    """Every answer, asked for beside others in order (from the last one, with -1), and never interrupted."""
    engine, places = await opened(), asyncio.Semaphore(SLOTS)

    async def one(number: int) -> str:
        async with places:
            return (await collect(engine.generate(request(number, options.tokens)))).text

    try:
        return (await asyncio.gather(*(one(number) for number in range(options.answers)[::step])))[::step]
    finally:
        await engine.close()


async def margins(pairs: list[tuple[int, str, str]], tokens: int) -> list[float]:
    """Where the two answers to a number part: by how many nats the two tokens differ after what both have said.

    Infinite where one of the two tokens is none of the ten likeliest, or where one answer ends within the other.
    """
    engine, found = await opened(), []
    try:
        for number, one, other in pairs:
            asked = request(number, tokens)
            ways = [await engine.encode(replace(asked, prompt=f"{asked.prompt}{text}")) for text in (one, other)]
            at = next((n for n, (a, b) in enumerate(zip(*ways, strict=False)) if a != b), None)
            if at is None:
                found.append(math.inf)
                continue
            before = await engine.decode(ways[0][:at])
            sampling = replace(asked.sampling, max_tokens=1, top_logprobs=10)
            last = (await collect(engine.generate(replace(asked, prompt=before, sampling=sampling)))).logprobs[0]
            likely = dict(last.top)
            names = [await engine.decode(way[at : at + 1]) for way in ways]
            found.append(abs(likely.get(names[0], math.inf) - likely.get(names[1], -math.inf)))
    finally:
        await engine.close()
    return found


async def tells(sys: Sys, args: Json, state: Json) -> Json:
    """A process that asks once."""
    return (await sys.generate(request(args["number"], args["tokens"]))).text


async def child(options: argparse.Namespace) -> None:
    """The system, started once or again, until every process has ended."""
    path = Path(options.child)
    counters = Counters(path / "counters")
    engine = Counted(await opened(), counters)
    pages = PageFiles(path / "pages", RAM, 8 << 30)
    settings = SchedulerSettings(quantum=48)
    kernel = Kernel(
        SQLiteStore(path / "journal.db"), {"tells": Program(tells)}, sharing=lambda model: settings, pages=pages,
        checkpoint=CHECKPOINT,
    )  # fmt: skip

    async def known() -> Any:
        return engine

    kernel.engines.add("tiny", known)
    sys = await kernel.service("bench")
    await kernel.start_all()
    started = {info["args"]["number"] for info in await spawned(kernel)}
    for number in range(options.answers):
        if number not in started:
            await sys.spawn("tells", {"number": number, "tokens": options.tokens})
    disturbing = asyncio.ensure_future(disturb(kernel, counters))
    pids = [info["pid"] for info in await spawned(kernel)]
    answers = await asyncio.gather(*(sys.wait(pid) for pid in pids))
    disturbing.cancel()
    numbers = [info["args"]["number"] for info in await spawned(kernel)]
    (path / "answers").write_bytes(codec.dumps(dict(zip(numbers, answers, strict=True))))
    await kernel.close()


async def spawned(kernel: Kernel) -> list[dict[str, Any]]:
    """The processes that tell, by pid."""
    processes = [kernel.table.get(info["pid"]) for info in kernel.table.listed(limit=100_000)]
    return [{"pid": p.pid, "args": p.args} for p in processes if p.program == "tells"]


async def disturb(kernel: Kernel, counters: Counters) -> None:
    """Take a place from somebody at random, several times a second."""
    chance = random.Random()
    while True:
        await asyncio.sleep(chance.expovariate(4.0))
        for dispatcher in kernel.dispatchers.values():
            jobs = [
                job for job in dispatcher.scheduler.running.values() if job.movable and job.made and not job.leaving
            ]
            if jobs and dispatcher.scheduler.waiting:
                chance.choice(jobs).leaving = True
                counters.add("interrupted")


def compare(options: argparse.Namespace) -> tuple[list[float], list[float], dict[str, int], int]:
    """By how much which answers are apart, beside others and interrupted; what was counted; tokens that were needed."""
    say("resume: the undisturbed answers ...")
    wanted = asyncio.run(undisturbed(options))
    say("resume: the same in the opposite order ...")
    beside = asyncio.run(apart(options, wanted, asyncio.run(undisturbed(options, -1))))
    with folder() as path:
        counters = Counters(path / "counters")
        chance = random.Random(options.seed)
        for kill in range(options.kills + 1):
            command = [sys.executable, __file__, "--child", str(path)]
            command += ["--answers", str(options.answers), "--tokens", str(options.tokens)]
            process = subprocess.Popen(command)
            if kill == options.kills:
                if process.wait():
                    raise SystemExit("the system ended with an error")
                break
            goal = options.answers * options.tokens * (kill + chance.uniform(0.3, 0.9)) / (options.kills + 1)
            while counters.all()["made"] < goal and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
            say(f"resume: killed after {counters.all()['made']} tokens")
        answers = {int(key): text for key, text in codec.loads((path / "answers").read_bytes()).items()}
        found = asyncio.run(apart(options, wanted, [answers[number] for number in range(options.answers)]))
        return beside, found, counters.all(), asyncio.run(needed(options))


async def apart(options: argparse.Namespace, wanted: list[str], found: list[str]) -> list[float]:
    """The margins of the answers that are not those that were wanted; each is told."""
    pairs = [(n, *both) for n, both in enumerate(zip(wanted, found, strict=True)) if both[0] != both[1]]
    nats = await margins(pairs, options.tokens)
    for (number, one, other), margin in zip(pairs, nats, strict=True):
        at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
        ways = f"{one[at : at + 30]!r} and {other[at : at + 30]!r}"
        say(f"resume: {number} parts at character {at} of {len(one)} by {margin:.3f} nats: {ways}")
    return nats


async def needed(options: argparse.Namespace) -> int:
    """Tokens of all prompts and answers."""
    engine = await opened()
    try:
        asked = [request(number, options.tokens) for number in range(options.answers)]
        return sum([len(await engine.encode(each)) + (each.sampling.max_tokens or 0) for each in asked])
    finally:
        await engine.close()


def measure(report: Report, options: argparse.Namespace) -> None:
    """The same answers, and what was computed again."""
    if options.child:
        asyncio.run(child(options))
        return
    beside, nats, counted, enough = compare(options)
    report.add(f"{options.answers} answers, opposite order", "the same", options.answers - len(beside), "")
    case = f"{options.answers} answers, {options.kills} kills"
    report.add(case, "the same as undisturbed", options.answers - len(nats), "")
    report.add(case, "apart by more than a tie", sum(margin > TIE for margin in nats), "", at_most=0)
    for name in COUNTERS[3:]:
        report.add(case, name, counted[name], "")
    # a slice's first token comes of reading the one before it, which nobody had read yet
    computed = counted["read"] + counted["made"] - counted["slices"]
    again = computed - (enough - options.answers)
    report.add(case, "tokens computed", computed, "")
    report.add(case, "tokens computed again", 100 * again / enough, "%", at_most=5)


if __name__ == "__main__":
    run(
        "resume", __doc__, measure,
        answers=(int, 200, "answers"), tokens=(int, 240, "tokens of an answer on average"),
        kills=(int, 4, "times that the system is killed"), seed=(int, 1, "of the kills"),
        child=(str, "", "used by the bench itself"),
    )  # fmt: skip
