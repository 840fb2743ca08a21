"""Any server that speaks OpenAI's API: OpenAI, vLLM, Ollama, LM Studio and many more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ..core import codec
from ..core.errors import EngineFailed, Unsupported
from ..core.records import (
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    FinishReason,
    GenerateRequest,
    Json,
    Message,
    ModelSpec,
    TokenLogprob,
    ToolCall,
    Usage,
)
from .engines import check
from .http import Server, api_key
from .wire import arguments, choice_schema, estimate, priced, prompt_estimate, unwrapped

BASE = "https://api.openai.com/v1"

_STANDARD = frozenset({
    "max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop", "logit_bias",
    "top_logprobs",
})  # fmt: skip
_EXTENDED = frozenset({"top_k", "min_p", "typical_p", "repetition_penalty"})
_FINISH: dict[str, FinishReason] = {"length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}


class OpenAIEngine:
    """One model of one server. `source` is the base URL, up to and including `/v1`.

    Options: `stream: false` never streams; `extended: true` for servers that take `top_k`, `min_p`, `typical_p` and
    `repetition_penalty`, and a schema with a raw prompt (vLLM); `choices` is how they are sent: `schema` (default,
    works anywhere), `structured_outputs` (vLLM) or `guided_choice` (vLLM before 0.12); `max_tokens` is the name of
    that field, where `max_completion_tokens` is wanted; `idle` the longest silence in seconds; `body` extra fields.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._extended = bool(spec.options.get("extended", False))
        self.info = EngineInfo(
            name="openai",
            model=spec.name,
            window=spec.window,
            parameters=_STANDARD | _EXTENDED if self._extended else _STANDARD,
            abilities=frozenset({"chat", "prompt", "tools", "schema", "choices", "images", "embed"}),
            limit=spec.limit or 256,
            input_price=spec.input_price,
            output_price=spec.output_price,
        )
        base = spec.source or BASE
        key = api_key(spec)
        self._server = Server(spec, base, {"Authorization": f"Bearer {key}"} if key else {})
        self._model = spec.model or spec.name
        self._options = spec.options
        self._max_tokens = spec.options.get("max_tokens", "max_completion_tokens" if base == BASE else "max_tokens")

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the answer, or give it in one chunk when the request or the options ask for no stream."""
        check(request, self.info)
        path = "/completions" if request.prompt is not None else "/chat/completions"
        body = self._body(request)
        reader = _Reader(request, self._unwraps(request))
        if not body["stream"]:
            yield self._last(reader, reader.whole(await self._server.ask(path, body)), request)
            return
        async with aclosing(self._server.events(path, body)) as events:
            async for data in events:
                chunk = reader.done() if data == b"[DONE]" else reader.piece(self._server.read(data))
                if chunk.text or chunk.logprobs:
                    yield chunk
        if reader.finish is None:
            raise self._server.broken_off()
        yield self._last(reader, Chunk(text=reader.rest()), request)

    def _last(self, reader: _Reader, chunk: Chunk, request: GenerateRequest) -> Chunk:
        calls = reader.calls()
        finish = "tool_calls" if calls else reader.finish or "stop"
        return Chunk(chunk.text, chunk.logprobs, calls, finish, self._usage(reader, request))

    def _usage(self, reader: _Reader, request: GenerateRequest) -> Usage:
        if not reader.usage:
            return priced(self.info, prompt_estimate(request), -(-reader.length // 4))
        cached = (reader.usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return priced(self.info, reader.usage["prompt_tokens"], reader.usage.get("completion_tokens") or 0, cached)

    def _body(self, request: GenerateRequest) -> dict[str, Json]:
        stream = request.stream and self._options.get("stream", True)
        body: dict[str, Json] = {"model": self._model, "stream": stream, **self._options.get("body", {})}
        if stream:
            body["stream_options"] = {"include_usage": True}
        if request.prompt is not None:
            body["prompt"] = request.prompt
        else:
            body["messages"] = [_message(message) for message in request.messages]
        body.update(self._sampling(request))
        if request.tools:
            body["tools"] = [{"type": "function", "function": tool} for tool in request.tools]
            body["tool_choice"] = _tool_choice(request.tool_choice)
        body.update(self._constraint(request))
        return body

    def _sampling(self, request: GenerateRequest) -> dict[str, Json]:
        sent = request.sampling.sent()
        if (limit := sent.pop("max_tokens", None)) is not None:
            sent["max_tokens" if request.prompt is not None else self._max_tokens] = limit
        if (top := sent.pop("top_logprobs", None)) is not None:
            sent.update(_logprobs_wanted(top, request.prompt is not None))
        return sent

    def _constraint(self, request: GenerateRequest) -> dict[str, Json]:
        if request.choices and not self._unwraps(request):
            return self._native_choices(request.choices)
        schema = choice_schema(request.choices) if request.choices else request.schema
        if schema is None:
            return {}
        if request.prompt is not None and not self._extended:
            raise Unsupported(
                "a schema or choices with a raw prompt are not in OpenAI's API; send messages, or set the option "
                "`extended: true` if the server takes them",
                parameter="choices" if request.choices else "schema",
            )
        wanted = {"name": "answer", "schema": schema, "strict": _is_strict(schema)}
        return {"response_format": {"type": "json_schema", "json_schema": wanted}}

    def _native_choices(self, choices: Sequence[str]) -> dict[str, Json]:
        if self._options["choices"] == "guided_choice":
            return {"guided_choice": list(choices)}
        return {"structured_outputs": {"choice": list(choices)}}

    def _unwraps(self, request: GenerateRequest) -> bool:
        return bool(request.choices) and self._options.get("choices", "schema") == "schema"

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Return one vector a text; raises as `generate` does."""
        body = {"model": self._model, "input": list(request.texts), "encoding_format": "float"}
        answer = await self._server.ask("/embeddings", body)
        rows = sorted(answer["data"], key=lambda row: row["index"])
        tokens = (answer.get("usage") or {}).get("prompt_tokens") or sum(map(estimate, request.texts))
        return Embeddings(tuple(tuple(row["embedding"]) for row in rows), priced(self.info, tokens, 0), self.info.model)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """An estimate, four characters a token: the API has no way to ask."""
        return prompt_estimate(request)

    def health(self) -> str | None:
        """None unless the last request could not connect."""
        return self._server.health()

    async def close(self) -> None:
        """Close the connections; running calls fail."""
        await self._server.close()


async def open_engine(spec: ModelSpec) -> OpenAIEngine:
    """Make the engine without asking the server anything; raises EngineFailed when the key is not set."""
    return OpenAIEngine(spec)


class _Reader:
    """Adds up an answer as it comes: pieces of text at once, tool calls and choices when they are whole."""

    def __init__(self, request: GenerateRequest, unwrap: bool) -> None:
        self.finish: FinishReason | None = None
        self.usage: Mapping[str, Any] = {}
        self.length = 0
        self._choices = request.choices if unwrap else None
        self._kept = ""
        self._parts: list[dict[str, str]] = []

    def whole(self, answer: Mapping[str, Any]) -> Chunk:
        """Read an answer that was not streamed."""
        if not answer.get("choices"):
            raise EngineFailed(f"the server answered without choices: {str(answer)[:200]}; is it OpenAI-compatible?")
        choice = answer["choices"][0]
        self.usage = answer.get("usage") or {}
        return self._take(choice, choice.get("message") or {}, final=True)

    def piece(self, event: Mapping[str, Any]) -> Chunk:
        """Read one event of a stream."""
        self.usage = event.get("usage") or self.usage
        if not event.get("choices"):
            return Chunk()
        choice = event["choices"][0]
        return self._take(choice, choice.get("delta") or {}, final=False)

    def done(self) -> Chunk:
        """The stream says it has ended; not every server gave a reason before."""
        self.finish = self.finish or "stop"
        return Chunk()

    def _take(self, choice: Mapping[str, Any], message: Mapping[str, Any], final: bool) -> Chunk:
        text = message.get("content") or message.get("refusal") or choice.get("text") or ""
        self.length += len(text)
        if self._choices:
            self._kept += text
            text = self.rest() if final else ""
        for part in message.get("tool_calls") or ():
            self._add(part)
        if reason := choice.get("finish_reason"):
            self.finish = _FINISH.get(reason, "stop")
        return Chunk(text, _logprobs(choice.get("logprobs")))

    def _add(self, part: Mapping[str, Any]) -> None:
        """Some servers leave out the index; then an id starts a new call."""
        index = part.get("index", len(self._parts) if part.get("id") else len(self._parts) - 1)
        while len(self._parts) <= index:
            self._parts.append({"id": "", "name": "", "arguments": ""})
        call, function = self._parts[index], part.get("function") or {}
        call["id"] = call["id"] or part.get("id") or f"call_{index}"
        call["name"] = call["name"] or function.get("name") or ""
        arguments = function.get("arguments") or ""
        call["arguments"] += arguments if isinstance(arguments, str) else codec.dumps(arguments).decode()
        self.length += len(arguments)

    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, whole."""
        return tuple(
            ToolCall(part["id"], part["name"], arguments(part["name"], part["arguments"])) for part in self._parts
        )

    def rest(self) -> str:
        """What was kept back: the choice out of its wrapping."""
        return unwrapped(self._kept, self._choices) if self._choices else ""


# To the wire


def _message(message: Message) -> dict[str, Json]:
    data: dict[str, Json] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        data["content"] = message.content or None
        data["tool_calls"] = [
            {
                "id": c.id,
                "type": "function",
                "function": {"name": c.name, "arguments": codec.dumps(c.arguments).decode()},
            }
            for c in message.tool_calls
        ]
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        data["name"] = message.name
    return data


def _tool_choice(choice: str) -> Json:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _logprobs_wanted(top: int, raw: bool) -> dict[str, Json]:
    """A raw completion takes one number where a chat takes a flag and a number."""
    if raw:
        return {"logprobs": top}
    return {"logprobs": True, "top_logprobs": top} if top else {"logprobs": True}


def _is_strict(schema: Json) -> bool:
    """Whether every object in the schema is closed and fully required, as OpenAI's strict mode demands."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    if isinstance(properties := schema.get("properties"), Mapping):
        closed = schema.get("additionalProperties") is False
        if not closed or set(properties) - set(schema.get("required", ())):
            return False
    return all(map(_is_strict, schema.values()))


# From the wire


def _logprobs(data: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...]:
    if not data:
        return ()
    if "tokens" in data:
        return _raw_logprobs(data)
    return tuple(
        TokenLogprob(
            row["token"], row["logprob"], tuple((t["token"], t["logprob"]) for t in row.get("top_logprobs") or ())
        )
        for row in data.get("content") or ()
    )


def _raw_logprobs(data: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    """The older shape, of `/completions`: parallel lists, the alternatives unordered."""
    tops = data.get("top_logprobs") or [None] * len(data["tokens"])
    return tuple(
        TokenLogprob(token, logprob or 0.0, tuple(sorted((top or {}).items(), key=lambda pair: -pair[1])))
        for token, logprob, top in zip(data["tokens"], data["token_logprobs"], tops, strict=True)
    )
