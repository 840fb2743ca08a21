"""The face of Anthropic's Messages API, as particular as the real one about turns, tool results and schemas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from llmagent_os.core import codec
from llmagent_os.core.records import (
    Chunk,
    GenerateRequest,
    Generation,
    Message,
    Role,
    Sampling,
    ToolCall,
    ToolSpec,
    Usage,
)

from .server import Refused, StandIn, model, playing

FIELDS = frozenset({
    "model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences", "tools",
    "tool_choice", "output_config",
})  # fmt: skip
HEAD = {"id": "msg_1", "type": "message", "role": "assistant", "model": "stand-in"}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


@dataclass
class AnthropicStandIn(StandIn):
    """The server, with the API's own checks."""

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [web.post("/v1/messages", self.generate), web.post("/v1/messages/count_tokens", self.count)]

    def error(self, refused: Refused) -> dict[str, Any]:
        """Anthropic's shape."""
        return {"type": "error", "error": {"type": refused.kind, "message": refused.message}}

    def over_window(self, tokens: int, window: int) -> str:
        """Anthropic's words."""
        return f"prompt is too long: {tokens} tokens > {window} maximum"

    async def body(self, request: web.Request) -> dict[str, Any]:
        """The fields of the API, and its version in the head."""
        if "anthropic-version" not in request.headers:
            raise invalid("anthropic-version: header is required")
        return await self.read(request, request.headers.get("x-api-key", ""), FIELDS)

    async def count(self, request: web.Request) -> web.StreamResponse:
        """Count the prompt's tokens."""
        return web.json_response({"input_tokens": await self.model.count_tokens(asked(await self.body(request)))})

    def asked(self, body: Mapping[str, Any]) -> GenerateRequest:
        """A conversation, which says how long its answer may be."""
        if "max_tokens" not in body:
            raise invalid("max_tokens: Field required")
        return asked(body)

    def whole(self, answer: Generation, body: Mapping[str, Any]) -> dict[str, Any]:
        """Text and calls of tools as blocks."""
        content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.text else []
        content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in answer.tool_calls]
        reason = "stop_sequence" if answer.stopped else STOP_REASONS[answer.finish]
        ends = {"stop_reason": reason, "stop_sequence": answer.stopped}
        return {**HEAD, "content": content, **ends, "usage": used(answer.usage)}

    async def opening(self, wanted: GenerateRequest) -> list[bytes]:
        """The message, with what its prompt takes, and a first block of text."""
        counted = used(Usage(await self.model.count_tokens(wanted), 1))
        return [
            event("message_start", message={**HEAD, "content": [], "usage": counted}),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
        ]

    def piece(self, chunk: Chunk, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Text; calls of tools as blocks, their arguments in three pieces; the end."""
        if chunk.text:
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": chunk.text})
        for index, call in enumerate(chunk.tool_calls, start=1):
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield event("content_block_start", index=index, content_block=block)
            text = codec.dumps(call.arguments).decode()
            for part in ("", text[: len(text) // 2], text[len(text) // 2 :]):
                piece = {"type": "input_json_delta", "partial_json": part}
                yield event("content_block_delta", index=index, delta=piece)
        if chunk.finish:
            reason = "stop_sequence" if chunk.stopped else STOP_REASONS[chunk.finish]
            delta: dict[str, Any] = {"stop_reason": reason, "stop_sequence": chunk.stopped}
            spent = chunk.usage.output_tokens if chunk.usage else 0
            yield event("message_delta", delta=delta, usage={"output_tokens": spent})

    def closing(self) -> bytes:
        """Anthropic's last event."""
        return event("message_stop")


@asynccontextmanager
async def anthropic_server(key: str = "", **options: Any) -> AsyncIterator[AnthropicStandIn]:
    """Run a stand-in whose scripted model is opened with `options`."""
    stand_in = AnthropicStandIn(await model(**options), key=key)
    async with playing(stand_in):
        yield stand_in


def event(kind: str, **data: Any) -> bytes:
    """An event of a stream, its name on a line of its own."""
    return b"event: %s\r\ndata: %s\r\n\r\n" % (kind.encode(), codec.dumps({"type": kind, **data}))


def invalid(message: str) -> Refused:
    """The API's refusal of a request."""
    return Refused(400, "invalid_request_error", message)


def asked(body: Mapping[str, Any]) -> GenerateRequest:
    """Read a request as the server's model is asked, or refuse it as the API does."""
    names = ("max_tokens", "temperature", "top_p", "top_k")
    sampling = {name: body[name] for name in names if name in body}
    schema = body["output_config"]["format"]["schema"] if "output_config" in body else None
    if not closed(schema):
        raise invalid("output_config.format.schema: For 'object' type, 'additionalProperties' must be set to false")
    system = (Message("system", body["system"]),) if body.get("system") else ()
    return GenerateRequest(
        "stand-in",
        messages=system + conversation(body["messages"]),
        sampling=Sampling(**sampling, stop=tuple(body["stop_sequences"]) if "stop_sequences" in body else None),
        tools=tuple(ToolSpec(t["name"], t["description"], t["input_schema"]) for t in body.get("tools", ())),
        tool_choice=choice(body.get("tool_choice", {"type": "auto"})),
        schema=schema,
        stream=body.get("stream", False),
    )


def choice(data: Mapping[str, Any]) -> str:
    """Read `tool_choice`."""
    return {"any": "required", "tool": data.get("name", "")}.get(data["type"], data["type"])


def closed(schema: Any) -> bool:
    """Whether every object refuses further properties."""
    if isinstance(schema, list):
        return all(map(closed, schema))
    if not isinstance(schema, dict):
        return True
    open_object = schema.get("type") == "object" and schema.get("additionalProperties") is not False
    return not open_object and all(map(closed, schema.values()))


def conversation(turns: list[dict[str, Any]]) -> tuple[Message, ...]:
    """Read the turns: they alternate, and tool results answer the calls of the turn before, all of them."""
    messages: list[Message] = []
    role, open_calls = "assistant", set[str]()
    for turn in turns:
        if turn["role"] == role:
            raise invalid("messages: roles must alternate between user and assistant")
        role = turn["role"]
        results = {block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"}
        if results != open_calls:
            raise invalid("messages: `tool_use` ids were found without `tool_result` blocks immediately after")
        open_calls = {block["id"] for block in turn["content"] if block["type"] == "tool_use"}
        messages += heard(role, turn["content"])
    return tuple(messages)


def heard(role: Role, blocks: list[dict[str, Any]]) -> list[Message]:
    """Read one turn."""
    if any(block["type"] == "text" and not block["text"] for block in blocks):
        raise invalid("messages: text content blocks must be non-empty")
    results = [
        Message("tool", words(block["content"]), tool_call_id=block["tool_use_id"])
        for block in blocks
        if block["type"] == "tool_result"
    ]
    calls = tuple(ToolCall(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use")
    text = words(blocks)
    return [*results, Message(role, text, calls)] if text or calls else results


def words(blocks: list[dict[str, Any]]) -> str:
    """The text of some blocks."""
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def used(usage: Usage) -> dict[str, int]:
    """Usage as the API says it: what came from the cache apart."""
    return {
        "input_tokens": usage.input_tokens - 1,
        "cache_read_input_tokens": 1,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.output_tokens,
    }
