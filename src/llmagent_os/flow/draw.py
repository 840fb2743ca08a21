"""A flow as a picture, in Mermaid's words, and how far a run of it is, node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core import templates
from ..core.records import Json
from ..core.rows import Row
from .graph import OTHERWISE, Edge, Graph, Node
from .trace import UNDO, Trace, node_of

_SHAPES = {
    "agent": ("([", "])"), "tool": ("[[", "]]"), "function": ("[", "]"), "human": ("{{", "}}"), "similar": ("{", "}"),
}  # fmt: skip
_OF_CHILD = {"stopped": "failed", "quarantined": "failed", "asks": "asks"}
"""What a node is whose process is that, although it has not ended by its rows."""
COLOURS = {
    "done": "fill:#cfe8cf", "running": "fill:#fff0b3", "asks": "fill:#ffd9a0", "failed": "fill:#f4c2c2",
    "not done": "fill:#eeeeee", "waiting": "fill:#ffffff", "undone": "fill:#d9d2e9",
}  # fmt: skip


def mermaid(graph: Graph, nodes: Mapping[str, Mapping[str, Json]] | None = None) -> str:
    """The graph as a flowchart; with the states of `progress`, each node in the colour of its own."""
    lines = ["flowchart TD"]
    for node in graph.nodes:
        before, after = _SHAPES[node.work.kind]
        words = "<br/>".join(map(_escaped, said(node, (nodes or {}).get(node.id))))
        lines.append(f'    {node.id}{before}"{words}"{after}')
    for edge in graph.edges:
        words, arrow = _escaped(label(edge)), "-.->" if edge.limit is not None else "-->"
        words = '|"' + words + '"|' if words else ""
        lines.append(f"    {edge.source} {arrow}{words} {edge.target}")
    states = {name: str(told["state"]) for name, told in (nodes or {}).items()}
    for state in dict.fromkeys(states.values()):
        name = state.replace(" ", "_")
        lines.append(f"    classDef {name} {COLOURS[state]}")
        lines.append(f"    class {','.join(each for each, its in states.items() if its == state)} {name}")
    return "\n".join(lines) + "\n"


def said(node: Node, told: Mapping[str, Json] | None) -> list[str]:
    """What a node says of itself, by lines; `told` is how far it is."""
    name = "a person" if node.work.kind == "human" else f"{node.work.kind} {node.work.name}"
    more = [] if told is None else [f"{told['state']}" + (f", {told['seconds']:.1f} s" if told["seconds"] else "")]
    return [node.id, name, *more]


def label(edge: Edge) -> str:
    """What an edge says of itself: its condition, and how often it is gone; empty where it has neither."""
    when = edge.when
    words: str = OTHERWISE if when == OTHERWISE else ""
    if isinstance(when, Mapping):
        words = ", ".join(
            templates.text(v) if path == templates.WHOLE else f"{path}: {templates.text(v)}" for path, v in when.items()
        )
    return " ".join(filter(None, (words, f"at most {edge.limit}x" if edge.limit else "")))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("\n", " ")


def progress(
    graph: Graph, rows: list[Row], unpack: Callable[[bytes | None], Any],
    child: Callable[[int], Mapping[str, Any] | None], over: bool,
) -> dict[str, dict[str, Json]]:  # fmt: skip
    """Of each node its state, how often it was tried, seconds, tokens, money, the error, and the pids that work on it.

    `child` gives what `ps` shows of a process; `over`: whether the run has ended.
    """
    trace = Trace(rows, unpack)
    none = {"state": "not done" if over else "waiting", "tries": 0, "seconds": 0.0, "tokens": 0, "money": 0.0}
    found: dict[str, dict[str, Any]] = {node.id: none | {"error": None, "pids": []} for node in graph.nodes}
    for piece in trace.known:
        found.get(node_of(piece), {}).update(state="done", earlier=True)
    for each in trace.tries:
        told = found.get(each.node)
        if told is None:
            continue
        info = child(each.pid) if each.pid is not None else None
        if info is not None:
            told["tokens"] += info["usage"]["input_tokens"] + info["usage"]["output_tokens"]
            told["money"] += info["usage"]["money"]
        if each.label.startswith(UNDO):
            told["state"] = "undone" if each.state == "done" else told["state"]
            continue
        state, ends = each.state, each.ended
        if state == "running" and info is not None:
            state = _OF_CHILD.get(info["status"], state)
            told["pids"].append(each.pid)
        told["tries"] += 1
        told["seconds"] += (ends - each.began) if ends is not None else 0.0
        told["state"], told["error"] = state, each.error
    return found
