"""Processes: what they may consume, how they are started and restarted, their messages, and how long they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .names import Json
from .tools import Grant

Period = Literal["hour", "day", "month"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be drawn on an account. None is no limit.

    `tokens` (input + output) and `steps` (syscalls) are counts, `money` US dollars, `seconds` wall time while a turn
    runs, `depth` how many generations of children a process may have below it. `account` names an account of the
    tenant, with everybody who draws on it; empty is a process's own, with everything below it. `apiece`: each person
    has one of that name. It is full again with each new `period` (UTC); None: never. Used up it stays so until then, or
    until somebody raises it.
    """

    tokens: int | None = None
    money: float | None = None
    steps: int | None = None
    seconds: float | None = None
    depth: int | None = None
    account: str = ""
    period: Period | None = None
    apiece: bool = False

    @property
    def limits(self) -> bool:
        """Whether it limits anything."""
        return (self.tokens, self.money, self.steps, self.seconds, self.depth) != (None,) * 5


Status = Literal["ready", "running", "waiting", "asks", "paused", "stopped", "done", "quarantined"]
"""Of a process: `ready` waits for an engine, `waiting` for a message, another process or a time, `asks` for a person's
answer."""


ENDED = frozenset({"stopped", "done", "quarantined"})


Restart = Literal["permanent", "transient", "temporary"]


RestartStrategy = Literal["one_for_one", "one_for_all", "rest_for_one"]


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a process is restarted, and how it supervises its own children.

    `permanent`: whenever it ends; `transient`: only when it fails; `temporary`: never. More than `intensity` restarts
    of its children within `period` seconds and the supervisor itself fails.
    """

    restart: Restart = "temporary"
    strategy: RestartStrategy = "one_for_one"
    intensity: int = 3
    period: float = 5.0


Owned = Literal["turn", "process"]


@dataclass(frozen=True, slots=True)
class Spawn:
    """A child to start. `nice`: not less than its parent's; None: the same. `grant`: what it holds; None: everything.
    `budget` is its own, or several; only a service may name an account in one.

    `owner` says with what it ends: the `turn` that started it, where that fails or is broken off, or only its parent
    `process`. A turn that ends well leaves its children to the process. `first` is a message that it is born with, as
    received: `{body, id, reply_to, task}`.
    """

    program: str
    args: Json = None
    name: str | None = None
    budget: Budget | Sequence[Budget] | None = None
    supervision: Supervision | None = None
    nice: int | None = None
    grant: Grant | None = None
    owner: Owned = "turn"
    first: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """After how many days data is deleted; None keeps it.

    `calls`: what the journal has of finished turns. `messages`: those that were taken, replies to tasks (whose ids may
    be used again then), and kept responses. `processes`: those that have ended, with their calls. `idle`: sessions that
    nobody used are ended. `approvals`: questions that are answered or over. `versions`: definitions since a newer one
    replaced them. `blobs`: large values and files that nothing names any more.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where configuration enters
    calls: float | None = None
    messages: float | None = None
    processes: float | None = None
    idle: float | None = None
    approvals: float | None = None
    versions: float | None = None
    blobs: float | None = None


ANSWER = "task/"
"""Given as the box to reply to: one of the message's own, which its sender alone waits at (see `Sys.ask`)."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message in a mailbox. `box` is where it lies: a process (`pid/7`) or a task's one-shot reply box (`task/ID`).

    `reply_to` is the box that an answer should go to; `task` names the work it belongs to, for streams and tracing.
    `origins` say whose words, that nobody vouches for, its sender had in sight; `sender` is empty for people.
    `principal` is whom the work is for: until it is answered, its receiver acts for them.
    """

    id: str
    box: str
    body: Json
    sender: str = ""
    reply_to: str | None = None
    task: str | None = None
    origins: Sequence[str] = ()
    principal: str = ""
