"""smolagents: tools that are called, and tools that code calls."""

from __future__ import annotations

import pytest
import smolagents
from smolagents import ChatMessageStreamDelta, CodeAgent, FinalAnswerStep, MultiStepAgent, OpenAIModel, ToolCallingAgent

from tests.interop.conftest import Server, Shop
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def clerk(kind: type[MultiStepAgent], model: str, server: Server, shop: Shop, stream: bool) -> MultiStepAgent:
    found = OpenAIModel(model_id=model, api_base=server.base_url, api_key=server.api_key)
    tools = [smolagents.tool(function) for function in shop.tools]
    return kind(tools=tools, model=found, stream_outputs=stream, verbosity_level=0)


KINDS = pytest.mark.parametrize(("kind", "model"), [(ToolCallingAgent, "shopkeeper"), (CodeAgent, "coder")])


@KINDS
def test_smolagents(server: Server, shop: Shop, kind: type[MultiStepAgent], model: str) -> None:
    shop.check(clerk(kind, model, server, shop, stream=False).run(TASK))


@KINDS
def test_smolagents_streams(server: Server, shop: Shop, kind: type[MultiStepAgent], model: str) -> None:
    steps = list(clerk(kind, model, server, shop, stream=True).run(TASK, stream=True))
    assert sum(isinstance(step, ChatMessageStreamDelta) for step in steps) > 1
    assert isinstance(steps[-1], FinalAnswerStep)
    shop.check(steps[-1].output)
