"""Codex, Claude Code and others: what they really send is answered, and what is not had here is said in the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.records import GenerateRequest, ModelSpec
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import ScriptedEngine
from tests.stand_ins.clients import (
    CODEX_HISTORY,
    CODEX_TOOLS,
    MESSAGES,
    MODEL,
    RESPONSES,
    SENT,
    Sent,
    codex,
    said,
)
from tests.stand_ins.gateway import Gate, gate

ENGINES = ["scripted", pytest.param("tiny", marks=[pytest.mark.model, pytest.mark.timeout(300)])]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


def asked(body: dict[str, Any], model: str) -> dict[str, Any]:
    """A body for a model; a real one is not to talk for long."""
    short = {name: min(body[name], 12) for name in ("max_tokens", "max_completion_tokens") if name in body}
    if model != "scripted" and not short:
        short = {"max_output_tokens" if "input" in body else "max_tokens": 12}
    return json.loads(json.dumps(body).replace(MODEL, model)) | (short if model != "scripted" else {})


async def answers(api: Gate, sent: Sent, body: dict[str, Any]) -> dict[str, Any]:
    """The answer, also where it was streamed."""
    if not body.get("stream"):
        status, answer = await api.post(sent.path, body, headers=sent.headers)
        assert status == 200, answer
        return answer
    events = await api.events(sent.path, body)
    if sent.path == MESSAGES:
        assert events[-1][0] == "message_stop", events[-1]
        return events[0][1]["message"]
    if sent.path == RESPONSES:
        assert events[-1][0] in ("response.completed", "response.incomplete"), events[-1]
        return events[-1][1]["response"]
    assert events[-1][1] == "[DONE]"
    return events[0][1]


REAL = {"codex, history", "claude code, history", "cline", "n8n, its own tools"}
"""What a real model is asked too: one of each API, and a long conversation with every kind of item in it."""


@pytest.mark.parametrize("model", ENGINES)
async def test_what_clients_send_is_answered(api: Gate, model: str) -> None:
    for sent in SENT if model == "scripted" else [each for each in SENT if each.client in REAL]:
        answer = await answers(api, sent, asked(sent.body, model))
        metadata = answer.get("metadata") or {}
        told = answer.get("left_out", []) if sent.path == MESSAGES else metadata.get("left_out", "").split(", ")
        assert {*told} - {""} == {*sent.left_out}, sent.client


async def test_a_conversation_of_codex_reads_as_it_was_held(api: Gate) -> None:
    seen: list[GenerateRequest] = []

    def script(request: GenerateRequest) -> Reply:
        seen.append(request)
        return Reply("pong")

    api.system.add_engine("pong", ScriptedEngine(ModelSpec("pong", "scripted"), script))
    _, answer = await api.post(RESPONSES, asked(codex(input=CODEX_HISTORY, tools=CODEX_TOOLS, stream=False), "pong"))
    assert answer["output"][0]["content"][0]["text"] == "pong"
    (request,) = seen
    roles = [message.role for message in request.messages]
    assert roles == ["system", "system", "user", *["assistant", "tool"] * 4, "user"]
    called = [(call.name, call.arguments) for message in request.messages for call in message.tool_calls]
    assert called[:3] == [
        ("shell", {"command": ["ls"]}),
        ("mcp__github__search", {"query": "x"}),
        ("apply_patch", {"input": "*** Begin Patch"}),
    ]
    assert called[3][0] == "local_shell" and called[3][1]["command"] == ["pwd"]
    assert [tool.name for tool in request.tools] == ["shell", "apply_patch", "mcp__github__search"]
    about = request.tools[1].parameters["properties"]["input"]["description"]
    assert "lark" in about and "*** Begin Patch" in about


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_come_back_in_the_clients_words_for_its_tools(api: Gate, stream: bool) -> None:
    calls = [
        {"name": "apply_patch", "arguments": {"input": "*** Begin Patch"}},
        {"name": "mcp__github__search", "arguments": {"query": "x"}},
    ]
    await api.script("caller", {"calls": calls})
    body = asked(codex(tools=CODEX_TOOLS, parallel_tool_calls=True, stream=stream), "caller")
    if stream:
        events = await api.events(RESPONSES, body)
        done = [data for name, data in events if name == "response.custom_tool_call_input.done"]
        assert [data["input"] for data in done] == ["*** Begin Patch"]
        output = [data["item"] for name, data in events if name == "response.output_item.done"]
        assert events[-1][1]["response"]["output"] == output
    else:
        output = (await api.post(RESPONSES, body))[1]["output"]
    custom, function = output
    assert (custom["type"], custom["name"], custom["input"]) == ("custom_tool_call", "apply_patch", "*** Begin Patch")
    assert (function["type"], function["name"], function["namespace"]) == ("function_call", "search", "mcp__github")
    outputs = [
        {"type": "custom_tool_call_output", "call_id": custom["call_id"], "output": "Done"},
        {"type": "function_call_output", "call_id": function["call_id"], "output": "none"},
    ]
    again = asked(
        codex(input=[said("x"), *output, *outputs, said("and?")], tools=CODEX_TOOLS, stream=False), "scripted"
    )
    status, answer = await api.post(RESPONSES, again)
    assert status == 200 and answer["output"][0]["content"][0]["text"] == "and?"


@pytest.mark.parametrize(
    "choice", [{"type": "web_search_preview"}, {"type": "mcp", "server_label": "x"}, {"type": "image_generation"}]
)
async def test_a_tool_that_is_forced_and_not_had_is_refused(api: Gate, choice: dict[str, Any]) -> None:
    body = asked(codex(tools=[CODEX_TOOLS[0], {"type": choice["type"]}], tool_choice=choice, stream=False), "scripted")
    status, answer = await api.post(RESPONSES, body)
    assert (status, answer["error"]["param"]) == (400, "tool_choice")
    assert repr(choice["type"]) in answer["error"]["message"]
    body = asked(codex(tools=[{"type": choice["type"]}], tool_choice="required", stream=False), "scripted")
    assert (await api.post(RESPONSES, body))[0] == 400


async def test_allowed_tools_and_named_ones(api: Gate) -> None:
    await api.script("greedy", {"calls": [{"name": "shell", "arguments": {"command": ["ls"]}}]})
    for choice, name in (
        ({"type": "function", "name": "search", "namespace": "mcp__github"}, "search"),
        ({"type": "function", "name": "search"}, "search"),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "apply_patch"}]},
         "apply_patch"),
    ):  # fmt: skip
        body = asked(codex(tools=CODEX_TOOLS, tool_choice=choice, stream=False), "greedy")
        status, answer = await api.post(RESPONSES, body)
        assert status == 200 and answer["output"][0]["name"] == name, answer
    for choice in ({"type": "function", "name": "nothing"}, {"type": "function"},
                   {"type": "allowed_tools", "tools": [{"type": "function", "name": "nothing"}]}):  # fmt: skip
        status, answer = await api.post(RESPONSES, asked(codex(tool_choice=choice, stream=False), "scripted"))
        assert status == 400 and answer["error"]["param"].startswith("tool_choice")
