"""Flows on a whole system with the scripted engine: what runs, in what order, and what becomes of trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import BudgetExceeded, InvalidRequest, LLMAgentOSError, NotFound, ProcessFailed
from llmagent_os.core.records import GenerateRequest, Hidden, ModelSpec
from llmagent_os.core.sys import Sys
from llmagent_os.flow import runner
from llmagent_os.flow.trace import Trace
from llmagent_os.kernel.process import Program
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from llmagent_os.monitoring.replay import replay
from llmagent_os.security.identity import SCOPES, Caller
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import EVIL, Team, at_work, said


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Team]:
    async with at_work(tmp_path / "data") as made:
        yield made


def shout(request: GenerateRequest) -> str:
    return said(request).upper()


def note(name: str, **more: Any) -> dict[str, Any]:
    """A node that notes its own name, and can take that back."""
    return {
        "tool": "note",
        "input": {"what": name},
        "undo": {"tool": "unnote", "input": {"what": f"${{{name}}}"}},
        **more,
    }


# -- what runs


async def test_a_chain_of_agent_function_and_tool(team: Team) -> None:
    await team.agent("loud", shout)
    nodes = {"a": {"agent": "loud"}, "b": {"function": "double"}, "c": {"tool": "note", "input": {"what": "${b}!"}}}
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b -> c"]})
    assert await team.run("f", "hey ") == "HEYHEY!" and team.ledger == ["HEYHEY!"]


async def test_an_agents_answer_is_of_the_type_that_its_node_gives(team: Team) -> None:
    await team.agent("sorter", lambda request: '{"kind": "x", "n": 3}')
    gives = {
        "type": "object",
        "properties": {"kind": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["kind", "n"],
    }
    nodes = {"a": {"agent": "sorter", "gives": gives}, "b": {"function": "double", "input": "${a.n}"}}
    await team.flow("f", {"nodes": nodes})
    assert await team.run("f", "?") == 6


async def test_select_by_an_agent_and_parallel_with_a_vote(team: Team) -> None:
    await team.agent("sorter", lambda request: '"many"' if "all" in said(request) else '"one"')
    for number, answer in enumerate(("yes", "no", "yes")):
        await team.agent(f"judge{number}", lambda request, answer=answer: answer)
    parallel = {"branches": [{"agent": f"judge{n}"} for n in range(3)], "then": {"function": "vote"}}
    select = {"by": {"agent": "sorter"}, "cases": {"many": {"parallel": parallel}, "one": {"agent": "judge1"}}}
    await team.flow("f", {"select": select})
    assert (await team.run("f", "ask all"), await team.run("f", "ask somebody")) == ("yes", "no")


async def test_select_by_likeness(team: Team) -> None:
    similar = {
        "similar": "scripted",
        "choices": {"money": "pay refund money invoice", "way": "parcel delivery late post"},
    }
    cases = {"money": {"function": "count"}, "way": {"function": "double"}}
    await team.flow("f", {"select": {"by": similar, "cases": cases}})
    assert await team.run("f", "my parcel is late ") == "my parcel is late my parcel is late "
    assert await team.run("f", "refund my money") == 1


async def test_the_first_of_several_wins_and_the_others_are_ended(team: Team) -> None:
    branches = [
        {"id": "slow", "tool": "hold", "input": {"what": "s"}},
        {"id": "quick", "tool": "note", "input": {"what": "q"}},
    ]
    await team.flow("f", {"parallel": {"branches": branches, "wait": "first"}})
    pid, task = await team.begin("f", 1)
    assert (await team.system.agents.reply(task, 60))["output"] == "q"
    await until(lambda: team.system.kernel.table.get(pid).life.ended)
    assert team.below(pid) == []
    rows = team.system.kernel.table.listed(pid)
    assert [row["reason"] for row in rows if "slow" in str(row["name"])] == ["its flow does not need it any more"]


async def test_a_map_over_a_list_with_a_concurrency(team: Team) -> None:
    await team.agent("loud", shout)
    nodes = {
        "m": {"agent": "loud", "over": "${input.items}", "at_once": 2, "input": "item ${item}"},
        "n": {"function": "count"},
    }
    await team.flow("f", {"nodes": nodes, "edges": ["m -> n"], "result": {"all": "${m}", "n": "${n}"}})
    assert await team.run("f", {"items": ["a", "b", "c"]}) == {"all": ["ITEM A", "ITEM B", "ITEM C"], "n": 3}


async def test_a_loop_until_the_reviewer_is_content(team: Team) -> None:
    await team.agent("writer", lambda request: said(request) + "+")
    await team.agent("reviewer", lambda request: '"fine"' if said(request).count("+") > 2 else '"worse"')
    nodes = {"draft": {"agent": "writer"}, "review": {"agent": "reviewer", "gives": {"enum": ["fine", "worse"]}},
             "done": {"function": "pass", "input": "${draft}"}}  # fmt: skip
    edges = ["draft -> review", {"from": "review", "to": "draft", "when": "worse", "value": "${draft}", "limit": 5},
             {"from": "review", "to": "done", "when": "else"}]  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": edges, "result": "${done}"})
    assert await team.run("f", "x") == "x+++"


async def test_a_flow_is_a_node_a_tool_of_an_agent_and_an_agent_by_name(team: Team) -> None:
    await team.flow("inner", {"takes": {"type": "integer"}, "nodes": {"a": {"function": "double"}}})
    await team.flow("outer", {"nodes": {"a": {"agent": "inner"}, "b": {"function": "double"}}, "edges": ["a -> b"]})
    assert await team.run("outer", 3) == 12
    assert (await team.system.agents.ask("inner", "21", timeout=60))["text"] == "42"
    await team.agent("boss", lambda request: _asks(request, "ask_inner", {"message": "4"}), tools=["agent:inner"])
    assert "8" in (await team.system.agents.ask("boss", "go", timeout=60))["text"]


def _asks(request: GenerateRequest, tool: str, arguments: dict[str, Any]) -> Reply:
    last = request.messages[-1]
    return Reply(f"it says {last.text}") if last.role == "tool" else Reply(calls=((tool, arguments),))


async def test_an_input_that_the_flow_does_not_take_is_refused(team: Team) -> None:
    await team.flow("f", {"takes": {"type": "integer"}, "nodes": {"a": {"function": "double"}}})
    with pytest.raises(InvalidRequest, match="does not take this input"):
        await team.run("f", "x")
    with pytest.raises(InvalidRequest, match="takes JSON"):
        await team.system.agents.ask("f", "not a number", timeout=60)


async def test_a_bad_flow_is_refused_when_it_is_made_with_all_that_is_wrong(team: Team) -> None:
    with pytest.raises(InvalidRequest, match=r"(?s)node 'a': no agent named 'nobody'.*node 'b': no tool named 'not'"):
        await team.flow("f", {"nodes": {"a": {"agent": "nobody"}, "b": {"tool": "not"}}})
    with pytest.raises(InvalidRequest, match="`flow`"):
        await team.system.agents.create({"name": "f", "loop": "flow"})
    with pytest.raises(InvalidRequest, match="loop"):
        await team.system.agents.create({"name": "f", "loop": "default", "flow": {"nodes": {"a": {"tool": "page"}}}})


# -- trouble


async def test_a_node_is_tried_again_then_something_else_is(team: Team) -> None:
    await team.flow(
        "f", {"nodes": {"a": {"tool": "fails", "input": {"times": 2}, "retry": {"times": 2, "delay": 0.01}}}}
    )
    assert await team.run("f") == "at last" and team.calls["fails"] == 3
    await team.flow("g", {"nodes": {"a": {"tool": "fails", "input": {}, "retry": 1, "fallback": {"value": "instead"}}}})
    assert await team.run("g") == "instead"


async def test_a_node_that_takes_too_long_is_given_up(team: Team) -> None:
    await team.flow("f", {"nodes": {"a": {"tool": "hold", "input": {}, "timeout": 0.2, "fallback": {"value": "late"}}}})
    pid, task = await team.begin("f")
    assert (await team.system.agents.reply(task, 60))["output"] == "late"
    assert team.below(pid) == []


async def test_a_flow_that_gives_up_undoes_what_was_finished_the_last_first(team: Team) -> None:
    nodes = {"a": note("a"), "b": note("b"),
             "m": {**note("m"), "over": [1, 2], "at_once": 1, "input": {"what": "m${item}"}},
             "never": {"tool": "fails", "input": {}}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b -> m -> never"]})
    with pytest.raises(ProcessFailed, match=r"node 'never': .*not now; undone: m\[1\], m\[0\], b, a") as told:
        await team.run("f")
    assert team.ledger == ["a", "b", "m1", "m2", "-m2", "-m1", "-b", "-a"]
    assert told.value.facts["node"] == "never" and told.value.facts["not_undone"] == []


async def test_what_cannot_be_undone_is_told_and_the_rest_is_undone(team: Team) -> None:
    nodes = {"a": note("a"), "b": {**note("b"), "undo": {"tool": "fails", "input": {}}}, "c": {"function": "broken"}}
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b -> c"]})
    with pytest.raises(ProcessFailed, match=r"ValueError: a broken function; undone: a; NOT undone: b \(.*not now"):
        await team.run("f")
    assert team.ledger == ["a", "b", "-a"]


async def test_a_node_that_is_skipped_on_failure_stops_nothing(team: Team) -> None:
    nodes = {"a": {"function": "broken", "fails": "skip"}, "b": {"function": "pass"}, "c": {"function": "list"}}
    await team.flow("f", {"nodes": nodes, "edges": ["a -> c", "b -> c"]})
    assert await team.run("f", 5) == [5]


async def test_a_function_that_returns_no_data_has_failed(team: Team) -> None:
    await team.flow("f", {"nodes": {"a": {"function": "object"}}})
    with pytest.raises(ProcessFailed, match="node 'a': TypeError"):
        await team.run("f")


async def test_cancelling_a_run_cancels_its_tree(team: Team) -> None:
    await team.flow("inner", {"nodes": {"a": {"tool": "hold", "input": {"what": "x"}}}})
    await team.flow("f", {"nodes": {"a": {"agent": "inner"}, "b": {"tool": "hold", "input": {"what": "y"}}}})
    pid, task = await team.begin("f")
    await until(lambda: len(team.calls) == 2)
    inside = [*team.below(pid), *(each for child in team.below(pid) for each in team.below(child))]
    assert len(inside) == 3
    await team.system.agents.cancel(task)
    await until(lambda: all(team.system.kernel.table.get(each).life.ended for each in inside))
    with pytest.raises(LLMAgentOSError):
        await team.system.agents.reply(task, 60)


async def test_a_nodes_budget_holds_for_it_and_the_flows_for_all(team: Team) -> None:
    await team.agent("writer", shout)
    long = "word " * 200
    await team.flow(
        "f", {"nodes": {"a": {"agent": "writer", "budget": {"tokens": 50}, "fallback": {"value": "short"}}}}
    )
    assert await team.run("f", long) == "short"
    await team.flow(
        "g",
        {"nodes": {"a": {"agent": "writer"}, "b": {"agent": "writer"}}, "edges": ["a -> b"]},
        budget={"tokens": 700},
    )
    with pytest.raises((BudgetExceeded, ProcessFailed), match="tokens"):
        await team.run("g", long)


async def test_an_agents_own_account_is_drawn_on(team: Team) -> None:
    await team.agent("writer", shout, budget={"tokens": 100})
    await team.flow("f", {"nodes": {"a": {"agent": "writer"}}})
    assert await team.run("f", "word " * 20) == ("word " * 20).strip().upper()
    with pytest.raises(ProcessFailed, match="agent/writer has a budget"):
        await team.run("f", "word " * 60)


async def test_a_depth_holds_for_what_a_flow_starts(team: Team) -> None:
    await team.flow("inner", {"nodes": {"a": {"tool": "page", "input": {}}}})
    await team.flow("f", {"nodes": {"a": {"agent": "inner"}}}, budget={"depth": 1, "of": "process"})
    with pytest.raises(ProcessFailed, match="depth"):
        await team.run("f")


async def test_an_agent_that_is_gone_fails_its_node(team: Team) -> None:
    await team.agent("writer", shout)
    await team.flow("f", {"nodes": {"a": {"agent": "writer"}}})
    await team.system.agents.delete("writer")
    with pytest.raises(ProcessFailed, match="node 'a': no agent named 'writer'"):
        await team.run("f", "x")


async def test_a_flow_that_asks_an_agent_that_asks_the_flow_does_not_wait_for_ever(team: Team) -> None:
    await team.agent("first", shout)
    await team.flow("f", {"nodes": {"a": {"agent": "first"}}})
    await team.system.agents.configure("first", {"tools": ["agent:f"]})
    team.system.add_engine("again", await _engine("again", lambda request: _asks(request, "ask_f", {"message": "x"})))
    await team.system.agents.configure("first", {"model": "again"})
    assert "waits for an answer from here" in (await team.system.agents.ask("f", "x", timeout=60))["text"]


async def _engine(name: str, script: Any) -> Any:
    return await open_engine(ModelSpec(name, "scripted", options={"script": script}))


# -- stops of the system


async def test_after_a_stop_nothing_that_was_finished_is_done_again(team: Team) -> None:
    nodes = {
        "a": note("a"),
        "d": {"function": "double", "input": 4},
        "h": {"tool": "hold", "input": {"what": "h"}},
        "z": note("z"),
    }
    await team.flow("f", {"nodes": nodes, "edges": ["a -> d -> h -> z"], "result": ["${a}", "${d}", "${h}", "${z}"]})
    pid, task = await team.begin("f")
    await until(lambda: team.calls.get("hold h") == 1)
    await team.system.close()
    await team.start()
    await until(lambda: team.calls.get("hold h") == 2)
    team.gate.set()
    assert (await team.system.agents.reply(task, 60))["output"] == ["a", 8, "held h", "z"]
    assert team.ledger == ["a", "z"] and team.calls["double"] == 1
    kernel = team.system.kernel
    await until(lambda: kernel.table.get(pid).life.ended)
    report = await replay(kernel.store, pid, kernel.programs, kernel.door.table)
    assert report.diverged is None


async def test_a_stop_in_the_middle_of_undoing_undoes_each_once(team: Team) -> None:
    nodes = {"a": note("a"), "b": {**note("b"), "undo": {"tool": "hold", "input": {"what": "u"}}}, "c": note("c"),
             "never": {"function": "broken"}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b -> c -> never"]})
    _, task = await team.begin("f")
    await until(lambda: team.calls.get("hold u") == 1)
    await team.system.close()
    await team.start()
    await until(lambda: team.calls.get("hold u") == 2)
    team.gate.set()
    with pytest.raises(ProcessFailed, match="undone: c, b, a"):
        await team.system.agents.reply(task, 60)
    assert team.ledger == ["a", "b", "c", "-c", "-a"]


async def test_functions_in_a_row_share_few_rows_which_name_every_node(team: Team) -> None:
    nodes = {f"n{i}": {"function": "pass"} for i in range(100)}
    await team.flow("f", {"nodes": nodes, "edges": [" -> ".join(nodes)]})
    pid, task = await team.begin("f", "a value of some length")
    await team.system.agents.reply(task, 60)
    kernel = team.system.kernel
    rows = [row for row in kernel.journal.rows(pid) if row.name == "flow_step"]
    assert len(rows) < 100
    size = sum(len(bytes(str(each), "utf-8")) for row in rows for each in row if each is not None)
    assert size / 100 <= 300
    tries = Trace(rows, kernel.journal.unpack).tries
    assert [(each.label, each.value) for each in tries] == [(name, "a value of some length") for name in nodes]


async def test_a_function_that_takes_its_time_has_its_row_before_the_next_is_called(team: Team) -> None:
    await team.flow("f", {"chain": [{"function": "slow"}, {"function": "slow"}, {"function": "slow"}]})
    pid, task = await team.begin("f", 1)
    await team.system.agents.reply(task, 60)
    assert [row.name for row in team.system.kernel.journal.rows(pid)].count("flow_step") == 3


async def test_what_follows_from_a_tool_is_started_in_the_row_of_its_end(team: Team) -> None:
    nodes = {name: note(name) for name in "abcd"}
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b -> d", "a -> c -> d"]})
    pid, task = await team.begin("f")
    await team.system.agents.reply(task, 60)
    kernel = team.system.kernel
    rows = [row for row in kernel.journal.rows(pid) if row.name.startswith("flow_")]
    assert [row.name for row in rows].count("flow_start") == 1 and len(rows) <= 5
    tries = Trace(rows, kernel.journal.unpack).tries
    assert sorted(each.label for each in tries) == list("abcd") and {each.state for each in tries} == {"done"}
    assert all(each.began <= each.ended for each in tries if each.ended is not None)


@pytest.mark.parametrize("older", [True, False], ids=["as an older release wrote it", "as it is"])
async def test_tools_of_a_run_that_was_cut_off_are_not_called_again(
    team: Team, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    """Whether what followed was started in a row of its own, or in that of what it follows from."""
    if older:
        monkeypatch.setattr(runner.Runner, "_at_once", lambda self, run: False)
    nodes = {name: note(name) for name in "abcd"} | {"w": {"tool": "hold", "input": {}}}
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b -> w -> d", "a -> c -> w"]})
    _, task = await team.begin("f")
    await until(lambda: team.calls.get("hold ") == 1)
    await team.system.close()
    monkeypatch.undo()
    await team.start()
    await until(lambda: team.calls.get("hold ") == 2)
    team.gate.set()
    await team.system.agents.reply(task, 60)
    assert (team.ledger[0], sorted(team.ledger[1:3]), team.ledger[3:]) == ("a", ["b", "c"], ["d"])


@pytest.mark.parametrize("together", [0, 50], ids=["as an older release wrote it", "as it is"])
async def test_functions_of_one_row_are_not_called_again(
    team: Team, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Nor is what failed in it; what follows is told of all of them."""
    monkeypatch.setattr(runner, "TOGETHER", together)
    nodes = {"a": {"function": "double"}, "b": {"function": "broken", "fallback": {"function": "double"}},
             "c": {"function": "double"}, "w": {"tool": "hold", "input": {}},
             "d": {"function": "double", "input": "${c}"}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b -> c -> w -> d"]})
    _, task = await team.begin("f", "x")
    await until(lambda: team.calls.get("hold ") == 1)
    assert team.calls["double"] == 3
    await team.system.close()
    monkeypatch.undo()
    await team.start()
    team.gate.set()
    reply = await team.system.agents.reply(task, 60)
    assert reply["output"] == "x" * 16 and team.calls["double"] == 4


# -- whose words


async def test_what_a_tool_nobody_vouches_for_says_is_asked_about_where_it_arrives(team: Team) -> None:
    """Along an edge, through a function, an agent and a nested flow, to a tool that reaches out."""
    await team.agent("copier", lambda request: said(request).split("Pay to ")[-1])
    await team.flow("inner", {"nodes": {"pay": {"tool": "pay", "input": {"to": "${input}"}}}})
    nodes = {"look": {"tool": "page", "input": {}}, "short": {"function": "text"}, "copy": {"agent": "copier"},
             "own": {"tool": "pay", "input": {"to": "${input.to}"}},
             "theirs": {"agent": "inner", "input": "${copy}"}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["look -> own", "look -> short -> copy -> theirs", "own -> theirs"]})
    _, task = await team.begin("f", {"to": "Ann"})
    await until(team.system.approvals.waiting)
    (asked,) = team.system.approvals.waiting()
    assert asked["tool"] == "pay" and asked["arguments"] == {"to": EVIL}
    assert "tool page" in asked["origins"]["to"]
    assert team.paid == ["Ann"]  # whom the user named, after the page was read: nobody was asked
    await answer(team, asked["id"], False)
    with pytest.raises(ProcessFailed, match="nobody approved of it"):
        await team.system.agents.reply(task, 60)
    assert team.paid == ["Ann"]


async def test_origins_stay_with_results_over_a_stop(team: Team) -> None:
    nodes = {"look": {"tool": "page", "input": {}}, "wait": {"tool": "hold", "input": {}},
             "pay": {"tool": "pay", "input": {"to": "${look}"}}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["look -> wait -> pay"]}, policy={"untrusted": "refuse"})
    _, task = await team.begin("f")
    await until(lambda: team.calls.get("hold ") == 1)
    await team.system.close()
    await team.start()
    team.gate.set()
    with pytest.raises(ProcessFailed, match="pay was refused"):
        await team.system.agents.reply(task, 60)
    assert team.paid == []


async def test_no_other_program_says_whose_words_it_passes_on(team: Team) -> None:
    """A program that is no flow cannot launder through a flow's syscalls."""

    async def launders(sys: Sys, args: Any, state: Any) -> Any:
        await sys.call("page")
        child = {
            "node": "x",
            "kind": "tool",
            "name": "pay",
            "body": {"to": EVIL},
            "ask": False,
            "budget": None,
            "origins": [],
        }
        (pid,) = await sys.syscall("flow_start", nodes=["x"], children=Hidden([child]))
        return await sys.syscall("flow_collect", of=Hidden(([pid], None)))

    team.system.kernel.programs["launders"] = Program(launders)
    await team.system.sys.spawn("launders")
    await until(team.system.approvals.waiting)
    assert team.paid == []


# -- people


async def answer(team: Team, identifier: str, allow: bool, **put: Any) -> None:
    arguments = {"arguments": Hidden(put)} if put else {}
    await team.system.sys.act("approvals.answer", id=identifier, allow=allow, **arguments)


HUMAN = {
    "nodes": {"ok": {"human": "Refund ${input.amount}?", "input": "${input}"},
              "pay": {"tool": "note", "input": {"what": "${ok.value.amount}"}},
              "no": {"function": "pass", "input": "${ok.approved}"}},
    "edges": [{"from": "ok", "to": "pay", "when": {"approved": True}}, {"from": "ok", "to": "no", "when": "else"}],
}  # fmt: skip


async def test_a_person_is_asked_once_across_a_stop_and_the_flow_goes_on_with_what_they_say(team: Team) -> None:
    await team.flow("f", HUMAN)
    _, task = await team.begin("f", {"amount": "20"})
    await until(team.system.approvals.waiting)
    (before,) = team.system.approvals.waiting()
    assert before["arguments"] == {"question": "Refund 20?", "value": {"amount": "20"}}
    await team.system.close()
    await team.start()
    await until(team.system.approvals.waiting)
    (after,) = team.system.approvals.waiting()
    assert after["id"] == before["id"]
    await answer(team, after["id"], True)
    assert (await team.system.agents.reply(task, 60))["output"] == "20" and team.ledger == ["20"]


async def test_a_person_may_correct_or_refuse(team: Team) -> None:
    await team.flow("f", HUMAN)
    for allow, put, expected in ((True, {"question": "", "value": {"amount": "5"}}, "5"), (False, {}, False)):
        _, task = await team.begin("f", {"amount": "20"})
        await until(team.system.approvals.waiting)
        (asked,) = team.system.approvals.waiting()
        await answer(team, asked["id"], allow, **put)
        assert (await team.system.agents.reply(task, 60))["output"] == expected
    assert team.ledger == ["5"]


async def test_a_tool_that_is_to_ask_asks(team: Team) -> None:
    await team.flow("f", {"nodes": {"a": {"tool": "note", "input": {"what": "x"}, "ask": True}}})
    _, task = await team.begin("f")
    await until(team.system.approvals.waiting)
    assert team.ledger == []
    await answer(team, team.system.approvals.waiting()[0]["id"], True)
    await team.system.agents.reply(task, 60)
    assert team.ledger == ["x"]


# -- again from a node


async def test_a_retry_takes_over_what_is_not_after_the_node(team: Team) -> None:
    nodes = {"look": {"tool": "page", "input": {}}, "a": note("a", undo=None),
             "b": {"tool": "fails", "input": {"times": 1}},
             "pay": {"tool": "pay", "input": {"to": "${look}"}}}  # fmt: skip
    flow = {"nodes": nodes, "edges": ["look -> a -> b -> pay"], "result": "${b}"}
    await team.flow("f", flow, policy={"untrusted": "refuse"})
    pid, task = await team.begin("f", "what it was given")
    with pytest.raises(ProcessFailed, match="node 'b'"):
        await team.system.agents.reply(task, 60)
    _, again = await team.system.agents.once("f", {"retry": pid, "from": "b"})
    with pytest.raises(ProcessFailed, match=r"node 'pay': .*pay was refused"):  # the page's words are still the page's
        await team.system.agents.reply(again, 60)
    assert team.ledger == ["a"] and team.calls["fails"] == 2 and team.paid == []


async def test_nobody_retries_what_is_not_theirs_or_no_run(team: Team) -> None:
    await team.flow("f", HUMAN)
    await team.flow("g", HUMAN)
    pid, _ = await team.begin("f", {"amount": "1"})
    for name, body, error in (("g", {"retry": pid, "from": "pay"}, InvalidRequest),
                              ("f", {"retry": 1, "from": "pay"}, LLMAgentOSError),
                              ("f", {"retry": pid, "from": "nothing"}, InvalidRequest)):  # fmt: skip
        _, task = await team.system.agents.once(name, body)
        with pytest.raises(error):
            await team.system.agents.reply(task, 60)
    sys = await team.system.kernel.service("gateway", "eve")
    _, task = await team.system.agents.acting(sys).once("f", {"retry": pid, "from": "pay"})
    with pytest.raises(NotFound):
        await team.system.agents.acting(sys).reply(task, 60)
    assert team.ledger == [] and len(team.system.approvals.waiting(Caller("default", "owner", SCOPES, "k"))) == 1


async def test_a_text_that_grew_too_long_ends_the_flow_and_what_was_done_is_undone(team: Team) -> None:
    nodes = {"a": note("a"), "b": {"value": "${input}${input}"}}
    await team.flow("f", {"nodes": nodes, "edges": ["a -> b"]})
    with pytest.raises(ProcessFailed, match="pass less on; undone: a"):
        await team.run("f", "x" * 2_100_000)
    assert team.ledger == ["a", "-a"]
