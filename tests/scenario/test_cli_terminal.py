"""The command line on a terminal: a person types, presses Ctrl-C, and sees tokens come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stand_ins.shell import Shell

RULES = """
- {match: capital of France, text: Paris.}
- {match: slowly, text: one two three four five six seven eight nine ten eleven twelve, pace: 3}
- {match: break, error: the script says so}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running system."""
    shell = Shell(tmp_path_factory.mktemp("terminal"), RULES)
    with shell.system():
        yield shell


def test_a_chat_with_everything_a_person_does(shell: Shell) -> None:
    with shell.terminal("chat", "--session", "person") as person:
        person.expect("assistant listens, in session person")
        person.expect("> ")
        person.type("What is the capital of France?\n")
        person.expect(r"\nParis\.")
        person.type("break\n")
        person.expect("llmagent-os: the script says so")
        person.type("/status\n")
        person.expect(r"assistant \(model default\), session person, at http://127.0.0.1:")
        person.type("/agent nobody\n")
        person.expect("no agent named 'nobody'")
        person.type("/new\n")
        person.expect(r"session chat-\w{8}")
        person.type("/help\n")
        person.expect("/quit")
        person.type("/quit\n")
        assert person.end() == 0


def test_ctrl_c_stops_the_answer_and_the_next_line_is_answered(shell: Shell) -> None:
    with shell.terminal("chat", "--session", "hasty") as person:
        person.expect("> ")
        person.type("slowly\n")
        person.expect("two")
        person.interrupt()
        person.expect(r"\(stopped\)")
        began = time.monotonic()
        person.expect("> ")
        person.type("capital of France\n")
        person.expect(r"\nParis\.")
        assert time.monotonic() - began < 15  # the whole answer would have taken more than 30 seconds
        person.expect("> ")
        person.type("\x04")
        assert person.end() == 0
    (pid,) = [str(process["pid"]) for process in shell.json("ps") if process["name"] == "assistant@hasty"]
    assert "the same as it was" in shell.ok("replay", pid)


def test_up_chat_ends_with_ctrl_c_at_the_prompt(tmp_path: Path) -> None:
    with Shell(tmp_path, RULES).terminal("up", "--chat", "--model", "robot", "--port", "0") as person:
        person.expect("LLMAgentOS runs")
        person.expect("> ")
        person.type("capital of France\n")
        person.expect(r"\nParis\.")
        person.expect("> ")
        time.sleep(0.5)  # the prompt stands before readline listens
        person.interrupt()
        person.expect("nothing is lost")
        assert person.end() == 0


def test_top_draws_until_q(shell: Shell) -> None:
    shell.ok("run", "assistant", "hello", "--session", "watched")
    with shell.terminal("top") as person:
        person.expect("robot")
        person.type("q")
        assert person.end() == 0
