"""What is asked of a model, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from .names import Json
from .tools import ToolCall, ToolSpec

Role = Literal["system", "user", "assistant", "tool"]


SUMMARY = "\nEarlier in this conversation: "
"""What stands in a system prompt before the summary of what was dropped from the conversation."""

LETTERS = 16
"""Characters of a token, reckoned wide: a prompt with more of them than a window has tokens for cannot fit there."""


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
    of all that it had seen). `who` tells a person where the words stand. `tool` is the one whose answer they say they
    are, which makes them nobody's word all the same.
    """

    text: Json
    origins: tuple[str, ...] | None = ()
    who: str = ""
    tool: str = ""


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
        for message in self.messages:
            if message.role == "tool":
                tool = message.name or ""
                yield Part(message.text, (f"tool {tool}",), tool=tool)
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
