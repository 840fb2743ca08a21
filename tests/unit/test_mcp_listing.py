"""What MCP servers list, with something wrong in every place of it."""

from __future__ import annotations

import copy
import os
from typing import Any

import jsonschema
import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCResponse, ListToolsResult

from llmagent_os.core import codec
from llmagent_os.tools import mcp_listing
from llmagent_os.tools.mcp_listing import Listing
from llmagent_os.tools.mcp_tools import fitting
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


@pytest.mark.parametrize("where", ["annotations", "_meta"])
def test_what_is_nested_too_deeply_to_be_kept_is_left_out(where: str) -> None:
    deep: Any = {}
    for _ in range(240):  # it could be written down by itself, and not in a listing
        deep = {"d": deep}
    codec.dumps(deep)
    tools, left_out = fitting([{**TOOL, where: deep}, {"name": "other"}], (), 1000)
    assert [each["name"] for each in tools] == ["other"] and "nested too deeply" in left_out["t"]


async def test_a_long_listing_is_looked_through_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_listing, "fitting", elsewhere)
    listing = Listing()
    told = JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": [{"name": f"t{n}"} for n in range(40_000)]})
    await listing.clean(SessionMessage(told))
    said = listing.left_out["the listing"]
    assert said.startswith("read by process") and said != f"read by process {os.getpid()}"
