"""AutoGen, which sends the names of who speaks."""

from __future__ import annotations

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, TextMessage
from autogen_core.models import ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient

from tests.interop.conftest import Server, Shop
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def clerk(server: Server, shop: Shop, stream: bool = False) -> AssistantAgent:
    able = ModelInfo(vision=False, function_calling=True, json_output=True, structured_output=True, family="unknown")
    client = OpenAIChatCompletionClient(
        model=server.model, base_url=server.base_url, api_key=server.api_key, model_info=able
    )
    return AssistantAgent("clerk", client, tools=shop.tools, model_client_stream=stream, max_tool_iterations=5)


async def test_autogen(server: Server, shop: Shop) -> None:
    result = await clerk(server, shop).run(task=TASK)
    last = result.messages[-1]
    assert isinstance(last, TextMessage)
    shop.check(last.content)


async def test_autogen_streams(server: Server, shop: Shop) -> None:
    events = [event async for event in clerk(server, shop, stream=True).run_stream(task=TASK)]
    pieces = [event.content for event in events if isinstance(event, ModelClientStreamingChunkEvent)]
    assert len(pieces) > 1 and isinstance(events[-1], TaskResult)
    shop.check("".join(pieces))
