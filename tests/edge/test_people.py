"""People of one tenant: every route is walked with a colleague's key, and nothing of one is seen or felt."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import NotFound
from llmagent_os.core.records import Question
from llmagent_os.gateway.auth import ROUTES
from llmagent_os.security.identity import ROLES
from tests.edge.test_gateway import engine_is_free
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.kernels import until
from tests.stand_ins.rivals import (
    BODIES,
    NOWHERE,
    SECRET,
    Plugin,
    Tenant,
    blurred,
    filled,
    keep,
    remembered,
    talk,
    tenant,
)

MESSAGES = "/v1/agents/clerk/messages"


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Plugin()) as found:
        yield found


async def office(api: Gate, **spec: Any) -> Tenant:
    """A tenant's administrator, and an agent for everybody there."""
    boss = await tenant(api, "acme", "boss")
    tools = ["draw", "write_file", "read_file", "list_files"]
    status, _ = await boss.ask("POST", "/v1/agents", {"name": "clerk", "model": "scripted", "tools": tools, **spec})
    assert status == 201
    return boss


async def belongings(ann: Tenant, api: Gate) -> dict[str, str]:
    """One of everything that may be a person's, each with the secret in it; returns their names."""
    task, session = f"{SECRET}-task", f"{SECRET}-session"
    body = {"text": f'call draw with {{"title": "{SECRET}"}}', "session": session}
    status, answer = await ann.ask("POST", MESSAGES, body, **{"Idempotency-Key": task})
    assert status == 200, answer
    blob = next(part["blob"] for part in answer["reply"]["parts"] if "blob" in part)
    (pid,) = api.kernel.table.named(f"clerk@{session}", "acme")
    question = Question(f"{SECRET}-question", pid, "acme", "ann", "clerk", "draw", {"title": SECRET}, {}, SECRET)
    api.kernel.worker("asks", api.system.approvals.ask(question))
    await asyncio.sleep(0)
    seen = {"at": 0.0, "tenant": "acme", "agent": "clerk", "pid": pid, "action": "note", "cause": "canary"}
    api.system.anomalies.lately.append({**seen, "reason": SECRET})
    return {"pid": str(pid), "task": task, "blob": blob, "key": ann.key["id"], "question": question.id, "name": "clerk",
            "path": await keep(ann, "clerk"), "memory": await remembered(ann, api, "clerk"), "session": session,
            **await talk(ann)}  # fmt: skip


WALKED = [route for route, scope in ROUTES.items() if scope != "system"]
"""What the machine's owner alone sees is not walked."""


@pytest.mark.parametrize("role", ["user", "viewer", "all but people"])
async def test_nothing_of_another_person_is_seen_on_any_route(api: Gate, role: str) -> None:
    await office(api)
    ann = await tenant(api, "acme", "ann", "user")
    things = await belongings(ann, api)
    scopes = sorted(ROLES["admin"] - {"people", "approvals:write", "agents:write", "privacy:write", "keys:write"})
    held = {"roles": [role]} if role in ROLES else {"scopes": scopes}
    bea = Tenant(api, (await api.post("/v1/keys", {**held, "tenant": "acme", "principal": "bea"}))[1])
    walked = 0
    for route in sorted(WALKED, key=lambda route: (route.startswith("DELETE"), route)):
        found = await bea.ask(*filled(route, things))
        nowhere = await bea.ask(*filled(route, NOWHERE | {"name": "clerk"}))
        assert found[0] < 500 and 401 not in (found[0], nowhere[0]), (route, found)
        assert SECRET not in blurred(found[1], things), route
        if (
            re.search(
                r"\{(pid|response|conversation|item|task|identifier|memory)",
                route + json.dumps(BODIES.get(route)),
            )
            or "blobs" in route
        ):
            assert found[0] == nowhere[0] != 200, (route, found, nowhere)
            assert blurred(found[1], things) == blurred(nowhere[1], NOWHERE), route
        walked += 1
    assert walked > 40
    assert (await ann.ask("GET", f"/v1/tasks/{things['task']}"))[0] == 200  # and nothing was done to it
    assert (await ann.ask("GET", f"/v1/blobs/{things['blob']}"))[0] == 200
    assert SECRET in str((await ann.ask("GET", f"/v1/agents/clerk/files/{things['path']}"))[1])
    body = {"model": "scripted", "input": "more", "previous_response_id": things["response"]}
    assert (await ann.ask("POST", "/v1/responses", body))[0] == 200
    items = f"/v1/conversations/{things['conversation']}/items"
    assert SECRET in str((await ann.ask("GET", f"{items}/{things['item']}"))[1])
    assert len((await ann.ask("GET", items))[1]["data"]) == 1
    assert api.kernel.table.get(int(things["pid"])).status == "waiting"
    boss = await tenant(api, "acme", "boss")
    assert SECRET in str((await boss.ask("GET", "/v1/anomalies"))[1])
    assert [each["id"] for each in (await ann.ask("GET", "/v1/approvals"))[1]["approvals"]] == [things["question"]]


async def test_what_a_colleague_said_is_nothing_to_go_on_from(api: Gate) -> None:
    await office(api)
    ann, bea = [await tenant(api, "acme", name, "user") for name in ("ann", "bea")]
    mine, theirs = await talk(ann), {"response": "resp_x", "conversation": "conv_x", "item": "msg_x"}
    answers = []
    for things in (mine, theirs):
        for more in ({"previous_response_id": things["response"]}, {"conversation": things["conversation"]},
                     {"input": [{"type": "item_reference", "id": things["item"]}]}):  # fmt: skip
            body = {"model": "scripted", "input": "what was it?", **more}
            answers.append(await bea.ask("POST", "/v1/responses", body))
            assert answers[-1][0] == 404 and SECRET not in str(answers[-1][1])
            assert (await ann.ask("POST", "/v1/responses", body))[0] == (200 if things is mine else 404)
    told = [blurred(answer, mine | {f"not {name}": value for name, value in theirs.items()}) for _, answer in answers]
    assert told[:3] == told[3:]
    status, waiting = await ann.ask("POST", "/v1/responses", {"model": "scripted", "input": "x", "background": True})
    assert status == 200
    for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        assert (await bea.ask(method, f"/v1/responses/{waiting['id']}{path}"))[0] == 404


async def test_the_same_names_of_two_people_are_two_things(api: Gate) -> None:
    await office(api)
    answers = {}
    for name in ("ann", "bea"):
        who = await tenant(api, "acme", name, "user")
        body = {"text": f"I am {name}", "session": "s"}
        status, answer = await who.ask("POST", MESSAGES, body, **{"Idempotency-Key": "order-1"})
        assert status == 200, answer
        answers[name] = who, answer["reply"]["text"]
    for name, (who, said) in answers.items():
        assert name in said
        assert (await who.ask("GET", "/v1/tasks/order-1"))[1]["reply"]["text"] == said
        shown = (await who.ask("GET", "/v1/agents/clerk"))[1]["processes"]
        assert [process["principal"] for process in shown if process["name"] == "clerk@s"] == [name]
        assert (await who.ask("GET", "/v1/agents"))[1]["agents"][-1]["sessions"] == 1
    assert len(api.kernel.table.named("clerk@s", "acme")) == 2


async def test_nobody_cancels_or_watches_the_task_of_somebody_else(api: Gate) -> None:
    await api.script("slow", {"match": "(.*)", "text": "x" * 200, "pace": 0.05})
    await office(api, model="slow")
    ann, bea = [await tenant(api, "acme", name, "user") for name in ("ann", "bea")]
    await ann.ask("POST", MESSAGES, {"text": "hi", "session": "s", "wait": 0}, **{"Idempotency-Key": "order-2"})
    await asyncio.sleep(0.2)
    for path in ("/v1/tasks/order-2", "/v1/tasks/nobodys"):
        assert (await bea.ask("DELETE", path))[0] == (await bea.ask("GET", path))[0] == 404
    for path in ("/v1/tasks/order-2?principal=ann", "/v1/tasks/nobodys?principal=ann"):
        assert (await bea.ask("DELETE", path))[0] == (await bea.ask("GET", path))[0] == 403
    assert (await ann.ask("GET", "/v1/tasks/order-2"))[0] == 202
    assert (await ann.ask("DELETE", "/v1/tasks/order-2"))[0] == 204


async def test_a_task_that_nobody_took_up_is_taken_back(api: Gate) -> None:
    await api.script("slow", {"match": "first", "text": "x" * 40, "pace": 0.2}, {"match": "(.*)", "text": "{1}"})
    await office(api, model="slow")
    ann = await tenant(api, "acme", "ann", "user")
    for task, text in (("one", "first"), ("two", "second"), ("three", "third")):
        body = {"text": text, "session": "s", "wait": 0}
        await ann.ask("POST", MESSAGES, body, **{"Idempotency-Key": task})
    await until(lambda: not engine_is_free(api))
    assert (await ann.ask("DELETE", "/v1/tasks/two"))[0] == 204
    status, answer = await ann.ask("GET", "/v1/tasks/two?wait=5")
    assert status == 502 and "gave up" in answer["error"]["message"]
    assert (await ann.ask("DELETE", "/v1/tasks/two"))[0] == 409
    for task in ("one", "three"):
        assert (await ann.ask("GET", f"/v1/tasks/{task}?wait=10"))[0] == 200
    (pid,) = api.kernel.table.named("clerk@s", "acme")
    calls = (await ann.ask("GET", "/v1/privacy/export"))[1].decode()
    assert "tasks.cancel" in calls and api.kernel.table.waiting_messages(f"pid/{pid}") == 0
    assert (await ann.ask("DELETE", "/v1/tasks/three"))[0] == 409


async def test_who_has_the_scope_sees_what_belongs_to_others(api: Gate) -> None:
    boss = await office(api)
    things = await belongings(await tenant(api, "acme", "ann", "user"), api)
    assert int(things["pid"]) in [each["pid"] for each in (await boss.ask("GET", "/v1/processes"))[1]["processes"]]
    for path in (f"/v1/processes/{things['pid']}/calls", f"/v1/blobs/{things['blob']}"):
        status, answer = await boss.ask("GET", path)
        assert status == 200 and SECRET in str(answer)
    task = f"/v1/tasks/{things['task']}"
    assert (await boss.ask("GET", task))[0] == 404
    assert SECRET in str((await boss.ask("GET", f"{task}?principal=ann"))[1])
    body = {"text": "hi", "session": f"{SECRET}-session"}
    assert (await boss.ask("POST", MESSAGES, body))[0] == 200  # seeing is not being: it is a session of the boss's own
    assert len(api.kernel.table.named(f"clerk@{SECRET}-session", "acme")) == 2


async def test_people_have_workspaces_of_their_own(api: Gate) -> None:
    await office(api)
    ann, bea = [await tenant(api, "acme", name, "user") for name in ("ann", "bea")]
    save = 'call write_file with {"path": "notes.txt", "text": "%s"}'
    for session in ("s", None):  # a session's, and a replica's that answers both
        for who, text in ((ann, "mine"), (bea, "other")):
            await who.ask("POST", MESSAGES, {"text": save % text, "session": session})
        for who, text in ((ann, "mine"), (bea, "other")):
            body = {"text": 'call read_file with {"path": "notes.txt"}', "session": session}
            assert text in (await who.ask("POST", MESSAGES, body))[1]["reply"]["text"]


async def test_a_shared_agent_has_sessions_a_workspace_and_files_for_everybody(api: Gate) -> None:
    boss = await office(api, shared=True)
    ann, bea = [await tenant(api, "acme", name, "user") for name in ("ann", "bea")]
    save = 'call write_file with {"path": "notes.txt", "text": "ours"}'
    await ann.ask("POST", MESSAGES, {"text": save, "session": "s"}, **{"Idempotency-Key": "t"})
    read = {"text": 'call read_file with {"path": "notes.txt"}', "session": "s"}
    assert "ours" in (await bea.ask("POST", MESSAGES, read))[1]["reply"]["text"]
    (pid,) = api.kernel.table.named("clerk@s", "acme")
    drawn = await ann.ask("POST", MESSAGES, {"text": 'call draw with {"title": "x"}', "session": "s"})
    blob = next(part["blob"] for part in drawn[1]["reply"]["parts"] if "blob" in part)
    assert (await bea.ask("GET", f"/v1/blobs/{blob}"))[0] == 200
    assert (await bea.ask("GET", "/v1/tasks/t"))[0] == 404  # what she asked it stays hers
    _, page = await boss.ask("GET", f"/v1/processes/{pid}/calls?limit=1000")
    assert {call["principal"] for call in page["calls"] if call["name"] == "call"} == {"ann", "bea"}


async def test_sharing_an_agent_later_shows_nobody_an_earlier_session(api: Gate) -> None:
    boss = await office(api)
    ann, bea = [await tenant(api, "acme", name, "user") for name in ("ann", "bea")]
    await ann.ask("POST", MESSAGES, {"text": SECRET, "session": "s"})
    assert (await boss.ask("PATCH", "/v1/agents/clerk", {"shared": True}))[0] == 200
    await bea.ask("POST", MESSAGES, {"text": "hi", "session": "s"})
    pids = api.kernel.table.named("clerk@s", "acme")
    assert [api.kernel.table.get(pid).principal for pid in pids] == ["ann", "*"]


async def test_a_name_of_a_session_reaches_the_senders_own(api: Gate) -> None:
    await office(api)
    things = await belongings(await tenant(api, "acme", "ann", "user"), api)
    session = f"clerk@{SECRET}-session"
    for name in (session, f"{session}s", "clark"):
        with pytest.raises(NotFound) as refused:
            await (await api.kernel.service("test", "bea", "acme")).send(name, "hi")
        assert SECRET not in refused.value.message.replace(repr(name), "")
    await (await api.kernel.service("test", "ann", "acme")).send(session, "hi")
    assert api.kernel.table.get(int(things["pid"])).name == session


async def test_nobody_is_called_as_everybody(api: Gate) -> None:
    assert (await api.post("/v1/keys", {"roles": ["user"], "principal": "*"}))[0] == 400


async def test_a_message_is_accepted_once_also_where_it_is_sent_twice_at_once(api: Gate) -> None:
    boss = await office(api)
    ann = await tenant(api, "acme", "ann", "user")
    body, key = {"text": "hi", "wait": 5}, {"Idempotency-Key": "order-3"}
    await ann.ask("POST", MESSAGES, {"text": "first"})
    assert (await boss.ask("POST", "/v1/agents/clerk/scale", {"replicas": 3}))[0] == 200
    answers = await asyncio.gather(*(ann.ask("POST", MESSAGES, body, **key) for _ in range(4)))
    assert {status for status, _ in answers} == {200}
    assert len(api.kernel.store.read("message.get", "acme", "acme/ann/order-3")) == 1
    for other in ({"text": "other"}, {"text": "hi", "session": "s"}):
        assert (await ann.ask("POST", MESSAGES, other, **key))[0] == 409


async def test_nobody_who_may_only_talk_to_an_agent_can_end_it(api: Gate) -> None:
    """What the manager tells a replica that is to retire is a message like any other in a person's mouth."""
    boss = await office(api, shared=True)
    ann = await tenant(api, "acme", "ann", "user")
    status, started = await boss.ask("POST", "/v1/agents/clerk/scale", {"replicas": 2})
    assert status == 200
    for session in ({}, {"session": "all"}):
        assert (await boss.ask("POST", MESSAGES, {"text": "hello", **session}))[0] == 200
        status, answer = await ann.ask("POST", MESSAGES, {"body": {"$stop": True}, "wait": 5, **session})
        assert status == 400, answer
    table = api.kernel.table
    assert table.named("clerk", "acme") == started["pids"] and len(table.named("clerk@all", "acme")) == 1
    status, _ = await boss.ask("POST", "/v1/agents/clerk/scale", {"replicas": 0})  # which still retires them
    async with asyncio.timeout(20):
        await asyncio.gather(*(api.kernel.runner.ended(pid) for pid in started["pids"]))


async def test_nobody_takes_an_agents_place_who_may_only_start_processes(api: Gate) -> None:
    await office(api)
    made = {"scopes": ["chat", "processes:read", "processes:write"], "tenant": "acme", "principal": "bea"}
    bea = Tenant(api, (await api.post("/v1/keys", made))[1])
    spec = {"name": "clerk", "model": "scripted", "prompt": "x"}
    for wanted in (
        {"program": "agent", "args": {"spec": spec}}, {"program": "agent", "args": {"spec": spec}, "name": "mine"},
        {"program": "nothing", "name": "clerk"}, {"program": "nothing", "name": "clerk@s"},
        {"program": "nothing", "name": "clerk~once-1"},
    ):  # fmt: skip
        status, answer = await bea.ask("POST", "/v1/processes", wanted)
        assert (status, answer["error"]["facts"]) == (403, {"scope": "agents:write"}), wanted
    assert (await bea.ask("POST", "/v1/processes", {"program": "nothing", "name": "mine"}))[0] == 404
    assert api.kernel.table.named("clerk", "acme") == []
