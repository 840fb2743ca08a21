"""MCP servers that are not as the protocol says, have more than tools, or want a login."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import Config, load
from llmagent_os.core.errors import InvalidRequest, ToolFailed
from tests.stand_ins.kernels import until
from tests.stand_ins.server import serving

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
from llmagent_os.offline import known_tools, login
from llmagent_os.tools.mcp_http import Events
from tests.stand_ins.odd_mcp import Guarded

ODD = [sys.executable, "-m", "tests.stand_ins.odd_mcp"]
Start = Callable[..., Awaitable[System]]


def config(folder: Path, **servers: Any) -> Config:
    return load({"data": folder / "data", "model": "scripted", "tools": {"mcp": servers}})


@pytest.fixture
async def start(tmp_path: Path, models_folder: Path) -> AsyncIterator[Start]:
    systems: list[System] = []

    async def begin(**servers: Any) -> System:
        systems.append(await boot(config(tmp_path, **servers)))
        await systems[-1].sources.settled(30)
        return systems[-1]

    yield begin
    for system in systems:
        await system.close()


async def test_an_odd_tool_costs_itself_names_keep_both_and_there_is_more_than_tools(start: Start) -> None:
    system = await start(odd={"command": ODD})
    assert system.sources.states["mcp odd"].trouble is None
    tools = {name: tool for name, tool in system.tools.items() if getattr(tool, "source", "") == "mcp odd"}
    (missing,) = system.missing()
    assert set(missing["left_out"]) == {"listed_schema", "round", "no_value", "tool 13", "tool 14", "long_schema"}
    for tool in tools.values():
        jsonschema.Draft202012Validator.check_schema(dict(tool.spec.parameters))
    call = system.sys.call
    # one that is called so keeps the name; the others have a mark, and Chinese ones, too
    assert len([name for name in tools if name.startswith("odd_get_user")]) == 3 and "odd_get_user" in tools
    assert len([name for name in tools if name.startswith("odd_") and len(name) == 12]) >= 2
    assert (await call("odd_fine", {"a": 1}))["said"] == {"a": 1}  # though it is not what its schema promises
    assert "Returns: {" in tools["odd_fine"].spec.description
    assert await call("odd_null_schema") == '{"type":"hologram","data":"x"}\nbare\nok'
    with pytest.raises(ToolFailed, match="no such user"):
        await call("odd_get_user")
    # resources and prompts, beside a tool of the server's own of such a name
    (resources,) = [name for name in tools if name.startswith("odd_list_resources_")]
    assert "odd_list_resources" in tools
    listed = await call(resources)
    assert [each["uri"] for each in listed["resources"]] == ["memo://a"]
    assert listed["templates"][0]["uriTemplate"] == "memo://{name}"
    assert await call("odd_read_resource", {"uri": "memo://b"}) == "about memo://b"
    assert (await call("odd_list_prompts"))["prompts"][0]["name"] == "review"
    filled = await call("odd_get_prompt", {"name": "review", "arguments": {"code": "1+1"}})
    assert filled == [{"role": "user", "content": "Review 1+1"}]


async def test_names_are_the_same_at_the_next_start(start: Start, tmp_path: Path) -> None:
    first = set((await start(odd={"command": ODD})).tools)
    assert set(await known_tools(config(tmp_path, odd={"command": ODD}))) == first


async def test_why_a_server_is_not_there_says_what_it_wrote_and_a_call_does_not_wait_long(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.tools.mcp.MENDS", 1.0)
    system = await start(odd={"command": ODD})
    await system.close()
    system = await start(odd={"command": [*ODD, "broken"]})
    (missing,) = system.missing()
    assert "Error: set ODD_KEY" in missing["trouble"] and "odd.log" in missing["trouble"]
    with pytest.raises(ToolFailed, match="set ODD_KEY"):  # long before its timeout
        await asyncio.wait_for(system.sys.call("odd_fine"), 25)


async def test_a_login_is_once_and_its_tokens_are_sealed_and_renewed(
    start: Start, tmp_path: Path, models_folder: Path
) -> None:
    state: dict[str, Any] = {}
    async with serving(Guarded(state).application()) as url, aiohttp.ClientSession() as browser:
        far = {"url": f"{url}/mcp"}
        system = await start(far=far)
        assert "llmagent-os tools login far" in system.missing()[0]["trouble"]
        assert state["registered"] == 0  # nobody is bothered before a person says so
        visits = set()

        async def visit(page: str) -> None:
            async def go() -> None:
                async with browser.get(page) as answer:
                    assert answer.status == 200

            visits.add(asyncio.create_task(go()))

        state |= {"refuses": True}
        with pytest.raises(InvalidRequest, match="the login was refused: access_denied"):
            await login(config(tmp_path, far=far), "far", visit, "", 0)
        state |= {"refuses": False, "lasts": 1}
        assert await login(config(tmp_path, far=far), "far", visit, "", 0)
        kept = (tmp_path / "data" / "mcp" / "far.login").read_text()
        assert "token-" not in kept and "again" not in kept
        await until(lambda: "far_fine" in system.tools, 30)
        await asyncio.sleep(1.1)  # the token is over
        state["tokens"].clear()
        state["lasts"] = 3600
        assert (await system.sys.call("far_fine", {"a": 2}))["said"] == {"a": 2}
        await system.close()
        registered, refreshed = state["registered"], state["refreshed"]
        assert refreshed >= 1
        system = await start(far=far)  # with what is kept
        assert (await system.sys.call("far_fine", {"a": 3}))["said"] == {"a": 3}
        assert state["registered"] == registered


def test_events_are_bounded_each_in_time_that_grows_with_them() -> None:
    events = Events(most=1000)
    assert list(events.feed(b"a: 1\n\nb:")) == [b"a: 1\n\n"]
    assert list(events.feed(b" 2\r\n\r")) == [] and list(events.feed(b"\nc: 3")) == [b"b: 2\r\n\r\n"]
    assert list(events.feed(b"x" * 1100)) == [None]  # once
    assert [each for _ in range(10_000) for each in events.feed(b"x" * 4096)] == []
    assert list(events.feed(b"\n\nd: 4\n\n")) == [b"d: 4\n\n"]
    assert events.rest() == b""
