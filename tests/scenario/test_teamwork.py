"""Boards and topics on a whole system: as tools of agents and nodes of flows, and whose words come out of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.records import GenerateRequest, Grant, Hidden, Policy, Rule
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.process import Program
from llmagent_os.llm.script import Reply
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import EVIL, PAGE, Team, at_work


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Team]:
    async with at_work(tmp_path / "data") as made:
        yield made


def write(value: Any, **more: Any) -> dict[str, Any]:
    return {"tool": "board_write", "input": {"key": "to", "value": value, **more}}


READ = {"tool": "board_read", "input": {"key": "to"}}
PAY = {"tool": "pay", "input": {"to": "${read.value}"}}


async def refused(team: Team, identifier: str) -> None:
    await team.system.sys.act("approvals.answer", id=identifier, allow=False, arguments=Hidden(None))


async def test_nodes_of_a_run_share_a_board_and_another_run_has_its_own(team: Team) -> None:
    nodes = {"before": READ, "put": write("${input}"), "read": READ}
    await team.flow("f", {"nodes": nodes, "edges": ["before -> put -> read"], "result": ["${before}", "${read}"]})
    for value in ("Ann", "Bob"):
        assert await team.run("f", value) == [{"value": None, "version": 0}, {"value": value, "version": 1}]


async def test_what_the_user_said_may_direct_from_a_board_and_what_a_page_said_is_asked_about(team: Team) -> None:
    """As it would be without the board between: `test_flows.py` has the same along an edge."""
    look = {"tool": "page", "input": {}}
    await team.flow("f", {"nodes": {"look": look, "put": write("${input}"), "read": READ, "pay": PAY},
                          "edges": ["look -> put -> read -> pay"]})  # fmt: skip
    await team.run("f", "Ann")
    assert team.paid == ["Ann"] and not team.system.approvals.waiting()
    await team.flow("g", {"nodes": {"look": look, "put": write("${look}"), "read": READ, "pay": PAY},
                          "edges": ["look -> put -> read -> pay"]})  # fmt: skip
    await team.begin("g", "Ann")
    await until(team.system.approvals.waiting)
    (asked,) = team.system.approvals.waiting()
    assert asked["arguments"] == {"to": PAGE} and "tool page" in asked["origins"]["to"]
    assert team.paid == ["Ann"]


async def test_origins_stay_with_a_value_over_a_restart_and_for_who_has_seen_nothing_else(team: Team) -> None:
    await team.flow("puts", {"nodes": {"look": {"tool": "page", "input": {}}, "put": write("${look}", of="person")}})
    await team.run("puts")
    await team.system.close()
    await team.start()
    read = {"tool": "board_read", "input": {"key": "to", "of": "person"}}
    await team.flow("pays", {"nodes": {"read": read, "pay": PAY}}, policy={"untrusted": "refuse"})
    with pytest.raises(Exception, match="pay was refused"):
        await team.run("pays")
    assert team.paid == []


async def test_origins_go_along_a_topic_with_each_message(team: Team) -> None:
    topic = {"topic": "orders"}
    nodes = {"look": {"tool": "page", "input": {}},
             "a": {"tool": "publish", "input": {**topic, "value": "Ann"}},
             "b": {"tool": "publish", "input": {**topic, "value": "${look}"}}}  # fmt: skip
    await team.flow("puts", {"nodes": nodes, "edges": ["look -> a -> b"]})
    await team.run("puts")
    take = {"tool": "topic_take", "input": {**topic, "group": "g"}}
    await team.flow("pays", {"nodes": {"read": take, "pay": {"tool": "pay", "input": {"to": "${read.0.value}"}}}},
                    policy={"untrusted": "refuse"})  # fmt: skip
    await team.run("pays")
    assert team.paid == ["Ann"]
    with pytest.raises(Exception, match="pay was refused"):
        for _ in range(2):  # the first is given again, for nobody settled it
            await team.flow("settles", {"nodes": {"read": {**take, "input": {**take["input"], "most": 2}},
                                                  "pay": {"tool": "pay", "input": {"to": "${read.1.value}"}}}},
                            policy={"untrusted": "refuse"})  # fmt: skip
            await team.run("settles")
    assert team.paid == ["Ann"]


async def test_what_another_person_put_for_everybody_directs_nobody(team: Team) -> None:
    async def writes(sys: Sys, args: Any, state: Any) -> Any:
        return await sys.syscall("board_write", key="to", value=EVIL, of="tenant")

    async def pays(sys: Sys, args: Any, state: Any) -> Any:
        read = await sys.syscall("board_read", key="to", of="tenant")
        return await sys.call("pay", {"to": read["value"]})

    team.system.kernel.programs |= {"writes": Program(writes), "pays": Program(pays)}
    refuse = Grant(policy=Policy(untrusted="refuse"))
    bob = await team.system.kernel.service("gateway", "bob")
    await bob.wait(await bob.spawn("writes"), 60)
    await bob.wait(await bob.spawn("pays", grant=refuse), 60)
    assert team.paid == [EVIL]  # his own words
    with pytest.raises(Exception, match="person bob"):
        await team.system.sys.wait(await team.system.sys.spawn("pays", grant=refuse), 60)
    assert team.paid == [EVIL]


async def test_an_agent_uses_them_as_tools_and_only_where_it_holds_them(team: Team) -> None:
    def script(request: GenerateRequest) -> Any:
        tools = [message for message in request.messages if message.role == "tool"]
        if not tools:
            return Reply(calls=(("board_write", {"key": "plan", "value": "paint it", "of": "person"}),))
        if len(tools) == 1:
            return Reply(calls=(("publish", {"topic": "news", "value": {"plan": 1}, "key": "1"}),))
        return tools[-1].text[-40:]

    await team.agent("planner1", script, tools=["board_write", "publish"])
    await team.agent("nobody", script, tools=["board_read"])
    await team.system.agents.ask("planner1", {"text": "go"}, timeout=60)
    calls = team.system.teamwork
    assert calls.boards.listed("default/person/owner")["plan"][1]["value"] == "paint it"
    assert calls.topics.listed("default/person/owner") == {"news": {"messages": 1, "groups": {}}}
    await team.system.agents.ask("nobody", {"text": "go"}, timeout=60)
    assert calls.boards.listed("default/person/owner")["plan"][0] == 1


async def test_a_grant_and_a_policy_hold_for_the_syscall_as_for_the_tool(team: Team) -> None:
    async def writes(sys: Sys, args: Any, state: Any) -> Any:
        given = {"key": args["key"], "value": 1, "of": "person"}
        return await (sys.call("board_write", given) if args["tool"] else sys.syscall("board_write", **given))

    team.system.kernel.programs["writes"] = Program(writes)
    sys = team.system.sys
    rule = Rule(refuse=({"key": ("secret*",)},))
    for tool in (True, False):
        for grant, key in (
            (Grant(tools=("board_read",)), "a"),
            (Grant(policy=Policy(tools={"board_write": rule})), "secrets"),
        ):
            with pytest.raises(Exception, match="board_write"):
                await sys.wait(await sys.spawn("writes", {"key": key, "tool": tool}, grant=grant), 60)
    assert team.system.teamwork.boards.listed("default/person/owner") == {}


async def test_a_person_is_erased_from_boards_and_topics(team: Team) -> None:
    sys = await team.system.kernel.service("gateway", "bob")
    await sys.syscall("board_write", key="a", value="his secret", of="tenant")
    await sys.syscall("board_write", key="a", value="his other secret", of="person")
    await sys.syscall("publish", topic="t", value="his last secret")
    await sys.syscall("topic_take", topic="t", group="g")
    exported = str(list(team.system.privacy.export("default", "bob")))
    assert all(f"his {each}secret" in exported for each in ("", "other ", "last "))
    erased = await team.system.privacy.erase("default", "bob", ["his secret", "his other secret", "his last secret"])
    assert not any(erased.found.values())
    calls = team.system.teamwork
    assert calls.boards.listed("default/all") == calls.boards.listed("default/person/bob") == {}
    assert calls.topics.listed("default/person/bob") == {}


async def test_what_a_run_had_goes_with_its_process(team: Team) -> None:
    await team.flow("f", {"nodes": {"put": write("${input}")}})
    await team.run("f", "Ann")
    kernel = team.system.kernel
    (space,) = [space for space, *_ in kernel.store.read("record.all") if space.endswith("/board")]
    pid = int(space.split("/")[2])
    for name in ("retain.boards", "retain.boxes", "retain.calls_of", "retain.process"):
        kernel.store.write([(name, (pid,))])
    assert not [space for space, *_ in kernel.store.read("record.all") if space.endswith("/board")]
