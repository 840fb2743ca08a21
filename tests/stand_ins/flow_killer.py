"""Kills `flow_victim` at random moments and compares what came of it; for a test and for the bench."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from .flow_victim import LAYERS, WIDTH

ACTS = [f"n{layer}_{place}" for layer in range(LAYERS) for place in range(0, WIDTH, 2)]


@dataclass
class Found:
    """What is wrong; all of it is to be 0 or empty. `again`: calls that were cut off and issued again."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    repeated: int = 0  # steps that were done again after their row
    early: list[str] = field(default_factory=list)  # undone before something that it was needed for
    answers: list[str] = field(default_factory=list)  # runs with a wrong answer
    asked: list[str] = field(default_factory=list)  # runs that asked a person not once
    again: int = 0


def kill_often(folder: Path, kills: int, runs: int, seed: int, working: tuple[float, float] = (0.02, 0.8)) -> Found:
    """Start the victim and kill it, so often; then let it end. `working` are seconds after its first act."""
    chance = random.Random(seed)
    command = [sys.executable, "-m", "tests.stand_ins.flow_victim", str(folder / "data"), str(folder), str(runs)]
    root = Path(__file__).parents[2]
    for _ in range(kills):
        before = _size(folder / "executions")
        with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as victim:
            until = time.monotonic() + 30
            while victim.poll() is None and _size(folder / "executions") == before and time.monotonic() < until:
                time.sleep(0.01)
            if victim.poll() is None:
                time.sleep(chance.uniform(*working))
                victim.send_signal(signal.SIGKILL)
            elif victim.returncode:
                assert victim.stderr is not None
                raise AssertionError(victim.stderr.read().decode())
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=240, check=True)
    return compare(folder, runs, ended.stdout)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def compare(folder: Path, runs: int, printed: str) -> Found:
    """What is in the ledger, the log of executions and the journal against what there should be."""
    found = Found()
    lines = [line.split() for line in (folder / "ledger").read_text().splitlines()]
    told = dict(line.split(maxsplit=1) for line in printed.splitlines())
    whats = Counter(what for _, what in lines)
    place = {what: n for n, (_, what) in enumerate(lines)}
    for number in range(runs):
        for name, signs in (("works", ("",)), ("gives_up", ("", "-"))):
            run = f"{name}{number}"
            for sign in signs:
                for node in ACTS:
                    count = whats.pop(f"{sign}{run}/{node}", 0)
                    found.lost += [f"{sign}{run}/{node}"] * (count == 0)
                    found.twice += [f"{sign}{run}/{node}"] * (count > 1)
            if name == "gives_up":
                found.early += _early(run, place)
            expected = run if name == "works" else "node 'end'"
            if not told.get(run, "").startswith(expected):
                found.answers.append(f"{run}: {told.get(run)}")
    found.twice += [str(each) for each in whats]  # nobody's
    _journalled(folder, runs, found)
    return found


def _early(run: str, place: dict[str, int]) -> list[str]:
    """What was undone before a node of a later layer was."""
    at = {node: place.get(f"-{run}/{node}", 0) for node in ACTS}
    return [a for a in ACTS for b in ACTS if int(a[1]) < int(b[1]) and at[a] < at[b]]


def _journalled(folder: Path, runs: int, found: Found) -> None:
    with closing(sqlite3.connect(folder / "data" / "journal.db")) as journal:
        ended = dict(journal.execute("SELECT key, started + seconds FROM call WHERE name = 'call' AND outcome = 'ok'"))
        twice = journal.execute(
            "SELECT count(*) - count(DISTINCT key) FROM call WHERE outcome = 'ok' AND name LIKE 'flow_%'"
        ).fetchone()[0]
        asked = journal.execute("SELECT count(DISTINCT key) FROM record WHERE space = 'approval'").fetchone()[0]
    executions = Counter(line.split()[0] for line in (folder / "executions").read_text().splitlines())
    found.repeated = twice
    found.again = executions.total() - len(executions)
    found.lost += list(executions.keys() - ended.keys())
    if asked != runs:
        found.asked.append(f"{asked} questions of {runs} runs")
