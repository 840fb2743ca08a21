"""Tools as models see them and as policies judge them, and what a process holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .names import Json


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it. `parameters` is a JSON schema (draft 2020-12) of type object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Json] = field(default_factory=lambda: {"type": "object", "properties": {}})


Effect = Literal["read", "write", "external"]
"""What a tool does: only looks, changes what is its caller's own, or reaches beyond this system."""


Meaning = Literal["text", "recipient", "path", "url", "amount", "code"]
"""What an argument is to the world; everything but `text` is a sink (see `security.labels`)."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a tool declares about itself, for those who decide whether it may run.

    `idempotent`: running it twice is as running it once; `keyed`: it is once under one idempotency key. `cost` is US
    dollars a call, `timeout` seconds, `concurrency` the calls at once (0: any number). `meanings` says what arguments
    mean, by name; the rest is text. `optional` names those of them that do no more where they are left out or empty
    (nobody in copy, nothing attached). `trusted`: its results are its own (a calculator's, a clock's) and carry nobody
    else's words. `contained`: it can be run so that nothing of anybody's is at stake (see `Ticket`).
    """

    effect: Effect = "external"
    idempotent: bool = False
    cost: float = 0.0
    timeout: float = 60.0
    concurrency: int = 0
    meanings: Mapping[str, Meaning] = field(default_factory=dict)
    trusted: bool = False
    keyed: bool = False
    contained: bool = False
    optional: tuple[str, ...] = ()


Verdict = Literal["allow", "ask", "refuse"]


Span = Literal["call", "turn", "session"]
"""What a cap holds for: each call, or all calls of a turn or a session together."""


Unknown = Literal["retry", "ask", "fail"]
"""What becomes of a call that was cut off by a stop of the system, so that nobody knows whether it was done."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a policy says about one tool. What it leaves out is as the tool declares it (see `Traits`).

    `allow` and `refuse` hold cases, each a mapping from arguments to patterns (`*` for anything): a case fits where all
    of its arguments do, and one that fits settles the call, refusals first. Of an argument with several values, all
    have to fit to be allowed, and one to be refused. `most` caps arguments that are numbers: one number caps each call,
    and where the argument is an amount, also what the calls of a turn and of a session come to together; a mapping has
    a number for each, and no cap where it has none. With `ask: always` a person is asked about every call that none of
    these settle, whatever its arguments come from.
    `untrusted` says what becomes of a call whose arguments come from somebody who may not direct the agent; where its
    rule does not say so, a tool that can be contained is.
    `trusted`: what the tool returns may direct it. `four_eyes`: whom the work is for cannot approve of the call.
    `unknown`: what becomes of a call that was cut off, of which nobody knows whether it was done. `optional`: see
    `Traits`.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where policies enter
    meanings: Mapping[str, Meaning] | None = None
    allow: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    refuse: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    most: Mapping[str, float | Mapping[Span, float]] = field(default_factory=dict)
    ask: Literal["always"] | None = None
    untrusted: Verdict | None = None
    trusted: bool | None = None
    four_eyes: bool | None = None
    unknown: Unknown | None = None
    optional: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How a process's calls of tools are judged: `tools` has rules by name, `untrusted` holds where none says so.

    `approvals` is how often a person may be asked in one turn; what is beyond that is refused. With `four_eyes` whom
    the work is for may refuse a call, but not approve of it: that takes somebody else, who holds `approvals:write`.
    `unknown` is for calls that were cut off, of tools that may not be called twice: see `security.intents`.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    untrusted: Verdict = "ask"
    approvals: int = 5
    tools: Mapping[str, Rule] = field(default_factory=dict)
    four_eyes: bool = False
    unknown: Unknown = "ask"

    def says(self, tool: str, name: Literal["untrusted", "four_eyes", "unknown"]) -> Any:
        """What holds for a tool: the word of its rule, else that of the policy."""
        said = getattr(self.tools[tool], name) if tool in self.tools else None
        return getattr(self, name) if said is None else said


@dataclass(frozen=True, slots=True)
class Grant:
    """What a process holds: patterns (`*` for anything) of the names it may use. None: all there are.

    `paths` are below its workspace (`reports/*`), `hosts` as in URLs (`*.example.org`, `localhost:8080`), `agents` are
    those that it may send to and spawn, `syscalls` those that plugins brought. Money and tokens are its budget's. A
    call must be covered by the grants of the process and of all above it, and pass the policy of each: so a child can
    only hold less. `shared`: its workspace and the files that it makes are everybody's in the tenant, not only theirs
    whom it works for.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    tools: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    agents: tuple[str, ...] | None = None
    syscalls: tuple[str, ...] | None = None
    policy: Policy = Policy()
    shared: bool = False


EVERYTHING = Grant()


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who calls a tool: `key` is the idempotency key (the same key means the same request again).

    `home` names the folder that is its workspace: `TENANT/NAME@PERSON`, or `TENANT/NAME` of what is shared; `grant` is
    what it holds. `contained`: nothing that the tool does may last or be seen outside, for nobody may have wanted it;
    in `not_kept` of its result, a mapping, it says what else would have lasted.
    """

    key: str
    pid: int = 0
    tenant: str = "default"
    principal: str = "owner"
    home: str = "default/none"
    grant: Grant = Grant()
    contained: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's request to run a tool; `arguments` are parsed JSON."""

    id: str
    name: str
    arguments: Mapping[str, Json]
