"""What clients send to the OpenAI-compatible paths: checked once, here, and turned into the core's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from ..core import schemas
from ..core.errors import InvalidRequest, Unsupported
from ..core.records import Decoding, GenerateRequest, Json, Message, Needs, Sampling, ServiceClass, ToolSpec
from . import reading
from .asgi import Exchange
from .choices import ChatChoice, offered
from .errors import MissingField
from .history import ChatMessage, conversation
from .reading import MESSAGES, Body, FirstOnly, ListOf, Piece, known, misspelt

T = TypeVar("T", bound=Body)

REFUSED = {
    "audio": "answers are text",
    "function_call": "use `tool_choice`",
    "functions": "use `tools`",
    "modalities": "answers are text; leave it out",
    "moderation": "there is no moderation service behind this server",
    "web_search_options": "offer a search tool in `tools`, or ask an agent that has one",
    "best_of": "use `n` and choose",
    "suffix": "models here complete at the end only",
    "background": "send it to /v1/responses, or a message to an agent with POST /v1/agents/NAME/messages and wait=0",
    "context_management": "agents shorten their context by themselves; models take what is sent",
    "conversation": "send it to /v1/responses, or use an agent's session",
    "options": "send `temperature` and its kin by their own names; the window is the model's",
    "prompt": "send `messages` to /v1/chat/completions, `instructions` and `input` to /v1/responses",
    "truncation": "only `disabled` is supported; an agent shortens by itself",
}
"""Fields of OpenAI's API that are not supported, and what to do instead."""

_ELSEWHERE = {
    "input": "send `messages`, or this to /v1/responses",
    "instructions": "send a message of the role `system`, or this to /v1/responses",
    "system": "send a message of the role `system`",
    "messages": "send them to /v1/chat/completions",
    "previous_response_id": "send the whole conversation, or this to /v1/responses",
    **dict.fromkeys(("repeat_penalty", "rep_pen"), "send `repetition_penalty`"),
    **dict.fromkeys(("n_predict", "max_new_tokens", "max_tokens_to_sample"), "send `max_tokens`"),
    "random_seed": "send `seed`",
    "stop_sequences": "send `stop`",
    "guided_choice": "send `choices`",
    **dict.fromkeys(
        ("guided_json", "json_schema", "structured_outputs", "format"),
        "send `response_format` with `json_schema`, or `choices`",
    ),
    **dict.fromkeys(
        ("grammar", "guided_grammar", "guided_regex"), "answers are held to a schema or to `choices`; send one"
    ),
}
"""Fields of other servers, or of OpenAI's other paths, that stand for something that goes by another name here."""

_NOT_TAKEN = REFUSED | _ELSEWHERE

SPARE = frozenset({
    # how hard a model is to think, and how its thoughts are shown: models here have no such setting
    "reasoning", "reasoning_effort", "reasoning_format", "reasoning_split", "include_reasoning", "thinking", "think",
    "thinking_budget", "enable_thinking", "chat_template_kwargs", "verbosity",
    # how a server is to save time: the answer is the same
    "prediction", "cache_prompt", "prompt_cache_options", "cache_salt", "keep_alive", "ttl", "id_slot", "priority",
    # what was meant for a proxy on the way, or is the client's own note
    "drop_params", "num_retries", "stream_timeout", "timeout", "mock_timeout", "request_id", "session_id", "tags",
    "client_metadata", "litellm_metadata", "litellm_params", "litellm_call_id", "litellm_session_id", "no-log",
    "litellm_trace_id", "custom_llm_provider", "extra_headers", "extra_body", "usage", "store", "max_tool_calls",
    "cache", "caching", "guardrails", "api_key", "api_base", "base_url", "trace", "trace_id", "user_id", "chat_id",
    "conversation_id", "parent_id", "parent_message_id", "background_tasks", "variables", "model_item", "filter_ids",
    # who else might answer: here answers the one who was named
    "provider", "models", "route", "transforms", "fallbacks", "draft_model", "engine", "deferred",
    # what is told beside an answer, or how its pieces are cut
    "timings_per_token", "return_progress", "return_token_ids", "return_tokens_as_token_ids", "tool_stream",
    "stream_tool_calls", "parse_tool_calls", "incremental_output", "result_format", "perf_metrics_in_response",
    # how thoughts of earlier turns are kept
    "clear_thinking", "preserve_thinking", "disable_reasoning", "thinking_forced_open",
    # which way among those that lead to the same: the order of samplers, where they run, what a window does
    "samplers", "backend_sampling", "typ_p", "repeat_last_n", "dynatemp_exponent", "xtc_threshold", "mirostat_tau",
    "mirostat_eta", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers", "n_keep",
    "truncation_length", "truncate_prompt_tokens", "context_length_exceeded_behavior", "add_special_tokens",
    # of texts for vectors: what else they are for
    "truncate", "input_type", "task", "late_chunking",
})  # fmt: skip
"""Fields that other servers or OpenAI know and that change nothing that an answer here is: left out, whatever they

hold.
"""


def read(cls: type[T], data: bytes) -> T:
    """Check a body; raises InvalidRequest that names the field to blame."""
    return reading.read(cls, data, _NOT_TAKEN)


async def take(cls: type[T], http: Exchange) -> T:
    """Read and check the body of an exchange, which remembers the fields that were sent; raises as `read` does."""
    data = await http.body()
    body = await http.beside(lambda: read(cls, data))
    http.wrote = body.model_fields_set
    return body


def unless(*nothing: Json) -> BeforeValidator:
    """Values that clients send to say nothing: they are as if they were not sent."""
    return BeforeValidator(lambda value: None if any(value == each for each in nothing) else value)


def _all(value: Json) -> Json:
    """-1 is "all tokens" in vLLM's words, 0 in the engines'."""
    return 0 if value == -1 else value


def _some(value: Json) -> Json:
    """Stop texts without those that are empty, which nothing ends with."""
    given = [value] if isinstance(value, str) else value
    return [each for each in given if each not in ("", None)] if isinstance(given, list) else given


def _texts(value: Json) -> Json:
    """Texts; raises InvalidRequest for token ids, which some clients make of texts unasked."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int | list) and not isinstance(first, bool):
        raise ValueError("token ids are not taken; send texts (some clients do with check_embedding_ctx_length=False)")
    return value


def _switched(value: Json) -> Json:
    """`false`, as chats switch log-probabilities off, is not the number 0."""
    return None if value is False else value


def _sent(value: Json) -> Json:
    """An object without what is null, for records that are not read as a `Body`."""
    return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value


SEEDS = 2**63  # as many on either side of zero

Limit = Annotated[Annotated[int, Field(ge=1)] | None, unless(-1)]
"""Tokens; -1 is "as many as there is room for", as llama.cpp has it, and others after it."""


class Request(Body):
    """The whole of a body: what is spare is left out, and so is what stands for nothing of what is not supported."""

    @classmethod
    def spares(cls, name: str, data: Mapping[str, Any]) -> bool:
        """Whether a field of what was sent is left out unread."""
        if name in known(cls):
            return False
        if name in SPARE or name in _NOTHING:
            return name in SPARE or data[name] in _NOTHING[name]
        return name not in _NOT_TAKEN and data[name] in _EMPTY and misspelt(cls, name) is None


_EMPTY: tuple[Json, ...] = (False, "", [], {})
"""Values by which clients ask for nothing, whatever it is that they could ask for."""

_OFF = dict.fromkeys(
    ("mirostat", "top_a", "dry_multiplier", "xtc_probability", "dynatemp_range", "min_tokens", "n_probs"), (*_EMPTY, 0)
)
_ON = dict.fromkeys(("skip_special_tokens", "spaces_between_special_tokens", "do_sample"), (*_EMPTY, True))

_NOTHING: dict[str, tuple[Json, ...]] = {
    **_OFF, **_ON, "tfs_z": (*_EMPTY, 1), "length_penalty": (*_EMPTY, 1), "options": _EMPTY, "grammar": _EMPTY,
    "functions": ([],), "function_call": ("auto", "none"), "modalities": ([], ["text"]), "best_of": (1,),
    "suffix": ("",), "background": (False,), "truncation": ("disabled",), "audio": ({},), "json_schema": ({},),
    "system": ("",), "instructions": ("",), "input": ("", []), "messages": ([],), "previous_response_id": ("",),
    "format": ("",), "stop_sequences": ([],), "conversation": ("",), "context_management": ([], {}),
}  # fmt: skip
"""Values that ask for nothing, of fields that are not supported."""


class Harmless(Request):
    """Fields that name the caller or its bookkeeping: accepted everywhere, and without effect on the answer."""

    user: Any = None
    metadata: dict[str, Any] | None = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    service_tier: str | None = Field(None, description="`flex`: there is time; anything else is `default`")

    @property
    def service(self) -> ServiceClass:
        """The class of service that the tier stands for: who asks for `flex` has time."""
        return "batch" if self.service_tier == "flex" else "interactive"

    @property
    def served(self) -> str | None:
        """The tier that answers name, where one was asked for: `flex`, or `default` for all others."""
        return self.service_tier and ("flex" if self.service == "batch" else "default")


class Drawn(Request):
    """Sampling parameters that all paths share; the last four extend OpenAI's. See `core.records.Sampling`."""

    temperature: float | None = Field(None, ge=0, description="0 is greedy")
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_all)] = Field(
        None, description="0 or -1: all tokens"
    )
    min_p: float | None = Field(None, ge=0, le=1)
    typical_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)


class Penalised(Drawn):
    """What chats and raw completions share beyond that."""

    model: str = Field(min_length=1, description="the name of a model or of an agent")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=128, description="answers, made side by side")
    max_tokens: Limit = None
    adapter: str | None = Field(None, description="a LoRA adapter of the model; empty: none")
    seed: Annotated[Annotated[int, Field(ge=-SEEDS, lt=SEEDS)] | None, unless(-1)] = Field(
        None, description="answer i of n is drawn with seed + i; -1: none"
    )
    stop: Annotated[ListOf[str] | None, BeforeValidator(_some, json_schema_input_type=str | list[str] | None)] = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: Annotated[
        Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], FirstOnly()] | None, unless([], {})
    ] = None
    decoding: Annotated[Decoding | None, BeforeValidator(_sent)] = Field(
        None, description="how the answer is searched for"
    )
    explain: bool = Field(False, description="short for decoding.explain")

    def search(self) -> Decoding | None:
        """How the answer is searched for, where that was said."""
        return replace(self.decoding or Decoding(), explain=True) if self.explain else self.decoding

    def draw(self, max_tokens: int | None, top_logprobs: int | None) -> Sampling:
        """The sampling parameters that were sent."""
        return Sampling(
            max_tokens=max_tokens, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p,
            typical_p=self.typical_p, repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty, frequency_penalty=self.frequency_penalty, seed=self.seed,
            stop=tuple(self.stop) if self.stop else None, logit_bias=self.logit_bias, top_logprobs=top_logprobs,
        )  # fmt: skip


class StreamOptions(Piece):
    """`include_usage` asks for a last event with the usage."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Function(Piece):
    """A function on offer; its arguments are always held to `parameters`, so `strict` changes nothing."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Piece):
    """A tool on offer: a `function`, or one as OpenAI's responses and Anthropic's API have it, beside its type."""

    type: Literal["function", "custom"] = "function"
    function: Function | None = None
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None

    def spec(self, where: str) -> ToolSpec:
        """The core's record of a tool that stands at `where`; raises InvalidRequest for what is none."""
        if self.function is not None:
            return tool_spec(self.function, f"{where}.function")
        if self.name is None or (self.type == "custom" and self.input_schema is None):
            if self.type == "custom":
                text = f"{where}.type: tools that take plain text are for /v1/responses; send a `function`"
                raise Unsupported(text, parameter=f"{where}.type")
            raise MissingField(f"{where}.function is missing", parameter=f"{where}.function")
        place = "parameters" if self.parameters is not None else "input_schema"
        schema = self.parameters if self.parameters is not None else self.input_schema
        return _spec(self.name, self.description, schema, f"{where}.{place}")


class JSONSchema(Piece):
    """A schema that the answer is held to."""

    name: str = ""
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Piece):
    """How the answer is shaped. Some servers have the schema right here."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")

    def schema(self) -> dict[str, Json] | None:  # type: ignore[override]
        """The JSON schema it stands for, or None for free text."""
        if self.type == "text":
            return None
        found = self.json_schema.schema_ if self.json_schema is not None else self.schema_
        if found is None and self.type == "json_schema":
            where = "response_format.json_schema.schema"
            raise MissingField(f"{where} is missing", parameter=where)
        place = "json_schema.schema" if self.json_schema is not None else "schema"
        return schemas.meant({"type": "object"} if found is None else found, "the schema", f"response_format.{place}")


class NeedsBody(Body):
    """What the choice of a model goes by; see `core.records.Needs`."""

    task: str = ""
    language: str = ""
    max_price: float | None = Field(None, ge=0, description="US dollars that the call may cost")


class ChatBody(Penalised, Harmless):
    """POST /v1/chat/completions."""

    messages: ListOf[ChatMessage] = Field(min_length=1, max_length=MESSAGES)
    tools: ListOf[Tool] | None = None
    tool_choice: ChatChoice = None
    parallel_tool_calls: bool | None = Field(None, description="false: at most one tool is called")
    response_format: ResponseFormat | None = None
    max_completion_tokens: Limit = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    choices: ListOf[str] | None = Field(None, description="the answer is one of these")
    continue_final_message: bool = Field(False, description="go on from the last message, an assistant's beginning")
    add_generation_prompt: bool | None = Field(None, description="not beside continue_final_message")
    needs: NeedsBody | None = Field(None, description="what the choice of a model goes by, where the name is a route's")

    def requests(self) -> list[GenerateRequest]:
        """One request an answer."""
        messages = conversation(self.messages)
        said = self._beginning(messages)
        tools, choice = offered([each.spec(f"tools[{i}]") for i, each in enumerate(self.tools or ())], self.tool_choice)
        request = GenerateRequest(
            self.model,
            messages[:-1] if said else messages,
            sampling=self.draw(self._limit(), self._top_logprobs()),
            tools=tools,
            tool_choice=choice,
            schema=self.response_format.schema() if self.response_format else None,
            choices=tuple(self.choices) if self.choices is not None else None,
            stream=bool(self.stream),
            said=said,
            decoding=self.search(),
            adapter=self.adapter,
            service=self.service,
            needs=Needs(**self.needs.model_dump()) if self.needs is not None else None,
        )
        return copies(request, self.n or 1)

    def _beginning(self, messages: Sequence[Message]) -> str:
        """What was said of the answer already, as vLLM's API has it, and Mistral's and DeepSeek's."""
        if not (self.continue_final_message or self.messages[-1].prefix):
            return ""
        if self.add_generation_prompt:
            text = "continue_final_message and add_generation_prompt exclude each other; send one"
            raise InvalidRequest(text, parameter="add_generation_prompt")
        if messages[-1].role != "assistant" or len(messages) < 2:
            text = "continue_final_message goes on from an assistant's message, after others"
            raise InvalidRequest(text, parameter="messages")
        return messages[-1].text

    def _limit(self) -> int | None:
        new, old = self.max_completion_tokens, self.max_tokens
        if new and old and new != old:
            raise InvalidRequest("max_tokens and max_completion_tokens differ; send one", parameter="max_tokens")
        return new or old

    def _top_logprobs(self) -> int | None:
        if self.top_logprobs and not self.logprobs:
            raise InvalidRequest("top_logprobs needs logprobs: true", parameter="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None


TEXTS = 2048  # of one request for vectors, as in OpenAI's API
ANSWERS = 1024  # of one request, which are begun at once


class CompletionBody(Penalised, Harmless):
    """POST /v1/completions: text goes on from a raw prompt."""

    prompt: Annotated[str | ListOf[str], BeforeValidator(_texts)]
    logprobs: Annotated[Annotated[int, Field(ge=0, le=20)] | None, BeforeValidator(_switched)] = None
    echo: Literal[False] | None = None

    def requests(self) -> list[GenerateRequest]:
        """One request an answer: n for every prompt."""
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not prompts:
            raise InvalidRequest("prompt is an empty list", parameter="prompt")
        if len(prompts) * (self.n or 1) > ANSWERS:
            raise InvalidRequest(f"prompts times n are {ANSWERS} at most; send several requests", parameter="prompt")
        sampling = self.draw(self.max_tokens, self.logprobs)
        asked = GenerateRequest(
            self.model, sampling=sampling, adapter=self.adapter, stream=bool(self.stream), decoding=self.search(),
            service=self.service,
        )  # fmt: skip
        return [copy for prompt in prompts for copy in copies(replace(asked, prompt=prompt), self.n or 1)]


class EmbeddingsBody(Harmless):
    """POST /v1/embeddings."""

    model: str = Field(min_length=1)
    input: Annotated[str | ListOf[str], BeforeValidator(_texts)] = Field(description="texts; token ids are not taken")
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1, description="must be the length of the model's vectors")

    def texts(self) -> list[str]:
        """What to embed; raises InvalidRequest for nothing."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        if not texts:
            raise InvalidRequest("input is an empty list", parameter="input")
        if len(texts) > TEXTS:
            raise InvalidRequest(f"input has {len(texts)} texts; send at most {TEXTS} at a time", parameter="input")
        return texts


def tool_spec(function: Function, where: str) -> ToolSpec:
    """Turn a function on offer, which stands at `where`, into the core's record; raises as `schemas.meant` does."""
    return _spec(function.name, function.description, function.parameters, f"{where}.parameters")


def _spec(name: str, about: str | None, schema: dict[str, Any] | None, where: str) -> ToolSpec:
    if schema is None:
        return ToolSpec(name, about or "")
    return schemas.arguments(ToolSpec(name, about or "", schema), where)


def copies(request: GenerateRequest, n: int) -> list[GenerateRequest]:
    """n requests that differ in nothing but the seed."""
    seed = request.sampling.seed
    if n == 1 or seed is None:
        return [request] * n
    seeds = [(seed + i + SEEDS) % (2 * SEEDS) - SEEDS for i in range(n)]
    return [replace(request, sampling=replace(request.sampling, seed=each)) for each in seeds]
