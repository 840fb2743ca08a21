"""What clients send to the OpenAI-compatible paths: checked once, here, and turned into the core's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core import codec, documents
from ..core.errors import InvalidRequest, Unsupported
from ..core.records import Decoding, GenerateRequest, Json, Message, Needs, Sampling, ServiceClass, ToolCall, ToolSpec
from .errors import explained

T = TypeVar("T", bound="Body")

REFUSED = {
    "audio": "answers are text",
    "function_call": "use `tool_choice`",
    "functions": "use `tools`",
    "modalities": "answers are text; leave it out",
    "moderation": "there is no moderation service behind this server",
    "prediction": "leave it out; the answer is the same",
    "reasoning_effort": "the models here have no such setting",
    "verbosity": "the models here have no such setting; say in the prompt how long the answer should be",
    "web_search_options": "offer a search tool in `tools`, or ask an agent that has one",
    "best_of": "use `n` and choose",
    "suffix": "models here complete at the end only",
    "dimensions": "vectors have the model's own length",
    "background": "send the message to an agent with POST /v1/agents/NAME/messages and wait=0",
    "context_management": "agents shorten their context by themselves; models take what is sent",
    "conversation": "use `previous_response_id`, or an agent's session",
    "include": "only `message.output_text.logprobs` and `reasoning.encrypted_content` are known",
    "max_tool_calls": "count them in the client",
    "prompt": "send `instructions` and `input`",
    "truncation": "only `disabled` is supported; an agent shortens by itself",
}
"""Fields of OpenAI's API that are not supported, and what to do instead."""


class Body(BaseModel):
    """A request's body: no unknown fields, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read(cls: type[T], data: bytes) -> T:
    """Check a body; raises InvalidRequest that names the field to blame."""
    try:
        return cls.model_validate_json(data)
    except ValidationError as error:
        raise explained(error.errors(include_url=False), [cls], REFUSED) from None


class Harmless(Body):
    """Fields that name the caller or its bookkeeping: accepted everywhere, and without effect on the answer."""

    user: str | None = None
    metadata: dict[str, Any] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: Literal["auto", "default", "flex", "priority", "standard_only"] | None = None

    @property
    def service(self) -> ServiceClass:
        """The class of service that the tier stands for: who asks for `flex` has time."""
        return "batch" if self.service_tier == "flex" else "interactive"

    @property
    def served(self) -> str | None:
        """The tier that answers name, where one was asked for: `flex`, or `default` for all others."""
        return self.service_tier and ("flex" if self.service == "batch" else "default")


class Drawn(Body):
    """Sampling parameters that all paths share; the last four extend OpenAI's. See `core.records.Sampling`."""

    temperature: float | None = Field(None, ge=0, description="0 is greedy")
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    typical_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)


class Penalised(Drawn):
    """What chats and raw completions share beyond that."""

    model: str = Field(min_length=1, description="the name of a model or of an agent")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=128, description="answers, made side by side")
    max_tokens: int | None = Field(None, ge=1)
    adapter: str | None = Field(None, description="a LoRA adapter of the model; empty: none")
    seed: int | None = Field(None, description="answer i of n is drawn with seed + i")
    stop: str | list[str] | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    decoding: Decoding | None = Field(None, description="how the answer is searched for")
    explain: bool = Field(False, description="short for decoding.explain")

    def search(self) -> Decoding | None:
        """How the answer is searched for, where that was said."""
        return replace(self.decoding or Decoding(), explain=True) if self.explain else self.decoding

    def draw(self, max_tokens: int | None, top_logprobs: int | None) -> Sampling:
        """The sampling parameters that were sent."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop) if self.stop else None
        return Sampling(
            max_tokens=max_tokens, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p,
            typical_p=self.typical_p, repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty, frequency_penalty=self.frequency_penalty, seed=self.seed,
            stop=stop, logit_bias=self.logit_bias, top_logprobs=top_logprobs,
        )  # fmt: skip


class StreamOptions(Body):
    """`include_usage` asks for a last event with the usage."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CalledFunction(Body):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str
    parsed_arguments: Any = None


class CalledTool(Body):
    """A tool call that an assistant's message made."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
    index: int | None = None


class ChatMessage(Body):
    """A message. What answers carry and requests echo (`refusal`, `annotations`, `parsed`) is accepted and left out."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    parsed: Any = None
    audio: None = None
    function_call: None = None


class Function(Body):
    """A function on offer; its arguments are always held to `parameters`, so `strict` changes nothing."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """A tool on offer."""

    function: Function
    type: Literal["function"] = "function"


class Named(Body):
    """The name of a function."""

    name: str


class ToolChoice(Body):
    """One tool that must be called."""

    function: Named
    type: Literal["function"] = "function"


class JSONSchema(Body):
    """A schema that the answer is held to."""

    name: str
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Body):
    """How the answer is shaped."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None

    def schema(self) -> dict[str, Json] | None:  # type: ignore[override]
        """The JSON schema it stands for, or None for free text."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "object"}
        if self.json_schema is None or self.json_schema.schema_ is None:
            raise InvalidRequest("response_format.json_schema.schema is missing", parameter="response_format")
        return self.json_schema.schema_


class NeedsBody(Body):
    """What the choice of a model goes by; see `core.records.Needs`."""

    task: str = ""
    language: str = ""
    max_price: float | None = Field(None, ge=0, description="US dollars that the call may cost")


class ChatBody(Penalised, Harmless):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = Field(None, description="false: at most one tool is called")
    response_format: ResponseFormat | None = None
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    choices: list[str] | None = Field(None, description="the answer is one of these")
    store: Literal[False] | None = None
    continue_final_message: bool = Field(False, description="go on from the last message, an assistant's beginning")
    add_generation_prompt: bool | None = Field(None, description="not beside continue_final_message")
    needs: NeedsBody | None = Field(None, description="what the choice of a model goes by, where the name is a route's")

    def requests(self) -> list[GenerateRequest]:
        """One request an answer."""
        messages = tuple(chat_message(message, f"messages[{i}]") for i, message in enumerate(self.messages))
        said = self._beginning(messages)
        choice = self.tool_choice.function.name if isinstance(self.tool_choice, ToolChoice) else self.tool_choice
        request = GenerateRequest(
            self.model,
            messages[:-1] if said else messages,
            sampling=self.draw(self._limit(), self._top_logprobs()),
            tools=tuple(tool_spec(tool.function) for tool in self.tools or ()),
            tool_choice=choice or "auto",
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
        """What was said of the answer already, as vLLM's API has it."""
        if not self.continue_final_message:
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

    prompt: str | list[str]
    logprobs: int | None = Field(None, ge=0, le=20)
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
    input: str | list[str] = Field(description="texts; token ids are not taken")
    encoding_format: Literal["float", "base64"] | None = None

    def texts(self) -> list[str]:
        """What to embed; raises InvalidRequest for nothing."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        if not texts:
            raise InvalidRequest("input is an empty list", parameter="input")
        if len(texts) > TEXTS:
            raise InvalidRequest(f"input has {len(texts)} texts; send at most {TEXTS} at a time", parameter="input")
        return texts


def chat_message(body: ChatMessage, where: str) -> Message:
    """Turn a message into the core's record."""
    if body.role == "tool" and body.tool_call_id is None:
        raise InvalidRequest(f"{where}: a tool's message needs tool_call_id", parameter=f"{where}.tool_call_id")
    calls = body.tool_calls or ()
    return Message(
        "system" if body.role == "developer" else body.role,
        content(body.content, f"{where}.content"),
        tuple(ToolCall(c.id, c.function.name, arguments(c.function.arguments, where)) for c in calls),
        body.tool_call_id,
        body.name,
    )


_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Types of text parts -> the key of their text."""


def content(value: str | Sequence[Mapping[str, Any]] | None, where: str) -> str | list[dict[str, Json]]:
    """A message's content: text, or where there are pictures a list of parts."""
    if value is None or isinstance(value, str):
        return value or ""
    parts = [_part(part, f"{where}[{i}]") for i, part in enumerate(value)]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Mapping[str, Any], where: str) -> dict[str, Json]:
    kind = part.get("type")
    if kind in _PARTS:
        text = part.get(_PARTS[kind])
        if not isinstance(text, str):
            raise InvalidRequest(f"{where}.{_PARTS[kind]} must be text", parameter=where)
        return {"type": "text", "text": text}
    if kind == "image_url":
        return {"type": "image_url", "image_url": part.get("image_url")}
    if kind == "input_image" and part.get("image_url"):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    raise Unsupported(f"{where}: parts of type {kind!r} are not supported; send text or image_url", parameter=where)


def arguments(text: str, where: str) -> Mapping[str, Json]:
    """Read a tool call's arguments; raises InvalidRequest unless they are a JSON object."""
    try:
        value = documents.plain(codec.loads(text or "{}"), f"{where}: arguments")
    except ValueError as error:
        raise InvalidRequest(f"{where}: arguments are not JSON: {error}", parameter=where) from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where}: arguments are no JSON object", parameter=where)
    return value


def tool_spec(function: Function) -> ToolSpec:
    """Turn a function on offer into the core's record."""
    if function.parameters is None:
        return ToolSpec(function.name, function.description or "")
    return ToolSpec(function.name, function.description or "", function.parameters)


def copies(request: GenerateRequest, n: int) -> list[GenerateRequest]:
    """n requests that differ in nothing but the seed."""
    seed = request.sampling.seed
    if n == 1 or seed is None:
        return [request] * n
    return [replace(request, sampling=replace(request.sampling, seed=seed + i)) for i in range(n)]
