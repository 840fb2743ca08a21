"""Approvals: questions to people, kept until they are answered: for days, and across restarts.

A question is over with the turn that asked it, or when it expires, and then says why. Who may answer: whom the work is
for, whom it was escalated to, and who holds `approvals:write`; where a policy asks for four eyes, whom the work is for
can only refuse. Others are not shown it. The times of a question are those of when it was put first: a restart changes
none.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ..core import asks, codec
from ..core.errors import Conflict, InvalidRequest, LLMAgentOSError, PermissionDenied, not_found
from ..core.ports import Facts
from ..core.records import Answer, Call, Hidden, Json, Question
from ..kernel.process import Process
from .forms import not_taken
from .identity import Caller

SPACE = "approval"
MANY = 1000  # open questions, after which those that are over are looked for
Kept = dict[str, Any]
"""A question as a record: its fields, then what became of it; `at` is None while it waits. `changed` are arguments that
a person put instead, `answer` is what they say where it has a form, `over` says why nobody can answer it any more, and
`expired` that it was for the time."""
LATE = "nobody answered in time"
SOON = 0.001  # seconds: the shortest wait
SETTLING = 1.0  # seconds after which it is looked again whether an answer came into the journal


class Nobody:
    """Where nobody can be asked, nothing is approved of."""

    async def ask(self, question: Question) -> Answer:
        """See `core.ports.Approver`."""
        return Answer(False)


class Approvals:
    """Where questions wait (see `core.ports.Approver`)."""

    def __init__(
        self, facts: Facts, process: Callable[[int], Process | None] = lambda pid: None,
        descends: Callable[[str, str, str], bool] = lambda key, tenant, principal: False,
        now: Callable[[], float] = time.time,
        takes: Callable[[str, Mapping[str, Json], Mapping[str, Json]], None] = lambda tool, put, asked: None,
    ) -> None:  # fmt: skip
        """`process` finds one by its pid; `descends`: whether a key was minted from one of a person's.

        `takes` raises for what a tool does not take, put instead of what was asked (see `Forms.check_changed`).
        """
        self._facts, self._process, self._descends, self._now, self._takes = facts, process, descends, now, takes
        kept: list[Kept] = [value for _, value in facts.list(SPACE).values()]
        self._open: dict[str, Kept] = {}
        self._of: Counter[tuple[str, str]] = Counter()  # how many of them there are, by tenant and principal
        for each in kept:
            if each["allowed"] is None and each.get("at") is None:
                self._add(each)
        self._asking: dict[str, set[asyncio.Event]] = defaultdict(set)  # the calls that wait for an answer now
        self._settling: set[str] = set()  # questions whose answer is on its way into the journal
        self._left: set[str] = set()  # questions whose call went away in the middle of its turn
        self.told: list[Callable[[Question], None]] = []  # who wants to hear of each question that begins to wait
        self.news: set[Callable[[], None]] = set()  # called when one begins to wait, or has an answer

    async def ask(self, question: Question) -> Answer:
        """Put a question, and wait for its answer; one that was answered before, or has expired, is not put again."""
        name = question.id
        found = self._facts.get(SPACE, name)
        if found is not None and _is_settled(found[1]):
            return _answer(found[1])
        kept = self._open.get(name) or asdict(question) | {"allowed": None, "by": None, "at": None}
        if name not in self._open and name not in self._settling:
            self._add(kept)
            await self._facts.put(SPACE, name, self._open[name])
            if len(self._open) > MANY:
                self._close_what_is_over()
        self._left.discard(name)
        answered = asyncio.Event()
        self._asking[name].add(answered)
        for tell in self.told:
            tell(question)
        self._notify()
        try:
            while not answered.is_set():
                await self._next(name, kept, answered)
        finally:
            self._asking[name].discard(answered)
            if not self._asking[name]:
                del self._asking[name]
                self._left |= {name} & self._open.keys()
            self._notify()
        found = self._facts.get(SPACE, name)
        return _answer(found[1]) if found is not None else Answer(False)

    async def _next(self, name: str, kept: Kept, answered: asyncio.Event) -> None:
        """Wait for an answer, or until it is time for something: others may answer from now on, or nobody any more."""
        now, expires = self._now(), kept.get("expires")
        times = [each["at"] for each in kept.get("escalate", ()) if each["at"] > now]
        left = [at - now for at in (*times, *([] if expires is None else [expires]))]
        least = SOON if name in self._open else SETTLING
        try:
            async with asyncio.timeout(max(least, min(left)) if left else None):
                await answered.wait()
        except TimeoutError:
            if name in self._open and self._is_late(kept):
                await self._expire(name, kept)
            self._notify()

    async def _expire(self, name: str, kept: Kept) -> None:
        """Close a question that nobody answered in time: at once, so that no answer comes in between."""
        self._remove(kept)
        self._settling.add(name)
        try:
            await self._facts.put(SPACE, name, kept | self._closed(kept))
        finally:
            self._settle(name, kept)

    def _is_late(self, kept: Kept) -> bool:
        return kept.get("expires") is not None and kept["expires"] <= self._now()

    def waiting(self, by: Caller | None = None) -> list[Kept]:
        """The questions that wait for an answer: all there are, or those that somebody may see."""
        self._close_what_is_over()
        return [each for each in self._open.values() if by is None or self._sees(by, each)]

    def any(self, tenant: str, principal: str) -> bool:
        """Whether any question about somebody's work waits, as far as one can tell without looking."""
        return self._of[tenant, principal] > 0

    def _add(self, kept: Kept) -> None:
        self._open[kept["id"]] = kept
        self._of[kept["tenant"], kept["principal"]] += 1

    def _remove(self, kept: Kept) -> None:
        del self._open[kept["id"]]
        whose = kept["tenant"], kept["principal"]
        self._of[whose] -= 1
        if not self._of[whose]:
            del self._of[whose]

    def of(self, identifier: str, by: Caller) -> Kept:
        """A question, answered or not; raises NotFound, also for what one may not see."""
        self._close_what_is_over()
        found = self._facts.get(SPACE, identifier)
        if found is None or not self._sees(by, found[1]):
            raise self._unknown(identifier, by)
        return dict(found[1])

    def _close_what_is_over(self) -> None:
        """Note of questions that nobody waits for any more that they are over, and why."""
        for each in [each for each in self._open.values() if not self._is_awaited(each)]:
            self._remove(each)
            self._left.discard(each["id"])
            if self._facts.get(SPACE, each["id"]) is None:  # it was erased with what belonged to its person
                continue
            self._facts.put(SPACE, each["id"], each | self._closed(each))

    def _closed(self, kept: Kept) -> Kept:
        late = {"expired": True} if self._is_late(kept) else {}
        return {"allowed": False, "at": self._now(), "over": self._why_over(kept), **late}

    def _why_over(self, kept: Kept) -> str:
        if self._is_late(kept):
            return LATE
        process = self._process(kept["pid"])
        if process is None or process.life.ended:
            why = process.reason if process is not None else None
            return f"process {kept['pid']} has ended: {why or 'it is done'}"
        if kept.get("turn") not in (None, process.turn):
            return "the task that it was about was cancelled, or has failed"
        return f"process {kept['pid']} does not wait any more: the call was given up"

    def _is_awaited(self, kept: Kept) -> bool:
        """Whether a call waits for the answer, or will again: its turn was interrupted, and is taken up later."""
        if kept["id"] in self._asking or kept["id"] in self._left:
            return kept["id"] in self._asking
        process = self._process(kept["pid"])
        if process is None or process.life.ended or process.program == "service" or self._is_late(kept):
            return False
        return kept.get("turn") in (None, process.turn)

    async def answer(self, call: Call, by: Caller) -> Hidden:
        """The act `approvals.answer` (`id`, `allow`; `arguments`: what is to be put instead, `value`: what is said to
        a question that has a form; each `Hidden`).

        The result, the record, is somebody else's and so not in the row. Raises NotFound, also for what one may not
        see; PermissionDenied for a yes that takes somebody else; InvalidRequest for arguments where none can be put, or
        that the tool does not take, and for a value that is none; Conflict where it has an answer, or where that comes
        too late: then nothing was done, and nothing will be.
        """
        name, allow, put = call.args["id"], call.args["allow"], call.args.get("arguments")
        kept = self._open.get(name)
        if kept is None or not self._is_awaited(kept) or self._is_late(kept):
            raise self._too_late(name, by)
        if not self._sees(by, kept):
            raise self._unknown(name, by)
        if allow and kept.get("four_eyes") and self._is_theirs(by, kept):
            text = f"the policy asks for four eyes: somebody else than {kept['principal']} has to allow {kept['tool']}"
            raise PermissionDenied(text, id=name)
        value = kept | {"allowed": allow, "by": by.principal, "at": self._now()}
        value |= _said(kept, allow, call.args.get("value"))
        if put is not None:
            value["changed"] = _changed(kept, allow, put.value)
            self._check(kept, put.value)
        self._remove(kept)  # at once: of two answers one counts
        self._settling.add(name)
        call.writes.append(self._facts.written(SPACE, name, value))
        call.ends.append(lambda: self._settle(name, kept))
        return Hidden(value)

    def _check(self, kept: Kept, put: Mapping[str, Json]) -> None:
        """Raise InvalidRequest for arguments that what was asked about does not have: the question waits on."""
        asked = kept["arguments"]
        try:
            if kept["tool"] != kept.get("kind"):
                self._takes(kept["tool"], put, asked)
            elif strange := put.keys() - asked.keys():
                raise not_taken("the question", strange, asked)
        except LLMAgentOSError as error:
            raise InvalidRequest(f"these arguments cannot be put: {error.message}", parameter="arguments") from error

    def _settle(self, name: str, kept: Kept) -> None:
        """Let who waits go on, or, where the answer could not be kept, go on waiting."""
        self._settling.discard(name)
        found = self._facts.get(SPACE, name)
        if found is None or not _is_settled(found[1]):
            self._add(kept)
            return
        self._notify()
        for each in self._asking.get(name, ()):
            each.set()

    def _notify(self) -> None:
        for hear in tuple(self.news):
            hear()

    def _is_theirs(self, by: Caller, kept: Kept) -> bool:
        """Whether somebody is whom the work is for, also with a key that those minted for another name."""
        if (by.tenant, by.principal) == (kept["tenant"], kept["principal"]):
            return True
        return self._descends(by.key, kept["tenant"], kept["principal"])

    def _too_late(self, name: str, by: Caller) -> Exception:
        found = self._facts.get(SPACE, name)
        if found is None or not self._sees(by, found[1]):
            return self._unknown(name, by)
        if found[1]["by"] is not None:
            return Conflict(f"question {name} was answered by {found[1]['by']}")
        return Conflict(f"it is too late to answer question {name}: {found[1].get('over') or self._why_over(found[1])}")

    def _unknown(self, name: str, by: Caller) -> Exception:
        return not_found("question", name, [each["id"] for each in self.waiting(by)])

    def _sees(self, by: Caller, kept: Kept) -> bool:
        if by.tenant != kept["tenant"]:
            return False
        others = (each["to"] for each in kept.get("escalate", ()) if each["at"] <= self._now())
        return "approvals:write" in by.scopes or by.principal in (kept["principal"], *others)


def _is_settled(kept: Kept) -> bool:
    """Whether somebody has answered, or nobody did in time."""
    return kept["by"] is not None or kept.get("expired", False)


def _said(kept: Kept, allow: bool, value: Hidden | None) -> Kept:
    """What a person says where a question has a form; raises InvalidRequest where that is none, or none is asked."""
    form = kept.get("form")
    if form is None or not allow:
        if value is not None:
            raise InvalidRequest("this question is answered with a yes or no, and no value", parameter="value")
        return {}
    if value is None:
        raise InvalidRequest(f"this question is to {kept['kind']}: say a value, or refuse", parameter="value")
    most = _most(kept) if kept["kind"] == "correct" else asks.ANSWER
    if (wrong := asks.too_large(value.value, most) or asks.fits(form, value.value)) is not None:
        raise InvalidRequest(f"this is no answer: {wrong}", parameter="value")
    return {"answer": value.value}


def _changed(kept: Kept, allow: bool, put: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a person put instead of the arguments of a question; None where that is what they were."""
    if not allow or not kept.get("editable"):
        text = "only a yes comes with other arguments" if not allow else "of this question no argument can be changed"
        raise InvalidRequest(text, parameter="arguments")
    if (wrong := asks.too_large(put, _most(kept))) is not None:
        raise InvalidRequest(f"these arguments cannot be put: {wrong}", parameter="arguments")
    return None if codec.canonical(put) == codec.canonical(kept["arguments"]) else put


def _most(kept: Kept) -> int:
    """Bytes of a text or of arguments that a person changes: what is there may stay."""
    return max(asks.TEXT, len(codec.dumps(kept["arguments"])))


def _answer(kept: Kept) -> Answer:
    return Answer(
        kept["allowed"] is True, kept["by"] or "", kept.get("at") or 0.0, kept.get("changed"), kept.get("answer"),
        kept.get("expired", False),
    )  # fmt: skip
