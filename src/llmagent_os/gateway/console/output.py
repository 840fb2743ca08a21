"""What a command prints: tables for people, JSON lines for scripts; remarks go to standard error."""

from __future__ import annotations

import importlib
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core import plain
from ...core.visible import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...core.records import Json

_UNBOUND = 10_000  # columns, where no terminal sets a limit
_GAP = "  "


def say(text: str) -> None:
    """A remark, on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit(value: Json) -> None:
    """One JSON value on a line of its own."""
    print(plain.dumps(value).decode(), flush=True)


def emitted(found: Iterable[Json], as_json: bool) -> bool:
    """Print what was found as JSON, a value a line, where that is asked for; whether it was."""
    if as_json:
        for each in found:
            emit(each)
    return as_json


def moment(seconds: float) -> str:
    """A time since the epoch as this machine's clocks tell it, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self, width: int) -> list[str] | None:
        """As text, where that takes no folding of cells and no counting of wide characters; else None."""
        cells = [self.headers, *self.rows]
        if not all(cell.isascii() and cell.isprintable() for row in cells for cell in row):
            return None
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + len(_GAP) * (len(widths) - 1) > width:
            return None
        return [_GAP.join(map(str.ljust, row, widths)).rstrip() for row in cells]

    def __rich__(self) -> RenderableType:
        grid: Any = _rich("table").Table(*self.headers, box=None, pad_edge=False, header_style="bold")
        text = _rich("text").Text
        for row in self.rows:
            grid.add_row(*(text("\n".join(map(visible, cell.split("\n")))) for cell in row))  # others wrote these
        drawn: RenderableType = grid
        return drawn


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Rows under headers; None shows as nothing."""
    return Table(headers, [["" if cell is None else str(cell) for cell in row] for row in rows])


def show(content: RenderableType | Table) -> None:
    """Print a table on standard output, cut to the terminal where there is one."""
    here = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if here else _UNBOUND
    lines = content.lines(width) if isinstance(content, Table) else None
    if lines is None:
        _rich("console").Console(width=None if here else _UNBOUND, highlight=False).print(content)
        return
    head, *rest = lines
    print("\n".join([f"\x1b[1m{head}\x1b[0m" if here else head, *rest]))


def _rich(module: str) -> Any:
    """A module of `rich`, which is not imported where plain text will do: that takes longer than most commands."""
    return importlib.import_module(f"rich.{module}")


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
    text = value if isinstance(value, str) else plain.dumps(value).decode()
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
