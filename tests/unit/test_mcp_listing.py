"""What MCP servers list, with something wrong in every place of it."""

from __future__ import annotations

import copy
import gc
import os
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
from mcp import Client
from mcp.shared.message import SessionMessage
from mcp.types import CallToolResult, JSONRPCResponse, ListToolsResult, jsonrpc_message_adapter

from llmagent_os.core import codec
from llmagent_os.core.schemas import meant
from llmagent_os.core.wellformed import wellformed
from llmagent_os.tools import mcp_http, mcp_listing, mcp_stdio
from llmagent_os.tools.mcp_listing import HEADED, PARTS, Listing
from llmagent_os.tools.mcp_login import Login
from llmagent_os.tools.mcp_tools import fitting
from llmagent_os.tools.settings import MCPServer
from tests.stand_ins.elsewhere import elsewhere
from tests.unit.test_openapi_features import JUNK, places

TOOL: dict[str, Any] = {
    "name": "t", "title": "T", "description": "words", "icons": [{"src": "https://x"}],
    "inputSchema": {"type": "object", "required": ["a"], "$defs": {"d": {"type": "string"}}, "properties": {
        "a": {"$ref": "#/$defs/d"}, "b": {"type": ["integer", "null"], "minimum": 1, "enum": [1, None]},
        "c": {"anyOf": [{"type": "array", "items": {"type": "string", "pattern": "^a"}}, {"type": "object"}]}}},
    "outputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}, "_meta": {"x": 1},
    "execution": {"taskSupport": "optional"},
}  # fmt: skip


async def test_whatever_is_wrong_with_a_tool_costs_no_other_one() -> None:
    seen = set[bytes]()
    for number in range(len(places(TOOL))):
        for junk in JUNK:
            tool = copy.deepcopy(TOOL)
            holder, key = places(tool)[number]
            holder[key] = copy.deepcopy(junk)
            listing = Listing()
            told = JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": [tool, {"name": "other"}]})
            message = await listing.clean(SessionMessage(told))
            assert [each["name"] for each in listing.tools][-1] == "other"
            assert len(listing.tools) + len(listing.left_out) == 2
            assert len(ListToolsResult.model_validate(message.message.result, by_name=False).tools) == len(
                listing.tools
            )
            for each in listing.tools:
                assert isinstance(each["description"], str)
                if (packed := codec.dumps(each["inputSchema"])) not in seen:
                    seen.add(packed)
                    jsonschema.Draft202012Validator.check_schema(each["inputSchema"])


EVERY: dict[str, Any] = {
    "$id": "https://x/y#", "$schema": "s", "$anchor": "a", "$dynamicAnchor": "b", "$comment": "c", "$defs": {"d": True},
    "$dynamicRef": "#a", "$vocabulary": {"v": True}, "type": ["object"], "title": "t", "description": "d",
    "default": 1, "deprecated": True, "readOnly": False, "writeOnly": False, "examples": [1], "enum": [1], "const": 1,
    "multipleOf": 0.5, "maximum": 1, "exclusiveMaximum": 2, "minimum": 0, "exclusiveMinimum": -1, "maxLength": 2.0,
    "minLength": 1, "maxItems": 1, "minItems": 0, "uniqueItems": True, "maxContains": 1, "minContains": 0,
    "maxProperties": 1, "minProperties": 0, "required": ["a"], "dependentRequired": {"a": ["b"]}, "pattern": "^a$",
    "format": "date", "contentEncoding": "base64", "contentMediaType": "a/b", "contentSchema": {"type": "null"},
    "prefixItems": [{}], "items": {}, "contains": {}, "additionalProperties": False,
    "properties": {"p": {"type": "string"}},
    "patternProperties": {"^a": {}}, "dependentSchemas": {"a": {}}, "propertyNames": {}, "if": {}, "then": {},
    "else": {},
    "allOf": [{}], "anyOf": [{}], "oneOf": [{}], "not": {}, "unevaluatedItems": {}, "unevaluatedProperties": {},
    "definitions": {"d": {}}, "dependencies": {"a": ["b"], "c": {}}, "$recursiveAnchor": "a", "$recursiveRef": "#",
}  # fmt: skip


JUDGE = jsonschema.Draft202012Validator(
    jsonschema.Draft202012Validator.META_SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


def test_a_schema_is_judged_as_the_schema_of_schemas_does() -> None:
    checked = set[bool]()
    odd = [*JUNK, "(", "#", "a b", {"type": "nothing"}, ["a", "a"], [], 2.0, 2.5, -1, 0, [True], {"(": True}]
    parts: list[dict[str, Any]] = [{key: junk} for key in EVERY for junk in odd]
    for number in range(len(places(TOOL["inputSchema"]))):
        for junk in ("(", None, {"type": "nothing"}, [], 1):
            schema = copy.deepcopy(TOOL["inputSchema"])
            holder, key = places(schema)[number]
            holder[key] = copy.deepcopy(junk)
            parts.append(schema)
    for schema in (EVERY, *parts):
        well = JUDGE.is_valid(schema)
        assert wellformed(schema) == well, schema
        checked.add(well)
    assert checked == {True, False} and wellformed(EVERY)


def test_a_listing_of_many_schemas_costs_little_more_than_their_reading() -> None:
    def listed(first: int) -> list[dict[str, Any]]:
        names = [[f"p{number}_{each}" for each in range(20)] for number in range(first, first + 150)]
        return [
            {"name": of[0], "inputSchema": {"type": "object", "properties": {n: {"enum": ["a"]} for n in of}}}
            for of in names
        ]

    def times(first: int) -> float:
        """Of schemas that nobody has seen before, so that none is remembered."""
        spent = [time.thread_time()]
        for tool in listed(first):
            meant(tool["inputSchema"], "it", "")
        spent.append(time.thread_time())
        assert len(fitting(listed(first + 1000), (), 1000)[0]) == 150
        return (time.thread_time() - spent[1]) / (spent[1] - spent[0])

    assert min(times(first) for first in range(0, 10_000, 2000)) < 3.5  # it was six; of five, for a machine is busy


def test_many_small_schemas_take_time_by_their_length() -> None:
    many = {"type": "object", "properties": {"a": {"anyOf": [{f"${n}": 5} for n in range(2000)]}}}
    began = time.thread_time()
    fitting([{"name": "t", "inputSchema": many}], (), 1)
    assert time.thread_time() - began < 20e-6 * len(codec.dumps(many))  # it took 40 us a byte


def test_a_long_message_is_read_in_less_time_than_the_library_takes() -> None:
    def library(line: bytes) -> Any:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        f"{message}"  # as it logs what comes over HTTP
        return message

    def ratio(first: int) -> float:
        tools = [{"name": f"t{n}", "inputSchema": {"a": [{"b": n}] * 20}} for n in range(first, first + 2000)]
        line = codec.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}})
        spent = [time.thread_time()]
        told = mcp_stdio.messages.validate_json(line, by_name=False)
        f"{told}"
        spent.append(time.thread_time())
        assert told.model_dump() == library(line).model_dump()
        return (spent[1] - spent[0]) / (time.thread_time() - spent[1])

    gc.disable()
    try:
        assert min(ratio(first) for first in range(5)) < 0.5  # some 0.15; all who wait, wait that long
    finally:
        gc.enable()


async def test_so_it_is_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    read = mcp_stdio.Messages.validate_json

    def noted(self: mcp_stdio.Messages, data: str | bytes, **how: Any) -> Any:
        heard.append(len(data))
        return read(self, data, **how)

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        if (number := asked.get("id")) is None:
            return web.Response(status=202)
        told = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "s", "version": "1"},
        }
        if asked["method"] == "tools/list":
            told = {"tools": [{**TOOL, "description": "d" * 100_000}]}
        return web.json_response({"jsonrpc": "2.0", "id": number, "result": told})

    monkeypatch.setattr(mcp_stdio.Messages, "validate_json", noted)
    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        listing, login = Listing(), Login(tmp_path / "none", pytest.fail)
        given = MCPServer(url=str(server.make_url("/")))
        async with (
            mcp_http.connected("s", given, login, heard.append) as transport,
            Client(listing.cleaned(transport)) as client,
        ):
            await client.list_tools()
    assert max(heard) > 100_000 and [each["name"] for each in listing.tools] == ["t"]


async def test_the_library_is_given_of_a_tool_what_it_needs() -> None:
    headed = {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string"}}}
    long = {**headed, "description": "d" * 20_000}
    listed = [TOOL, {"name": "h", "inputSchema": headed}, *({"name": f"l{n}", "inputSchema": long} for n in range(9))]
    listing, within = Listing(), HEADED // 20_200
    message = SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": listed}))
    given = (await listing.clean(message)).message.result["tools"]
    assert given == [{"name": "t", "inputSchema": {"type": "object"}}, *listed[1 : within + 2]]
    assert [each["name"] for each in listing.tools] == [each["name"] for each in listed[: within + 2]]
    assert listing.tools[0]["inputSchema"]["required"] == ["a"]
    assert "headers" in listing.left_out["l8"]  # it would be looked through, and nothing else done meanwhile


@pytest.mark.parametrize("where", ["annotations", "_meta"])
def test_what_is_nested_too_deeply_to_be_kept_is_left_out(where: str) -> None:
    deep: Any = {}
    for _ in range(240):  # it could be written down by itself, and not in a listing
        deep = {"d": deep}
    codec.dumps(deep)
    tools, left_out = fitting([{**TOOL, where: deep}, {"name": "other"}], (), 1000)
    assert [each["name"] for each in tools] == ["other"] and "nested too deeply" in left_out["t"]


async def test_a_long_listing_is_looked_through_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_listing, "fitted", elsewhere)
    listing = Listing()
    told = JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": [{"name": f"t{n}"} for n in range(40_000)]})
    await listing.clean(SessionMessage(told))
    said = listing.left_out["the listing"]
    assert said.startswith("read by process") and said != f"read by process {os.getpid()}"


async def test_of_a_long_listing_what_is_odd_costs_no_other_one() -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"d": deep}
    listed = [TOOL, {"name": "a", "inputSchema": deep}, {"name": "b", "_meta": {"x": 2**70}}, {"name": "\ud83d"}]
    listed += [{"name": f"t{n}", "description": "d" * 100} for n in range(300)]
    listing = Listing()
    await listing.clean(SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": listed})))
    assert [each["name"] for each in listing.tools] == ["t", *(f"t{n}" for n in range(300))]
    assert {"a", "b"} < listing.left_out.keys()


async def test_of_a_long_answer_the_checks_see_only_the_parts_that_are_handed_on() -> None:
    parts = [{"type": "text", "text": f"{n} and so on"} for n in range(20_000)]
    line = codec.dumps({"jsonrpc": "2.0", "id": 7, "result": {"content": parts, "isError": False}})
    heard = mcp_stdio._parsed(line)
    assert isinstance(heard, SessionMessage) and isinstance(heard.message, JSONRPCResponse)
    assert heard.message.id == 7 and heard.message.result["isError"] is False
    assert len(heard.message.result["content"]) == PARTS + 1
    content = (await Listing().clean(heard)).message.result["content"]
    assert [content[0]["text"], content[-1]["text"]] == ["0 and so on", "[19000 more parts are left out]"]
    assert len(content) == PARTS + 1


def test_a_long_line_that_is_no_result_is_read_as_ever() -> None:
    notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 300_000}}
    heard = mcp_stdio._parsed(codec.dumps(notice))
    assert isinstance(heard, SessionMessage) and heard.message.model_dump()["params"] == notice["params"]
    assert isinstance(mcp_stdio._parsed(b"[" + b"1," * 200_000), ValueError)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"content": None}, []), ({}, []), ({"content": "plain"}, ["plain"]), ({"content": [None, "x"]}, ["x"]),
        ({"content": {"type": "text", "text": "one"}}, ["one"]), ({"content": [{"type": "text", "text": 5}]}, ["5"]),
        ({"content": [{"type": "text"}]}, [""]), ({"toolResult": [1]}, ["[1]"]),
        ({"structuredContent": [1]}, ["[1]"]), (None, []), ([1], ["1"]), ("done", ["done"]),
        ({"content": [{"type": "image", "data": None}]}, ['{"type":"image","data":null}']),
    ],
)  # fmt: skip
async def test_a_call_s_result_is_taken_in_whatever_form_it_is_given(result: Any, said: list[str]) -> None:
    heard = mcp_stdio._parsed(codec.dumps({"jsonrpc": "2.0", "id": 3, "result": result}))
    message = await Listing().clean(heard)
    taken = CallToolResult.model_validate(message.message.result, by_name=False)
    assert [part.text for part in taken.content] == said and message.message.id == 3


async def test_data_stays_data_and_a_picture_without_a_kind_is_one() -> None:
    result = {"toolResult": {"a": 1}, "content": [{"type": "image", "data": "AAEC"}]}
    heard = mcp_stdio._parsed(codec.dumps({"id": 3, "result": result}))  # nor is the protocol's version said
    taken = CallToolResult.model_validate((await Listing().clean(heard)).message.result, by_name=False)
    assert taken.structured_content == {"a": 1} and taken.content[0].mime_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"jsonrpc": "2.0", "id": 3, "error": "plain words"}', "plain words"),
        (b'{"jsonrpc": "2.0", "id": 3, "error": {"code": null, "message": null}}', "it failed"),
        (b'{"jsonrpc": "2.0", "id": 3, "result": null, "error": {"code": 1, "message": "m"}}', "m"),
        (b'{"jsonrpc": "2.0", "id": 3, "result": {"a": ' + b"[" * 9000 + b"]" * 9000 + b"}}", "cannot be read"),
    ],
)
def test_an_error_in_any_form_reaches_the_call_that_waits(line: bytes, said: str) -> None:
    message = mcp_stdio._parsed(line)
    assert message.message.id == 3 and said in message.message.error.message


@pytest.mark.parametrize("line", [b"{not json", b'{"hello": 1}', b"null", b'"x"', b'{"id": 3, "method": 5}'])
def test_what_is_no_answer_is_none(line: bytes) -> None:
    assert isinstance(mcp_stdio._parsed(line), ValueError)
