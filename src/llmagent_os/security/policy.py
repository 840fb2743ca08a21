"""The gate: whether a process may make a call, by what it holds, by the policy, and by where the arguments come from.

    covered by every grant above it -> a refusal, a cap or an allowance of its policy -> the origin of its arguments

A tool that can be contained is not asked about beforehand: it is called so that nothing of it lasts, and a person is
asked where something would have. What covers a call and whose words its result holds, its syscall declares: there is
no list of names here. The decision (see `decision`) is a pure function; asking a person (see `asking`) is the only
thing that waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..core.errors import LLMAgentOSError, PermissionDenied
from ..core.ports import Approver, Proceed, Tool
from ..core.records import Answer, Call, Json, Policy, Traits
from ..kernel.process import Process
from .asking import Asking, TooMany, given, question
from .decision import ALLOWED, NO_RULE, Ruling, decide, meanings_of, settled
from .grants import covered, within
from .labels import Labels
from .masking import changed

_NO_TRAITS = Traits()
_SHOWN = 10  # files that a question names


@dataclass(slots=True)
class Terms:
    """On what terms a call of a tool may be made: contained for a doubt, with arguments that a person put instead."""

    tool: str
    doubt: Ruling | None = None
    policy: Policy | None = None  # whose doubt that is
    arguments: Mapping[str, Json] | None = None


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
            terms = await self._permit(call, process)
        except LLMAgentOSError:
            call.origins = ()  # these are our own words
            raise
        if terms is None:
            return await proceed(call)
        if terms.arguments is not None:
            proceed = partial(_edited, terms.arguments, proceed)
        elif terms.doubt is not None:
            proceed = partial(self._contained, terms.doubt, terms, process, proceed)
        if not self.trusts(process, terms.tool):
            return await proceed(call)
        return await self._trusting(call, process, terms.tool, proceed)

    async def _permit(self, call: Call, process: Process) -> Terms | None:
        """Raise PermissionDenied for what is not held or not allowed; returns how a tool may be called, if one is."""
        terms = None
        for kind, name in call.syscall.covers(call.args):
            covered(process, kind, name)
            if kind == "tools":
                terms = await self._judge(call, process, name)
        return terms

    async def _contained(self, doubt: Ruling, terms: Terms, process: Process, proceed: Proceed, call: Call) -> Any:
        """Call a tool so that nothing of it lasts; where something would have, ask whether it is to be called again,

        to last. Without a yes the result is what it was.
        """
        call.contained = True
        try:
            result = await proceed(call)
        finally:
            call.contained = False
        lost = result.get("not_kept") if isinstance(result, Mapping) else None
        if not lost or doubt.verdict != "ask" or terms.policy is None:
            return result
        would = replace(doubt, why=f"it would change {', '.join(lost[:_SHOWN])}; {doubt.why}")
        try:
            answer = await self._ask(would, call, process, terms.tool, terms.policy)
        except PermissionDenied:  # too many questions
            return result
        if not answer.allowed:
            return result
        for kind, name in call.syscall.covers(call.args):  # what it holds may be less meanwhile
            covered(process, kind, name)
        terms.arguments = answer.arguments
        self._check(process, terms)
        return await (proceed(call) if terms.arguments is None else _edited(terms.arguments, proceed, call))

    async def _trusting(self, call: Call, process: Process, tool: str, proceed: Proceed) -> Any:
        """Call a trusted tool: what it says, also where it fails, may direct as far as what it was asked may."""
        arguments = given(call)
        directs = self.labels.directs(self.labels.of(process), process, tool, arguments)
        try:
            return await proceed(call)
        finally:
            if directs:
                call.origins = ()

    async def _judge(self, call: Call, process: Process, tool: str) -> Terms | None:
        terms, sight = Terms(tool), self.labels.of(process)
        found = self._tools.get(tool)
        traits = found.traits if found is not None else _NO_TRAITS
        held, labels = [holder.grant for holder in process.lineage()], call.labels
        for holder in process.lineage():
            policy, arguments = holder.grant.policy, given(call) if terms.arguments is None else terms.arguments
            rule = policy.tools.get(tool, NO_RULE)
            within(holder, tool, arguments, meanings_of(rule, traits))
            if terms.arguments is None:
                decision = decide(policy, tool, traits, arguments, sight, self._names(tool) if sight.doubted else ())
            else:  # these are a person's own
                decision = settled(rule, tool, arguments) or ALLOWED
            if decision.rule:
                await self._carry_out(decision, call, process, terms, policy)
        self._check(process, terms)
        if any(holder.grant is not grant for holder, grant in zip(process.lineage(), held, strict=True)):
            call.labels = labels  # what it holds was changed while a person thought: it is judged by what it holds now
            return await self._permit(call, process)
        return terms

    def _check(self, process: Process, terms: Terms) -> None:
        """Raise PermissionDenied where arguments that a person put are not held, or are refused whoever says so."""
        found = self._tools.get(terms.tool)
        for holder in process.lineage() if terms.arguments is not None else ():
            assert terms.arguments is not None
            rule = holder.grant.policy.tools.get(terms.tool, NO_RULE)
            within(holder, terms.tool, terms.arguments, meanings_of(rule, found.traits if found else _NO_TRAITS))
            decision = settled(rule, terms.tool, terms.arguments)
            if decision is not None and decision.verdict == "refuse":
                raise _denied(terms.tool, decision)

    async def _carry_out(
        self, decision: Ruling, call: Call, process: Process, terms: Terms, policy: Policy
    ) -> None:  # fmt: skip
        origins = (f"from:{origin}" for origin in sorted(set(decision.origins.values())))
        call.labels += (*origins, f"rule:{decision.rule}")
        if decision.contain:
            if terms.doubt is None or decision.verdict == "refuse":
                terms.doubt, terms.policy = decision, policy
        elif decision.verdict == "refuse":
            raise _denied(terms.tool, decision)
        elif decision.verdict == "ask":
            answer = await self._ask(decision, call, process, terms.tool, policy)
            if not answer.allowed:
                raise _denied(terms.tool, decision, "and nobody approved of it")
            terms.arguments = answer.arguments if answer.arguments is not None else terms.arguments

    async def _ask(self, decision: Ruling, call: Call, process: Process, tool: str, policy: Policy) -> Answer:
        """Ask a person, within the turn's budget. A yes holds again where doing it twice is as doing it once."""
        found, four_eyes = self._tools.get(tool), policy.says(tool, "four_eyes")
        about = [process.pid, process.turn, tool, sorted(given(call).items())]
        again = found is not None and found.traits.idempotent
        times = f"-{call.times}" if call.times and not again else ""
        asked = question(about, times, call, process, tool, decision.why, decision.origins, four_eyes)
        asked = replace(asked, editable=True, sources=self.labels.sources(process, given(call)))
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


async def _edited(arguments: Mapping[str, Json], proceed: Proceed, call: Call) -> Any:
    """Call a tool with what a person put, and let the model know."""
    result = await changed(call, proceed, arguments=dict(arguments))
    note = "the user changed the arguments to these before it was done"
    return {"note": note, "arguments": dict(arguments), "result": result}


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
