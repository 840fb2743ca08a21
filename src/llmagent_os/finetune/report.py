"""What was done, as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..core import spans
from .ladder import Climb

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.3em .7em;text-align:right}
td:first-child,th:first-child{text-align:left}.right{background:#e4f3e4}svg{background:#fafafa;border:1px solid #ddd}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}td,th{border-color:#555}.right{background:#243}
svg{background:#222;border-color:#444}}"""


def page(title: str, facts: Mapping[str, Any], found: Climb, pairs: Sequence[tuple[str, str]], curves: Any) -> str:
    """The report: `facts` by name, what was tried, the confusion of (wanted, answered) `pairs`, and `curves`."""
    parts = [f"<h1>{escape(title)}</h1>", _table(("", ""), facts.items()), "<h2>The ladder</h2>"]
    rows = [
        (each.rung, each.round, each.rows, "" if each.why else f"{each.score:.3f} ± {each.error:.3f}", each.asked,
         f"{each.learning:.1f}", f"{each.answering:.1f}", each.why)
        for each in found.tried
    ]  # fmt: skip
    head = ("rung", "round", "rows", "score", "asked", "s learning", "s answering", "")
    parts += [_table(head, rows), f"<p>Chosen: <b>{escape(found.chosen)}</b>: {escape(found.why)}.</p>"]
    parts += ["<h2>What was answered</h2>", _confusion(pairs)] if found.task.labels and pairs else []
    parts += ["<h2>What was found</h2>", _entities(found.task.kinds, pairs)] if found.task.kinds and pairs else []
    for progress in curves:
        parts += ["<h2>The training</h2>", _curve(progress.curve), f"<p>Ended because {escape(progress.ended)}.</p>"]
    body = "\n".join(parts)
    return f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>{body}\n"


def _table(head: Sequence[str], rows: Any) -> str:
    lines = ["".join(f"<td>{escape(str(each))}</td>" for each in row) for row in rows]
    titles = "".join(f"<th>{escape(each)}</th>" for each in head) if any(head) else ""
    return f"<table><tr>{titles}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _confusion(pairs: Sequence[tuple[str, str]]) -> str:
    """How often each label was answered with which; what is no label is counted together."""
    labels = sorted({wanted for wanted, _ in pairs})
    count = Counter((wanted, answer if answer in labels else "(other)") for wanted, answer in pairs)
    columns = [*labels, *(["(other)"] if any(answer == "(other)" for _, answer in count) else [])]
    lines = []
    for wanted in labels:
        cells = "".join(
            f"<td{' class=right' if wanted == answer else ''}>{count[wanted, answer]}</td>" for answer in columns
        )
        whole = sum(count[wanted, answer] for answer in columns)
        told = sum(count[other, wanted] for other in labels) or 1
        recall, precision = count[wanted, wanted] / whole, count[wanted, wanted] / told
        lines.append(f"<tr><td>{escape(wanted)}</td>{cells}<td>{precision:.3f}</td><td>{recall:.3f}</td></tr>")
    head = "".join(f"<th>{escape(each)}</th>" for each in ("wanted \\ answered", *columns, "precision", "recall"))
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def entities(kinds: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[float, float, float, int]]:
    """By kind of span, and over all: precision, recall, their harmonic mean, and how many there are."""
    counts = [spans.shared(*pair) for pair in pairs]
    found = {}
    for kind in [*kinds, "all"]:
        wanted, told, both = (
            sum(n for each in part for (label, _), n in each.items() if kind in (label, "all"))
            for part in zip(*counts, strict=True)
        )
        precision, recall = both / max(1, told), both / max(1, wanted)
        found[kind] = (precision, recall, 2 * both / max(1, wanted + told), wanted)
    return found


def _entities(kinds: Sequence[str], pairs: Sequence[tuple[str, str]]) -> str:
    rows = [
        (kind, f"{precision:.3f}", f"{recall:.3f}", f"{both:.3f}", count)
        for kind, (precision, recall, both, count) in entities(kinds, pairs).items()
    ]
    return _table(("kind", "precision", "recall", "F1", "wanted"), rows)


def _curve(points: Sequence[Mapping[str, float]]) -> str:
    """Losses by step: of the rows that were trained on, and of those that were held out."""
    if len(points) < 2:
        return "<p>Too short for a curve.</p>"
    width, height = 560, 200
    last = max(each["step"] for each in points)
    values = [each[name] for each in points for name in ("loss", "held") if each[name] == each[name]]
    highest = max(values) or 1.0

    def line(name: str, colour: str) -> str:
        places = " ".join(
            f"{each['step'] / last * width:.1f},{height - each[name] / highest * height:.1f}"
            for each in points if each[name] == each[name]
        )  # fmt: skip
        return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{places}"/>'

    lines = line("loss", "#4a7fc1") + line("held", "#c1643a")
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">{lines}</svg>'
        f"<p>Blue: the loss of a step; orange: that of the held-out rows; 0 to {highest:.3f}, {last:.0f} steps.</p>"
    )
