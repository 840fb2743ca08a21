"""The syscall `ask`: a program asks a person to approve, choose, fill in or correct something, and waits for it.

The question is kept where those about calls of tools are (`approvals`), and is one of them: it counts in the turn's
budget of questions, stops the clocks meanwhile, and has the number of its call, so that a restart asks it once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core import asks
from ..core.errors import DeadlineExceeded, PermissionDenied
from ..core.ports import Syscall, own, uncovered
from ..core.records import Answer, Call, Json, Part, Question
from ..kernel.process import Process
from .asking import ABOUT, Asking, TooMany
from .labels import Labels

MONTH = 30 * 86400.0  # the clock of a call does not run while a person is asked


class People:
    """The syscall; `parts` are those of the gate: who puts questions, and who knows whose words are in sight."""

    def __init__(self, parts: Callable[[], tuple[Asking, Labels]]) -> None:
        self._parts = parts

    def table(self) -> dict[str, Syscall]:
        """The row of the syscall table; `syscalls` of a grant covers it, and `approvals` of a policy bounds it."""
        takes = {"question": (str,), "kind": (str,)}
        return {"ask": Syscall(self.ask, MONTH, uncovered, own, takes=takes, words=_words, spends=False)}

    async def ask(self, call: Call, process: Process) -> Json:
        """What a person says (`kind`, `question`, `value`: what it is about, and `asks.FIELDS`).

        To approve: `{approved, value, by}`, the value as they left it, or `{approved: false, why}`; to choose: one of
        `options`; to fill in: data of the `schema`; to correct: the text. Raises PermissionDenied where they refuse, or
        a turn asks too often; DeadlineExceeded where it `expires` and there is nothing `otherwise`; InvalidRequest.
        """
        asked, labels = self._parts()
        form, said, made_of = asks.form(call.args["kind"], call.args), _shown(call.args), process.made_of()
        now, lineage = time.time(), list(process.lineage())
        question = Question(
            hashlib.blake2b(call.key.encode(), digest_size=ABOUT // 2).hexdigest(), process.pid, call.tenant,
            call.principal, process.name or process.program, call.args["kind"], said,
            dict.fromkeys(said, ", ".join(made_of)) if made_of else {}, "it goes on with what you say", process.turn,
            any(holder.grant.policy.four_eyes for holder in lineage), form is None,
            await labels.sources(process, said), {}, call.args["kind"], form,
            None if call.args.get("expires") is None else now + call.args["expires"],
            [{"to": each["to"], "at": now + each["after"]} for each in asks.escalations(call.args)],
        )  # fmt: skip
        most = min(holder.grant.policy.approvals for holder in lineage)
        try:
            answer = await asked.ask(question, call, process, most)
        except TooMany:
            raise PermissionDenied(f"nobody was asked: {most} questions in a turn are the most") from None
        theirs = () if answer.by in ("", call.principal) else (f"person {answer.by}",)
        call.origins = theirs if question.kind == "fill" and not answer.expired else (*made_of, *theirs)
        return _heard(call.args, answer)


def _shown(args: Mapping[str, Any]) -> dict[str, Json]:
    """What is shown of a question: its words, what it is about, and what there is to choose from."""
    return {name: args[name] for name in ("question", "value", "options") if args.get(name) is not None}


def _heard(args: Mapping[str, Any], answer: Answer) -> Json:
    """What the program is told."""
    if args["kind"] == "approve":
        given = answer.arguments or args
        told = {"approved": answer.allowed, "value": given.get("value"), "by": answer.by}
        if answer.expired and args.get("otherwise") is not None:
            return told | {"approved": args["otherwise"], "why": "nobody answered in time"}
        if answer.expired:
            raise _late(args)
        return told if answer.allowed else {"approved": False, "why": f"it was refused by {answer.by or 'nobody'}"}
    if answer.expired and args.get("otherwise") is None:
        raise _late(args)
    if answer.expired:
        return args["otherwise"]
    if not answer.allowed:
        raise PermissionDenied(f"{answer.by or 'nobody'} would not {args['kind']}")
    return answer.value


def _late(args: Mapping[str, Any]) -> DeadlineExceeded:
    seconds = args["expires"]
    return DeadlineExceeded(f"nobody answered within {seconds:g} s", call="ask", seconds=seconds)


def _words(args: Mapping[str, Any], result: Json, origins: Sequence[str]) -> list[Part]:
    """What a person says is the user's word, unless it is somebody else, or what it is made of is."""
    return [Part(result, tuple(origins), "" if origins else "user")]
