"""LlamaIndex's agent over a model that is like OpenAI's, by chats and by responses."""

from __future__ import annotations

import pytest
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses

from tests.interop.conftest import Server, Shop, both_apis
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def clerk(server: Server, shop: Shop, api: str, stream: bool) -> FunctionAgent:
    kind = OpenAILikeResponses if api == "responses" else OpenAILike
    model = kind(
        model=server.model, api_base=server.base_url, api_key=server.api_key, is_chat_model=True,
        is_function_calling_model=True,
    )  # fmt: skip
    return FunctionAgent(tools=shop.tools, llm=model, streaming=stream)


@both_apis
async def test_llama_index(server: Server, shop: Shop, api: str) -> None:
    shop.check(await clerk(server, shop, api, stream=False).run(TASK))


@both_apis
async def test_llama_index_streams(server: Server, shop: Shop, api: str) -> None:
    run = clerk(server, shop, api, stream=True).run(TASK)
    pieces = [event.delta async for event in run.stream_events() if isinstance(event, AgentStream) and event.delta]
    assert len(pieces) > 1
    shop.check("".join(pieces))
    await run
