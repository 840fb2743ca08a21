"""Haystack's agent, over chats and over responses."""

from __future__ import annotations

import pytest
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk
from haystack.tools import create_tool_from_function
from haystack.utils import Secret

from tests.interop.conftest import Server, Shop, both_apis
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def clerk(server: Server, shop: Shop, api: str) -> Agent:
    kind = OpenAIResponsesChatGenerator if api == "responses" else OpenAIChatGenerator
    model = kind(model=server.model, api_base_url=server.base_url, api_key=Secret.from_token(server.api_key))
    return Agent(chat_generator=model, tools=[create_tool_from_function(function) for function in shop.tools])


@both_apis
def test_haystack(server: Server, shop: Shop, api: str) -> None:
    shop.check(clerk(server, shop, api).run(messages=[ChatMessage.from_user(TASK)])["messages"][-1].text)


@both_apis
def test_haystack_streams(server: Server, shop: Shop, api: str) -> None:
    pieces: list[StreamingChunk] = []
    found = clerk(server, shop, api).run(messages=[ChatMessage.from_user(TASK)], streaming_callback=pieces.append)
    assert sum(bool(piece.content) for piece in pieces) > 1
    shop.check(found["messages"][-1].text)
