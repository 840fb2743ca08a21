"""What a chat with an agent costs: four commits, and the same however many agents are defined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.agent.spec import AgentSpec
from tests.stand_ins.gateway import Gate, gate, user

VERSIONS = 5


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


async def define(api: Gate, first: int, last: int) -> None:
    """Agents with several versions each."""
    for n in range(first, last):
        spec = AgentSpec(name=f"agent-{n}", model="scripted", prompt="You are a careful clerk.")
        for version in range(1, VERSIONS + 1):
            done = api.system.facts.put("agent", spec.name, spec.data() | {"description": str(version)}, version)
    await done


@contextmanager
def counted(api: Gate) -> Iterator[dict[str, int]]:
    """How many commits there were in the block, and how many rows were read; not the sums that go once a second."""
    store, seen = api.kernel.store, {"commits": 0, "rows": 0}
    write, read = store.write, store.read

    def writes(batch: Any, *patience: float) -> None:
        seen["commits"] += any(name != "process.sum" for name, *_ in batch)
        write(batch, *patience)

    def reads(query: str, *params: Any) -> Any:
        rows = read(query, *params)
        seen["rows"] += len(rows)
        return rows

    store.write, store.read = writes, reads  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        store.write, store.read = write, read  # type: ignore[method-assign]


async def chat(api: Gate, model: str) -> int:
    status, _ = await api.post("/v1/chat/completions", {"model": model, "messages": user("hi")})
    await api.kernel.journal.drain()
    return status


async def test_a_chat_takes_four_commits(api: Gate) -> None:
    await chat(api, "assistant")
    with counted(api) as seen:
        assert await chat(api, "assistant") == 200
    assert seen["commits"] <= 4


async def test_a_chat_and_a_wrong_name_cost_the_same_with_a_thousand_agents(api: Gate) -> None:
    rows = []
    for first, last in ((0, 50), (50, 1000)):
        await define(api, first, last)
        await chat(api, "agent-3")
        with counted(api) as right:
            assert await chat(api, "agent-3") == 200
        with counted(api) as wrong:
            assert await chat(api, "agent-x") == 404
        rows.append((right["rows"], wrong["rows"]))
    (few, few_wrong), (many, many_wrong) = rows
    assert many <= few + 10 and many_wrong <= few_wrong + 250


async def test_agents_are_listed_page_by_page_in_two_reads(api: Gate) -> None:
    await define(api, 0, 30)
    names, after = [], ""
    while page := (await api.get(f"/v1/agents?limit=10&after={after}"))[1]["agents"]:
        assert len(page) <= 10 and all(agent["version"] in (1, VERSIONS) for agent in page)
        names += [agent["name"] for agent in page]
        after = names[-1]
    assert names == sorted(["assistant", *(f"agent-{n}" for n in range(30))])
    with counted(api) as seen:
        await api.get("/v1/agents")
    assert seen["rows"] <= 31


async def test_a_wrong_name_is_told_a_near_one(api: Gate) -> None:
    await define(api, 0, 300)
    _, answer = await api.post("/v1/chat/completions", {"model": "agent-77x", "messages": user("hi")})
    assert "'agent-77'" in answer["error"]["message"]
    _, answer = await api.post("/v1/agents/assistent/messages", {"text": "hi"})
    assert "'assistant'" in answer["error"]["message"]
