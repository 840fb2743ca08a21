"""Tenants: every route is walked with another tenant's keys, and nothing of the first one's is seen or felt."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os import File, ToolKit
from llmagent_os.core.errors import NotFound
from llmagent_os.core.records import Question
from llmagent_os.gateway.auth import ROUTES
from llmagent_os.plugins import hookimpl
from tests.stand_ins.gateway import Gate, gate, user

SECRET = "peregrine"  # in everything that the first tenant has
TOOLS = ToolKit()
WHO: list[tuple[str, str, str]] = []


@TOOLS.add
def draw(title: str) -> File:
    """Draw a picture."""
    return File(f"{title}.svg", f"<svg>{title}</svg>".encode(), "image/svg+xml")


class Plugin:
    """A tool, and a filter that notes for whom it was called."""

    @hookimpl
    def tools(self) -> Any:
        return TOOLS

    @hookimpl
    def filters(self) -> Any:
        async def note(call: Any, process: Any, proceed: Any) -> Any:
            if call.name == "call":
                WHO.append((call.args["tool"], call.tenant, call.principal))
            return await proceed(call)

        return [note]


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Plugin()) as found:
        yield found


class Tenant:
    """Somebody with a key."""

    def __init__(self, api: Gate, key: dict[str, Any]) -> None:
        self.api, self.key = api, key

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.key['key']}", **headers}
        return await self.api.ask(method, path, json=body, headers=sent)


async def tenant(api: Gate, name: str, principal: str = "ann", role: str = "admin") -> Tenant:
    _, made = await api.post("/v1/keys", {"roles": [role], "tenant": name, "principal": principal})
    return Tenant(api, made)


BODIES: dict[str, Any] = {
    "POST /v1/chat/completions": {"model": "{name}", "messages": user("hi")},
    "POST /v1/completions": {"model": "{name}", "prompt": "hi"},
    "POST /v1/responses": {"model": "scripted", "input": "hi", "previous_response_id": "{response}"},
    "POST /v1/embeddings": {"model": "{name}", "input": "hi"},
    "POST /v1/route": {"model": "{name}", "messages": user("hi")},
    "POST /v1/models": {"name": "x", "engine": "scripted"},
    "POST /v1/agents": {"name": "fresh", "model": "scripted"},
    "PATCH /v1/agents/{name}": {"prompt": "x"},
    "POST /v1/agents/{name}/scale": {"replicas": 1},
    "POST /v1/agents/{name}/nice": {"nice": 1},
    "POST /v1/agents/{name}/messages": {"text": "hi"},
    "POST /v1/processes": {"program": "nothing"},
    "POST /v1/processes/{pid}/nice": {"nice": 1},
    "POST /v1/approvals/{identifier}": {"allow": True},
    "POST /v1/tools/{name}": {"arguments": {}},
    "POST /v1/keys": {"scopes": ["chat"], "principal": "ann"},
    "POST /v1/privacy/erase": {"principal": "ann", "prove": ["nothing"]},
    "PUT /v1/privacy/consent": {"learning": True, "principal": "ann"},
}
THINGS = {"pid", "response", "task", "blob", "name", "key", "question"}


async def furnished(owner: Tenant, api: Gate) -> dict[str, str]:
    """One of everything, each with the secret in it; returns their names."""
    agent = f"{SECRET}-agent"
    status, _ = await owner.ask("POST", "/v1/agents", {"name": agent, "model": "scripted", "tools": ["draw"]})
    assert status == 201
    path, task = f"/v1/agents/{agent}/messages", f"{SECRET}-task"
    body = {"text": f'call draw with {{"title": "{SECRET}"}}', "session": f"{SECRET}-session"}
    status, answer = await owner.ask("POST", path, body, **{"Idempotency-Key": task})
    assert status == 200, answer
    blob = next(part["blob"] for part in answer["reply"]["parts"] if "blob" in part)
    status, kept = await owner.ask("POST", "/v1/responses", {"model": "scripted", "input": SECRET})
    assert status == 200, kept
    processes = (await owner.ask("GET", "/v1/processes"))[1]["processes"]
    pid = next(process["pid"] for process in processes if process["name"] == f"{agent}@{SECRET}-session")
    identifier = f"{SECRET}-question"
    question = Question(identifier, pid, "acme", "ann", agent, "draw", {"title": SECRET}, {}, SECRET)
    api.kernel.worker("asks", api.system.approvals.ask(question))
    await asyncio.sleep(0)
    api.system.anomalies.quarantine("acme", agent, SECRET)
    return {"pid": str(pid), "response": kept["id"], "task": task, "blob": blob, "name": agent,
            "key": owner.key["id"], "question": identifier}  # fmt: skip


NOWHERE = {"pid": "999999", "response": "resp_nobodys", "task": "nobodys", "blob": "0" * 32, "name": "nobodys",
           "key": "key-nobodys", "question": "nobodys"}  # fmt: skip


def filled(route: str, things: dict[str, str]) -> tuple[str, str, Any]:
    """A route's method, path and body with the names of things in it."""
    method, path = route.split()
    names = things | {"identifier": things["question" if "approvals" in path else "key"]}
    if "blobs" in path:
        names["name"] = things["blob"]
    path = re.sub(r"\{(\w+)(:path)?\}", lambda found: names[found[1]], path)

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], value) if isinstance(value, str) else value

    return method, path, fill(BODIES.get(route))


def blurred(answer: Any, things: dict[str, str]) -> str:
    """An answer without the names that it was asked by."""
    text = str(answer)
    for value in sorted(things.values(), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])", "*", text)
    return text


@pytest.mark.parametrize("role", ["admin", "owner of another tenant"])
async def test_nothing_of_another_tenants_is_seen_on_any_route(api: Gate, role: str) -> None:
    acme = await tenant(api, "acme")
    things = await furnished(acme, api)
    other = await tenant(api, "rival", "bea") if role == "admin" else Tenant(api, {"key": api.running.key})
    walked = 0
    for route in sorted(ROUTES, key=lambda route: (route.startswith("DELETE"), route)):
        if ROUTES[route] == "system" or (route in ("GET /v1/keys", "DELETE /v1/keys/{identifier}") and role != "admin"):
            continue  # the machine's owner sees these of everybody
        found = await other.ask(*filled(route, things))
        nowhere = await other.ask(*filled(route, NOWHERE))
        assert found[0] < 500 and 401 not in (found[0], nowhere[0]), (route, found)
        assert SECRET not in blurred(found[1], things), route
        if re.search(r"\{\w+(:path)?\}", route + json.dumps(BODIES.get(route))):
            assert found[0] == nowhere[0] != 200, (route, found, nowhere)
            assert blurred(found[1], things) == blurred(nowhere[1], NOWHERE), route
        walked += 1
    assert walked > 40
    for path in (f"/v1/agents/{things['name']}", f"/v1/processes/{things['pid']}", f"/v1/tasks/{things['task']}",
                 f"/v1/blobs/{things['blob']}", f"/v1/processes/{things['pid']}/calls"):  # fmt: skip
        status, _ = await acme.ask("GET", path)  # and nothing was done to it
        assert status == 200, path
    assert [each["id"] for each in (await acme.ask("GET", "/v1/approvals"))[1]["approvals"]] == [things["question"]]
    assert (await acme.ask("GET", f"/v1/processes/{things['pid']}"))[1]["status"] == "waiting"
    assert (await acme.ask("GET", "/v1/anomalies"))[1]["quarantined"].keys() == {things["name"]}
    body = {"model": "scripted", "input": "more", "previous_response_id": things["response"]}
    assert (await acme.ask("POST", "/v1/responses", body))[0] == 200


async def test_the_same_names_in_two_tenants_are_two_things(api: Gate) -> None:
    answers = []
    for name, prompt in (("acme", "one"), ("rival", "two")):
        who = await tenant(api, name)
        spec = {"name": "twin", "model": "scripted", "prompt": prompt}
        assert (await who.ask("POST", "/v1/agents", spec))[0] == 201
        message = {"text": f"I am {name}", "session": "s"}
        answers.append(await who.ask("POST", "/v1/agents/twin/messages", message, **{"Idempotency-Key": "order-7"}))
        assert (await who.ask("GET", "/v1/agents/twin"))[1]["spec"]["prompt"] == prompt
    assert [answer["reply"]["text"] for _, answer in answers] == ["I am acme", "I am rival"]
    assert (await api.get("/v1/agents/twin"))[0] == (await api.get("/v1/tasks/order-7"))[0] == 404
    pids = {name: api.kernel.table.named("twin@s", name) for name in ("acme", "rival", "default")}
    assert len(pids["acme"]) == len(pids["rival"]) == 1 and pids["acme"] != pids["rival"] and not pids["default"]


async def test_the_same_file_in_two_tenants_is_seen_by_both_and_no_third(api: Gate) -> None:
    names = set()
    for name in ("acme", "rival"):
        who = await tenant(api, name)
        await who.ask("POST", "/v1/agents", {"name": "painter", "model": "scripted", "tools": ["draw"]})
        _, answer = await who.ask("POST", "/v1/agents/painter/messages", {"text": 'call draw with {"title": "x"}'})
        names |= {part["blob"] for part in answer["reply"]["parts"] if "blob" in part}
        assert (await who.ask("GET", f"/v1/blobs/{max(names)}"))[0] == 200
    assert len(names) == 1
    third = await tenant(api, "third")
    for name in (max(names), max(names).upper()):
        assert (await third.ask("GET", f"/v1/blobs/{name}"))[0] in (404, 422)
    assert (await third.ask("GET", f"/v1/blobs/{max(names)}"))[0] == 404


async def test_shared_agents_are_used_by_all_and_changed_by_their_owner(api: Gate) -> None:
    who = await tenant(api, "acme")
    assert [agent["name"] for agent in (await who.ask("GET", "/v1/agents"))[1]["agents"]] == ["assistant"]
    status, answer = await who.ask("POST", "/v1/agents/assistant/messages", {"text": "hi", "session": "s"})
    assert (status, answer["reply"]["text"]) == (200, "hi")
    assert api.kernel.table.named("assistant@s") == [] and api.kernel.table.named("assistant@s", "acme")
    for method in ("PATCH", "DELETE"):
        assert (await who.ask(method, "/v1/agents/assistant", {"prompt": "x"}))[0] == 403
    assert (await who.ask("POST", "/v1/agents", {"name": "assistant", "model": "scripted", "prompt": "own"}))[0] == 201
    assert (await who.ask("PATCH", "/v1/agents/assistant", {"prompt": "mine"}))[0] == 200
    assert (await api.get("/v1/agents/assistant"))[1]["spec"]["prompt"] != "mine"
    await api.post("/v1/agents", {"name": "private", "model": "scripted"})
    assert (await who.ask("GET", "/v1/agents/private"))[0] == 404


async def test_processes_do_not_reach_into_other_tenants(api: Gate) -> None:
    things = await furnished(await tenant(api, "acme"), api)
    pid = int(things["pid"])
    sys = await api.kernel.service("test", tenant="rival")
    for work in (
        sys.send(pid, "hi"),
        sys.send(f"pid/{pid}", "hi"),
        sys.send(f"task/acme/{things['task']}", "a forged reply"),
        sys.send(things["name"], "hi"),
        sys.wait(pid, 1),
        sys.kill(pid),
    ):
        with pytest.raises(NotFound):
            await work
    with pytest.raises(NotFound):
        await (await api.kernel.service("test")).send(f"task/acme/{things['task']}", "a forged reply")
    status, _ = await api.post("/v1/processes", {"program": "agent", "name": "service/gateway"})
    assert status == 422


async def test_a_shared_agent_acts_for_whoever_asked(api: Gate) -> None:
    WHO.clear()
    admin = await tenant(api, "acme", "boss")
    await admin.ask("POST", "/v1/agents", {"name": "painter", "model": "scripted", "tools": ["draw"]})
    await admin.ask("POST", "/v1/agents/painter/deploy")
    for name in ("ann", "bob"):
        who = await tenant(api, "acme", name, "user")
        await who.ask("POST", "/v1/agents/painter/messages", {"text": 'call draw with {"title": "x"}'})
    assert WHO == [("draw", "acme", "ann"), ("draw", "acme", "bob")]
    (pid,) = api.kernel.table.named("painter", "acme")
    _, page = await admin.ask("GET", f"/v1/processes/{pid}/calls?limit=1000")
    assert {call["principal"] for call in page["calls"] if call["name"] != "idle"} == {"ann", "bob"}
