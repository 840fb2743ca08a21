"""Schemas drawn at random, sent to every way of /v1 that takes one: an answer under the schema, or a 400 that names it.

`LLMAGENT_OS_SECONDS=600` for a long look.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from llmagent_os.core import codec
from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.engines import open_engine
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.openai_api import openai_server
from tests.stand_ins.schemas import SCHEMAS, valid

SECONDS = float(os.environ.get("LLMAGENT_OS_SECONDS", "6"))
LONG = "LLMAGENT_OS_SECONDS" in os.environ
SETTINGS = settings(
    max_examples=60, deadline=None, database=None, derandomize=not LONG, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
)  # fmt: skip
FORCED = {"type": "function", "function": {"name": "send"}}


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found, openai_server() as server:
        spec = ModelSpec("remote", "openai", source=server.url, model="stand-in")
        found.system.add_engine("remote", await open_engine(spec))
        yield found


def function(schema: Any) -> dict[str, Any]:
    return {"name": "send", "description": "Send a letter.", "parameters": schema}


def bodies(schema: Any) -> dict[str, dict[str, Any]]:
    """One request for each place that a schema may stand in, by the path that it is sent to."""
    shape, said = {"name": "x", "schema": schema}, "Write to somebody."
    tool = {"type": "function", "function": function(schema)}
    claude = {"name": "send", "input_schema": schema}
    return {
        "/v1/chat/completions tools": {"messages": user(said), "tools": [tool], "tool_choice": FORCED},
        "/v1/chat/completions response_format": {
            "messages": user(said), "response_format": {"type": "json_schema", "json_schema": shape}
        },
        "/v1/responses tools": {
            "input": said, "tools": [{"type": "function", **function(schema)}], "tool_choice": "required"
        },
        "/v1/responses text": {"input": said, "text": {"format": {"type": "json_schema", **shape}}},
        "/v1/messages tools": {
            "messages": user(said), "max_tokens": 200, "tools": [claude], "tool_choice": {"type": "any"}
        },
    }  # fmt: skip


class Asking:
    """Asks, and checks what comes back."""

    def __init__(self, api: Gate) -> None:
        self.url, self.session, self.asked = api.running.url, requests.Session(), 0
        self.session.headers["Authorization"] = f"Bearer {api.running.key}"

    def one(self, schema: Any, model: str, stream: bool, way: str) -> None:
        self.asked += 1
        body, path = bodies(schema)[way], way.partition(" ")[0]
        sent = json.dumps({"model": model, "stream": stream, **body}).encode()
        answer = self.session.post(self.url + path, data=sent, headers={"Content-Type": "application/json"}, timeout=20)
        assert answer.status_code in (200, 400), (answer.status_code, answer.text[:500])
        if answer.status_code == 400:
            assert any(place in answer.text for place in ("send", "schema", "parameters")), answer.text
            return
        assert "server_error" not in answer.text and "api_error" not in answer.text, answer.text[:1000]
        if not stream:
            for given in self.given(answer.json()):
                # Arguments are an object: that holds for what means itself by `#` too, also under `not`.
                assert valid({"type": "object", **schema} if isinstance(schema, dict) else schema, given)

    def given(self, answer: dict[str, Any]) -> list[Any]:
        """The arguments of calls in an answer of chat or Anthropic's form."""
        calls = [call for each in answer.get("choices", ()) for call in each["message"].get("tool_calls") or ()]
        used = [each["input"] for each in answer.get("content") or () if each.get("type") == "tool_use"]
        return [codec.loads(call["function"]["arguments"]) for call in calls] + used

    def all(self) -> None:
        draw = given(
            schema=SCHEMAS, model=st.sampled_from(["scripted", "remote"]), stream=st.booleans(),
            way=st.sampled_from(list(bodies({}))),
        )  # fmt: skip
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            SETTINGS(draw(self.one))()
            if not LONG:
                break


@pytest.mark.timeout(SECONDS + 120)
async def test_any_schema_is_kept_or_named_and_none_is_a_server_error(api: Gate) -> None:
    asking = Asking(api)
    with asking.session:
        await asyncio.to_thread(asking.all)
    print(f"{asking.asked} requests")
    assert asking.asked >= 50
