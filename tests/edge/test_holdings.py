"""What tenants hold: tools, models, replicas and niceness that none of their keys and definitions exceeds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot.models import add_route
from llmagent_os.config import Routing
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.holdings import ORDINARY
from llmagent_os.core.records import ModelSpec
from llmagent_os.knowledge.calls import TOOLS as MEMORY
from llmagent_os.llm.scripted import open_engine
from llmagent_os.teamwork.calls import SPECS
from llmagent_os.tools.builtin import builtin_tools
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.rivals import WHO, Plugin, Tenant, tenant

PAID = "paid"  # a model of somebody else's, with the owner's key
DRAW = {"text": 'call draw with {"title": "x"}'}


async def served(data: Path) -> AsyncIterator[Gate]:
    async with gate(data, Plugin()) as api:
        api.kernel.engines.add(PAID, partial(open_engine, ModelSpec(PAID, "scripted")), remote=True)
        add_route(api.kernel, "mixed", Routing(replicas=["scripted"], fallback=[PAID]))
        add_route(api.kernel, "own", Routing(replicas=["scripted"]))
        yield api


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async for found in served(tmp_path / "data"):
        yield found


async def newcomer(api: Gate, role: str = "admin", name: str = "acme") -> Tenant:
    """Somebody of a tenant that was granted nothing."""
    _, made = await api.post("/v1/keys", {"roles": [role], "tenant": name, "principal": "ann"})
    return Tenant(api, made)


def agent(name: str = "clerk", **more: Any) -> dict[str, Any]:
    return {"name": name, "model": "scripted", **more}


# -- tools


async def test_a_new_tenant_has_no_tool_that_runs_code_or_leaves_its_workspaces(api: Gate) -> None:
    admin, kept = await newcomer(api), {"python", "shell", "fetch", "draw"}
    for tool in sorted(kept):
        for method, path, body in (
            ("POST", "/v1/agents", agent(tools=[tool])),
            ("PUT", "/v1/agents/clerk", agent(tools=["clock", tool])),
            ("POST", f"/v1/tools/{tool}", {"arguments": {}}),
        ):
            status, answer = await admin.ask(method, path, body)
            assert status == 403, (path, answer)
            assert f"llmagent-os tenants grant acme --tool {tool}" in answer["error"]["message"]
    names = {each["name"] for each in (await admin.ask("GET", "/v1/tools"))[1]["tools"]}
    assert not kept & names and "calculator" in names
    assert kept <= {each["name"] for each in (await api.get("/v1/tools"))[1]["tools"]}


async def test_what_is_ordinary_can_be_used(api: Gate, tmp_path: Path) -> None:
    admin = await newcomer(api)
    ours = builtin_tools(tmp_path).keys() | SPECS.keys() | {each.name for each in MEMORY}
    assert ORDINARY.tools is not None and set(ORDINARY.tools) == ours - {"fetch"}
    assert (await admin.ask("POST", "/v1/agents", agent(tools=[*ORDINARY.tools])))[0] == 201
    status, answer = await admin.ask("POST", "/v1/tools/calculator", {"arguments": {"expression": "6 * 7"}})
    assert (status, answer) == (200, {"result": 42})


async def test_the_assistant_answers_a_tenant_that_holds_no_tool(api: Gate) -> None:
    admin = await newcomer(api)
    assert (await api.ask("PUT", "/v1/tenants/acme", json={"tools": []}))[0] == 200
    status, answer = await admin.ask("POST", "/v1/agents/assistant/messages", {"text": "good day"})
    assert (status, answer["reply"]["text"]) == (200, "good day")


async def test_a_tool_that_there_is_not_is_named_among_those_that_are_held(api: Gate) -> None:
    status, answer = await (await newcomer(api)).ask("POST", "/v1/agents", agent(tools=["calculater"]))
    assert status == 404 and "did you mean 'calculator'?" in answer["error"]["message"]
    status, answer = await (await newcomer(api)).ask("POST", "/v1/agents", agent(tools=["shel"]))
    assert status == 404 and "shell" not in answer["error"]["message"]


async def test_what_is_granted_is_had_and_what_is_taken_back_is_refused_at_the_next_call(api: Gate) -> None:
    admin = await newcomer(api)
    assert (await api.ask("PUT", "/v1/tenants/acme", json={"tools": ["dr*"]}))[0] == 200
    assert (await admin.ask("POST", "/v1/agents", agent(tools=["draw"])))[0] == 201
    assert (await admin.ask("POST", "/v1/tools/calculator", {"arguments": {"expression": "1"}}))[0] == 403
    WHO.clear()
    assert (await admin.ask("POST", "/v1/agents/clerk/messages", DRAW))[0] == 200
    assert WHO == [("draw", "acme", "ann")]
    assert (await api.ask("DELETE", "/v1/tenants/acme"))[1]["tools"] == list(ORDINARY.tools or ())
    assert (await admin.ask("POST", "/v1/agents/clerk/messages", DRAW))[0] == 200
    assert len(WHO) == 1
    (pid,) = api.kernel.table.named("clerk", "acme")
    _, page = await admin.ask("GET", f"/v1/processes/{pid}/calls")
    refused = [call["error"] for call in page["calls"] if call["name"] == "call" and call["error"]]
    assert [each["type"] for each in refused] == ["PermissionDenied"] and "tenants grant acme" in refused[0]["message"]


async def test_an_agent_of_everybodys_uses_no_more_than_its_callers_tenant_holds(api: Gate) -> None:
    spec = {"name": "painter", "model": "scripted", "tools": ["draw"], "nice": -5}
    await api.post("/v1/agents", spec)
    api.system.shared = frozenset({*api.system.shared, "painter"})
    admin = await newcomer(api)
    WHO.clear()
    assert (await admin.ask("POST", "/v1/agents/painter/messages", DRAW))[0] == 200
    assert WHO == []
    (pid,) = api.kernel.table.named("painter", "acme")
    assert api.kernel.table.get(pid).nice == 0
    assert (await api.post("/v1/agents/painter/messages", DRAW))[0] == 200
    assert WHO == [("draw", "default", "owner")]


# -- models


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": user("hi")}),
    ("/v1/chat/completions", {"messages": user("hi"), "stream": True}),
    ("/v1/completions", {"prompt": "hi"}),
    ("/v1/responses", {"input": "hi"}),
    ("/v1/responses/input_tokens", {"input": "hi"}),
    ("/v1/messages", {"messages": user("hi"), "max_tokens": 5}),
    ("/v1/messages/count_tokens", {"messages": user("hi")}),
    ("/v1/embeddings", {"input": "hi"}),
    ("/v1/route", {"messages": user("hi")}),
    ("/v1/agents", {"name": "clerk"}),
]


async def test_a_model_that_costs_the_owner_is_not_a_new_tenants(api: Gate) -> None:
    admin = await newcomer(api)
    for path, body in ASKED:
        for model in (PAID, "mixed"):
            status, answer = await admin.ask("POST", path, {"model": model, **body})
            assert status == 403, (path, answer)
            assert f"llmagent-os tenants grant acme --model {model}" in answer["error"]["message"]
        status, answer = await admin.ask("POST", path, {"model": "own", **body})
        assert status < 400, (path, answer)


async def test_models_are_listed_as_far_as_they_may_be_asked(api: Gate) -> None:
    admin = await newcomer(api)
    shown = {each["id"] for each in (await admin.ask("GET", "/v1/models"))[1]["data"]}
    assert {"scripted", "own", "default", "assistant"} <= shown and not {PAID, "mixed"} & shown
    assert {PAID, "mixed"} <= {each["id"] for each in (await api.get("/v1/models"))[1]["data"]}
    assert (await admin.ask("GET", f"/v1/models/{PAID}"))[0] == 403
    status, answer = await admin.ask("POST", "/v1/chat/completions", {"model": "paidd", "messages": user("hi")})
    assert status == 404 and PAID not in answer["error"]["message"].replace("paidd", "")
    await api.ask("PUT", "/v1/tenants/acme", json={"models": ["@local", PAID]})
    for model in (PAID, "mixed"):
        status, _ = await admin.ask("POST", "/v1/chat/completions", {"model": model, "messages": user("hi")})
        assert status == 200
    await api.ask("PUT", "/v1/tenants/acme", json={"models": [PAID]})
    for model, expected in ((PAID, 200), ("mixed", 403), ("scripted", 403), ("default", 403)):
        status, _ = await admin.ask("POST", "/v1/chat/completions", {"model": model, "messages": user("hi")})
        assert status == expected, model


# -- who says so


async def test_nobody_of_a_tenant_grants_it_anything(api: Gate) -> None:
    admin = await newcomer(api)
    for method, path, body in (
        ("PUT", "/v1/tenants/acme", {"tools": None}),
        ("DELETE", "/v1/tenants/acme", None),
        ("GET", "/v1/tenants/acme", None),
        ("POST", "/v1/keys", {"scopes": ["tenants"]}),
    ):
        status, answer = await admin.ask(method, path, body)
        assert status == 403 and "tenants" in answer["error"]["message"], path
    assert [each["name"] for each in (await admin.ask("GET", "/v1/tenants"))[1]["tenants"]] == ["acme"]
    assert {each["name"] for each in (await api.get("/v1/tenants"))[1]["tenants"]} >= {"default", "acme"}
    assert (await api.get("/v1/tenants/nobodys"))[0] == (await api.ask("DELETE", "/v1/tenants/nobodys"))[0] == 404
    status, answer = await api.ask("PUT", "/v1/tenants/default", json={"tools": []})
    assert status == 409 and "owner" in answer["error"]["message"]
    assert (await api.ask("PUT", "/v1/tenants/a%20b", json={}))[0] == 400


async def test_what_was_granted_outlives_a_restart(tmp_path: Path, models_folder: Path) -> None:
    async for api in served(tmp_path / "data"):
        await api.ask("PUT", "/v1/tenants/acme", json={"tools": None, "replicas": 3, "nice": -2})
    async for api in served(tmp_path / "data"):
        held = (await api.get("/v1/tenants/acme"))[1]
        assert held == {
            "name": "acme", "granted": True, "tools": None, "models": ["@local"], "replicas": 3, "nice": -2,
        }  # fmt: skip
        assert (await (await newcomer(api)).ask("POST", "/v1/agents", agent(tools=["python", "draw"])))[0] == 201


async def test_a_key_for_processes_alone_starts_no_agent(api: Gate) -> None:
    await api.post("/v1/agents", agent("known"))
    _, made = await api.post("/v1/keys", {"scopes": ["processes:write", "processes:read", "chat"]})
    who = Tenant(api, made)
    spec = {"name": "mine", "model": "scripted", "tools": ["python", "shell"]}
    for body in (
        {"program": "agent", "args": {"spec": spec, "version": 1}},
        {"program": "agent", "args": {"spec": spec}, "name": "harmless"},
        {"program": "agent", "name": "known"},
        {"program": "agent", "name": "known@s"},
        {"program": "anything", "name": "known~x"},
        {"program": "flow_tool", "args": {"tool": "shell", "arguments": {"command": "id"}}},
    ):
        status, answer = await who.ask("POST", "/v1/processes", body)
        assert status == 403 and "agents:write" in answer["error"]["message"], body
    for method, path in (("POST", "/v1/agents"), ("PUT", "/v1/agents/mine"), ("POST", "/v1/tools/shell")):
        assert (await who.ask(method, path, spec))[0] == 403
    assert (await who.ask("POST", "/v1/agents/known/messages", {"text": "hi"}))[0] == 200  # talking takes less


@pytest.mark.parametrize("folder", ["/etc", "."])
async def test_a_trigger_is_stored_as_one_and_not_started_as_a_process(api: Gate, folder: str) -> None:
    await api.post("/v1/agents", agent("known"))
    spec = {"name": "mine", "agent": "known", "input": "x", "folder": folder}
    for who in (await newcomer(api), Tenant(api, (await api.post("/v1/keys", {"scopes": ["processes:write"]}))[1])):
        body = {"program": "trigger", "args": {"spec": spec, "home": "default/known@owner", "key": ""}}
        status, answer = await who.ask("POST", "/v1/processes", body)
        assert status == 403 and "PUT /v1/triggers" in answer["error"]["message"]


# -- bounds


async def test_a_tenant_has_so_many_replicas_of_all_its_agents_together(api: Gate) -> None:
    admin = await tenant(api, "acme")
    await api.ask("PUT", "/v1/tenants/acme", json={"replicas": 4})
    for name in ("one", "two"):
        assert (await admin.ask("POST", "/v1/agents", agent(name)))[0] == 201
    status, answer = await admin.ask("POST", "/v1/agents/one/scale", {"replicas": 5})
    assert status == 403 and "at most 4" in answer["error"]["message"]
    assert (await admin.ask("POST", "/v1/agents/one/scale", {"replicas": 3}))[0] == 200
    status, answer = await admin.ask("POST", "/v1/agents/two/deploy", {"replicas": 2})
    assert status == 403 and "at most 1" in answer["error"]["message"]
    assert "llmagent-os tenants grant acme --replicas 5" in answer["error"]["message"]
    assert (await admin.ask("POST", "/v1/agents/two/scale", {"replicas": 1}))[0] == 200
    await api.ask("PUT", "/v1/tenants/acme", json={"replicas": 1})
    for replicas, expected in ((2, 200), (3, 403), (0, 200)):  # fewer is fine, though still too many
        assert (await admin.ask("POST", "/v1/agents/one/scale", {"replicas": replicas}))[0] == expected
    for replicas in (1001, 10**9, -1):
        status, answer = await api.post("/v1/agents/assistant/scale", {"replicas": replicas})
        assert status == 400 and "replicas" in answer["error"]["message"], replicas
        with pytest.raises(InvalidRequest, match="0 to 1000"):  # whoever asks, over HTTP or not
            await api.system.agents.scale("assistant", replicas)


async def test_processes_of_a_tenant_go_before_nobody_elses(api: Gate) -> None:
    admin = await newcomer(api)
    assert (await admin.ask("POST", "/v1/agents", agent()))[0] == 201
    (pid,) = (await admin.ask("POST", "/v1/agents/clerk/deploy"))[1]["pids"]
    for method, path, body in (
        ("POST", "/v1/agents", agent("first", nice=-20)),
        ("PATCH", "/v1/agents/clerk", {"nice": -1}),
        ("POST", "/v1/agents/clerk/nice", {"nice": -20}),
        ("POST", f"/v1/processes/{pid}/nice", {"nice": -1}),
    ):
        status, answer = await admin.ask(method, path, body)
        assert status == 403 and "0 to 19" in answer["error"]["message"], path
        assert "llmagent-os tenants grant acme --nice" in answer["error"]["message"]
    assert api.kernel.table.get(pid).nice == 0
    assert (await admin.ask("POST", f"/v1/processes/{pid}/nice", {"nice": 0}))[0] == 200
    await api.ask("PUT", "/v1/tenants/acme", json={"nice": -5})
    assert (await admin.ask("POST", f"/v1/processes/{pid}/nice", {"nice": -5}))[0] == 200
    assert (await api.post("/v1/agents/assistant/nice", {"nice": -20}))[0] == 200  # the owner's
