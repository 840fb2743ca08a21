"""Approvals: questions to people, kept until they are answered: for days, and across restarts.

A question is over with the turn that asked it. Who may answer: whom the work is for, and who holds `approvals:write`;
where a policy asks for four eyes, whom the work is for can only refuse. Others are not shown it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..core.errors import Conflict, PermissionDenied, not_found
from ..core.ports import Facts
from ..core.records import Answer, Call, Hidden, Question
from ..kernel.process import Process
from .identity import Caller

SPACE = "approval"
MANY = 1000  # open questions, after which those that are over are looked for
Kept = dict[str, Any]
"""A question as a record: its fields, then what became of it; `at` is None while it waits."""


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
    ) -> None:  # fmt: skip
        """`process` finds one by its pid; `descends`: whether a key was minted from one of a person's."""
        self._facts, self._process, self._descends = facts, process, descends
        kept: list[Kept] = [value for _, value in facts.list(SPACE).values()]
        self._open = {each["id"]: each for each in kept if each["allowed"] is None and each.get("at") is None}
        self._asking: dict[str, set[asyncio.Event]] = defaultdict(set)  # the calls that wait for an answer now
        self._left: set[str] = set()  # questions whose call went away in the middle of its turn

    async def ask(self, question: Question) -> Answer:
        """Put a question, and wait for its answer; one that was answered before is not put again."""
        name = question.id
        found = self._facts.get(SPACE, name)
        if found is not None and found[1]["by"] is not None:
            return _answer(found[1])
        if name not in self._open:
            self._open[name] = asdict(question) | {"allowed": None, "by": None, "at": None}
            await self._facts.put(SPACE, name, self._open[name])
            if len(self._open) > MANY:
                self._close_what_is_over()
        self._left.discard(name)
        answered = asyncio.Event()
        self._asking[name].add(answered)
        try:
            await answered.wait()
        finally:
            self._asking[name].discard(answered)
            if not self._asking[name]:
                del self._asking[name]
                self._left |= {name} & self._open.keys()
        found = self._facts.get(SPACE, name)
        return _answer(found[1]) if found is not None else Answer(False)

    def waiting(self, by: Caller | None = None) -> list[Kept]:
        """The questions that wait for an answer: all there are, or those that somebody may see."""
        self._close_what_is_over()
        return [each for each in self._open.values() if by is None or _sees(by, each)]

    def _close_what_is_over(self) -> None:
        """Note of questions that nobody waits for any more that they are over."""
        for each in [each for each in self._open.values() if not self._is_awaited(each)]:
            del self._open[each["id"]]
            self._left.discard(each["id"])
            self._facts.put(SPACE, each["id"], each | {"allowed": False, "at": time.time()})

    def _is_awaited(self, kept: Kept) -> bool:
        """Whether a call waits for the answer, or will again: its turn was interrupted, and is taken up later."""
        if kept["id"] in self._asking or kept["id"] in self._left:
            return kept["id"] in self._asking
        process = self._process(kept["pid"])
        if process is None or process.life.ended or process.program == "service":
            return False
        return kept.get("turn") in (None, process.turn)

    async def answer(self, call: Call, by: Caller) -> Hidden:
        """The act `approvals.answer` (`id`, `allow`); the result, the record, is somebody else's and so not in the row.

        Raises NotFound, also for what one may not see; PermissionDenied for a yes that takes somebody else; Conflict
        where it has an answer, or where that comes too late: then nothing was done, and nothing will be.
        """
        name, allow = call.args["id"], call.args["allow"]
        kept = self._open.get(name)
        if kept is None or not self._is_awaited(kept):
            raise self._too_late(name, by)
        if not _sees(by, kept):
            raise self._unknown(name, by)
        if allow and kept.get("four_eyes") and self._is_theirs(by, kept):
            text = f"the policy asks for four eyes: somebody else than {kept['principal']} has to allow {kept['tool']}"
            raise PermissionDenied(text, id=name)
        value = kept | {"allowed": allow, "by": by.principal, "at": time.time()}
        del self._open[name]  # at once: of two answers one counts
        call.writes.append(self._facts.written(SPACE, name, value))
        call.ends.append(lambda: self._settle(name, kept))
        return Hidden(value)

    def _settle(self, name: str, kept: Kept) -> None:
        """Let who waits go on, or, where the answer could not be kept, go on waiting."""
        found = self._facts.get(SPACE, name)
        if found is None or found[1]["by"] is None:
            self._open[name] = kept
            return
        for each in self._asking.get(name, ()):
            each.set()

    def _is_theirs(self, by: Caller, kept: Kept) -> bool:
        """Whether somebody is whom the work is for, also with a key that those minted for another name."""
        if (by.tenant, by.principal) == (kept["tenant"], kept["principal"]):
            return True
        return self._descends(by.key, kept["tenant"], kept["principal"])

    def _too_late(self, name: str, by: Caller) -> Exception:
        found = self._facts.get(SPACE, name)
        if found is None or not _sees(by, found[1]):
            return self._unknown(name, by)
        if found[1]["by"] is not None:
            return Conflict(f"question {name} was answered by {found[1]['by']}")
        return Conflict(f"it is too late to answer question {name}: process {found[1]['pid']} does not wait any more")

    def _unknown(self, name: str, by: Caller) -> Exception:
        return not_found("question", name, [each["id"] for each in self.waiting(by)])


def _sees(by: Caller, kept: Kept) -> bool:
    if by.tenant != kept["tenant"]:
        return False
    return "approvals:write" in by.scopes or by.principal == kept["principal"]


def _answer(kept: Kept) -> Answer:
    return Answer(kept["allowed"] is True, kept["by"] or "", kept.get("at") or 0.0)
