"""What stands at the door: processes as others see them, filters, and the rows of the syscall table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ..records import Answer, Call, Chunk, Part, Question, Status


class Invoker(Protocol):
    """A process, as far as its own handle needs to know it."""

    pid: int
    definition: str | None
    history: Any  # see `core.rows.History`


class Owner(Protocol):
    """A process, as far as the scheduling of its calls needs to know it."""

    pid: int
    doing: Status
    service: str | None

    @property
    def status(self) -> Status:
        """What it does, or that it is paused or at its end."""
        ...


class Trap(Protocol):
    """Where syscalls go: the kernel's door, or a recording of it."""

    async def syscall(
        self,
        process: Any,
        name: str,
        args: dict[str, Any],
        deadline: float | None = None,
        stream: Callable[[Chunk], None] | None = None,
        principal: str | None = None,
        parts: Sequence[Part] | None = None,
    ) -> Any:
        """Make a call for a process; returns its result or raises the LLMAgentOSError it ended with."""
        ...

    def publish(self, task: str, chunk: Chunk) -> None:
        """Show a piece of an answer to whoever watches the task."""
        ...


Proceed = Callable[[Call], Awaitable[Any]]


class Filter(Protocol):
    """What must happen around every call: look, change, refuse by raising, or let it proceed.

    One that has an attribute `calls` (names of syscalls) stands around those alone.
    """

    async def __call__(self, call: Call, process: Any, proceed: Proceed) -> Any:
        """Return what `await proceed(call)` returned, or something else, or raise."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A filter that has to know what a process has seen, also of calls that are answered from the journal."""

    def follow(
        self, process: Any, syscall: Syscall, args: Mapping[str, Any], result: Any, origins: Sequence[str],
        parts: Sequence[Part] | None,
    ) -> None:  # fmt: skip
        """A call has succeeded, now or in the run that is resumed.

        `origins` are those that its row has, `parts` whose words the program says that the arguments are made of.
        """
        ...


class Approver(Protocol):
    """Somebody who may allow what a policy does not."""

    async def ask(self, question: Question) -> Answer:
        """What a person says to it; asked again after a crash with the same id. May take as long as a person does."""
        ...


Handler = Callable[[Call, Any], Awaitable[Any]]
"""A syscall's implementation: `(call, process) -> result`."""


Covers = Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]
"""Which part of a grant covers a call, by its arguments: pairs of a field of `Grant` and a name that must be held."""


Brings = Callable[[Mapping[str, Any], Any], Iterable[str]]
"""Whose words a result holds, by arguments and result: origins that may not direct a process; none: its own.

A call that failed is asked about as well, with its error as the result.
"""


Words = Callable[[Mapping[str, Any], Any, Sequence[str]], Iterable[Part]]
"""The words that a call brought into sight, by arguments, result and the origins in its row."""


def uncovered(args: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """For a syscall that touches nothing of others: every process may make it."""
    return ()


def own(args: Mapping[str, Any], result: Any) -> Iterable[str]:
    """For a result that holds nobody else's words."""
    return ()


def plain(value: Any) -> Any:
    """For a result that is JSON data."""
    return value


@dataclass(frozen=True, slots=True)
class Syscall:
    """A row of the syscall table. `deadline` in seconds; `decode` turns the journal's JSON into what callers expect.
    Without it they get JSON data, whatever record or tuple its handler returned.

    `covers` and `brings` are its declaration for the gate; one that leaves a part of it out is refused when the door
    is built. `covers=uncovered` and `brings=own` say so on purpose. `takes` has the types of arguments that become
    columns or numbers, by name: anything else is refused at the door, so is a text with NUL or a number over 63 bits.
    `words` is for a result whose words may direct its process, or some of them; without it none do.
    `shows` names those that only say how its result is shown: they are no part of its row and key. One that does not
    spend costs neither tokens nor money: it may be made where a budget of those is used up. `prompt`: its handler ends
    when it is cancelled, and holds no `asyncio.timeout` while it first waits; it is begun without a task.
    """

    handler: Handler
    deadline: float
    covers: Covers | None = None
    brings: Brings | None = None
    decode: Callable[[Any], Any] = plain
    takes: Mapping[str, tuple[type, ...]] = field(default_factory=dict)
    words: Words | None = None
    shows: Container[str] = ()
    spends: bool = True
    prompt: bool = False
