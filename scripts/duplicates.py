"""Blocks of eight lines or more that stand twice in `src`: pylint's search for them, without its inference.

`pylint --enable=duplicate-code` finds the same, but first infers the types of whatever is imported, which takes minutes
and which a comparison of lines does not need.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import astroid
from pylint.checkers.symilar import Symilar

LEAST = 8


def report(files: list[Path]) -> str:
    """What pylint says of these files, with the sum in the last line."""
    search = Symilar(LEAST, ignore_comments=True, ignore_docstrings=True, ignore_imports=True, ignore_signatures=True)
    for path in files:
        text = path.read_text("utf-8")
        search.append_stream(str(path), io.StringIO(text), tree=astroid.parse(text, apply_transforms=False))
    with contextlib.redirect_stdout(io.StringIO()) as said:
        search.run()
    return said.getvalue()


def main() -> int:
    """1 where something stands twice."""
    said = report(sorted(Path(__file__).parents[1].glob("src/**/*.py")))
    if "duplicates=0 " in said:
        return 0
    print(said)
    return 1


if __name__ == "__main__":
    sys.exit(main())
