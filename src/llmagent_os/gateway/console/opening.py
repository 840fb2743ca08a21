"""What a terminal shows while a model is opened.

llama.cpp holds the whole interpreter until it has loaded one, so a process of its own draws it. How much was read it
learns from the system (Linux).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path

from .screen import draws

_DRAWS = """
import itertools, os, sys, time
pid, name, size, before = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
began, of = time.monotonic(), ""
for picture in itertools.cycle("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"):
    if os.getppid() != pid:
        break
    if before:
        with open(f"/proc/{pid}/io") as file:
            read = min(int(file.readline().split()[1]) - before, size)
        of = f": {read / 1e6:,.0f} of {size / 1e6:,.0f} MB"
    text = f"\\r\\x1b[K{picture} opening {name}{of}, {time.monotonic() - began:.0f} s"
    sys.stderr.buffer.write(text.encode())
    sys.stderr.flush()
    time.sleep(0.1)
"""


@contextmanager
def opening(name: str, size: int) -> Iterator[None]:
    """For the block, show that a model of so many bytes is opened, where standard error is a terminal."""
    if not draws(sys.stderr):
        yield
        return
    try:
        before = Path("/proc/self/io").read_text().split()[1]
    except OSError:
        before = "0"
    command = [sys.executable, "-I", "-S", "-c", _DRAWS, str(getpid()), name, str(size), before]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as drawing:
        try:
            yield
        finally:
            drawing.kill()
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
