"""The examples on a page, and a place to run them in.

A python block is run as a program; a console block is run where `<!-- test -->` stands on the line above it. The text
block that follows a python block is its output; in a console block the lines after `$ command` are. `...` stands for
anything. `<!-- file: NAME -->` above a block saves it under that name for the examples after it, and
`<!-- not run: WHY -->` leaves a python block alone. `llmagent-os up` keeps running until the page ends.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

_BLOCK = re.compile(r"(?:<!-- (?P<mark>.*?) -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_SERVER = re.compile(r"llmagent-os up\b(?!.*--chat)")
_LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_LONGEST = 60.0  # seconds


@dataclass(frozen=True)
class Example:
    """Something to run and what it prints; with `file` something to save."""

    line: int
    command: tuple[str, ...]
    output: str = ""
    file: str = ""


def examples(text: str) -> list[Example]:
    """What a page promises, in its order."""
    found: list[Example] = []
    blocks = list(_BLOCK.finditer(text))
    for block, after in zip_longest(blocks, blocks[1:]):
        line, mark = text.count("\n", 0, block.start("kind")) + 1, block["mark"] or ""
        if mark.startswith("file: "):
            found.append(Example(line, (block["body"],), file=mark.removeprefix("file: ")))
        elif block["kind"] == "python" and not mark.startswith("not run"):
            output = after["body"] if after and after["kind"] == "text" else ""
            found.append(Example(line, (sys.executable, "-c", block["body"]), output))
        elif block["kind"] == "console" and mark == "test":
            found += [Example(line, ("sh", "-c", command), output) for command, output in console(block["body"])]
    return found


def console(body: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output below it; a backslash at a line's end goes on."""
    _, *commands = re.split(r"^\$ ", body, flags=re.MULTILINE)
    found = []
    for command in commands:
        head = re.match(r"(?:.*\\\n)*.*\n?", command)
        assert head is not None
        found.append((head[0].rstrip("\n"), command[head.end() :]))
    return found


class Place:
    """A home of its own for one page: nothing outside it is read or changed but the models' files."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        given = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "LLMAGENT_OS_"))}
        models = {"LLMAGENT_OS_MODELS": str(home / "models"), "LLMAGENT_OS_PORT": "0"}
        self._home, self._stack = home, stack
        self._environment = {**given, **models, "HOME": str(home), "PATH": path, "COLUMNS": "200"}

    def run(self, example: Example) -> None:
        """Run an example; fails showing what it printed instead of what it should have."""
        if example.file:
            (self._home / example.file).write_text(example.command[0])
            return
        if _SERVER.match(example.command[-1]):
            status, printed = 0, self._stack.enter_context(self._server(example.command))
        else:
            status, printed = self._finished(example.command)
        assert status == 0 or "llmagent-os: " in example.output, f"line {example.line}: {printed}"
        same = doctest.OutputChecker().check_output(example.output, printed, _LIKE)
        assert same, f"line {example.line} shows\n{example.output}\nbut this was printed:\n{printed}"

    def _finished(self, command: tuple[str, ...]) -> tuple[int, str]:
        """A command's exit status and what it printed; of a program only its standard output, errors apart."""
        errors = subprocess.STDOUT if command[0] == "sh" else subprocess.PIPE
        done = subprocess.run(
            command, cwd=self._home, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=errors, text=True, timeout=_LONGEST, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + (done.stderr or "" if done.returncode else "")

    @contextmanager
    def _server(self, command: tuple[str, ...]) -> Iterator[str]:
        """What a system prints when it is up; it is stopped when the block ends."""
        log = self._home / "up.txt"
        with log.open("w") as file:
            command = ("sh", "-c", f"exec {command[-1]}")
            server = subprocess.Popen(command, cwd=self._home, env=self._environment, stdout=file, stderr=file)
        try:
            end = time.monotonic() + _LONGEST
            while "stop " not in log.read_text() and server.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            yield log.read_text()
        finally:
            server.terminate()
            server.wait()
