"""What the parsers do with anything at all: a crash is whatever is not documented.

    python bench/fuzz.py [NAME ...] [--seconds 600] [--json]     # all parsers unless some are named
    python bench/fuzz.py [NAME ...] --long 40 [--seed 1]         # so many long inputs of each, always the same ones
    nice python bench/fuzz.py --kept FOLDER                      # in turns of a minute; goes on where it was stopped
    python bench/fuzz_worker.py NAME FILE                        # one input again

Half of the time is coverage-guided fuzzing (atheris) with inputs of up to 4 KB, half are inputs of up to 200 KB made by
chance. A hang of a minute is a crash, too. The input of a crash is kept in the present folder.

With `--kept` the parsers take turns, who had least before the others, and FOLDER keeps what inputs reach and what came
of it: a run that was stopped goes on by the same command, and ends when each parser has had its `--seconds`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from common import Report, load, machine, say
from fuzz_grown import LARGEST, SLOW, long_inputs
from fuzz_readers import COVERED, READERS
from fuzz_targets import LONGEST, is_slow

HANG, MEMORY = 60, 2048  # seconds, megabytes
TURN = 60  # seconds
Outcome = dict[str, float]
"""What came of a parser, by metric."""
_RUNS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


class Worker:
    """The process in which parsers are fuzzed by coverage: it takes some seconds to start."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("fuzz_worker.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def fuzz(self, name: str, options: Sequence[str], said: Path, slow: Path) -> int:
        """Fuzz one; its exit status. What it says is in the file `said` afterwards."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([name, options, str(said), str(slow)]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


def fuzz(worker: Worker, name: str, given: argparse.Namespace, seconds: int, corpus: Path) -> Outcome:
    """Fuzz one parser by coverage; a crash is told with its traceback. With seed 0 it is another way every time."""
    with tempfile.TemporaryDirectory(prefix="llmagent-os-fuzz-") as folder:
        slow, said = Path(folder, "slow"), Path(folder, "said")
        seeds = READERS[name].seeds if name in READERS else ()
        corpus.mkdir(parents=True, exist_ok=True)
        slow.mkdir()
        for number, first in enumerate((b"", *seeds)):
            (corpus / str(number)).write_bytes(first)
        options = [
            f"-seed={given.seed}", f"-max_total_time={seconds}", f"-runs={given.runs}", f"-max_len={LONGEST}",
            f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={name}-", "-print_final_stats=1",
            str(corpus),
        ]  # fmt: skip
        status = worker.fuzz(name, options, said, slow)
        told = said.read_text(errors="replace")
        found = [each.read_bytes() for each in slow.iterdir()]
    runs, covered = _RUNS.search(told), _COVERED.findall(told)
    if status or not runs:
        say(told[-8000:])
    slowest = [data for data in found if is_slow(COVERED[name], data)]
    for data in slowest[:3]:
        say(f"{name}: slow: {base64.b64encode(data).decode()}")
    return {
        "executions": int(runs[1]) if runs else 0, "branches reached": int(covered[-1]) if covered else 0,
        "crashes": int(status != 0), "inputs above 20 us a byte": len(slowest),
    }  # fmt: skip


def grown(name: str, given: argparse.Namespace, enough: Callable[[int], bool]) -> Outcome:
    """Give one parser long inputs."""
    outcome = long_inputs(name, given.seed or 1, enough, given.largest)
    kept = ([outcome.crashed] if outcome.crashed is not None else []) + outcome.slow[:3]
    for data in kept:
        file = Path(f"{name}-long-{hashlib.sha1(data).hexdigest()[:10]}")
        file.write_bytes(data)
        say(f"{name}: {file}: {len(data)} bytes that begin with {data[:100]!r}")
    if outcome.trouble is not None:
        say("".join(traceback.format_exception(outcome.trouble))[-4000:])
    return {
        "long inputs": outcome.inputs, "crashes by long inputs": int(outcome.crashed is not None),
        "slowest long input": outcome.slowest * 1e6, "long inputs above that": len(outcome.slow),
    }  # fmt: skip


LEAST = {"executions": 1, "long inputs": 1}
MOST = {
    "crashes": 0, "inputs above 20 us a byte": 0, "crashes by long inputs": 0, "slowest long input": SLOW * 1e6,
    "long inputs above that": 0,
}  # fmt: skip
GREATEST = ("branches reached", "slowest long input")  # of several turns; the others are added up


def told(name: str, outcome: Outcome, report: Report) -> None:
    """Report what came of a parser."""
    for metric, value in outcome.items():
        unit = "us a byte" if metric.startswith("slowest") else "s" if metric == "time" else ""
        report.add(name, metric, value, unit, at_least=LEAST.get(metric), at_most=MOST.get(metric))


def worked(worker: Worker | None, name: str, given: argparse.Namespace, seconds: int, corpus: Path) -> Outcome:
    """Fuzz one parser in both ways."""
    each = seconds // 2 if name in READERS else seconds
    outcome = fuzz(worker, name, given, each, corpus) if worker is not None else {}
    if name in READERS:
        most, end = math.inf if given.long is None else given.long, time.monotonic() + each
        outcome |= grown(name, given, lambda made: made >= most or time.monotonic() > end)
    return outcome


def turns(worker: Worker | None, names: Sequence[str], given: argparse.Namespace, report: Report) -> None:
    """Fuzz in turns, and keep what came of it; ends early by Ctrl-C."""
    kept = Path(given.kept, "outcomes.json")
    outcomes: dict[str, Outcome] = json.loads(kept.read_text()) if kept.exists() else {}
    try:
        while (name := min(names, key=lambda one: _had(outcomes, one))) and _had(outcomes, name) < given.seconds:
            given.seed = 1 + int(_had(outcomes, name))
            now, before = worked(worker, name, given, TURN, Path(given.kept, name)), outcomes.get(name, {})
            outcomes[name] = {"time": _had(outcomes, name) + TURN} | {
                metric: max(value, before.get(metric, 0)) if metric in GREATEST else value + before.get(metric, 0)
                for metric, value in now.items()
            }
            fresh = kept.with_suffix(".new")
            fresh.write_text(json.dumps(outcomes, indent=1))
            fresh.replace(kept)
    except KeyboardInterrupt:
        say("fuzz: stopped; the same command goes on")
    for name in names:
        told(name, outcomes.get(name, {}), report)


def _had(outcomes: dict[str, Outcome], name: str) -> float:
    return outcomes.get(name, {}).get("time", 0)


def main() -> None:
    """Fuzz what is named, one after another."""
    names = list(COVERED)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *names], metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=int, default=600, help="for each (600)")
    parser.add_argument("--runs", type=int, default=-1, help="at most so many inputs of each by coverage")
    parser.add_argument("--long", type=int, help="at most so many long inputs of each; alone, nothing by coverage")
    parser.add_argument("--largest", type=int, default=LARGEST, help=f"bytes of a long input ({LARGEST})")
    parser.add_argument(
        "--seed", type=int, default=0, help="so that it goes the same way again; 0: another one every time (0)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--kept", metavar="FOLDER", help="take turns, and go on with what is kept there")
    given = parser.parse_args()
    report = Report("fuzz", given.json)
    say(f"fuzz: {machine()}, load {load()}")
    worker = Worker() if given.long is None or given.runs >= 0 else None
    if given.kept:
        turns(worker, given.names or names, given, report)
    else:
        for name in given.names or names:
            with tempfile.TemporaryDirectory(prefix="llmagent-os-fuzz-") as folder:
                told(name, worked(worker, name, given, given.seconds, Path(folder, "corpus")), report)
    if worker is not None:
        worker.stop()
    sys.exit(report.close())


if __name__ == "__main__":
    main()
