"""The benches run and say what they promise to say. Sizes are tiny and nothing here depends on time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"
FIELDS = ["bench", "case", "metric", "value", "unit", "target", "ok"]


def results(name: str, *options: object) -> list[dict[str, Any]]:
    """The result lines of one bench; its exit status depends on the machine's speed."""
    command = [sys.executable, str(BENCH / f"{name}.py"), "--json", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    assert all(list(line) == FIELDS and line["bench"] == name for line in lines)
    assert done.returncode == int(any(line["ok"] is False for line in lines))
    return lines


def test_journal() -> None:
    lines = results("journal", "--steps", 200, "--rounds", 1)
    assert {line["case"] for line in lines} == {"1 process", "100 processes"}


def test_loop() -> None:
    lines = results("loop", "--runs", 4, "--rounds", 1)
    assert len({line["case"] for line in lines}) == 8


def test_spawn() -> None:
    lines = results("spawn", "--processes", 64)
    assert [line["metric"] for line in lines][-1] == "restart until one answers"


def test_overhead() -> None:
    lines = results("overhead", "--rounds", 1, "--delay", 0)
    assert {line["case"] for line in lines} >= {"1 x 4", "16 x 4", "64 x 2", "250 x 2"}


@pytest.mark.model
def test_engine(tiny_model: Path) -> None:
    lines = results("engine", "--streams", 2, "--tokens", 4, "--rounds", 1)
    assert lines[-1]["metric"] == "OS of direct"


def test_sim(tmp_path: Path) -> None:
    lines = results("sim", "--programs", 30, "--engines", 2, "--waiting", 50, "--curves", tmp_path)
    assert {line["case"] for line in lines} == {"fifo", "priority", "fair", "las", "deadline", "oracle"}
    assert all(file.read_text().startswith("<svg") for file in tmp_path.glob("*.svg")) and any(tmp_path.iterdir())


@pytest.mark.model
def test_fit(tiny_model: Path) -> None:
    lines = results("fit", "--streams", 2, "--tokens", 4, "--rounds", 1)
    assert {line["metric"] for line in lines} >= {"base", "each", "read", "save", "restore"}


def test_kill9() -> None:
    lines = results("kill9", "--kills", 2, "--agents", 3)
    exact = [line for line in lines if line["target"] == "<= 0"]
    assert len(exact) == 6
    assert all(line["value"] == 0 for line in exact)


def test_review() -> None:
    lines = results("review", "--model", "scripted", "--only", "new")
    assert [line["value"] for line in lines if line["metric"].endswith(", of 8")] == [0]  # an echo votes for nothing


def test_anomaly() -> None:
    lines = results("anomaly", "--runs", 120)
    values = {(line["case"], line["metric"].partition(",")[0]): line["value"] for line in lines}
    assert values["key: canary", "detected"] == 100 and values["honest runs", "paused"] == 0


NOUNS = """  1 a licence
00000001 03 n 01 entity 0 000 | that which is
00000002 03 n 02 animal 0 beast 0 002 @ 00000001 n 0000 %p 00000003 n 0000 | a living thing
00000003 03 n 01 tail 0 002 @ 00000001 n 0000 #p 00000002 n 0000 | the hindmost part
00000004 03 n 01 dog 0 003 @ 00000002 n 0000 ;c 00000001 n 0000 + 00000009 v 0101 | it barks
00000005 03 n 01 Rex 0 001 @i 00000004 n 0000 | a dog
"""


def test_reason(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    lines = results("reason", "--data", tmp_path, "--questions", 3, "--proofs", 9)
    assert "16 read in" in lines[0]["metric"]
    values = {line["metric"]: line["value"] for line in lines}
    assert "10 facts with their reasons" in values and values["refused of 9 by the checker"] == 0


def test_reason_says_where_its_data_is_from(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "reason.py"), "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1 and "apt-get install wordnet-base" in done.stderr


def test_everyday() -> None:
    lines = results("everyday", "--model", "scripted", "--every", 3)
    passed = {line["case"]: line["value"] for line in lines}
    assert passed == {f"{side}: {which} transcripts": 100 if which == "right" else 0
                      for side in ("agent", "plain") for which in ("right", "wrong")}  # fmt: skip


def test_everyday_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    kept = tmp_path / "rows.jsonl"
    options = ("--model", "right", "--only", "files-read,sums", "--resume", kept)
    lines = results("everyday", *options, "--sides", "agent", "--offset", 10)
    assert {line["metric"]: line["value"] for line in lines}["right of 2"] == 100
    before = kept.read_text()
    kept.write_text(before.replace('"faults": []', '"faults": ["it denies what it did"]', 1))
    lines = results("everyday", *options, "--offset", 10)
    assert kept.read_text().count("\n") == 4, "only the other side was done"
    found = {(line["case"], line["metric"]): line["value"] for line in lines}
    assert found["agent", "right of 2"] == 50 and found["plain", "right of 2"] == 100
    assert found["agent over plain", "right"] == -50
