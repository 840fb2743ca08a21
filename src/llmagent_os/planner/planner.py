"""The work of a planner: a plan, its run, the rest planned anew where something fails, an answer with its sources.

Every effect is a syscall, so after a crash it is taken up where it stood; a step that was finished is not done again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core import codec, validity
from ..core.errors import InvalidRequest, ProcessFailed
from ..core.records import GenerateRequest, Json, Message, Sampling, Usage
from ..core.sys import Sys
from . import words
from .decide import Decision, Known, offered, ranked
from .plan import Settings, Step, Template, graph, schema, steps_of
from .steps import DECIDED, MADE

TOKENS = 1200  # of a plan at most
Kept = Mapping[str, tuple[Json, Sequence[str]]]
"""Results by step, with whose words they are made of."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a graph: its result, the result of each node that was done, and by whom, and what it consumed."""

    value: Json
    kept: Kept
    by: Mapping[str, str]
    usage: Usage


Judge = Callable[[str, str, str, int | None, Sequence[str]], Awaitable[Decision]]
"""What follows from a try that went wrong: of which node, by whom, why, as which process, who tried so far."""
Run = Callable[[Mapping[str, Json], Json, Kept, Judge], Awaitable[Ran]]
"""Runs a graph with an input; what is kept is not done again."""


@dataclass(slots=True)
class Planner:
    """One goal. `model` makes plans, under the instructions `prompt`; `run` runs graphs."""

    sys: Sys
    settings: Settings
    model: str
    run: Run
    prompt: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    known: list[Known] = field(default_factory=list)
    out: set[str] = field(default_factory=set)  # agents that a step was taken from
    needs: dict[str, str] = field(default_factory=dict)  # what the steps of the plan need
    failed: dict[str, str] = field(default_factory=dict)  # why a step is not done
    notes: list[str] = field(default_factory=list)
    decisions: list[dict[str, Json]] = field(default_factory=list)
    replans: int = 0

    async def work(self, goal: str) -> Json:
        """The answer, and how it came about: `by`, `notes`, `steps`, `sources`, `missing`, `decisions`.

        Raises ProcessFailed where nothing was done, or there is no plan.
        """
        told = await self.sys.syscall("plan_known", agents=list(self.settings.agents))
        self.known = [Known(**each) for each in told]
        if not told:
            raise ProcessFailed(f"nobody of {', '.join(self.settings.agents)} is there any more", pid=self.sys.pid)
        steps = await self._planned(goal, [], {})
        if steps is None:
            return await self._by_template(goal)
        last, by, kept = len(steps), dict[str, str](), dict[str, tuple[Json, Sequence[str]]]()
        while True:
            self.failed.clear()
            self.needs = {step.id: step.needs for step in steps}
            ran = await self.run(graph(steps, kept, self.settings.budget), goal, kept, self._judge)
            self.usage += ran.usage
            by = {**ran.by, **by}  # what was kept keeps its own
            kept = dict(ran.kept)
            done = [replace(step, agent=by[step.id]) for step in steps if step.id in kept]
            results = {step.id: kept[step.id][0] for step in done}
            if not self.failed or self.replans >= self.settings.replans:
                break
            self.replans += 1
            more = await self._planned(goal, done, results, last + 1)
            if more is None:
                break
            steps, last = [*done, *more], last + len(more)
        missing = [step.told() for step in steps if step.id not in results]
        if not done:
            raise ProcessFailed(f"no step of the plan was done: {'; '.join(self.failed.values())}", pid=self.sys.pid)
        answer = await self._answer(goal, done, results)
        return self._told(answer, "the model", [step.told() for step in done], missing)

    # -- planning

    async def _planned(
        self, goal: str, done: Sequence[Step], results: Mapping[str, Json], first: int = 1
    ) -> list[Step] | None:
        """Steps that can be run, each with its agent; None where the model made none in its tries."""
        needs, most = offered(self.known, self.out), self.settings.steps
        said = words.goal_and_team(goal, self.known, needs)
        if self.failed:
            said += words.for_the_rest(done, results, self.failed)
        said += words.for_a_plan(most, first)
        messages = [Message("system", self.prompt or words.SYSTEM), Message("user", said)]
        for _ in range(self.settings.tries):
            text = await self._ask(messages, schema(needs, most, first + most - 1))
            try:
                steps = [self._given(each) for each in steps_of(_read(text), needs, most, done, first)]
            except InvalidRequest as error:
                wrong = error.message
            else:
                data = graph([*done, *steps], results, self.settings.budget)
                told = [step.told() for step in steps]
                faults = await self.sys.syscall(MADE, by="the model", steps=told, graph=data)
                if not faults:
                    return steps
                wrong = "; ".join(faults)
            self.notes.append(f"a plan of the model could not be run: {wrong[:500]}")
            messages += [Message("assistant", text), Message("user", f"That cannot be run: {wrong}\nMake a new plan.")]
        return None

    def _given(self, step: Step) -> Step:
        """The step with who does it."""
        best = ranked(self.known, step.needs, self.out)[0]
        return replace(step, agent=best.name, why=best.record())

    async def _ask(self, messages: Sequence[Message], form: Mapping[str, Json] | None = None) -> str:
        sampling = Sampling(**{"temperature": 0.0, "max_tokens": TOKENS, **self.sampling})
        request = GenerateRequest(self.model, tuple(messages), sampling=sampling, schema=form, stream=False)
        made = await self.sys.generate(request)
        self.usage += made.usage
        return made.text

    # -- watching

    async def _judge(self, node: str, agent: str, error: str, pid: int | None, tried: Sequence[str]) -> Decision:
        """Decide what follows from a try that went wrong, and have that in the journal."""
        offers = [skill for each in self.known if each.name == agent for skill in each.offers]
        needs = [self.needs[node]] if node in self.needs else offers
        able = [each for need in needs for each in ranked(self.known, need, self.out)]
        made = await self.sys.syscall(
            DECIDED, step=node, error=error, pid=pid, tried=list(tried), retries=self.settings.retries,
            able=list(dict.fromkeys(each.name for each in able)), replans=self.settings.replans - self.replans,
        )  # fmt: skip
        decision = Decision(**made)
        self.decisions.append({"step": node, **made})
        if decision.act != "retry":
            self.out.add(agent)
        if decision.act in ("replan", "give up"):
            self.failed[node] = decision.reason
        return decision

    # -- templates

    async def _by_template(self, goal: str) -> Json:
        """The answer by a template that is filled in; raises ProcessFailed where there is none, or it cannot be."""
        templates = self.settings.templates
        if not templates:
            why = "; ".join(self.notes) or "it was not asked for one"
            raise ProcessFailed(f"the model made no plan ({why}), and there is no template; use a stronger model, or "
                                "say `plan: {templates: ...}`", pid=self.sys.pid)  # fmt: skip
        name = next(iter(templates)) if len(templates) == 1 else await self._chosen(goal, templates)
        template = templates[name]
        given = await self._filled(goal, template)
        if faults := await self.sys.syscall(MADE, by=f"template {name}", steps=given, graph=template.flow):
            raise ProcessFailed(f"template {name!r} cannot be run: {'; '.join(faults)}", pid=self.sys.pid)
        why = "the model made no plan that can be run" if self.settings.tries else "the model was not asked for a plan"
        self.notes.append(f"{why}: template {name!r} was filled in")
        self.settings = replace(self.settings, replans=0)  # there is no other plan
        ran = await self.run(template.flow, given, {}, self._judge)
        self.usage += ran.usage
        did, missing = (
            [{"id": each, "agent": who} for each, who in ran.by.items()],
            [{"id": each} for each in self.failed],
        )
        return self._told(codec.words(ran.value), f"template {name}", did, missing, given)

    async def _chosen(self, goal: str, templates: Mapping[str, Template]) -> str:
        asked = words.for_a_choice(goal, {name: each.about for name, each in templates.items()})
        found = _read(await self._ask([Message("user", asked)], {"type": "string", "enum": list(templates)}))
        return found if isinstance(found, str) and found in templates else next(iter(templates))

    async def _filled(self, goal: str, template: Template) -> dict[str, Json]:
        """What the template is given; raises ProcessFailed where the model's words do not fit in its tries."""
        slots, wrong = template.slots, None
        takes: Mapping[str, Any] = template.flow.get("takes") or {}
        given: dict[str, Json] = {"goal": goal} if not slots or "goal" in takes.get("properties", {}) else {}
        if not slots:
            return given
        form = {"type": "object", "properties": dict(slots), "required": list(slots), "additionalProperties": False}
        messages = [Message("user", words.for_slots(goal, template.about, slots))]
        for _ in range(max(1, self.settings.tries)):
            text = await self._ask(messages, form)
            if not (wrong := validity.wrong(form, found := _read(text))):
                return {**found, **given}
            messages += [Message("assistant", text), Message("user", f"That does not fit: {wrong}")]
        raise ProcessFailed(f"the model could not say what the template needs: {wrong}", pid=self.sys.pid)

    # -- the answer

    async def _answer(self, goal: str, done: Sequence[Step], results: Mapping[str, Json]) -> str:
        """The result of the last step where there is one; of several the model makes one, which names them."""
        before = {each for step in done for each in step.after}
        last = [step.id for step in done if step.number not in before]
        if len(last) == 1:
            return codec.words(results[last[0]])
        return await self._ask([Message("user", words.for_an_answer(goal, {each: results[each] for each in last}))])

    def _told(self, answer: str, by: str, sources: list[Json], missing: list[Json], slots: Json = None) -> Json:
        return {"answer": answer, "by": by, "notes": self.notes, "slots": slots, "sources": sources,
                "missing": missing, "decisions": self.decisions, "replans": self.replans}  # fmt: skip


def _read(text: str) -> Json:
    """What a model wrote as JSON; null where it is none."""
    try:
        return codec.loads(text)
    except ValueError:
        return None


def report(made: Mapping[str, Any]) -> str:
    """An answer in words: with its sources, what is missing, and what was noted."""
    lines = [str(made["answer"]).strip(), "", "Sources:"]
    for each in made["sources"]:
        lines.append(f"[{each['id']}] {each['agent']}" + (f": {each['do']}" if "do" in each else ""))
    missing = [f"[{each['id']}] {each.get('do', '')}".rstrip() for each in made["missing"]]
    notes = [f"Note: {each}" for each in made["notes"]]
    return "\n".join([*lines, *(["", "Not done:"] if missing else []), *missing, *([""] if notes else []), *notes])
