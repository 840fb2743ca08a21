"""A flow as a picture: laid out in layers, and drawn as SVG, a run with how far each node is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from ..core.records import Json
from .draw import COLOURS, label, said
from .graph import Graph

WIDTH, HEIGHT, ACROSS, DOWN = 190, 58, 40, 62  # of a node, and between two
SWEEPS = 8  # over the layers, down and up again: each node goes to the middle of those that it is tied to
PLACES = 5000  # beside nodes, by which long edges go; where there would be more, those go straight
LONGEST = 28  # letters on a line
ROUND = {"agent": 26, "tool": 0, "function": 8, "human": 4, "similar": 16}  # the corners, by kind of work
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="{x:g} {y:g} {w:g} {h:g}" width="{w:g}" height="{h:g}" \
font-family="sans-serif" font-size="12" text-anchor="middle">
<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>
"""
Point = tuple[float, float]


def svg(graph: Graph, nodes: Mapping[str, Mapping[str, Json]] | None = None) -> str:
    """The graph as an SVG image; with the states of `progress`, each node in the colour of its own."""
    places, ways = lay_out(graph)
    xs, ys = ([each[axis] for each in places.values()] for axis in (0, 1))
    head = HEAD.format(x=min(xs) - WIDTH / 2 - ACROSS, y=min(ys) - HEIGHT, w=max(xs) - min(xs) + WIDTH + 3 * ACROSS,
                       h=max(ys) - min(ys) + 2 * HEIGHT)  # fmt: skip
    return head + "\n".join([*_edges(graph, places, ways), *_nodes(graph, places, nodes or {}), "</svg>\n"])


def lay_out(graph: Graph) -> tuple[dict[str, Point], list[list[str]]]:
    """The middle of each node, and of the places beside them by which edges go; and of each edge the way through them.

    Where an editor gave every node a place, it stands there, else in the layer of the longest way that leads to it.
    """
    placed = {node.id: node.at for node in graph.nodes if node.at is not None}
    if len(placed) == len(graph.nodes):
        return placed, [[edge.source, edge.target] for edge in graph.edges]
    rank, ways = _ranks(graph), list[list[str]]()
    up, down = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    layers = [[each for each, its in rank.items() if its == r] for r in range(max(rank.values()) + 1)]
    crowded = sum(rank[edge.target] - rank[edge.source] - 1 for edge in graph.forward()) > PLACES
    for n, edge in enumerate(graph.edges):
        between = [] if crowded or edge.limit is not None else range(rank[edge.source] + 1, rank[edge.target])
        for r in between:
            layers[r].append(f"{n}/{r}")
        ways.append([edge.source, *(f"{n}/{r}" for r in between), edge.target])
        for above, below in pairwise(ways[-1]) if edge.limit is None else ():
            up[below].append(above)
            down[above].append(below)
    for sweep in range(SWEEPS):
        for before, layer in pairwise(layers[:: -1 if sweep % 2 else 1]):
            _settle(layer, before, down if sweep % 2 else up)
    return {each: (x * (WIDTH + ACROSS), r * (HEIGHT + DOWN))
            for r, layer in enumerate(layers) for each, x in _row(layer).items()}, ways  # fmt: skip


def _ranks(graph: Graph) -> dict[str, int]:
    """The layer of each node: how many steps the longest way to it has."""
    rank, into = dict.fromkeys(graph.by_id, 0), graph.forward_to()
    for node in graph.ordered():
        rank[node.id] = max((rank[edge.source] + 1 for edge in into.get(node.id, ())), default=0)
    return rank


def _row(layer: Sequence[str]) -> dict[str, float]:
    """Where those of a layer stand, from its middle."""
    return {each: n - (len(layer) - 1) / 2 for n, each in enumerate(layer)}


def _settle(layer: list[str], before: Sequence[str], ties: Mapping[str, Sequence[str]]) -> None:
    at, own = _row(before), _row(layer)
    tied = {each: [at[other] for other in ties.get(each, ()) if other in at] for each in layer}
    layer.sort(key=lambda each: sum(tied[each]) / len(tied[each]) if tied[each] else own[each])


def _edges(graph: Graph, places: Mapping[str, Point], ways: Sequence[Sequence[str]]) -> Iterator[str]:
    for edge, way in zip(graph.edges, ways, strict=True):
        (x, y), *between, (x2, y2) = [places[each] for each in way]
        dash, side, path = "", 0.0, f"M{x:g} {y + HEIGHT / 2:g}"
        for (ax, ay), (bx, by) in pairwise([(x, y + HEIGHT / 2), *between, (x2, y2 - HEIGHT / 2)]):
            path += f"C{ax:g} {(ay + by) / 2:g} {bx:g} {(ay + by) / 2:g} {bx:g} {by:g}"
        if edge.limit is not None:  # it leads back, at the side
            dash, side = ' stroke-dasharray="5 3"', WIDTH / 2 + ACROSS
            path = f"M{x + WIDTH / 2:g} {y:g}C{x + side:g} {y:g} {x2 + side:g} {y2:g} {x2 + WIDTH / 2:g} {y2:g}"
        yield f'<path d="{path}" fill="none" stroke="#555"{dash} marker-end="url(#a)"/>'
        if words := label(edge):
            yield f'<text x="{(x + x2) / 2 + side:g}" y="{(y + y2) / 2:g}" fill="#333">{_short(words)}</text>'


def _nodes(graph: Graph, places: Mapping[str, Point], nodes: Mapping[str, Mapping[str, Json]]) -> Iterator[str]:
    for node in graph.nodes:
        (x, y), told = places[node.id], nodes.get(node.id)
        style = COLOURS[str(told["state"])] if told else COLOURS["waiting"]
        yield (f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" '
               f'rx="{ROUND[node.work.kind]}" stroke="#555" style="{style}"/>')  # fmt: skip
        for n, line in enumerate(lines := said(node, told)):
            yield f'<text x="{x:g}" y="{y + 4 + (n - (len(lines) - 1) / 2) * 16:g}">{_short(line)}</text>'


def _short(text: str) -> str:
    told = "".join(filter(str.isprintable, text))  # no control characters: XML has none
    return escape(told if len(told) <= LONGEST else f"{told[: LONGEST - 1]}…")
