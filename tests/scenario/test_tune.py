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
    line = (
        "tune",
        str(rows),
        "--agent",
        "critic",
        "--model",
        "none",
        "--only",
        "linear",
        "--minutes",
        "1",
        "--report",
        str(page),
    )
    done = json.loads(shell.ok(*line, "--json").splitlines()[-1])
    assert done["chosen"] == "linear" and done["score"] >= 0.9 and done["asked"] >= 30 and done["version"] == 1
    assert done["back"] == "llmagent-os agents delete critic"
    assert shell.ok("run", "critic", "it was a lovely day in the garden").strip() == "good"
    assert "precision" in page.read_text() and "with mistakes of typing" in page.read_text()
    assert done["typos"][0] == pytest.approx(done["score"]) and done["typos"][1] <= done["typos"][0]
    agent = json.loads(shell.ok("agents", "show", "critic", "--json"))
    assert agent["spec"]["model"].startswith("critic-")
    shell.ok("agents", "configure", "critic", "model=robot")
    done = json.loads(shell.ok(*line, "--json").splitlines()[-1])
    assert done["version"] == 3 and done["back"].startswith("llmagent-os agents apply ")
    shell.ok(*done["back"].split()[1:])
    assert json.loads(shell.ok("agents", "show", "critic", "--json"))["spec"]["model"] == "robot"


def test_a_tuning_is_held_by_ctrl_c_gone_on_with_and_given_up(shell: Shell, rows: Path) -> None:
    line = ("tune", str(rows), "--agent", "critic", "--model", "none", "--only", "linear", "--minutes", "1")
    with shell.terminal(*line, "--report", "a page.html") as screen:
        screen.expect("Ctrl-C holds it")
        screen.interrupt()
        pid = screen.expect(r"tune --of \d+ --report 'a page.html';").rsplit(" --", 1)[0].rsplit(" ", 1)[1]
        assert screen.end() == 130
    found = {each["pid"]: each for each in shell.json("ps", "--all")}
    assert found[int(pid)]["status"] == "paused" and found[int(pid)]["name"] == "tune.critic"
    done = json.loads(shell.ok("tune", "--of", pid, "--json").splitlines()[-1])
    assert done["agent"] == "critic" and done["chosen"] == "linear"
    model = json.loads(shell.ok("agents", "show", "critic", "--json"))["spec"]["model"]
    source = Path(
        next(each["spec"]["source"] for each in shell.json("models", "list") if each["spec"]["name"] == model)
    )
    assert source.is_dir()
    shell.ok("agents", "delete", "critic")
    assert all(each["spec"]["name"] != model for each in shell.json("models", "list")) and not source.exists()
    pid = shell.ok(*line, "--detach").strip()
    shell.ok("kill", pid)
    assert "has made nothing" in shell.fails("tune", "--of", pid)
    assert "give a FILE of rows" in shell.fails("tune")


def test_few_rows_are_said_by_the_check_as_well(shell: Shell, rows: Path) -> None:
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:12]))
    done = shell.run("tune", str(rows), "--check")
    assert done.returncode == 1 and "bring at least 20" in done.stdout
    done = shell.run("tune", str(rows), "--agent", "critic", "--model", "none")
    assert done.returncode == 1 and "bring at least 20" in done.stderr.splitlines()[-1]


def test_what_is_wrong_is_said_before_anything_is_done(shell: Shell, rows: Path, tmp_path: Path) -> None:
    assert "240 rows: 2 labels" in shell.ok("tune", str(rows), "--check")
    (tmp_path / "test.csv").write_text("\n".join(rows.read_text().splitlines()[:3]))
    done = shell.run("tune", str(rows), "--check", "--against", str(tmp_path / "test.csv"))
    assert done.returncode == 1 and "2 rows say what a row does that is to measure: rows.csv:2 (" in done.stdout
    rows.write_text(rows.read_text() + "only one\n")
    assert "rows.csv:242 has not 2 columns" in shell.fails("tune", str(rows), "--agent", "critic")
    rows.write_text("text,label\n")
    assert "has no rows in it" in shell.fails("tune", str(rows), "--agent", "critic")
