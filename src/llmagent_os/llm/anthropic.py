"""Anthropic's Messages API, and servers that speak it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import aclosing
from typing import Any

from ..core import schemas
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
    Sampling,
    ToolSpec,
    Usage,
)
from .anthropic_reader import Reader
from .engines import check, refuse_unknown
from .http import DONE, Server, api_key, gathered
from .wire import choice_schema, ending, priced, sent, tokens

BASE = "https://api.anthropic.com/v1"
VERSION = "2023-06-01"
MAX_TOKENS = 4096
"""Sent when the request has no `max_tokens`: the API demands one."""

_OPTIONS = ("stream", "parameters", "idle", "body")
_PARAMETERS = frozenset({"max_tokens", "temperature", "top_p", "top_k", "stop"})


class AnthropicEngine:
    """One model of one server. `source` is the base URL, up to and including `/v1`.

    Options: `stream: false` never streams; `parameters` is the list to accept where the model takes fewer (some refuse
    `temperature`); `idle` the longest silence in seconds; `body` extra fields.
    """

    def __init__(self, spec: ModelSpec) -> None:
        refuse_unknown(spec.options, _OPTIONS, "option of an anthropic model")
        self.info = EngineInfo(
            name="anthropic",
            model=spec.name,
            window=spec.window,
            parameters=_PARAMETERS & frozenset(spec.options.get("parameters", _PARAMETERS)),
            abilities=frozenset({"chat", "tools", "schema", "choices", "images"}),
            limit=spec.limit or 256,
            input_price=spec.input_price,
            output_price=spec.output_price,
        )
        key = api_key(spec)
        headers = {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}
        self._server = Server(spec, spec.source or BASE, headers)
        self._model = spec.model or spec.name
        self._options = spec.options

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the answer, or give it in one chunk when the request or the options ask for no stream."""
        request = check(request, self.info)
        body, reader = self._body(request), Reader(request)
        if not body["stream"]:
            answer = await self._server.ask("/messages", body)
            with self._server.understood():
                last = self._last(reader, reader.whole(answer), request)
            yield last
            return
        try:
            async with aclosing(self._server.events("/messages", body)) as events:
                async for block in events:
                    for some in gathered(block):
                        with self._server.understood():  # DONE is OpenAI's word, which some servers add
                            text = "".join([reader.piece(self._server.read(data)) for data in some if data != DONE])
                        if text:
                            yield Chunk(text)
                        if len(some) > 1:
                            await asyncio.sleep(0)
        except EngineUnavailable:
            if reader.finish is None:  # else the answer was whole before the connection broke
                raise
        if reader.finish is None:
            raise self._server.broken_off()
        with self._server.understood():
            last = self._last(reader, reader.rest(), request)
        yield last

    def _last(self, reader: Reader, text: str, request: GenerateRequest) -> Chunk:
        calls = reader.calls()
        finish = ending(reader.finish, calls, request, reader.said)
        return Chunk(text, (), calls, finish, self._usage(reader.usage), stopped=reader.stopped)

    def _usage(self, usage: Mapping[str, Any]) -> Usage:
        """What was read from and written to the cache is not in `input_tokens`."""
        cached = tokens(usage, "cache_read_input_tokens") or 0
        read = (tokens(usage, "input_tokens") or 0) + cached + (tokens(usage, "cache_creation_input_tokens") or 0)
        return priced(self.info, read, tokens(usage, "output_tokens") or 0, cached)

    def _body(self, request: GenerateRequest) -> dict[str, Json]:
        stream = request.stream and self._options.get("stream", True)
        body = {"model": self._model, "stream": stream, **self._options.get("body", {}), **_prompt(request)}
        body.update(_sampling(request.sampling, self.info.parameters))
        schema = choice_schema(request.choices) if request.choices else request.schema
        if schema is not None:
            body["output_config"] = {
                "format": {"type": "json_schema", "schema": schemas.rebuilt(sent(schema), _closed)}
            }
        return body

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Always raises Unsupported: the API has no embeddings."""
        raise Unsupported("Anthropic's API has no embeddings; use another model for `embed`", parameter="embed")

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The server's own count; raises as `generate` does."""
        answer = await self._server.ask(
            "/messages/count_tokens", {"model": self._model, **_prompt(schemas.fitted(request))}
        )
        with self._server.understood():
            return int(answer["input_tokens"])

    def health(self) -> str | None:
        """None unless the last request could not connect."""
        return self._server.health()

    async def close(self) -> None:
        """Close the connections; running calls fail."""
        await self._server.close()


async def open_engine(spec: ModelSpec) -> AnthropicEngine:
    """Make the engine without asking the server anything.

    Raises EngineFailed when the key is not set, InvalidRequest for an unknown option.
    """
    return AnthropicEngine(spec)


def _prompt(request: GenerateRequest) -> dict[str, Json]:
    """The part of a request that counts as prompt; system messages are one field of their own."""
    system = "\n\n".join(m.text for m in request.messages if m.role == "system")
    data: dict[str, Json] = {"messages": _turns([m for m in request.messages if m.role != "system"])}
    if system:
        data["system"] = system
    if request.tools:
        data["tools"] = [_tool(tool) for tool in request.tools]
        data["tool_choice"] = _tool_choice(request.tool_choice)
    return data


def _turns(messages: list[Message]) -> list[dict[str, Json]]:
    """Join neighbours of one role: the results of parallel calls must stand together in one user message.

    A message without content is left out, for the API refuses it.
    """
    turns: list[dict[str, Json]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> list[dict[str, Json]]:
    content = _content(message.content)
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": content}]
    calls = [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in message.tool_calls]
    return content + calls


def _content(content: str | list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Blocks out of text or of OpenAI's parts; empty text is left out, for the API refuses it."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_part(part) for part in content if part.get("type") != "text" or part["text"]]


def _part(part: Mapping[str, Json]) -> dict[str, Json]:
    if part.get("type") == "text":
        return {"type": "text", "text": part["text"]}
    if part.get("type") != "image_url":
        raise Unsupported(f"Anthropic's API takes text and images, not {part.get('type')!r} parts", parameter="content")
    url = part["image_url"]["url"]
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media, _, data = url.removeprefix("data:").partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def _tool(tool: ToolSpec) -> dict[str, Json]:
    return {"name": tool.name, "description": tool.description, "input_schema": sent(tool.parameters)}


def _tool_choice(choice: str) -> dict[str, Json]:
    if choice in ("auto", "none"):
        return {"type": choice}
    return {"type": "any"} if choice == "required" else {"type": "tool", "name": choice}


def _sampling(sampling: Sampling, taken: Container[str]) -> dict[str, Json]:
    sent = {"max_tokens": MAX_TOKENS} | {n: value for n, value in sampling.sent().items() if n in taken}
    if "stop" in sent:
        sent["stop_sequences"] = sent.pop("stop")
    return sent


def _closed(part: Mapping[str, Json]) -> dict[str, Json]:
    """Close an object that says nothing of other properties: the API demands it, and what it allows stays valid."""
    return {**({"additionalProperties": False} if part.get("type") == "object" else {}), **part}
