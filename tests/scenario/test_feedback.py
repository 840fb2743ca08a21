"""What people say of answers: kept with them, joined with what was asked, and learned from only where they agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.finetune.feedback import Opinion
from llmagent_os.finetune.rows import row_of
from tests.stand_ins.gateway import Gate, gate

RULES = ({"match": "capital of France", "text": "Paris"}, {"match": "", "text": "Lyon"})


async def asked(api: Gate, text: str, session: str | None = None) -> str:
    status, task = await api.post("/v1/agents/clerk/messages", {"text": text, "session": session})
    assert status == 200, task
    return str(task["task"])


async def collected(api: Gate, **query: Any) -> dict[str, Any]:
    status, found = await api.get("/v1/feedback", params=query)
    assert status == 200, found
    return found


async def test_an_opinion_becomes_a_row_once_its_person_agrees(tmp_path: Path) -> None:
    async with gate(tmp_path / "data") as api:
        await api.script("robot", *RULES)
        assert (await api.post("/v1/agents", {"name": "clerk", "model": "robot"}))[0] == 201
        first = await asked(api, "What is the capital of France?", "trip")
        second = await asked(api, "And its second city?", "trip")
        alone = await asked(api, "Say something.")
        for task, said in ((first, {"good": True}), (second, {"correction": "Marseille"}), (alone, {"rating": 2})):
            status, error = await api.post(f"/v1/tasks/{task}/feedback", said)
            assert status == 204, error
        assert await collected(api) == {"rows": [], "refused": 3, "poor": 0}
        assert (await api.ask("PUT", "/v1/privacy/consent", json={"learning": True}))[0] in (200, 204)
        found = await collected(api, agent="clerk")
        assert (found["refused"], found["poor"]) == (0, 1)
        rows = {row.output: row for row in (row_of(each, "row") for each in found["rows"])}
        assert [each.text for each in rows["Paris"].messages] == ["What is the capital of France?"]
        assert [each.text for each in rows["Marseille"].messages] == [
            "What is the capital of France?", "Paris", "And its second city?",
        ]  # fmt: skip
        assert rows["Marseille"].rejected == "Lyon" and rows["Marseille"].group == rows["Paris"].group
        assert (await collected(api, agent="other"))["rows"] == []
        assert (await api.post(f"/v1/tasks/{first}/feedback", {"good": False}))[0] == 204  # the last word
        assert [each["output"] for each in (await collected(api))["rows"]] == ["Marseille"]
        assert (await api.ask("PUT", "/v1/privacy/consent", json={"learning": False}))[0] in (200, 204)
        assert (await collected(api))["rows"] == []
        status, _ = await api.post("/v1/privacy/erase", {})
        assert status == 200 and await collected(api) == {"rows": [], "refused": 0, "poor": 0}


async def test_what_cannot_be_judged_is_said(tmp_path: Path) -> None:
    async with gate(tmp_path / "data") as api:
        await api.script("robot", *RULES)
        assert (await api.post("/v1/agents", {"name": "clerk", "model": "robot"}))[0] == 201
        task = await asked(api, "What is the capital of France?")
        for body in ({}, {"rating": 6}, {"correction": ""}, {"stars": 3}):
            assert (await api.post(f"/v1/tasks/{task}/feedback", body))[0] in (400, 422), body
        assert (await api.post("/v1/tasks/nothing/feedback", {"good": True}))[0] in (404, 409)


@pytest.mark.parametrize("said", [{}, {"rating": 0}, {"good": True, "note": ""}, {"correction": "x" * 100_001}])
def test_an_opinion_that_says_nothing_or_too_much_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        Opinion(**said)
