"""Strands Agents, over chats and over responses; it streams always."""

from __future__ import annotations

import pytest
import strands
from strands.models.openai import OpenAIModel
from strands.models.openai_responses import OpenAIResponsesModel

from tests.interop.conftest import Server, Shop, both_apis
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def clerk(server: Server, shop: Shop, api: str) -> strands.Agent:
    kind = OpenAIResponsesModel if api == "responses" else OpenAIModel
    model = kind(client_args={"base_url": server.base_url, "api_key": server.api_key}, model_id=server.model)
    return strands.Agent(model=model, tools=[strands.tool(function) for function in shop.tools], callback_handler=None)


@both_apis
async def test_strands(server: Server, shop: Shop, api: str) -> None:
    shop.check(await clerk(server, shop, api).invoke_async(TASK))


@both_apis
async def test_strands_streams(server: Server, shop: Shop, api: str) -> None:
    pieces = [event["data"] async for event in clerk(server, shop, api).stream_async(TASK) if "data" in event]
    assert len(pieces) > 1
    shop.check("".join(pieces))
