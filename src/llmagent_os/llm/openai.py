"""Any server that speaks OpenAI's API: OpenAI, vLLM, Ollama, LM Studio and many more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from ..core import codec
from ..core.errors import EngineUnavailable, Unsupported
from ..core.records import (
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    GenerateRequest,
    Json,
    Message,
    ModelSpec,
    ToolSpec,
    Usage,
)
from ..core.stream import estimate, tokens_of
from .engines import check, refuse_unknown
from .http import DONE, Server, api_key, gathered
from .openai_reader import Reader
from .wire import choice_schema, ending, priced, sent, tokens

BASE = "https://api.openai.com/v1"

_TEMPLATE = 4  # tokens that a chat template adds to each message, where the server does not count them

_STANDARD = frozenset({
    "max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop", "logit_bias",
    "top_logprobs",
})  # fmt: skip
_OPTIONS = ("stream", "extended", "prefill", "choices", "max_tokens", "idle", "body")
_ABILITIES = frozenset({"chat", "prompt", "tools", "schema", "choices", "images", "embed"})
_EXTENDED = frozenset({"top_k", "min_p", "typical_p", "repetition_penalty"})


class OpenAIEngine:
    """One model of one server. `source` is the base URL, up to and including `/v1`.

    Options: `stream: false` never streams; `extended: true` for servers that take `top_k`, `min_p`, `typical_p` and
    `repetition_penalty`, and a schema with a raw prompt (vLLM); `choices` is how they are sent: `schema` (default,
    works anywhere), `structured_outputs` (vLLM) or `guided_choice` (vLLM before 0.12); `max_tokens` is the name of
    that field, where `max_completion_tokens` is wanted; `prefill: true` for servers that go on from the beginning of an
    answer when told `continue_final_message` (vLLM, llama-server, LLMAgentOS); `idle` the longest silence in seconds;
    `body` extra fields.
    """

    def __init__(self, spec: ModelSpec) -> None:
        refuse_unknown(spec.options, _OPTIONS, "option of an openai model")
        self._extended = bool(spec.options.get("extended", False))
        self.info = EngineInfo(
            name="openai",
            model=spec.name,
            window=spec.window,
            parameters=_STANDARD | _EXTENDED if self._extended else _STANDARD,
            abilities=_ABILITIES | {"said"} if spec.options.get("prefill") else _ABILITIES,
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
        request = check(request, self.info)
        path = "/completions" if request.prompt is not None else "/chat/completions"
        body = self._body(request)
        reader = Reader(request, self._unwraps(request))
        if not body["stream"]:
            answer = await self._server.ask(path, body)
            with self._server.understood():
                last = self._last(reader, reader.whole(answer), request)
            yield last
            return
        try:
            async with aclosing(self._server.events(path, body)) as events:
                async for block in events:
                    for some in gathered(block):
                        with self._server.understood():
                            chunk = _joined([self._piece(reader, data) for data in some])
                        if chunk.text or chunk.logprobs:
                            yield chunk
                        if len(some) > 1:
                            await asyncio.sleep(0)
        except EngineUnavailable:
            if reader.finish is None:  # else the answer was whole before the connection broke
                raise
        if reader.finish is None:
            raise self._server.broken_off()
        with self._server.understood():
            last = self._last(reader, Chunk(text=reader.rest()), request)
        yield last

    def _piece(self, reader: Reader, data: bytes) -> Chunk:
        return reader.done() if data == DONE else reader.piece(self._server.read(data))

    def _last(self, reader: Reader, chunk: Chunk, request: GenerateRequest) -> Chunk:
        calls = reader.calls()
        finish = ending(reader.finish, calls, request, reader.said)
        return Chunk(chunk.text, chunk.logprobs, calls, finish, self._usage(reader, request))

    def _usage(self, reader: Reader, request: GenerateRequest) -> Usage:
        """The server's count; what it does not say is estimated."""
        read = tokens(reader.usage, "prompt_tokens", "input_tokens")
        written = tokens(reader.usage, "completion_tokens", "output_tokens")
        cached = tokens(reader.usage.get("prompt_tokens_details") or {}, "cached_tokens")
        return priced(
            self.info,
            estimate(request, _TEMPLATE) if read is None else read,
            tokens_of(reader.length) if written is None else written,
            cached or 0,
        )

    def _body(self, request: GenerateRequest) -> dict[str, Json]:
        stream = request.stream and self._options.get("stream", True)
        body: dict[str, Json] = {"model": self._model, "stream": stream, **self._options.get("body", {})}
        if stream:
            body["stream_options"] = {"include_usage": True}
        if request.prompt is not None:
            body["prompt"] = request.prompt + request.said
        else:
            body["messages"] = [_message(message) for message in request.messages]
            if request.said:
                body["messages"].append({"role": "assistant", "content": request.said})
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        body.update(self._sampling(request))
        if request.tools:
            body["tools"] = [{"type": "function", "function": _tool(tool)} for tool in request.tools]
            body["tool_choice"] = _tool_choice(request.tool_choice)
        body.update(self._constraint(request))
        return body

    def _sampling(self, request: GenerateRequest) -> dict[str, Json]:
        sent = {n: value for n, value in request.sampling.sent().items() if n in self.info.parameters}
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
        schema = sent(schema)
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
        with self._server.understood():
            rows = sorted(enumerate(answer["data"]), key=lambda row: row[1].get("index", row[0]))
            vectors = tuple(tuple(row["embedding"]) for _, row in rows)
            if len(vectors) != len(request.texts):
                raise ValueError(f"{len(vectors)} vectors for {len(request.texts)} texts")
            read = tokens(answer.get("usage") or {}, "prompt_tokens", "total_tokens")
        used = priced(self.info, sum(tokens_of(len(text)) for text in request.texts) if read is None else read, 0)
        return Embeddings(vectors, used, self.info.model)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """An estimate, four characters a token: the API has no way to ask."""
        return estimate(request, _TEMPLATE)

    def health(self) -> str | None:
        """None unless the last request could not connect."""
        return self._server.health()

    async def close(self) -> None:
        """Close the connections; running calls fail."""
        await self._server.close()


def _joined(pieces: Sequence[Chunk]) -> Chunk:
    """Pieces of an answer that came at once, as one."""
    if len(pieces) == 1:
        return pieces[0]
    return Chunk("".join([each.text for each in pieces]), tuple([one for each in pieces for one in each.logprobs]))


async def open_engine(spec: ModelSpec) -> OpenAIEngine:
    """Make the engine without asking the server anything.

    Raises EngineFailed when the key is not set, InvalidRequest for an unknown option.
    """
    return OpenAIEngine(spec)


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


def _tool(tool: ToolSpec) -> ToolSpec:
    """The API refuses an object that does not say which properties it has."""
    return replace(tool, parameters={"properties": {}, **sent(tool.parameters)})


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
    if schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("properties", ())) - set(schema.get("required", ())):
            return False
    return all(map(_is_strict, schema.values()))
