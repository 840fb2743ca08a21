"""Who answered, and why: the row of a call tells it, and the metrics by it; adapters can be set, and are in it too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import Config, Routing, load
from llmagent_os.core import codec
from llmagent_os.core.records import Chunk, Decoding, GenerateRequest, Json, Message, ModelSpec, Route
from llmagent_os.llm.scripted import ScriptedEngine, open_engine
from llmagent_os.monitoring.metrics import render
from tests.stand_ins.flaky import FlakyEngine
from tests.stand_ins.gateway import Gate, gate, user


def asks(model: str, text: str = "hi", **fields: Any) -> GenerateRequest:
    return GenerateRequest(model, (Message("user", text),), **fields)


def decisions(system: System, name: str = "generate") -> list[dict[str, Json]]:
    """What the rows of all processes say, in order of their calls."""
    rows = [row for info in system.kernel.table.listed() for row in system.kernel.journal.rows(info["pid"])]
    rows.sort(key=lambda row: row.started)
    return [codec.loads(row.decision) for row in rows if row.name == name and row.decision]


@pytest.fixture
async def system(tmp_path: Path, models_folder: Path) -> AsyncIterator[System]:
    system = await boot(load({"data": tmp_path, "model": "scripted"}))
    for name in ("cheap", "dear", "far"):
        rules = [{"match": ".", "text": f"I am {name}"}]
        system.add_engine(name, await open_engine(ModelSpec(name, "scripted", options={"rules": rules})))
    system.kernel.engines.add_route("answers", Route(("cheap", "dear"), ("far",)))
    yield system
    await system.close()


async def test_the_row_and_the_metrics_name_who_served_and_the_row_says_why(system: System) -> None:
    texts = [(await system.sys.generate(asks("answers", f"hi {n}"))).text for n in range(12)]
    assert set(texts) == {"I am cheap", "I am dear"}
    found = decisions(system)
    assert [f"I am {each['model']}" for each in found] == texts
    for each in found:
        assert each["engine"] == "scripted" and 0 < each["probability"] <= 1
        assert set(each["candidates"]) == {"cheap", "dear", "far"} and each["candidates"][each["model"]] > 0
    system.metrics.reader.catch_up()
    lines = [line for line in render(system.metrics, system.kernel).decode().splitlines() if "tokens_total{" in line]
    names = {name for name in ("answers", "cheap", "dear", "far") for line in lines if f'model="{name}"' in line}
    assert names == {"cheap", "dear"}


async def test_of_a_call_that_went_on_elsewhere_both_are_told(system: System) -> None:
    system.add_engine("broken", FlakyEngine("broken", [3]))
    system.add_engine("whole", FlakyEngine("whole"))
    system.kernel.engines.add_route("safe", Route(("broken",), ("whole",)))
    await system.sys.generate(asks("safe", "many words " * 9))
    (found,) = decisions(system)
    assert found["asked"] == {"broken": 1, "whole": 1} and found["model"] == "whole"
    assert found["probability"] == 1.0 and set(found["candidates"]) == {"broken", "whole"}


async def test_the_strategy_and_how_often_it_asked(system: System) -> None:
    await system.sys.generate(asks("cheap", decoding=Decoding("vote", width=3)))
    (found,) = decisions(system)
    assert found == {"model": "cheap", "engine": "scripted", "strategy": "vote", "asked": {"cheap": 3}}


async def test_the_version_of_the_definition_also_of_tools(system: System) -> None:
    rules = [{"match": "work", "step": 0, "calls": [{"name": "calculator", "arguments": {"expression": "1+1"}}]}]
    rules.append({"match": ".", "text": "done"})
    system.add_engine("worker", await open_engine(ModelSpec("worker", "scripted", options={"rules": rules})))
    await system.agents.create({"name": "bot", "model": "worker", "tools": ["calculator"]})
    await system.agents.ask("bot", "work", timeout=20)
    await system.agents.configure("bot", {"prompt": "Be brief."})
    await system.agents.ask("bot", "hi", timeout=20)
    assert [each["definition"] for each in decisions(system)] == ["bot@1", "bot@1", "bot@2"]
    assert [each["definition"] for each in decisions(system, "call")] == ["bot@1"]


# -- adapters


class Tuned(ScriptedEngine):
    """A scripted engine with adapters, which says by which it was asked."""

    def __init__(self) -> None:
        super().__init__(ModelSpec("tuned", "scripted"))
        self.info = replace(self.info, abilities=self.info.abilities | {"adapters"})

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        told = Message("user", f"<{request.adapter}>")
        async for chunk in super().generate(replace(request, prompt=None, messages=(told,))):
            yield chunk


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", adapters={"tuned": "house"}) as found:
        found.system.add_engine("tuned", Tuned())
        for name, fields in {"plain": {}, "poet": {"adapter": "verse"}, "bare": {"adapter": ""}}.items():
            await found.post("/v1/agents", {"name": name, "model": "tuned", **fields})
        yield found


async def said(api: Gate, path: str, body: dict[str, Json]) -> str:
    """The text of an answer, wherever that path has it."""
    status, answer = await api.post(path, body)
    assert status == 200, answer
    if "reply" in answer:
        return str(answer["reply"]["text"])
    if "output" in answer:
        return str(answer["output"][-1]["content"][0]["text"])
    return str(answer["choices"][0].get("text") or answer["choices"][0]["message"]["content"])


@pytest.mark.parametrize("body", [{"path": "/v1/chat/completions", "messages": user("x")},
                                  {"path": "/v1/responses", "input": "x"}])  # fmt: skip
@pytest.mark.parametrize(
    ("model", "usual"), [("tuned", "<house>"), ("plain", "<house>"), ("poet", "<verse>"), ("bare", "<None>")]
)
async def test_adapters_of_configuration_agent_and_request(
    api: Gate, body: dict[str, Any], model: str, usual: str
) -> None:
    asked = {key: value for key, value in body.items() if key != "path"} | {"model": model}
    for sent, expected in (({}, usual), ({"adapter": "mine"}, "<mine>"), ({"adapter": ""}, "<None>")):
        assert await said(api, body["path"], asked | sent) == expected
    told = [each.get("adapter") for each in decisions(api.system)]
    assert told == [None if usual == "<None>" else usual.strip("<>"), "mine", None]


async def test_adapters_over_rest_and_raw_completions(api: Gate) -> None:
    path = "/v1/agents/poet/messages"
    assert await said(api, path, {"text": "x"}) == "<verse>"
    assert await said(api, path, {"text": "x", "options": {"adapter": "mine"}}) == "<mine>"
    assert await said(api, path, {"text": "x", "options": {"sampling": {"temperature": 0.5}}}) == "<verse>"
    assert await said(api, "/v1/completions", {"model": "tuned", "prompt": "x", "adapter": "mine"}) == "<mine>"


async def test_an_adapter_that_a_model_cannot_have_is_refused(api: Gate) -> None:
    body = {"model": "scripted", "messages": user("x"), "adapter": "mine"}
    status, answer = await api.post("/v1/chat/completions", body)
    assert status == 400 and answer["error"]["param"] == "adapter"


async def test_a_route_has_an_adapter_by_its_own_name(tmp_path: Path, models_folder: Path) -> None:
    routes = {"both": Routing(replicas=["scripted"])}
    system = await boot(Config(data=tmp_path, model="scripted", routes=routes, adapters={"both": "shared"}))
    try:
        assert (await system.kernel.router.plan(asks("both"))).demand.abilities >= {"adapters"}
        assert not (await system.kernel.router.plan(asks("scripted"))).demand.abilities >= {"adapters"}
    finally:
        await system.close()
