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
from rich.text import Text

from .options import AsJson, Data, address, ask, commands, examples, reach
from .output import emit, show, size, table

app = commands()

_REFRESH = 0.5  # seconds
_SHOWN = 10  # processes; with two engines a frame has 20 lines
_HEADERS = ("PID", "NAME", "STATUS", "ENGINE", "TOK/S", "SERVICE", "WAIT", "SLOT/RAM/DISK", "COST")
_BUSY = {"asks": 0, "running": 0, "ready": 1, "waiting": 2}


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
    """The processes that have most to do with the engines, and what each engine does; fits 80 columns, 24 lines."""
    counts = ", ".join(f"{number} {status}" for status, number in sorted(frame["processes"].items()))
    live = sorted(frame["live"], key=lambda each: (_BUSY.get(each["status"], 9), -each["attained"]))
    return Group(
        f"processes: {counts or 'none'}    {frame['tokens_per_second']:.1f} tokens/s    "
        f"{size(frame['memory'])} in memory\n",
        table(_HEADERS, map(_row, live[:_SHOWN])),
        f"... and {len(live) - _SHOWN} more: ps" if len(live) > _SHOWN else "",
        *(line for engine in frame["engines"] for line in _engine(engine)),
    )


def _row(process: dict[str, Any]) -> tuple[object, ...]:
    money = process["usage"]["money"]
    return (
        process["pid"], process["name"][:10], process["status"], (process["engine"] or "")[:8],
        f"{process['speed']:.1f}", f"{process['attained']:.0f}", f"{process['waited']:.1f}s",
        "/".join(_tokens(process[place]) for place in ("slot", "ram", "disk")), f"${money:.2f}" if money else "",
    )  # fmt: skip


def _engine(engine: dict[str, Any]) -> Iterator[Text]:
    """An engine in up to three lines: how it stands, its slots, and who is next."""
    pages = " ".join(f"{tier} {kept['count']} ({size(kept['bytes'])})" for tier, kept in engine["pages"].items())
    calls = f"{engine['running']}/{engine['limit']} run, {engine['waiting']} wait, {engine['held']} held"
    yield _line(f"{_ends(engine['name'])}: {engine['policy']}, {calls}, {pages}")
    if engine["slots"]:
        yield _line("  slots " + " ".join(map(_slot, engine["slots"])))
    if engine["queue"]:
        line = (f"{call['pid']} {call['agent'][:12]} {call['waited']:.1f}s" for call in engine["queue"][:3])
        yield _line("  next  " + ", ".join(line))


def _ends(name: str) -> str:
    """A name in at most 16 characters: of models that begin alike the end tells them apart."""
    return name if len(name) <= 16 else f"{name[:6]}…{name[-9:]}"


def _tokens(count: float) -> str:
    return f"{count:.0f}" if count < 10_000 else f"{count / 1000:.0f}k"


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _slot(slot: dict[str, Any]) -> str:
    """`12:1043*`: process 12 has 1,043 tokens there, and it is at work; `.` is empty."""
    place = f"{slot['pid'] or ''}:{slot['tokens']}" if slot["tokens"] else "."
    return place + "*" * slot["busy"]
