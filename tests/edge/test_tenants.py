"""Tenants: every route is walked with another tenant's keys, and nothing of the first one's is seen or felt."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmagent_os.core.errors import NotFound
from llmagent_os.gateway.auth import ROUTES
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.rivals import BODIES, NOWHERE, SECRET, WHO, Plugin, Tenant, blurred, filled, furnished, tenant


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Plugin()) as found:
        yield found


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
        assert (await third.ask("GET", f"/v1/blobs/{name}"))[0] in (404, 400)
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
    assert status == 400


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
