"""`replay`: a past process run again from its journal."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ...config import load
from ...offline import rerun
from .options import AsJson, Data, Plugin, commands, examples
from .output import emit

app = commands()


@app.command(epilog=examples("replay 12", "replay 12 --plugin mine.py", "replay 12 --json"))
def replay(
    pid: Annotated[int, typer.Argument(metavar="PID", help="The process's number.")],
    plugin: Plugin = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Run a past process again from its journal: no model, no tool, and nothing is written.

    Works beside a running system and without one. Says where the program now does something else than it did; exit
    code 1 if it does.
    """
    report = asyncio.run(rerun(load({"data": data, "plugins": plugin}), pid))
    if as_json:
        emit(report)
    else:
        print(f"process {report.pid} ({report.program}): {report.turns} turns, {report.calls} calls answered again")
        print(f"diverged in {report.diverged}" if report.diverged else "the same as it was")
    if report.diverged:
        raise typer.Exit(1)
