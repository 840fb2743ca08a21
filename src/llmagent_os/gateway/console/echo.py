"""Whether a terminal shows what is typed: not while an answer is written, and again where somebody is asked."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

_LOCAL = 3  # where the modes of a terminal have what it does with what is typed


@contextmanager
def echo(shown: bool) -> Iterator[None]:
    """For the block, whether what is typed is shown; what is typed unseen stands in the prompt that comes next."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    modes = list(before)
    modes[_LOCAL] = before[_LOCAL] | termios.ECHO if shown else before[_LOCAL] & ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def forget() -> None:
    """Forget what was typed so far: it answers no question that was not there yet."""
    if sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
