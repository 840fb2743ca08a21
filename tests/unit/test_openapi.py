"""OpenAPI documents as tools, against an API here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import web

from llmagent_os.core.errors import FetchFailed, InvalidRequest, PermissionDenied, ToolFailed
from llmagent_os.core.records import Grant, Ticket
from llmagent_os.tools.openapi import OperationTool, openapi_tools
from llmagent_os.tools.settings import Document
from tests.stand_ins.server import serving

TICKET = Ticket("key-1", 7)
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1"},
    "servers": [{"url": "/api/{stage}", "variables": {"stage": {"default": "v1"}}}],
    "security": [{"token": []}],
    "paths": {
        "/items/{id}": {
            "parameters": [{"$ref": "#/components/parameters/id"}],
            "get": {
                "operationId": "getItem",
                "summary": "One item",
                "parameters": [
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "X-Trace", "in": "header", "description": "for logs", "schema": {"type": "string"}},
                    {"name": "session", "in": "cookie", "schema": {"type": "string"}},
                ],
            },
            "delete": {"operationId": "drop item"},
        },
        "/items": {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}},
                },
                "security": [{"query": []}],
            },
            "put": {"requestBody": {"required": True, "content": {"multipart/form-data": {}}}},
        },
    },
    "components": {
        "parameters": {"id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}},
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer"},
            "query": {"type": "apiKey", "in": "query", "name": "api_key"},
        },
        "schemas": {
            "Item": {
                "type": "object",
                "required": ["example"],
                "properties": {
                    "example": {"type": "string", "nullable": True, "example": "tea"},
                    "price": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
                },
            }
        },
    },
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def api(request: web.Request) -> web.StreamResponse:
        if request.path == "/openapi.json":
            return web.json_response(DOCUMENT)
        if request.path.endswith("/moved"):
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/")
        if request.path.endswith("/gone"):
            return web.json_response({"detail": "no such item"}, status=404)
        seen = {"method": request.method, "path": request.raw_path, "body": await request.text()}
        wanted = ("Authorization", "X-Trace", "Idempotency-Key")
        return web.json_response(seen | {name: request.headers[name] for name in wanted if name in request.headers})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", api)
    async with serving(app) as found:
        yield found


async def shop(url: str, folder: Path, **settings: Any) -> dict[str, OperationTool]:
    return await openapi_tools("shop", Document(f"{url}/openapi.json", **settings), folder)


async def test_operations_become_tools(url: str, tmp_path: Path) -> None:
    tools = await shop(url, tmp_path)
    assert sorted(tools) == ["shop_drop_item", "shop_getItem", "shop_post_items", "shop_put_items"]
    get, post = tools["shop_getItem"], tools["shop_post_items"]
    assert get.spec.description == "One item" and get.source == "openapi shop"
    assert list(get.spec.parameters["properties"]) == ["id", "tag", "X-Trace"]
    assert get.traits.effect == "read" and post.traits.effect == "external"
    assert [tool.traits.idempotent for tool in (get, post, tools["shop_drop_item"])] == [True, False, True]
    schema = dict(post.spec.parameters)
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    assert valid({"body": {"example": None, "price": 1, "parts": [{"example": "tea"}]}})
    assert not valid({"body": {"price": 1}}) and not valid({"body": {"example": "a", "price": 0}})
    assert not valid({"body": {"example": "a", "parts": [{}]}})


async def test_arguments_go_where_the_document_says(url: str, tmp_path: Path) -> None:
    tools = await shop(url, tmp_path)
    arguments = {"id": "a/b?c&../..", "tag": ["x y", "z"], "X-Trace": "7"}
    seen = await tools["shop_getItem"].run(arguments, TICKET)
    assert seen["path"].startswith("/api/v1/items/a%2Fb%3Fc%26..%2F..?tag=x") and "tag=z" in seen["path"]
    assert seen["X-Trace"] == "7" and seen["Idempotency-Key"] == "key-1" and "Authorization" not in seen
    seen = await tools["shop_post_items"].run({"body": {"example": "tea"}}, TICKET)
    assert seen["method"] == "POST" and json.loads(seen["body"]) == {"example": "tea"}


async def test_a_key_comes_from_the_environment_in_the_document_s_way(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = await shop(url, tmp_path, key_env="SHOP_KEY")
    with pytest.raises(ToolFailed, match="SHOP_KEY"):
        await tools["shop_getItem"].run({"id": "1"}, TICKET)
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    assert (await tools["shop_getItem"].run({"id": "1"}, TICKET))["Authorization"] == "Bearer s3cret"
    seen = await tools["shop_post_items"].run({"body": {}}, TICKET)
    assert seen["path"].endswith("?api_key=s3cret") and "Authorization" not in seen
    assert all("s3cret" not in file.read_text() for file in tmp_path.iterdir())


async def test_a_key_comes_from_a_file_of_secrets_too(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    monkeypatch.setenv("LLMAGENT_OS_SECRETS", str(secrets))
    tools = await shop(url, tmp_path, key_env="SHOP_KEY")
    with pytest.raises(ToolFailed, match=str(secrets / "SHOP_KEY")):
        await tools["shop_getItem"].run({"id": "1"}, TICKET)
    (secrets / "SHOP_KEY").write_text("s3cret\n")
    assert (await tools["shop_getItem"].run({"id": "1"}, TICKET))["Authorization"] == "Bearer s3cret"


async def test_what_does_not_fit_and_what_the_server_refuses_is_told(url: str, tmp_path: Path) -> None:
    tools = await shop(url, tmp_path)
    with pytest.raises(InvalidRequest, match="cannot read"):
        await openapi_tools("shop", Document("/no/such/file"), tmp_path)
    for wrong in ({}, {"id": "1", "colour": "red"}, {"id": ".."}, {"id": ""}):
        with pytest.raises(ToolFailed):
            await tools["shop_getItem"].run(wrong, TICKET)
    with pytest.raises(ToolFailed, match=r"404.*no such item"):
        await tools["shop_getItem"].run({"id": "gone"}, TICKET)
    with pytest.raises(ToolFailed, match="307"):  # a redirect is not followed
        await tools["shop_getItem"].run({"id": "moved"}, TICKET)
    with pytest.raises(PermissionDenied, match="hosts"):
        await tools["shop_getItem"].run({"id": "1"}, Ticket("k", grant=Grant(hosts=("example.org",))))


async def test_a_document_is_fetched_once_and_stays_the_same(url: str, tmp_path: Path) -> None:
    await shop(url, tmp_path)
    kept = Document(f"{url}/openapi.json", server="http://127.0.0.1:1")
    tools = await openapi_tools("shop", kept, tmp_path)
    with pytest.raises(ToolFailed, match=r"127.0.0.1"):
        await tools["shop_getItem"].run({"id": "1"}, TICKET)
    with pytest.raises(FetchFailed):
        await openapi_tools("other", Document("http://127.0.0.1:1/x.json"), tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "no OpenAPI"),
        ("a: [", "is not YAML"),
        ("swagger: '1.2'", "version 2 or 3"),
        ("swagger: '2.0'", "server"),
        ("openapi: 3.1.0\npaths: {}", "server"),
        ("openapi: 3.1.0\nservers: [{url: 'file:///etc'}]\npaths: {}", "server"),
        ("openapi: 3.1.0\nservers: [{url: 'http://x'}]\npaths: {/a: {get: {parameters: [{$ref: '#/b'}]}}}", "#/b"),
        ("openapi: 3.1.0\nservers: [{url: 'http://x'}]\na: {$ref: '#/a'}\n"
         "paths: {/a: {get: {parameters: [{$ref: '#/a'}]}}}", "back to itself"),
    ],
)  # fmt: skip
async def test_what_is_no_document_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match=says):
        await openapi_tools("a", Document(str(file)), tmp_path)
