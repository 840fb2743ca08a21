"""The README does what it says: its examples are run, and print what stands below them.

Every python block runs; a console block runs when `<!-- test -->` stands on the line above it. The text block that
follows a python block is its output; in a console block the lines after `$ command` are. `...` stands for anything.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
_BLOCK = re.compile(r"(?P<mark><!-- test -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Example:
    line: int
    command: tuple[str, ...]
    output: str


def examples(text: str) -> list[Example]:
    """What a page promises, in its order."""
    found: list[Example] = []
    blocks = list(_BLOCK.finditer(text))
    for block, after in zip_longest(blocks, blocks[1:]):
        line = text.count("\n", 0, block.start()) + 1
        if block["kind"] == "python":
            output = after["body"] if after and after["kind"] == "text" else ""
            found.append(Example(line, (sys.executable, "-c", block["body"]), output))
        elif block["kind"] == "console" and block["mark"]:
            found += [Example(line, ("sh", "-c", command), output) for command, output in console(block["body"])]
    return found


def console(body: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output below it."""
    _, *commands = re.split(r"^\$ ", body, flags=re.MULTILINE)
    return [(head, rest) for head, _, rest in (command.partition("\n") for command in commands)]


@pytest.mark.model
@pytest.mark.parametrize("example", examples(README.read_text()), ids=lambda example: f"line {example.line}")
def test_an_example_prints_what_the_readme_shows(example: Example, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(example.command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert doctest.OutputChecker().check_output(example.output, done.stdout, _LIKE), done.stdout


def test_blocks_are_found_with_their_output() -> None:
    page = "a\n```python\nprint(1)\n```\nprints\n```text\n1\n```\n<!-- test -->\n```console\n$ echo a\na\n$ true\n```\n"
    assert [(e.line, e.command[-1], e.output) for e in examples(page)] == [
        (2, "print(1)\n", "1\n"),
        (9, "echo a", "a\n"),
        (9, "true", ""),
    ]


def test_unmarked_console_blocks_are_left_alone() -> None:
    assert examples("```console\n$ make run\n```\n") == []
