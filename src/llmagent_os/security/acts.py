"""Acts: calls that do something each time they are made, so that one that is made again is known, and what they sum to.

They are kept with the processes that are awake, by the gate; what was done before a park or a stop of the system is in
the journal's rows. An act belongs to a user's turn, however many agents asked one another in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from ..core import codec
from ..core.errors import BudgetExceeded, InvalidRequest, NotFound, PermissionDenied
from ..core.ports import Tool
from ..core.records import Call, Json, Traits
from ..core.rows import Row
from ..core.values import leaves, written
from ..kernel.journal import Journal
from ..kernel.process import Process

Turn = tuple[int, int]
"""A turn: the pid of its process, and how many of its turns had ended before."""
Find = Callable[[int], Process | None]
"""A process by its pid."""

UNDONE = (PermissionDenied, BudgetExceeded, InvalidRequest, NotFound)
"""What a call fails with that was not begun."""
FOR = "for:"
"""What begins the label of an act that was done in the turn of another process: `for:PID.TURN`."""
MANY = 32  # acts that are kept without looking of a process that keeps nothing between its turns


@dataclass(frozen=True, slots=True)
class Act:
    """A call of a tool that does something each time. `turn` is the user's turn that it was made in."""

    key: str
    turn: Turn
    tool: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Before:
    """What one tool did before a call: in the same turn of the user, and in earlier ones of the same conversation.

    `said` are the user's words that began the turn.
    """

    turn: tuple[Act, ...] = ()
    session: tuple[Act, ...] = ()
    said: str = ""


NOTHING = Before()


def acts(traits: Traits) -> bool:
    """Whether calling a tool twice does twice what is wanted once, to more than its caller's own files."""
    return traits.effect != "read" and not traits.idempotent and not traits.contained


def keeps(process: Process) -> bool:
    """Whether a process has kept anything from its earlier turns: they are of one conversation with this one."""
    return process.state not in (None, b"null")


def user_of(process: Process, find: Find) -> Process:
    """The process that somebody outside has asked, in whose turn another works: who asked it, and so on up."""
    seen: dict[int, Process] = {}
    while process.pid not in seen:
        seen[process.pid] = process
        message = process.serving
        if message is not None and not message.sender:
            return process
        asker = find(int(message.sender[4:])) if message is not None and message.sender[4:].isdecimal() else process.up
        if asker is None or asker.service is not None:
            return process
        process = asker
    return seen[min(seen)]  # they ask each other: one of them counts for all


def said_to(process: Process) -> str:
    """What the message says that a process works on; nothing where another process sent it."""
    message = process.serving
    if message is None or message.sender:
        return ""
    body = message.body
    if not isinstance(body, Mapping):
        return written(body)
    conversation = body.get("messages")
    if not isinstance(conversation, list):
        return written(body.get("text"))
    asked = [each for each in conversation if isinstance(each, Mapping) and each.get("role") == "user"]
    return written(asked[-1].get("content")) if asked else ""


class Acts:
    """What the tools of processes did."""

    def __init__(
        self, tools: Mapping[str, Tool], find: Find = lambda pid: None,
        journal: Callable[[], Journal] | None = None,
    ) -> None:  # fmt: skip
        """`find` finds processes, `journal` has the rows of what was done before; without it nothing was."""
        self._tools, self._find, self._journal = tools, find, journal
        self._of: WeakKeyDictionary[Process, dict[str, Act]] = WeakKeyDictionary()

    def user(self, process: Process) -> Process:
        """See `user_of`."""
        return user_of(process, self._find)

    def before(self, call: Call, process: Process, tool: str) -> Before:
        """What was done by a tool before a call of it."""
        user, mine = self.user(process), self._known(process)
        now = user.pid, user.turn
        known = mine if user is process else {**self._of.get(user, {}), **mine}
        same = [act for key, act in known.items() if act.tool == tool and key != call.key]
        turn = tuple(act for act in same if act.turn == now)
        session = tuple(act for act in same if act.turn != now and act.key in mine) if keeps(process) else ()
        return Before(turn, session, said_to(user) if session else "")

    def begin(self, call: Call, process: Process, tool: str, arguments: Mapping[str, Json]) -> None:
        """Keep in mind that a call is made now."""
        user, mine = self.user(process), self._known(process)
        act = Act(call.key, (user.pid, user.turn), tool, arguments)
        if user is not process:
            call.labels += (f"{FOR}{user.pid}.{user.turn}",)
            self._of.setdefault(user, {})[act.key] = act
        if len(mine) > MANY and not keeps(process):
            for key in [key for key, old in mine.items() if old.turn != act.turn]:
                del mine[key]
        mine[act.key] = act

    def failed(self, call: Call, process: Process, error: Exception) -> None:
        """A call failed. Unless it was not begun, it may have done its work."""
        if isinstance(error, UNDONE):
            self._known(process).pop(call.key, None)
            self._of.get(self.user(process), {}).pop(call.key, None)

    def rows(self, process: Process, after: int = 0) -> list[Row]:
        """The rows of a process's calls of tools, and of those that began."""
        if self._journal is None:
            return []
        return [Row(*values) for values in self._journal().store.read("call.tools", process.pid, after)]

    def unpack(self, packed: bytes | None) -> Any:
        """What a row holds."""
        return None if self._journal is None else self._journal().unpack(packed)

    def _known(self, process: Process) -> dict[str, Act]:
        found = self._of.get(process)
        if found is None:
            found = self._of[process] = {}
            resumed = process.history is not None and process.history.found > 0
            if resumed or (process.turn and keeps(process)):
                found |= {act.key: act for act in self._done(process)}
        return found

    def _done(self, process: Process) -> Iterator[Act]:
        """What the journal knows that was done, or begun: of an earlier turn only where that is remembered."""
        rows = self.rows(process, 0 if keeps(process) else process.upto)
        begun = {row.key for row in rows if row.name == "intent"}
        for row in rows:
            args = self.unpack(row.args)
            tool = args.get("tool")
            if tool not in self._tools or not acts(self._tools[tool].traits):
                continue
            if row.key in begun or (row.outcome != "cancelled" and not self._undone(row)):
                yield Act(row.key, _turn(row), tool, args.get("arguments") or {})

    def _undone(self, row: Row) -> bool:
        return row.error is not None and self.unpack(row.error)["type"] in {each.__name__ for each in UNDONE}


def _turn(row: Row) -> Turn:
    """The user's turn that a row is of."""
    told: Iterable[str] = codec.loads(row.labels) if row.labels else ()
    asked = next((label.removeprefix(FOR) for label in told if label.startswith(FOR)), None)
    if asked is None:
        return row.pid, row.turn - 1
    pid, _, turn = asked.partition(".")
    return int(pid), int(turn)


def numbers(value: Json) -> float:
    """What an argument comes to: the sum of its numbers, those below nothing as nothing."""
    total = 0.0
    for leaf in leaves(value):
        try:
            total += max(0.0, float(leaf))
        except ValueError:
            continue
    return total
