"""Tables of the command line: plain where that will do, folded by `rich` where it will not."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from llmagent_os.gateway.console.output import show, table

HEADS = ("PID", "NAME", "WHY")


def folded(content: Any, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(content)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    "rows", [[], [(1, "clerk", None)], [(1, "a", "x"), (12345, "a long name", ""), (3, "", "y z")]]
)
def test_what_fits_is_written_as_rich_would(rows: list[tuple[object, ...]]) -> None:
    content = table(HEADS, rows)
    assert content.lines(80) == folded(content, 80)


@pytest.mark.parametrize("cell", ["x" * 100, "two\nlines", "中文", "\x1b[31mred", "tab\there"])
def test_what_needs_folding_or_counting_is_left_to_rich(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = table(HEADS, [(1, cell, "")])
    assert content.lines(80) is None
    show(content)
    assert capsys.readouterr().out.splitlines()[0].split() == list(HEADS)


def test_what_others_wrote_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    show(table(HEADS, [(1, "a\x1b[2K\rb\u202e\nc", "")]))
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["1", r"a\u001b[2K\u000db\u202e"] and second.split() == ["c"]


def test_where_no_terminal_sets_a_width_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show(table(HEADS, [(1, "x" * 5000, "y")]))
    assert capsys.readouterr().out == f"PID  NAME{' ' * 4998}WHY\n1    {'x' * 5000}  y\n"
