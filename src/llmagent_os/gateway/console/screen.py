"""What a person sees while an answer comes: a sign of life, which tools are called, the text, and what it took.

The text goes to standard output, and all else to standard error. What is no terminal gets the plain text alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any, TextIO

from ...core.records import Json
from ...core.visible import visible
from .markdown import DIM, PLAIN, Markdown, harmless
from .output import say, short

PATIENCE, FRAME = 0.4, 0.1  # seconds of nothing before a sign of life, and between its pictures
_PICTURES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_WIDTH = 60  # characters of what a tool is called with


def draws(stream: TextIO) -> bool:
    """Whether what a stream goes to is a terminal that knows styles and signs beside letters."""
    capable = os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return capable and stream.isatty() and (stream.encoding or "").lower().replace("-", "") == "utf8"


def dim(text: str) -> str:
    """A remark as standard error shows it: paler than an answer, where that is possible."""
    return f"{DIM}{text}{PLAIN}" if draws(sys.stderr) else text


class Sign:
    """A sign of life on standard error while nothing comes, with the seconds; gone without a trace when it stops."""

    def __init__(self) -> None:
        self._spinning: asyncio.Task[None] | None = None
        self._drawn, self.about = False, ""

    def start(self) -> None:
        """Show it soon, where standard error is a terminal."""
        if self._spinning is None and draws(sys.stderr):
            self._spinning = asyncio.ensure_future(self._spin(time.monotonic()))

    def stop(self) -> None:
        """Show it no more."""
        if self._spinning is not None:
            self._spinning.cancel()
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._spinning, self._drawn, self.about = None, False, ""

    async def _spin(self, began: float) -> None:
        await asyncio.sleep(PATIENCE)
        for picture in cycle(_PICTURES):
            text = f"{picture} {time.monotonic() - began:.0f} s{self.about}"
            print(f"\r\x1b[K{dim(text)}", end="", file=sys.stderr, flush=True)
            self._drawn = True
            await asyncio.sleep(FRAME)


class Pace:
    """How fast an answer is written: the time between two of its pieces counts, that of tools and people does not.

    Engines send a piece a token.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._last: float | None = None
        self._pieces, self._seconds, self._rests = 0, 0.0, 0

    def piece(self) -> None:
        """A piece came."""
        now = self._clock()
        if self._last is not None:
            self._pieces, self._seconds = self._pieces + 1, self._seconds + now - self._last
        self._last = now

    def rest(self) -> None:
        """Nothing is written for a while: a tool works, or a person is asked."""
        self._last, self._rests = None, self._rests + 1

    def took(self, usage: Mapping[str, Any]) -> str:
        """What an answer took, in a line: tokens, tokens a second, seconds, and its cost where it has one."""
        tokens, seconds = usage["output_tokens"], self._clock() - self._began
        written = self._pieces if self._rests else max(tokens - 1, 0)
        speed = written / self._seconds if self._pieces and self._seconds else tokens / seconds if seconds else 0.0
        told = [f"{tokens} tokens", f"{speed:.{0 if speed >= 10 else 1}f} tokens/s", f"{seconds:.1f} s"]
        if usage["money"]:
            told.append(f"${usage['money']:.6f}".rstrip("0").rstrip("."))
        return ", ".join(told)


class Screen:
    """An answer as it is shown while it comes; without `live` its text is not.

    Where standard output is a terminal, Markdown is shown as what it means (NO_COLOR: without colours), and what would
    move the cursor is left out.
    """

    def __init__(self, live: bool = True) -> None:
        self._live = live
        self._open = self._shown = False  # a line is begun; there is text since a tool was last called
        self._safe = sys.stdout.isatty()
        self._markdown = Markdown(not os.environ.get("NO_COLOR")) if draws(sys.stdout) else None
        self._sign, self.pace = Sign(), Pace()

    def wait(self) -> None:
        """Nothing comes now: say that it is worked on, where no line is begun."""
        if not self._open:
            self._sign.start()

    def tell(self, about: str) -> None:
        """Say beside the sign of life what is being done."""
        self._sign.about = f", {about}"

    def piece(self, text: str) -> None:
        """Show a piece."""
        self.pace.piece()
        if self._live and text:
            self._sign.stop()
            self._put(self._markdown.feed(text) if self._markdown else harmless(text) if self._safe else text)
            self._open = self._shown = True

    def pause(self) -> None:
        """End a line that was begun: what is said next stands on one of its own."""
        self._sign.stop()
        self.pace.rest()
        if self._open:
            self._put((self._markdown.end() if self._markdown else "") + "\n")
        self._open = False

    def calling(self, call: Mapping[str, Any]) -> None:
        """Say which tool is called, where somebody sits before it."""
        self.pause()
        self._shown = False
        if sys.stderr.isatty():
            say(dim(f"calling {called(call)} ..."))

    def end(self, text: str) -> None:
        """Show the end, or all of it where nothing came."""
        self._sign.stop()
        if self._live and not self._shown:
            self.piece(text)
        if self._live and (self._open or not text):
            self._put((self._markdown.end() if self._markdown else "") + "\n")
        self._open = False

    def close(self) -> None:
        """Show no more, wherever the answer stands; what is said next stands behind it."""
        self._sign.stop()
        if self._open and self._markdown:
            self._put(self._markdown.end())

    def _put(self, text: str) -> None:
        print(text, end="", flush=True)


def called(call: Mapping[str, Any]) -> str:
    """A call as a person reads it: `stock(apples)`, `pay(to=Ann, amount=5)`."""
    given: dict[str, Json] = call.get("arguments") or {}
    values = [short(value, _WIDTH) for value in given.values()]
    words = values if len(values) == 1 else [f"{name}={value}" for name, value in zip(given, values, strict=True)]
    return visible(f"{call['tool']}({short(', '.join(words), _WIDTH)})")
