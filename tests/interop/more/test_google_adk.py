"""Google's Agent Development Kit, over LiteLLM and over clients of its own."""

from __future__ import annotations

from typing import Any

import pytest
from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.integrations.openai import OpenAILlm, OpenAIResponsesLlm
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types

from tests.interop.conftest import Server, Shop
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def model(server: Server, kind: str) -> Any:
    if kind == "litellm":
        return LiteLlm(model=f"openai/{server.model}", api_base=server.base_url, api_key=server.api_key)
    own = OpenAIResponsesLlm if kind == "responses" else OpenAILlm
    return own(model=server.model, base_url=server.base_url, api_key=server.api_key)


async def run(server: Server, shop: Shop, kind: str, mode: StreamingMode) -> list[tuple[bool, str]]:
    """The texts of a run, each with whether it is a piece of one."""
    agent = LlmAgent(name="clerk", model=model(server, kind), instruction="You work in a shop.", tools=shop.tools)
    runner = InMemoryRunner(agent=agent, app_name="shop")
    session = await runner.session_service.create_session(app_name="shop", user_id="ann")
    events = runner.run_async(
        user_id="ann", session_id=session.id, run_config=RunConfig(streaming_mode=mode),
        new_message=types.Content(role="user", parts=[types.Part(text=TASK)]),
    )  # fmt: skip
    return [
        (bool(event.partial), part.text)
        async for event in events
        for part in (event.content and event.content.parts) or ()
        if part.text
    ]


KINDS = pytest.mark.parametrize("kind", ["litellm", "chat", "responses"])


@KINDS
async def test_google_adk(server: Server, shop: Shop, kind: str) -> None:
    shop.check((await run(server, shop, kind, StreamingMode.NONE))[-1][1])


@KINDS
async def test_google_adk_streams(server: Server, shop: Shop, kind: str) -> None:
    pieces = [text for partial, text in await run(server, shop, kind, StreamingMode.SSE) if partial]
    assert len(pieces) > 1
    shop.check("".join(pieces))
