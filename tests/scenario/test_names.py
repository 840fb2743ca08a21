"""Names instead of numbers: which processes an agent's name, or a session's, means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.rivals import tenant


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        for name in ("clerk", "clerk2"):
            await found.post("/v1/agents", {"name": name, "model": "scripted"})
            for session in (None, "work", "home"):
                await say(found, name, session)
        yield found


async def say(api: Gate, agent: str, session: str | None) -> None:
    assert (await api.post(f"/v1/agents/{agent}/messages", {"text": "hi", "session": session}))[0] == 200


async def meant(api: Gate, name: str) -> list[str]:
    status, found = await api.get("/v1/processes", params={"name": name})
    return [process["name"] for process in found["processes"]] if status == 200 else []


async def test_an_agents_name_means_all_its_processes_and_nobody_elses(api: Gate) -> None:
    assert await meant(api, "clerk") == ["clerk", "clerk@work", "clerk@home"]
    assert await meant(api, "clerk@work") == ["clerk@work"]


async def test_a_session_alone_is_found_whoevers_agents(api: Gate) -> None:
    assert await meant(api, "work") == ["clerk@work", "clerk2@work"]


async def test_where_none_lives_those_that_ended_are_meant(api: Gate) -> None:
    await api.post("/v1/agents/clerk/terminate")
    assert await meant(api, "clerk") == ["clerk", "clerk@work", "clerk@home"]
    await say(api, "clerk", "work")
    assert await meant(api, "clerk") == ["clerk@work"]
    status, listed = await api.get("/v1/processes", params={"name": "clerk"})
    assert status == 200 and listed["processes"][0]["status"] == "waiting"


async def test_a_wrong_name_is_told_with_the_nearest(api: Gate) -> None:
    status, answer = await api.get("/v1/processes", params={"name": "clark"})
    assert status == 404 and "did you mean 'clerk'?" in answer["error"]["message"]
    for name in ("%", "cl%", "", "_lerk", "@", "@work", "clerk@"):
        assert await meant(api, name) == [], name


async def test_pages_of_a_name_are_pages(api: Gate) -> None:
    _, first = await api.get("/v1/processes", params={"name": "clerk", "limit": 2})
    after = first["processes"][-1]["pid"]
    _, rest = await api.get("/v1/processes", params={"name": "clerk", "limit": 2, "after": after})
    assert [len(page["processes"]) for page in (first, rest)] == [2, 1]


async def test_what_is_another_persons_is_not_meant(api: Gate) -> None:
    ann = await tenant(api, "default", "ann", "viewer")

    async def theirs(name: str) -> list[Any]:
        status, found = await ann.ask("GET", f"/v1/processes?name={name}")
        return [process["name"] for process in found["processes"]] if status == 200 else []

    assert await theirs("clerk") == await theirs("work") == await theirs("clerk@work") == []
    user = await tenant(api, "default", "ann", "user")
    assert (await user.ask("POST", "/v1/agents/clerk/messages", {"text": "hi", "session": "work"}))[0] == 200
    assert await theirs("clerk") == await theirs("work") == ["clerk@work"]
    other = await tenant(api, "acme", "bob", "admin")
    assert (await other.ask("GET", "/v1/processes?name=clerk"))[0] == 404


async def test_many_ended_ones_are_looked_through_beside_the_event_loop(api: Gate) -> None:
    store, threads = api.kernel.store, set()
    scan = store.scan

    def noted(query: str, *params: Any) -> list[tuple[Any, ...]]:
        threads.add(asyncio._get_running_loop())
        return scan(query, *params)

    store.scan = noted
    assert await meant(api, "home") == ["clerk@home", "clerk2@home"]
    assert threads == {None}  # in a thread that has none
