"""What a journalled step costs: CPU and bytes on disk of syscalls whose result is one value.

Processes run a program that asks `now` again and again; every step is a row in SQLite (WAL, survives kill -9).
Bytes are the whole data folder after a clean close, the process rows included; while it runs, the write-ahead log holds
some megabytes more (it is reported as the largest size seen).

    python bench/journal.py [--json] [--steps 20000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from common import Report, cpu, disk, folder, gather, medians, run

from llmagent_os.core.records import Json
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.stores.sqlite import SQLiteStore


async def steps(sys: Sys, args: Json, state: Json) -> Json:
    for _ in range(args):
        await sys.now()
    return None


async def once(processes: int, total: int, path: Path) -> dict[str, float]:
    """Run `total` steps over `processes` and return what each cost."""
    kernel = Kernel(SQLiteStore(path / "journal.db"), {"steps": Program(steps)}, filters=[budgets])
    sys = await kernel.service("bench")
    each = total // processes
    before = cpu()
    pids = await gather(processes, lambda _: sys.spawn("steps", each))
    await gather(processes, lambda number: kernel.runner.ended(pids[number]))
    used = cpu() - before
    wal = (path / "journal.db-wal").stat().st_size
    await kernel.close()
    done = each * processes
    return {"cpu": used / done * 1e3, "bytes": disk(path) / done, "wal": wal / 2**20}


def measure(report: Report, options: argparse.Namespace) -> None:
    """1 and 100 processes."""
    for processes in (1, 100):
        rounds = []
        for _ in range(options.rounds):
            with folder() as path:
                rounds.append(asyncio.run(once(processes, options.steps, path)))
        found = medians(rounds)
        case = f"{processes} processes" if processes > 1 else "1 process"
        report.add(case, "CPU a step", found["cpu"], "ms", at_most=0.1)
        report.add(case, "disk a step", found["bytes"], "bytes", at_most=1023)
        report.add(case, "log while running", found["wal"], "MiB")


if __name__ == "__main__":
    run(
        "journal", __doc__, measure,
        steps=(int, 20_000, "steps in all"), rounds=(int, 3, "medians are over so many rounds"),
    )  # fmt: skip
