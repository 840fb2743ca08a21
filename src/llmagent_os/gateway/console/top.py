"""`top`: the system at work, drawn again twice a second."""

from __future__ import annotations

import asyncio
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live

from .options import AsJson, Data, address, ask, commands, examples, reach
from .output import emit, show, table
from .processes import HEADERS, row

app = commands()

_REFRESH = 0.5  # seconds


@app.command(epilog=examples("top", "top --once", "top --json"))
def top(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Watch the system at work until q or Ctrl-C. --json prints one frame."""
    frame = ask(data, lambda client: client.get("/v1/top"))
    if as_json:
        emit(frame)
    elif once or not sys.stdin.isatty():
        show(_drawn(frame))
    else:
        where = address(data)
        with suppress(KeyboardInterrupt), _keys(), Live(_drawn(frame), screen=True, auto_refresh=False) as live:
            while not _pressed("q"):
                frame = asyncio.run(reach(where, lambda client: client.get("/v1/top")))
                live.update(_drawn(frame), refresh=True)


@contextmanager
def _keys() -> Iterator[None]:
    """Have the terminal hand over each key at once."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(key: str) -> bool:
    """Wait until the next frame is due, or a key is pressed."""
    ready, _, _ = select.select([sys.stdin], [], [], _REFRESH)
    return bool(ready) and sys.stdin.read(1) == key


def _drawn(frame: dict[str, Any]) -> Group:
    """How many processes there are, what the engines do, and who is awake."""
    counts = ", ".join(f"{number} {status}" for status, number in sorted(frame["processes"].items()))
    engines = [(e["name"], e["running"], e["waiting"], e["limit"], e["served"]) for e in frame["engines"]]
    return Group(
        f"processes: {counts or 'none'}    {frame['tokens_per_second']:.1f} tokens/s\n",
        table(("MODEL", "RUNNING", "WAITING", "LIMIT", "SERVED"), engines),
        "",
        table(HEADERS, map(row, frame["live"])),
    )
