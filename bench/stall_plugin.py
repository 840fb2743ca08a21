"""A plugin for `stall.py`: tools whose results are hostile.

`STALL_TRACE` names a file to which the stack of the event loop is written while it stands still, and for how much CPU.
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
HELD = 0.05  # seconds of CPU that the loop's thread works without a turn for others


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
    loop, main, seen = asyncio.get_running_loop(), threading.main_thread().ident, [0.0, 0.0]

    def beat() -> None:
        seen[0], worked = time.monotonic(), time.thread_time()
        if worked - seen[1] > HELD:
            with open(os.environ["STALL_TRACE"], "a", encoding="utf-8") as file:
                file.write(f"--- {seen[0]:.2f} held for {worked - seen[1]:.3f} s of CPU\n")
        seen[1] = worked
        loop.call_later(0.005, beat)

    def look() -> None:
        with open(os.environ["STALL_TRACE"], "a", encoding="utf-8") as file:
            while True:
                time.sleep(0.02)
                still = time.monotonic() - seen[0]
                if still > STILL:
                    frame = sys._current_frames()[main or 0]
                    file.write(f"--- {time.monotonic():.2f} still for {still:.2f} s\n")
                    file.write("".join(traceback.format_stack(frame)[-24:]))
                    file.flush()

    seen[:] = time.monotonic(), time.thread_time()
    loop.call_soon(beat)
    _WATCHING.append(threading.Thread(target=look, daemon=True))
    _WATCHING[0].start()
