"""What a start costs with a past: 100,000 ended processes of ten calls each, against a folder without any.

The past is one real chat with an agent, copied within the database. Every start is a new Python process; the time goes
from before its `boot` until an agent has answered.

    python bench/start.py [--json] [--processes 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from common import Report, folder, run

from llmagent_os.boot import boot
from llmagent_os.config import Config

CALLS = 10  # of each process
STARTS = 3
COPIED = f"""
    CREATE TEMP TABLE number AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
        SELECT i FROM n;
    CREATE TEMP TABLE step AS SELECT i FROM number LIMIT {CALLS};
"""


async def chat(path: Path) -> None:
    """Start, have an agent answer, stop; says how long it took until the answer."""
    began = time.perf_counter()
    system = await boot(Config(data=path, model="scripted"))
    _, task = await system.agents.once("assistant", {"text": "hello"})
    await system.agents.reply(task, 60)
    print(time.perf_counter() - began)
    await asyncio.sleep(0.1)  # its last row
    await system.close()


def past(path: Path, count: int) -> None:
    """Copy the newest process of a folder, with its calls and messages, so often."""
    with sqlite3.connect(path / "journal.db") as database:
        for statement in COPIED.split(";")[:-1]:
            database.execute(statement, {"count": count} if ":count" in statement else {})
        pid = database.execute("SELECT max(pid) FROM process").fetchone()[0]
        first = database.execute("SELECT min(seq) FROM call WHERE pid = ?", (pid,)).fetchone()[0]
        for table, named, source in (
            ("call", {"n": "NULL", "pid": "pid + number.i", "seq": "step.i"},
             f"call, number, step WHERE pid = {pid} AND seq = {first} ORDER BY number.i, step.i"),
            ("message", {"n": "NULL", "id": "id || number.i", "box": "box || '-' || number.i", "taken": "1"},
             f"message, number WHERE box = 'pid/{pid}' OR sender = 'pid/{pid}'"),
            ("process", {"pid": "pid + number.i", "name": "name || number.i"}, f"process, number WHERE pid = {pid}"),
        ):  # fmt: skip
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(named.get(column, column) for column in columns)
            database.execute(f"INSERT INTO {table} SELECT {values} FROM {source}")
    database.close()


def started(path: Path) -> float:
    """Seconds that a start takes, the best of a few."""
    program = f"import asyncio, pathlib, start; asyncio.run(start.chat(pathlib.Path({str(path)!r})))"
    command = [sys.executable, "-c", program]
    runs = [
        subprocess.run(command, check=True, cwd=Path(__file__).parent, stdout=subprocess.PIPE) for _ in range(STARTS)
    ]
    return min(float(each.stdout) for each in runs)


def measure(report: Report, options: argparse.Namespace) -> None:
    """Start without a past, and with one."""
    with folder() as path:
        report.add("empty", "start until an agent answers", started(path), "s")
        past(path, options.processes)
        size = (path / "journal.db").stat().st_size / 1e6
        case = f"{options.processes} ended processes, {options.processes * CALLS} rows, {size:.0f} MB"
        report.add(case, "start until an agent answers", started(path), "s", at_most=1.5)


if __name__ == "__main__":
    run("start", __doc__, measure, processes=(int, 100_000, "how many"))
