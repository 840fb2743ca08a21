"""What the core weighs: its installation, its import, and a server without a model.

A fresh virtual environment gets the checkout without extras (from the package index, or pip's cache); its size is that
of `site-packages` with compiled bytecode, less pip and what pip installed itself with. Import and server are measured
in that environment: user and system CPU of `import llmagent_os` beyond an empty interpreter (its names are loaded when
first used; `import *` loads them all), and the time and memory of `llmagent-os up --model none` from its start until
`/health` answers. Files are in the page cache by then.

    python bench/footprint.py [--json] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

from common import Report, Server, disk, folder, memory, run, say

CHECKOUT = Path(__file__).parents[1]
MB = 1e6


def install(path: Path) -> float:
    """Make the environment and install the core; the bytes it added."""
    say("installing into a fresh environment ...")
    venv.create(path, with_pip=True)
    before = disk(path / "lib")
    pip = [path / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", CHECKOUT]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    return disk(path / "lib") - before


def cpu_of_program(python: Path, program: str) -> float:
    """CPU seconds of a Python program, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([python, "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def server(path: Path, data: Path) -> tuple[float, float]:
    """Seconds until a server answers, and its resident bytes a second later."""
    served = Server(data, command=path / "bin" / "llmagent-os")
    began = time.monotonic()
    served.start()
    took = time.monotonic() - began
    time.sleep(1)
    resident = memory(served.pid)
    served.stop()
    return took, resident


def measure(report: Report, options: argparse.Namespace) -> None:
    """Size, import, server."""
    with folder() as path:
        os.environ.pop("PYTHONPATH", None)
        report.add("install", "size", install(path / "venv") / MB, "MB", at_most=50)
        python, rounds = path / "venv" / "bin" / "python", range(options.rounds)
        for program, limit in (("import llmagent_os", 0.3), ("from llmagent_os import *", None)):
            cpu_of_program(python, program)
            used = [cpu_of_program(python, program) - cpu_of_program(python, "pass") for _ in rounds]
            report.add(program, "CPU", statistics.median(used), "s", at_most=limit)
        starts = [server(path / "venv", path / "data") for _ in rounds]
        report.add("server without a model", "ready", statistics.median(took for took, _ in starts), "s", at_most=2)
        resident = statistics.median(resident for _, resident in starts)
        report.add("server without a model", "memory", resident / MB, "MB", at_most=100)


if __name__ == "__main__":
    run("footprint", __doc__, measure, rounds=(int, 5, "medians are over so many"))
