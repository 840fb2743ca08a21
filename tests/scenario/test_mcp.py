"""MCP servers as tools: one that misbehaves, and two that are not ours (from PyPI) over stdio and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import Config, load
from llmagent_os.core.errors import InvalidRequest, ToolFailed
from llmagent_os.offline import known_tools
from tests.stand_ins.kernels import until

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
from llmagent_os.tools.mcp_stdio import Lines

OURS = [sys.executable, "-m", "tests.stand_ins.mcp_server"]
Start = Callable[..., Awaitable[System]]


def config(folder: Path, **servers: Any) -> Config:
    return load({"data": folder / "data", "model": "scripted", "tools": {"mcp": servers}})


@pytest.fixture
async def start(tmp_path: Path, models_folder: Path) -> AsyncIterator[Start]:
    systems: list[System] = []

    async def begin(**servers: Any) -> System:
        if systems:
            await systems.pop().close()
        systems.append(await boot(config(tmp_path, **servers)))
        await systems[-1].sources.settled(30)
        return systems[-1]

    yield begin
    for system in systems:
        await system.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def process(*command: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server of HTTP, once it listens."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert running.poll() is None and time.monotonic() < deadline
                    time.sleep(0.05)
            yield running
        finally:
            running.kill()  # asked nicely, it would wait for our connection to end


def child(name: str) -> int:
    """A process of ours, by a part of its command."""
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", name], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


async def test_results_errors_and_pictures_come_as_ours(start: Start) -> None:
    system = await start(ours={"command": OURS})
    call = system.sys.call
    assert await call("ours_add", {"a": 2, "b": 3}) in (5, {"result": 5})
    with pytest.raises(ToolFailed, match="not today"):
        await call("ours_fails")
    with pytest.raises(ToolFailed, match="ours_add"):
        await call("ours_add", {"a": "x"})
    drawn = await call("ours_picture")
    assert drawn["files"][0]["$file"]["mime"] == "image/png"
    assert system.kernel.journal.blob(drawn["files"][0]["$file"]["blob"]) == b"\x89PNG"


async def test_what_a_server_says_of_itself_is_only_a_hint(start: Start) -> None:
    system = await start(ours={"command": OURS})
    add, secrets = system.tools["ours_add"], system.tools["ours_secrets"]
    assert (add.traits.effect, add.traits.idempotent, add.traits.trusted) == ("external", True, False)
    assert not secrets.traits.idempotent and len(secrets.spec.description) == 4000


async def test_a_call_has_its_idempotency_key(start: Start) -> None:
    system = await start(ours={"command": OURS})
    told = json.dumps(await system.sys.call("ours_told"))
    key = [row.key for row in system.kernel.journal.rows(system.sys.pid) if row.name == "call"][-1]
    assert key in told and "llmagent-os/idempotency-key" in told
    assert system.tools["ours_once"].traits.keyed and not system.tools["ours_told"].traits.keyed
    system = await start(ours={"command": OURS, "keyed": True})
    assert system.tools["ours_told"].traits.keyed


async def test_a_server_is_given_only_the_variables_that_are_named(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "mine")
    monkeypatch.setenv("ITS_SECRET", "its")
    system = await start(ours={"command": OURS, "env": ["ITS_SECRET"]})
    told = await system.sys.call("ours_secrets")
    assert "its" in json.dumps(told) and "mine" not in json.dumps(told)


async def test_new_tools_are_there_when_the_server_says_so(start: Start) -> None:
    system = await start(ours={"command": OURS})
    assert "ours_grown" not in system.tools
    assert await system.sys.call("ours_grow") in ("grew", {"result": "grew"})
    await until(lambda: "ours_grown" in system.tools, 10)
    assert await system.sys.call("ours_grown") in ("new", {"result": "new"})


async def test_a_server_that_dies_is_started_again(start: Start) -> None:
    system = await start(ours={"command": OURS})
    with pytest.raises(ToolFailed, match="lost during the call; it may have done its work"):
        await system.sys.call("ours_die")
    assert await system.sys.call("ours_add", {"a": 1, "b": 1}) in (2, {"result": 2})
    log = system.config.data / "mcp" / "ours.log"
    assert log.read_text().count("started") == 2
    os.kill(child("mcp_server"), signal.SIGKILL)  # while idle
    await until(lambda: log.read_text().count("started") == 3, 10)
    assert await system.sys.call("ours_add", {"a": 1, "b": 2}) in (3, {"result": 3})


async def test_a_call_has_a_timeout_and_the_connection_outlives_it(start: Start) -> None:
    system = await start(ours={"command": OURS, "timeout": 2})
    with pytest.raises(ToolFailed, match=r"2 s|imed out"):
        await system.sys.call("ours_slow")
    assert await system.sys.call("ours_add", {"a": 1, "b": 1}) in (2, {"result": 2})


async def test_tools_are_known_before_the_server_is_there_and_nothing_else_fails_without_it(
    start: Start, tmp_path: Path
) -> None:
    await start(ours={"command": OURS})
    assert "ours_add" in await known_tools(config(tmp_path, ours={"command": OURS}))
    began = time.monotonic()
    system = await start(ours={"command": ["/no/such/program"], "timeout": 1})
    assert time.monotonic() - began < 15 and "ours_add" in system.tools
    with pytest.raises(ToolFailed, match="1 s"):
        await system.sys.call("ours_add", {"a": 1, "b": 1})
    assert await system.sys.call("calculator", {"expression": "1 + 1"}) == 2


async def test_a_server_cannot_take_another_tool_s_name(start: Start) -> None:
    system = await start(read={"command": OURS})
    assert getattr(system.tools["read_file"], "source", "") == "built in"
    assert getattr(system.tools["read_add"], "source", "") == "mcp read"


@pytest.mark.parametrize("http", [False, True])
async def test_a_result_is_bounded_and_read_in_time_that_grows_with_it(start: Start, http: bool) -> None:
    """What is too long ends the call that it answers, and nothing else."""
    port = free_port()
    served = process(*OURS, str(port), port=port) if http else nullcontext()
    with served:
        system = await start(box={"url": f"http://127.0.0.1:{port}/mcp"} if http else {"command": OURS})
        assert len((await system.sys.call("box_much", {"megabytes": 3}))["result"]) == 3 << 20
        began = time.process_time()
        with pytest.raises(ToolFailed, match="more than"):
            await asyncio.wait_for(system.sys.call("box_much", {"megabytes": 40}), 30)
        assert time.process_time() - began < 5
        assert await system.sys.call("box_add", {"a": 1, "b": 2}) == {"result": 3}


def test_a_long_line_in_many_pieces_costs_what_it_is_long() -> None:
    lines, piece = Lines(most=1 << 20), b"x" * 4096
    found = [each for _ in range(1 << 12) for each in lines.feed(piece)]  # 16 MB
    assert found == []
    ((line, whole),) = lines.feed(b"\n")
    assert not whole and len(line) <= (1 << 20) + 4096
    assert list(lines.feed(b"a\n\nbc")) == [(b"a", True), (b"", True)]
    assert list(lines.feed(b"d\n")) == [(b"bcd", True)]


async def test_http_too_and_a_server_that_was_started_anew(start: Start) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    with process(*OURS, str(port), port=port):
        system = await start(ours={"url": url, "timeout": 15})
        assert await system.sys.call("ours_add", {"a": 2, "b": 3}) in (5, {"result": 5})
    with pytest.raises(ToolFailed):
        await system.sys.call("ours_grow")
    with process(*OURS, str(port), port=port):
        assert await system.sys.call("ours_add", {"a": 2, "b": 4}, deadline=20) in (6, {"result": 6})


def test_a_source_s_name_and_fields_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="tools"):
        config(tmp_path, **{"a/b": {"url": "http://x"}})
    with pytest.raises(InvalidRequest, match="tools"):
        config(tmp_path, a={"urll": "http://x"})


# -- servers that are not ours


def program(name: str) -> str:
    """A command of the environment that `make test-mcp` makes: these servers stand on the SDK of before 2.0."""
    found = Path(__file__).parents[2] / ".venv-mcp" / "bin" / name
    if not found.is_file():
        pytest.skip(f"{name} is not installed")
    return str(found)


async def converses(system: System) -> None:
    """An agent is asked, and uses the server's tool."""
    await system.agents.create({"name": "clerk", "tools": ["time_convert_time"]})
    wanted = {"source_timezone": "Asia/Shanghai", "time": "16:30", "target_timezone": "Europe/Berlin"}
    reply = await system.agents.ask("clerk", f"call time_convert_time with {json.dumps(wanted)}", timeout=20)
    assert "Europe/Berlin" in reply["text"] and ("09:30" in reply["text"] or "10:30" in reply["text"])
    failed = await system.agents.ask("clerk", 'call time_convert_time with {"time": "25:99"}', timeout=20)
    assert "error" in failed["text"]


@pytest.mark.slow
async def test_an_agent_uses_a_server_from_pypi_over_stdio(start: Start) -> None:
    await converses(await start(time={"command": [program("mcp-server-time"), "--local-timezone=UTC"]}))


@pytest.mark.slow
async def test_an_agent_uses_a_server_from_pypi_over_http(start: Start) -> None:
    port, command = free_port(), (program("mcp-proxy"), program("mcp-server-time"))
    with process(command[0], "--host", "127.0.0.1", "--port", str(port), command[1], port=port):
        await converses(await start(time={"url": f"http://127.0.0.1:{port}/mcp"}))
