"""Intents: before a tool is called that may not be called twice, that it will be is written down.

A system that is stopped in the middle of a call makes it again when it starts. That is right for a tool that only
reads, one that is `idempotent`, and one that is `keyed`: under the same idempotency key it acts once. Of any other, a
call that was begun and has no outcome may have been done or not. Then the tool itself is asked, where it offers
`lookup(key)`; else the policies say what becomes of the call: `ask` a person (the same as are asked for approval),
`retry`, or `fail`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..core.errors import OutcomeUnknown
from ..core.ports import Approver, Proceed, Tool
from ..core.records import Call, Traits, Unknown
from ..kernel.process import Process
from .asking import Asking, question
from .turnstile import Turnstile

_STRICTNESS: tuple[Unknown, ...] = ("retry", "ask", "fail")
WHY = "the system was stopped while this was being done, and nobody knows whether it was; a yes does it once more"


class Intents:
    """A filter around the calls of tools."""

    calls = frozenset({"call"})

    def __init__(
        self, tools: Mapping[str, Tool], approver: Approver, intend: Callable[[Call, Process], Awaitable[None]],
        turnstile: Turnstile | None = None,
    ) -> None:  # fmt: skip
        """`intend` commits that a call begins; `turnstile` holds a process's other acts while one is asked about."""
        self._tools, self._asking, self._intend = tools, Asking(approver), intend
        self._turnstile = turnstile or Turnstile()

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Let a call proceed once it is written down; raises OutcomeUnknown for one that may have been done already."""
        tool = self._tools.get(call.args["tool"])
        if process.service is not None or tool is None or call.contained or not acts_each_time(tool.traits):
            return await proceed(call)
        begun = process.history.intents[call.key] if process.history is not None else 0
        if begun and (lookup := getattr(tool, "lookup", None)) is not None:
            if (found := await lookup(call.key)) is not None:
                return found["result"]
        elif begun:
            await self._settle(call, process, begun)
        await self._intend(call, process)
        return await proceed(call)

    async def _settle(self, call: Call, process: Process, begun: int) -> None:
        """Return where a call of unknown outcome is to be made again."""
        tool, policies = call.args["tool"], [holder.grant.policy for holder in process.lineage()]
        verdict = max((policy.says(tool, "unknown") for policy in policies), key=_STRICTNESS.index)
        call.labels += (f"rule:{tool}.unknown.{verdict}",)
        text = f"{tool} was cut off by a stop of the system; it may have done its work: look before it is called again"
        if verdict == "fail":
            raise OutcomeUnknown(text, tool=tool)
        if verdict == "ask":
            four_eyes = any(policy.says(tool, "four_eyes") for policy in policies)
            asked = question(["unknown", call.key, begun], "", call, process, tool, WHY, {}, four_eyes)
            with self._turnstile.showing(call, process):
                answer = await self._asking.ask(asked, call, process)
            if not answer.allowed:
                raise OutcomeUnknown(f"{text}, and nobody approved of that", tool=tool)


def acts_each_time(traits: Traits) -> bool:
    """Whether calling a tool twice, under one key, may do twice what is wanted once."""
    return traits.effect != "read" and not traits.idempotent and not traits.keyed
