"""Review and masking as a system has them: from its configuration and from plugins."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from llmagent_os import ToolKit
from llmagent_os.core.records import GenerateRequest, Message
from llmagent_os.plugins import hookimpl
from llmagent_os.security.recognisers import Span
from llmagent_os.security.review import Finding, Sink
from tests.stand_ins.gateway import Gate, gate, user

RAN: list[str] = []
TOOLS = ToolKit()
REVIEW = {"sinks": {"d*": {"query": "sql"}}, "sink": "html"}


@TOOLS.add
def db(query: str) -> str:
    """Ask the database."""
    RAN.append(query)
    return "done"


class Plugin:
    """A tool with a sink, and opinions."""

    @hookimpl
    def tools(self) -> Any:
        return TOOLS

    @hookimpl
    def classifiers(self) -> Any:
        def rude(text: str) -> Iterable[Finding]:
            return [Finding("rude", "rude", m.start(), m.end(), "…", "edit") for m in re.finditer("blast", text)]

        return [rude]

    @hookimpl
    def judges(self) -> Any:
        async def judge(text: str, sink: Sink) -> Finding | None:
            return Finding("judged", f"no oaths in {sink}", action="refuse") if "oath" in text else None

        return [judge]

    @hookimpl
    def recognisers(self) -> Any:
        return [lambda text: [Span(m.start(), m.end(), "CASE") for m in re.finditer(r"case-\d+", text)]]


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Plugin(), review=REVIEW) as found:
        yield found


async def chat(api: Gate, text: str, model: str = "scripted") -> tuple[int, Any]:
    return await api.post("/v1/chat/completions", {"model": model, "messages": user(text)})


async def test_classifiers_and_judges_of_plugins_review_answers(api: Gate) -> None:
    _, answer = await chat(api, "blast it")
    assert answer["choices"][0]["message"]["content"] == "… it"
    status, answer = await chat(api, "an oath")
    assert status == 403 and "no oaths in html" in answer["error"]["message"]


async def test_what_shows_answers_is_the_configuration_s_to_say(api: Gate) -> None:
    _, answer = await chat(api, "<img src=x onerror=alert(1)>")
    assert answer["choices"][0]["message"]["content"].startswith("&lt;img")


async def test_arguments_are_reviewed_by_the_sink_that_the_configuration_names(api: Gate) -> None:
    await api.post("/v1/agents", {"name": "clerk", "model": "scripted", "tools": ["db"]})
    send = "/v1/agents/clerk/messages"
    for session, query in (("bad", "SELECT 1; DROP TABLE t"), ("good", "SELECT 1")):
        await api.post(send, {"text": f'call db with {{"query": "{query}"}}', "wait": 1, "session": session})
    assert RAN == ["SELECT 1"]
    (asked,) = (await api.get("/v1/approvals"))[1]["approvals"]
    assert asked["tool"] == "db" and "more than one statement" in asked["why"]


async def test_recognisers_of_plugins_find_what_is_masked(api: Gate) -> None:
    seen: list[str] = []

    class Remote:
        def __init__(self, engine: Any) -> None:
            self._engine, self.info = engine, engine.info

        def generate(self, request: GenerateRequest) -> Any:
            seen.append(request.messages[-1].text)
            return self._engine.generate(request)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._engine, name)

    engine = Remote(await api.kernel.engines.get("scripted"))

    async def opened() -> Any:
        return engine

    api.kernel.engines.add("far", opened, remote=True)
    answer = await api.system.sys.generate(GenerateRequest("far", (Message("user", "about case-77"),)))
    assert answer.text == "about case-77" and "case-77" not in seen[0] and "<CASE_" in seen[0]
