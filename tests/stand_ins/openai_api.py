"""The face of an OpenAI-compatible server: chat, raw completions and embeddings, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from llmagent_os.core import codec
from llmagent_os.core.records import (
    Chunk,
    EmbedRequest,
    GenerateRequest,
    Generation,
    Message,
    Sampling,
    TokenLogprob,
    ToolCall,
    ToolSpec,
    Usage,
)

from .server import Refused, StandIn, model, playing

FIELDS = frozenset({
    "model", "messages", "prompt", "stream", "stream_options", "temperature", "top_p", "presence_penalty",
    "frequency_penalty", "seed", "stop", "logit_bias", "logprobs", "top_logprobs", "max_tokens",
    "max_completion_tokens", "tools", "tool_choice", "response_format", "input", "encoding_format",
    "continue_final_message", "add_generation_prompt",
})  # fmt: skip
HEAD = {"id": "chatcmpl-1", "created": 0, "model": "stand-in"}
EXTENDED = frozenset({"top_k", "min_p", "typical_p", "repetition_penalty", "structured_outputs"})


@dataclass
class OpenAIStandIn(StandIn):
    """`extended` servers take vLLM's extra fields too; `counts` ones say what was used."""

    extended: bool = False
    counts: bool = True

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post("/v1/chat/completions", self.generate),
            web.post("/v1/completions", self.generate),
            web.post("/v1/embeddings", self.embed),
        ]

    def error(self, refused: Refused) -> dict[str, Any]:
        """OpenAI's shape."""
        return {"error": {"message": refused.message, "type": refused.kind, "code": refused.kind}}

    def over_window(self, tokens: int, window: int) -> str:
        """OpenAI's words."""
        return (
            f"This model's maximum context length is {window} tokens. However, your messages resulted in {tokens} "
            "tokens. Please reduce the length of the messages."
        )

    async def body(self, request: web.Request) -> dict[str, Any]:
        """The fields of the API, with vLLM's where they are taken."""
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await self.read(request, key, FIELDS | EXTENDED if self.extended else FIELDS)

    async def embed(self, request: web.Request) -> web.StreamResponse:
        """Answer out of order, as the API allows."""
        body = await self.body(request)
        made = await self.model.embed(EmbedRequest("stand-in", tuple(body["input"])))
        rows = [{"index": i, "embedding": vector} for i, vector in enumerate(made.vectors)]
        return web.json_response({"data": rows[::-1], "usage": {"prompt_tokens": made.usage.input_tokens}})

    def asked(self, body: Mapping[str, Any]) -> GenerateRequest:
        """A chat or a raw prompt."""
        return asked(body)

    def whole(self, answer: Generation, body: Mapping[str, Any]) -> dict[str, Any]:
        """One choice, and what was used."""
        raw = "prompt" in body
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": answer.finish,
            "logprobs": logprobs(answer.logprobs, raw),
        }
        if raw:
            choice["text"] = answer.text
        else:
            calls = [call for i, one in enumerate(answer.tool_calls) for call in deltas(i, one, whole=True)]
            choice["message"] = {"role": "assistant", "content": answer.text or None, "tool_calls": calls or None}
        used = usage(answer.usage) if self.counts else None
        return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": used}

    async def opening(self, wanted: GenerateRequest) -> list[bytes]:
        """Who speaks."""
        return [event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})]

    def piece(self, chunk: Chunk, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Text, calls of tools in two pieces each, the end, what was used."""
        raw = "prompt" in body
        if chunk.text:
            said = {"text": chunk.text} if raw else {"delta": {"content": chunk.text}}
            yield event({"choices": [{"index": 0, **said, "logprobs": logprobs(chunk.logprobs, raw)}]})
        for i, call in enumerate(chunk.tool_calls):
            for delta in deltas(i, call, whole=False):
                yield event({"choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]})
        if chunk.finish:
            yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": chunk.finish}]})
        if chunk.usage and self.counts and body["stream_options"]["include_usage"]:
            yield event({"choices": [], "usage": usage(chunk.usage)})

    def closing(self) -> bytes:
        """OpenAI's last line."""
        return b"data: [DONE]\n\n"


@asynccontextmanager
async def openai_server(
    key: str = "", extended: bool = False, counts: bool = True, **options: Any
) -> AsyncIterator[OpenAIStandIn]:
    """Run a stand-in whose scripted model is opened with `options`."""
    stand_in = OpenAIStandIn(await model(**options), key=key, extended=extended, counts=counts)
    async with playing(stand_in):
        yield stand_in


def event(data: Mapping[str, Any]) -> bytes:
    """An event of a stream."""
    return b"data: " + codec.dumps({**HEAD, "object": "chat.completion.chunk", **data}) + b"\n\n"


def asked(body: Mapping[str, Any]) -> GenerateRequest:
    """Read a request as the server's model is asked."""
    names = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias")
    sampling = {name: body[name] for name in names if name in body}
    if (limit := body.get("max_completion_tokens", body.get("max_tokens"))) is not None:
        sampling["max_tokens"] = limit
    if body.get("logprobs") is not None:
        sampling["top_logprobs"] = body["logprobs"] if "prompt" in body else body.get("top_logprobs", 0)
    format = body.get("response_format") or {}
    messages = [heard(one) for one in body.get("messages", ())]
    said = messages.pop().text if body.get("continue_final_message") else ""
    return GenerateRequest(
        "stand-in",
        messages=tuple(messages),
        prompt=body.get("prompt"),
        sampling=Sampling(**sampling, stop=tuple(body["stop"]) if "stop" in body else None),
        tools=tuple(ToolSpec(**tool["function"]) for tool in body.get("tools", ())),
        tool_choice=choice(body.get("tool_choice", "auto")),
        schema=format["json_schema"]["schema"] if format else None,
        choices=tuple(body["structured_outputs"]["choice"]) if "structured_outputs" in body else None,
        stream=body.get("stream", False),
        said=said,
    )


def choice(data: Any) -> str:
    """Read `tool_choice`."""
    return data if isinstance(data, str) else data["function"]["name"]


def heard(data: Mapping[str, Any]) -> Message:
    """Read one message."""
    calls = (
        ToolCall(call["id"], call["function"]["name"], codec.loads(call["function"]["arguments"]))
        for call in data.get("tool_calls") or ()
    )
    if data["role"] == "tool" and not data.get("tool_call_id"):
        raise Refused(400, "invalid_request_error", "a tool message must have a tool_call_id")
    return Message(data["role"], data["content"] or "", tuple(calls), data.get("tool_call_id"), data.get("name"))


def deltas(index: int, call: ToolCall, whole: bool) -> list[dict[str, Any]]:
    """A tool call as the API sends it: whole, or its arguments in two pieces."""
    text = codec.dumps(call.arguments).decode()
    half = len(text) if whole else len(text) // 2
    function = {"name": call.name, "arguments": text[:half]}
    first = {"index": index, "id": call.id, "type": "function", "function": function}
    return [first] if whole else [first, {"index": index, "function": {"arguments": text[half:]}}]


def logprobs(rows: tuple[TokenLogprob, ...], raw: bool) -> dict[str, Any] | None:
    """Log-probabilities in the shape of chats, or of raw completions."""
    if not rows:
        return None
    if raw:
        tops = [dict(row.top[::-1]) for row in rows]
        chosen = [row.logprob for row in rows]
        return {"tokens": [row.token for row in rows], "token_logprobs": chosen, "top_logprobs": tops}
    return {"content": [
        {"token": row.token, "logprob": row.logprob, "top_logprobs": [{"token": t, "logprob": p} for t, p in row.top]}
        for row in rows
    ]}  # fmt: skip


def usage(used: Usage) -> dict[str, Any]:
    """Usage as the API says it."""
    return {
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "total_tokens": used.input_tokens + used.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
