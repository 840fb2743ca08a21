"""`audit`: the journal as it was recorded, a row that somebody changed, and who did what by which rule."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

from llmagent_os import LLMAgentOS
from tests.stand_ins.shell import Shell


def used(data: Path) -> None:
    """A data folder in which an agent has used a tool."""
    with LLMAgentOS(data=data, model="scripted") as system:

        @system.tool(effect="read", trusted=True)
        def add(a: int, b: int) -> int:
            return a + b

        system.create(name="clerk", tools=["add"])
        system.ask("clerk", 'call add with {"a": 2, "b": 40}')


def test_a_changed_row_is_named_and_tool_calls_are_shown(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    used(shell.data)
    done = shell.run("audit", "verify")
    assert done.returncode == 0 and "all is as it was recorded" in done.stdout and "not pinned" in done.stdout
    assert shell.ok("audit", "pin") == ""
    shell.environment["XDG_STATE_HOME"] = os.environ["XDG_STATE_HOME"]  # as whoever ran the system
    kept = tmp_path / "kept.jsonl"
    kept.write_text(shell.ok("audit", "pin"))
    done = shell.run("audit", "verify", "--copy", str(kept))
    assert done.returncode == 0 and "pinned: entry" in done.stdout
    call = json.loads(shell.run("audit", "show", "--json").stdout.splitlines()[-1])
    assert (call["tool"], call["decision"], call["arguments"]) == ("add", "allowed", {"a": 2, "b": 40})
    with sqlite3.connect(shell.data / "journal.db") as database:
        database.execute("UPDATE call SET principal = 'somebody' WHERE name = 'call'")
    done = shell.run("audit", "verify")
    assert done.returncode == 1 and f"row {call['seq']} of process {call['pid']}" in done.stdout
