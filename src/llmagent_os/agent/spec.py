"""What an agent is: a small record, read from YAML or built in Python, checked once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..core import codec, documents, worded
from ..core.errors import InvalidRequest, nearest
from ..core.records import SAMPLING_NAMES, Budget, Decoding, Grant, Json, Needs, Period, ServiceClass, Supervision
from . import policies

VARIABLES = 1000  # of a definition
WORDS = 100  # that ask for a tool
AGENT, TRIGGER = "agent:", "trigger:"
"""What stands before an agent's or a trigger's name among tools."""
ASKED = (AGENT, TRIGGER)
"""What begins the names of tools that are processes, which are sent messages."""


class Allowance(BaseModel):
    """The most that may be consumed, in all or in each `period` (UTC); see `core.records.Budget` for units."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    tokens: int | None = Field(None, gt=0)
    money: float | None = Field(None, gt=0)
    steps: int | None = Field(None, gt=0)
    seconds: float | None = Field(None, gt=0)
    depth: int | None = Field(None, ge=0)
    period: Period | None = None

    def budget(self, account: str = "", apiece: bool = False) -> Budget:
        """As a budget on an account."""
        return Budget(self.tokens, self.money, self.steps, self.seconds, self.depth, account, self.period, apiece)


class BudgetSpec(Allowance):
    """The most that an agent may consume, in all or in each `period` (UTC); see `core.records.Budget` for units.

    `of` says whose it is: the `agent`'s, with all its replicas, sessions and requests; a `session`'s (what belongs to
    none shares one); a `person`'s with this agent; or a `process`'s.
    """

    of: Literal["agent", "session", "person", "process"] = "agent"


class RestartSpec(BaseModel):
    """Whether a failed process of the agent is started again; see `kernel.supervisor`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    restart: Literal["permanent", "transient", "temporary"] = "transient"
    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one"
    intensity: int = Field(3, ge=0)
    period: float = Field(5.0, gt=0)

    def supervision(self, once: bool = False) -> Supervision:
        """As a process has it; one that answers `once` is never started again."""
        return Supervision("temporary" if once else self.restart, self.strategy, self.intensity, self.period)


class KnowledgeSpec(BaseModel):
    """What an agent is told of what is known.

    `recall` says when: `always`, what is nearest to each message; as a `tool`, when its model asks; or `never`. `limit`
    is how many passages, `source` how the name of where they are from begins, `tags` are those that they have.
    `grounded: strict` has it answer from these alone, and each sentence of its answer looked for in them. `infer`
    says the same of facts and rules: `always` shows what is known and follows about what a message names, and answers
    the questions of `ask`, each like `room(X, "Room 2")`. The blocks of memory that `pinned` names it is always shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recall: Literal["always", "tool", "never"] = "always"
    limit: int = Field(5, ge=1, le=50)
    source: str = ""
    tags: list[str] = Field(default_factory=list)
    grounded: Literal["no", "strict"] = "no"
    infer: Literal["always", "tool", "never"] = "never"
    ask: list[str] = Field(default_factory=list)
    pinned: list[str] = Field(default_factory=list, max_length=20)


class AgentSpec(BaseModel):
    """An agent's definition.

    `adapter` is the LoRA adapter of its model that it runs with (None: the configuration's, empty: none).
    `prompt` is its system prompt: plain text, or a template over `variables` in braces. `intents` maps an intent to the
    instructions added when a message has it; the model itself classifies the message. `window` says what gives way when
    a conversation outgrows the model's window. `max_steps` bounds the model calls of one turn. `loop` names the
    interaction loop (`default`, or one that a plugin brought). `nice` (-20 first, 19 last) and `service` say how its
    calls stand in line for an engine: `batch` has time. `decoding` says how its answers are searched for, and
    `needs` what the choice of a model goes by; see `core.records` for both. `tools` are names; `agent:NAME` asks
    another agent, `trigger:NAME` starts a trigger of whoever the agent works for. A tool of `when` is offered only in
    turns whose message has one of the texts that stand there in it, in any case: a small model uses what it is offered,
    also where it knows the answer. `grant` is what its processes hold: the tools are those of `tools`, the model is
    `model`, and the agents that it may send to are those of `tools` where it names none; its `policy` may stand beside
    it, in the forms of `agent.policies`. `shared`: its sessions and its workspace are everybody's in the tenant;
    without it each person has sessions and a workspace of their own. Beside its `budget`, it keeps to all of `budgets`.
    `flow` is a graph (see the how-to about flows): what it is sent is answered by that, and it holds what its `grant`
    says, of tools, models and agents too (none: everything). `plan` makes it a planner (see the how-to about planning),
    which holds the same; `skills` are what planners choose it by.
    `knowledge` says when it looks into what is known (see the how-to about knowledge); without it, it does not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str = Field(pattern=worded.AGENT, max_length=64)
    description: str = ""
    model: str = "default"
    adapter: str | None = None
    prompt: str = (
        "You are the helpful AI assistant of LLMAgentOS, the operating system for agents that runs on this computer."
    )
    variables: dict[str, str] = Field(default_factory=dict, max_length=VARIABLES)
    tools: list[str] = Field(default_factory=list)
    when: dict[str, Annotated[list[str], Field(max_length=WORDS)]] = Field(default_factory=dict)
    sampling: dict[str, Any] = Field(default_factory=dict)
    answer_schema: dict[str, Any] | None = Field(None, alias="schema")
    intents: dict[str, str] = Field(default_factory=dict)
    window: Literal["summarise", "drop"] = "drop"
    max_steps: int = Field(10, ge=1)
    budget: BudgetSpec = BudgetSpec()
    budgets: list[BudgetSpec] = Field(default_factory=list)
    supervision: RestartSpec = RestartSpec()
    loop: str = "default"
    nice: int = Field(0, ge=-20, le=19)
    service: ServiceClass = "interactive"
    decoding: Decoding | None = None
    needs: Needs | None = None
    grant: Grant = Grant()
    shared: bool = False
    flow: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    skills: list[str] = Field(default_factory=list)
    knowledge: KnowledgeSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _written(cls, data: Any) -> Any:
        """Take a policy in the forms that people write; it may stand beside the grant, too."""
        if not isinstance(data, Mapping):
            return data
        for field, loop in (("flow", "flow"), ("plan", "planner")):
            if data.get(field) is not None:
                if data.get("loop", loop) != loop:
                    text = f"agent definition: a {field} is run by the loop `{loop}`; leave `loop` out"
                    raise InvalidRequest(text, parameter="loop")
                data = {**data, "loop": loop}
        grant = data.get("grant")
        if isinstance(grant, Mapping) and "policy" in grant:
            if "policy" in data:
                raise InvalidRequest("agent definition: there are two policies; keep `policy`", parameter="policy")
            return {**data, "grant": {**grant, "policy": policies.read(grant["policy"], "grant.policy")}}
        if "policy" in data and (grant is None or isinstance(grant, Mapping)):
            rest = {name: value for name, value in data.items() if name != "policy"}
            return {**rest, "grant": {**(grant or {}), "policy": policies.read(data["policy"])}}
        return data

    @property
    def runs(self) -> bool:
        """Whether it is a flow or a planner: what it is sent is a run."""
        return self.flow is not None or self.plan is not None

    @property
    def asks(self) -> tuple[str, ...]:
        """The agents that it has as tools, which are written `agent:NAME`."""
        return tuple(name.removeprefix(AGENT) for name in self.tools if name.startswith(AGENT))

    def granted(self) -> Grant:
        """What a process of the agent holds: of tools, models and agents only what the definition names."""
        given = self.grant
        if self.runs:  # each of its nodes holds less
            return replace(given, shared=self.shared or given.shared)
        models = (self.model,) if given.models is None else given.models
        started = tuple(name for name in self.tools if name.startswith(TRIGGER))  # a trigger's is its whole name
        agents = (*self.asks, *started) if given.agents is None else given.agents
        return replace(given, tools=tuple(self.tools), models=models, agents=agents, shared=self.shared or given.shared)

    def drawn(self, process: str, whose: str) -> tuple[Budget, ...]:
        """What a process of the agent, by its name and whose it is, draws on."""
        agent = f"agent/{self.name}"
        session = f"session/{process}/{quote(whose, '')}" if "@" in process else f"session/{self.name}"
        accounts = {"agent": agent, "session": session, "person": agent, "process": ""}
        drawn = [each.budget(accounts[each.of], each.of == "person") for each in (self.budget, *self.budgets)]
        return tuple([each for each in drawn if each.limits])

    def data(self) -> dict[str, Json]:
        """The JSON form, from which `parse` makes an equal spec."""
        return self.model_dump(by_alias=True)

    def lean(self) -> dict[str, Json]:
        """The same without what is as it is by default: what every process of it is started with."""
        return self.model_dump(by_alias=True, exclude_defaults=True)


def parse(data: Any) -> AgentSpec:
    """Check a definition; raises InvalidRequest that names the field to blame and, for an unknown one, the nearest."""
    if not isinstance(data, Mapping):
        raise InvalidRequest(f"an agent's definition is a mapping with at least a name, not {type(data).__name__}")
    try:
        spec = AgentSpec.model_validate(dict(documents.plain(data, "the definition")))
    except ValidationError as error:
        raise _explain(error) from error
    endless = None if _ends(told := spec.data()) else next(_endless(told, ()), None)
    if endless:
        raise InvalidRequest(
            f"agent definition: {endless} is a number without end, or of more than 64 bits; leave it out",
            parameter=endless,
        )
    for name in spec.sampling:
        if name not in SAMPLING_NAMES:
            hint = nearest(name, SAMPLING_NAMES)
            raise InvalidRequest(f"unknown sampling parameter {name!r}; {hint}", parameter=f"sampling.{name}")
    return spec


def _ends(value: Json) -> bool:
    """Whether JSON can hold every number; many times as fast as to look for the one that it cannot."""
    try:
        json.dumps(value, allow_nan=False, default=str)
        codec.dumps(value)
    except (ValueError, TypeError):
        return False
    return True


def _endless(value: Json, place: tuple[str, ...]) -> Iterator[str]:
    """Where infinity stands, or what is no number, or no number of 64 bits: nothing of it would be read back so."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _endless(each, (*place, str(name)))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _endless(each, place)
    elif not math.isfinite(value) if isinstance(value, float) else isinstance(value, int) and value.bit_length() > 63:
        yield ".".join(place)


_PARSED: dict[bytes, AgentSpec] = {}
MANY = 1000  # definitions that are kept parsed


def stored(data: Json) -> AgentSpec:
    """A definition as it was kept, perhaps by another release; parsed once for all the processes that have it.

    Fields that this release does not know are left out. Not in its grant, for that would give more than was meant.
    Raises InvalidRequest as `parse` does.
    """
    packed = codec.dumps(data)
    spec = _PARSED.get(packed)
    if spec is None:
        if len(_PARSED) >= MANY:
            _PARSED.clear()
        spec = _PARSED[packed] = parse(_known(data))
    return spec


UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls a field that a model, or a dataclass, does not have."""


def _known(data: Json) -> Json:
    try:
        AgentSpec.model_validate(data)
    except ValidationError as error:
        for each in error.errors():
            if each["type"] in UNKNOWN and each["loc"][0] != "grant":
                data = _without(data, each["loc"])
    return data


def _without(data: Any, place: Sequence[str | int]) -> Any:
    name, *rest = place
    if not rest:
        return {key: value for key, value in data.items() if key != name}
    return {**data, name: _without(data[name], rest)}


def _explain(error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        wrong = worded.wrong(first).partition(" or instance of ")[0]  # a class of ours, which nobody can write
        return InvalidRequest(f"agent definition: {field}: {wrong}", parameter=field)
    known = [info.alias or name for name, info in AgentSpec.model_fields.items()]
    return InvalidRequest(f"agent definition: unknown field {field!r}; {nearest(field, known)}", parameter=field)


def load(path: Path) -> list[AgentSpec]:
    """Read the agents of a YAML file: one definition, or several as a list or as documents.

    Raises InvalidRequest naming the file or field, FileNotFoundError.
    """
    return read(path.read_bytes(), str(path))


def read(text: bytes, source: str) -> list[AgentSpec]:
    """The agents of a YAML text that comes from `source`; raises InvalidRequest."""
    return [parse(item) for item in documents.definitions(text, source)]
