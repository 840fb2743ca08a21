"""Rows, duplicates and splits."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.finetune.rows import Row, row_of, rows_of
from llmagent_os.finetune.settings import settings_of
from llmagent_os.finetune.split import distinct, near, split


@pytest.mark.parametrize(
    "value",
    [
        {"input": "a b", "output": "c"},
        {"prompt": "a b", "completion": "c"},
        {"text": "a b", "label": "c"},
        {"instruction": "a b", "input": "", "output": "c"},
        {"messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]},
        {"input": [{"role": "user", "content": "a b"}], "output": "c"},
    ],
)
def test_rows_by_the_names_that_others_use(value: dict[str, object]) -> None:
    row = row_of(value, "row 1")
    assert (row.text, row.output, row.origin) == ("a b", "c", "row 1")
    assert row_of(row.data(), "elsewhere") == row


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("text", "is str, not an object"),
        ({}, "its fields are: none"),
        ({"input": "a"}, "its fields are: input"),
        ({"input": "a", "output": " "}, "empty output"),
        ({"input": " ", "output": "a"}, "empty input"),
        ({"input": None, "output": "a"}, "no text as `input`: None"),
        ({"messages": [{"role": "user", "content": "a"}]}, "the last is not the assistant's"),
        ({"messages": [{"role": "boss", "content": "a"}]}, "no {role, content}"),
    ],
)
def test_a_bad_row_is_named(value: object, what: str) -> None:
    with pytest.raises(InvalidRequest, match="row 2") as error:
        rows_of([{"input": "a", "output": "b"}, value])
    assert what in error.value.message


def test_no_rows_is_an_error_that_says_so() -> None:
    with pytest.raises(InvalidRequest, match="there are no rows"):
        rows_of([])


@pytest.mark.parametrize("given", [{"rank": 0}, {"rnak": 8}, {"rate": "high"}, {"held": 1.5}, {"steps": True}])
def test_a_bad_setting_is_named(given: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(given))):
        settings_of(given)


def some(count: int, seed: int = 1) -> list[Row]:
    drawn = random.Random(seed)
    words = [f"word{n}" for n in range(400)]
    return rows_of({"input": " ".join(drawn.sample(words, 8)), "output": drawn.choice("ab")} for _ in range(count))


def test_duplicates_are_dropped_and_counted() -> None:
    rows = some(40)
    long = "the meeting of the board begins at nine in the large room on the second floor of the old house today"
    again = rows_of([{"input": long, "output": "a"}, {"input": long + " again", "output": "a"}])
    kept, same, nearly = distinct([*rows, *rows[:7], *again])
    assert (len(kept), same, nearly) == (41, 7, 1)


def test_nearly_the_same_is_what_shares_its_words() -> None:
    base = "please book a table for two persons at the italian place next friday evening at eight"
    rows = rows_of({"input": text, "output": "x"} for text in (base, base + " sharp", "what is the weather like"))
    assert near(rows) == [(0, 1)]


@settings(deadline=None)
@given(st.integers(20, 120), st.floats(0.05, 0.5), st.integers(0, 5))
def test_a_split_leaks_nothing(count: int, held: float, seed: int) -> None:
    rows = [Row(row.messages, row.output, row.origin, f"talk {n // 3}") for n, row in enumerate(some(count, seed))]
    found = split(rows, held, seed)
    assert {row.sum for row in found.train}.isdisjoint(row.sum for row in found.held)
    assert {row.group for row in found.train}.isdisjoint(row.group for row in found.held)
    assert len(found.train) + len(found.held) + found.dropped == count
    assert len(found.held) <= held * count + 1


def test_labels_are_held_out_evenly() -> None:
    rows = [Row(row.messages, "rare" if n % 10 == 0 else "often", row.origin) for n, row in enumerate(some(200))]
    held = [row.output for row in split(rows, 0.2).held]
    assert 3 <= held.count("rare") <= 4 and 34 <= held.count("often") <= 36


def test_answers_that_one_row_has_are_held_out_too() -> None:
    rows = [Row(row.messages, "none" if n % 5 else f"found {n}", row.origin) for n, row in enumerate(some(200))]
    held = [row.output for row in split(rows, 0.3).held]
    assert 46 <= held.count("none") <= 50 and 10 <= sum(each.startswith("found") for each in held) <= 13
