"""The sandbox with its real parts: what code may do in it, what it may not, and what is left of it afterwards."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import boot
from llmagent_os.config import load
from llmagent_os.core.errors import MissingExtra, ToolFailed
from llmagent_os.core.records import Grant, Ticket
from llmagent_os.core.trees import remove
from llmagent_os.tools.code import code_tools
from llmagent_os.tools.sandbox import Job, Result, Sandbox, SandboxSettings, levels, watch

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from probes import BOMBS, PROBES, Probe, World, world

LEVELS = ["bwrap", "landlock"]
SMALL: dict[str, Any] = {"memory": 96 << 20, "disk": 8 << 20, "processes": 16, "seconds": 1.0, "warm": 0}
REPRESENTATIVE = {
    "a file by its path", "a file by a link", "our environment, inherited", "environments of 1, self and parent",
    "environments of all", "write by a link", "TCP", "UDP", "Unix socket, by path", "Unix socket, abstract", "vsock",
    "signal to a process", "ptrace of a process", "daemon left behind", "become another user", "user namespace",
    "mount", "key ring", "System V shared memory", "io_uring", "another process's priority",
    "another process's group, its priority", "another process's processors", "another process's scheduling",
    "another process's turn at the disk", "another process's limits", "modes of a file outside",
    "modes by an open folder", "times of a file outside", "attributes of a file outside", "owner of a file outside",
    "datagrams, from a pair", "datagrams, from a raw pair",
}  # fmt: skip
QUICK = {"fork bomb", "memory, many processes", "disk, many files", "CPU", "output without end"}
HIDDEN = {
    "memory, once the first thread has ended",
    "disk, files without a name", "disk, files without a name, of a thread", "disk, files that are only in memory",
    "disk, files on their way", "disk, folders that move", "disk, a deep folder",
}  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux's")


def needs(level: str) -> None:
    if lacking := levels.trouble(level):  # type: ignore[arg-type]
        pytest.skip(lacking)


@pytest.fixture(params=LEVELS)
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    needs(request.param)
    made = Sandbox(SandboxSettings(level=request.param, **SMALL))
    yield made
    await made.close()


@pytest.fixture
def outside(tmp_path: Path) -> Any:
    for path in (tmp_path, *tmp_path.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    with world(tmp_path) as made:
        yield made


async def test_code_and_commands_have_a_workspace(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("3 4")
    code = "a, b = map(int, open('in.txt').read().split())\nprint(a * b)\nwritten = open('out.txt', 'w').write('done')"
    first = await sandbox.run(Job(code, folder=tmp_path))
    assert (first.stdout, first.stderr, first.exit, first.killed) == ("12\n", "", 0, None)
    second = await sandbox.run(Job(argv=("/bin/sh", "-c", "cat out.txt; echo oops >&2; exit 3"), folder=tmp_path))
    assert (second.stdout, second.stderr, second.exit) == ("done", "oops\n", 3)


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("n = 6\nn * 7", "42\n"),
        ("'a' + 'b'", "'ab'\n"),
        ("print(1)", "1\n"),
        ("print(1)\n2", "1\n2\n"),
        ("import sys\nsys.stdout.write('é')", "é\n1\n"),
        ("print(1)\nprint(2)", "1\n2\n"),
        ("print('a', end='')\n'b'", "a\n'b'\n"),
        ("None", ""),
        ("x = 1", ""),
        ("", ""),
        ("from __future__ import annotations\ndef f(n: Wrong): return n\nf(2)", "2\n"),
        ("for n in range(2):\n    n", ""),
    ],
)
async def test_the_value_of_a_last_expression_is_printed(sandbox: Sandbox, code: str, printed: str) -> None:
    assert (await sandbox.run(Job(code))).stdout == printed


async def test_a_failure_shows_the_code_s_own_lines(sandbox: Sandbox) -> None:
    done = await sandbox.run(Job("def f():\n    return 1 / 0\nf()"))
    assert done.exit == 1 and done.stdout == ""
    assert done.stderr.splitlines()[1] == '  File "main.py", line 3, in <module>'
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


async def test_nothing_is_inherited(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "sk-secret")
    done = await sandbox.run(Job("import os\nprint(sorted(os.environ))"))
    assert "API_KEY" not in done.stdout and "PATH" in done.stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the probes have its system call numbers")
async def test_no_probe_gets_out(sandbox: Sandbox, outside: World) -> None:
    tried = [each for each in PROBES if each.name in REPRESENTATIVE]
    assert len(tried) == len(REPRESENTATIVE)
    for probe in tried:
        code = probe.code
        for name, value in outside.facts.items():
            code = code.replace("{" + name + "}", str(value))
        done = await sandbox.run(Job(code, folder=outside.workspace))
        await asyncio.sleep(probe.seconds)
        assert "THROUGH" not in done.stdout and outside.secret not in done.stdout, probe.name
        assert not outside.changed() and not (probe.after and probe.after(outside)), probe.name


@pytest.mark.parametrize("bomb", [each for each in BOMBS if each.name in QUICK], ids=lambda bomb: bomb.name)
async def test_bombs_end(sandbox: Sandbox, tmp_path: Path, bomb: Probe) -> None:
    done = await sandbox.run(Job(bomb.code, folder=tmp_path))
    assert done.seconds < 15
    assert done.killed or done.exit
    assert watch.survey(tmp_path) < sandbox.settings.disk + (128 << 20)  # what a disk takes between two looks
    assert not left_over()


@pytest.mark.parametrize("bomb", [each for each in BOMBS if each.name in HIDDEN], ids=lambda bomb: bomb.name)
async def test_what_is_used_up_is_found_where_it_hides(tmp_path: Path, bomb: Probe) -> None:
    needs("bwrap")
    done = await Sandbox(SandboxSettings(**SMALL | {"seconds": 20.0})).run(Job(bomb.code, folder=tmp_path))
    assert done.killed == bomb.name.partition(",")[0], done
    for path in tmp_path.iterdir():
        remove(path) if path.is_dir() else path.unlink()


def left_over() -> list[int]:
    """Our descendants that are left."""
    return [
        pid for pid in watch.family(os.getpid())[1:] if "subreaper" in _command(pid).lower() or "bwrap" in _command(pid)
    ]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


async def test_output_is_capped() -> None:
    needs("bwrap")
    done = await Sandbox(SandboxSettings(output=100, warm=0)).run(Job("print('x' * 1000)"))
    assert done.stdout == "x" * 100 + "\n[901 more bytes were left out]"


async def test_the_pool_gives_a_fresh_sandbox_each_time(tmp_path: Path) -> None:
    needs("bwrap")
    pool = Sandbox(SandboxSettings(warm=2))
    await pool.prepare(tmp_path)
    for _ in range(3):
        done = await pool.run(
            Job("import os\nprint(os.path.exists('/tmp/x'))\nx = open('/tmp/x', 'w')", folder=tmp_path)
        )
        assert done.stdout == "False\n"
    await pool.close()
    assert not left_over()


async def test_a_cancelled_call_leaves_nothing(sandbox: Sandbox) -> None:
    task = asyncio.create_task(sandbox.run(Job("import time\ntime.sleep(60)")))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not left_over()


async def test_ways_out_are_those_on_the_list(tmp_path: Path) -> None:
    needs("bwrap")

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(line) + line)
        writer.close()

    async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        here = f"localhost:{port}"
        code = f"from urllib.request import urlopen\nprint(urlopen('http://{here}/a?b').read())"

        async def asked(*hosts: str, private: tuple[str, ...] = (), granted: tuple[str, ...] | None = None) -> str:
            sandbox = Sandbox(SandboxSettings(hosts=hosts, private=private, warm=0))
            done = await sandbox.run(Job(code, hosts=granted))
            return done.stdout + done.stderr

        assert "b'GET /a?b HTTP/1.1'" in await asked(here, private=(here,))
        assert "403" in await asked("example.org")
        assert "403" in await asked("*")  # this machine has to be named
        assert "403" in await asked(here, private=(here,), granted=("example.org",))
        assert "URLError" in await asked()  # no proxy, no network


async def test_tools_run_in_the_caller_s_workspace(tmp_path: Path) -> None:
    needs("bwrap")
    sandbox = Sandbox(SandboxSettings(warm=0))
    tools = code_tools(sandbox, tmp_path)
    ticket = Ticket("k", home="acme/writer")
    made = await tools["python"].run({"code": "open('note', 'w').write('hi')"}, ticket)
    assert made["exit"] == 0 and (tmp_path / "acme" / "writer" / "note").read_text() == "hi"
    seen = await tools["shell"].run({"command": "cat note; ls .. /", "seconds": 5}, ticket)
    assert seen["stdout"].startswith("hi") and "acme" not in seen["stdout"]
    other = await tools["shell"].run({"command": "ls"}, Ticket("k", home="acme/other"))
    assert other["stdout"] == ""
    narrow = await tools["shell"].run({"command": "ls"}, Ticket("k", home="acme/writer", grant=Grant(paths=("a/*",))))
    assert narrow["stdout"] == ""
    late = await tools["shell"].run({"command": "sleep 9", "seconds": 0.3}, ticket)
    assert late["killed"] == "it used more time than it may"
    with pytest.raises(ToolFailed, match="seconds"):
        await tools["shell"].run({"command": "ls", "seconds": -1}, ticket)
    assert tools["shell"].traits.meanings == {"command": "code"}


async def test_code_that_prints_nothing_or_lacks_a_module_is_told_so(tmp_path: Path) -> None:
    needs("bwrap")
    tools, ticket = code_tools(Sandbox(SandboxSettings(warm=0)), tmp_path), Ticket("k", home="acme/writer")
    lacks = await tools["python"].run({"code": "import pandaz.io as pd"}, ticket)
    assert lacks["exit"] == 1 and lacks["hint"].startswith("there is no module pandaz here; use those")
    assert "printed nothing" in (await tools["python"].run({"code": "a = 1"}, ticket))["hint"]
    assert "hint" not in await tools["python"].run({"code": "print(1)"}, ticket)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print(len('a,b\nc'.split('\n')))", "2\n"),  # a line break in a text, escaped once where JSON takes two
        ("x = f'{1}\n'\nprint(x * 2)", "1\n1\n\n"),
        ("print(3)}}", "3\n"),
        ("print('a\n')}", "a\n\n"),
    ],
)
async def test_code_that_slipped_on_its_way_through_json_is_what_was_meant(
    tmp_path: Path, code: str, said: str
) -> None:
    needs("bwrap")
    tools, ticket = code_tools(Sandbox(SandboxSettings(warm=0)), tmp_path), Ticket("k", home="acme/writer")
    done = await tools["python"].run({"code": code}, ticket)
    assert (done["stdout"], done["exit"]) == (said, 0), done["stderr"]


@pytest.mark.parametrize("code", ["print('a", "print(1}", 'x = """a\n', "}" * 50, "'\n" * 51])
async def test_code_that_is_wrong_is_told_so_as_it_is(tmp_path: Path, code: str) -> None:
    needs("bwrap")
    tools, ticket = code_tools(Sandbox(SandboxSettings(warm=0)), tmp_path), Ticket("k", home="acme/writer")
    done = await tools["python"].run({"code": code}, ticket)
    assert done["exit"] == 1 and "SyntaxError" in done["stderr"] and code.splitlines()[0] in done["stderr"]


async def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="protects nothing"):
        await Sandbox(SandboxSettings(level="subprocess")).run(Job("1"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="apt-get install bubblewrap"):
        await code_tools(Sandbox(), tmp_path)["python"].run({"code": "1"}, Ticket("k"))


async def test_root_does_not_run_code_as_root(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = await sandbox.run(Job("import os\nprint(os.getuid())"))
    assert done.stdout.strip().isdigit() and done.stdout != "0\n"
    if os.geteuid() == 0:
        (tmp_path / "bwrap").symlink_to(shutil.which("bwrap") or "")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingExtra, match="limits do not bind root"):
            await sandbox.run(Job("1"))


async def test_a_control_group_is_given_the_limits(tmp_path: Path) -> None:
    """A plain folder takes what the kernel's would, and stays: the files and their values are what is tested here."""
    needs("bwrap")
    done: Result = await Sandbox(SandboxSettings(cgroup=tmp_path, memory=96 << 20, processes=9, warm=0)).run(Job("1"))
    (group,) = tmp_path.iterdir()
    seen = {path.name: path.read_text() for path in group.iterdir()}
    assert done.exit == 0 and done.killed is None
    assert seen["memory.max"] == str(96 << 20) and seen["pids.max"] == "9" and seen["cgroup.procs"].isdigit()


async def test_an_agent_runs_code_and_the_system_closes_its_sandboxes(tmp_path: Path, models_folder: Path) -> None:
    needs("bwrap")
    system = await boot(load({"data": tmp_path, "model": "scripted", "tools": {"sandbox": {"warm": 1, "seconds": 5}}}))
    try:
        await system.agents.create({"name": "coder", "tools": ["python"]})
        answer = await system.agents.ask("coder", 'call python with {"code": "print(6 * 7)"}', timeout=20)
        assert "42" in str(answer)
        assert (tmp_path / "workspaces" / "default" / "coder@owner").is_dir()
    finally:
        await system.close()
    assert not left_over()
