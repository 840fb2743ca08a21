"""Boards and topics from outside: what people see of them, dead letters that are tried once more, tenants apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.sys import Sys
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.teams import Team

WHERE = {"topic": "orders/new", "group": "billing"}
DEAD, RETRY, TRIES = (f"/v1/topics/orders%2Fnew/{each}" for each in ("dead", "retry", "tries"))


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Team(tmp_path)) as found:
        yield found


async def key_of(api: Gate, principal: str, *roles: str, tenant: str = "default") -> dict[str, Any]:
    status, key = await api.post("/v1/keys", {"roles": list(roles), "principal": principal, "tenant": tenant})
    assert status in (200, 201), key
    return {"headers": {"Authorization": f"Bearer {key['key']}"}}


async def dead_letters(sys: Sys, *values: Any) -> None:
    """A topic whose group gave these up at the first try."""
    await sys.syscall("topic_take", tries=1, **WHERE)
    for value in values:
        await sys.syscall("publish", topic=WHERE["topic"], value=value, key=f"k{value}")
    taken = await sys.syscall("topic_take", most=10, **WHERE)
    await sys.syscall("topic_settle", numbers=[each["n"] for each in taken], failed="no such order", **WHERE)
    await sys.syscall("topic_take", **WHERE)


async def test_a_board_and_what_lay_on_it(api: Gate) -> None:
    sys = await api.kernel.service("test")
    for value in ({"step": 1}, {"step": 2}):
        await sys.syscall("board_write", key="a/plan", value=value, of="person")
    status, told = await api.get("/v1/board")
    assert status == 200 and told["values"]["a/plan"]["value"] == {"step": 2}
    assert (told["values"]["a/plan"]["version"], told["values"]["a/plan"]["by"]) == (2, "owner")
    status, told = await api.get("/v1/board/a%2Fplan")
    assert [(each["version"], each["value"]["step"]) for each in told["versions"]] == [(2, 2), (1, 1)]
    status, told = await api.get("/v1/board/a%2Fplam")
    assert status == 404 and "a/plan" in told["error"]["message"]
    assert (await api.get("/v1/board", params={"of": "tenant"})) == (200, {"values": {}})


async def test_the_board_of_a_run_is_found_by_any_process_of_it(api: Gate) -> None:
    flow = {"nodes": {"put": {"tool": "board_write", "input": {"key": "k", "value": 7}}}}
    assert (await api.post("/v1/agents", {"name": "f", "flow": flow}))[0] == 201
    status, run = await api.post("/v1/flows/f/runs", {})
    status, told = await api.get("/v1/board", params={"of": "run", "pid": run["pid"]})
    assert status == 200 and told["values"]["k"]["value"] == 7
    assert (await api.get("/v1/board", params={"of": "run"}))[0] == 400
    assert (await api.get("/v1/board", params={"of": "run", "pid": 999999}))[0] == 404


async def test_dead_letters_are_listed_and_tried_once_more(api: Gate) -> None:
    sys = await api.kernel.service("test")
    await dead_letters(sys, "a", "b")
    counts = {"waiting": 0, "held": 0, "dead": 2, "tries": 1}
    assert (await api.get("/v1/topics"))[1] == {
        "topics": {"orders/new": {"messages": 0, "groups": {"billing": counts}}}
    }
    found = (await api.get(DEAD))[1]["dead"]
    assert [(each["id"], each["value"], each["why"]) for each in found] == [
        ("ka", "a", "no such order"), ("kb", "b", "no such order"),
    ]  # fmt: skip
    assert await api.post(RETRY, {"group": "billing", "ids": ["kb"]}) == (200, {"retried": 1})
    (again,) = await sys.syscall("topic_take", most=10, **WHERE)
    assert (again["id"], again["value"]) == ("kb", "b")
    await sys.syscall("topic_settle", numbers=[again["n"]], **WHERE)
    assert [each["id"] for each in (await api.get(DEAD))[1]["dead"]] == ["ka"]
    assert await api.post(RETRY, {"group": "billing"}) == (200, {"retried": 1})
    assert await api.post(RETRY, {"group": "billing"}) == (200, {"retried": 0})


async def test_one_that_fails_again_is_a_dead_letter_again_and_holds_up_nobody(api: Gate) -> None:
    sys = await api.kernel.service("test")
    await dead_letters(sys, "a")
    for n in range(3):
        await sys.syscall("publish", topic=WHERE["topic"], value=n)
    await api.post(RETRY, {"group": "billing"})
    taken = await sys.syscall("topic_take", most=10, **WHERE)
    assert [each["value"] for each in taken] == ["a", 0, 1, 2]
    await sys.syscall("topic_settle", numbers=[each["n"] for each in taken[1:]], **WHERE)
    await sys.syscall("topic_settle", numbers=[taken[0]["n"]], failed="still not", **WHERE)
    assert await sys.syscall("topic_take", **WHERE) == []
    assert [(each["id"], each["why"]) for each in (await api.get(DEAD))[1]["dead"]] == [("ka", "still not")]
    await api.post(RETRY, {"group": "billing"})
    assert [each["id"] for each in await sys.syscall("topic_take", most=10, **WHERE)] == ["ka"]


async def test_the_tries_of_a_group_are_changed(api: Gate) -> None:
    sys = await api.kernel.service("test")
    await dead_letters(sys)
    assert (await api.post(TRIES, {"group": "billing", "tries": 3}))[0] == 204
    assert (await api.get("/v1/topics"))[1]["topics"]["orders/new"]["groups"]["billing"]["tries"] == 3
    await sys.syscall("publish", topic=WHERE["topic"], value="x")
    for _ in range(3):
        (each,) = await sys.syscall("topic_take", tries=3, **WHERE)
        await sys.syscall("topic_settle", numbers=[each["n"]], failed="no", **WHERE)
    assert await sys.syscall("topic_take", **WHERE) == []
    assert len((await api.get(DEAD))[1]["dead"]) == 1
    for body in ({"group": "billing", "tries": 0}, {"group": "billings", "tries": 3}):
        assert (await api.post(TRIES, body))[0] in (400, 404, 422)


async def test_what_is_another_persons_or_tenants_is_not_there(api: Gate) -> None:
    for principal, tenant in (("ann", "default"), ("ann", "shop")):
        sys = await api.kernel.service("test", principal, tenant)
        await sys.syscall("board_write", key=f"of {tenant}", value=1, of="person")
        await sys.syscall("board_write", key=f"all {tenant}", value=1, of="tenant")
        await dead_letters(sys, tenant)
    ann, bob = await key_of(api, "ann", "viewer"), await key_of(api, "bob", "viewer")
    assert list((await api.get("/v1/board", **ann))[1]["values"]) == ["of default"]
    assert list((await api.get("/v1/board", params={"of": "tenant"}, **ann))[1]["values"]) == ["all default"]
    assert [each["value"] for each in (await api.get(DEAD, **ann))[1]["dead"]] == ["default"]
    theirs = {"params": {"principal": "ann"}}
    assert list((await api.get("/v1/board", **theirs))[1]["values"]) == ["of default"]  # the owner sees everybody's
    for way, more in (("/v1/board", theirs), ("/v1/topics", theirs), (DEAD, theirs)):
        assert (await api.get(way, **more, **bob))[0] == 403
    assert (await api.get(DEAD, **await key_of(api, "eve", "viewer")))[0] == 404
    assert (await api.post(RETRY, {"group": "billing", "principal": "ann"}, **bob))[0] == 403
    sys = await api.kernel.service("test", "ann", "shop")
    other = await key_of(api, "owner", "owner", tenant="shop")
    assert list((await api.get("/v1/board", **theirs, **other))[1]["values"]) == ["of shop"]
    assert (await api.post(RETRY, {"group": "billing", "principal": "ann"}, **other)) == (200, {"retried": 1})
    assert [each["value"] for each in (await api.get(DEAD, **ann))[1]["dead"]] == ["default"]


async def test_what_was_retried_is_its_persons_and_is_erased_with_them(api: Gate) -> None:
    """Also where somebody else had it tried again."""
    sys = await api.kernel.service("test", "ann")
    await dead_letters(sys, "secret")
    assert (await api.post(RETRY, {"group": "billing", "principal": "ann"})) == (200, {"retried": 1})
    assert (await api.post("/v1/privacy/erase", {"principal": "ann"}))[0] in (200, 202, 204)
    assert api.system.teamwork.topics.listed("default/person/ann") == {}
    left = api.kernel.store.read("message.first", "dead:default:person:ann:orders%2Fnew:billing", 9)
    assert left == []
