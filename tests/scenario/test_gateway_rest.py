"""REST over real HTTP: the whole life of agents, processes and models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmagent_os import File, ToolKit
from llmagent_os.core.records import GenerateRequest, Json
from llmagent_os.gateway.rest_processes import MOST
from llmagent_os.plugins import hookimpl
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.slotted import SlottedEngine, SlottedWork

TOOLS = ToolKit()
RUNS: list[str] = []


@TOOLS.add
def draw(title: str) -> File:
    """Draw a picture."""
    return File(f"{title}.svg", b"<svg/>", "image/svg+xml")


@TOOLS.add
def count(word: str) -> int:
    """Note a word and say how many were noted."""
    RUNS.append(word)
    return len(RUNS)


class Plugin:
    """What a third party would bring."""

    @hookimpl
    def tools(self) -> Any:
        return TOOLS


WRITER = {"name": "writer", "model": "scripted", "tools": ["draw", "count"]}


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Plugin()) as found:
        await found.post("/v1/agents", WRITER)
        yield found


async def say(api: Gate, text: str, **more: Any) -> tuple[int, Any]:
    return await api.post("/v1/agents/writer/messages", {"text": text, **more})


async def test_the_life_of_an_agent(api: Gate) -> None:
    status, defined = await api.post("/v1/agents", {"name": "reader", "model": "scripted"})
    assert (status, defined["version"]) == (201, 1)
    assert (await api.post("/v1/agents/reader/deploy", {"replicas": 2}))[1]["pids"]
    status, changed = await api.ask("PATCH", "/v1/agents/reader", json={"prompt": "Read."})
    assert (status, changed["version"], changed["spec"]["prompt"]) == (200, 2, "Read.")
    assert len((await api.post("/v1/agents/reader/pause"))[1]["pids"]) == 2
    assert len((await api.post("/v1/agents/reader/resume"))[1]["pids"]) == 2
    assert len((await api.post("/v1/agents/reader/scale", {"replicas": 1}))[1]["pids"]) == 1
    _, monitored = await api.get("/v1/agents/reader")
    assert monitored["processes"][0]["status"] == "waiting"
    assert (await api.post("/v1/agents/reader/terminate"))[1]["pids"]
    assert (await api.ask("DELETE", "/v1/agents/reader"))[0] == 204
    assert (await api.get("/v1/agents/reader"))[0] == 404


async def test_a_message_and_its_reply(api: Gate) -> None:
    status, answer = await say(api, "hello")
    assert (status, answer["done"], answer["reply"]["text"]) == (200, True, "hello")
    assert (await api.get(f"/v1/tasks/{answer['task']}"))[1] == answer


async def test_a_conversation_in_a_session(api: Gate) -> None:
    for text in ("one", "two"):
        await say(api, text, session="s1")
    (pid,) = api.kernel.table.named("writer@s1")
    _, page = await api.get(f"/v1/processes/{pid}/calls?limit=1000")
    requests = [call["args"]["request"] for call in page["calls"] if call["name"] == "generate"]
    assert [m["content"] for m in requests[-1]["messages"] if m["role"] == "user"] == ["one", "two"]


async def test_a_message_that_is_not_waited_for(api: Gate) -> None:
    await api.script("slow", {"text": "at last", "delay": 0.2})
    await api.ask("PATCH", "/v1/agents/writer", json={"model": "slow"})
    status, accepted = await say(api, "hello", wait=0)
    assert (status, accepted["done"]) == (202, False)
    path = f"/v1/tasks/{accepted['task']}"
    assert (await api.get(path))[0] == 202
    status, answer = await api.get(f"{path}?wait=5")
    assert (status, answer["reply"]["text"]) == (200, "at last")


async def test_the_same_key_is_the_same_task(api: Gate) -> None:
    RUNS.clear()
    text, headers = 'call count with {"word": "x"}', {"Idempotency-Key": "order-7"}
    both = await asyncio.gather(
        *(api.post("/v1/agents/writer/messages", {"text": text}, headers=headers) for _ in "ab")
    )
    assert both[0] == both[1]
    assert both[0][1]["task"] == "order-7"
    assert RUNS == ["x"]
    status, refused = await api.post("/v1/agents/writer/messages", {"text": "other"}, headers=headers)
    assert (status, refused["error"]["type"]) == (409, "Conflict")


async def test_a_message_streams(api: Gate) -> None:
    events = await api.events("/v1/agents/writer/messages", {"text": "hello there", "stream": True})
    assert [name for name, _ in events[:1] + events[-1:]] == ["task", "reply"]
    assert "".join(data["text"] for name, data in events if name == "chunk") == "hello there"
    assert events[-1][1]["text"] == "hello there"


async def test_a_stream_tells_of_calls_to_who_wants_to_know(api: Gate) -> None:
    said = {"text": 'call count with {"word": "x"}', "stream": True}
    path = "/v1/agents/writer/messages"
    assert "calling" not in {name for name, _ in await api.events(path, said)}
    told = await api.events(path, said | {"calls": True})
    assert [data for name, data in told if name == "calling"] == [{"tool": "count", "arguments": {"word": "x"}}]
    _, minted = await api.post("/v1/keys", {"name": "ann", "roles": ["user"], "principal": "ann"})
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {minted['key']}"}) as session:
        less = await Gate(api.running, session).events(path, said | {"calls": True})
    assert [data for name, data in less if name == "calling"] == [{"tool": "count"}]  # she may not read processes


async def test_an_error_streams_as_an_event(api: Gate) -> None:
    await api.script("broken", {"error": "the model is out"})
    await api.ask("PATCH", "/v1/agents/writer", json={"model": "broken"})
    events = await api.events("/v1/agents/writer/messages", {"text": "hello", "stream": True})
    name, data = events[-1]
    assert (name, data["error"]["message"]) == ("error", "the model is out")


async def test_options_of_one_message(api: Gate) -> None:
    _, answer = await say(api, "hello there", options={"sampling": {"max_tokens": 1}})
    assert (answer["reply"]["text"], answer["reply"]["finish"]) == ("hell", "length")


async def test_a_picture_is_fetched_by_its_blob(api: Gate) -> None:
    _, answer = await say(api, 'call draw with {"title": "sun"}')
    (picture,) = [part for part in answer["reply"]["parts"] if part["type"] == "image"]
    url, query = f"{api.running.url}/v1/blobs/{picture['blob']}", {"mime": picture["mime"]}
    async with api.session.get(url, params=query) as response:
        assert await response.read() == b"<svg/>"
        assert response.content_type == "image/svg+xml"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Disposition"] == "attachment"


async def test_processes_their_calls_and_their_replay(api: Gate) -> None:
    await say(api, 'call count with {"word": "y"}', session="s")
    (pid,) = api.kernel.table.named("writer@s")
    _, process = await api.get(f"/v1/processes/{pid}")
    assert (process["name"], process["status"]) == ("writer@s", "waiting")
    _, page = await api.get(f"/v1/processes/{pid}/calls?after=1&limit=2")
    assert [call["seq"] for call in page["calls"]] == [2, 3]
    assert page["calls"][0]["error"] is None and page["calls"][0]["seconds"] >= 0
    _, report = await api.post(f"/v1/processes/{pid}/replay")
    assert (report["turns"], report["diverged"]) == (1, None)
    _, killed = await api.post(f"/v1/processes/{pid}/kill", {"reason": "enough"})
    assert (killed["status"], killed["reason"]) == ("stopped", "enough")


async def test_calls_are_told_as_far_as_they_fit_and_the_rest_after_those(api: Gate) -> None:
    (pid,) = (await api.post("/v1/agents/writer/deploy"))[1]["pids"]
    await api.post(f"/v1/processes/{pid}/pause")
    sys = await api.kernel.service("teller")
    for _ in range(7):
        await sys.send(pid, "x" * 3_000_000)  # the same parts: the journal has them once
    path, after, sizes, seqs = f"/v1/processes/{sys.pid}/calls", 0, list[int](), list[int]()
    more = True
    while more:
        async with api.session.get(f"{api.running.url}{path}?limit=1000&after={after}") as response:
            page = await response.json()
            sizes.append(int(response.headers["Content-Length"]))
        seqs += [call["seq"] for call in page["calls"]]
        after, more = seqs[-1], page["more"]
    assert seqs == list(range(1, 8)) and len(sizes) == 4 and max(sizes) < MOST + 2**20
    _, page = await api.get(f"{path}?limit=2")
    assert ([call["seq"] for call in page["calls"]], page["more"]) == ([1, 2], True)
    _, page = await api.get(f"{path}?after=7")
    assert page == {"calls": [], "more": False}


async def test_how_processes_stand_in_line(api: Gate) -> None:
    await say(api, "hello", session="s")
    (pid,) = api.kernel.table.named("writer@s")
    assert (await api.post(f"/v1/processes/{pid}/nice", {"nice": 5}))[1]["nice"] == 5
    assert (await api.post("/v1/agents/writer/nice", {"nice": -3}))[1] == {"pids": [pid]}
    assert (await api.get(f"/v1/processes/{pid}"))[1]["nice"] == -3
    assert (await api.post(f"/v1/processes/{pid}/nice", {"nice": 20}))[0] == 400
    _, page = await api.get(f"/v1/processes/{pid}/calls")
    assert all(0 <= call["waited"] <= call["seconds"] for call in page["calls"])


async def test_a_process_of_its_own(api: Gate) -> None:
    spec: Json = {"name": "one", "model": "scripted"}
    status, made = await api.post("/v1/processes", {"program": "agent", "args": {"spec": spec}, "budget": {"steps": 5}})
    assert status == 201
    _, process = await api.get(f"/v1/processes/{made['pid']}")
    assert process["budgets"][0]["steps"] == 5
    assert (await api.post(f"/v1/processes/{made['pid']}/pause"))[1]["status"] == "paused"
    assert (await api.post(f"/v1/processes/{made['pid']}/resume"))[1]["status"] == "waiting"
    _, listed = await api.get(f"/v1/processes?after={made['pid'] - 1}")
    assert [row["pid"] for row in listed["processes"]] == [made["pid"]]


async def test_models_come_and_go(api: Gate) -> None:
    status, added = await api.post("/v1/models", {"name": "mine", "engine": "scripted"})
    assert (status, added["id"]) == (201, "mine")
    body = {"model": "mine", "messages": [{"role": "user", "content": "hi"}]}
    assert (await api.post("/v1/chat/completions", body))[0] == 200
    assert (await api.ask("DELETE", "/v1/models/mine"))[0] == 204
    assert (await api.post("/v1/chat/completions", body))[0] == 404


async def test_health_metrics_and_the_system_at_a_glance(api: Gate) -> None:
    await say(api, "hello")
    workers = ("metrics", "anomalies", "sandbox", "tunings", "audit", "retention")
    parts = {"journal": None, "processes": None, "vault": None, "audit": None, "engine scripted": None}
    parts |= {f"worker {name}": None for name in workers}
    assert await api.get("/health", headers={"Authorization": ""}) == (200, {"status": "green", "parts": parts})
    _, top = await api.get("/v1/top")
    (engine,) = top["engines"]
    assert (engine["running"], engine["waiting"], engine["served"]) == (0, 0, 1)
    assert top["processes"]["waiting"] >= 1 and top["tokens_per_second"] > 0
    assert all(each["speed"] == each["waited"] == each["attained"] == each["slot"] == 0 for each in top["live"])
    _, text = await api.get("/metrics")
    assert b'llmagent_os_calls_total{call="generate",outcome="ok"} 1.0' in text
    assert b'llmagent_os_tokens_total{direction="out",engine="scripted",model="scripted"} 2.0' in text
    assert b'llmagent_os_up{part="journal"} 1.0' in text
    for part in ("waiting", "service", "turnaround"):
        assert f'llmagent_os_generate_seconds_count{{part="{part}"}} 1.0'.encode() in text
    assert f'llmagent_os_engine_made_total{{engine="scripted"}} {engine["counts"]["made"]:.1f}'.encode() in text
    assert b'llmagent_os_engine_pages{engine="scripted",tier="disk"} 0.0' in text
    assert b'llmagent_os_engine_slots_busy{engine="scripted"} 0.0' in text


async def test_the_document_names_every_path(api: Gate) -> None:
    _, document = await api.get("/openapi.json")
    assert {"/health", "/v1/agents/{name}/messages", "/v1/chat/completions", "/v1/responses"} <= set(document["paths"])
    body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].removeprefix("#/components/schemas/") in document["components"]["schemas"]


class Reader(SlottedEngine):
    """A slotted engine that is told in messages, and takes its time to read them."""

    def __init__(self) -> None:
        super().__init__(pace=0.05)
        self.info = replace(self.info, abilities=frozenset({"chat"}))

    async def begin(self, request: GenerateRequest) -> SlottedWork:
        return await super().begin(replace(request, prompt=" ".join(message.text for message in request.messages)))


async def test_who_is_told_of_calls_is_told_how_far_a_long_prompt_is_read(
    api: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.gateway.lookout.FIRST", 0.01)
    monkeypatch.setattr("llmagent_os.gateway.lookout.EVERY", 0.05)
    api.system.add_engine("reader", Reader())
    await api.post("/v1/agents", {"name": "slow", "model": "reader"})
    for calls in (True, False):
        body = {"text": f"{calls} " * 400, "stream": True, "calls": calls, "options": {"sampling": {"max_tokens": 2}}}
        events = await api.events("/v1/agents/slow/messages", body)
        told = [data for name, data in events if name == "reading"]
        assert events[-1][0] == "reply" and bool(told) == calls
        assert all(each["read"] < each["of"] and each["of"] >= 400 for each in told)
        assert [each["read"] for each in told] == sorted({each["read"] for each in told})
