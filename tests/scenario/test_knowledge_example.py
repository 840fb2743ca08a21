"""The example with documents, rules and five questions, on the scripted engine."""

from __future__ import annotations

import re
from pathlib import Path

from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.scripted import ScriptedEngine
from tests.stand_ins.examples import loaded
from tests.stand_ins.players import secretary


def test_five_questions_are_answered_and_the_answers_are_checked(tmp_path: Path) -> None:
    example = loaded("knowledge")
    engine = ScriptedEngine(ModelSpec("secretary-model", "scripted"), secretary)
    learned, *replies = example.play(model="secretary-model", engine=engine, data=tmp_path)
    assert learned == {"documents": 7, "rules": 3, "read": 9, "later": 1}
    passage, several, ruled, contradicted, absent = replies
    assert [each["grounding"]["sentences"][0]["verdict"] for each in replies] == [
        "supported", "supported", "supported", "contradicted", "no claim"
    ]  # fmt: skip
    assert Path(passage["citations"][0]["source"]).name == "team.md"
    assert Path(several["citations"][0]["source"]).name == "houses.md"  # which names of two others lead to
    cited, mirrored = ruled["citations"]  # that the other clashes with the one follows too, and is not cited
    assert "cited" not in cited and mirrored["cited"] is False
    assert 'clashes_with("budget review", 审计会议)' in cited["proof"]
    assert re.search(
        r"room\(审计会议, \"Harbour Room\"\)  \[given: .*审计.md, “审计会议在 Harbour Room 举行。”]", cited["proof"]
    )
    against = contradicted["grounding"]["sentences"][0]["against"]
    assert against.startswith('room("summer party", "Garden Pavilion")  [given: changes.csv')
    assert "citations" not in absent and "not in the sources" in absent["text"]
    shown = "\n".join(example.told(example.QUESTIONS[2], ruled))
    assert "supported by [" in shown and "calendar.rules, line" in shown
