"""What a command prints: tables for people, JSON lines for scripts; remarks go to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ...core import codec
from ...core.records import Json

_UNBOUND = 10_000  # columns, where no terminal sets a limit


def say(text: str) -> None:
    """A remark, on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit(value: Json) -> None:
    """One JSON value on a line of its own."""
    print(codec.dumps(value).decode(), flush=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Rows under headers; None shows as nothing."""
    grid = Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return grid


def show(content: RenderableType) -> None:
    """Print a table on standard output, cut to the terminal where there is one."""
    Console(width=None if sys.stdout.isatty() else _UNBOUND, highlight=False).print(content)


def ago(moment: float) -> str:
    """How long since a time in seconds since the epoch, such as `5m`."""
    seconds = max(0.0, time.time() - moment)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def short(value: Json, width: int) -> str:
    """JSON on one line of at most `width` characters; text stands without its quotes."""
    text = value if isinstance(value, str) else codec.dumps(value).decode()
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
