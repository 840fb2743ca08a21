"""A proof as a picture: the conclusion above, what it stands on below, what was given in green; and facts as a graph:
the thing in the middle, what is joined to it around, each fact an arrow.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape

from .explain import Proof, Step

WIDTH, HEIGHT, ACROSS, DOWN = 230, 52, 20, 46  # of a step, and between two
LETTERS, MOST = 36, 300  # of a line; steps that are drawn
RING, ROUND = 210, 9  # from one circle of things to the next; how many the first has room for
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


def graph(edges: Sequence[tuple[str, str, str]], middle: str = "") -> str:
    """Facts (subject, predicate, object) as an SVG image, things in circles by how far they are from the middle."""
    names = list(dict.fromkeys(name for subject, _, thing in edges for name in (subject, thing))) or [
        middle or "nothing"
    ]
    at = _circles(names, edges, middle if middle in names else names[0])
    size = 2 * (max(math.hypot(x, y) for x, y in at.values()) + RING / 2)
    head = HEAD.format(x=-size / 2, y=-size / 2, w=size, h=size)
    arrow = '<defs><marker id="to" markerWidth="9" markerHeight="8" refX="9" refY="4" orient="auto">'
    arrow += '<path d="M0 0L9 4L0 8z" fill="#555"/></marker></defs>'
    lines = [each for edge in edges for each in _arrow(at[edge[0]], at[edge[2]], edge[1])]
    dots = [f'<text x="{x:g}" y="{y + 4:g}" stroke="#fff" stroke-width="4" paint-order="stroke">{_short(name)}</text>'
            for name, (x, y) in at.items()]  # fmt: skip
    return head + "\n".join([arrow, *lines, *dots, "</svg>\n"])


def _circles(
    names: Sequence[str], edges: Sequence[tuple[str, str, str]], middle: str
) -> dict[str, tuple[float, float]]:
    near = defaultdict[str, list[str]](list)
    for subject, _, thing in edges:
        near[subject].append(thing)
        near[thing].append(subject)
    far, work = {middle: 0}, [middle]
    for name in work:  # it grows
        for other in near[name]:
            if other not in far:
                far[other] = far[name] + 1
                work.append(other)
    rings = defaultdict[int, list[str]](list)
    for name in dict.fromkeys((*work, *names)):
        rings[far.get(name, max(far.values()) + 1)].append(name)
    at, radius = dict[str, tuple[float, float]](), 0.0
    for ring, found in sorted(rings.items()):
        radius = max(radius + RING, RING * len(found) / ROUND) if ring else 0.0
        for number, name in enumerate(found):
            turn = 2 * math.pi * (number / len(found) + 0.07 * ring)
            at[name] = (radius * math.cos(turn), radius * math.sin(turn))
    return at


def _arrow(begin: tuple[float, float], end: tuple[float, float], word: str) -> Iterator[str]:
    (x, y), (x2, y2) = begin, end
    length = math.hypot(x2 - x, y2 - y) or 1.0
    dx, dy = (x2 - x) / length * 22, (y2 - y) / length * 14  # it ends beside the name
    yield f'<path d="M{x + dx:g} {y + dy:g}L{x2 - dx:g} {y2 - dy:g}" stroke="#999" marker-end="url(#to)"/>'
    yield f'<text x="{(x + x2) / 2:g}" y="{(y + y2) / 2:g}" fill="#369" font-size="10">{_short(word)}</text>'


def _short(text: str) -> str:
    told = "".join(filter(str.isprintable, text))  # no control characters: XML has none
    return escape(told if len(told) <= LETTERS else f"{told[: LETTERS - 1]}…")
