"""People in flows choose, fill in and correct: once, across stops, until it is too late, or somebody else does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, ProcessFailed
from llmagent_os.core.records import Hidden, Json, Question
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.process import Program
from llmagent_os.monitoring.replay import replay
from llmagent_os.security.administration import authority
from llmagent_os.security.identity import ROLES, Caller
from tests.stand_ins.gateway import gate
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import Team, at_work

AMOUNT = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Team]:
    async with at_work(tmp_path / "data") as made:
        yield made


async def asked(team: Team) -> dict[str, Any]:
    """The one question that waits."""
    await until(team.system.approvals.waiting)
    (found,) = team.system.approvals.waiting()
    return found


async def answer(team: Team, which: str, value: Json = None, who: str = "owner", role: str = "owner") -> None:
    caller = Caller("default", who, ROLES[role], f"key of {who}")
    sys = (await team.system.kernel.service("gateway", who)).under(authority(caller))
    said = {"allow": False} if value is None else {"allow": True, "value": Hidden(value)}
    await sys.act("approvals.answer", id=which, **said)


async def reply(team: Team, task: str) -> Json:
    return (await team.system.agents.reply(task, 60))["output"]


CHOOSE = {
    "nodes": {
        "find": {"value": {"names": ["refund", "replace"]}},
        "what": {"human": "What about ${input}?", "ask": "choose", "options": "${find.names}", "input": "${input}"},
        "refund": {"tool": "note", "input": {"what": "refund"}},
        "other": {"tool": "note", "input": {"what": "${what}"}},
    },
    "edges": [{"from": "what", "to": "refund", "when": "refund"}, {"from": "what", "to": "other", "when": "else"}],
}


async def test_what_is_chosen_says_where_the_flow_goes_on(team: Team) -> None:
    await team.flow("f", CHOOSE)
    _, task = await team.begin("f", "a lamp")
    found = await asked(team)
    assert (found["kind"], found["form"]) == ("choose", {"enum": ["refund", "replace"]})
    assert found["arguments"]["question"] == "What about a lamp?"
    for wrong in ("nothing", 1, {"refund": True}):
        with pytest.raises(InvalidRequest, match="no answer"):
            await answer(team, found["id"], wrong)
    await answer(team, found["id"], "replace")
    await reply(team, task)
    assert team.ledger == ["replace"]
    with pytest.raises(Conflict, match="was answered by owner"):
        await answer(team, found["id"], "refund")


async def test_what_is_filled_in_is_asked_for_once_across_stops(team: Team) -> None:
    nodes = {"how": {"human": "How much?", "ask": "fill", "schema": AMOUNT, "input": "${input}"},
             "pay": {"tool": "note", "input": {"what": "of ${how.amount}"}}}  # fmt: skip
    with pytest.raises(
        InvalidRequest, match="node 'pay': it is given what it does not take"
    ):  # what it takes is a text
        await team.flow("f", {"nodes": nodes | {"pay": {"tool": "note", "input": {"what": "${how.amount}"}}}})
    await team.flow("f", {"nodes": nodes})
    _, task = await team.begin("f", "a lamp")
    before = await asked(team)
    for _ in range(2):
        await team.system.close()
        await team.start()
        assert (await asked(team))["id"] == before["id"]
    with pytest.raises(InvalidRequest, match="no answer"):
        await answer(team, before["id"], {"amount": "much"})
    await answer(team, before["id"], {"amount": 20})
    assert await reply(team, task) == "of 20" and team.ledger == ["of 20"]


async def test_a_text_is_corrected_and_a_refusal_fails_the_node(team: Team) -> None:
    nodes = {"letter": {"human": "Is it fine?", "ask": "correct", "input": "Dear ${input}"},
             "send": {"tool": "note", "input": {"what": "${letter}"}}}  # fmt: skip
    await team.flow("f", {"nodes": nodes})
    _, task = await team.begin("f", "Ann")
    found = await asked(team)
    assert found["arguments"]["value"] == "Dear Ann"
    await answer(team, found["id"], "Dear Mrs Ann")
    assert await reply(team, task) == "Dear Mrs Ann"
    _, task = await team.begin("f", "Bob")
    await answer(team, (await asked(team))["id"])
    with pytest.raises(ProcessFailed, match=r"node 'letter': owner would not correct"):
        await reply(team, task)
    assert team.ledger == ["Dear Mrs Ann"]


def until_then(**more: Any) -> dict[str, Any]:
    return {"nodes": {"a": {"human": "Which?", "ask": "choose", "options": ["a", "b"], "expires": 0.3, **more}}}


async def test_what_expires_has_what_is_said_otherwise_or_fails(team: Team) -> None:
    await team.flow("f", until_then(otherwise="b"))
    await team.flow("g", until_then(fallback={"value": "nobody"}))
    await team.flow("h", until_then())
    await team.flow("i", {"nodes": {"a": {"human": "Fine?", "expires": 0.3, "otherwise": False, "input": 5}}})
    assert [await team.run("f"), await team.run("g")] == ["b", "nobody"]
    with pytest.raises(ProcessFailed, match=r"node 'a': nobody answered within 0\.3 s"):
        await team.run("h")
    assert (await team.run("i")) == {"approved": False, "value": 5, "by": "", "why": "nobody answered in time"}
    assert not team.system.approvals.waiting()


async def test_time_goes_on_while_the_system_is_down(team: Team) -> None:
    heard: list[Question] = []
    team.system.approvals.told.append(heard.append)
    await team.flow("f", until_then(otherwise="b", expires=1.5))
    _, task = await team.begin("f")
    await until(lambda: heard)
    await team.system.close()
    await asyncio.sleep(max(0.0, (heard[0].expires or 0) - time.time()) + 0.05)
    await team.start()
    assert await reply(team, task) == "b"
    with pytest.raises(Conflict, match="nobody answered in time"):
        await answer(team, heard[0].id, "a")


async def test_somebody_else_may_answer_from_when_it_is_escalated(team: Team) -> None:
    later = [{"after": 0, "to": "bob"}, {"after": 10_000, "to": "eve"}]
    await team.flow("f", until_then(expires=20_000, escalate=later))
    _, task = await team.begin("f")
    found = await asked(team)
    for who in ("eve", "mallory"):
        with pytest.raises(NotFound):
            await answer(team, found["id"], "a", who, "user")
    await answer(team, found["id"], "a", "bob", "user")
    assert await reply(team, task) == "a"
    assert team.system.approvals.of(found["id"], Caller("default", "bob", ROLES["user"], "k"))["by"] == "bob"


@pytest.mark.parametrize(("who", "again"), [("owner", False), ("boss", True)])
async def test_what_somebody_else_says_is_labelled_and_directs_nobody(team: Team, who: str, again: bool) -> None:
    to = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    nodes = {
        "who": {"human": "Who?", "ask": "fill", "schema": to},
        "pay": {"tool": "pay", "input": {"to": "${who.to}"}},
    }
    await team.flow("f", {"nodes": nodes})
    caller = await team.system.kernel.service("gateway", "owner")
    _, task = await team.system.agents.acting(caller).once("f", {"input": None})
    await answer(team, (await asked(team))["id"], {"to": "Ann"}, who)
    if again:
        about = await asked(team)
        assert about["tool"] == "pay" and "(person boss)" in about["origins"]["to"]
        await answer_call(team, about["id"])
    await team.system.agents.acting(caller).reply(task, 60)
    assert team.paid == ["Ann"]


async def answer_call(team: Team, which: str) -> None:
    await team.system.sys.act("approvals.answer", id=which, allow=True)


async def test_four_eyes_and_the_budget_of_questions_hold_for_all_kinds(team: Team) -> None:
    await team.flow("f", until_then(expires=9_000), policy={"four_eyes": True, "approvals": 1})
    caller = await team.system.kernel.service("gateway", "owner")
    agents = team.system.agents.acting(caller)
    _, task = await agents.once("f", {"input": None})
    found = await asked(team)
    with pytest.raises(PermissionDenied, match="four eyes"):
        await answer(team, found["id"], "a")
    await answer(team, found["id"], "a", "boss")
    await agents.reply(task, 60)
    nodes = {name: {"human": f"{name}?", "ask": "correct"} for name in ("a", "b")}
    await team.flow("g", {"nodes": nodes}, policy={"approvals": 1})
    _, task = await team.begin("g", "x")
    with pytest.raises(ProcessFailed, match="1 questions in a turn are the most"):
        await reply(team, task)


async def test_any_program_may_ask_and_a_replay_is_told_the_same(team: Team) -> None:
    told: list[Json] = []

    async def clerk(sys: Sys, args: Json, state: Json) -> Json:
        found = await sys.syscall("ask", kind="fill", question="How much?", schema=AMOUNT)
        told.append(found)
        return found

    program = Program(clerk)
    team.system.kernel.programs["clerk"] = program
    pid = await team.system.sys.spawn("clerk")
    await answer(team, (await asked(team))["id"], {"amount": 3})
    assert await team.system.sys.wait(pid, 30) == {"amount": 3}
    kernel = team.system.kernel
    assert (await replay(kernel.store, pid, {"clerk": program}, kernel.door.table)).diverged is None
    assert told == [{"amount": 3}] * 2


async def test_it_is_answered_over_http_and_once(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", model="scripted") as api:
        node = {"human": "Which?", "ask": "choose", "options": ["a", "b"], "escalate": {"after": 60, "to": "bob"}}
        assert (await api.post("/v1/agents", {"name": "f", "flow": {"nodes": {"n": node}}}))[0] == 201
        status, run = await api.post("/v1/flows/f/runs", {"input": "x", "wait": 0})
        assert status == 201, run
        while not (found := (await api.get("/v1/approvals"))[1]["approvals"]):
            await asyncio.sleep(0.01)
        where = f"/v1/approvals/{found[0]['id']}"
        assert found[0]["kind"] == "choose" and found[0]["escalate"][0]["to"] == "bob"
        for body in ({}, {"allow": True}, {"value": "c"}, {"allow": False, "value": "a"}, {"value": None}):
            assert (await api.post(where, body))[0] == 400, body
        answers = await asyncio.gather(*(api.post(where, {"value": value}) for value in ("a", "b")))
        assert sorted(status for status, _ in answers) == [200, 409]
        (kept,) = [body for status, body in answers if status == 200]
        assert kept["answer"] in ("a", "b") and kept["by"] == "owner"
