"""What the core weighs: its installation, its import, and a server without a model.

A fresh virtual environment gets the checkout without extras (from the package index, or pip's cache); its size is that
of `site-packages` with compiled bytecode, less pip and setuptools. Import and server are measured
in that environment: user and system CPU of `import llmagent_os` beyond an empty interpreter (its names are loaded when
first used; `import *` loads them all), and the time and memory of `llmagent-os up --model none` from its start until
`/health` answers. Files are in the page cache by then.

    python bench/footprint.py [--json] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

from common import Report, Server, disk, folder, memory, run, say

NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")  # each venv has them
CHECKOUT = Path(__file__).parents[1]
MB = 1e6


def install(path: Path) -> tuple[int, int]:
    """Make the environment, install the core there, and say how many bytes it takes, and how many are bytecode."""
    say("installing into a fresh environment ...")
    source, environment = path / "source", path / "venv"
    source.mkdir()
    shutil.copytree(CHECKOUT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    venv.create(environment, with_pip=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", source]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    packages = next((environment / "lib").glob("python*/site-packages"))
    ours = [entry for entry in packages.iterdir() if not entry.name.startswith(NOT_OURS)]
    return sum(map(disk, ours)), sum(disk(file) for entry in ours for file in entry.rglob("*.pyc"))


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
        size, bytecode = install(path)
        report.add("install", "size", size / MB, "MB", at_most=50)
        report.add("install", "bytecode in it", bytecode / MB, "MB")
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
