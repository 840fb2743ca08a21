"""Plugins, documents and servers that are wrong: the system starts without them, says so, and has them once mended."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web

from llmagent_os.boot import PATIENCE, boot
from llmagent_os.config import load
from llmagent_os.core.errors import NotFound
from tests.stand_ins.gateway import gate
from tests.stand_ins.shell import Shell

GOOD = (
    "from llmagent_os import ToolKit\nfrom llmagent_os.plugins import hookimpl\nkit = ToolKit()\n"
    "@kit.add(effect='read')\ndef mine() -> str:\n    'Mine.'\n    return 'first'\n"
    "@hookimpl\ndef tools():\n    return kit\n"
)
WRONG = {
    "syntax": ("x = 1\ndef (:\n", "syntax.py:2: SyntaxError"),
    "imports": ("import os\nimport nowhere\n", "imports.py:2: ModuleNotFoundError: No module named 'nowhere'"),
    "raises": ("\n\nraise RuntimeError('at load')\n", "raises.py:3: RuntimeError: at load"),
    "leaves": ("import sys\nsys.exit(3)\n", "leaves.py:2: SystemExit: 3"),
    "hook": (GOOD.replace("return kit", "return 1 / 0"), "hook.py:10: ZeroDivisionError"),
    "shape": (GOOD.replace("return kit", "return [1]"), "shape.py:8: TypeError: `tools` returns list, not a Mapping"),
    "function": (GOOD.replace("return kit", "return {'f': print}"), "without `spec`"),
    "idle": (GOOD.replace("@hookimpl", ""), "no function of it is marked `hookimpl`"),
    "unknown": (GOOD.replace("def tools", "def toools"), "toools"),
}


@pytest.fixture
def plugins(tmp_path: Path) -> list[Path]:
    (tmp_path / "good.py").write_text(GOOD)
    for name, (text, _) in WRONG.items():
        (tmp_path / f"{name}.py").write_text(text)
    return [tmp_path / f"{name}.py" for name in [*WRONG, "absent", "good"]]


async def test_whatever_is_wrong_costs_itself_and_no_time(
    tmp_path: Path, models_folder: Path, plugins: list[Path]
) -> None:
    (tmp_path / "bad.yaml").write_text("openapi: 3.0.0\npaths: 5\n")
    (tmp_path / "half.yaml").write_text(
        "openapi: 3.0.0\nservers: [{url: 'http://127.0.0.1:1'}]\n"
        "paths: {/a: {get: {operationId: a}}, /b: {get: {parameters: [{$ref: '#/b'}]}}}\n"
    )
    hangs = [sys.executable, "-c", "import time; time.sleep(60)"]
    tools = {
        "openapi": {
            "bad": {"source": str(tmp_path / "bad.yaml")}, "half": {"source": str(tmp_path / "half.yaml")},
            "absent": {"source": str(tmp_path / "none.yaml")}, "away": {"source": "http://127.0.0.1:1/x.json"},
        },
        "mcp": {
            "dead": {"command": ["/no/such/program"]}, "hangs": {"command": hangs},
            "off": {"url": "http://127.0.0.1:1/mcp"},
        },
    }  # fmt: skip
    began = time.monotonic()
    async with gate(tmp_path / "data", tools=load({"tools": tools}).tools, plugins=plugins) as api:
        assert time.monotonic() - began < PATIENCE  # none of them is waited for
        assert await api.system.sys.call("mine") == "first" and "half_a" in api.system.tools
        deadline = time.monotonic() + 20
        while any(not each.settled.is_set() for name, each in api.system.sources.states.items() if name != "mcp hangs"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        status, told = await api.get("/v1/tools")
        missing = {each["source"]: each for each in told["missing"]}
        for name, (_, says) in WRONG.items():
            why = missing[f"plugin {tmp_path / name}.py"]["trouble"]
            assert says in why and "\n" not in why
        assert "is not there" in missing[f"plugin {tmp_path / 'absent'}.py"]["trouble"]
        assert "bad.yaml" in missing["openapi bad"]["trouble"] and "cannot read" in missing["openapi absent"]["trouble"]
        assert "cannot fetch" in missing["openapi away"]["trouble"] and missing["mcp off"]["trouble"]
        assert "/no/such/program" in missing["mcp dead"]["trouble"]
        assert missing["mcp hangs"]["trouble"] == "it has not answered yet"
        assert missing["openapi half"]["trouble"] is None and "#/b" in missing["openapi half"]["left_out"]["GET /b"]
        status, health = await api.get("/health", headers={"Authorization": ""})
        assert (status, health["status"]) == (200, "yellow") and health["parts"]["mcp dead"]
        assert str(tmp_path) not in str(health)


async def test_a_document_comes_once_its_server_is_there_and_with_it_the_agent_that_waits(
    tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.tools.sources.AGAIN", 0.05)
    there, document = False, {"openapi": "3.0.0", "paths": {"/a": {"get": {"operationId": "a"}}}}

    async def served(request: web.Request) -> web.StreamResponse:
        return web.json_response(document) if there else web.Response(text="<html>soon</html>", status=503)

    app = web.Application()
    app.router.add_get("/x.json", served)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "late.yaml").write_text("{name: late, model: scripted, tools: [shop_a]}")
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/x.json"
    settings = {"data": tmp_path / "data", "model": "scripted", "agents": tmp_path / "agents"}
    system = await boot(load(settings | {"tools": {"openapi": {"shop": {"source": url}}}}))
    try:
        assert {each["source"] for each in system.missing()} == {"openapi shop", "agent late"}
        with pytest.raises(NotFound):
            system.agents.get("late")
        there = True
        deadline = time.monotonic() + 20
        while system.missing():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert "shop_a" in system.tools and system.agents.get("late").spec.tools == ["shop_a"]
    finally:
        await system.close()
        await runner.cleanup()


def test_the_command_line_says_what_is_missing_and_loads_plugins_again(tmp_path: Path) -> None:
    shell, plugin = Shell(tmp_path, "[]"), tmp_path / "mine.py"
    shell.data.mkdir()
    (shell.data / "config.yaml").write_text(
        f"plugins: [{plugin}]\ntools: {{mcp: {{dead: {{command: [/no/such/program]}}}}, openapi: {{}}}}\n"
    )
    plugin.write_text("import nowhere\n")
    said = f"missing: plugin {plugin}: {plugin}:1: ModuleNotFoundError: No module named 'nowhere'"
    assert said in shell.run("tools", "list").stderr
    with shell.system() as up:
        assert up.stderr is not None
        told = ""
        while "mcp dead" not in told or said not in told:
            told += up.stderr.readline()
        assert said in shell.run("tools", "list").stderr
        doctor = shell.run("doctor")
        assert doctor.returncode == 1 and "mcp dead" in doctor.stdout and f"plugin {plugin}" in doctor.stdout
        assert shell.json("plugins", "list") == [{"name": str(plugin), "wrong": said.partition(f"{plugin}: ")[2]}]
        plugin.write_text(GOOD)
        assert shell.ok("plugins", "reload", "--json")
        assert shell.ok("tools", "test", "mine") == "first\n"
        plugin.write_text(GOOD.replace("first", "second"))
        shell.ok("plugins", "reload")
        assert shell.ok("tools", "test", "mine") == "second\n"
        plugin.write_text("def (")
        assert shell.run("plugins", "reload").returncode == 1
        assert shell.ok("tools", "test", "mine") == "second\n"
