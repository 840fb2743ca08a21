"""Asking a person in the middle of a call: how often a turn may, what an answer holds for, and whose time that is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ..core import codec
from ..core.ports import Approver
from ..core.records import Answer, Call, Json, Question
from ..kernel.process import Process

ABOUT = 16  # characters of a question's number that say what it is about
MANY = 1000  # processes whose answers are kept without looking


class TooMany(Exception):
    """A turn has asked as often as it may."""


@dataclass(slots=True)
class _Asked:
    """What was asked in a user's turn, by all processes that work in it."""

    turn: int
    answers: dict[str, Answer | None] = field(default_factory=dict)  # None: not answered yet
    waiting: int = 0  # how many calls wait for a person now


@dataclass(slots=True)
class _Waits:
    """How many calls of a process wait for a person now, and since when any does (`time.monotonic`)."""

    calls: int = 0
    since: float = 0.0


class Asking:
    """Puts questions about calls. People take their time: neither a call's deadline nor a turn's budget of seconds

    runs meanwhile, and a process that was paused meanwhile stays where it is.
    """

    def __init__(self, approver: Approver, user: Callable[[Process], Process] = lambda process: process) -> None:
        """`user`: the process that somebody outside has asked, in whose turn another works."""
        self._approver, self._user = approver, user
        self._asked: dict[int, _Asked] = {}  # by the pid of that process
        self._waits: WeakKeyDictionary[Process, _Waits] = WeakKeyDictionary()

    async def ask(self, question: Question, call: Call, process: Process, most: int | None = None) -> Answer:
        """What a person says; raises TooMany for more than `most` questions in a turn. The call's row tells who it was.

        The turn is the user's, however many agents ask one another in it. A no holds for the same call for the rest of
        it, and so does a yes where doing it twice is as doing it once, so that the question has the same number.
        Elsewhere a yes is for one call: who approves of a payment does not approve of ten.
        """
        asked, about = self._of(process), question.id[:ABOUT]
        for name, found in asked.answers.items():
            if found and (name == question.id or (name[:ABOUT] == about and not found.allowed)):
                return _noted(call, name, found)
        if most is not None and question.id not in asked.answers and len(asked.answers) >= most:
            raise TooMany
        asked.answers.setdefault(question.id, None)
        call.labels += (f"asked:{question.id}",)
        asked.waiting += 1
        try:
            with _their_time(self._waits.setdefault(process, _Waits()), call, process):
                answer = asked.answers[question.id] = await self._approver.ask(question)
                while process.life.paused:
                    await process.go.wait()
        finally:
            asked.waiting -= 1
        return _noted(call, question.id, answer)

    def _of(self, process: Process) -> _Asked:
        """What was asked in the turn that a process works in; a service has no turns."""
        user = self._user(process)
        asked = self._asked.get(user.pid)
        if asked is None or asked.turn != user.turn:
            self._forget()
            asked = _Asked(user.turn)
            if user.service is None:
                self._asked[user.pid] = asked
        return asked

    def _forget(self) -> None:
        """Drop the answers of processes that wait for none, once there are many."""
        if len(self._asked) > MANY:
            for pid in [pid for pid, asked in self._asked.items() if not asked.waiting]:
                del self._asked[pid]


def _noted(call: Call, question: str, answer: Answer) -> Answer:
    """Note in a call's row who said what."""
    if answer.expired:
        call.decision["expired"] = question
    elif answer.allowed or answer.by:
        said: dict[str, Json] = {"question": question, "approver": answer.by, "at": answer.at}
        told = said if answer.arguments is None else said | {"arguments": answer.arguments}
        call.decision["consent" if answer.allowed else "refusal"] = told
    return answer


def given(call: Call) -> Mapping[str, Json]:
    """What a tool is given by a call; by a syscall that does not say so apart, all its arguments."""
    arguments: Mapping[str, Json] = call.args.get("arguments", call.args)
    return arguments


def question(
    about: Json, times: str, call: Call, process: Process, tool: str, why: str, origins: Mapping[str, str],
    four_eyes: bool,
) -> Question:  # fmt: skip
    """The question about a call. What it is `about` makes its number; `times` marks what is asked anew."""
    name = process.name or process.program
    return Question(
        hashlib.blake2b(codec.dumps(about), digest_size=ABOUT // 2).hexdigest() + times, process.pid, call.tenant,
        call.principal, name, tool, given(call), origins, why, process.turn, four_eyes,
    )  # fmt: skip


@contextmanager
def _their_time(waits: _Waits, call: Call, process: Process) -> Iterator[None]:
    """A block in which a person is waited for; the time of several at once counts once."""
    if call.clock is not None:
        call.clock.stop()
    waits.since = waits.since if waits.calls else time.monotonic()
    waits.calls += 1
    process.asking += 1
    try:
        yield
    finally:
        process.asking -= 1
        waits.calls -= 1
        if not waits.calls and process.turn_began:
            process.turn_began += time.monotonic() - waits.since
    if call.clock is not None:
        call.clock.start()
