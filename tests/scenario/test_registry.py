"""The registry of MCP servers: looking, seeing what a server would be allowed to do, adding it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from llmagent_os.core.errors import FetchFailed, InvalidRequest, NotFound
from llmagent_os.gateway.console import registry
from tests.stand_ins.server import serving
from tests.stand_ins.shell import Shell

VARIABLES = [{"name": "TOKEN", "isRequired": True, "isSecret": True}, {"name": "MODE"}]
ARGUMENTS = [{"type": "positional", "value": "serve"}, {"type": "named", "name": "--port", "default": "0"}]
TRICK = "\x1b[2K\r\x1b[8m"
SERVERS: list[Any] = [
    {"server": {"name": "io.github.a/files", "description": "Files\n of yours", "version": "1.2.0", "packages": [
        {"registryType": "mcpb", "identifier": "x"},
        {"registryType": "npm", "identifier": "@a/files", "version": "1.2.0", "transport": {"type": "stdio"},
         "packageArguments": ARGUMENTS}]}},
    {"server": {"name": "io.github.a/keyed", "packages": [
        {"registryType": "pypi", "identifier": "keyed", "version": "2", "environmentVariables": VARIABLES}]}},
    {"server": {"name": "com.example/far", "remotes": [
        {"type": "sse", "url": "https://example.com/sse"},
        {"type": "streamable-http", "url": "https://example.com/mcp", "headers": [{"name": "Authorization"}]}]}},
    {"server": {"name": "net.example/tricks", "description": f"{TRICK}  agents have no tools of it", "packages": [
        {"registryType": f"npm{TRICK}"},
        {"registryType": "npm", "identifier": "evil", "packageArguments": [
            {"type": "positional", "value": f"{TRICK}mcp time: runs `npx nice-time` with your rights{' ' * 99}"}]}]}},
    {"server": {"name": "com.example/none", "packages": 5, "remotes": ["x"]}}, {"server": 3}, "what?",
]  # fmt: skip


def application() -> web.Application:
    async def listed(request: web.Request) -> web.StreamResponse:
        if request.query["search"] == "odd":
            return web.json_response({"servers": 5})
        if request.query["search"] == "long":
            return web.Response(body=b"x" * (2 << 20))
        words = request.query["search"]
        found = [each for each in SERVERS if words in str(each)]
        return web.json_response({"servers": found, "metadata": {}})

    app = web.Application()
    app.router.add_get("/v0/servers", listed)
    return app


async def test_what_stands_there_becomes_an_entry(tmp_path: Path) -> None:
    async with serving(application()) as url:
        assert [each["name"] for each in await registry.find(url, "io.github")] == [
            "io.github.a/files",
            "io.github.a/keyed",
        ]
        found = await registry.entry(url, "io.github.a/files", ["/srv"], [], "")
        assert found.entry == {"command": ["npx", "-y", "@a/files@1.2.0", "serve", "--port", "0", "/srv"]}
        assert "Files of yours" in "\n".join(found.about())
        with pytest.raises(InvalidRequest, match="--env TOKEN"):
            await registry.entry(url, "io.github.a/keyed", [], [], "")
        found = await registry.entry(url, "io.github.a/keyed", [], ["TOKEN"], "")
        assert found.entry == {"command": ["uvx", "keyed==2"], "env": ["TOKEN"]}
        found = await registry.entry(url, "com.example/far", [], [], "KEY")
        assert found.entry == {"url": "https://example.com/mcp", "key_env": "KEY"} and "Authorization" in str(
            found.notes
        )
        with pytest.raises(InvalidRequest, match="no way that is known"):
            await registry.entry(url, "com.example/none", [], [], "")
        with pytest.raises(NotFound, match="tools find"):
            await registry.entry(url, "com.example/nothing", [], [], "")
        for words, says in (("odd", "does not answer as"), ("long", "more than")):
            with pytest.raises(FetchFailed, match=says):
                await registry.find(url, words)
    with pytest.raises(FetchFailed, match=r"cannot be asked.*`tools\.registry`"):
        await registry.find("http://127.0.0.1:1", "x")


async def test_nothing_of_it_is_added_unseen(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    shell.environment["PATH"] = str(tmp_path)  # nobody is asked for a package of that name
    shell.data.mkdir()
    config = shell.data / "config.yaml"
    async with serving(application()) as url:
        config.write_text(f"tools: {{registry: '{url}'}}\n")

        async def run(*words: str) -> Any:
            return await asyncio.to_thread(shell.run, *words)

        assert "io.github.a/files" in (await run("tools", "find", "files")).stdout
        refused = await run("tools", "add", "--mcp", "io.github.a/files", "/srv")
        assert refused.returncode == 1 and "npx -y @a/files@1.2.0" in refused.stderr and "--yes" in refused.stderr
        assert "mcp" not in yaml.safe_load(config.read_text())["tools"]
        added = await run("tools", "add", "--mcp", "--yes", "io.github.a/files", "/srv")
        assert added.returncode == 0, added.stderr
    command = yaml.safe_load(config.read_text())["tools"]["mcp"]["files"]["command"]
    assert command == ["npx", "-y", "@a/files@1.2.0", "serve", "--port", "0", "/srv"]


def test_a_person_is_asked_and_may_say_no(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    with shell.terminal("tools", "add", "--mcp", "/no/such/server", "--flag") as terminal:
        assert "/no/such/server --flag" in terminal.expect(r"Add it\?")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert not (shell.data / "config.yaml").exists()


async def test_what_the_registry_says_moves_nothing_on_the_terminal(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    shell.data.mkdir()

    def looked() -> tuple[str, str]:
        with shell.terminal("tools", "add", "--mcp", "net.example/tricks") as adding:
            adding.expect(r"Add it\?")
            adding.type("n\n")
            assert adding.end() == 1
        with shell.terminal("tools", "find", "tricks") as finding:
            finding.expect("add one with")
        return adding.raw, finding.raw

    async with serving(application()) as url:
        (shell.data / "config.yaml").write_text(f"tools: {{registry: '{url}'}}\n")
        asked, listed = await asyncio.to_thread(looked)
    assert "evil" in asked and "\n        | " in asked  # a line that is broken by us says so
    assert "u001b[2K" in asked and not any(
        trick in told for told in (asked, listed) for trick in ("\x1b[2K", "\x1b[8m")
    )
