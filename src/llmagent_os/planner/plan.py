"""A plan as data: what a planner may do, steps that need one another, their schema, what is wrong with them, the graph.

Nothing here acts: what comes out follows from what goes in.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..core import validity
from ..core.errors import InvalidRequest, nearest
from ..core.records import Json

MOST_STEPS, MOST_AGENTS, MOST_TIMES, MOST_TEMPLATES = 50, 50, 20, 20
LONGEST = 400  # characters of what a step says
_BOUNDS = {"steps": (1, MOST_STEPS), "tries": (0, MOST_TIMES), "retries": (0, MOST_TIMES), "replans": (0, MOST_TIMES)}


@dataclass(frozen=True, slots=True)
class Template:
    """A flow that is run where the model makes no plan; `slots` is the JSON schema of what it is given."""

    flow: Mapping[str, Json]
    about: str = ""

    @property
    def slots(self) -> Mapping[str, Json]:
        """What is to be filled in: its properties, but for `goal`, which is the goal itself."""
        properties: Mapping[str, Json] = (self.flow.get("takes") or {}).get("properties") or {}
        return {name: schema for name, schema in properties.items() if name != "goal"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a planner works with: its team, and its bounds.

    A plan has at most `steps`; the model has `tries` to make one that can be run, then a template is filled in. A step
    that fails is done by the same agent `retries` times more; the rest is planned anew `replans` times at most. A step
    without progress for `stall` seconds is ended; `budget` is what one try of a step may consume.
    """

    agents: tuple[str, ...] = ()
    steps: int = 8
    tries: int = 2
    retries: int = 1
    replans: int = 2
    stall: float = 600.0
    budget: Mapping[str, Json] | None = None
    templates: Mapping[str, Template] = field(default_factory=dict)


def read(data: Any) -> Settings:
    """The settings under `plan` in a definition; raises InvalidRequest that names the field to blame."""
    if not isinstance(data, Mapping):
        raise _wrong("is a mapping such as {agents: [reader, writer]}")
    known = [each.name for each in fields(Settings)]
    for name in data.keys() - known:
        raise _wrong(f"has no field {name!r}; {nearest(str(name), known)}", str(name))
    _bounded(data)
    agents, templates = data.get("agents") or (), data.get("templates") or {}
    named = isinstance(agents, list | tuple) and all(isinstance(each, str) for each in agents)
    if not named or not 0 < len(agents) <= MOST_AGENTS:
        raise _wrong(f"agents is a list of 1 to {MOST_AGENTS} names", "agents")
    if not isinstance(templates, Mapping) or len(templates) > MOST_TEMPLATES:
        raise _wrong(f"templates is a mapping of at most {MOST_TEMPLATES} flows by their names", "templates")
    made = {str(name): _template(str(name), each) for name, each in templates.items()}
    rest = {name: data[name] for name in _BOUNDS if name in data}
    more = {name: data[name] for name in ("stall", "budget") if data.get(name) is not None}
    return Settings(tuple(dict.fromkeys(agents)), templates=made, **rest, **more)


def _bounded(data: Mapping[str, Any]) -> None:
    for name, (least, most) in _BOUNDS.items():
        if name in data and (type(data[name]) is not int or not least <= data[name] <= most):
            raise _wrong(f"{name} is a whole number from {least} to {most}", name)
    stall, budget = data.get("stall", 600.0), data.get("budget")
    if type(stall) not in (int, float) or not 0 < stall <= 7 * 86400:
        raise _wrong("stall is seconds, more than 0", "stall")
    if budget is not None and not isinstance(budget, Mapping):
        raise _wrong("budget is a mapping such as {tokens: 5000}", "budget")


def _template(name: str, data: Any) -> Template:
    if not isinstance(data, Mapping) or not isinstance(data.get("flow"), Mapping) or {*data} - {"flow", "about"}:
        raise _wrong(f"template {name!r} is {{about: ..., flow: ...}}", f"templates.{name}")
    takes = data["flow"].get("takes") or {}
    if not isinstance(takes, Mapping) or not isinstance(takes.get("properties", {}), Mapping):
        raise _wrong(f"template {name!r} says in `takes` what is to be filled in, as an object", f"templates.{name}")
    return Template(data["flow"], str(data.get("about") or ""))


def _wrong(text: str, name: str = "") -> InvalidRequest:
    return InvalidRequest(f"agent definition: plan: {text}", parameter=f"plan.{name}" if name else "plan")


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the work: what is to be done, what it needs of whoever does it, and after which other steps."""

    number: int
    do: str
    needs: str
    after: tuple[int, ...] = ()
    agent: str = ""
    why: str = ""  # that agent

    @property
    def id(self) -> str:
        """The node that it is."""
        return f"s{self.number}"

    def told(self) -> dict[str, Json]:
        """As data."""
        after = [f"s{each}" for each in self.after]
        return {"id": self.id, "do": self.do, "needs": self.needs, "after": after, "agent": self.agent, "why": self.why}


def schema(needs: Sequence[str], most: int, last: int) -> dict[str, Json]:
    """The JSON schema of a plan of at most so many steps, of which the last one has at most the number `last`."""
    step = {
        "do": {"type": "string", "minLength": 3, "maxLength": LONGEST},
        "needs": {"type": "string", "enum": list(needs)},
        "after": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": last}, "maxItems": most},
    }
    item = {"type": "object", "properties": step, "required": [*step], "additionalProperties": False}
    steps = {"type": "array", "items": item, "minItems": 1, "maxItems": most}
    return {"type": "object", "properties": {"steps": steps}, "required": ["steps"], "additionalProperties": False}


def steps_of(data: Json, needs: Sequence[str], most: int, done: Iterable[Step] = (), first: int = 1) -> list[Step]:
    """The steps of a plan, numbered from `first`; raises InvalidRequest with what is wrong with them.

    They may come after one another, without a circle, and after those that are `done`.
    """
    if wrong := validity.wrong(schema(needs, most, first + most - 1), data):
        raise InvalidRequest(wrong)
    listed: list[dict[str, Any]] = data["steps"]
    found = [
        Step(number, " ".join(each["do"].split()), each["needs"], tuple(sorted({*each["after"]})))
        for number, each in enumerate(listed, first)
    ]
    faults = [*_empty(found, needs), *_loose(found, {each.number for each in done})] or list(_circle(found))
    if faults:
        raise InvalidRequest("; ".join(faults))
    return found


def _empty(steps: Sequence[Step], needs: Sequence[str]) -> Iterable[str]:
    seen: dict[tuple[str, str], int] = {}
    for step in steps:
        before = seen.setdefault((step.do.casefold(), step.needs), step.number)
        if before != step.number:
            yield f"step {step.number} is step {before} once more"
        if step.do.rstrip(".").casefold() in {each.casefold() for each in needs}:
            yield f"step {step.number} says only what it needs; say in a sentence what is to be done"


def _loose(steps: Sequence[Step], done: set[int]) -> Iterable[str]:
    there = done | {step.number for step in steps}
    for step in steps:
        for other in step.after:
            if other not in there or other == step.number:
                yield f"step {step.number} comes after {other}, which is no other step"


def _circle(steps: Sequence[Step]) -> Iterable[str]:
    left = {step.number: set(step.after) for step in steps}
    while ready := [number for number, after in left.items() if not after & left.keys()]:
        for number in ready:
            del left[number]
    if left:
        yield f"steps {', '.join(map(str, left))} wait for one another"


def graph(
    steps: Sequence[Step], done: Container[str] = (), budget: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    """The flow of a plan: of each step a node, which begins once all that it comes after is done.

    One that fails takes what comes after it with it, and nothing else. Its input is the goal. Of those that are `done`
    the results are known: they need nobody.
    """
    nodes: dict[str, Json] = {}
    for step in steps:
        works = {"agent": step.agent, "input": asked(step), "fails": "skip"} | ({"budget": budget} if budget else {})
        node = {"function": "pass", "input": None} if step.id in done else works
        nodes[step.id] = node | ({"join": len(step.after)} if step.after else {})
    edges = [{"from": f"s{each}", "to": step.id} for step in steps for each in step.after]
    return {"nodes": nodes, "edges": edges, "result": {step.id: f"${{{step.id}}}" for step in steps}}


def asked(step: Step) -> str:
    """What whoever does a step is asked, as a template; what the model wrote names nothing in it."""
    said = re.sub(r"\$(?=\{)", "$ ", step.do)
    notes = "".join(f"\n\n[s{each}] ${{s{each}}}" for each in step.after)
    known = f"\n\nWhat is known from earlier steps:{notes}" if notes else ""
    return f"{said}\n\n(This is one part of: ${{input}}){known}"
