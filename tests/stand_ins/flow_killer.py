"""Kills `flow_victim` at random moments and compares what came of it; for a test and for the bench."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .flow_victim import EVERY, LAYERS, WIDTH, tasks

ACTS = [f"n{layer}_{place}" for layer in range(LAYERS) for place in range(0, WIDTH, 2)]
EARLY = 0.1  # so often a start is killed before it does anything
STARTING = (0.0, 2.0)  # seconds from such a start to the kill
PATIENCE = 600.0  # seconds for the last start
ANSWERS: Mapping[str, Callable[[int], str]] = {
    "works": lambda number: f"works{number}",
    "gives_up": lambda number: "node 'end'",
    "refund": lambda number: "the refund of 30 for a lamp is on its way.",
    "asks": lambda number: "the shop is open from 9 to 17 o'clock, Monday to Friday.",
    "review": lambda number: "{'verdict': 'revise', 'missing': ['who does what until which day', 'what may go wrong']",
    "research": lambda number: "310,000 a year, says offer.txt",
}


@dataclass
class Found:
    """What is wrong, each of it empty; and how much there was."""

    lost: list[str] = field(default_factory=list)  # effects that are not there
    twice: list[str] = field(default_factory=list)  # effects that are there again, or are nobody's
    repeated: list[str] = field(default_factory=list)  # work that was begun again though it had a row
    early: list[str] = field(default_factory=list)  # undone before something that it was needed for
    answers: list[str] = field(default_factory=list)  # runs with a wrong answer
    asked: list[str] = field(default_factory=list)  # runs that asked a person not once
    times: list[str] = field(default_factory=list)  # due times with no start or row, or with two
    much: dict[str, int] = field(default_factory=dict, compare=False)


def kill_often(
    folder: Path, kills: int, seed: int, working: tuple[float, float] = (0.02, 0.8),
    told: Callable[[int], None] = lambda kills: None,
) -> Found:  # fmt: skip
    """Start the victim and kill it, so often; then let it end. `working` are seconds after its first act."""
    chance = random.Random(seed)
    command = [sys.executable, "-m", "tests.stand_ins.flow_victim", str(folder / "data"), str(folder)]
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    options: dict[str, Any] = {"cwd": root, "env": {**os.environ, "PYTHONPATH": paths}}
    for number in range(1, kills + 1):
        before, early = _size(folder / "executions"), chance.random() < EARLY
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options) as victim:
            until = time.monotonic() + 120
            while not early and victim.poll() is None and _size(folder / "executions") == before:
                assert time.monotonic() < until, "it did nothing for two minutes"
                time.sleep(0.01)
            time.sleep(chance.uniform(*(STARTING if early else working)))
            if victim.poll() is not None:
                assert victim.stderr is not None
                raise AssertionError(victim.stderr.read().decode())
            victim.send_signal(signal.SIGKILL)
        told(number)
    (folder / "enough").touch()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options)
    assert ended.returncode == 0, ended.stderr
    return compare(folder)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def compare(folder: Path) -> Found:
    """What is in the ledger, the log of executions and the journal against what there should be."""
    found = Found()
    lines = [line.split() for line in (folder / "ledger").read_text().splitlines()]
    rounds = [json.loads(line) for line in (folder / "answers").read_text().splitlines()]
    journal = json.loads((folder / "journal").read_text())
    whats = Counter(what for _, what in lines)
    place = {what: n for n, (_, what) in enumerate(lines)}
    for number, answers in enumerate(rounds):
        for what in _effects(number):
            count = whats.pop(what, 0)
            found.lost += [what] * (count == 0)
            found.twice += [what] * (count > 1)
        found.early += _early(f"gives_up{number}", place)
        assert answers.keys() == tasks(number).keys()
        for task, answer in answers.items():
            if not str(answer).startswith(ANSWERS[task.rstrip("0123456789")](number)):
                found.answers.append(f"{task}: {answer}")
    found.repeated += [f"{task}: {label}" for task, labels in journal["twice"].items() for label in labels]
    _rows(folder, len(rounds), found)
    for trigger in journal["triggers"]:
        _times(folder, trigger, whats, found)
    found.twice += [str(each) for each in whats]  # nobody's
    found.much |= {"rounds": len(rounds), "effects": len(lines)}
    return found


def _effects(number: int) -> list[str]:
    """What a round does outside."""
    did = [f"gives_up{number}/{node}" for node in ACTS]
    return [f"works{number}/{node}" for node in ACTS] + did + [f"-{each}" for each in did] + [f"refund/{number}"]


def _early(run: str, place: Mapping[str, int]) -> list[str]:
    """What was undone before a node of a later layer was."""
    at = {node: place.get(f"-{run}/{node}", 0) for node in ACTS}
    return [f"{run}: {a}" for a in ACTS for b in ACTS if int(a[1]) < int(b[1]) and at[a] < at[b]]


def _rows(folder: Path, rounds: int, found: Found) -> None:
    """Rows that are there twice, work that was done after its row, and questions."""
    with closing(sqlite3.connect(folder / "data" / "journal.db")) as journal:
        ended = dict(journal.execute("SELECT key, started + seconds FROM call WHERE name = 'call' AND outcome = 'ok'"))
        again = journal.execute("SELECT name, key FROM call WHERE outcome = 'ok' GROUP BY key HAVING count(*) > 1")
        found.repeated += [f"row of {name} {key}" for name, key in again]
        asked = journal.execute("SELECT count(DISTINCT key) FROM record WHERE space = 'approval'").fetchone()[0]
    executions = [line.split() for line in (folder / "executions").read_text().splitlines()]
    found.repeated += [key for key, at in executions if float(at) > ended.get(key, float("inf"))]
    found.lost += list({key for key, _ in executions} - ended.keys())
    told = set((folder / "asked").read_text().split())
    if asked != 2 * rounds or len(told) != asked:
        found.asked.append(f"{asked} questions, of which {len(told)} were told, of {2 * rounds} runs that ask")
    found.much |= {"questions": asked, "calls cut off": len(executions) - len({key for key, _ in executions})}


def _times(folder: Path, trigger: Mapping[str, Any], whats: Counter[str], found: Found) -> None:
    """Each time at which a trigger was due is settled once, by its rule, and each start is a run that does its work."""
    name, settled = trigger["name"], trigger["settled"]
    due = round((trigger["last"] - trigger["begun"]) / EVERY)
    if name == "all":
        times = Counter(round((at - trigger["begun"]) / EVERY) for at, *_ in settled)
        if times != Counter(range(1, due + 1)):
            found.times.append(f"{name}: {times.total()} settled of {due} due times")
    else:
        counts = [1 + missed if why is None else _left_out(why) for _, missed, why in settled]
        if sum(counts) != due:
            found.times.append(f"{name}: {sum(counts)} settled of {due} due times")
    with closing(sqlite3.connect(folder / "data" / "journal.db")) as journal:
        query = "SELECT name, status FROM process WHERE parent = ?"
        children = dict(journal.execute(query, (trigger["pid"],)).fetchall())
        starts = journal.execute(
            "SELECT count(*) FROM call WHERE pid = ? AND name = 'trigger_start'", (trigger["pid"],)
        ).fetchone()[0]
    if len(children) != starts:
        found.times.append(f"{name}: {len(children)} runs of {starts} starts")
    for child, status in children.items():
        number = child.rpartition(".")[2]
        count = whats.pop(f"tick/{name}.{number}", 0)
        found.lost += [f"{name}.{number}"] * (count == 0 and status == "done")
        found.twice += [f"{name}.{number}"] * (count > 1)
    found.much |= {f"times, {name}": due, f"runs, {name}": len(children)}


def _left_out(why: str) -> int:
    """How many due times a row stands for that says why they are left out."""
    said = re.match(r"(\d+) times were missed", why)
    return int(said[1]) if said else 1
