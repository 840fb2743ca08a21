"""The ladder of ways to do a task, and its first rung."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest, LLMAgentOSError, MissingExtra, Unsupported
from llmagent_os.finetune.ladder import Judged, climb, score
from llmagent_os.finetune.linear import fit
from llmagent_os.finetune.pipeline import make
from llmagent_os.finetune.report import page
from llmagent_os.finetune.rows import Row, rows_of
from llmagent_os.finetune.rungs import Task, task_of
from llmagent_os.llm import LLM

GOOD, BAD = ["great", "lovely", "good", "fine", "wonderful"], ["bad", "awful", "poor", "terrible", "sad"]
WORDS = ["the", "a", "film", "book", "day", "it", "was", "and", "very", "table", "lamp", "order", "house", "garden"]


def opinions(count: int, seed: int = 1) -> list[Row]:
    """Texts of which one word says what the label is."""
    drawn = random.Random(seed)
    rows = []
    for _ in range(count):
        label = drawn.choice(("good", "bad"))
        words = [*drawn.choices(WORDS, k=9), drawn.choice(GOOD if label == "good" else BAD)]
        drawn.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    return rows_of(rows)


@dataclass
class Played:
    """A rung that is right in a share of cases, as it was told."""

    name: str
    right: float
    fails: str = ""
    learned: list[int] = field(default_factory=list)
    asked: int = 0
    weight: float = 1.0

    def learn(self, train: Sequence[Row], held: Sequence[Row], seconds: float) -> None:
        if self.fails:
            raise MissingExtra(self.fails)
        self.learned.append(len(train))

    def answer(self, row: Row) -> str:
        self.asked += 1
        return row.output if (self.asked * 37) % 100 < self.right * 100 else "?"

    def keep(self, folder: Path, told: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def up(*rungs: Played) -> tuple[Any, Any]:
    rows = opinions(700)
    return climb(rungs, task_of(rows), rows[:500], rows[500:], 30.0)


def test_the_best_rung_is_found_and_the_poor_ones_are_left_early() -> None:
    rungs = [Played("one", 0.3), Played("two", 0.5), Played("three", 0.9), Played("four", 0.4)]
    best, found = up(*rungs)
    assert best.name == found.chosen == "three"
    assert sum(len(each.learned) for each in rungs) == 6
    assert rungs[2].learned[-1] == 500 and rungs[2].learned[0] < 500
    assert {each.round for each in found.tried} == {1, 2}


def test_what_learns_slowly_is_not_left_behind_for_a_tie() -> None:
    slow = Played("slow", 0.0)
    best, _ = up(Played("one", 0.0), Played("two", 0.0), slow)
    assert len(slow.learned) == 2 and best.name != "slow"


def test_of_equals_the_cheapest_is_chosen_and_it_says_so() -> None:
    best, found = up(Played("cheap", 0.89), Played("dear", 0.90))
    assert best.name == "cheap" and "within the noise, and costs more" in found.why


def test_one_that_cannot_is_left_out_with_its_reason() -> None:
    best, found = up(Played("none", 1.0, fails="tuning needs torch"), Played("some", 0.6))
    assert best.name == "some" and found.tried[0].why == "tuning needs torch"
    with pytest.raises(LLMAgentOSError, match="none: tuning needs torch"):
        up(Played("none", 1.0, fails="tuning needs torch"))


def test_labels_are_told_from_texts() -> None:
    assert task_of(opinions(100)).labels == ("bad", "good")
    assert task_of(rows_of({"input": f"a {n}", "output": f"b {n}"} for n in range(100))).labels == ()
    assert task_of(rows_of({"input": f"a {n}", "output": "the same"} for n in range(100))).labels == ()


@pytest.mark.parametrize(
    ("labels", "wanted", "answer", "worth"),
    [
        (("a", "b"), "a", " A. ", 1.0),
        (("a", "b"), "a", "a, surely", 0.0),
        ((), "the red house", "the red house", 1.0),
        ((), "the red house", "the house", 0.8),
        ((), "the red house", "nothing", 0.0),
    ],
)
def test_scores(labels: tuple[str, ...], wanted: str, answer: str, worth: float) -> None:
    assert score(Task(labels), wanted, answer) == pytest.approx(worth)


def test_the_error_of_a_perfect_score_of_few_is_not_nothing() -> None:
    assert Judged("a", 1, 1, 1.0, 8, 0, 0).error > 0.05 > Judged("a", 1, 1, 1.0, 800, 0, 0).error


def test_logistic_regression_learns_what_a_word_says() -> None:
    rows = opinions(600)
    model = fit(rows[:400], rows[400:500])
    assert sum(model.label(row.text) == row.output for row in rows[500:]) >= 98
    assert sum(model.probabilities("a table").values()) == pytest.approx(1)


def test_from_rows_to_a_model_that_is_served_without_any_model(tmp_path: Path) -> None:
    made = make(opinions(300), None, tmp_path, 0.5)
    assert made.found.chosen == "linear" and made.folder is not None and made.before is None
    with LLM.from_pretrained(str(made.folder)) as llm:
        answers = [llm.generate(row.text) for row in made.test]
        right = sum(each.text == row.output for each, row in zip(answers, made.test, strict=True))
        assert made.typos is not None and made.typos[0] == pytest.approx(right / len(made.test))
        assert 0.5 < made.typos[1] < made.typos[0]
        assert sum(each.text == row.output for each, row in zip(answers, made.test, strict=True)) >= 40
        assert sum(each.score for each in answers[0].alternatives) == pytest.approx(1)
        assert llm.generate("a lovely day", choices=["bad"]).text == "bad"
        with pytest.raises(InvalidRequest, match="none of its labels: bad, good"):
            llm.generate("a lovely day", choices=["lovely"])
        of = {"type": "string", "enum": ["bad", "good"]}
        assert llm.generate("a lovely day", schema=of).text == '"good"'
        assert llm.generate("a lovely day", schema={"enum": ["bad"]}).text == '"bad"'
        with pytest.raises(InvalidRequest, match="none of its labels: bad, good"):
            llm.generate("a lovely day", schema={"enum": [["bad"]]})
        for schema in ({"type": "object"}, {**of, "minLength": 4}):
            with pytest.raises(Unsupported, match="`enum` of its labels"):
                llm.generate("a lovely day", schema=schema)
    again = make(opinions(300), None, tmp_path, 0.5)
    assert again.folder == made.folder  # the same rows make the same model
    pairs = [(row.output, row.output) for row in made.test]
    assert "<td class=right>" in page("<b>", {"rows": 300}, made.found, pairs, [])


@pytest.mark.parametrize(("only", "what"), [(["liner"], "linear"), (["lora"], "need a model")])
def test_what_cannot_be_tried_is_said(tmp_path: Path, only: list[str], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        make(opinions(100), None, tmp_path, 0.5, only)


def test_too_few_rows_are_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="too few to choose by"):
        make(opinions(3), None, tmp_path, 0.5)
