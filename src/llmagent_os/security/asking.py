"""Asking a person in the middle of a call: how often a turn may, what an answer holds for, and whose time that is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

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
    """What a process asked in its present turn."""

    turn: int
    answers: dict[str, Answer | None] = field(default_factory=dict)  # None: not answered yet
    waiting: int = 0  # how many calls wait for a person now
    since: float = 0.0  # when the first of them began to (`time.monotonic`)


class Asking:
    """Puts questions about calls. People take their time: neither a call's deadline nor a turn's budget of seconds

    runs meanwhile, and a process that was paused meanwhile stays where it is.
    """

    def __init__(self, approver: Approver) -> None:
        self._approver = approver
        self._asked: dict[int, _Asked] = {}  # by process

    async def ask(self, question: Question, call: Call, process: Process, most: int | None = None) -> Answer:
        """What a person says; raises TooMany for more than `most` questions in a turn. The call's row tells who it was.

        A no holds for the same call for the rest of the turn, and so does a yes where doing it twice is as doing it
        once, so that the question has the same number. Elsewhere a yes is for one call: who approves of a payment does
        not approve of ten.
        """
        asked, about = self._of(process), question.id[:ABOUT]
        for name, found in asked.answers.items():
            if name[:ABOUT] == about and found and not found.allowed:
                return _noted(call, name, found)
        if most is not None and question.id not in asked.answers and len(asked.answers) >= most:
            raise TooMany
        asked.answers.setdefault(question.id, None)
        call.labels += (f"asked:{question.id}",)
        with _their_time(asked, call, process):
            answer = asked.answers[question.id] = await self._approver.ask(question)
            while process.life.paused:
                await process.go.wait()
        return _noted(call, question.id, answer)

    def _of(self, process: Process) -> _Asked:
        """What was asked in this turn; a service has no turns."""
        asked = self._asked.get(process.pid)
        if asked is None or asked.turn != process.turn:
            self._forget()
            asked = _Asked(process.turn)
            if process.service is None:
                self._asked[process.pid] = asked
        return asked

    def _forget(self) -> None:
        """Drop the answers of processes that wait for none, once there are many."""
        if len(self._asked) > MANY:
            for pid in [pid for pid, asked in self._asked.items() if not asked.waiting]:
                del self._asked[pid]


def _noted(call: Call, question: str, answer: Answer) -> Answer:
    """Note in a call's row who said what."""
    if answer.allowed or answer.by:
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
def _their_time(asked: _Asked, call: Call, process: Process) -> Iterator[None]:
    """A block in which a person is waited for; the time of several at once counts once."""
    if call.clock is not None:
        call.clock.stop()
    asked.since = asked.since if asked.waiting else time.monotonic()
    asked.waiting += 1
    process.asking += 1
    try:
        yield
    finally:
        process.asking -= 1
        asked.waiting -= 1
        if not asked.waiting and process.turn_began:
            process.turn_began += time.monotonic() - asked.since
    if call.clock is not None:
        call.clock.start()
