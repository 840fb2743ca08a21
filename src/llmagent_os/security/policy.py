"""The gate: whether a process may make a call, by what it holds, by the policy, and by where the arguments come from.

    covered by every grant above it -> a refusal, a cap or an allowance of its policy -> the origin of its arguments

What covers a call and whose words its result holds, its syscall declares: there is no list of names here. The decision
(see `decision`) is a pure function; asking a person (see `asking`) is the only thing that waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..core.errors import LLMAgentOSError, PermissionDenied
from ..core.ports import Approver, Proceed, Tool
from ..core.records import Call, Json, Policy, Traits
from ..kernel.process import Process
from .asking import Asking, TooMany, given, question
from .decision import NO_RULE, Ruling, decide, meanings_of
from .grants import covered, within
from .labels import Labels

_NO_TRAITS = Traits()


class Gate:
    """The filter. It follows what processes read, and judges what they do."""

    def __init__(self, tools: Mapping[str, Tool], approver: Approver) -> None:
        self._tools, self._asking = tools, Asking(approver)
        self._known: dict[str, tuple[Json, Collection[str]]] = {}  # a tool's parameters, and the names in them
        self.labels = Labels(self.trusts, self._names)
        self.follow = self.labels.follow  # see `core.ports.Follower`

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Raise PermissionDenied, saying what is missing, or let the call proceed. Services hold everything."""
        if process.service is not None:
            return await proceed(call)
        try:
            tool = await self._permit(call, process)
        except LLMAgentOSError:
            call.origins = ()  # these are our own words
            raise
        if tool is None or not self.trusts(process, tool):
            return await proceed(call)
        return await self._trusting(call, process, tool, proceed)

    async def _permit(self, call: Call, process: Process) -> str | None:
        """Raise PermissionDenied for what is not held or not allowed; returns the tool that is called, if any."""
        tool = None
        for kind, name in call.syscall.covers(call.args):
            covered(process, kind, name)
            if kind == "tools":
                tool = name
                await self._judge(call, process, name)
        return tool

    async def _trusting(self, call: Call, process: Process, tool: str, proceed: Proceed) -> Any:
        """Call a trusted tool: what it says, also where it fails, may direct as far as what it was asked may."""
        arguments = given(call)
        directs = self.labels.directs(self.labels.of(process), process, tool, arguments)
        try:
            return await proceed(call)
        finally:
            if directs:
                call.origins = ()

    async def _judge(self, call: Call, process: Process, tool: str) -> None:
        arguments, sight = given(call), self.labels.of(process)
        found = self._tools.get(tool)
        traits = found.traits if found is not None else _NO_TRAITS
        held, labels = [holder.grant for holder in process.lineage()], call.labels
        for holder in process.lineage():
            policy = holder.grant.policy
            within(holder, tool, arguments, meanings_of(policy.tools.get(tool, NO_RULE), traits))
            decision = decide(policy, tool, traits, arguments, sight, self._names(tool) if sight.doubted else ())
            if decision.rule:
                await self._carry_out(decision, call, process, tool, policy)
        if any(holder.grant is not grant for holder, grant in zip(process.lineage(), held, strict=True)):
            call.labels = labels  # what it holds was changed while a person thought: it is judged by what it holds now
            await self._permit(call, process)

    async def _carry_out(self, decision: Ruling, call: Call, process: Process, tool: str, policy: Policy) -> None:
        origins = (f"from:{origin}" for origin in sorted(set(decision.origins.values())))
        call.labels += (*origins, f"rule:{decision.rule}")
        if decision.verdict == "refuse":
            raise _denied(tool, decision)
        if decision.verdict == "ask" and not await self._ask(decision, call, process, tool, policy):
            raise _denied(tool, decision, "and nobody approved of it")

    async def _ask(self, decision: Ruling, call: Call, process: Process, tool: str, policy: Policy) -> bool:
        """Ask a person, within the turn's budget. A yes holds again where doing it twice is as doing it once."""
        found, four_eyes = self._tools.get(tool), policy.says(tool, "four_eyes")
        about = [process.pid, process.turn, tool, sorted(given(call).items())]
        again = found is not None and found.traits.idempotent
        times = f"-{call.times}" if call.times and not again else ""
        asked = question(about, times, call, process, tool, decision.why, decision.origins, four_eyes)
        try:
            return await self._asking.ask(asked, call, process, policy.approvals)
        except TooMany:
            raise _denied(tool, decision, f"and {policy.approvals} questions in a turn are the most") from None

    def _names(self, tool: str) -> Collection[str]:
        """The names of arguments and their parts in a tool's own schema."""
        found = self._tools.get(tool)
        if found is None:
            return ()
        parameters, names = self._known.get(tool, (None, ()))
        if parameters is not found.spec.parameters:  # a server may change its tools
            parameters, names = found.spec.parameters, _properties(found.spec.parameters)
            self._known[tool] = parameters, names
        return names

    def trusts(self, process: Process, tool: str) -> bool:
        """Whether what a tool returns may direct a process: by the policies above it, else by the tool's own word."""
        rules = [rule for holder in process.lineage() if (rule := holder.grant.policy.tools.get(tool)) is not None]
        if any(rule.trusted is False for rule in rules):
            return False
        found = self._tools.get(tool)
        return any(rule.trusted for rule in rules) or (found is not None and found.traits.trusted)


def _properties(schema: Json) -> set[str]:
    """The names of properties, wherever they stand in a schema."""
    if isinstance(schema, list | tuple):
        return {name for each in schema for name in _properties(each)}
    if not isinstance(schema, Mapping):
        return set()
    properties = schema.get("properties")
    own = set(properties) if isinstance(properties, Mapping) else set()
    return own.union(*map(_properties, schema.values()))


def _denied(tool: str, decision: Ruling, more: str = "") -> PermissionDenied:
    text = " ".join(filter(None, (f"{tool} was refused ({decision.rule}): {decision.why}", more)))
    return PermissionDenied(text, tool=tool, rule=decision.rule, origins=dict(decision.origins))
