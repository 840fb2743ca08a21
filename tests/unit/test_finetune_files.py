"""Rows from files, and what is wrong with them."""

from dataclasses import replace
from pathlib import Path

import pytest

from llmagent_os.core.errors import InvalidRequest, NotFound
from llmagent_os.finetune.check import check
from llmagent_os.finetune.read import read
from llmagent_os.finetune.rows import rows_of
from tests.unit.test_ladder import opinions

DIALOGUE = """User: When are you open?
Assistant: From nine to five.
On Sundays never.
User: And on Mondays?
Assistant: As on any day.

Customer: Hello
Agent: Hello, how can I help?
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"input": "a b", "output": "c"}\n\n{"input": "d", "output": "e"}\n'),
        ("a.json", '[{"input": "a b", "output": "c"}, {"input": "d", "output": "e"}]'),
        ("a.csv", '\ufeffText,Label\n"a b",c\nd,e\n'),
        ("a.tsv", "text\tlabel\na b\tc\nd\te\n"),
    ],
)
def test_the_same_rows_from_every_kind_of_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    rows = read(tmp_path / name)
    assert [(row.text, row.output) for row in rows] == [("a b", "c"), ("d", "e")]
    assert all(row.origin.startswith(name) for row in rows)


def test_every_answer_of_a_dialogue_is_a_row_with_what_was_said_before(tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text(DIALOGUE)
    first, second, third = read(tmp_path / "talk.txt")
    assert first.output == "From nine to five.\nOn Sundays never."
    assert [each.role for each in second.messages] == ["user", "assistant", "user"] and second.text == "And on Mondays?"
    assert first.group == second.group != third.group and third.origin == "talk.txt:8"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.jsonl", b'{"input": "a", "output": "b"}\n{"input": \n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b'{"input": "a"}\n', "a.jsonl:1 has no `input` and `output`"),
        ("a.json", b"{}", "must hold a list"),
        ("a.csv", b"text,label\na,b\nc\n", "a.csv:3 has not 2 columns"),
        ("a.csv", b'text,label\n"a,b\n', "is no CSV"),
        ("a.csv", b"text,label\nok,ok\n\xff,x\n", "a.csv:3 is not UTF-8"),
        ("a.txt", b"hello\n", "a.txt:1 says not who speaks"),
        ("a.jsonl", b"\n", "has no rows in it"),
        ("a.pdf", b"", "they end in .jsonl"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequest) as error:
        read(tmp_path / name)
    assert what in error.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be read"):
        read(tmp_path / "a.csv")


def test_contradictions_and_rare_labels_are_told() -> None:
    long = "the parcel for the house at the corner of the long street has not come in the last three weeks at all"
    rows = [{"input": f"case {n} about thing {n * 7}", "output": "often"} for n in range(200)]
    rows += [{"input": long, "output": "often"}, {"input": f"{long} sir", "output": "rare"}]
    rows += [{"input": "case 3 about thing 21", "output": "rare"}]
    found = check(rows_of(rows))
    assert (found.rows, found.labels) == (203, {"often": 201, "rare": 2})
    assert [(each.what, len(each.rows)) for each in found.found] == [("pairs of rows contradict each other", 2)]
    said = " ".join(found.troubles)
    assert "row 4 (often) and row 203 (rare)" in said and "row 201 (often) and row 202 (rare)" in said
    assert "fewer than 10 rows: rare" in said and "'often' has 201 rows" in said


def test_doubles_and_leaks_are_named_by_where_they_stand() -> None:
    long = "the parcel for the house at the corner of the long street has not come in the last three weeks at all"
    rows = [{"input": f"{word} {n}", "output": word} for word in ("one", "two") for n in range(30)]
    rows += [
        {"input": "one 3", "output": "one"},
        {"input": long, "output": "one"},
        {"input": f"{long} sir", "output": "one"},
    ]
    measuring = rows_of([{"input": f"{long} madam", "output": "two"}, {"input": "two 7", "output": "two"}], "test")
    found = {each.what: each for each in check(rows_of(rows), measuring).found}
    assert found["rows say the same as another"].rows == (("row 61 (one)", "row 4 (one)"),)
    assert found["rows say nearly the same as another"].rows == (("row 63 (one)", "row 62 (one)"),)
    leaks = found["rows say what a row does that is to measure"]
    assert ("row 62 (one)", "test 1 (two)") in leaks.rows and ("row 38 (two)", "test 2 (two)") in leaks.rows
    assert len(leaks.rows) == 3 and leaks.trouble


def test_labels_that_were_changed_are_doubted_and_others_hardly() -> None:
    rows = opinions(600)
    wrong = {id(row) for row in rows[::25]}
    changed = [
        replace(row, output="bad" if row.output == "good" else "good") if id(row) in wrong else row for row in rows
    ]
    (doubts,) = (each for each in check(changed, doubts=True).found if "speak against" in each.what)
    planted = {changed[n].origin for n in range(0, 600, 25)}
    told = {one.split(" (")[0] for one, _ in doubts.rows}
    assert len(planted & told) >= 18 and len(told - planted) <= 6 and not doubts.trouble
    assert {one.split(" (")[0] for one, _ in doubts.rows[:10]} <= planted
