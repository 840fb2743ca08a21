"""The plain data that crosses rooms: what is asked of a model, what comes back, and one syscall's record.

Frozen and slotted; validated where data enters (the gateway, configuration), trusted inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from urllib.parse import quote

Json = Any  # what `json.dumps` takes: None, bool, int, float, str, list, dict with str keys

Role = Literal["system", "user", "assistant", "tool"]


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
    mean, by name; the rest is text. `trusted`: its results are its own (a calculator's, a clock's) and carry nobody
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


Verdict = Literal["allow", "ask", "refuse"]

Unknown = Literal["retry", "ask", "fail"]
"""What becomes of a call that was cut off by a stop of the system, so that nobody knows whether it was done."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a policy says about one tool. What it leaves out is as the tool declares it (see `Traits`).

    `allow` and `refuse` hold cases, each a mapping from arguments to patterns (`*` for anything): a case fits where all
    of its arguments do, and one that fits settles the call, refusals first. Of an argument with several values, all
    have to fit to be allowed, and one to be refused. `most` caps arguments that are numbers. With `ask: always` a
    person is asked about every call that none of these settle, whatever its arguments come from.
    `untrusted` says what becomes of a call whose arguments come from somebody who may not direct the agent; where its
    rule does not say so, a tool that can be contained is.
    `trusted`: what the tool returns may direct it. `four_eyes`: whom the work is for cannot approve of the call.
    `unknown`: what becomes of a call that was cut off, of which nobody knows whether it was done.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where policies enter
    meanings: Mapping[str, Meaning] | None = None
    allow: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    refuse: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    most: Mapping[str, float] = field(default_factory=dict)
    ask: Literal["always"] | None = None
    untrusted: Verdict | None = None
    trusted: bool | None = None
    four_eyes: bool | None = None
    unknown: Unknown | None = None


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


SUMMARY = "\nEarlier in this conversation: "
"""What stands in a system prompt before the summary of what was dropped from the conversation."""

RELAYED = "relayed"
"""The `name` of a message whose role is `user` and whose words are not the user's, such as another agent's."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    `content` is text, or a list of parts in the shape of OpenAI's chat API (`{"type": "text", "text": ...}`,
    `{"type": "image_url", ...}`). A tool's answer has role `tool` and the `tool_call_id` it answers.
    """

    role: Role
    content: str | list[dict[str, Json]] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The text parts joined; parts that are not text are left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.get("text", "") for part in self.content if part.get("type") == "text")


@dataclass(frozen=True, slots=True)
class Part:
    """Words that a process has in sight, and whose they are.

    `origins` are those who may not direct it (none: they are somebody's who may; None: nobody says, so they are made
    of all that it had seen). `who` tells a person where the words stand. `asked` is what a tool was given, where they
    are its answer: (its name, the arguments).
    """

    text: Json
    origins: tuple[str, ...] | None = ()
    who: str = ""
    asked: tuple[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. None means "not sent": the engine's own default holds.

    Units: `max_tokens` in tokens; `temperature` 0 is greedy; `top_p`, `min_p`, `typical_p` in 0..1;
    `repetition_penalty` 1 is off (Keskar et al. 2019); presence and frequency penalties are subtracted from logits
    (OpenAI). `logit_bias` maps a token id (as text) to a value added to its logit. `top_logprobs` asks for the natural
    log-probability of every token chosen and of that many alternatives (0: only the chosen).
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    logit_bias: Mapping[str, float] | None = None
    top_logprobs: int | None = None

    def sent(self) -> dict[str, Json]:
        """The parameters that were given, by name."""
        return {} if self is UNSET else {n: value for n in SAMPLING_NAMES if (value := getattr(self, n)) is not None}


SAMPLING_NAMES = tuple(f.name for f in fields(Sampling))
UNSET = Sampling()


ServiceClass = Literal["interactive", "batch"]
"""A service class: whether somebody waits for the answer, or it may come when there is room."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an answer is searched for, above the sampling of the engine.

    `strategy` names one (`beam`, `best_of`, `vote`, or one that a plugin brought; None: sample once). `width` is the
    number of hypotheses kept (beam) or drawn (best_of, vote), `n` how many of them are returned, best first.
    `length_penalty` is the exponent of the length by which a summed log-probability is divided (Wu et al. 2016; 0 is
    none). `early_stopping`: True ends a beam search with the first `width` finished hypotheses, False when a better one
    is unlikely, `never` when none is possible. `scorer` names what rescores the candidates: `logprob`, or a tool or
    agent that is given each and returns a number. `banned` are words and phrases that must not occur, `topics` what the
    answer must not be about. `explain` asks for attention maps and token attributions.
    """

    strategy: str | None = None
    width: int = 4
    n: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    scorer: str = "logprob"
    banned: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What a caller says about a call for the choice of a model: see `Config.routes`.

    `task` is the kind of task (`chat`, `code`, `extract`: any name that a route knows), `language` the answer's
    (`de`), `max_price` the most that the call may cost, in US dollars.
    """

    task: str = ""
    language: str = ""
    max_price: float | None = None


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """What a `generate` call asks of an engine: a chat (`messages`) or a raw `prompt`, never both.

    `schema` constrains the answer to a JSON schema, `choices` to one of the given strings. `tool_choice` is `auto`,
    `none`, `required` or a tool's name. `adapter` names a LoRA adapter. `stream` says that the caller wants the pieces
    as they come; without it an engine may answer in one chunk. `said` is the beginning of the answer, which the engine
    goes on from and does not repeat.
    """

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = UNSET
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    schema: Mapping[str, Json] | None = None
    choices: tuple[str, ...] | None = None
    adapter: str | None = None
    stream: bool = field(default=True, metadata={"shown": True})
    said: str = ""
    decoding: Decoding | None = None
    service: ServiceClass = "interactive"
    needs: Needs | None = None

    def parts(self) -> Iterator[Part]:
        """The messages as parts that nobody declared. What the model said itself is in none of them."""
        calls: dict[str | None, list[Json]] = {}  # a model makes the ids up: one may stand for several calls
        for message in self.messages:
            for call in message.tool_calls:
                calls.setdefault(call.id, []).append(call.arguments)
            if message.role == "tool":
                tool = message.name or ""
                yield Part(message.text, (f"tool {tool}",), asked=(tool, calls.get(message.tool_call_id)))
            elif message.role == "user" and message.name == RELAYED:
                yield Part(message.text, ("agent",))
            elif message.role != "assistant":
                yield Part(message.text, None, message.role)

    def offered(self) -> tuple[ToolSpec, ...]:
        """The tools the model may ask for under `tool_choice`."""
        if self.tool_choice == "none":
            return ()
        if self.tool_choice in ("auto", "required"):
            return self.tools
        return tuple(tool for tool in self.tools if tool.name == self.tool_choice)

    def abilities(self) -> dict[str, str]:
        """The abilities (see `EngineInfo`) that it takes to answer, each with the field that asks for it."""
        parts = [part for message in self.messages if isinstance(message.content, list) for part in message.content]
        asked = {
            "prompt": (self.prompt is not None, "prompt"),
            "chat": (bool(self.messages), "messages"),
            "tools": (bool(self.tools), "tools"),
            "schema": (self.schema is not None, "schema"),
            "choices": (self.choices is not None, "choices"),
            "adapters": (self.adapter is not None, "adapter"),
            "said": (bool(self.said), "said"),
            "explain": (self.decoding is not None and self.decoding.explain, "decoding"),
            "images": (any(part.get("type") == "image_url" for part in parts), "messages"),
        }
        return {ability: parameter for ability, (wanted, parameter) in asked.items() if wanted}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call consumed. Tokens are the engine's own count; `money` is in US dollars by the model's price."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    money: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.money + other.money,
        )


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token, its natural log-probability, and the best alternatives as (text, log-probability)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of several candidate answers and its score; higher is better."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed generation. Tool calls come whole; the last chunk alone carries `finish` and `usage`.

    With several candidates asked for, the last chunk also has `alternatives`, best first; with `explain`, the
    `explanation` (see `llm.explain`). `stopped` is the stop text that ended the answer, where the engine says which.
    """

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    finish: FinishReason | None = None
    usage: Usage | None = None
    alternatives: tuple[Alternative, ...] = ()
    explanation: Mapping[str, Json] | None = None
    stopped: str | None = None


NOTHING = Chunk()
"""A sign of life: the engine works, but there is nothing to show yet."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished generation: the sum of its chunks. `engine` is the engine that served it, `stopped` as in a Chunk."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish: FinishReason = "stop"
    usage: Usage = Usage()
    logprobs: tuple[TokenLogprob, ...] = ()
    model: str = ""
    engine: str = ""
    alternatives: tuple[Alternative, ...] = ()
    explanation: Mapping[str, Json] | None = None
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to embed with one model."""

    model: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector per text, in order; all of the model's dimension."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
    model: str = ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine promises, so that a request it cannot honour is refused before it is sent.

    `window` is in tokens (0: unknown). `parameters` are the names of Sampling that reach the model. `abilities` are any
    of `chat`, `prompt`, `tools`, `schema`, `choices`, `images`, `embed`, `adapters`, `said` (it goes on from the
    beginning of an answer), `explain`. `limit` is how many `generate` calls it serves at once. Prices are US dollars
    per million tokens.
    """

    name: str
    model: str
    window: int = 0
    parameters: frozenset[str] = frozenset(SAMPLING_NAMES)
    abilities: frozenset[str] = frozenset({"chat"})
    limit: int = 1
    input_price: float = 0.0
    output_price: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How to open an engine for a model: what `models add` stores and an engine driver is handed.

    `engine` is the driver (`llamacpp`, `openai`, `anthropic`, `transformers`, `scripted`); `source` a file, folder or
    base URL; `model` the name the remote server knows it by; `window` in tokens (0: ask the engine); `limit` the
    `generate` calls at once (0: the driver's default); prices in US dollars per million tokens; `key_env` the
    environment variable that holds the API key; `options` are the driver's own.
    """

    name: str
    engine: str
    source: str = ""
    model: str = ""
    window: int = 0
    limit: int = 0
    input_price: float = 0.0
    output_price: float = 0.0
    key_env: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """A name that several models serve. Calls are shared by `replicas`; each of `fallback` is asked when none can.

    `decodings` are ways of decoding by task, `quality` the share of answers that are right by model and task,
    `languages` what a model speaks (not named: any). `max_price` caps a call, in US dollars. `patience` is how many
    seconds of waiting are worth a dollar. A call is asked again up to `retries` times; where no other model is left
    after up to `pause` seconds, twice as many each time.
    """

    replicas: tuple[str, ...]
    fallback: tuple[str, ...] = ()
    decodings: Mapping[str, Decoding] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    languages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_price: float = float("inf")
    patience: float = 600.0
    retries: int = 3
    pause: float = 0.1

    @property
    def shared(self) -> bool:
        """Whether there is more than one model."""
        return len(self.replicas) + len(self.fallback) > 1

    def roles(self) -> dict[str, int]:
        """Every model, with 0 for a replica and n for the n-th fallback."""
        return dict.fromkeys(self.replicas, 0) | {model: n for n, model in enumerate(self.fallback, 1)}


Period = Literal["hour", "day", "month"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be drawn on an account. None is no limit.

    `tokens` (input + output) and `steps` (syscalls) are counts, `money` US dollars, `seconds` wall time while a turn
    runs, `depth` how many generations of children a process may have below it. `account` names an account of the
    tenant, with everybody who draws on it; empty is a process's own, with everything below it. `apiece`: each person
    has one of that name. It is full again with each new `period` (UTC); None: never. Used up it stays so until then, or
    until somebody raises it.
    """

    tokens: int | None = None
    money: float | None = None
    steps: int | None = None
    seconds: float | None = None
    depth: int | None = None
    account: str = ""
    period: Period | None = None
    apiece: bool = False

    @property
    def limits(self) -> bool:
        """Whether it limits anything."""
        return (self.tokens, self.money, self.steps, self.seconds, self.depth) != (None,) * 5


Status = Literal["ready", "running", "waiting", "asks", "paused", "stopped", "done", "quarantined"]
"""Of a process: `ready` waits for an engine, `waiting` for a message, another process or a time, `asks` for a person's
answer."""

ENDED = frozenset({"stopped", "done", "quarantined"})

Restart = Literal["permanent", "transient", "temporary"]
RestartStrategy = Literal["one_for_one", "one_for_all", "rest_for_one"]


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a process is restarted, and how it supervises its own children.

    `permanent`: whenever it ends; `transient`: only when it fails; `temporary`: never. More than `intensity` restarts
    of its children within `period` seconds and the supervisor itself fails.
    """

    restart: Restart = "temporary"
    strategy: RestartStrategy = "one_for_one"
    intensity: int = 3
    period: float = 5.0


Owned = Literal["turn", "process"]


@dataclass(frozen=True, slots=True)
class Spawn:
    """A child to start. `nice`: not less than its parent's; None: the same. `grant`: what it holds; None: everything.
    `budget` is its own, or several; only a service may name an account in one.

    `owner` says with what it ends: the `turn` that started it, where that fails or is broken off, or only its parent
    `process`. A turn that ends well leaves its children to the process. `first` is a message that it is born with, as
    received: `{body, id, reply_to, task}`.
    """

    program: str
    args: Json = None
    name: str | None = None
    budget: Budget | Sequence[Budget] | None = None
    supervision: Supervision | None = None
    nice: int | None = None
    grant: Grant | None = None
    owner: Owned = "turn"
    first: Mapping[str, Json] | None = None


Outcome = Literal["ok", "error", "cancelled", "deadline"]
"""How a call ended: `cancelled` where its caller went away, `deadline` where it was not answered in time."""


@dataclass(slots=True)
class Call:
    """One syscall on its way through the door.

    Filters and handlers may set `labels`, `origins`, `decision` and `cost`; the journal keeps them. Labels are
    `from:ORIGIN` for untrusted origins of what the call carries, `rule:NAME` for what allowed it, and `asked:ID` for
    a question; `origins` are the untrusted ones of its result (None: those that its syscall declares), `parts` say
    whose words its arguments are made of. `data` is its result as its row holds it.
    `decision` says who answered and why: `model` (of a route the replica),
    `engine`, `asked` (how often which, where not once), `adapter`, `strategy`, `definition` (NAME@VERSION),
    `candidates` (their expected costs), `probability` (of the choice), `consent` or `refusal` (a person's).
    `contained`: see `Ticket`. `outcome` is how it ended. `meter`
    says what it has cost up to now, should its handler be cut off. `syscall` is its row of the table
    (`ports.Syscall`), `ledger` where the accounts of budgets are. `key` is the idempotency key: the same call
    re-issued after a crash carries the same key. `deadline` is in seconds from the start of the call. `stream` gets
    the chunks of a generation as they come. `waited` is how many seconds it waited for an engine; `ends` are called
    when it is over, however it ended. `writes` are statements committed together with the call's own row, `after`
    runs once they are durable: a handler's effect on our own tables is all or nothing with its record.
    """

    pid: int
    name: str
    args: dict[str, Any]
    key: str
    tenant: str
    principal: str
    deadline: float
    seq: int = 0
    labels: tuple[str, ...] = ()
    origins: tuple[str, ...] | None = None
    parts: Sequence[Part] | None = None
    data: bytes | None = None
    decision: dict[str, Json] = field(default_factory=dict)
    outcome: Outcome = "ok"
    syscall: Any = None
    ledger: Any = None
    clock: Any = None
    contained: bool = False
    cost: Usage = Usage()
    meter: Callable[[], Usage] | None = None
    waited: float = 0.0
    stream: Callable[[Chunk], None] | None = None
    writes: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    ends: list[Callable[[], None]] = field(default_factory=list)

    @property
    def times(self) -> int:
        """How often its process made the same call before in this turn."""
        return repeats(self.key)


def repeats(key: str) -> int:
    """How often the same call was made before in its turn: the end of an idempotency key."""
    number = key.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: may this process call that tool so? `id` names the same question for ever.

    `principal` is whom the work is for, `turn` how many turns the process had finished. `origins` says of each argument
    in doubt who wrote it, `sources` of each where it stands; `why` is the reason for asking, in words. `four_eyes`: see
    `Policy`. `editable`: a yes may come with other arguments.
    """

    id: str
    pid: int
    tenant: str
    principal: str
    agent: str
    tool: str
    arguments: Mapping[str, Json]
    origins: Mapping[str, str]
    why: str
    turn: int = 0
    four_eyes: bool = False
    editable: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question: whether it may be done, who says so, and when (seconds since the epoch).

    `arguments` are those that the person put instead; None: as they were shown.
    """

    allowed: bool
    by: str = ""
    at: float = 0.0
    arguments: Mapping[str, Json] | None = None


class Hidden:
    """A value that is passed in a call's arguments or result, and written nowhere: a row shows that it was there."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


@dataclass(frozen=True, slots=True)
class Retention:
    """After how many days data is deleted; None keeps it.

    `calls`: what the journal has of finished turns. `messages`: those that were taken, replies to tasks (whose ids may
    be used again then), and kept responses. `processes`: those that have ended, with their calls. `idle`: sessions that
    nobody used are ended. `approvals`: questions that are answered or over. `versions`: definitions since a newer one
    replaced them. `blobs`: large values and files that nothing names any more.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where configuration enters
    calls: float | None = None
    messages: float | None = None
    processes: float | None = None
    idle: float | None = None
    approvals: float | None = None
    versions: float | None = None
    blobs: float | None = None


DEFAULT = "default"
"""The tenant of whoever started the system."""


ANSWER = "task/"
"""Given as the box to reply to: one of the message's own, which its sender alone waits at (see `Sys.ask`)."""


def owned(tenant: str, name: str) -> str:
    """The name under which something of a tenant's is kept: two tenants may choose the same one."""
    return name if tenant == DEFAULT else f"{tenant}/{name}"


SHARED = "*"
"""The principal of what everybody in a tenant uses, such as an agent's replicas. No person has this name."""


def personal(tenant: str, principal: str, name: str) -> str:
    """The name under which something of a person's is kept: two people of a tenant may choose the same one."""
    return f"{tenant}/{quote(principal, '')}/{name}"


def owner_of(name: str) -> str:
    """The tenant of a name that `owned` or `personal` made."""
    tenant, slash, _ = name.partition("/")
    return tenant if slash else DEFAULT


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message in a mailbox. `box` is where it lies: a process (`pid/7`) or a task's one-shot reply box (`task/ID`).

    `reply_to` is the box that an answer should go to; `task` names the work it belongs to, for streams and tracing.
    `origins` say whose words, that nobody vouches for, its sender had in sight; `sender` is empty for people.
    `principal` is whom the work is for: until it is answered, its receiver acts for them.
    """

    id: str
    box: str
    body: Json
    sender: str = ""
    reply_to: str | None = None
    task: str | None = None
    origins: Sequence[str] = ()
    principal: str = ""


@dataclass(slots=True, eq=False)
class Page:
    """A context in a file: in memory (`ram`, which outlives the process but not the machine) or on `disk`.

    `size` is in bytes; while it has `readers` it stays where it is. `key` is that of the call whose context it is,
    while that is not finished; `pid` its process.
    """

    name: str
    fingerprint: str
    tokens: list[int]
    adapter: str | None
    key: str
    pid: int
    size: int
    tier: Literal["ram", "disk"] = "ram"
    crc: int = 0
    readers: int = 0
