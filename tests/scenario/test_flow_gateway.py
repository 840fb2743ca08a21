"""Flows from outside: as a model's name, over REST, and from the command line."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core import codec
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
    for path, more in (("retry", {}), ("fork", {"input": "ef"})):
        status, told = await api.post(f"/v1/runs/{run['pid']}/{path}", {"from": "check", **more})
        assert status == 400 and "plans anew each time" in told["error"]["message"], told
    events = await followed(api, run["pid"])
    assert happened(events)[:2] == ["say running", "check running"] and events[-1][2]["plan"] == run["plan"]
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
    assert [(flow["name"], flow["faults"]) for flow in found["flows"]] == [("f", [])]
    _, found = await api.post("/v1/flows/check", {"text": FLOW.replace("agent: writer", "agent: wrter")})
    assert found["flows"][0]["faults"] == ["line 9: node 'draft': no agent named 'wrter'; did you mean 'writer'?"]
    _, found = await api.post("/v1/flows/check", {"text": FLOW.replace("agent: writer", "agnt: writer")})
    assert "line 9: node 'draft': unknown field 'agnt'; did you mean 'agent'?" in found["flows"][0]["faults"][0]
    assert (await api.post("/v1/flows/check", {"text": "a: ["}))[0] == 400
    status, answer = await api.post("/v1/flows/check", {"text": "- {}\n" * 150_000})  # more than is read in 2 s
    assert status == 400 and "make it smaller" in answer["error"]["message"]


# -- a run as it goes, runs that are compared, and runs from a point on


async def followed(api: Gate, pid: int, last: str | None = None, most: int = 1000) -> list[tuple[str, str, Any]]:
    """The events of a run as (id, name, data), at most so many; the client goes then."""
    found: list[tuple[str, str, Any]] = []
    headers = {"Last-Event-ID": last} if last is not None else {}
    async with api.session.get(f"{api.running.url}/v1/runs/{pid}/events", headers=headers) as response:
        assert response.status == 200, await response.text()
        identifier = name = ""
        async for line in response.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            identifier, name = value if field == "id" else identifier, value if field == "event" else name
            if field == "data":
                found.append((identifier, name, codec.loads(value)))
                if len(found) == most:
                    break
    return found


def happened(events: list[tuple[str, str, Any]]) -> list[str]:
    return [f"{each['node']} {each['state']}" for _, name, data in events if name == "nodes" for each in data["nodes"]]


async def test_a_run_is_followed_and_taken_up_again_after_a_break(tmp_path: Path, models_folder: Path) -> None:
    team = Team(tmp_path)
    async with gate(tmp_path / "data", team) as api:
        nodes = {"draft": {"agent": "writer"}, "wait": {"tool": "hold", "input": {}}, "twice": {"function": "double"}}
        await place(api, {"nodes": nodes, "edges": ["draft -> wait -> twice"], "result": "${twice}"})
        _, run = await api.post("/v1/flows/f/runs", {"input": "ab", "wait": 0})
        first = await followed(api, run["pid"], most=2)
        assert first[0][1] == "nodes" and happened(first)[0] == "draft running"
        team.gate.set()
        rest = await followed(api, run["pid"], first[-1][0])
        assert happened(first + rest) == [
            "draft running", "draft done", "wait running", "wait done", "twice done",
        ]  # fmt: skip
        assert rest[-1][1] == "end" and rest[-1][2]["output"] == "held held " and rest[-1][2]["done"]
        whole = await followed(api, run["pid"])
        assert happened(whole) == happened(first + rest)
        assert [each[0] for each in whole] == sorted({each[0] for each in whole}, key=int)
        assert [name for _, name, _ in await followed(api, run["pid"], whole[-1][0])] == ["end"]
        for last, status in (("x", 400), ("-1", 400)):
            headers = {"Last-Event-ID": last}
            assert (await api.get(f"/v1/runs/{run['pid']}/events", headers=headers))[0] == status
        assert (await api.get("/v1/runs/1/events"))[0] == 400 and (await api.get("/v1/runs/99999/events"))[0] == 404


LISTED = {
    "nodes": {
        "draft": {"agent": "writer"},
        "note": {"tool": "note", "input": {"what": "${draft}"}},
        "each": {"function": "double", "over": "${input.items}"},
        "both": {"function": "text", "input": ["${note}", "${each}"]},
    },
    "edges": ["draft -> note -> each -> both"],
}


async def test_a_run_is_forked_from_a_node_with_another_input(tmp_path: Path, models_folder: Path) -> None:
    team = Team(tmp_path)
    async with gate(tmp_path / "data", team) as api:
        await place(api, LISTED)
        _, run = await api.post("/v1/flows/f/runs", {"input": {"items": ["a", "b"]}})
        assert run["error"] is None, run
        before = await api.get(f"/v1/runs/{run['pid']}")
        status, fork = await api.post(f"/v1/runs/{run['pid']}/fork", {"from": "each", "input": ["x"]})
        assert status == 201 and fork["error"] is None and fork["pid"] != run["pid"], fork
        assert "xx" in str(fork["output"]) and "aa" not in str(fork["output"])
        assert len(team.ledger) == 1 and await api.get(f"/v1/runs/{run['pid']}") == before  # nothing is done again
        _, other = await api.post(f"/v1/runs/{run['pid']}/fork", {"from": "note", "input": {"what": "another"}})
        assert team.ledger[1:] == ["another"] and "another" in str(other["output"]) and "aa" in str(other["output"])
        _, again = await api.post(f"/v1/runs/{fork['pid']}/retry", {"from": "both"})
        assert again["output"] == fork["output"]  # of a fork what it made is taken over
        _, other = await api.post(f"/v1/runs/{fork['pid']}/fork", {"from": "each", "input": ["y", "z"]})
        assert "yy" in str(other["output"]) and "xx" not in str(other["output"])
        for body in ({"from": "nothing", "input": 1}, {"from": "each"}, {"from": ["each"], "input": 1}):
            assert (await api.post(f"/v1/runs/{run['pid']}/fork", body))[0] == 400, body
        _, wrong = await api.post(f"/v1/runs/{run['pid']}/fork", {"from": "each", "input": 7})
        assert "is no list" in wrong["error"]


async def test_two_runs_are_compared(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", Team(tmp_path)) as api:
        await place(api, LISTED)
        _, one = await api.post("/v1/flows/f/runs", {"input": {"items": ["a", "b"]}})
        _, two = await api.post(f"/v1/runs/{one['pid']}/fork", {"from": "each", "input": ["a", "c", "d"]})
        _, found = await api.get(f"/v1/runs/{one['pid']}/diff?other={two['pid']}")
        assert [each["pid"] for each in found["runs"]] == [one["pid"], two["pid"]] and found["same"] == 3
        assert {piece: [each and each["value"] for each in pair] for piece, pair in found["differs"].items()} == {
            "each[1]": ["bb", "cc"], "each[2]": [None, "dd"], "both": [one["output"], two["output"]],
        }  # fmt: skip
        _, same = await api.get(f"/v1/runs/{one['pid']}/diff?other={one['pid']}")
        assert same["differs"] == {} and same["same"] == 5
        assert (await api.get(f"/v1/runs/{one['pid']}/diff?other=1"))[0] == 400


async def test_a_run_is_drawn_as_an_image(api: Gate) -> None:
    await place(api, TWICE)
    _, run = await api.post("/v1/flows/f/runs", {"input": "ab"})
    assert run["svg"] is None
    _, shown = await api.get(f"/v1/runs/{run['pid']}?svg=true")
    assert shown["svg"].startswith("<svg ") and "fill:#cfe8cf" in shown["svg"] and "agent writer" in shown["svg"]
    _, flow = await api.get("/v1/flows/f?svg=true")
    assert flow["svg"].startswith("<svg ") and "fill:#cfe8cf" not in flow["svg"]


async def test_a_run_that_failed_is_told_as_failed(api: Gate) -> None:
    flow = {
        "name": "lists",
        "model": "scripted",
        "flow": {"nodes": {"each": {"function": "count", "over": "${input}"}}},
    }
    assert (await api.post("/v1/agents", flow))[0] == 201
    _, run = await api.post("/v1/flows/lists/runs", {"text": "no list", "wait": 20})
    assert (run["status"], run["done"]) == ("failed", True) and "is no list" in run["error"]
    assert [each["status"] for each in (await api.get("/v1/flows/lists/runs"))[1]["runs"]] == ["failed"]


async def test_no_thread_reads_where_the_kernel_does(api: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thread reads there, the kernel does not see what is committed: a start would miss its first message."""
    await place(api, TWICE)
    read, threads = api.kernel.store.read, set[int]()

    def told(query: str, *params: Any) -> Any:
        threads.add(threading.get_ident())
        return read(query, *params)

    monkeypatch.setattr(api.kernel.store, "read", told)
    pids = [(await api.post("/v1/flows/f/runs", {"input": text}))[1]["pid"] for text in ("ab", "cd")]
    for path in (f"/v1/runs/{pids[0]}", f"/v1/runs/{pids[0]}/diff?other={pids[1]}", f"/v1/runs/{pids[0]}?svg=true"):
        assert (await api.get(path))[0] == 200, path
    async with api.session.get(api.running.url + f"/v1/runs/{pids[0]}/events") as answer:
        assert "event: end" in await answer.text()
    assert threads == {threading.get_ident()}


async def test_what_no_run_came_to_is_not_forked_from(api: Gate) -> None:
    cases = {"big": {"when": {"n": {"minimum": 9}}, "do": {"id": "big", "function": "pass"}},
             "else": {"id": "small", "function": "pass"}}  # fmt: skip
    await place(api, {"takes": {"type": "object"}, "select": {"cases": cases}})
    _, run = await api.post("/v1/flows/f/runs", {"input": {"n": 1}})
    for path, node, says in (
        ("fork", "big", "'big' was not begun in run"), ("fork", "bg", "did you mean 'big'?"), ("retry", "bg", "no node")
    ):  # fmt: skip
        body = {"from": node} | ({"input": 2} if path == "fork" else {})
        status, told = await api.post(f"/v1/runs/{run['pid']}/{path}", body)
        assert status == 400 and says in told["error"]["message"], told
    assert len((await api.get("/v1/flows/f/runs"))[1]["runs"]) == 1  # none of them left a run that failed
    assert (await api.post(f"/v1/runs/{run['pid']}/fork", {"from": "small", "input": 2}))[1]["output"] == 2


async def test_a_list_that_was_empty_is_forked_with_one_that_is_not(api: Gate) -> None:
    await place(api, LISTED)
    _, run = await api.post("/v1/flows/f/runs", {"input": {"items": []}})
    _, fork = await api.post(f"/v1/runs/{run['pid']}/fork", {"from": "each", "input": ["x"]})
    assert fork["error"] is None and "xx" in fork["output"]


async def test_a_message_to_a_flow_is_a_run_of_its_own(api: Gate) -> None:
    """As `llmagent-os run` sends it: it stands in the history, and none waits for another."""
    await place(api, TWICE)
    for text in ("ab", "cd"):
        body, headers = {"text": text, "wait": 20}, {"Idempotency-Key": text}
        for _ in range(2):  # it is sent again, and is the same run
            status, reply = await api.post("/v1/agents/f/messages", body, headers=headers)
            assert status == 200 and reply["reply"]["output"] == text * 2
    runs = (await api.get("/v1/flows/f/runs"))[1]["runs"]
    assert [each["output"] for each in runs] == ["cdcd", "abab"]
