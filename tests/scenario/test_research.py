"""The example with a research task, on the scripted engine: planned, planned anew without an agent that is killed."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from llmagent_os.core.records import GenerateRequest, ModelSpec
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import ScriptedEngine
from tests.stand_ins.examples import loaded


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return loaded("research")


def steps(*listed: tuple[str, str, list[int]]) -> str:
    return json.dumps({"steps": [{"do": do, "needs": needs, "after": after} for do, needs, after in listed]})


def script(request: GenerateRequest) -> Reply | str:
    """What a model that understands would say, as planner, as reader and scout, and as writer."""
    last = request.messages[-1]
    if last.role == "tool":
        return "it costs 310,000 a year (offer.txt)"
    if "What a step may need" in last.text:
        if "What went wrong" in last.text:
            return steps(("Find what it costs", "look up", []), ("Write the answer", "write", [3]))
        return steps(("Read offer.txt", "read", []), ("Write the answer", "write", [1]))
    if "Say what it needs" in last.text:
        return '{"word": "bus"}'
    offered = [tool.name for tool in request.tools]
    if "read_text" in offered:
        return Reply(calls=(("read_text", {"path": "offer.txt"}),))
    return "310,000 a year, says offer.txt" if "310,000" in last.text else "nothing"


ENGINE = ScriptedEngine(ModelSpec("research-model", "scripted"), script)


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
