"""Agents as a file says: created or changed, told what changed, and checked first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import NotFound
from tests.stand_ins.gateway import Gate, gate

WRITER = {"name": "writer", "model": "scripted", "prompt": "Write.", "sampling": {"temperature": 0.5}}


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


async def apply(api: Gate, definition: dict[str, Any], check: bool = False) -> tuple[int, Any]:
    query = "?check=true" if check else ""
    return await api.ask("PUT", f"/v1/agents/{definition['name']}{query}", json=definition)


async def test_an_agent_is_created_changed_and_left_as_it_is(api: Gate) -> None:
    status, done = await apply(api, WRITER)
    assert (status, done["created"], done["version"], done["changed"]) == (200, True, 1, {})
    _, done = await apply(api, WRITER)
    assert (done["created"], done["version"], done["changed"]) == (False, 1, {})
    _, done = await apply(api, WRITER | {"prompt": "Write well.", "tools": ["clock"]})
    prompt = {"old": "Write.", "new": "Write well."}
    assert done["version"] == 2 and done["changed"] == {"prompt": prompt, "tools": {"old": [], "new": ["clock"]}}
    assert api.system.agents.get("writer").spec.prompt == "Write well."


async def test_what_a_definition_leaves_out_is_as_by_default_again(api: Gate) -> None:
    await apply(api, WRITER | {"policy": {"tools": {"clock": "ask"}}, "tools": ["clock"], "nice": 5})
    _, done = await apply(api, {"name": "writer", "model": "scripted"})
    assert done["changed"].keys() == {"prompt", "sampling", "grant", "tools", "nice"}
    assert done["spec"] == (await apply(api, {"name": "writer", "model": "scripted"}))[1]["spec"]
    assert not api.system.agents.get("writer").spec.grant.policy.tools


async def test_a_check_says_the_same_and_does_nothing(api: Gate) -> None:
    _, done = await apply(api, WRITER, check=True)
    assert done["created"] and not api.system.agents.knows("writer")
    await apply(api, WRITER)
    other = WRITER | {"prompt": "Write well."}
    _, done = await apply(api, other, check=True)
    assert done["version"] == 2 and done["changed"].keys() == {"prompt"}
    assert api.system.agents.get("writer").version == 1
    assert (await apply(api, other))[1]["changed"] == done["changed"]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"tools": ["clok"]}, 404), ({"model": "nothing"}, 404), ({"sampling": {"warmth": 1}}, 400), ({"promt": 1}, 400)],
)
async def test_a_wrong_definition_is_told_checked_or_not(
    api: Gate, wrong: dict[str, Any], status: int, check: bool
) -> None:
    assert (await apply(api, WRITER | wrong, check))[0] == status
    assert not api.system.agents.knows("writer")
    await apply(api, WRITER)
    assert (await apply(api, WRITER | wrong, check))[0] == status
    assert api.system.agents.get("writer").version == 1


async def test_a_definition_goes_to_the_agent_of_its_name(api: Gate) -> None:
    assert (await api.ask("PUT", "/v1/agents/reader", json=WRITER))[0] == 400
    with pytest.raises(NotFound):
        api.system.agents.get("reader")


async def test_sessions_go_on_with_what_was_applied(api: Gate) -> None:
    await api.script("plain", {"match": "(.*)", "text": "plain"})
    await api.script("kind", {"match": "(.*)", "text": "kind"})
    for model in ("plain", "kind"):
        assert (await apply(api, WRITER | {"model": model}))[0] == 200
        _, answer = await api.post("/v1/agents/writer/messages", {"text": "hi", "session": "s"})
        assert answer["reply"]["text"] == model
