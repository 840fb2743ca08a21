"""Select by what was learned from examples: the model that `tune` makes of labels chooses the branch of a flow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from llmagent_os import LLMAgentOS
from llmagent_os.core.errors import ProcessFailed
from llmagent_os.core.records import ModelSpec
from llmagent_os.finetune.pipeline import Made, make
from llmagent_os.llm.labels import open_engine
from tests.unit.test_ladder import opinions

CASES = {"good": {"id": "thanks", "function": "pass", "input": "thanks"},
         "bad": {"id": "sorry", "function": "pass", "input": "sorry"}}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(opinions(300), None, tmp_path_factory.mktemp("tuned"), 5.0, ("linear",))


@pytest.fixture
def system(made: Made) -> Iterator[LLMAgentOS]:
    with LLMAgentOS(model="scripted") as found:
        opened = asyncio.run(open_engine(ModelSpec("opinion", "labels", source=str(made.folder))))
        found.system.add_engine("opinion", opened)
        found.create(name="sorter", model="opinion")
        yield found


def test_a_flow_goes_the_way_that_was_learned(system: LLMAgentOS, made: Made) -> None:
    by = {"agent": "sorter", "input": "${input}"}
    system.create(name="desk", flow={"takes": {"type": "string"}, "select": {"by": by, "cases": CASES}})
    rows = made.test[:20]
    took = [system.reply("desk", row.text)["output"] for row in rows]
    right = sum(way == CASES[row.output]["input"] for way, row in zip(took, rows, strict=True))
    assert right >= 18 and {"thanks", "sorry"} == set(took)


def test_a_branch_that_was_never_learned_is_told(system: LLMAgentOS) -> None:
    cases = {**CASES, "lukewarm": {"id": "hm", "function": "pass", "input": "hm"}}
    by = {"agent": "sorter", "input": "${input}"}
    system.create(name="desk", flow={"select": {"by": by, "cases": cases}})
    with pytest.raises(ProcessFailed, match="'lukewarm' is none of its labels: bad, good"):
        system.reply("desk", "a lovely day")
