"""One syscall on its way through the door, and what a person is asked about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .names import Json
from .requests import Chunk, Part, Usage

Ask = Literal["approve", "choose", "fill", "correct"]
"""What a person is asked for: a yes or no, one of some options, data of a schema, or a text as it should be."""

Outcome = Literal["ok", "error", "cancelled", "deadline"]
"""How a call ended: `cancelled` where its caller went away, `deadline` where it was not answered in time."""


@dataclass(slots=True)
class Call:
    """One syscall on its way through the door.

    Filters and handlers may set `labels`, `origins`, `decision` and `cost`; the journal keeps them. Labels are
    `from:ORIGIN` for untrusted origins of what the call carries, `rule:NAME` for what allowed it, `asked:ID` for a
    question, and `for:PID.TURN` for the turn of another process that it does something in; `origins` are the untrusted
    ones of its result (None: those that its syscall declares), `parts` say whose words its arguments are made of.
    `data` is its result as its row holds it.
    `decision` says who answered and why: `model` (of a route the replica),
    `engine`, `asked` (how often which, where not once), `adapter`, `strategy`, `definition` (NAME@VERSION),
    `candidates` (their expected costs), `probability` (of the choice), `consent` or `refusal` (a person's).
    `contained`: see `Ticket`. `outcome` is how it ended. `meter`
    says what it has cost up to now, should its handler be cut off. `syscall` is its row of the table
    (`ports.Syscall`), `ledger` where the accounts of budgets are. `key` is the idempotency key: the same call
    re-issued after a crash carries the same key. `deadline` is in seconds from the start of the call. `stream` gets
    the chunks of a generation as they come. `waited` is how many seconds it waited for an engine; `ends` are called
    when it is over, however it ended. `writes` are statements committed together with the call's own row, `after`
    runs once they are durable: a handler's effect on our own tables is all or nothing with its record.
    """

    pid: int
    name: str
    args: dict[str, Any]
    key: str
    tenant: str
    principal: str
    deadline: float
    seq: int = 0
    labels: tuple[str, ...] = ()
    origins: tuple[str, ...] | None = None
    parts: Sequence[Part] | None = None
    data: bytes | None = None
    decision: dict[str, Json] = field(default_factory=dict)
    outcome: Outcome = "ok"
    syscall: Any = None
    ledger: Any = None
    clock: Any = None
    contained: bool = False
    cost: Usage = Usage()  # noqa: RUF009 - frozen, as all records are
    meter: Callable[[], Usage] | None = None
    waited: float = 0.0
    stream: Callable[[Chunk], None] | None = None
    writes: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    ends: list[Callable[[], None]] = field(default_factory=list)

    @property
    def times(self) -> int:
        """How often its process made the same call before in this turn."""
        return repeats(self.key)


def repeats(key: str) -> int:
    """How often the same call was made before in its turn: the end of an idempotency key."""
    number = key.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: may this process call that tool so? `id` names the same question for ever.

    `principal` is whom the work is for, `turn` how many turns the process had finished. `origins` says of each argument
    in doubt who wrote it, `sources` of each where it stands; `why` is the reason for asking, in words. `four_eyes`: see
    `Policy`. `editable`: a yes may come with other arguments. `files` are those of its workspace that the call names,
    each with a digest of what is in it: it is done with those, or not at all.

    Where a program asks, and not about a call, `tool` is the `kind` and `arguments` are `question`, `value` and
    `options`. `form` is the JSON schema of the answer, None where a yes or no is one. After `expires` (seconds since
    the epoch) nobody can answer; from `at` on each of `escalate` (`{to, at}`) may as well.
    """

    id: str
    pid: int
    tenant: str
    principal: str
    agent: str
    tool: str
    arguments: Mapping[str, Json]
    origins: Mapping[str, str]
    why: str
    turn: int = 0
    four_eyes: bool = False
    editable: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    kind: Ask = "approve"
    form: Mapping[str, Json] | None = None
    expires: float | None = None
    escalate: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question: whether it may be done, who says so, and when (seconds since the epoch).

    `arguments` are those that the person put instead; None: as they were shown. `value` is what they say where the
    question has a `form`. `expired`: nobody answered in time.
    """

    allowed: bool
    by: str = ""
    at: float = 0.0
    arguments: Mapping[str, Json] | None = None
    value: Json = None
    expired: bool = False


class Hidden:
    """A value that is passed in a call's arguments or result, and written nowhere: a row shows that it was there."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
