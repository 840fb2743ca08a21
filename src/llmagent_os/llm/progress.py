"""What a person sees of a download, on standard error: a bar on a terminal, else a line each tenth."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar


@contextmanager
def shown(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give the function to call with bytes had and bytes in all."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None, visible=False)  # nothing to show where nothing is fetched
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _lines(label: str) -> Callable[[int, int], None]:
    told = 0

    def line(done: int, total: int) -> None:
        nonlocal told
        tenth = done * 10 // total if total else 10
        if tenth > told:
            told = tenth
            print(f"{label}: {tenth * 10} % of {total / 1e6:,.0f} MB", file=sys.stderr, flush=True)

    return line
