"""The tree of processes as a list: filtered so that it stays a tree, sorted among siblings, each row with its depth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core import codec
from ..core.records import ENDED

LIVING = "living"


class Listed(NamedTuple):
    """A process as the store has it; `usage` is JSON."""

    pid: int
    parent: int
    name: str | None
    program: str
    status: str
    reason: str | None
    principal: str
    usage: bytes
    turns: int
    created: float
    nice: int


@dataclass(frozen=True, slots=True)
class Outline:
    """The rows from the top down, and how many fit by status."""

    rows: list[dict[str, Any]]
    counts: dict[str, int]


_KEYS: Mapping[str, Callable[[Listed], Any]] = {
    "pid": lambda each: each.pid,
    "name": lambda each: each.name or each.program,
    "status": lambda each: each.status,
    "turns": lambda each: each.turns,
    "created": lambda each: each.created,
    "tokens": lambda each: _tokens(each),
    "money": lambda each: codec.loads(each.usage).get("money", 0.0),
}


def _tokens(each: Listed) -> int:
    usage = codec.loads(each.usage)
    return int(usage.get("input_tokens", 0) + usage.get("output_tokens", 0))


def outline(
    listed: Iterable[Listed], now: Mapping[int, str], *, text: str, status: str, services: bool, key: str,
    descending: bool,
) -> Outline:  # fmt: skip
    """Make the tree; `now` is what processes that live do at the moment, by pid, and `text` is in small letters."""
    there = {row.pid: row._replace(status=now.get(row.pid, row.status)) for row in listed}
    fitting = {
        row.pid for row in there.values()
        if (services or row.program != "service") and _has(row, text) and _is(row, status)
    }  # fmt: skip
    kept = set[int]()
    for pid in fitting:
        while pid in there and pid not in kept:
            kept.add(pid)
            pid = there[pid].parent
    below: defaultdict[int, list[Listed]] = defaultdict(list)
    for row in sorted((there[pid] for pid in kept), key=_KEYS[key], reverse=descending):
        below[row.parent if row.parent in kept else 0].append(row)
    rows = []
    todo = [(row, 0) for row in reversed(below[0])]
    while todo:
        row, depth = todo.pop()
        rows.append(row._asdict() | {"depth": depth, "fits": row.pid in fitting, "children": len(below[row.pid])})
        todo += [(child, depth + 1) for child in reversed(below[row.pid])]
    return Outline(rows, dict(Counter(there[pid].status for pid in fitting)))


def _has(row: Listed, text: str) -> bool:
    return not text or text in (row.name or "").lower() or text in row.program or text == str(row.pid)


def _is(row: Listed, status: str) -> bool:
    return not status or (row.status not in ENDED if status == LIVING else row.status == status)
