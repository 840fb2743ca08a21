"""LiteLLM, over which many others go: chats, responses and Anthropic's messages, each in its own words."""

from __future__ import annotations

import json
from typing import Any

import litellm
import pytest

from tests.interop.conftest import Server, Shop
from tests.interop.scripts import FUNCTIONS, TASK

pytestmark = pytest.mark.interop


def asked(server: Server, provider: str) -> dict[str, Any]:
    """What every call is told of where to ask whom."""
    address = server.base_url.removesuffix("/v1") if provider == "anthropic" else server.base_url
    return {"model": f"{provider}/{server.model}", "api_base": address, "api_key": server.api_key}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["openai", "hosted_vllm", "litellm_proxy", "anthropic"])
async def test_chats(server: Server, shop: Shop, provider: str, stream: bool) -> None:
    tools = [{"type": "function", "function": function} for function in FUNCTIONS]
    messages: list[Any] = [{"role": "user", "content": TASK}]
    while True:
        answer = await litellm.acompletion(messages=messages, tools=tools, stream=stream, **asked(server, provider))
        pieces = [piece async for piece in answer] if stream else []
        whole = litellm.stream_chunk_builder(pieces, messages=messages) if stream else answer
        message = whole.choices[0].message
        assert whole.usage.completion_tokens > 0
        if not message.tool_calls:
            assert not stream or sum(bool(piece.choices[0].delta.content) for piece in pieces) > 1
            return shop.check(message.content)
        messages.append(message)
        for call in message.tool_calls:
            result = getattr(shop, call.function.name)(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


@pytest.mark.parametrize("stream", [False, True])
async def test_responses(server: Server, shop: Shop, stream: bool) -> None:
    tools: Any = [{"type": "function", **function} for function in FUNCTIONS]
    items: list[Any] = [{"role": "user", "content": TASK}]
    while True:
        answer = await litellm.aresponses(input=items, tools=tools, stream=stream, **asked(server, "openai"))
        if stream:
            events = [event async for event in answer]
            answer = events[-1].response
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            assert not stream or sum(event.type == "response.output_text.delta" for event in events) > 1
            return shop.check(answer.output_text)
        items += [item.model_dump() for item in answer.output]
        for call in calls:
            result = getattr(shop, call.name)(**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": result})


def test_vectors_and_errors(server: Server) -> None:
    found = litellm.embedding(input=["red", "blue"], **{**asked(server, "openai"), "model": "openai/scripted"})
    assert [len(row["embedding"]) for row in found.data] == [64, 64]
    with pytest.raises(litellm.NotFoundError, match="did you mean 'scripted'"):
        litellm.completion(
            messages=[{"role": "user", "content": "x"}], **{**asked(server, "openai"), "model": "openai/scriptd"}
        )
