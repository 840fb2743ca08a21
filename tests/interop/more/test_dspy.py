"""DSPy: tools that are called, and tools that are named in fields of a text."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from dspy.streaming import StreamListener, StreamResponse

from tests.interop.conftest import Server, Shop
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def model(server: Server, name: str) -> Any:
    return dspy.LM(f"openai/{name}", api_base=server.base_url, api_key=server.api_key, cache=False)


async def test_dspy(server: Server, shop: Shop) -> None:
    with dspy.context(lm=model(server, "planner")):
        shop.check((await dspy.ReAct("task -> answer", tools=shop.tools).acall(task=TASK)).answer)


async def test_dspy_streams(server: Server, shop: Shop) -> None:
    with dspy.context(lm=model(server, "planner")):
        program = dspy.streamify(
            dspy.ReAct("task -> answer", tools=shop.tools), stream_listeners=[StreamListener("answer")]
        )
        found = [piece async for piece in program(task=TASK)]
    pieces = [piece.chunk for piece in found if isinstance(piece, StreamResponse)]
    assert len(pieces) > 1
    shop.check(found[-1].answer)
    assert "".join(pieces).strip() == found[-1].answer


def test_dspy_calls(server: Server, shop: Shop) -> None:
    with dspy.context(lm=model(server, "gpt-4o"), adapter=dspy.ChatAdapter(use_native_function_calling=True)):
        shop.check(dspy.ReActV2("task -> answer", tools=shop.tools)(task=TASK).answer)
