"""A person at the terminal is asked there: what will be done, and yes, no or other values; and talks with any key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stand_ins.shell import COMMAND, Shell

PLUGIN = """
from llmagent_os import ToolKit
from llmagent_os.plugins import hookimpl

kit = ToolKit()


@kit.add(meanings={"to": "recipient", "amount": "amount"})
def pay(to: str, amount: float) -> str:
    \"\"\"Pay money.\"\"\"
    return f"paid {amount:g} to {to}"


@hookimpl
def tools():
    return dict(kit)
"""
CLERK = """
name: clerk
tools: [pay]
policy: {tools: {pay: ask}}
budget: {tokens: 1000000}
"""
RULES = """
- {match: think first, step: 0, delay: 3, calls: [{name: pay, arguments: {to: Mallory, amount: 5}}]}
"""
PAY = 'call pay with {"to": "Mallory", "amount": 5}'


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running system whose clerk asks before it pays."""
    shell = Shell(tmp_path_factory.mktemp("asking"), RULES)
    (shell.home / "bank.py").write_text(PLUGIN)
    (shell.home / "clerk.yaml").write_text(CLERK)
    with shell.system("--plugin", str(shell.home / "bank.py")):
        shell.ok("agents", "create", str(shell.home / "clerk.yaml"))
        yield shell


def test_run_asks_at_the_terminal_and_does_what_is_said(shell: Shell) -> None:
    for typed, paid in (("y\n", True), ("n\n", False), ("\n", False)):
        with shell.terminal("run", "clerk", PAY) as person:
            said = person.expect(r"Allow it\? \[y/N/edit\] ")
            assert "clerk (process" in said and "wants to pay" in said and 'to = "Mallory"' in said
            assert "why you are asked: the policy has every call of it asked about" in said
            person.type(typed)
            person.expect(r"\(pay was allowed by owner\)" if paid else r"\(pay was refused by owner\)")
            person.expect("paid 5 to Mallory" if paid else "nobody approved of it")
            assert person.end() == 0


def test_what_was_typed_before_a_question_does_not_answer_it(shell: Shell) -> None:
    with shell.terminal("chat", "clerk") as person:
        person.expect("> ")
        person.type("think first\r")
        person.expect(r"\d s")
        person.type("y\n")
        person.expect(r"\[y/N/edit\] ")
        person.type("n\n")
        assert "n" in person.expect(r"\(pay was refused by owner\)")  # what is typed now is shown
        person.expect("nobody approved of it")


def test_a_person_puts_other_values(shell: Shell) -> None:
    with shell.terminal("run", "clerk", PAY) as person:
        person.expect(r"\[y/N/edit\] ")
        person.type("what?\n")
        person.expect("y lets it happen once")
        person.expect(r"\[y/N/edit\] ")
        person.type("edit\n")
        person.expect(r'to \["Mallory"\] ')
        person.type("Ann\n")
        person.expect(r"amount \[5\] ")
        person.type("\n")
        person.expect("paid 5 to Ann")
        assert person.end() == 0


def test_chat_asks_and_goes_on(shell: Shell) -> None:
    with shell.terminal("chat", "clerk") as person:
        person.expect("> ")
        person.type(f"{PAY}\n")
        person.expect(r"\[y/N/edit\] ")
        person.type("y\n")
        person.expect("paid 5 to Mallory")
        person.expect("> ")
        person.type("hello\n")
        person.expect(r"\nhello")
        person.type("/quit\n")
        assert person.end() == 0


def test_ctrl_c_takes_the_question_back_and_says_so(shell: Shell) -> None:
    with shell.terminal("chat", "clerk") as person:
        person.expect("> ")
        person.type(f"{PAY}\n")
        person.expect(r"\[y/N/edit\] ")
        person.interrupt()
        person.expect("what was asked about it is taken back")
        person.expect("> ")
        person.type("/quit\n")
        assert person.end() == 0
    assert shell.ok("approvals", "list") == "nobody asks for anything\n"


def test_what_somebody_else_answers_meanwhile_ends_the_asking(shell: Shell) -> None:
    with shell.terminal("run", "clerk", PAY) as person:
        person.expect(r"\[y/N/edit\] ")
        (asked,) = shell.json("approvals", "list")
        assert shell.ok("approvals", "refuse", asked["id"]) == "clerk may not pay\n"
        person.expect(r"\(pay was refused by owner\)")
        assert person.end() == 0
    assert "it was refused by owner" in shell.ok("approvals", "show", asked["id"])
    assert shell.json("audit", "show", "--last", "1")[0]["decision"] == "refused by owner"


def test_a_flow_has_somebody_choose_at_the_terminal_or_by_a_command(shell: Shell) -> None:
    node = "{human: 'Which?', ask: choose, options: [refund, \"no\\e[2K\"]}"
    (shell.home / "desk.yaml").write_text(f"name: desk\nflow: {{nodes: {{what: {node}}}}}\n")
    shell.ok("agents", "create", str(shell.home / "desk.yaml"))
    with shell.terminal("run", "desk", "a lamp") as person:
        said = person.expect(r"Which\? ")
        assert "desk" in said and "asks you to choose" in said and r'2  "no\u001b[2K"' in said
        person.type("1\n")
        person.expect(r"\(choose was answered by owner\)")
        person.expect("refund")
        assert person.end() == 0
    with shell.terminal("run", "desk", "a lamp") as person:
        person.expect(r"Which\? ")
        (asked,) = shell.json("approvals", "list")
        assert "no answer" in shell.fails("approvals", "answer", asked["id"], "replace")
        assert 'goes on with "refund"' in shell.ok("approvals", "answer", asked["id"], "refund")
        person.expect(r"\(choose was answered by owner\)")
        assert person.end() == 0


FORM = "{type: object, properties: {amount: {type: number, minimum: 1}, reason: {type: string}}, required: [amount]}"


def test_what_is_no_answer_is_asked_again_and_only_a_clear_no_refuses(shell: Shell) -> None:
    (shell.home / "sum.yaml").write_text(
        "name: sum\nflow: {nodes: {what: {human: 'Which?', ask: choose, options: [refund, replace]},"
        f" much: {{human: 'How much?', ask: fill, schema: {FORM}}}}},"
        " edges: [{from: what, to: much}]}\n"
    )
    shell.ok("agents", "create", str(shell.home / "sum.yaml"))
    with shell.terminal("run", "sum", "a lamp") as person:
        for typed in ("lamp", "3", ""):
            person.expect(r"Which\? ")
            person.type(f"{typed}\n")
            person.expect(r"Refuse, .*\? \[y/N\] " if not typed else "this is no answer")
        person.type("\n")
        person.expect(r"Which\? ")
        person.type("2\n")
        for amount in ("0", "[", "5"):
            person.expect(r"amount \(number, at least 1\) ")
            person.type(f"{amount}\n")
            person.expect(r"reason \(string\) ")
            person.type("12\n")
        person.expect(r"\(fill was answered by owner\)")
        assert person.end() == 0
    with shell.terminal("run", "sum", "a lamp") as person:
        person.expect(r"Which\? ")
        person.type("\n")
        person.expect(r"Refuse, .*\? \[y/N\] ")
        person.type("y\n")
        person.expect(r"\(choose was refused by owner\)")
        assert person.end() == 1


def test_flow_run_asks_at_the_terminal_and_ctrl_c_says_what_becomes_of_it(shell: Shell) -> None:
    node = "{human: 'Which?', ask: choose, options: [refund, replace]}"
    (shell.home / "pick.yaml").write_text(f"name: pick\nflow: {{nodes: {{what: {node}}}}}\n")
    with shell.terminal("flow", "run", str(shell.home / "pick.yaml"), "a lamp") as person:
        for typed in ("lamp", "2"):
            person.expect(r"Which\? $")
            person.type(f"{typed}\n")
        person.expect(r"\(choose was answered by owner\)")
        person.expect("replace")
        assert person.end() == 0
    with shell.terminal("flow", "run", "pick", "a lamp") as person:
        person.expect(r"Which\? $")
        person.interrupt()
        said = person.expect("waits for an answer: llmagent-os approvals list")
        assert person.end() == 130
    (asked,) = shell.json("approvals", "list")
    run = said.partition("(run ")[2].split()[0]
    assert f"run {run} goes on" in said and f"llmagent-os kill {run}" in said
    assert "asks" in shell.ok("flow", "show", run)
    shell.ok("kill", run)
    assert shell.ok("approvals", "list") == "nobody asks for anything\n"
    with shell.terminal("flow", "run", "pick", "a lamp") as person:
        person.expect(r"Which\? $")
        (asked,) = shell.json("approvals", "list")
        shell.ok("approvals", "answer", asked["id"], "refund")
        person.expect(r"\(choose was answered by owner\)")
        person.expect("refund")
        assert person.end() == 0


def test_without_a_terminal_a_command_says_what_it_waits_for(shell: Shell) -> None:
    command = [COMMAND, "run", "clerk", PAY]
    with subprocess.Popen(
        command, env=shell.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as run:  # fmt: skip
        assert run.stderr is not None and run.stdout is not None
        told = ""
        while "answer with" not in told:
            told += run.stderr.readline()
        (asked,) = shell.json("approvals", "list")
        assert (
            f"approvals allow {asked['id']}" in told
            and [each["status"] for each in shell.json("ps")].count("asks") == 1
        )
        assert "asks" in shell.ok("top", "--once")
        assert shell.ok("approvals", "allow", asked["id"], "--set", "to=Ann") == "clerk may pay\n"
        assert "paid 5 to Ann" in run.stdout.read()


def test_a_paused_agent_is_told_about(shell: Shell) -> None:
    shell.ok("run", "clerk", "hello", "--session", "held")
    (pid,) = [str(each["pid"]) for each in shell.json("ps") if each["name"] == "clerk@held"]
    shell.ok("pause", pid)
    with shell.terminal("run", "clerk", "hello", "--session", "held") as person:
        person.expect(rf"waiting: process {pid} \(clerk@held\) is paused; let it go on with: llmagent-os resume {pid}")
        shell.ok("resume", pid)
        person.expect("hello")
        assert person.end() == 0


def test_another_key_and_url_are_used_where_they_are_given(shell: Shell, tmp_path: Path) -> None:
    made = shell.ok("keys", "add", "--principal", "ann", "--role", "user", "--scope", "processes:read")
    key = made.strip()
    told = json.loads((shell.data / "server.json").read_text())
    far = Shell(tmp_path, "[]")
    far.environment |= {"LLMAGENT_OS_URL": told["url"], "LLMAGENT_OS_KEY": key}
    assert far.ok("run", "clerk", "hello", "--session", "anns") == "hello\n"
    assert [each["principal"] for each in far.json("ps") if each["name"] == "clerk@anns"] == ["ann"]
    assert "processes:write" in far.fails("pause", "1")
    del far.environment["LLMAGENT_OS_KEY"], far.environment["LLMAGENT_OS_URL"]
    (tmp_path / "key").write_text(f"{key}\n")
    options = ("--url", told["url"], "--key-file", str(tmp_path / "key"))
    assert far.ok(*options, "run", "clerk", "hello") == "hello\n"
    assert "LLMAGENT_OS_KEY" in far.fails("--url", told["url"], "ps")
    assert "holds no key" in far.fails("--key-file", os.devnull, "ps")
    own = {"LLMAGENT_OS_KEY": key}
    shell.environment |= own
    try:
        assert {each["principal"] for each in shell.json("ps")} <= {"ann", "*"}
    finally:
        shell.environment.pop("LLMAGENT_OS_KEY")


def test_accounts_show_how_much_may_be_drawn(shell: Shell) -> None:
    shell.ok("run", "clerk", "hello")
    (drawn,) = [each for each in shell.json("accounts", "list")[0]["accounts"] if each["account"] == "agent/clerk"]
    assert drawn["limit"] == 1_000_000 and drawn["used"] > 0
    assert "LIMIT" in shell.ok("accounts", "list") and "1000000" in shell.ok("accounts", "list")


def test_h_is_help(shell: Shell) -> None:
    assert shell.ok("-h") == shell.ok("--help") and shell.ok("ps", "-h") == shell.ok("ps", "--help")
    assert shell.ok("approvals", "allow", "-h") == shell.ok("approvals", "allow", "--help")


INTERRUPTED = """
import os, signal, sys
from llmagent_os.gateway import cli


class Finder:
    def find_spec(self, name, *rest):
        if name == "MODULE":
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, Finder())
sys.argv = ["llmagent-os", "ps"]
cli.main()
"""


@pytest.mark.parametrize("module", ["typer", "llmagent_os.core.errors", "llmagent_os.gateway.console.processes"])
def test_ctrl_c_while_a_command_is_imported_shows_no_traceback(shell: Shell, module: str) -> None:
    """Before our own first line the interpreter has the word; from then on, whenever it comes."""
    code = INTERRUPTED.replace("MODULE", module)
    done = subprocess.run(
        [sys.executable, "-c", code], env=shell.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr and done.returncode in (-signal.SIGINT, 1, 130)
