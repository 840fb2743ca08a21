"""What the parsers do with anything at all: coverage-guided fuzzing (atheris), a crash is whatever is not documented.

    python bench/fuzz.py [NAME ...] [--seconds 600] [--json]     # all parsers unless some are named
    python bench/fuzz_worker.py NAME FILE                        # one input again

A hang of ten seconds is a crash, too. The input of a crash is kept in the present folder.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Report, load, machine, say
from fuzz_targets import LONGEST, TARGETS, is_slow

HANG, MEMORY = 10, 2048  # seconds, megabytes
_RUNS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def fuzz(name: str, seconds: int, report: Report) -> None:
    """Fuzz one parser and report; a crash is told with its traceback."""
    with tempfile.TemporaryDirectory(prefix="llmagent-os-fuzz-") as folder:
        corpus, slow = Path(folder, "corpus"), Path(folder, "slow")
        corpus.mkdir()
        slow.mkdir()
        (corpus / "plain").write_bytes(b"")
        options = [
            f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}",
            f"-artifact_prefix={name}-", "-print_final_stats=1", str(corpus),
        ]  # fmt: skip
        command = [sys.executable, str(Path(__file__).with_name("fuzz_worker.py")), name, *options]
        environment = os.environ | {"FUZZ_SLOW": str(slow)}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=environment
        )  # fmt: skip
        found = [each.read_bytes() for each in slow.iterdir()]
    runs, covered = _RUNS.search(done.stderr), _COVERED.findall(done.stderr)
    if done.returncode or not runs:
        say(done.stdout[-4000:] + done.stderr[-4000:])
    report.add(name, "executions", int(runs[1]) if runs else 0, "", at_least=1)
    report.add(name, "branches reached", int(covered[-1]) if covered else 0, "")
    report.add(name, "crashes", int(done.returncode != 0), "", at_most=0)
    slowest = [data for data in found if is_slow(name, data)]
    for data in slowest[:3]:
        say(f"{name}: slow: {base64.b64encode(data).decode()}")
    report.add(name, "inputs above 20 us a byte", len(slowest), "", at_most=0)


def main() -> None:
    """Fuzz what is named, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *TARGETS], metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=600, help="for each (600)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    report = Report("fuzz", given.json)
    say(f"fuzz: {machine()}, load {load()}")
    for name in given.names or TARGETS:
        fuzz(name, given.seconds, report)
    sys.exit(report.close())


if __name__ == "__main__":
    main()
