"""The gate: whether a process may make a call, by what it holds, by the policy, and by where the arguments come from.

    covered by every grant above it -> a refusal, a cap or an allowance of its policy -> the origin of its arguments

A tool that can be contained is not asked about beforehand: it is called so that nothing of it lasts, and a person is
asked where something would have. What covers a call and whose words its result holds, its syscall declares: there is
no list of names here. The decision (see `decision`) is a pure function; asking a person (see `asking`) is the only
thing that waits. What was shown to that person is what is done: the process's other acts wait meanwhile, and a call is
refused where a file that it names is not the one that was shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..core.errors import LLMAgentOSError, PermissionDenied
from ..core.ports import Approver, Proceed, Tool
from ..core.records import DEFAULT, Answer, Call, Json, Traits
from ..core.values import leaves
from ..core.visible import named
from ..kernel.journal import Journal
from ..kernel.process import Process
from .acts import NOTHING, Acts, Before, Find, acts, keeps
from .asking import Asking, TooMany, given, question
from .decision import ALLOWED, NO_RULE, Ruling, decide, meanings_of, settled
from .forms import Forms
from .grants import covered, within
from .labels import Labels, Sight, beside
from .masking import changed
from .turnstile import Turnstile

_NO_TRAITS = Traits()
_SHOWN = 10  # files that a question names

Digests = Callable[[str, Sequence[str]], Awaitable[dict[str, str]]]
"""The files of a workspace that texts name, each with a digest of its content."""


async def _no_files(home: str, texts: Sequence[str]) -> dict[str, str]:
    """Where there are no workspaces."""
    return {}


@dataclass(slots=True)
class Terms:
    """On what terms a call of a tool may be made: contained for a doubt, with arguments that a person put instead."""

    tool: str
    doubt: Ruling | None = None
    arguments: Mapping[str, Json] | None = None
    files: dict[str, str] = field(default_factory=dict)  # that the call names, as they were when it was looked at
    asked: bool = False

    @property
    def contained(self) -> bool:
        """Whether it is to be called so that nothing of it lasts."""
        return self.doubt is not None and self.arguments is None


class Gate:
    """The filter. It follows what processes read, and judges what they do."""

    def __init__(
        self, tools: Mapping[str, Tool], approver: Approver, find: Find = lambda pid: None,
        journal: Callable[[], Journal] | None = None, files: Digests = _no_files,
        tenants: Callable[[Call], None] | None = None,
    ) -> None:  # fmt: skip
        """`find` finds processes by pid, `journal` has what they did before, `files` is for those that calls name.

        `tenants` raises PermissionDenied for a call of what its tenant does not hold (see `Tenants.permit`).
        """
        self._tenants = tenants
        self._tools, self._files, self.forms = tools, files, Forms(tools)
        self._acts, self.turnstile = Acts(tools, find, journal), Turnstile()
        self.asking = Asking(approver, self._acts.user)
        self.labels = Labels(self.trusts, self._names, self._returned)
        self.follow = self.labels.follow  # see `core.ports.Follower`

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Raise PermissionDenied, saying what is missing, or let the call proceed.

        Services hold all that their tenant does.
        """
        bounded = self._tenants if call.tenant != DEFAULT else None
        if process.service is not None and bounded is None:
            return await proceed(call)
        try:
            if bounded is not None:
                bounded(call)
            terms = await self._terms(call, process) if process.service is None else None
        except LLMAgentOSError:
            call.origins = ()  # these are our own words
            raise
        if terms is None:
            return await proceed(call)
        if terms.contained:
            proceed = partial(self._contained, terms, process, proceed)
        else:
            proceed = partial(self._done, terms, process, proceed)
        if not self.trusts(process, terms.tool):
            return await proceed(call)
        return await self._trusting(call, process, terms.tool, proceed)

    async def _terms(self, call: Call, process: Process) -> Terms | None:
        """What `_permit` says, once no other act of the process is looked at by a person, or at work after that."""
        while True:
            labels, terms = call.labels, await self._permit(call, process)
            if terms is None or terms.contained or self._traits(terms.tool).effect == "read":
                return terms
            if await self.turnstile.passes(call, process, terms.asked):
                return terms
            call.labels = labels

    async def _permit(self, call: Call, process: Process) -> Terms | None:
        """Raise PermissionDenied for what is not held or not allowed; returns how a tool may be called, if one is."""
        terms = None
        for kind, name in call.syscall.covers(call.args):
            covered(process, kind, name)
            if kind == "tools":
                terms = await self._judge(call, process, name)
        return terms

    async def _done(self, terms: Terms, process: Process, proceed: Proceed, call: Call) -> Any:
        """Call a tool, with what a person put instead if anything, and keep in mind that it was."""
        tool, arguments = terms.tool, given(call) if terms.arguments is None else terms.arguments
        if terms.arguments is not None:
            proceed = partial(_edited, terms.arguments, proceed)
        if not acts(self._traits(tool)):
            await self._unchanged(terms, process, call)
            return await proceed(call)
        self._acts.begin(call, process, tool, {**self.forms.of(tool).defaults, **arguments})
        try:
            await self._unchanged(terms, process, call)
            return await proceed(call)
        except LLMAgentOSError as error:
            self._acts.failed(call, process, error)
            raise

    async def _contained(self, terms: Terms, process: Process, proceed: Proceed, call: Call) -> Any:
        """Call a tool so that nothing of it lasts; where something would have, ask whether it is to be called again,

        to last. Without a yes the result is what it was.
        """
        doubt = terms.doubt or ALLOWED
        if doubt.verdict == "ask" and self._traits(terms.tool).effect != "read":
            terms.files = await self._named(call, process, terms.tool)
        call.contained = True
        try:
            result = await proceed(call)
        finally:
            call.contained = False
        lost = result.get("not_kept") if isinstance(result, Mapping) else None
        if not lost or doubt.verdict != "ask":
            return result
        would = replace(doubt, why=f"it would change {', '.join(map(named, lost[:_SHOWN]))}; {doubt.why}")
        try:
            answer = await self._ask(would, call, process, terms)
        except PermissionDenied:  # too many questions
            return result
        if not answer.allowed:
            return result
        while not await self.turnstile.passes(call, process, True):
            pass
        for kind, name in call.syscall.covers(call.args):  # what it holds may be less meanwhile
            covered(process, kind, name)
        terms.arguments = answer.arguments
        self._check(process, terms, call)
        return await self._done(terms, process, proceed, call)

    async def _unchanged(self, terms: Terms, process: Process, call: Call) -> None:
        """Raise PermissionDenied where a file that was shown to a person is another one by now."""
        if not terms.asked:
            return
        now = await self._named(call, process, terms.tool)
        other = sorted(name for name in now.keys() | terms.files.keys() if now.get(name) != terms.files.get(name))
        if other:
            names = ", ".join(map(named, other))
            text = f"{terms.tool} was approved of, and not done: what was shown of {names} is not what is there now"
            raise PermissionDenied(f"{text}; call it again, to ask again", tool=terms.tool, files=other)

    async def _named(self, call: Call, process: Process, tool: str) -> dict[str, str]:
        """The files that a call names: by its paths, in its code, or in anything where it declares nothing."""
        traits, meanings = self._traits(tool), dict[str, str]()
        for holder in process.lineage():
            meanings.update(meanings_of(holder.grant.policy.tools.get(tool, NO_RULE), traits))
        telling = [each for name, each in given(call).items() if not meanings or meanings.get(name) in ("path", "code")]
        texts = list(leaves(telling, ()))
        return await self._files(process.home(call.principal), texts) if texts else {}

    async def _trusting(self, call: Call, process: Process, tool: str, proceed: Proceed) -> Any:
        """Call a trusted tool: what it says, also where it fails, may direct as far as what it was asked may."""
        arguments = given(call)
        sight = self.labels.of(process)
        directs = await beside(lambda: self.labels.directs(sight, process, tool, arguments), sight, arguments)
        try:
            return await proceed(call)
        finally:
            if directs:
                call.origins = ()

    async def _judge(self, call: Call, process: Process, tool: str) -> Terms | None:
        terms, sight, traits = Terms(tool), self.labels.of(process), self._traits(tool)
        held, labels = [holder.grant for holder in process.lineage()], call.labels
        for holder in process.lineage():
            policy, rule = holder.grant.policy, holder.grant.policy.tools.get(tool, NO_RULE)
            form, before = self.forms.of(tool), self._before(call, process, tool, sight, bool(rule.most))
            arguments = given(call) if terms.arguments is None else terms.arguments
            whole = {**form.defaults, **arguments} if form.defaults else arguments
            within(holder, tool, whole, meanings_of(rule, traits))
            if terms.arguments is None:
                judge = partial(decide, policy, tool, traits, arguments, sight, form.names, form, before)
                decision = await beside(judge, sight, arguments)
            else:  # these are a person's own
                decision = settled(rule, tool, whole, traits, before) or ALLOWED
            if decision.rule:
                await self._carry_out(decision, call, process, terms)
        self._check(process, terms, call)
        if any(holder.grant is not grant for holder, grant in zip(process.lineage(), held, strict=True)):
            call.labels = labels  # what it holds was changed while a person thought: it is judged by what it holds now
            return await self._permit(call, process)
        return terms

    def _before(self, call: Call, process: Process, tool: str, sight: Sight, sums: bool) -> Before:
        """What a tool did before, where that counts: in doubt, or where a policy says how much it may come to."""
        if not (sight.doubted or sums) or not acts(self._traits(tool)):
            return NOTHING
        return self._acts.before(call, process, tool)

    def _check(self, process: Process, terms: Terms, call: Call) -> None:
        """Raise where what a person allowed, or put instead, is not held, is refused, or is not what the tool takes."""
        if not terms.asked:
            return
        traits, form = self._traits(terms.tool), self.forms.of(terms.tool)
        if terms.arguments is not None:
            self.forms.check(terms.tool, terms.arguments)
        before = self._acts.before(call, process, terms.tool) if acts(traits) else NOTHING
        whole = {**form.defaults, **(given(call) if terms.arguments is None else terms.arguments)}
        for holder in process.lineage():
            rule = holder.grant.policy.tools.get(terms.tool, NO_RULE)
            within(holder, terms.tool, whole, meanings_of(rule, traits))
            decision = settled(rule, terms.tool, whole, traits, before)
            if decision is not None and decision.verdict == "refuse":
                raise _denied(terms.tool, decision)

    async def _carry_out(self, decision: Ruling, call: Call, process: Process, terms: Terms) -> None:
        origins = (f"from:{origin}" for origin in sorted(set(decision.origins.values())))
        call.labels += (*origins, f"rule:{decision.rule}")
        if decision.contain:
            if terms.doubt is None or decision.verdict == "refuse":
                terms.doubt = decision
        elif decision.verdict == "refuse":
            raise _denied(terms.tool, decision)
        elif decision.verdict == "ask":
            answer = await self._ask(decision, call, process, terms)
            if not answer.allowed:
                raise _denied(terms.tool, decision, "and nobody approved of it")
            terms.arguments = answer.arguments if answer.arguments is not None else terms.arguments

    async def _ask(self, decision: Ruling, call: Call, process: Process, terms: Terms) -> Answer:
        """Ask a person, within the turn's budget. A yes holds again where doing it twice is as doing it once.

        What is asked about is what the tool takes; the process's other acts wait until it is over.
        """
        self.forms.check(terms.tool, given(call))
        with self.turnstile.showing(call, process):
            terms.asked = True
            terms.files = terms.files or await self._named(call, process, terms.tool)
            return await self._put(decision, call, process, terms)

    async def _put(self, decision: Ruling, call: Call, process: Process, terms: Terms) -> Answer:
        """Put the question about a call."""
        tool, user = terms.tool, self._acts.user(process)
        about = [user.pid, user.turn, tool, sorted(given(call).items())]
        if terms.files:
            about.append(sorted(terms.files.items()))
        times = ""
        if not self._traits(tool).idempotent:
            of = "" if user is process else f"-{process.pid}.{process.turn}"
            times = of + (f"-{call.times}" if call.times else "")
        four_eyes = any(holder.grant.policy.says(tool, "four_eyes") for holder in process.lineage())
        asked = question(about, times, call, process, tool, decision.why, decision.origins, four_eyes)
        sources = await self.labels.sources(process, given(call))
        asked = replace(asked, editable=True, sources=sources, files=terms.files)
        most = min(holder.grant.policy.approvals for holder in process.lineage())
        try:
            return await self.asking.ask(asked, call, process, most)
        except TooMany:
            raise _denied(tool, decision, f"and {most} questions in a turn are the most") from None

    def _traits(self, tool: str) -> Traits:
        """What a tool declares; of one that there is not, the most careful."""
        found = self._tools.get(tool)
        return found.traits if found is not None else _NO_TRAITS

    def _names(self, tool: str) -> Collection[str]:
        """The names of arguments and their parts in a tool's own schema."""
        return self.forms.of(tool).names

    def _returned(self, process: Process) -> Iterator[tuple[str, Json]]:
        """What trusted tools returned to a process in its earlier turns, where it remembers those."""
        for row in self._acts.rows(process) if keeps(process) else ():
            if row.name == "call" and row.outcome == "ok" and row.origins is None:
                tool = self._acts.unpack(row.args).get("tool")
                if self.trusts(process, tool):
                    yield tool, self._acts.unpack(row.result)

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


def _denied(tool: str, decision: Ruling, more: str = "") -> PermissionDenied:
    text = " ".join(filter(None, (f"{tool} was refused ({decision.rule}): {decision.why}", more)))
    return PermissionDenied(text, tool=tool, rule=decision.rule, origins=dict(decision.origins))
