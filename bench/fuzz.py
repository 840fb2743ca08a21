"""What the parsers do with anything at all: a crash is whatever is not documented.

    python bench/fuzz.py [NAME ...] [--seconds 600] [--json]     # all parsers unless some are named
    python bench/fuzz.py [NAME ...] --long 40 [--seed 1]         # so many long inputs of each, always the same ones
    python bench/fuzz_worker.py NAME FILE                        # one input again

Half of the time is coverage-guided fuzzing (atheris) with inputs of up to 4 KB, half are inputs of up to 200 KB made by
chance. A hang of a minute is a crash, too. The input of a crash is kept in the present folder.
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


def fuzz(worker: Worker, name: str, given: argparse.Namespace, seconds: int, report: Report) -> None:
    """Fuzz one parser and report; a crash is told with its traceback. With seed 0 it is another way every time."""
    with tempfile.TemporaryDirectory(prefix="llmagent-os-fuzz-") as folder:
        corpus, slow, said = Path(folder, "corpus"), Path(folder, "slow"), Path(folder, "said")
        seeds = READERS[name].seeds if name in READERS else ()
        corpus.mkdir()
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
    report.add(name, "executions", int(runs[1]) if runs else 0, "", at_least=1)
    report.add(name, "branches reached", int(covered[-1]) if covered else 0, "")
    report.add(name, "crashes", int(status != 0), "", at_most=0)
    slowest = [data for data in found if is_slow(COVERED[name], data)]
    for data in slowest[:3]:
        say(f"{name}: slow: {base64.b64encode(data).decode()}")
    report.add(name, "inputs above 20 us a byte", len(slowest), "", at_most=0)


def grown(name: str, given: argparse.Namespace, enough: Callable[[int], bool], report: Report) -> None:
    """Give one parser long inputs and report."""
    outcome = long_inputs(name, given.seed or 1, enough, given.largest)
    kept = ([outcome.crashed] if outcome.crashed is not None else []) + outcome.slow[:3]
    for data in kept:
        file = Path(f"{name}-long-{hashlib.sha1(data).hexdigest()[:10]}")
        file.write_bytes(data)
        say(f"{name}: {file}: {len(data)} bytes that begin with {data[:100]!r}")
    if outcome.trouble is not None:
        say("".join(traceback.format_exception(outcome.trouble))[-4000:])
    report.add(name, "long inputs", outcome.inputs, "", at_least=1)
    report.add(name, "crashes by long inputs", int(outcome.crashed is not None), "", at_most=0)
    report.add(name, "slowest long input", outcome.slowest * 1e6, "us a byte", at_most=SLOW * 1e6)
    report.add(name, "long inputs above that", len(outcome.slow), "", at_most=0)


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
    given = parser.parse_args()
    report = Report("fuzz", given.json)
    say(f"fuzz: {machine()}, load {load()}")
    worker = Worker() if given.long is None or given.runs >= 0 else None
    most = math.inf if given.long is None else given.long
    for name in given.names or names:
        seconds = given.seconds // 2 if name in READERS else given.seconds
        if worker is not None:
            fuzz(worker, name, given, seconds, report)
        if name in READERS:
            end = time.monotonic() + seconds
            grown(name, given, lambda made, end=end: made >= most or time.monotonic() > end, report)
    if worker is not None:
        worker.stop()
    sys.exit(report.close())


if __name__ == "__main__":
    main()
