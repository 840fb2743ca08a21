"""The rows of the journal as they are read, and the history of a turn that a resume or replay answers from."""

from __future__ import annotations

import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from . import codec
from .errors import JournalDamaged
from .records import Envelope, Json

MARKS = frozenset({"idle", "exit", "stop", "fail", "restart", "configure", "intent"})
"""Rows that are not calls but say how a turn ended, that something changed between turns, or that a call begins."""
ENDS = MARKS - {"restart", "configure", "intent"}
"""Those that end a turn."""
UNKNOWN = ""
"""The origins of a row of schema 1, which did not keep them."""


class Row(NamedTuple):
    """One finished call as the journal keeps it; `result` and `error` are packed (see `Journal.unpack`)."""

    pid: int
    seq: int
    turn: int
    name: str
    key: str
    args: bytes
    result: bytes | None
    error: bytes | None
    tenant: str
    principal: str
    labels: str | None  # a JSON list
    origins: str | None  # a JSON list: whose words, that nobody vouches for, are in the result; UNKNOWN
    outcome: str  # ok, error, cancelled, deadline
    decision: bytes | None  # a JSON object: who answered, and why
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    money: float
    started: float
    seconds: float
    waited: float  # of those seconds, for a turn on an engine
    crc: int
    n: int = 0  # its place in the order of commits, where somebody asked for that

    def intact(self) -> bool:
        """Whether what a resume depends on matches its checksum (CRC-32)."""
        return crc(self.key, self.args, self.result, self.error) == self.crc


def read(found: Iterable[Sequence[Any]]) -> list[Row]:
    """Rows as a store returned them; raises JournalDamaged where a checksum does not hold."""
    rows = [Row(*values) for values in found]
    for row in rows:
        if not row.intact():
            text = f"row {row.seq} of process {row.pid} does not match its checksum"
            raise JournalDamaged(text, pid=row.pid, seq=row.seq)
    return rows


def crc(key: str, args: bytes, result: bytes | None, error: bytes | None) -> int:
    """The checksum of a row, over what a resume depends on."""
    return zlib.crc32(b"\0".join((key.encode(), args, result or b"", error or b"")))


def listed(texts: Sequence[str]) -> str | None:
    """Labels or origins as a column holds them: each may hold any character, so they are a JSON list."""
    return codec.dumps(texts).decode() if texts else None


def answer(
    asked: Envelope, kind: str, body: Json, tenant: str, sender: str = "", origins: Sequence[str] = ()
) -> tuple[str, tuple[Any, ...]]:
    """The statement of an answer that the system itself gives to a message; of a kind there is one, however often."""
    return "message.add", (f"{asked.id}.{kind}", asked.reply_to, codec.dumps(body), sender, None, asked.task,
                           time.time(), listed(origins), tenant, asked.principal)  # fmt: skip


ERASED = ("", b"{}", crc("", b"{}", None, None))
"""The key, arguments and checksum of a row whose content was erased; it has no result and no error."""


class History:
    """The calls of an interrupted turn, handed out by key: what a resume or replay answers from."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._by_key: dict[str, deque[Row]] = defaultdict(deque)
        self._cut_off: dict[str, Row] = {}
        self._left, self.found = 0, len(rows)  # calls that nobody asked for yet, and rows that there were at all
        self.intents = Counter(row.key for row in rows if row.name == "intent")  # how often each call was begun
        for row in rows:
            if row.outcome == "cancelled":
                self._cut_off[row.key] = row
            elif row.name not in MARKS:
                self._by_key[row.key].append(row)
                self._left += 1

    def take(self, key: str) -> Row | None:
        """The row of that key, once; None where the call was not finished before."""
        rows = self._by_key.get(key)
        if not rows:
            return None
        self._left -= 1
        return rows.popleft()

    def cut_off(self, key: str) -> Row | None:
        """The row of a call that its caller cancelled: it has no answer."""
        return self._cut_off.get(key)

    def __len__(self) -> int:
        return self._left

    def next(self) -> Row | None:
        """The oldest row that nobody asked for yet: what the program did at this point when it ran first."""
        return min((rows[0] for rows in self._by_key.values() if rows), key=lambda row: row.seq, default=None)
