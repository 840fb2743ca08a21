"""The example with a document review: read by sections, voted on, and the author is told."""

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


def test_each_section_is_noted_and_the_majority_decides(example: ModuleType, tmp_path: Path) -> None:
    (made,) = example.play(example.DOCUMENTS[:1], "review-model", ENGINE, tmp_path)
    assert made["notes"] == ["fine", "fine", "nobody is named"]
    assert made["votes"] == {"numbers": "accept", "dates": "revise", "risks": "revise"}
    assert made["verdict"] == "revise" and made["letter"] == "The reviewers say: revise"


def test_what_two_of_three_accept_is_accepted(example: ModuleType, tmp_path: Path) -> None:
    good = tmp_path / "good.md"
    good.write_text("# Bus\n\n## Cost\n310,000\n\n## When\nAnn does it until May.\n", encoding="utf-8")
    (made,) = example.play([good], "review-model", ENGINE, tmp_path / "data")
    assert made["votes"] == {"numbers": "accept", "dates": "accept", "risks": "revise"}
    assert made["verdict"] == "accept" and made["notes"] == ["fine", "fine"]


def test_a_document_without_sections_is_voted_on_all_the_same(example: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("nothing\n", encoding="utf-8")
    (made,) = example.play([tmp_path / "empty.md"], "review-model", ENGINE, tmp_path / "data")
    assert made["notes"] == [] and made["verdict"] == "revise"
