"""The example with a document review: passages are quoted, held against the document, voted on; the author is told."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.scripted import ScriptedEngine
from tests.stand_ins.examples import loaded
from tests.stand_ins.players import review


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return loaded("document_review")


ENGINE = ScriptedEngine(ModelSpec("review-model", "scripted"), review)
GOOD = """# Bus

## Cost
We pay 310,000 a year. Fares bring in
a third of that.

## When
Ann Lee does it until May 4th.

## What may go wrong
If the bus breaks down, a taxi comes.
"""
TEXT = "# Fair\n\nTickets are 9,600, rooms\nare 7,000. Ann buys them by May 4th. It opens at 10:00 on the 6th.\n"


def reviewed(example: ModuleType, folder: Path, text: str) -> dict[str, object]:
    (folder / "document.md").write_text(text, encoding="utf-8")
    (made,) = example.play([folder / "document.md"], "review-model", ENGINE, folder / "data")
    return dict(made)


def test_a_document_that_says_all_it_must_is_accepted_by_its_own_passages(example: ModuleType, tmp_path: Path) -> None:
    made = reviewed(example, tmp_path, GOOD)
    assert made["verdict"] == "accept" and made["missing"] == []
    assert [each["passage"] for each in made["answers"]] == [
        "We pay 310,000 a year.", "Ann Lee does it until May 4th.", "If the bus breaks down, a taxi comes.",
    ]  # fmt: skip
    assert "accepted" in made["letter"]


@pytest.mark.parametrize(
    ("fault", "instead", "missing", "why"),
    [
        ("We pay 310,000 a year.", "We pay what it takes.", "how much it costs", "it has no amount"),
        ("until May 4th", "when there is time", "who does what until which day", "it has no date"),
        ("If the bus breaks down, a taxi comes.", "All will be well.", "what may go wrong", ""),
    ],
)
def test_one_planted_fault_is_found_and_told_to_the_author(
    example: ModuleType, tmp_path: Path, fault: str, instead: str, missing: str, why: str
) -> None:
    made = reviewed(example, tmp_path, GOOD.replace(fault, instead))
    assert made["verdict"] == "revise" and made["missing"] == [missing]
    (answer,) = [each for each in made["answers"] if each["about"] == missing]
    assert answer["why"] == why and answer["votes"] == ([None] * 3 if why else ["No."] * 3)
    assert missing in made["letter"]


def test_a_document_without_sentences_is_to_be_revised(example: ModuleType, tmp_path: Path) -> None:
    made = reviewed(example, tmp_path, "# Nothing\n")
    assert made["verdict"] == "revise" and len(made["missing"]) == 3
    assert {each["why"] for each in made["answers"]} == {"nothing was quoted that stands there"}


@pytest.mark.parametrize(
    ("quotes", "must", "said"),
    [
        (["Tickets 9,600"], "amount", ""),  # three words of six: not half
        (["Tickets are 9,600"], "amount", "Tickets are 9,600, rooms are 7,000."),
        (["The tickets are 9,600, and the rooms are 7,000."], "amount", "Tickets are 9,600, rooms are 7,000."),
        (["It costs 12,000 in all."], "amount", ""),
        (["It opens at 10:00 on the 6th."], "amount", ""),
        (["It opens at 10:00 on the 6th.", "Ann buys them by May 4th."], "date", "Ann buys them by May 4th."),
        (["Ann buys them by May 4th."] * 2, "", "Ann buys them by May 4th."),
        (["", "..."], "", ""),
    ],
)
def test_a_quote_is_what_the_document_says_or_nothing(
    example: ModuleType, quotes: list[str], must: str, said: str
) -> None:
    found = example.passage(TEXT, quotes, must)
    assert found["said"] == said and bool(found["why"]) == (not said)


def test_the_majority_of_judges_decides_and_a_doubtful_word_is_no_yes(example: ModuleType) -> None:
    assert example.count_votes(["Yes.", "no", "yes, it does"]) == "yes"
    assert example.count_votes(["Yes", "No.", "Perhaps"]) == "no"
