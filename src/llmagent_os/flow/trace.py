"""What the journal has of a run: what was begun, when, by which process, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.records import Json
from ..core.rows import Row

_LABEL = re.compile(r"(?P<piece>(?P<node>[\w-]+)(?:#\d+)?(?:\[\d+\])?)(?:!(?P<attempt>\d+))?")
UNDO = "undo:"
"""What stands before the label of work that undoes what was done."""


def node_of(label: str) -> str:
    """The node that a label, or a piece of work, is of."""
    found = _LABEL.match(label.removeprefix(UNDO))
    return found["node"] if found else label


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
        self._by_pid: dict[int, Try] = {}
        for row in rows:
            if row.outcome == "ok" and row.result is not None and row.name in _READ:
                _READ[row.name](self, row, unpack(row.args), unpack(row.result))

    def _received(self, row: Row, args: Json, result: Json) -> None:
        body = result.get("body")
        self.given, self.origins = body, result.get("origins", ())
        self.tries, self.known, self._by_pid = [], {}, {}  # another message, another run

    def _recalled(self, row: Row, args: Json, result: Json) -> None:
        self.given, self.origins, self.known = result["body"], result["origins"], result["known"]

    def _stepped(self, row: Row, args: Json, result: Json) -> None:
        for label, (value, *error) in zip(args["nodes"], result, strict=True):
            self.tries.append(Try(label, row.started, None, row.started + row.seconds, next(iter(error), None), value))

    def _started(self, row: Row, args: Json, result: Json) -> None:
        for label, pid in zip(args["nodes"], result, strict=True):
            made = Try(label, row.started, pid if isinstance(pid, int) else None)
            if isinstance(pid, int):
                self._by_pid[pid] = made
            else:
                made.ended, made.error = row.started, pid
            self.tries.append(made)

    def _collected(self, row: Row, args: Json, result: Json) -> None:
        for each in result:
            made = self._by_pid[each["pid"]]
            made.ended, made.error = row.started + row.seconds, each.get("error")
            made.value, made.origins = each.get("value"), each.get("origins", ())

    def recalled(self, without: Sequence[str]) -> dict[str, Json]:
        """What a later run takes over but for some nodes: the message and its origins, results by piece of work."""
        done = [each for each in self.tries if each.state == "done" and not each.label.startswith(UNDO)]
        known = self.known | {each.piece: [each.value, list(each.origins)] for each in done}
        kept = {piece: found for piece, found in known.items() if node_of(piece) not in without}
        return {"body": self.given, "origins": list(self.origins), "known": kept}


_READ: Mapping[str, Callable[[Trace, Row, Any, Any], None]] = {
    "receive": Trace._received, "flow_recall": Trace._recalled, "flow_step": Trace._stepped,
    "flow_start": Trace._started, "flow_collect": Trace._collected,
}  # fmt: skip
