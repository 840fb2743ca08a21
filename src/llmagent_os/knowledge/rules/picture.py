"""A proof as a picture: the conclusion above, what it stands on below, what was given in green."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from .explain import Proof, Step

WIDTH, HEIGHT, ACROSS, DOWN = 230, 52, 20, 46  # of a step, and between two
LETTERS, MOST = 36, 300  # of a line; steps that are drawn
Places = dict[int, tuple[float, float]]
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="{x:g} {y:g} {w:g} {h:g}" width="{w:g}" height="{h:g}" \
font-family="sans-serif" font-size="12" text-anchor="middle">
"""


def svg(proof: Proof) -> str:
    """The proof as an SVG image; of a very long one the first 300 steps."""
    steps, layer, rows = proof.steps[:MOST], defaultdict[int, int](int), defaultdict[int, list[int]](list)
    for number, step in enumerate(steps):  # premises come after what stands on them
        rows[layer[number]].append(number)
        for premise in step.premises:
            layer[premise] = max(layer[premise], layer[number] + 1)
    at: Places = {number: ((n - (len(row) - 1) / 2) * (WIDTH + ACROSS), depth * (HEIGHT + DOWN))
          for depth, row in rows.items() for n, number in enumerate(row)}  # fmt: skip
    width = max(map(len, rows.values())) * (WIDTH + ACROSS)
    head = HEAD.format(x=-width / 2, y=-HEIGHT, w=width, h=(max(rows) + 1) * (HEIGHT + DOWN))
    return head + "\n".join([*_lines(steps, at), *_boxes(steps, at), "</svg>\n"])


def _lines(steps: tuple[Step, ...], at: Places) -> Iterator[str]:
    for number, step in enumerate(steps):
        for premise in filter(at.__contains__, step.premises):
            (x, y), (x2, y2) = at[number], at[premise]
            yield f'<path d="M{x:g} {y + HEIGHT / 2:g}L{x2:g} {y2 - HEIGHT / 2:g}" stroke="#555"/>'


def _boxes(steps: tuple[Step, ...], at: Places) -> Iterator[str]:
    for number, step in enumerate(steps):
        x, y = at[number]
        below = step.rule.text if step.rule else f"given: {step.given.source}" if step.given else ""
        yield (f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="8" '
               f'stroke="#555" fill="{"#fff" if step.rule else "#dfd"}"/>')  # fmt: skip
        yield f'<text x="{x:g}" y="{y - 4:g}">{_short(str(step.fact))}</text>'
        yield f'<text x="{x:g}" y="{y + 14:g}" fill="#555" font-size="10">{_short(below)}</text>'


def _short(text: str) -> str:
    told = "".join(filter(str.isprintable, text))  # no control characters: XML has none
    return escape(told if len(told) <= LETTERS else f"{told[: LETTERS - 1]}…")
