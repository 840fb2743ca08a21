"""Who follows the events sees every call that they may see, once, also over a lost connection; and the stream ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmagent_os.core import codec
from tests.stand_ins.gateway import Gate, gate

Event = dict[str, Any]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path) as running:
        yield running


async def follow(api: Gate, path: str = "/v1/events", **headers: str) -> AsyncIterator[Event]:
    """Server-sent events as a browser reads them; an `id` without data is {"id": ...}."""
    async with api.session.get(api.running.url + path, headers=headers) as response:
        assert response.status == 200, await response.text()
        event: Event = {}
        async for line in response.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "data":
                event["data"] = codec.loads(value)
            elif field in ("id", "event"):
                event[field] = value
            elif not field and event:
                yield event
                event = {}


async def take(events: AsyncIterator[Event], number: int) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(number)]


async def last(api: Gate) -> int:
    """The number of the last row, once nothing is on its way: the end of a turn comes after its reply."""
    n = -1
    while n != api.kernel.feed.last:
        n = api.kernel.feed.last
        await asyncio.sleep(0.2)
    return n


async def say(api: Gate, text: str, **headers: str) -> None:
    status, _ = await api.post("/v1/agents/assistant/messages", {"body": text}, headers=headers)
    assert status == 200


async def key(api: Gate, *roles: str, **more: Any) -> dict[str, str]:
    status, made = await api.post("/v1/keys", {"name": "k", "roles": list(roles), **more})
    assert status == 201, made
    return {"Authorization": f"Bearer {made['key']}"}


async def test_every_call_comes_once_and_in_order_also_after_a_lost_connection(api: Gate) -> None:
    begin = await last(api)
    async with aclosing(follow(api, f"/v1/events?after={begin}")) as events:
        await say(api, "hello")
        seen = await take(events, 3)
    await say(api, "while nobody listened")
    async with aclosing(follow(api, "/v1/events?after=0", **{"Last-Event-ID": seen[-1]["id"]})) as events:
        await say(api, "again")
        seen += await take(events, await last(api) - int(seen[-1]["id"]))
    assert [int(each["id"]) for each in seen] == list(range(begin + 1, api.kernel.feed.last + 1))
    rows = {n: values for n, *values in api.kernel.store.read("call.feed", begin, 1000)}
    for each in seen:
        data, (pid, seq, _, name, *_) = each["data"], rows[int(each["id"])]
        assert (data["pid"], data["seq"], data["name"], data["n"]) == (pid, seq, name, int(each["id"]))
        assert each["event"] == ("mark" if name in ("idle", "exit") else "call")
    assert any(each["data"]["name"] == "generate" and each["data"]["output_tokens"] for each in seen)
    assert "hello" not in codec.dumps(seen).decode()  # what was said is not in it


async def test_without_a_number_it_begins_now_and_an_unknown_one_is_refused(api: Gate) -> None:
    await say(api, "before")
    await last(api)
    async with aclosing(follow(api)) as events:
        waiting = asyncio.create_task(take(events, 1))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        n = await last(api)
        await say(api, "now")
        assert int((await waiting)[0]["id"]) == n + 1
    wrong = [("", {"Last-Event-ID": number}) for number in ("x", "9" * 19, "9" * 5000)]
    for path, headers in (("after=999999", {}), ("after=-1", {}), ("aftr=1", {}), *wrong):
        status, answer = await api.get(f"/v1/events?{path}", headers=headers)
        assert status == 400, (path, answer)


async def test_a_person_sees_their_own_a_viewer_the_tenants_and_the_owner_all_that_are_asked_for(api: Gate) -> None:
    ann, ben = await key(api, "user", principal="ann"), await key(api, "user", principal="ben")
    viewer, chief = await key(api, "viewer", principal="eve"), await key(api, "admin", principal="eve")
    other = await key(api, "admin", tenant="acme", principal="zoe")
    n = await last(api)
    for person in (ann, ben, other):
        await say(api, "hello", **person)
    await last(api)

    async def sees(path: str, headers: dict[str, str]) -> set[tuple[str, str]]:
        found = set()
        async with aclosing(follow(api, f"/v1/events?after={n}&follow=false{path}", **headers)) as events:
            async for each in events:
                if "data" in each:
                    found.add((each["data"]["tenant"], each["data"]["principal"]))
        return found

    assert await sees("", ann) == {("default", "ann")}
    assert await sees("", viewer) <= {("default", "eve"), ("default", "*")}
    seen = await sees("", chief)
    assert {("default", "ann"), ("default", "ben")} <= seen and {tenant for tenant, _ in seen} == {"default"}
    assert {tenant for tenant, _ in await sees("", other)} == {"acme"}
    assert {tenant for tenant, _ in await sees("&tenant=acme", {})} == {"acme"}
    assert {tenant for tenant, _ in await sees("&tenant=*", {})} == {"acme", "default"}
    for person in (ann, viewer, chief, other):
        assert (await api.get("/v1/events?tenant=*", headers=person))[0] == 403
    assert (await api.get("/v1/events?tenant=default", headers=other))[0] == 403
    assert (await api.get("/v1/events", headers={"Authorization": ""}))[0] == 401


async def test_a_sign_of_life_says_how_far_it_is_and_a_revoked_key_ends_the_stream(api: Gate) -> None:
    _, made = await api.post("/v1/keys", {"name": "k", "roles": ["user"], "principal": "ann"})
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with aclosing(follow(api, "/v1/events?heartbeat=1", **headers)) as events:
        await say(api, "of others")
        (alive,) = await take(events, 1)
        assert alive == {"id": str(await last(api))}
        assert (await api.ask("DELETE", f"/v1/keys/{made['id']}"))[0] in (200, 204)
        async with asyncio.timeout(20):
            assert [each async for each in events if "data" in each] == []


async def test_it_ends_cleanly_and_at_once_when_the_system_stops(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as outside:
        async with gate(tmp_path) as api:
            headers = {"Authorization": f"Bearer {api.running.key}"}
            answer = await outside.get(api.running.url + "/v1/events", headers=headers)
            await answer.content.readline()
            stops = asyncio.get_running_loop().time()
        assert (await answer.content.read()).rstrip().endswith(b": alive")  # and not an error of a broken connection
        assert asyncio.get_running_loop().time() - stops < 3


async def test_who_leaves_leaves_nothing_behind(api: Gate) -> None:
    for _ in range(20):
        async with aclosing(follow(api)) as events:
            waiting = asyncio.create_task(take(events, 1))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait({waiting})
    async with asyncio.timeout(20):
        while len(api.kernel.feed._waiting) > 3:  # metrics, anomalies and audit wait there
            await asyncio.sleep(0.02)
