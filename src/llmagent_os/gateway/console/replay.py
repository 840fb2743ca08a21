"""`replay`: past processes run again from their journal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from ...config import load
from ...offline import rerun
from ..client import Client, NotRunning
from .options import AsJson, Data, Plugin, ask, chosen_elsewhere, commands, examples
from .output import emit
from .processes import Meant, meant

app = commands()


@app.command(epilog=examples("replay 12", "replay assistant@work", "replay 12 --plugin mine.py", "replay 12 --json"))
def replay(target: Meant, plugin: Plugin = None, as_json: AsJson = False, data: Data = None) -> None:
    """Run a past process again from its journal: no model, no tool, and nothing is written.

    A running system does it with its own programs and tools. Without one, or with --plugin, the files of plugins are
    loaded for it here. Says where the program now does something else than it did; exit code 1 if it does. Of an agent
    or a session all processes are run again.
    """
    reports = _replayed(target, plugin, data)
    for report in reports:
        if as_json:
            emit(report)
            continue
        ran = f"{report['turns']} turns, {report['calls']} calls answered again"
        print(f"process {report['pid']} ({report['program']}): {ran}")
        print(f"diverged in {report['diverged']}" if report["diverged"] else "the same as it was")
    if any(report["diverged"] for report in reports):
        raise typer.Exit(1)


def _replayed(target: str, plugin: list[Path] | None, data: Path | None) -> list[Mapping[str, Any]]:
    if plugin is None:
        try:
            return ask(data, lambda client: _by_system(client, target))
        except NotRunning:
            if chosen_elsewhere(data):
                raise
    config = load({"data": data, "plugins": plugin})
    return [asdict(each) for each in asyncio.run(rerun(config, int(target) if target.isdecimal() else target))]


async def _by_system(client: Client, target: str) -> list[Mapping[str, Any]]:
    return [await client.post(f"/v1/processes/{process['pid']}/replay") for process in await meant(client, target)]
