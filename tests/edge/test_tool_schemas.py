"""Schemas as clients send them, through /v1: never a server error, and what is wrong is named by its path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core import codec
from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.engines import open_engine
from tests.contract.engine_suite import EMAIL
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.openai_api import openai_server
from tests.stand_ins.schemas import valid

CHAT = "/v1/chat/completions"
MODELS = ["scripted", "remote", pytest.param("tiny", marks=pytest.mark.model)]


@pytest.fixture
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Gate]:
    """A system with the scripted model, one behind a stand-in server, and the tiny one where a test asks for it."""
    async with gate(tmp_path / "data") as found, openai_server() as server:
        spec = ModelSpec("remote", "openai", source=server.url, model="stand-in")
        found.system.add_engine("remote", await open_engine(spec))
        if "tiny" in request.node.callspec.params.values():
            tiny = ModelSpec("tiny", "llamacpp", str(request.getfixturevalue("tiny_model")), window=1024)
            found.system.add_engine("tiny", await open_engine(tiny))
        yield found


def tool(name: str = "send", **said: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": said}, "required": ["a"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": user("Write to somebody."), "max_tokens": 120, "temperature": 0, **more}


KEPT: list[dict[str, Any]] = [
    {"type": ["string", "null"], "maxLength": 9},
    {"type": ["string", None], "enum": ["x", None]},
    {"type": "integer", "minimum": 0, "maximum": 9, "examples": {"one": {"value": 1}}, "title": None},
    {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
    {"type": "array", "items": [{"type": "boolean"}], "additionalItems": False, "minItems": 1},
    {"type": "object", "properties": None, "required": None, "additionalProperties": False},
    {"type": "number", "maximum": 1e30, "minimum": -1e30, "enum": [1, 2.5]},
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "strng"}, "type"),
    ({"type": "string", "pattern": "["}, "pattern"),
    ({"$ref": "#/$defs/none"}, "$ref"),
    ({"enum": []}, ""),
    ({"type": "integer", "minimum": "1"}, "minimum"),
]


@pytest.mark.parametrize("said", KEPT)
@pytest.mark.parametrize("model", MODELS)
async def test_arguments_are_valid_whatever_the_schema_is_written_in(
    api: Gate, model: str, said: dict[str, Any]
) -> None:
    offered = tool(**said)
    status, answer = await api.post(CHAT, chat(model, tools=[offered], tool_choice="required"))
    assert status == 200, answer
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert valid(offered["function"]["parameters"], codec.loads(call["function"]["arguments"]))


@pytest.mark.parametrize("model", MODELS)
async def test_a_wrong_schema_is_named_by_the_path_that_was_written(api: Gate, model: str) -> None:
    for (said, part), stream in product(WRONG, (False, True)):
        tools = [tool("good", type="null"), tool(**said)]
        status, answer = await api.post(CHAT, chat(model, stream=stream, tools=tools))
        assert status == 400 and "tool 'send'" in answer["error"]["message"]
        assert answer["error"]["param"] == ".".join(filter(None, ("tools[1].function.parameters.properties.a", part)))
        shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": tool(**said)["function"]["parameters"]}}
        status, answer = await api.post(CHAT, chat(model, stream=stream, response_format=shape))
        assert status == 400 and "schema" in answer["error"]["message"]
        assert answer["error"]["param"].startswith("response_format.json_schema.schema.properties.a")


@pytest.mark.parametrize("model", MODELS)
async def test_a_tool_beside_one_that_looks_ahead_is_called(api: Gate, model: str) -> None:
    tools = [tool("mail", type="string", format="email", pattern=EMAIL), tool("note", type="boolean")]
    chosen = {"type": "function", "function": {"name": "note"}}
    status, answer = await api.post(CHAT, chat(model, tools=tools, tool_choice=chosen))
    assert status == 200 and answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "note"
    status, answer = await api.post(CHAT, chat(model, tools=tools))
    assert status == 200 or "tool 'mail'" in answer["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["scripted", "remote"])
async def test_a_call_that_breaks_its_schema_is_not_handed_on(api: Gate, model: str, stream: bool) -> None:
    body = chat(model, stream=stream, tools=[tool("mail", type="string", pattern=EMAIL)])
    said = user('call mail with {"a": "a..b@example.org"}')
    status, answer = await api.post(CHAT, body | {"messages": said, "max_tokens": None})
    assert status == 400 and answer["error"]["param"] == "tools"
    assert "tool 'mail'" in answer["error"]["message"] and "a..b@example.org" in answer["error"]["message"]
    good = user('call mail with {"a": "a.b@example.org"}')
    status, answer = await api.post(CHAT, body | {"messages": good, "stream": False, "max_tokens": None})
    assert status == 200 and answer["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("model", MODELS)
async def test_a_schema_that_could_end_the_process_is_refused(api: Gate, model: str) -> None:
    chain = {f"d{i}": {"type": "object", "properties": {"x": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(1500)}
    schema = {"$ref": "#/$defs/d0", "$defs": chain | {"d1500": {}}}
    offered = {"type": "function", "function": {"name": "send", "parameters": schema}}
    status, answer = await api.post(CHAT, chat(model, tools=[offered]))
    assert status == 400 and "tool 'send'" in answer["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/responses"])
@pytest.mark.parametrize("model", ["scripted"])
async def test_responses_name_the_path_too(api: Gate, model: str, path: str) -> None:
    flat = {"type": "function", **tool(type="strng")["function"]}
    status, answer = await api.post(path, {"model": model, "input": "x", "tools": [flat]})
    assert status == 400 and answer["error"]["param"] == "tools[0].parameters.properties.a.type"
    shape = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "strng"}}}
    status, answer = await api.post(path, {"model": model, "input": "x", "text": shape})
    assert status == 400 and answer["error"]["param"] == "text.format.schema.type"
