"""The command line on a terminal: a person types, presses Ctrl-C, and sees tokens come."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.stand_ins.shell import COMMAND, Shell, Terminal, on_terminal

RULES = """
- {match: capital of France, text: Paris.}
- {match: slowly, text: one two three four five six seven eight nine ten eleven twelve, pace: 3}
- {match: thinks first, text: "It is 42.", delay: 1.5}
- {match: break, error: the script says so}
- {match: ^how many apples, step: 0, calls: [{name: stock, arguments: {what: apples}}]}
- {match: "7", step: 1, text: "There are **seven** apples:\\n\\n- `red`\\n- green"}
- {match: what was said, text: "{echo}"}
"""
PLUGIN = """
from llmagent_os import ToolKit
from llmagent_os.plugins import hookimpl

kit = ToolKit()


@kit.add(effect="read", trusted=True)
def stock(what: str) -> int:
    \"\"\"Say how many there are.\"\"\"
    return 7


@hookimpl
def tools():
    return dict(kit)
"""
SLOW = """
import asyncio
from llmagent_os.plugins import hookimpl


async def open_slowly(spec):
    await asyncio.sleep(3600)


@hookimpl
def engines():
    return {"slow": open_slowly}
"""
KEEPER = "name: keeper\nmodel: priced\ntools: [stock]\ndescription: Keeps the shop\n"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running system with a keeper, whose model costs money."""
    shell = Shell(tmp_path_factory.mktemp("terminal"), RULES)
    robot = {"engine": "scripted", "source": str(shell.home / "rules.yaml")}
    known = {"robot": robot, "priced": {**robot, "input_price": 1, "output_price": 2}}
    (shell.home / "models" / "models.yaml").write_text(json.dumps({"models": known}))
    (shell.home / "shop.py").write_text(PLUGIN)
    (shell.home / "keeper.yaml").write_text(KEEPER)
    with shell.system("--plugin", str(shell.home / "shop.py")):
        shell.ok("agents", "create", str(shell.home / "keeper.yaml"))
        yield shell


def say(person: Terminal, line: str, *expected: str) -> str:
    """Type a line at the prompt and wait for what is to come; what stood on the screen till then."""
    person.expect("> ")
    person.type(f"{line}\r")
    return "".join(map(person.expect, expected))


def test_a_chat_with_everything_a_person_does(shell: Shell) -> None:
    with shell.terminal("chat", "--session", "person") as person:
        person.expect("assistant listens, in session person")
        say(person, "What is the capital of France?", r"\nParis\.", r"\(\d+ tokens, [\d.]+ tokens/s, [\d.]+ s\)")
        say(person, "break", "llmagent-os: the script says so")
        say(person, "/status", r"assistant \(model default\), session person, at http://127.0.0.1:")
        say(person, "/agent nobody", "no agent named 'nobody'")
        say(person, "/hlep", "there is no command /hlep; did you mean '/help'?")
        say(person, "//hlep", r"\n/hlep")
        say(person, "/etc/passwd is a file", r"\n/etc/passwd is a file")
        say(person, "/new", r"session chat-\w{8}")
        say(person, "/undo", "there is no message to take back")
        say(person, "/help", "/quit")
        say(person, "/quit")
        assert person.end() == 0


def test_tools_are_named_markdown_is_shown_and_the_cost_is_told(shell: Shell) -> None:
    with shell.terminal("chat", "keeper") as person:
        said = say(person, "how many apples?", r"\$0\.000\d+\)")
        assert re.search(
            r"calling stock\(apples\) \.\.\.\s+There are seven apples:\s+• red\s+• green\s+\(\d+ tokens", said
        )
        assert "There are \x1b[1mseven\x1b[0m apples:" in person.raw and "• \x1b[36mred\x1b[0m" in person.raw
        assert "stock" in say(person, "/tools", "Say how many there are")
        said = say(person, "/model", r"scripted")
        assert re.search(r"\* priced\s+loaded", said) and re.search(r"\n  robot\s+default\s", said), said
        say(person, "/model nothing", "no model named 'nothing'")
        say(person, "/agent", "Keeps the shop")
        say(person, "/model robot", "keeper answers with robot from now on")
        say(person, "/model priced", "keeper answers with priced from now on")
        say(person, "/undo", r"forgotten: how many apples\?; what stock did stays done")
        say(person, "what was said?", r"\nwhat was said\?")
        say(person, "/retry", r"\nwhat was said\?(?s:.*)tokens/s")
        say(person, f"/save {shell.home}/said.md", "saved ")
        say(person, f"/save {shell.home}/rules.yaml", "is there already; choose another name")
        say(person, "\x04")
        assert person.end() == 0
    assert (shell.home / "said.md").read_text() == "**you**\n\nwhat was said?\n\n**keeper**\n\nwhat was said?\n"
    piped = shell.ok("chat", "keeper", stdin="how many apples?\n/help\n")
    assert piped == "There are **seven** apples:\n\n- `red`\n- green\n/help\n"  # as it is, and nothing else


def test_several_lines_are_one_message_and_the_history_is_kept(shell: Shell) -> None:
    with shell.terminal("chat") as person:
        say(person, "\x1b[200~what was said\nin two lines\x1b[201~", r"\nwhat was said\r?\nin two lines(?s:.*)tokens/s")
        say(person, '"""\rwhat was said\r\rin a block\r"""', r"\nwhat was said\r?\n\r?\nin a block(?s:.*)tokens/s")
        said = say(person, "it thinks first", r"It is 42\.")
        assert "⠙" in said and person.raw.rindex("\r\x1b[K") > person.raw.rindex("⠙")  # a sign of life, which is gone
        say(person, "\x04")
    history = Path(shell.environment["XDG_STATE_HOME"]) / "llmagent-os" / "chat_history"
    assert "+what was said\n+in two lines\n" in history.read_text() and history.stat().st_mode & 0o777 == 0o600
    with shell.terminal("chat", "--no-history") as person:
        say(person, "what was said here?", r"\nwhat was said here\?(?s:.*)tokens/s")
    assert "here?" not in history.read_text()


def test_ctrl_c_stops_the_answer_and_the_next_line_is_answered(shell: Shell) -> None:
    with shell.terminal("chat", "--session", "hasty") as person:
        say(person, "slowly", "two")
        person.interrupt()
        person.expect(r"\(stopped; it is not remembered: /retry asks it again\)")
        say(person, "/undo", "forgotten: slowly")
        say(person, "/undo", "there is no message to take back")
        began = time.monotonic()
        say(person, "capital of France", r"\nParis\.")
        assert time.monotonic() - began < 15  # the whole answer would have taken more than 30 seconds
        say(person, "\x04")
        assert person.end() == 0
    (pid,) = [str(process["pid"]) for process in shell.json("ps") if process["name"] == "assistant@hasty"]
    assert "the same as it was" in shell.ok("replay", pid)


def test_what_is_typed_meanwhile_stands_in_the_next_prompt_and_not_within_the_answer(shell: Shell) -> None:
    with shell.terminal("chat") as person:
        say(person, "it thinks first", r"\d s")
        person.type("capital of France\r")
        assert "capital" not in person.expect(r"It is 42\.(?s:.*)tokens/s")
        assert "> capital of France" in person.expect(r"\nParis\.")
        say(person, "\x04")
        assert person.end() == 0


def test_a_system_that_is_killed_answers_a_chat_when_it_runs_again(tmp_path: Path) -> None:
    shell = Shell(tmp_path, RULES.replace("pace: 3", "pace: 0.5"))

    def start(port: int) -> subprocess.Popen[str]:
        command = [COMMAND, "up", "--model", "robot", "--port", str(port)]
        up = subprocess.Popen(command, env=shell.environment, cwd=shell.home, stderr=subprocess.PIPE, text=True)
        shell.wait_ready(up)
        return up

    with start(0) as up, shell.terminal("chat") as person:
        say(person, "slowly", "two")
        up.kill()
        person.expect(r"stopped answering(?s:.*)/retry waits for the answer")
        port = urlsplit(json.loads((shell.data / "server.json").read_text())["url"]).port
        (shell.data / "server.json").unlink()
        assert port is not None
        with start(port) as again:
            say(person, "/retry", r"twelve(?s:.*)tokens/s")
            (row,) = [process for process in shell.json("ps") if process["name"].startswith("assistant@")]
            assert row["turns"] == 1  # it was not asked again
            say(person, "\x04")
            again.terminate()
            again.communicate(timeout=60)


def test_up_chat_stops_answers_and_never_the_system_but_for_ctrl_d(tmp_path: Path) -> None:
    with Shell(tmp_path, RULES).terminal("up", "--chat", "--model", "robot", "--port", "0") as person:
        person.expect(r"stop      Ctrl-D, or kill")
        person.expect("> ")
        for _ in range(2):
            person.interrupt()
            person.expect("Ctrl-D leaves")
        say(person, "slowly", "two")
        person.interrupt()
        person.expect(r"\(stopped; it is not remembered")
        say(person, "capital of France", r"\nParis\.")
        say(
            person, "\x04", r"to go on with this: llmagent-os chat assistant --session chat-\w+\s(?s:.*)nothing is lost"
        )
        assert person.end() == 0


def test_a_model_that_opens_is_no_reason_to_wait_and_kill_ends_it_all(tmp_path: Path) -> None:
    shell = Shell(tmp_path, RULES)
    known = {"snail": {"engine": "slow", "source": "shell"}}
    (tmp_path / "models" / "models.yaml").write_text(json.dumps({"models": known}))
    (tmp_path / "slow.py").write_text(SLOW)
    options = ("--model", "snail", "--port", "0", "--plugin", str(tmp_path / "slow.py"))
    with shell.terminal("up", "--chat", *options) as person:
        say(person, "hello", r"\d s")
        person.interrupt()
        person.expect(r"\(stopped; it is not remembered")
        person.expect("> ")
        person.process.send_signal(signal.SIGTERM)
        assert person.end() == 0
        assert person.raw.rindex("\x1b[?2004l") > person.raw.rindex("\x1b[?2004h")  # pastes are the shell's again
    assert not (tmp_path / "data" / "server.json").exists()


def test_top_draws_until_q(shell: Shell) -> None:
    shell.ok("run", "assistant", "hello", "--session", "watched")
    with shell.terminal("top") as person:
        person.expect("robot")
        person.type("q")
        assert person.end() == 0


HOLDS = """
import ctypes
from llmagent_os.gateway.console.opening import opening

with opening("big", 10_000_000):
    with open("/dev/zero", "rb") as file:
        file.read(4_000_000)
    ctypes.PyDLL(None).sleep(3)  # nothing else goes on in this interpreter, as while llama.cpp loads
print("done")
"""


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this machine does not say what a process has read")
def test_how_far_a_model_is_opened_is_shown_while_the_interpreter_stands_still() -> None:
    with on_terminal([sys.executable, "-c", HOLDS], os.environ) as person:
        person.expect(r"opening big: 4 of 10 MB, [12] s")
        person.expect("done")
        assert person.raw.rindex("\r\x1b[K") > person.raw.rindex("opening")  # gone without a trace


@pytest.mark.model
def test_the_prompt_comes_once_a_local_model_is_open(tmp_path: Path, tiny_model: Path) -> None:
    shell = Shell(tmp_path, RULES, models=tiny_model.parent)
    with shell.terminal("up", "--chat", "--model", "tiny", "--port", "0") as person:
        before = person.expect("> ")
        assert re.search(r"opening \S+: \d+ of 98 MB, 0 s(?s:.*)listens", before)
        person.type("/model\r")
        person.expect(r"\* \S+\s+default, tiny\s+loaded")
        say(person, "/quit")
        assert person.end() == 0
