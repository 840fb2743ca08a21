"""Tasks with an outcome: an agent works until it is there or its tries are used up; each verdict is a row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import BudgetExceeded, InvalidRequest, ProcessFailed
from llmagent_os.core.outcomes import Outcome, of, read, result
from llmagent_os.core.records import GenerateRequest, Json
from llmagent_os.llm.script import Reply
from llmagent_os.monitoring.replay import replay
from tests.stand_ins.gateway import gate
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import Team, at_work, said

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Team]:
    async with at_work(tmp_path / "data") as made:
        yield made


def tries(*answers: str) -> Callable[[GenerateRequest], str]:
    """A model that says one thing after the other, as often as it was told that something was not accepted."""

    def script(request: GenerateRequest) -> str:
        refused = sum("was not accepted" in message.text for message in request.messages if message.role == "user")
        return answers[min(refused, len(answers) - 1)]

    return script


async def ask(team: Team, name: str, outcome: Json, text: str = "How many?", **more: Any) -> dict[str, Any]:
    body = {"text": text, "options": {"outcome": outcome}, **more}
    reply: dict[str, Any] = await team.system.agents.ask(name, body, timeout=60)
    return reply


def verdicts(team: Team, pid: int) -> list[dict[str, Any]]:
    journal = team.system.kernel.journal
    return [journal.unpack(row.result) for row in journal.rows(pid) if row.name == "judge" and row.outcome == "ok"]


async def test_it_works_until_the_answer_is_of_the_schema(team: Team) -> None:
    await team.agent("counter", tries("five", '{"n": "five"}', '{"n": 5}', "never"))
    reply = await ask(team, "counter", {"schema": NUMBER, "tries": 5})
    assert reply["text"] == '{"n": 5}' and reply["verdict"] == {"passed": True, "why": "", "by": "schema", "tries": 3}
    (pid,) = team.system.kernel.table.named("counter", "default")
    assert [each["passed"] for each in verdicts(team, pid)] == [False, False, True]
    assert "n" in verdicts(team, pid)[1]["why"] and reply["usage"]["output_tokens"] > 0
    assert "verdict" not in await team.system.agents.ask("counter", "How many?", timeout=60)


async def test_when_the_tries_end_the_last_answer_says_that_it_did_not_pass(team: Team) -> None:
    await team.agent("counter", tries("five"))
    reply = await ask(team, "counter", {"schema": NUMBER, "tries": 2})
    assert reply["text"] == "five" and (reply["verdict"]["passed"], reply["verdict"]["tries"]) == (False, 2)


async def test_a_budget_ends_the_tries(team: Team) -> None:
    await team.agent("counter", tries("five " * 50), budget={"tokens": 200})
    with pytest.raises(BudgetExceeded):
        await ask(team, "counter", {"schema": NUMBER, "tries": 20})


async def test_a_function_says_why_not_and_one_that_fails_passes_nothing(team: Team) -> None:
    await team.agent("counter", tries("41", "42"))
    reply = await ask(team, "counter", {"function": "is_42"})
    assert reply["verdict"] == {"passed": True, "why": "", "by": "function is_42", "tries": 2}
    reply = await ask(team, "counter", {"function": "broken", "tries": 1})
    assert not reply["verdict"]["passed"] and "a broken function" in reply["verdict"]["why"]
    with pytest.raises(Exception, match="no function named 'is_43'"):
        await ask(team, "counter", {"function": "is_43"})


async def test_tests_run_in_the_sandbox_and_what_they_print_is_told(team: Team) -> None:
    await team.agent("counter", tries("41", "42"))
    code = "assert result == 42, f'{result} is too little'\nopen('made', 'w').write('x')"
    reply = await ask(team, "counter", {"tests": code})
    assert reply["verdict"] == {"passed": True, "why": "", "by": "tests", "tries": 2}
    (pid,) = team.system.kernel.table.named("counter", "default")
    assert "41 is too little" in verdicts(team, pid)[0]["why"]
    assert not list((team.system.config.data / "workspaces").rglob("made"))  # they change nothing


async def test_another_agent_judges_by_a_rubric_where_it_may_be_asked(team: Team) -> None:
    def strict(request: GenerateRequest) -> str:
        good = "Dear" in said(request).rpartition("Result:")[2]
        return '{"passed": true, "why": ""}' if good else '{"passed": false, "why": "no greeting"}'

    await team.agent("judge", strict)
    await team.agent("writer", tries("Hello", "Dear Ann"), grant={"agents": ["judge"]})
    reply = await ask(team, "writer", {"rubric": "It greets.", "judge": "judge"})
    assert reply["verdict"] == {"passed": True, "why": "", "by": "agent judge", "tries": 2}
    await team.agent("alone", tries("Hello"))
    with pytest.raises(Exception, match="judge"):
        await ask(team, "alone", {"rubric": "It greets.", "judge": "judge"})


async def test_a_caller_that_keeps_the_history_has_the_tries_in_it(team: Team) -> None:
    seen: list[list[str]] = []

    def script(request: GenerateRequest) -> str:
        seen.append([message.role for message in request.messages])
        return tries("five", '{"n": 5}')(request)

    await team.agent("counter", script)
    told = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "n?"},
    ]
    body = {"messages": told, "options": {"outcome": {"schema": NUMBER}}}
    reply = await team.system.agents.ask("counter", body, timeout=60)
    assert reply["verdict"]["passed"] and seen[1] == [*seen[0], "assistant", "user"]


async def test_a_stop_in_the_second_try_judges_no_try_twice(team: Team) -> None:
    def script(request: GenerateRequest) -> Reply:
        refused = any("was not accepted" in message.text for message in request.messages)
        if refused and request.messages[-1].role == "user":
            return Reply(calls=(("hold", {"what": "x"}),))
        return Reply("42" if refused else "41")

    await team.agent("counter", script, tools=["hold"])
    body = {"text": "How many?", "options": {"outcome": {"function": "is_42"}}}
    task = await team.system.agents.send("counter", body)
    await until(lambda: team.calls.get("hold x") == 1)
    await team.system.close()
    await team.start()
    await until(lambda: team.calls.get("hold x") == 2)
    team.gate.set()
    reply = await team.system.agents.reply(task, 60)
    assert reply["verdict"]["tries"] == 2 and team.calls["is_42"] == 2
    kernel = team.system.kernel
    (pid,) = kernel.table.named("counter", "default")
    assert [each["passed"] for each in verdicts(team, pid)] == [False, True]
    await until(lambda: kernel.table.get(pid).task is None)
    assert (await replay(kernel.store, pid, kernel.programs, kernel.door.table)).diverged is None


async def test_a_node_whose_outcome_is_not_reached_has_failed(team: Team) -> None:
    await team.agent("good", tries("41", "42"))
    await team.agent("bad", tries("41"))
    wanted = {"function": "is_42", "tries": 2}
    nodes = {"a": {"agent": "good", "outcome": wanted},
             "b": {"agent": "bad", "outcome": wanted, "fallback": {"value": "no"}}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b"], "result": ["${a}", "${b}"]})
    assert await team.run("f", "How many?") == ["42", "no"]
    await team.flow("g", {"nodes": {"b": {"agent": "bad", "outcome": wanted}}})
    with pytest.raises(ProcessFailed, match="node 'b': not accepted after 2 tries: it is not 42"):
        await team.run("g", "How many?")
    with pytest.raises(InvalidRequest, match="only an agent works towards an `outcome`"):
        await team.flow("h", {"nodes": {"b": {"function": "pass", "outcome": wanted}}})


async def test_a_flow_is_run_again_until_its_result_passes(team: Team) -> None:
    await team.flow("f", {"nodes": {"a": {"tool": "fails", "input": {"times": 0}}}})
    reply = await ask(team, "f", {"function": "is_42", "tries": 2}, input="x")
    assert team.calls["fails"] == 2 and not reply["verdict"]["passed"]


@pytest.mark.parametrize(
    "wrong",
    [
        5, {}, {"schema": NUMBER, "function": "f"}, {"schema": {"type": "nothing"}}, {"function": ""}, {"tests": 5},
        {"rubric": "good"}, {"function": "f", "judge": "a"}, {"function": "f", "tries": 0},
        {"function": "f", "trys": 1},
    ],
)  # fmt: skip
def test_what_is_no_outcome_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequest):
        read(wrong)


def test_an_outcome_is_read_and_a_result_is_data_where_it_can_be() -> None:
    assert of({"options": {"outcome": {"function": "f"}}}) == Outcome("function", "f") and of("text") is None
    assert [result({"text": text}) for text in ('{"n": 1}', "5", "five")] == [{"n": 1}, 5, "five"]
    assert result({"text": "5", "output": [5]}) == [5]


async def test_it_is_sent_over_http_and_a_wrong_one_is_refused_at_once(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", model="scripted") as api:
        assert (await api.post("/v1/agents", {"name": "echo", "model": "scripted"}))[0] == 201
        body = {"text": "5", "options": {"outcome": {"schema": {"type": "integer"}}}}
        status, told = await api.post("/v1/agents/echo/messages", body)
        assert status == 200 and told["reply"]["verdict"]["passed"], told
        body["options"] = {"outcome": {"schema": {"type": "integer"}, "tries": 0}}
        status, told = await api.post("/v1/agents/echo/messages", body)
        assert status in (400, 422) and "tries" in str(told)
