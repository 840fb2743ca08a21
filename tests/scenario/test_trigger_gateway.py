"""Triggers from outside: over REST, by webhooks, and from the command line."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.triggers.plan import State
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.kernels import until

SECRET = "words that nobody guesses"


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    monkeypatch.setenv("WEBHOOK_SHOP", SECRET)
    async with gate(tmp_path / "data") as found:
        assert (await found.post("/v1/agents", {"name": "echo", "model": "scripted"}))[0] == 201
        yield found


async def put(api: Gate, name: str, **fields: Any) -> dict[str, Any]:
    """Store a trigger and wait until it is ready."""
    status, told = await api.ask("PUT", f"/v1/triggers/{name}", json={"name": name, "agent": "echo", **fields})
    assert status == 200, told
    await until(lambda: ready(api, told["pid"]))
    found: dict[str, Any] = told
    return found


def ready(api: Gate, pid: int) -> bool:
    state = api.kernel.journal.unpack(api.kernel.table.get(pid).state)
    return state is not None and State.load(state).begun is not None


async def ended(api: Gate, name: str, count: int) -> list[dict[str, Any]]:
    """The newest starts, once there are so many and the last has ended."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(found) < count or any(each["status"] in ("running", "waiting", "ready") for each in found):
            found = (await api.get(f"/v1/triggers/{name}/starts"))[1]["starts"]
    return found


async def test_a_trigger_over_rest_from_its_making_to_its_end(api: Gate) -> None:
    made = await put(api, "daily", cron="0 7 * * *", zone="Europe/Berlin", input="${due} ${event}")
    assert (made["created"], made["changed"], made["status"], made["hook"]) == (True, False, "on", None)
    again = await put(api, "daily", cron="0 7 * * *", zone="Europe/Berlin", input="${due} ${event}")
    assert (again["pid"], again["created"], again["changed"]) == (made["pid"], False, False)
    _, shown = await api.get("/v1/triggers/daily")
    assert "T07:00:00+0" in shown["next"] and shown["definition"]["zone"] == "Europe/Berlin"
    assert [each["name"] for each in (await api.get("/v1/triggers"))[1]["triggers"]] == ["daily"]
    status, fired = await api.post("/v1/triggers/daily/fire", {"input": "now"})
    assert status == 201 and fired["pid"]
    (start,) = await ended(api, "daily", 1)
    assert (start["pid"], start["status"], start["why"]) == (fired["pid"], "done", None)
    _, run = await api.get(f"/v1/processes/{fired['pid']}")
    assert run["result"]["text"].endswith(" now") and run["parent"] == made["pid"]
    assert (await api.post("/v1/triggers/daily/pause"))[1]["status"] == "paused"
    assert (await api.post("/v1/triggers/daily/fire", {"wait": 0}))[1] == {"accepted": True}
    assert (await api.post("/v1/triggers/daily/resume"))[1]["status"] == "on"
    assert len(await ended(api, "daily", 2)) == 2
    assert (await api.ask("DELETE", "/v1/triggers/daily"))[0] == 204
    status, told = await api.get("/v1/triggers/daily")
    assert status == 404 and "no trigger named 'daily'" in told["error"]["message"]


async def test_what_is_wrong_is_told(api: Gate) -> None:
    for body, status, says in (
        ({"name": "t", "agent": "echo", "every": 60, "misssed": "all"}, 400, "did you mean 'missed'?"),
        ({"name": "t", "agent": "ecko", "every": 60}, 404, "did you mean 'echo'?"),
        ({"name": "other", "agent": "echo", "every": 60}, 400, "not of 't'"),
        ({"name": "t", "agent": "echo"}, 400, "say one of"),
        ({"name": "t", "agent": "echo", "cron": "0 7 * *"}, 400, "has not five fields"),
        ({"name": "t", "agent": "echo", "webhook": {"secret": "WEBHOOK_NONE"}}, 400, "there is no secret"),
        ({"name": "t", "agent": "echo", "every": True}, 400, "true is no number"),
        ({"name": "t", "agent": "echo", "every": 60, "at_once": True}, 400, "true is no number"),
    ):
        found = await api.ask("PUT", "/v1/triggers/t", json=body)
        assert found[0] == status and says in found[1]["error"]["message"], (body, found)
    assert (await api.get("/v1/triggers"))[1]["triggers"] == []


def signature(body: bytes, identifier: str = "msg_1") -> dict[str, str]:
    at = f"{time.time():.0f}"
    made = hmac.new(SECRET.encode(), f"{identifier}.{at}.".encode() + body, sha256).digest()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
    }


async def test_a_webhook_takes_a_signature_and_no_key_and_counts_once(api: Gate) -> None:
    made = await put(api, "orders", webhook={"secret": "WEBHOOK_SHOP"}, input="order ${event.id}")
    body, url = b'{"id": 7}', api.running.url + made["hook"]
    for headers, sent in (({}, body), (signature(b"other"), body), (signature(body) | {"webhook-id": "x"}, body)):
        async with api.session.post(url, data=sent, headers={"Authorization": "", **headers}) as answer:
            assert answer.status == 403
    for _ in range(2):  # it is sent again
        async with api.session.post(url, data=body, headers={"Authorization": "", **signature(body)}) as answer:
            assert answer.status == 202, await answer.text()
    other = b"no JSON \xff"
    async with api.session.post(url, data=other, headers={"Authorization": "", **signature(other, "2")}) as answer:
        assert answer.status == 202
    again = b'{"id": 8}'  # under the same id: it is no other one, and no second start
    async with api.session.post(url, data=again, headers={"Authorization": "", **signature(again)}) as answer:
        assert answer.status == 409, await answer.text()
    second = await put(api, "second", webhook={"secret": "WEBHOOK_SHOP"})  # the same call to another one is its own
    async with api.session.post(api.running.url + second["hook"], data=body, headers=signature(body)) as answer:
        assert answer.status == 202
    assert len(await ended(api, "second", 1)) == 1
    starts = await ended(api, "orders", 2)
    assert len(starts) == 2
    texts = [(await api.get(f"/v1/processes/{each['pid']}"))[1]["result"]["text"] for each in starts]
    assert texts == ["order", "order 7"]
    daily = await put(api, "daily", every="1h")
    nowhere = [f"/v1/hooks/{daily['pid']}", "/v1/hooks/999999", "/v1/hooks/1"]
    for path in nowhere:
        async with api.session.post(api.running.url + path, data=body, headers=signature(body)) as answer:
            assert answer.status == 403 and "not signed" in await answer.text()
    big = b"x" * (2 << 20)
    async with api.session.post(url, data=big, headers=signature(big, "3")) as answer:
        assert answer.status == 413


async def test_triggers_are_their_makers(api: Gate) -> None:
    keys = {}
    for name in ("ann", "bea"):
        scopes = ["chat", "processes:read", "processes:write"]
        keys[name] = (await api.post("/v1/keys", {"scopes": scopes, "principal": name}))[1]["key"]

    async def ask(name: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await api.ask(method, path, json=body, headers={"Authorization": f"Bearer {keys[name]}"})

    for name in ("ann", "bea"):
        body = {"name": "t", "agent": "echo", "every": 3600, "input": name}
        assert (await ask(name, "PUT", "/v1/triggers/t", body))[1]["created"]
    only = {"name": "only", "agent": "echo", "every": 3600}
    assert (await ask("ann", "PUT", "/v1/triggers/only", only))[0] == 200
    assert [each["definition"].get("input") for each in (await ask("bea", "GET", "/v1/triggers"))[1]["triggers"]] == [
        "bea"
    ]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/fire"), ("GET", "/starts")):
        found = await ask("bea", method, f"/v1/triggers/only{path}", {} if path == "/fire" else None)
        assert found[0] == 404, (method, path, found)
    assert len((await api.get("/v1/triggers"))[1]["triggers"]) == 3  # the owner sees people's
    assert (await ask("ann", "GET", "/v1/triggers/only"))[0] == 200


async def test_nobody_else_starts_a_trigger_whoever_they_are(api: Gate) -> None:
    made = await put(api, "deploy", message=True)
    await put(api, "daily", cron="0 7 * * *")
    scopes = ["chat", "processes:read", "processes:write", "people"]
    key = (await api.post("/v1/keys", {"scopes": scopes, "principal": "eve"}))[1]["key"]
    as_eve = {"headers": {"Authorization": f"Bearer {key}"}}
    for path in ("/v1/agents/trigger:deploy/messages", "/v1/agents/trigger:daily/messages"):
        for headers in (as_eve, {}):
            status, told = await api.post(path, {"text": "go", "wait": 5}, **headers)
            assert status == 404 and "no agent named" in told["error"]["message"], told
    status, told = await api.post("/v1/triggers/deploy/fire", {}, **as_eve)  # she sees it, and no more
    assert status == 403 and "who alone may start it" in told["error"]["message"]
    body = {"name": "deploy", "agent": "echo", "message": True}
    hers = (await api.ask("PUT", "/v1/triggers/deploy", json=body, **as_eve))[1]
    assert hers["created"] and hers["pid"] != made["pid"]
    fired = (await api.post("/v1/triggers/deploy/fire", {}))[1]
    (start,) = await ended(api, "deploy", 1)
    assert (start["pid"], api.kernel.table.get(fired["pid"]).parent) == (fired["pid"], made["pid"])


async def test_a_name_that_is_almost_somebody_elses_is_no_hint(api: Gate) -> None:
    await put(api, "payroll", every="1h")
    key = (await api.post("/v1/keys", {"scopes": ["chat", "processes:read"], "principal": "eve"}))[1]["key"]
    status, told = await api.get("/v1/triggers/payrol", headers={"Authorization": f"Bearer {key}"})
    assert status == 404 and "payroll" not in told["error"]["message"]
    assert "did you mean 'payroll'?" in (await api.get("/v1/triggers/payrol"))[1]["error"]["message"]


async def test_what_keeps_a_trigger_is_told(api: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(api, "orders", webhook={"secret": "WEBHOOK_SHOP"})
    monkeypatch.delenv("WEBHOOK_SHOP")
    assert (await api.get("/v1/triggers/orders"))[1]["status"] == "no secret WEBHOOK_SHOP"
    await api.script("held", {"text": "at last", "delay": 60})
    assert (await api.post("/v1/agents", {"name": "held", "model": "held"}))[0] == 201
    made = await put(api, "slow", agent="held", every="1h", input="go")
    pid = (await api.post("/v1/triggers/slow/fire", {}))[1]["pid"]
    await api.post(f"/v1/processes/{pid}/pause")
    assert (await api.get("/v1/triggers/slow"))[1]["status"] == f"{pid} paused"
    assert (await api.ask("DELETE", f"/v1/triggers/{made['name']}"))[0] == 204


async def test_a_trigger_stops_with_the_key_that_made_it(api: Gate) -> None:
    scopes = ["chat", "processes:read", "processes:write"]
    first, second = [(await api.post("/v1/keys", {"scopes": scopes, "principal": "ann"}))[1] for _ in range(2)]
    body = {"name": "t", "agent": "echo", "message": True}

    def by(key: dict[str, Any]) -> dict[str, Any]:
        return {"headers": {"Authorization": f"Bearer {key['key']}"}}

    assert (await api.ask("PUT", "/v1/triggers/t", json=body, **by(first)))[1]["status"] == "on"
    assert "pid" in (await api.post("/v1/triggers/t/fire", {"wait": 20}, **by(second)))[1]
    assert (await api.ask("DELETE", f"/v1/keys/{first['id']}"))[0] < 300
    (told,) = (await api.get("/v1/triggers", **by(second)))[1]["triggers"]
    assert told["status"] == f"no key {first['id']}"
    _, fired = await api.post("/v1/triggers/t/fire", {"wait": 20}, **by(second))
    assert "is revoked or has expired; make it again" in fired["failed"]
    assert (await api.ask("PUT", "/v1/triggers/t", json=body, **by(second)))[1]["changed"]
    assert "pid" in (await api.post("/v1/triggers/t/fire", {"wait": 20}, **by(second)))[1]


async def test_an_agent_of_a_file_starts_a_trigger_of_its_user_and_nobody_elses(api: Gate) -> None:
    await put(api, "deploy", message=True, input="deploys ${event}")
    key = (await api.post("/v1/keys", {"scopes": ["chat", "agents:read"], "principal": "eve"}))[1]["key"]
    made = {"name": "boss", "model": "scripted", "tools": ["trigger:deploy"]}
    assert (await api.post("/v1/agents", made))[0] == 201
    say = {"text": 'call start_deploy with {"message": "now"}', "wait": 20}
    _, reply = await api.post("/v1/agents/boss/messages", say)
    (start,) = await ended(api, "deploy", 1)
    assert f'{{"pid":{start["pid"]}}}' in reply["reply"]["text"]
    assert (await api.get(f"/v1/processes/{start['pid']}"))[1]["result"]["text"] == "deploys now"
    as_eve = {"headers": {"Authorization": f"Bearer {key}"}}
    _, reply = await api.post("/v1/agents/boss/messages", say, **as_eve)
    assert "no process named 'trigger:deploy'" in reply["reply"]["text"], reply
    assert len(await ended(api, "deploy", 1)) == 1


async def test_a_trigger_is_told_while_a_large_state_of_it_is_on_its_way_to_the_disk(api: Gate) -> None:
    made = await put(api, "daily", every="1h")
    process = api.kernel.table.get(made["pid"])
    process.state = b"#" + bytes(16)  # a part that is not stored yet
    assert (await api.get("/v1/triggers"))[1]["triggers"][0]["next"] is not None
