"""Flows from outside: as a model's name, over REST, and from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.teams import Team

FLOW = """
name: writer
model: scripted
---
name: f
description: Says it twice
flow:
  nodes:
    draft: {agent: writer, at: [10, 20.5]}
    check: {tool: fails, input: {times: 1}}
    twice: {function: double, input: "${draft}"}
  edges: [draft -> check -> twice]
"""


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Team(tmp_path)) as found:
        yield found


async def place(api: Gate, flow: dict[str, Any], name: str = "f") -> None:
    await api.post("/v1/agents", {"name": "writer", "model": "scripted"})
    status, told = await api.post("/v1/agents", {"name": name, "flow": flow})
    assert status == 201, told


TWICE = {"nodes": {"draft": {"agent": "writer"}, "twice": {"function": "double"}}, "edges": ["draft -> twice"]}


async def test_a_flow_answers_as_a_model_streamed_or_not(api: Gate) -> None:
    await place(api, TWICE)
    status, answer = await api.post("/v1/chat/completions", {"model": "f", "messages": user("ab")})
    assert status == 200 and answer["choices"][0]["message"]["content"] == "abab"
    assert answer["usage"]["prompt_tokens"] > 0
    events = await api.events("/v1/chat/completions", {"model": "f", "messages": user("ab"), "stream": True})
    pieces = [
        each["choices"][0]["delta"].get("content") or "" for _, each in events if each != "[DONE]" and each["choices"]
    ]
    assert "".join(pieces) == "abab"


async def test_runs_over_rest(api: Gate) -> None:
    await place(api, TWICE)
    status, run = await api.post("/v1/flows/f/runs", {"input": "ab"})
    assert (status, run["output"], run["error"], run["done"]) == (201, "abab", None, True)
    assert {name: (node["state"], node["tries"]) for name, node in run["nodes"].items()} == {
        "draft": ("done", 1), "twice": ("done", 1),
    }  # fmt: skip
    assert run["nodes"]["draft"]["tokens"] > 0 and "classDef done" in run["mermaid"]
    _, history = await api.get("/v1/flows/f/runs")
    assert [each["pid"] for each in history["runs"]] == [run["pid"]]
    assert (await api.get(f"/v1/runs/{run['pid']}"))[1]["nodes"] == run["nodes"]
    assert (await api.get("/v1/flows"))[1]["flows"] == [{"name": "f", "version": 1, "description": "", "nodes": 2}]
    _, shown = await api.get("/v1/flows/f")
    assert shown["mermaid"].startswith("flowchart TD\n    draft([") and shown["graph"]["edges"] == [
        {"from": "draft", "to": "twice"}
    ]
    assert (await api.get("/v1/runs/1"))[0] == 400 and (await api.get("/v1/flows/writer"))[0] == 400


async def test_a_run_of_a_planner_tells_its_nodes_and_what_was_decided(api: Gate) -> None:
    nodes = {"say": {"agent": "writer"}, "check": {"tool": "fails", "input": {"times": 1}}}
    made = {"agents": ["writer"], "tries": 0, "templates": {"t": {"flow": {"nodes": nodes, "result": "${say}"}}}}
    await api.post("/v1/agents", {"name": "writer", "model": "scripted"})
    status, told = await api.post("/v1/agents", {"name": "p", "model": "scripted", "plan": made})
    assert status == 201, told
    status, run = await api.post("/v1/flows/p/runs", {"text": "ab"})
    assert (status, run["error"], run["done"]) == (201, None, True)
    assert run["output"].startswith('{"goal":"ab"}\n\nSources:\n') and run["plan"]["by"] == "template t"
    assert [(each["step"], each["act"]) for each in run["plan"]["decisions"]] == [("check", "retry")]
    assert {name: (node["state"], node["tries"]) for name, node in run["nodes"].items()} == {
        "say": ("done", 1), "check": ("done", 2),
    }  # fmt: skip
    assert (await api.get(f"/v1/runs/{run['pid']}"))[1]["plan"] == run["plan"] and "classDef done" in run["mermaid"]
    assert [each["pid"] for each in (await api.get("/v1/flows/p/runs"))[1]["runs"]] == [run["pid"]]
    status, _ = await api.post(f"/v1/runs/{run['pid']}/retry", {"from": "check"})
    assert status == 400
    _, answer = await api.post("/v1/chat/completions", {"model": "p", "messages": user("cd")})
    assert answer["choices"][0]["message"]["content"].startswith('{"goal":"cd"}')


async def test_a_failed_run_is_run_again_from_a_node(api: Gate) -> None:
    nodes = {"draft": {"agent": "writer"}, "check": {"tool": "fails", "input": {"times": 1}},
             "twice": {"function": "double", "input": "${draft}"}}  # fmt: skip
    await place(api, {"nodes": nodes, "edges": ["draft -> check -> twice"]})
    _, run = await api.post("/v1/flows/f/runs", {"input": "ab"})
    assert "node 'check'" in run["error"] and run["nodes"]["twice"]["state"] == "not done"
    assert run["nodes"]["check"] | {"seconds": 0} == {
        "state": "failed", "tries": 1, "seconds": 0, "tokens": 0, "money": 0.0, "pids": [],
        "error": run["nodes"]["check"]["error"],
    }  # fmt: skip
    status, again = await api.post(f"/v1/runs/{run['pid']}/retry", {"from": "check"})
    assert (status, again["output"], again["nodes"]["draft"]["tries"]) == (201, "abab", 0)
    assert again["nodes"]["draft"]["state"] == "done"


async def test_what_is_wrong_with_a_file_is_told_by_line(api: Gate) -> None:
    _, found = await api.post("/v1/flows/check", {"text": FLOW})
    assert found["flows"] == [{"name": "f", "faults": []}]
    _, found = await api.post("/v1/flows/check", {"text": FLOW.replace("agent: writer", "agent: wrter")})
    assert found["flows"][0]["faults"] == ["line 9: node 'draft': no agent named 'wrter'; did you mean 'writer'?"]
    _, found = await api.post("/v1/flows/check", {"text": FLOW.replace("agent: writer", "agnt: writer")})
    assert "line 9: node 'draft': unknown field 'agnt'; did you mean 'agent'?" in found["flows"][0]["faults"][0]
    assert (await api.post("/v1/flows/check", {"text": "a: ["}))[0] == 400
    status, answer = await api.post("/v1/flows/check", {"text": "- {}\n" * 150_000})  # more than is read in 2 s
    assert status == 400 and "make it smaller" in answer["error"]["message"]
