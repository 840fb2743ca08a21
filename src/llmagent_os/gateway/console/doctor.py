"""`doctor`: what is missing, and the command that mends it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ...config import load
from . import checks
from .options import AsJson, Data, commands, examples
from .output import emit, say, show, table

app = commands()


@app.command(epilog=examples("doctor", "doctor --deep", "doctor --json"))
def doctor(
    deep: Annotated[bool, typer.Option(help="Also read every model whole and compare its sha256.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Say what is missing and the command that mends it; exit code 1 if there is a problem."""
    config = load({"data": data})
    found = [
        *checks.machine(),
        *checks.memory(config),
        *checks.models(config, deep),
        *checks.files(config),
        asyncio.run(checks.server(config)),
    ]
    found += asyncio.run(checks.tools(config))
    if as_json:
        for check in found:
            emit(check)
    else:
        show(table(("CHECK", "STATE", "FOUND"), ((check.name, check.status, check.found) for check in found)))
        for check in found:
            if check.mend:
                say(f"{check.name}: {check.mend}")
    if any(check.status == "problem" for check in found):
        raise typer.Exit(1)
