"""A plugin for `kill9.py`: an agent, and a tool that appends to a ledger whose every execution is logged.

Both files lie in the folder that the variable LEDGER names. Lines are written whole, with one `write` to a file opened
for appending, so they survive the end of the process at any point.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmagent_os.core.records import Json, Ticket, ToolSpec, Traits
from llmagent_os.plugins import hookimpl

FOLDER = Path(os.environ["LEDGER"])
SLOWEST = 0.05  # seconds before, and again after, an entry is written


class Append:
    """Adds an entry; under a key that has one it adds nothing, as idempotency asks of a tool."""

    spec = ToolSpec(
        "append",
        "Append an entry to the ledger.",
        {"type": "object", "properties": {"entry": {"type": "string"}}, "required": ["entry"]},
    )

    traits = Traits("write", idempotent=True, meanings={"entry": "text"}, trusted=True)

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._ledger = os.open(folder / "ledger", flags)
        self._executions = os.open(folder / "executions", flags)
        self._known = {line.split()[0] for line in (folder / "ledger").read_text().splitlines()}

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Write the entry after a while, and return it after another."""
        key = ticket.key
        entry = arguments["entry"]
        os.write(self._executions, f"{key} {time.time()!r}\n".encode())
        await asyncio.sleep(random.uniform(0, SLOWEST))
        if key not in self._known:
            os.write(self._ledger, f"{key} {entry}\n".encode())
            self._known.add(key)
        await asyncio.sleep(random.uniform(0, SLOWEST))
        return entry


@hookimpl
def tools() -> Mapping[str, Append]:
    return {"append": Append(FOLDER)}


@hookimpl
def agents() -> Sequence[Mapping[str, Json]]:
    return [{"name": "clerk", "model": "scripted", "tools": ["append"]}]
