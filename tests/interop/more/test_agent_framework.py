"""Microsoft's Agent Framework, over chats and over responses."""

from __future__ import annotations

import pytest
from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient

from tests.interop.conftest import Server, Shop, both_apis
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def clerk(server: Server, shop: Shop, api: str) -> Agent:
    kind = OpenAIChatClient if api == "responses" else OpenAIChatCompletionClient
    client = kind(model=server.model, base_url=server.base_url, api_key=server.api_key)
    return Agent(client=client, instructions="You work in a shop.", tools=shop.tools)


@both_apis
async def test_agent_framework(server: Server, shop: Shop, api: str) -> None:
    shop.check((await clerk(server, shop, api).run(TASK)).text)


@both_apis
async def test_agent_framework_streams(server: Server, shop: Shop, api: str) -> None:
    pieces = [piece.text async for piece in clerk(server, shop, api).run(TASK, stream=True) if piece.text]
    assert len(pieces) > 1
    shop.check("".join(pieces))
