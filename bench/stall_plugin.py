"""A plugin for `stall.py`: tools whose results are hostile.

`STALL_TRACE` names a file to which the stack of the event loop is written while it stands still.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping

from stall_inputs import RESULTS

from llmagent_os.core.records import Json, Ticket, ToolSpec, Traits
from llmagent_os.plugins import hookimpl

STILL = 0.08  # seconds


class Given:
    """Gives one of `RESULTS` by its name."""

    spec = ToolSpec("given", "Give a result.", {"type": "object", "properties": {"name": {"type": "string"}}})
    traits = Traits("read", idempotent=True)

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """The result."""
        if "STALL_TRACE" in os.environ:
            watch()
        return RESULTS[str(arguments.get("name"))]()


class Act:
    """Does nothing, with anything: what it is asked is judged all the same."""

    spec = ToolSpec("act", "Do something.", {"type": "object"})
    traits = Traits("external")

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """How many arguments there were."""
        return len(arguments)


@hookimpl
def tools() -> Mapping[str, Given | Act]:
    return {"given": Given(), "act": Act()}


_WATCHING: list[threading.Thread] = []


def watch() -> None:
    """Write down where the event loop is while it does not go round."""
    if _WATCHING:
        return
    loop, main, seen = asyncio.get_running_loop(), threading.main_thread().ident, [time.monotonic()]

    def beat() -> None:
        seen[0] = time.monotonic()
        loop.call_later(0.005, beat)

    def look() -> None:
        with open(os.environ["STALL_TRACE"], "a", encoding="utf-8") as file:
            while True:
                time.sleep(0.02)
                still = time.monotonic() - seen[0]
                if still > STILL:
                    frame = sys._current_frames()[main or 0]
                    file.write(f"--- {time.monotonic():.2f} still for {still:.2f} s\n")
                    file.write("".join(traceback.format_stack(frame)[-9:]))
                    file.flush()

    loop.call_soon(beat)
    _WATCHING.append(threading.Thread(target=look, daemon=True))
    _WATCHING[0].start()
