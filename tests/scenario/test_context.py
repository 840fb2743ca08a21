"""The context record of a flow: what is told of it in how much room, and a fact that comes through twenty agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagent_os.core.context import LEFT_OUT, Record, load
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import GenerateRequest, ModelSpec
from llmagent_os.flow import compose
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import EVIL, Team, at_work, said

TEXT = st.text(max_size=30)
GIVEN = st.one_of(TEXT, st.fixed_dictionaries({}, optional={
    "facts": st.lists(TEXT | st.fixed_dictionaries({"text": TEXT, "weight": st.integers(0, 9)}), max_size=3),
    "questions": st.lists(TEXT, max_size=2), "answered": st.lists(TEXT, max_size=2), "summary": TEXT,
}))  # fmt: skip


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Team]:
    async with at_work(tmp_path / "data") as made:
        yield made


def test_a_record_keeps_facts_questions_and_what_was_said() -> None:
    record = Record("mend the lamp")
    record.add(
        "look", {"facts": ["it is dark", {"text": "the fuse is blown", "weight": 5}], "questions": ["which fuse?"]}
    )
    record.add("ask", {"answered": ["which fuse?"], "questions": ["who has one?"], "summary": "a fuse is needed"})
    record.add("talk", "well")
    assert record.told(9999).splitlines() == [
        "Goal: mend the lamp", "Summary: a fuse is needed", "Fact (look): it is dark", "Fact (look): the fuse is blown",
        "Open question (ask): who has one?", "Said (talk): well",
    ]  # fmt: skip


def test_what_matters_least_is_left_out_and_that_is_said() -> None:
    record = Record("g", "a summary")
    record.add("a", {"facts": [{"text": "it matters", "weight": 9}, "less"]})
    record.add("b", "chatter " * 30)
    told = record.told(130)
    assert "it matters" in told and "less" in told and "chatter" not in told and LEFT_OUT.format(1) in told
    assert record.told(0).splitlines() == ["Goal: g", LEFT_OUT.format(4)]


@given(st.lists(st.tuples(st.sampled_from("abc"), GIVEN), max_size=8), st.integers(0, 400))
def test_whatever_nodes_give_it_fits_and_nothing_that_matters_more_is_left_out(given_: list[Any], room: int) -> None:
    record = Record("goal")
    for node, result in given_:
        record.add(node, result)
    assert load(record.data()) == record
    told = record.told(room)
    assert len(told) <= max(room, len("Goal: goal\n") + len(LEFT_OUT) + 8)
    kept = [each for each in record.entries if each.text and f"({each.node}): {each.text}" in told]
    assert ("[left out" in told) or len(kept) == len(record.entries)


async def windowed(team: Team, name: str, script: Any, window: int, **more: Any) -> None:
    """A scripted agent with a window of so many tokens."""
    spec = ModelSpec(name, "scripted", window=window, options={"script": script})
    team.system.add_engine(name, await open_engine(spec))
    await team.system.agents.create({"name": name, "model": name, **more})


async def test_a_fact_of_the_first_of_twenty_agents_reaches_the_last_through_small_windows(team: Team) -> None:
    prompts: dict[str, str] = {}

    def script(request: GenerateRequest) -> str:
        text = said(request)
        node = text.rsplit(" ", 1)[-1]
        prompts[node] = text
        if node == "n1":
            return '{"facts": [{"text": "the code word is heliotrope", "weight": 9}]}'
        return f"{node} thinks of {'this and that, ' * 20}and is done"

    await windowed(team, "narrow", script, 512)
    names = [f"n{number}" for number in range(1, 21)]
    nodes: dict[str, Any] = {name: {"agent": "narrow", "input": f"do your part {name}"} for name in names}
    nodes["n1"]["gives"] = {"type": "object"}
    await team.flow("f", {"nodes": nodes, "edges": [" -> ".join(names)], "context": True})
    await team.run("f", "find the word")
    assert "heliotrope" in prompts["n20"] and "Goal: find the word" in prompts["n20"]
    assert "[left out, for it did not fit" in prompts["n20"] and "n19 thinks" in prompts["n20"]
    assert "n2 thinks" not in prompts["n20"] and prompts["n20"].endswith("do your part n20")
    await team.flow("without", {"nodes": nodes, "edges": [" -> ".join(names)]})
    await team.run("without", "find the word")
    assert "heliotrope" not in prompts["n20"]


async def test_a_node_is_told_what_comes_before_it_and_a_nested_flow_goes_on_with_that(team: Team) -> None:
    prompts: dict[str, str] = {}

    async def agent(name: str) -> None:
        def script(request: GenerateRequest) -> str:
            prompts[name] = said(request)
            return f"of {name}"

        await team.agent(name, script)

    for name in ("left", "right", "inner", "last"):
        await agent(name)
    await team.flow("sub", {"nodes": {"inner": {"agent": "inner", "input": "go"}}, "context": True})
    nodes = {"left": {"agent": "left", "input": "go"}, "right": {"agent": "right", "input": "go"},
             "sub": {"agent": "sub", "input": "go"}, "last": {"agent": "last", "input": "go"}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["left -> sub", "sub -> last", "right -> last"], "context": True})
    await team.run("f", "the goal")
    assert prompts["left"] == prompts["right"] == "Goal: the goal\n\ngo"
    assert prompts["inner"] == "Goal: the goal\nSaid (left): of left\n\ngo"
    assert {*prompts["last"].split("\n\n")[0].splitlines()} == {
        "Goal: the goal", "Said (left): of left", "Said (right): of right", "Said (sub): of inner",
    }  # fmt: skip


async def test_whose_words_a_fact_is_go_with_it(team: Team) -> None:
    """An agent that is told of a page by the record is asked about what it makes of it, as if it had read it."""

    def script(request: GenerateRequest) -> Any:
        tools = [message for message in request.messages if message.role == "tool"]
        return "done" if tools else Reply(calls=(("pay", {"to": EVIL}),))

    await team.agent("payer", script, tools=["pay"])
    nodes = {"look": {"tool": "page", "input": {}}, "between": {"function": "pass", "input": "nothing"},
             "pay": {"agent": "payer", "input": "pay the bill"}}  # fmt: skip
    await team.flow("f", {"nodes": nodes, "edges": ["look -> between -> pay"], "context": True})
    await team.begin("f", "go")
    await until(team.system.approvals.waiting)
    (asked,) = team.system.approvals.waiting()
    assert asked["arguments"] == {"to": EVIL} and team.paid == []


def test_context_is_true_or_false_and_comes_back() -> None:
    nodes = {"nodes": {"a": {"function": "pass"}}, "context": True}
    assert compose.read(compose.read(nodes).data()) == compose.read(nodes) and compose.read(nodes).context
    with pytest.raises(InvalidRequest, match="`context` is true or false"):
        compose.read({**nodes, "context": "yes"})
