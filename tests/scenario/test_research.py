"""The example with a research task, on the scripted engine: planned, planned anew without an agent that is killed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.scripted import ScriptedEngine
from tests.stand_ins.examples import loaded
from tests.stand_ins.players import research


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return loaded("research")


ENGINE = ScriptedEngine(ModelSpec("research-model", "scripted"), research)


def test_a_question_is_planned_and_answered_with_its_sources(example: ModuleType, tmp_path: Path) -> None:
    reply = example.play(model="research-model", engine=ENGINE, data=tmp_path)
    made = reply["plan"]
    assert made["answer"] == "310,000 a year, says offer.txt" and made["by"] == "the model"
    assert [each["agent"] for each in made["sources"]] == ["reader", "writer"] and made["decisions"] == []
    assert "[s1] reader: Read offer.txt" in reply["text"]


def test_an_agent_that_is_killed_each_time_is_planned_around(example: ModuleType, tmp_path: Path) -> None:
    made = example.play(model="research-model", kill=["reader"], engine=ENGINE, data=tmp_path)["plan"]
    assert [each["act"] for each in made["decisions"]] == ["retry", "replan"]
    assert all("reader failed (killed on purpose)" in each["reason"] for each in made["decisions"])
    assert made["answer"] == "310,000 a year, says offer.txt" and made["replans"] == 1 and made["missing"] == []
    assert [each["agent"] for each in made["sources"]] == ["scout", "writer"]


def test_without_a_plan_the_template_is_filled_in(example: ModuleType, tmp_path: Path) -> None:
    reply = example.play(model="research-model", tries=0, engine=ENGINE, data=tmp_path)
    made = reply["plan"]
    assert made["by"] == "template answer_from_files" and made["slots"]["word"] == "bus"
    assert made["answer"] == "310,000 a year, says offer.txt"
    assert [each["id"] for each in made["sources"]] == ["found", "notes", "answer"]
    assert "template 'answer_from_files' was filled in" in reply["text"]
