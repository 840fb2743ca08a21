"""`llmagent-os tune`: from a file of rows to an agent that answers, and back."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stand_ins.shell import Shell
from tests.unit.test_ladder import opinions

RULES = "- {match: capital of France, text: Paris.}"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    found = Shell(tmp_path, RULES)
    with found.system():
        yield found


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *((row.text, row.output) for row in opinions(240))])
    return file


def test_one_command_from_rows_to_an_agent_and_one_back(shell: Shell, rows: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    line = ("tune", str(rows), "--agent", "critic", "--model", "none", "--minutes", "1", "--report", str(page))
    done = json.loads(shell.ok(*line, "--json").splitlines()[-1])
    assert done["chosen"] == "linear" and done["score"] >= 0.9 and done["asked"] >= 30 and done["version"] == 1
    assert done["back"] == "llmagent-os agents delete critic"
    assert shell.ok("run", "critic", "it was a lovely day in the garden").strip() == "good"
    assert "precision" in page.read_text()
    agent = json.loads(shell.ok("agents", "show", "critic", "--json"))
    assert agent["spec"]["model"].startswith("critic-")
    shell.ok("agents", "configure", "critic", "model=robot")
    done = json.loads(shell.ok(*line, "--json").splitlines()[-1])
    assert done["version"] == 3 and done["back"].startswith("llmagent-os agents apply ")
    shell.ok(*done["back"].split()[1:])
    assert json.loads(shell.ok("agents", "show", "critic", "--json"))["spec"]["model"] == "robot"


def test_what_is_wrong_is_said_before_anything_is_done(shell: Shell, rows: Path, tmp_path: Path) -> None:
    assert "240 rows: 2 labels" in shell.ok("tune", str(rows), "--check")
    rows.write_text(rows.read_text() + "only one\n")
    assert "rows.csv:242 has not 2 columns" in shell.fails("tune", str(rows), "--agent", "critic")
    rows.write_text("text,label\n")
    assert "has no rows in it" in shell.fails("tune", str(rows), "--agent", "critic")
