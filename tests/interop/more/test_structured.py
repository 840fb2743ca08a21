"""Answers as objects: each framework asks for them in a way of its own."""

from __future__ import annotations

from typing import Any

import dspy
import litellm
import pytest
import strands
from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient as AutoGenClient
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
from llama_index.core.llms import ChatMessage as LlamaMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from strands.models.openai import OpenAIModel

from tests.interop.conftest import Server, both_apis
from tests.interop.scripts import OBJECT

pytestmark = pytest.mark.interop


class Place(BaseModel):
    """Where how many people live."""

    city: str
    people: int


PARIS = Place(city="Paris", people=2)


@both_apis
async def test_agent_framework(server: Server, api: str) -> None:
    kind = OpenAIChatClient if api == "responses" else OpenAIChatCompletionClient
    client = kind(model="scripted", base_url=server.base_url, api_key=server.api_key)
    assert (await Agent(client=client).run(OBJECT, options={"response_format": Place})).value == PARIS


async def test_autogen(server: Server) -> None:
    able = ModelInfo(vision=False, function_calling=True, json_output=True, structured_output=True, family="unknown")
    client = AutoGenClient(model="scripted", base_url=server.base_url, api_key=server.api_key, model_info=able)
    result = await AssistantAgent("clerk", client, output_content_type=Place).run(task=OBJECT)
    assert getattr(result.messages[-1], "content", None) == PARIS


@both_apis
def test_haystack(server: Server, api: str) -> None:
    kind: Any = OpenAIResponsesChatGenerator if api == "responses" else OpenAIChatGenerator
    shape = {"text_format" if api == "responses" else "response_format": Place}
    model = kind(
        model="scripted", api_base_url=server.base_url, api_key=Secret.from_token(server.api_key),
        generation_kwargs=shape,
    )  # fmt: skip
    (reply,) = model.run([ChatMessage.from_user(OBJECT)])["replies"]
    assert Place.model_validate_json(reply.text) == PARIS


async def test_strands_by_a_tool(server: Server) -> None:
    model = OpenAIModel(client_args={"base_url": server.base_url, "api_key": server.api_key}, model_id="scripted")
    agent = strands.Agent(model=model, callback_handler=None)
    found = await agent.invoke_async(f"call Place with {OBJECT}", structured_output_model=Place)
    assert found.structured_output == PARIS


@pytest.mark.parametrize("tool", [False, True])
async def test_llama_index(server: Server, tool: bool) -> None:
    """By a tool that must be called, or by a schema."""
    model = OpenAILike(
        model="scripted", api_base=server.base_url, api_key=server.api_key, is_chat_model=True,
        is_function_calling_model=tool, should_use_structured_outputs=not tool,
    )  # fmt: skip
    said = f"call Place with {OBJECT}" if tool else OBJECT
    assert (await model.as_structured_llm(Place).achat([LlamaMessage(role="user", content=said)])).raw == PARIS


async def test_dspy(server: Server) -> None:
    lm = dspy.LM("openai/gpt-4o", api_base=server.base_url, api_key=server.api_key, cache=False)
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        found = await dspy.Predict("task -> city: str, people: int").acall(task="x")
    assert (found.city, found.people) == ("Paris", 2)


async def test_litellm(server: Server) -> None:
    asked: Any = {"api_base": server.base_url, "api_key": server.api_key, "response_format": Place}
    answer = await litellm.acompletion("openai/scripted", [{"role": "user", "content": OBJECT}], **asked)
    assert Place.model_validate_json(answer.choices[0].message.content) == PARIS
