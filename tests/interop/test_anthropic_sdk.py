"""Anthropic's official SDK: messages, streams, tools, counts, models, errors."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.interop.conftest import Server, Shop
from tests.interop.scripts import FUNCTIONS, TASK

pytestmark = pytest.mark.interop

TOOLS: Any = [
    {"name": function["name"], "description": function["description"], "input_schema": function["parameters"]}
    for function in FUNCTIONS
]


def address(server: Server) -> str:
    """Their SDKs add `/v1` themselves."""
    return server.base_url.removesuffix("/v1")


@pytest.fixture
def client(server: Server) -> Anthropic:
    return Anthropic(base_url=address(server), api_key=server.api_key)


@pytest.mark.parametrize("stream", [False, True])
def test_three_tools_in_a_row(client: Anthropic, server: Server, shop: Shop, stream: bool) -> None:
    asked: dict[str, Any] = {"model": server.model, "max_tokens": 256, "tools": TOOLS}
    messages: list[Any] = [{"role": "user", "content": TASK}]
    while True:
        if stream:
            with client.messages.stream(messages=messages, **asked) as events:
                for _ in events:
                    pass
                message = events.get_final_message()
        else:
            message = client.messages.create(messages=messages, **asked)
        calls = [block for block in message.content if block.type == "tool_use"]
        if not calls:
            return shop.check(message.content[0].text)
        assert message.stop_reason == "tool_use"
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": getattr(shop, call.name)(**call.input)}
            for call in calls
        ]
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]


def test_the_sdks_own_tool_loop(client: Anthropic, server: Server, shop: Shop) -> None:
    tools = [anthropic.beta_tool(function) for function in shop.tools]
    runner = client.beta.messages.tool_runner(
        model=server.model, max_tokens=256, tools=tools, messages=[{"role": "user", "content": TASK}]
    )
    shop.check(runner.until_done().content[0].text)


async def test_text_as_it_comes(server: Server) -> None:
    client = AsyncAnthropic(base_url=address(server), auth_token=server.api_key, api_key=None)
    messages: Any = [{"role": "user", "content": "one two three four"}]
    async with client.messages.stream(model="scripted", max_tokens=64, messages=messages) as stream:
        pieces = [piece async for piece in stream.text_stream]
        message = await stream.get_final_message()
    assert len(pieces) > 1 and "".join(pieces) == "one two three four"
    assert message.stop_reason == "end_turn" and message.usage.output_tokens > 0 and message.usage.input_tokens > 0


def test_counts_stops_and_beginnings(client: Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "one two three four"}]
    assert client.messages.count_tokens(model="scripted", messages=messages, tools=TOOLS).input_tokens > 0
    answer = client.messages.create(model="scripted", max_tokens=64, messages=messages, stop_sequences=[" three"])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", " three")
    begun: Any = [*messages, {"role": "assistant", "content": "one two"}]
    answer = client.messages.create(model="scripted", max_tokens=64, messages=begun)
    assert answer.content[0].text == " three four"


def test_models_are_listed_and_theirs_stand_for_ours(client: Anthropic) -> None:
    assert {model.id for model in client.models.list(limit=1)} >= {"scripted", "assistant"}
    found = client.models.retrieve("assistant")
    assert (found.id, found.type, found.display_name) == ("assistant", "model", "assistant")
    messages: Any = [{"role": "user", "content": "good day"}]
    answer = client.messages.create(model="claude-sonnet-5", max_tokens=64, messages=messages)
    assert answer.content[0].text == "good day" and answer.model == "default"
    assert client.messages.create(model="assistant", max_tokens=64, messages=messages).content[0].text == "good day"


def test_errors_are_the_sdks_own(client: Anthropic, server: Server) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(anthropic.NotFoundError, match="did you mean 'scripted'"):
        client.messages.create(model="scriptd", max_tokens=1, messages=messages)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(model="scripted", max_tokens=0, messages=messages)
    with pytest.raises(anthropic.AuthenticationError):
        Anthropic(base_url=address(server), api_key="sk-wrong").messages.create(
            model="scripted", max_tokens=1, messages=messages
        )
    with pytest.raises(anthropic.NotFoundError, match="this server does not have"):
        client.messages.batches.list()
