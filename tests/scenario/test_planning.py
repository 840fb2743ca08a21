"""Planners on a whole system with the scripted engine: plans, who does what, trouble, templates, stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest, LLMAgentOSError, NotFound, ProcessFailed
from llmagent_os.core.records import GenerateRequest
from llmagent_os.llm.script import Reply
from llmagent_os.monitoring.replay import replay
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import EVIL, Team, at_work, said


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Team]:
    async with at_work(tmp_path / "data") as made:
        yield made


def first_line(request: GenerateRequest) -> str:
    return said(request).splitlines()[0]


def step(do: str, needs: str, *after: int) -> dict[str, Any]:
    return {"do": do, "needs": needs, "after": list(after)}


def plans(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": list(steps)})


CIRCLE = plans(step("read a", "read", 2), step("read b", "read", 1))
"""No plan that can be run."""


def thinks(*answers: str | Callable[[GenerateRequest], str]) -> Callable[[GenerateRequest], str]:
    """The planner's model: one answer after the other, the last one again and again; what it was asked stays."""

    def script(request: GenerateRequest) -> str:
        script.asked.append(said(request))  # type: ignore[attr-defined]
        answer = answers[min(len(script.asked), len(answers)) - 1]  # type: ignore[attr-defined]
        return answer if isinstance(answer, str) else answer(request)

    script.asked = []  # type: ignore[attr-defined]
    return script


def never(request: GenerateRequest) -> str:
    raise RuntimeError("it is broken")


async def planner(team: Team, script: Callable[[GenerateRequest], Any], agents: list[str], **plan: Any) -> None:
    await team.agent("planner", script, plan={"agents": agents, **plan})


async def reach(team: Team, goal: str = "the goal") -> dict[str, Any]:
    """What the planner says, and how it came about."""
    found: dict[str, Any] = (await team.system.agents.ask("planner", goal, timeout=60))["plan"]
    return found


async def readers(team: Team, *names: str, script: Callable[[GenerateRequest], Any] = first_line) -> None:
    for name in names:
        await team.agent(name, script, skills=["read"], description="reads a file")


# -- plans


async def test_steps_are_done_in_their_order_by_those_who_can_and_the_last_one_answers(team: Team) -> None:
    await readers(team, "reader")
    await team.agent("writer", lambda request: said(request).partition("[s1]")[2], skills=["write"])
    model = thinks(plans(step("read the file", "read"), step("write it", "write", 1)))
    await planner(team, model, ["reader", "writer"])
    reply = await team.system.agents.ask("planner", "the goal", timeout=60)
    made = reply["plan"]
    assert made["answer"] == "read the file" and made["by"] == "the model"
    assert [(each["id"], each["agent"]) for each in made["sources"]] == [("s1", "reader"), ("s2", "writer")]
    assert made["missing"] == made["decisions"] == made["notes"] == []
    assert reply["text"] == "read the file\n\nSources:\n[s1] reader: read the file\n[s2] writer: write it"
    assert "Goal: the goal" in model.asked[0] and "- read: reads a file" in model.asked[0]  # type: ignore[attr-defined]


async def test_several_results_become_one_answer_that_names_them(team: Team) -> None:
    await readers(team, "reader")
    model = thinks(plans(step("read a", "read"), step("read b", "read")), lambda request: said(request)[-60:])
    await planner(team, model, ["reader"])
    assert (await reach(team))["answer"].endswith("[s1].")
    assert "[s1] read a" in model.asked[1] and "[s2] read b" in model.asked[1]  # type: ignore[attr-defined]


async def test_who_did_well_before_is_chosen_and_the_plan_says_why(team: Team) -> None:
    await readers(team, "bad", script=never)
    await readers(team, "good")
    for name in ("bad", "good"):
        for _ in range(2):
            _, task = await team.system.agents.once(name, {"text": "hello"})
            try:
                await team.system.agents.reply(task, 60)
            except LLMAgentOSError:
                assert name == "bad"
    table = team.system.kernel.table
    runs = [row["pid"] for row in table.listed(0) if "~once" in str(row["name"])]
    await until(lambda: len(runs) == 4 and all(table.get(pid).life.ended for pid in runs))
    await planner(team, thinks(plans(step("read a", "read"))), ["bad", "good"])
    made = await reach(team)
    (source,) = made["sources"]
    assert source["agent"] == "good" and source["why"].startswith("2 of 2 runs went well")


async def test_a_plan_that_cannot_be_run_is_made_again_and_the_model_is_told_why(team: Team) -> None:
    await readers(team, "reader")
    good = plans(step("read a", "read"))
    model = thinks(CIRCLE, good)
    await planner(team, model, ["reader"])
    made = await reach(team)
    assert made["answer"] == "read a" and "steps 1, 2 wait for one another" in made["notes"][0]
    assert "steps 1, 2 wait for one another" in model.asked[1]  # type: ignore[attr-defined]


# -- trouble


async def test_a_step_that_fails_is_tried_again_then_given_to_another(team: Team) -> None:
    await readers(team, "bad", script=never)
    await readers(team, "good")
    await planner(team, thinks(plans(step("read a", "read"))), ["bad", "good"])
    made = await reach(team)
    assert made["answer"] == "read a"
    assert [(each["act"], each["agent"]) for each in made["decisions"]] == [("retry", "bad"), ("hand over", "good")]
    assert all("bad failed" in each["reason"] for each in made["decisions"])


async def test_what_nobody_can_do_is_planned_anew_and_what_is_done_is_not_done_again(team: Team) -> None:
    counted: list[str] = []

    def counts(request: GenerateRequest) -> str:
        counted.append(first_line(request))
        return first_line(request)

    await readers(team, "reader", script=counts)
    await team.agent("singer", never, skills=["sing"])
    model = thinks(plans(step("read a", "read"), step("sing it", "sing", 1)), plans(step("read it aloud", "read", 1)))
    await planner(team, model, ["reader", "singer"], retries=0)
    made = await reach(team)
    assert made["answer"] == "read it aloud" and made["replans"] == 1 and counted == ["read a", "read it aloud"]
    assert [each["id"] for each in made["sources"]] == ["s1", "s3"]
    assert [each["act"] for each in made["decisions"]] == ["replan"]
    asked = model.asked[1]  # type: ignore[attr-defined]
    assert "[1] read a" in asked and "singer failed" in asked and "- sing" not in asked


async def test_the_rest_is_planned_anew_so_often_and_what_there_is_is_told(team: Team) -> None:
    await readers(team, "reader")
    await team.agent("singer", never, skills=["sing"])
    model = thinks(*(plans(step(f"read {n}", "read"), step(f"sing {n}", "sing")) for n in range(9)))
    await planner(team, model, ["reader", "singer"], retries=0, replans=0)
    made = await reach(team)
    assert made["answer"] == "read 0" and [each["do"] for each in made["missing"]] == ["sing 0"]
    assert [each["act"] for each in made["decisions"]] == ["give up"]


async def test_where_nothing_is_done_it_says_why(team: Team) -> None:
    await readers(team, "bad", script=never)
    await planner(team, thinks(plans(step("read a", "read"))), ["bad"], retries=0, replans=1)
    with pytest.raises(ProcessFailed, match=r"no step of the plan was done: s\d: bad failed"):
        await reach(team)


async def test_an_agent_whose_process_is_killed_is_given_up_for_another(team: Team) -> None:
    await team.agent("slow", lambda request: "never", skills=["read"], tools=["hold"])
    team.scripts["slow"] = lambda request: "call hold"
    await team.system.agents.configure("slow", {"model": "scripted"})
    await readers(team, "good")
    await planner(team, thinks(plans(step("call hold", "read"))), ["slow", "good"], retries=0)
    pid, task = await team.system.agents.once("planner", {"text": "x"})
    await until(lambda: team.calls.get("hold ") == 1)
    (child,) = team.below(pid)
    await team.system.sys.kill(child, "on purpose")
    made = (await team.system.agents.reply(task, 60))["plan"]
    assert made["answer"] == "call hold" and made["sources"][0]["id"] == "s1"
    assert "slow failed (on purpose)" in made["decisions"][0]["reason"]


async def test_a_step_without_progress_is_ended(team: Team) -> None:
    await team.agent("slow", first_line, skills=["read"], tools=["hold"])
    await team.system.agents.configure("slow", {"model": "scripted"})
    plan = plans(step("call hold", "read"))
    await planner(team, thinks(plan), ["slow"], stall=0.5, retries=0, replans=0)
    pid, task = await team.system.agents.once("planner", {"text": "x"})
    with pytest.raises(ProcessFailed, match=r"s1: slow made no progress \(it made no progress for 0.5 s\)"):
        await team.system.agents.reply(task, 60)
    assert team.below(pid) == []


async def test_a_step_that_needs_more_than_its_budget_is_given_to_another(team: Team) -> None:
    await team.agent("wordy", first_line, skills=["read"], prompt="word " * 600)
    await readers(team, "good")
    await planner(team, thinks(plans(step("read a", "read"))), ["wordy", "good"], budget={"tokens": 500})
    made = await reach(team)
    assert [(each["act"], each["agent"]) for each in made["decisions"]] == [("hand over", "good")]
    assert "wordy needed more than its budget" in made["decisions"][0]["reason"]


async def test_an_agent_that_is_gone_when_its_step_begins_is_done_without(team: Team) -> None:
    await team.agent("slow", first_line, skills=["write"], tools=["hold"])
    await team.system.agents.configure("slow", {"model": "scripted"})
    await readers(team, "lost", "found")
    await planner(team, thinks(plans(step("call hold", "write"), step("read a", "read", 1))), ["slow", "lost", "found"])
    _, task = await team.system.agents.once("planner", {"text": "x"})
    await until(lambda: team.calls.get("hold ") == 1)
    await team.system.agents.delete("lost")
    team.gate.set()
    made = (await team.system.agents.reply(task, 60))["plan"]
    assert made["answer"] == "read a" and made["sources"][1]["agent"] == "found"
    assert [(each["act"], each["agent"]) for each in made["decisions"]] == [("hand over", "found")]


async def test_a_team_does_without_those_who_are_not_there_any_more(team: Team) -> None:
    await readers(team, "lost", "found")
    await planner(team, thinks(plans(step("read a", "read"))), ["lost", "found"])
    await team.system.agents.delete("lost")
    assert (await reach(team))["sources"][0]["agent"] == "found"
    await team.system.agents.delete("found")
    with pytest.raises(ProcessFailed, match="nobody of lost, found is there any more"):
        await reach(team)


# -- templates


TEMPLATE = {
    "about": "notes a word",
    "flow": {
        "takes": {"type": "object", "properties": {"goal": {"type": "string"},
                  "word": {"type": "string", "description": "one word"}}, "required": ["goal", "word"]},
        "nodes": {"put": {"tool": "note", "input": {"what": "${input.word}"}},
                  "end": {"agent": "reader", "input": "${put} for ${input.goal}"}},
    },
}  # fmt: skip


def fills(request: GenerateRequest) -> str:
    return '{"word": "lamp"}' if "Say what it needs" in said(request) else CIRCLE


async def test_a_model_that_makes_no_plan_fills_in_a_template_and_that_is_said(team: Team) -> None:
    await readers(team, "reader")
    await planner(team, thinks(fills), ["reader"], templates={"notes": TEMPLATE})
    reply = await team.system.agents.ask("planner", "the goal", timeout=60)
    made = reply["plan"]
    assert made["answer"] == "lamp for the goal" and team.ledger == ["lamp"] and made["by"] == "template notes"
    assert made["slots"] == {"word": "lamp", "goal": "the goal"}
    assert [each["agent"] for each in made["sources"]] == ["note", "reader"]
    assert len(made["notes"]) == 3 and made["replans"] == 0 and "template 'notes' was filled in" in reply["text"]


async def test_without_tries_the_model_is_not_asked_for_a_plan_and_one_of_several_templates_is_chosen(
    team: Team,
) -> None:
    await readers(team, "reader")
    other = {"about": "says it", "flow": {"nodes": {"a": {"agent": "reader", "input": "hello ${input.goal}"}}}}
    model = thinks('"says"')
    await planner(team, model, ["reader"], tries=0, templates={"notes": TEMPLATE, "says": other})
    made = await reach(team)
    assert made["answer"] == "hello the goal" and len(model.asked) == 1  # type: ignore[attr-defined]
    assert made["notes"] == ["the model was not asked for a plan: template 'says' was filled in"]


async def test_a_node_of_a_template_is_given_to_another_too(team: Team) -> None:
    await readers(team, "reader", script=never)
    await readers(team, "second")
    await planner(team, thinks(fills), ["reader", "second"], tries=1, retries=0, templates={"notes": TEMPLATE})
    made = await reach(team)
    assert made["answer"] == "lamp for the goal" and team.ledger == ["lamp"]
    assert [each["agent"] for each in made["decisions"]] == ["second"]


async def test_without_a_plan_and_a_template_it_says_what_to_do(team: Team) -> None:
    await readers(team, "reader")
    await planner(team, thinks(CIRCLE), ["reader"])
    with pytest.raises(ProcessFailed, match=r"made no plan .*there is no template; use a stronger model"):
        await reach(team)


async def test_a_planner_that_could_not_work_is_refused_when_it_is_made(team: Team) -> None:
    await readers(team, "reader")
    for plan, error, told in (
        ({"agents": ["nobody"]}, NotFound, "nobody"),
        ({"agents": ["planner"]}, InvalidRequest, "plans itself"),
        ({"agents": ["reader"], "steps": 0}, InvalidRequest, "steps"),
        (
            {"agents": ["reader"], "templates": {"t": {"flow": {"nodes": {"a": {"tool": "not"}}}}}},
            InvalidRequest,
            "not",
        ),
    ):
        with pytest.raises(error, match=told):
            await planner(team, thinks(""), plan["agents"], **{k: v for k, v in plan.items() if k != "agents"})
    with pytest.raises(InvalidRequest, match="loop"):
        await team.system.agents.create({"name": "p", "loop": "default", "plan": {"agents": ["reader"]}})
    await planner(team, thinks(""), ["reader"])
    with pytest.raises(InvalidRequest, match="plans itself"):
        await team.system.agents.create({"name": "p", "plan": {"agents": ["planner"]}})


# -- whose words


async def test_what_a_step_read_that_nobody_vouches_for_is_asked_about_where_a_later_step_does_it(team: Team) -> None:
    def reads(request: GenerateRequest) -> Reply:
        last = request.messages[-1]
        return Reply(last.text) if last.role == "tool" else Reply(calls=(("page", {}),))

    await team.agent("reader", reads, skills=["read"], tools=["page"])
    await team.agent("payer", lambda request: Reply(calls=(("pay", {"to": EVIL}),)), skills=["pay"], tools=["pay"])
    await planner(team, thinks(plans(step("read it", "read"), step("pay them", "pay", 1))), ["reader", "payer"])
    _, task = await team.system.agents.once("planner", {"text": "x"})
    await until(team.system.approvals.waiting)
    (asked,) = team.system.approvals.waiting()
    assert asked["tool"] == "pay" and asked["origins"]["to"] and team.paid == []
    await team.system.agents.cancel(task)


# -- stops


async def test_after_a_stop_no_finished_step_is_done_again_nor_planned_again(team: Team) -> None:
    counted: list[str] = []

    def counts(request: GenerateRequest) -> str:
        counted.append(first_line(request))
        return first_line(request)

    await readers(team, "reader", script=counts)
    await team.agent("slow", first_line, skills=["hold"], tools=["hold"])
    await team.system.agents.configure("slow", {"model": "scripted"})
    model = thinks(plans(step("read a", "read"), step("call hold", "hold", 1), step("read b", "read", 2)))
    await planner(team, model, ["reader", "slow"])
    pid, task = await team.system.agents.once("planner", {"text": "x"})
    await until(lambda: team.calls.get("hold ") == 1)
    await team.system.close()
    await team.start()
    await until(lambda: team.calls.get("hold ") == 2)
    team.gate.set()
    made = (await team.system.agents.reply(task, 60))["plan"]
    assert made["answer"] == "read b" and counted == ["read a", "read b"] and len(model.asked) == 1  # type: ignore[attr-defined]
    kernel = team.system.kernel
    await until(lambda: kernel.table.get(pid).life.ended)
    report = await replay(kernel.store, pid, kernel.programs, kernel.door.table)
    assert report.diverged is None


async def test_cancelling_a_planner_cancels_its_tree(team: Team) -> None:
    await team.agent("slow", first_line, skills=["hold"], tools=["hold"])
    await team.system.agents.configure("slow", {"model": "scripted"})
    model = thinks(plans(step("call hold", "hold"), step('call hold with {"what": "b"}', "hold")))
    await planner(team, model, ["slow"])
    pid, task = await team.system.agents.once("planner", {"text": "x"})
    await until(lambda: len(team.calls) == 2)
    inside = team.below(pid)
    assert len(inside) == 2
    await team.system.agents.cancel(task)
    await until(lambda: all(team.system.kernel.table.get(each).life.ended for each in inside))
    with pytest.raises(LLMAgentOSError):
        await team.system.agents.reply(task, 60)


async def test_decisions_stand_in_the_journal_with_their_reasons(team: Team) -> None:
    await readers(team, "bad", script=never)
    await planner(team, thinks(plans(step("read a", "read"))), ["bad"], replans=0)
    pid, task = await team.system.agents.once("planner", {"text": "x"})
    with pytest.raises(ProcessFailed):
        await team.system.agents.reply(task, 60)
    kernel = team.system.kernel
    rows = [kernel.journal.unpack(row.result) for row in kernel.journal.rows(pid) if row.name == "plan_decide"]
    assert [each["act"] for each in rows] == ["retry", "give up"] and all(
        "bad failed" in each["reason"] for each in rows
    )


async def test_a_planner_is_a_node_of_a_flow(team: Team) -> None:
    await readers(team, "reader")
    await planner(team, thinks(plans(step("read a", "read"))), ["reader"])
    await team.flow("f", {"nodes": {"a": {"agent": "planner"}, "b": {"function": "double"}}, "edges": ["a -> b"]})
    assert (await team.run("f", "x")).startswith("read a\n\nSources:\n[s1] reader: read a")


def test_after_kill_9_a_plan_goes_on_and_nothing_that_was_finished_is_asked_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tests.stand_ins.plan_victim", str(tmp_path / "data"), str(log)]
    root, until = Path(__file__).parents[2], time.monotonic() + 60
    with subprocess.Popen(command, cwd=root) as victim:
        while time.monotonic() < until and not (log.exists() and "second" in log.read_text()):
            time.sleep(0.05)
        victim.send_signal(signal.SIGKILL)
    assert log.read_text().split() == ["plan", "first", "second"]
    (tmp_path / "go").touch()
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout == "third\n"
    assert log.read_text().split() == ["plan", "first", "second", "second", "third"]
