"""What the journal has of a run: what was begun, when, by which process, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.records import Json
from ..core.rows import Row
from .graph import Node

_LABEL = re.compile(r"(?P<piece>(?P<node>[\w-]+)(?:#\d+)?(?:\[\d+\])?)(?:!(?P<attempt>\d+))?")
UNDO = "undo:"
"""What stands before the label of work that undoes what was done."""


def node_of(label: str) -> str:
    """The node that a label, or a piece of work, is of."""
    found = _LABEL.match(label.removeprefix(UNDO))
    return found["node"] if found else label


def leaves_rows(node: Node) -> bool:
    """Whether a run that comes to a node has rows of it for certain."""
    return node.over is None and node.keep and node.work.kind != "similar"


@dataclass(slots=True)
class Try:
    """One try of a piece of work. Times are seconds since the epoch; of a function both are those of its row."""

    label: str
    began: float
    pid: int | None = None
    ended: float | None = None
    error: str | None = None
    value: Json = None
    origins: Sequence[str] = ()

    @property
    def node(self) -> str:
        """The node that it is of."""
        return node_of(self.label)

    @property
    def piece(self) -> str:
        """The piece of work that it is of, whatever the try."""
        found = _LABEL.match(self.label)
        return found["piece"] if found else self.label

    @property
    def state(self) -> str:
        """`running`, `done` or `failed`."""
        return "running" if self.ended is None else "done" if self.error is None else "failed"


class Trace:
    """The tries of a run, in the order in which they began, read from the rows of its process."""

    def __init__(self, rows: Iterable[Row], unpack: Callable[[bytes | None], Any]) -> None:
        self.tries: list[Try] = []
        self.given: Json = None
        self.origins: Sequence[str] = ()
        self.error: str | None = None
        self.known: dict[str, list[Any]] = {}
        self.instead: dict[str, list[Any]] = {}  # what nodes were given in place of what their templates say
        self._by_pid: dict[int, Try] = {}
        self._unpack = unpack
        for row in rows:
            self.take(row)

    def take(self, row: Row) -> list[Try]:
        """Read one more row; the tries that it begins or ends."""
        if row.outcome == "ok" and row.result is not None and row.name in _READ:
            return _READ[row.name](self, row, self._unpack(row.args), self._unpack(row.result))
        return []

    def _received(self, row: Row, args: Json, result: Json) -> list[Try]:
        self.given, self.origins = result.get("body"), result.get("origins", ())
        self.tries, self.known, self._by_pid = [], {}, {}  # another message, another run
        self.instead = forked(self.given, self.origins)
        return []

    def _recalled(self, row: Row, args: Json, result: Json) -> list[Try]:
        self.given, self.origins, self.known = result["body"], result["origins"], result["known"]
        self.instead = result.get("instead", {}) | self.instead
        return []

    def _stepped(self, row: Row, args: Json, result: Json) -> list[Try]:
        found = []
        for n, made in enumerate(result):
            label = made[2] if len(made) > 2 else args["nodes"][n]
            error = made[1] if len(made) > 1 else None
            found.append(Try(label, row.started, None, row.started + row.seconds, error, made[0]))
        self.tries += found
        return found

    def _started(self, row: Row, args: Json, result: Json) -> list[Try]:
        return self._begun(args["nodes"], result, row.started)

    def _begun(self, labels: Sequence[str], pids: Sequence[int | str], at: float) -> list[Try]:
        found = []
        for label, pid in zip(labels, pids, strict=True):
            made = Try(label, at, pid if isinstance(pid, int) else None)
            if isinstance(pid, int):
                self._by_pid[pid] = made
            else:
                made.ended, made.error = at, pid
            found.append(made)
        self.tries += found
        return found

    def _collected(self, row: Row, args: Json, result: Json) -> list[Try]:
        found = list[Try]()
        ended = row.started + row.seconds
        for each in result:
            if "pids" in each:
                return found + self._begun(each["nodes"], each["pids"], ended)
            made = self._by_pid[each["pid"]]
            made.ended, made.error = ended, each.get("error")
            made.value, made.origins = each.get("value"), each.get("origins", ())
            found.append(made)
        return found

    def pieces(self) -> dict[str, dict[str, Json]]:
        """How each piece of work came out in its last try: `state`, `value`, `error`; what was taken over is done."""
        found: dict[str, dict[str, Json]] = {
            piece: {"state": "done", "value": value, "error": None} for piece, (value, _) in self.known.items()
        }
        for each in self.tries:
            if not each.label.startswith(UNDO):
                found[each.piece] = {"state": each.state, "value": each.value, "error": each.error}
        return found

    def recalled(self, without: Sequence[str]) -> dict[str, Json]:
        """What a later run takes over but for some nodes: the message and its origins, results by piece of work."""
        done = [each for each in self.tries if each.state == "done" and not each.label.startswith(UNDO)]
        known = self.known | {each.piece: [each.value, list(each.origins)] for each in done}
        kept = {piece: found for piece, found in known.items() if node_of(piece) not in without}
        return {"body": self.given, "origins": list(self.origins), "known": kept, "instead": self.instead}


def forked(body: Json, origins: Sequence[str]) -> dict[str, list[Any]]:
    """What a message has a node given in place of what its template says, with the origins of that."""
    is_fork = isinstance(body, Mapping) and body.keys() >= {"retry", "input"} and isinstance(body.get("from"), str)
    return {body["from"]: [body["input"], list(origins)]} if is_fork else {}


_READ: Mapping[str, Callable[[Trace, Row, Any, Any], list[Try]]] = {
    "receive": Trace._received, "flow_recall": Trace._recalled, "flow_step": Trace._stepped,
    "flow_start": Trace._started, "flow_collect": Trace._collected,
}  # fmt: skip
