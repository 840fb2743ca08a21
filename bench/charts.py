"""Line charts as SVG, by hand: a few kilobytes each, and nothing to install."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from xml.sax.saxutils import quoteattr

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 360, 64, 36, 110, 48
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#66ccee")  # Paul Tol's bright: safe to tell apart

Points = Sequence[tuple[float, float]]


class Axis:
    """Values of one axis, to pixels; logarithmic where that is asked for."""

    def __init__(self, values: Sequence[float], start: float, end: float, log: bool = False) -> None:
        self._scale = math.log10 if log else float
        self.low, self.high = min(values), max(values)
        self._low, self._span = self._scale(self.low), (self._scale(self.high) - self._scale(self.low)) or 1.0
        self._start, self._end, self._log = start, end, log

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self._start + (self._scale(value) - self._low) / self._span * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values between the ends: 1, 2 and 5 of each power of ten, or about five equal steps."""
        if self._log:
            powers = range(math.floor(self._low), math.ceil(math.log10(self.high)) + 1)
            steps = [n * 10.0**power for power in powers for n in (1, 2, 5)]
        else:
            rough = 10 ** math.floor(math.log10(self._span / 4))
            step = next(n * rough for n in (1, 2, 5, 10) if self._span / (n * rough) <= 6)
            steps = [step * n for n in range(math.floor(self.low / step), math.ceil(self.high / step) + 1)]
        return [value for value in steps if self.low <= value <= self.high * (1 + 1e-9)]


def chart(
    title: str, across: str, up: str, lines: Mapping[str, Points], log_x: bool = False, log_y: bool = False
) -> str:
    """An SVG of named lines, each with its name at its end."""
    points = [point for line in lines.values() for point in line]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT, log_x)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP, log_y)
    parts = [
        _text(WIDTH / 2, 20, title, "middle", 15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across, "middle"),
    ]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(_text(16, middle, up, "middle", turn=f"rotate(-90 16 {middle})"))
    for value in x.ticks():
        parts.append(_rule(x.at(value), TOP, x.at(value), HEIGHT - BOTTOM))
        parts.append(_text(x.at(value), HEIGHT - BOTTOM + 16, f"{value:g}", "middle"))
    for value in y.ticks():
        parts.append(_rule(LEFT, y.at(value), WIDTH - RIGHT, y.at(value)))
        parts.append(_text(LEFT - 6, y.at(value) + 4, f"{value:g}", "end"))
    for number, ((name, line), colour) in enumerate(zip(lines.items(), COLOURS, strict=False)):
        path = " ".join(f"{x.at(across):.1f},{y.at(up):.1f}" for across, up in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - RIGHT + 12, TOP + 12 + 20 * number, name, "start", 13, colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *parts, "</svg>", ""])


def _text(x: float, y: float, words: str, anchor: str, size: int = 12, colour: str = "#333", turn: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}{f' transform={quoteattr(turn)}' if turn else ''}>{escape(words)}</text>"


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#ddd"/>'
