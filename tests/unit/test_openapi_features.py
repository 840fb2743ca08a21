"""What real public OpenAPI documents have in them, each as a small document: imported, or left out with why."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import web

from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest, ToolFailed
from llmagent_os.core.records import Ticket
from llmagent_os.tools.openapi import Imported, openapi_tools
from llmagent_os.tools.openapi_read import names, read
from llmagent_os.tools.openapi_schemas import LARGEST
from llmagent_os.tools.settings import Document

TICKET = Ticket("key-1", 7)


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Answers with the request as it came."""

    async def echo(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/badjson"):
            return web.Response(text="{not json", content_type="application/json")
        if request.path.endswith("/latin1"):
            return web.Response(body="é".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"})
        if request.path.endswith("/huge"):
            return web.Response(body=b"x" * (9 << 20), content_type="text/plain")
        seen: dict[str, Any] = {"method": request.method, "path": request.raw_path, "type": request.content_type}
        if request.content_type == "multipart/form-data":
            seen["parts"] = [await part_of(part) async for part in await request.multipart()]
        else:
            seen["body"] = await request.text()
        return web.json_response(seen | {"headers": {name.lower(): value for name, value in request.headers.items()}})

    async def part_of(part: Any) -> list[Any]:
        return [part.name, part.filename, part.headers.get("Content-Type", ""), (await part.read()).decode()]

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def imported(text: str, server: str, folder: Path, **settings: Any) -> Imported:
    file = folder / "a.yaml"
    head = "" if text.startswith("swagger") else "openapi: 3.0.3\n"
    servers = "" if "servers:" in text or head == "" else "servers: [{url: SERVER/api}]\n"
    host = server.removeprefix("http://")
    file.write_text((head + servers + text).replace("SERVER", server).replace("HOST", host))
    return await openapi_tools("a", Document(str(file), **settings), folder)


def valid(tools: Imported, name: str, arguments: dict[str, Any]) -> bool:
    schema = dict(tools[name].spec.parameters)
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(arguments))


def get(parameters: str, path: str = "/t") -> str:
    return f"paths:\n  {path}:\n    get:\n      operationId: t\n      parameters: {parameters}\n"


def post(content: str, more: str = "") -> str:
    return f"paths: {{/t: {{post: {{operationId: t, requestBody: {{required: true, content: {content}}}}}}}}}\n{more}"


OLD = "swagger: '2.0'\nhost: HOST\nbasePath: /api\nschemes: [http]\n"
OBJECT = "{type: object, properties: {r: {type: integer}, g: {type: string}}}"
ARRAY = "{type: array, items: {type: string}}"


@dataclass
class Sent:
    """A feature: a document with the operation `t`, what it is called with, and what of the request is looked at."""

    document: str
    given: dict[str, Any]
    path: str = "/api/t"
    body: Any = None
    media: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[Any] | None = None


FEATURES = {
    "array in a query, one by one": Sent(get(f"[{{name: q, in: query, schema: {ARRAY}}}]"), {"q": ["a b", "c"]},
                                         "/api/t?q=a%20b&q=c"),
    "array in a query, explode false": Sent(get(f"[{{name: q, in: query, explode: false, schema: {ARRAY}}}]"),
                                            {"q": ["a,b", "c"]}, "/api/t?q=a%2Cb,c"),
    "spaceDelimited": Sent(get(f"[{{name: q, in: query, style: spaceDelimited, schema: {ARRAY}}}]"),
                           {"q": ["a", "b"]}, "/api/t?q=a%20b"),
    "pipeDelimited": Sent(get(f"[{{name: q, in: query, style: pipeDelimited, schema: {ARRAY}}}]"), {"q": ["a", "b"]},
                          "/api/t?q=a%7Cb"),
    "deepObject, and deeper": Sent(get(f"[{{name: q, in: query, style: deepObject, schema: {OBJECT}}}]"),
                                   {"q": {"r": 1, "g": {"x": ["y", "z"]}, "n": None}},
                                   "/api/t?q%5Br%5D=1&q%5Bg%5D%5Bx%5D=y&q%5Bg%5D%5Bx%5D=z"),
    "object in a query, key by key": Sent(get(f"[{{name: q, in: query, schema: {OBJECT}}}]"), {"q": {"r": 1, "g": "h"}},
                                          "/api/t?r=1&g=h"),
    "object in a query, explode false": Sent(get(f"[{{name: q, in: query, explode: false, schema: {OBJECT}}}]"),
                                             {"q": {"r": 1, "g": "h"}}, "/api/t?q=r,1,g,h"),
    "JSON in a query": Sent(get(f"[{{name: q, in: query, content: {{application/json: {{schema: {OBJECT}}}}}}}]"),
                            {"q": {"r": 1}}, "/api/t?q=%7B%22r%22%3A1%7D"),
    "allowReserved, without what would begin another one": Sent(
        get("[{name: q, in: query, allowReserved: true, schema: {type: string}}]"), {"q": "a/b?c&d=e#f"},
        "/api/t?q=a/b?c%26d=e%23f"),
    "null is not sent": Sent(get("[{name: q, in: query, schema: {type: string, nullable: true}}, "
                                 "{name: h, in: header, schema: {type: string}}]"), {"q": None, "h": None}),
    "booleans and numbers": Sent(get("[{name: q, in: query, schema: {type: boolean}}, "
                                     "{name: n, in: query, schema: {type: number}}]"), {"q": True, "n": 1.5},
                                 "/api/t?q=true&n=1.5"),
    "simple in a path": Sent(get(f"[{{name: p, in: path, required: true, schema: {ARRAY}}}]", "/t/{p}"),
                             {"p": ["a", "b/c"]}, "/api/t/a,b%2Fc"),
    "simple object in a path, explode": Sent(
        get(f"[{{name: p, in: path, required: true, explode: true, schema: {OBJECT}}}]", "/t/{p}"),
        {"p": {"r": 1, "g": "h"}}, "/api/t/r=1,g=h"),
    "label": Sent(get(f"[{{name: p, in: path, style: label, explode: true, schema: {ARRAY}}}]", "/t{p}"),
                  {"p": ["a", "b"]}, "/api/t.a.b"),
    "matrix": Sent(get(f"[{{name: p, in: path, required: true, style: matrix, schema: {ARRAY}}}]", "/t{p}"),
                   {"p": ["a", "b"]}, "/api/t;p=a,b"),
    "matrix, explode": Sent(
        get(f"[{{name: p, in: path, required: true, style: matrix, explode: true, schema: {OBJECT}}}]", "/t{p}"),
        {"p": {"r": 1, "g": "h"}}, "/api/t;r=1;g=h"),
    "several in one part of a path": Sent(get("[{name: x, in: path, required: true, schema: {type: integer}}]",
                                              "/t/{x},{y}.json"), {"x": 1, "y": "2"}, "/api/t/1,2.json"),
    "array in a header": Sent(get(f"[{{name: X-L, in: header, schema: {ARRAY}}}]"), {"X-L": ["a", "b"]},
                              headers={"x-l": "a,b"}),
    "a cookie that is needed": Sent(get("[{name: c, in: cookie, required: true, schema: {type: string}}]"), {"c": "v"},
                                    headers={"cookie": "c=v"}),
    "path item by reference": Sent("paths:\n  /t: {$ref: '#/x-items/a~1b'}\nx-items: {a/b: {get: {operationId: t}}}\n",
                                   {}),
    "a path within another": Sent(
        "paths:\n  /u/{id}: {get: {operationId: u, parameters: [{name: q, in: query, schema: {type: string}}]}}\n"
        "  /t: {get: {operationId: t, parameters: [{$ref: '#/paths/~1u~1%7Bid%7D/get/parameters/0'}]}}\n",
        {"q": "1"}, "/api/t?q=1"),
    "body by reference": Sent(
        "paths: {/t: {post: {operationId: t, requestBody: {$ref: '#/components/requestBodies/b%20c'}}}}\n"
        "components: {requestBodies: {b c: {required: true, content: {application/json: {schema: {type: object}}}}}}\n",
        {"body": {"a": 1}}, body='{"a":1}', media="application/json"),
    "servers of a path, with variables": Sent(
        "servers: [{url: 'http://127.0.0.1:1'}]\npaths:\n  /t:\n    servers: [{url: 'SERVER/{v}', variables: "
        "{v: {default: v2, enum: [v1, v2]}}}]\n    get: {operationId: t}\n", {}, "/v2/t"),
    "servers of an operation": Sent(
        "servers: [{url: 'http://127.0.0.1:1'}]\n"
        "paths: {/t: {get: {operationId: t, servers: [{url: 'SERVER/own'}]}}}\n",
        {}, "/own/t"),
    "vendor JSON": Sent(post("{application/vnd.api+json: {schema: {type: object}}}"), {"body": {"a": None}},
                        body='{"a":null}', media="application/vnd.api+json"),
    "JSON where there is a choice": Sent(
        post("{application/xml: {}, application/x-www-form-urlencoded: {}, 'application/json; charset=utf-8': {}}"),
        {"body": {"a": 1}}, body='{"a":1}', media="application/json"),
    "a form": Sent(post("{application/x-www-form-urlencoded: {schema: {type: object}}}"),
                   {"body": {"a": "x y", "b": [1, 2], "c": {"d": 1}, "n": None}},
                   body="a=x%20y&b=1&b=2&c=%7B%22d%22%3A1%7D",
                   media="application/x-www-form-urlencoded"),
    "a form with deepObject": Sent(
        post("{application/x-www-form-urlencoded: {schema: {type: object}, encoding: {m: {style: deepObject}}}}"),
        {"body": {"m": {"k": "v"}}}, body="m%5Bk%5D=v", media="application/x-www-form-urlencoded"),
    "an upload": Sent(
        post("{multipart/form-data: {schema: {type: object, properties: {f: {type: string, format: binary}, "
             "meta: {type: object}, n: {type: integer}}}, encoding: {f: {contentType: text/csv}}}}"),
        {"body": {"f": {"name": "a.csv", "text": "1,2"}, "meta": {"k": 1}, "n": 3}}, media="multipart/form-data",
        parts=[["f", "a.csv", "text/csv", "1,2"], ["meta", None, "application/json", '{"k":1}'],
               ["n", None, "text/plain; charset=utf-8", "3"]]),
    "a binary body": Sent(post("{application/octet-stream: {schema: {type: string, format: binary}}}"),
                          {"body": {"base64": "aGk="}}, body="hi", media="application/octet-stream"),
    "a text body": Sent(post("{text/plain: {schema: {type: string}}}"), {"body": "hi"}, body="hi", media="text/plain"),
    "an XML body as text": Sent(post("{application/xml: {schema: {type: object}}}"), {"body": "<a/>"}, body="<a/>",
                                media="application/xml"),
    "any body": Sent(post("{'*/*': {schema: {type: object}}}"), {"body": {}}, body="{}", media="application/json"),
    "a body of any method, and a query in the path": Sent(
        "paths: {'/t?v=1#x': {delete: {operationId: t, requestBody: {content: {application/json: {}}}, "
        "parameters: [{name: q, in: query}]}}}\n", {"q": "a", "body": [1]}, "/api/t?v=1&q=a", body="[1]"),
    "a path that would be another host": Sent("paths: {'//evil.example/t': {get: {operationId: t}}}\n", {},
                                              "/api/evil.example/t"),
    "2.0: base path, csv, and a body": Sent(
        OLD + "parameters: {q: {name: q, in: query, "
        "type: array, items: {type: string}}}\n"
        "definitions: {B: {type: object, properties: {a: {type: string, x-nullable: true}}}}\n"
        "paths: {/t: {post: {operationId: t, parameters: [{$ref: '#/parameters/q'}, {name: b, in: body, "
        "required: true, schema: {$ref: '#/definitions/B'}}]}}}\n", {"q": ["a", "b"], "body": {"a": None}},
        "/api/t?q=a,b", body='{"a":null}', media="application/json"),
    "2.0: a form with a file": Sent(
        OLD + "paths: {/t: {post: {operationId: t, "
        "consumes: [multipart/form-data], parameters: [{name: f, in: formData, type: file, required: true}, "
        "{name: n, in: formData, type: string}]}}}\n", {"body": {"f": "plain", "n": "x"}}, media="multipart/form-data",
        parts=[["f", "f", "application/octet-stream", "plain"], ["n", None, "text/plain; charset=utf-8", "x"]]),
    "2.0: multi": Sent(
        OLD + "paths: {/t: {get: {operationId: t, parameters: "
        "[{name: q, in: query, type: array, items: {type: string}, collectionFormat: multi}]}}}\n", {"q": ["a", "b"]},
        "/api/t?q=a&q=b"),
}  # fmt: skip


@pytest.mark.parametrize("name", FEATURES)
async def test_a_feature_is_sent_as_the_document_says(server: str, tmp_path: Path, name: str) -> None:
    feature = FEATURES[name]
    tools = await imported(feature.document, server, tmp_path)
    assert jsonschema.Draft202012Validator.check_schema(dict(tools["a_t"].spec.parameters)) is None
    seen = await tools["a_t"].run(feature.given, TICKET)
    assert seen["path"] == feature.path
    if feature.body is not None:
        assert seen["body"] == feature.body
    if feature.media is not None:
        assert seen["type"] == feature.media
    if feature.parts is not None:
        assert seen["parts"] == feature.parts
    assert feature.headers.items() <= seen["headers"].items()


LEFT_OUT = {
    "another document": ("paths: {/t: {get: {parameters: [{$ref: 'x.yaml#/p'}]}}, /ok: {get: {operationId: ok}}}",
                         "another document"),
    "nothing there": ("paths: {/t: {get: {parameters: [{$ref: '#/nope'}]}}, /ok: {get: {operationId: ok}}}",
                      "leads to nothing"),
    "round and round": ("a: {$ref: '#/a'}\npaths: {/t: {get: {parameters: [{$ref: '#/a'}]}}, "
                        "/ok: {get: {operationId: ok}}}", "back to itself"),
    "part of itself": ("components: {schemas: {A: {allOf: [{$ref: '#/components/schemas/B'}]}, "
                       "B: {anyOf: [{$ref: '#/components/schemas/A'}]}}}\npaths: {/t: {get: {parameters: [{name: q, "
                       "in: query, schema: {$ref: '#/components/schemas/A'}}]}}, /ok: {get: {operationId: ok}}}",
                       "back to itself"),
    "no operation": ("paths: {/t: {get: 5}, /ok: {get: {operationId: ok}}}", "as OpenAPI says"),
    "no list of parameters": ("paths: {/t: {get: {parameters: 5}}, /ok: {get: {operationId: ok}}}", "as OpenAPI says"),
    "a parameter without a name": ("paths: {/t: {get: {parameters: [{in: query}]}}, /ok: {get: {operationId: ok}}}",
                                   "name"),
    "a place that is none": ("paths: {/t: {get: {parameters: [{name: a, in: pocket}]}}, /ok: {get: {operationId: ok}}}",
                             "pocket"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
async def test_an_operation_that_cannot_be_a_tool_costs_no_other_one(server: str, tmp_path: Path, name: str) -> None:
    document, why = LEFT_OUT[name]
    tools = await imported(document, server, tmp_path)
    assert list(tools) == ["a_ok"]
    assert list(tools.left_out) == ["GET /t"] and why in tools.left_out["GET /t"]


async def test_names_are_told_apart_and_are_the_same_in_whatever_order(server: str, tmp_path: Path) -> None:
    paths = {
        "/a/{x}/d": "Drop", "/b/{x}/d": "Drop", "/p.q": "get/p.q", "/p-q": "get p-q", "/c": None, "/c/": None,
        "/e": "获取用户列表", "/f": "删除用户列表", "/g": "---", "/h": "x" * 70 + "1", "/i": "x" * 70 + "2",
        "/j": "获取User",
    }  # fmt: skip
    found = {}
    for _ in range(3):
        items = list(paths.items())
        random.Random(len(found)).shuffle(items)
        document = {path: {"get": {"operationId": name} if name else {}} for path, name in items}
        tools = await imported(f"paths: {json.dumps(document)}\n", server, tmp_path)
        names = {tool.spec.description: name for name, tool in tools.items()}
        assert len(names) == len(paths) and all(len(name) <= 64 and name.isascii() for name in tools)
        assert names == (found or names)
        found = names
    assert found["GET /a/{x}/d"] == "a_get_a_x_d" and found["GET /e"] == "a_get_e" and found["GET /j"] == "a_User"


async def test_a_name_that_is_somebody_else_s_stays_theirs(server: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"openapi: 3.0.3\nservers: [{{url: '{server}'}}]\npaths: {{/t: {{get: {{operationId: file}}}}}}")
    (name,) = await openapi_tools("read", Document(str(file)), tmp_path, {"read_file"})
    assert name != "read_file" and name.startswith("read_file_")


async def test_arguments_of_one_name_are_told_apart(server: str, tmp_path: Path) -> None:
    tools = await imported(
        "paths:\n  /t/{id}:\n    post:\n      operationId: t\n      parameters: [{name: id, in: path, required: true}, "
        "{name: id, in: query}, {name: body, in: query}]\n      requestBody: {content: {application/json: {}}}\n",
        server, tmp_path,
    )  # fmt: skip
    assert list(tools["a_t"].spec.parameters["properties"]) == ["id", "id_query", "body_query", "body"]
    seen = await tools["a_t"].run({"id": "1", "id_query": "2", "body_query": "3", "body": {"x": 4}}, TICKET)
    assert (seen["path"], seen["body"]) == ("/api/t/1?id=2&body=3", '{"x":4}')


async def test_what_is_transport_is_not_offered(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "s3cret-key")
    names = ["Accept", "Authorization", "Content-Type", "X-Trace", "X-Key", "Idempotency-Key"]
    given = [{"name": name, "in": "header", "required": True} for name in names] + [
        {"name": "session", "in": "cookie", "required": True}, {"name": "theme", "in": "cookie"},
    ]  # fmt: skip
    schemes = {"real": {"type": "apiKey", "in": "header", "name": "X-Key"},
               "ref": {"$ref": "#/components/securitySchemes/real"},
               "cookie": {"type": "apiKey", "in": "cookie", "name": "session"}}  # fmt: skip
    document = {
        "paths": {
            "/t": {"get": {"operationId": "t", "parameters": given, "security": [{}, {"ref": [], "cookie": []}]}}
        },
        "components": {"securitySchemes": schemes},
    }
    text = "".join(f"{key}: {json.dumps(each)}\n" for key, each in document.items())
    tools = await imported(text, server, tmp_path, key_env="A_KEY")
    assert tools["a_t"].spec.parameters["required"] == ["X-Trace"]
    assert list(tools["a_t"].spec.parameters["properties"]) == ["X-Trace"]
    seen = (await tools["a_t"].run({"X-Trace": "7"}, TICKET))["headers"]
    assert (seen["x-key"], seen["cookie"], seen["x-trace"]) == ("s3cret-key", "session=s3cret-key", "7")


async def test_yaml_is_that_of_openapi(server: str, tmp_path: Path) -> None:
    words = "[NO, on, y, 1.10, 012, 0x1F, 12:30:45, 2020-01-01, 1e3, 1_000]"
    tools = await imported(get(f"[{{name: q, in: query, schema: {{type: string, enum: {words}}}}}, "
                               "{name: n, in: query, schema: {type: number, minimum: 1.10, enum: [1.50, 2]}}]"),
                           server, tmp_path)  # fmt: skip
    properties = tools["a_t"].spec.parameters["properties"]
    assert properties["q"]["enum"] == words.strip("[]").split(", ")
    assert properties["n"] == {"type": "number", "minimum": 1.1, "enum": [1.5, 2]}
    (tmp_path / "b.yaml").write_bytes(
        b"\xef\xbb\xbfopenapi: 3.1.0\r\nservers: [{url: 'http://x'}]\r\n"
        b"paths:\r\n  /a:\r\n    parameters:\r\n    get:\r\n      operationId: a\r\n      requestBody:\r\n"
        b"  /b: {get: {requestBody: {content: {application/json:}}}}\r\ncomponents:\r\n"
    )
    assert sorted(await openapi_tools("b", Document(str(tmp_path / "b.yaml")), tmp_path)) == ["b_a", "b_get_b"]


async def test_schemas_are_in_the_words_of_json_schema(server: str, tmp_path: Path) -> None:
    schema = {
        "type": "object", "xml": {"name": "x"}, "required": ["id", "example", 5],
        "properties": {
            "id": {"type": "string", "readOnly": True}, "example": {"type": "string", "nullable": True, "enum": ["a"]},
            "$ref": {"type": "string"}, "price": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
            "either": {"nullable": True, "allOf": [{"$ref": "#/components/schemas/Base"}]},
            "odd": {"type": "any", "items": 3},
            "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},
            "kind": {"type": ["string", None]},
            "one": {"$ref": "#/components/schemas/Pet/properties/id"},
            "two": {"$ref": "#/components/schemas/User/properties/id"},
            "tree": {"$ref": "#/components/schemas/Tree"},
        },
    }  # fmt: skip
    schemas = {
        "Base": {"type": "object", "discriminator": {"propertyName": "a"}},
        "Pet": {"properties": {"id": {"type": "integer"}}},
        "User": {"properties": {"id": {"type": "string"}}},
        "Tree": {"type": "object", "properties": {
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}}},
    }  # fmt: skip
    tools = await imported(post(f"{{application/json: {{schema: {json.dumps(schema)}}}}}",
                                f"components: {{schemas: {json.dumps(schemas)}}}\n"), server, tmp_path)  # fmt: skip
    told = tools["a_t"].spec.parameters["properties"]["body"]
    assert told["required"] == ["example", "5"] and "id" not in told["properties"]

    def fits(**values: Any) -> bool:
        return valid(tools, "a_t", {"body": {"example": "a", "5": 1, **values}})

    assert fits(price=1, either=None, odd="whatever", pair=["a", 1], kind=None, one=1, two="x")
    assert fits(example=None, tree={"children": [{"children": []}]}, **{"$ref": "x"})
    for wrong in ({"price": 0}, {"one": "x"}, {"two": 1}, {"example": "b"}, {"tree": {"children": [3]}}):
        assert not fits(**wrong)


async def test_a_schema_that_is_too_long_is_cut_where_it_is_deepest(server: str, tmp_path: Path) -> None:
    schemas = {
        f"S{n}": {"type": "object", "description": "long " * 100, "properties": {
            f"p{k}": {"$ref": f"#/components/schemas/S{(n * 7 + k) % 400}"} for k in range(5)}}
        for n in range(400)
    }  # fmt: skip
    tools = await imported(post("{application/json: {schema: {$ref: '#/components/schemas/S1'}}}",
                                f"components: {{schemas: {json.dumps(schemas)}}}\n"), server, tmp_path)  # fmt: skip
    told = tools["a_t"].spec.parameters
    assert 1000 < len(json.dumps(told)) <= LARGEST and "S1" in told["$defs"]
    assert valid(tools, "a_t", {"body": {"p0": {"p1": {"whatever": 1}}}})


@pytest.mark.parametrize("text", ["", "a: &a [*a]", "[1]", "openapi: 3.1.0", "openapi: 3.1.0\npaths: [1]",
                                  "openapi: 4.0.0\npaths: {}", "swagger: '2.0'\npaths: {/a: {get: {}}}",
                                  "openapi: 3.1.0\nservers: [{url: 'SERVER'}]\npaths: {}\ncomponents: [5]",
                                  "openapi: 3.1.0\nservers: 5\npaths: {/a: {get: {}}}", "a: [" * 200])  # fmt: skip
async def test_what_is_no_document_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match=r"a\.yaml"):
        await openapi_tools("a", Document(str(file)), tmp_path)


async def test_answers_are_taken_as_they_are(server: str, tmp_path: Path) -> None:
    tools = await imported("paths: {/badjson: {get: {}}, /latin1: {get: {}}, /huge: {get: {}}}", server, tmp_path)
    assert await tools["a_get_badjson"].run({}, TICKET) == "{not json"
    assert await tools["a_get_latin1"].run({}, TICKET) == "é"
    with pytest.raises(ToolFailed, match="more than"):
        await tools["a_get_huge"].run({}, TICKET)


async def test_values_make_no_other_path_of_it(server: str, tmp_path: Path) -> None:
    tools = await imported(get("[]", "/t/{a}{b}/u"), server, tmp_path)
    for values in (("..", "x"), ("%2e", "."), (".", ".")):
        given = dict(zip("ab", values, strict=True))
        try:
            seen = await tools["a_t"].run(given, TICKET)
        except ToolFailed:
            continue
        assert seen["path"].startswith("/api/t/") and "/../" not in seen["path"]
    with pytest.raises(ToolFailed):
        await tools["a_t"].run({"a": ".", "b": "."}, TICKET)


WHOLE: dict[str, Any] = {
    "openapi": "3.1.0", "servers": [
        {"url": "https://{v}.example.org", "variables": {"v": {"default": "a", "enum": ["a"]}}}],
    "security": [{"key": []}],
    "paths": {
        "/a/{id}": {
            "summary": "x", "servers": [{"url": "https://b.example.org"}],
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "enum": ["a", 1.5]}}],
            "post": {
                "operationId": "t", "description": "words", "parameters": [
                    {"$ref": "#/components/parameters/q"},
                    {"name": "q", "in": "header", "content": {"application/json": {}}}],
                "requestBody": {"required": True, "content": {"multipart/form-data": {
                    "schema": {"allOf": [{"$ref": "#/components/schemas/S"}],
                               "properties": {"f": {"format": "binary"}}},
                    "encoding": {"f": {"contentType": "text/csv", "style": "form", "headers": {}}}}}},
                "security": [{"key": []}],
            },
        },
    },
    "components": {
        "parameters": {"q": {"name": "q", "in": "query", "style": "deepObject", "explode": True,
                             "schema": {"type": "object"}}},
        "securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "k"}},
        "schemas": {"S": {"type": "object", "required": ["n"], "properties": {
            "n": {"type": ["integer", "null"], "minimum": 1, "maxLength": 2}, "s": {"$ref": "#/components/schemas/S"},
            "l": {"type": "array", "items": [{"type": "string", "pattern": "^a"}], "default": [1]}},
            "patternProperties": {"^x": {}}, "additionalProperties": False}},
    },
}  # fmt: skip
OLDER: dict[str, Any] = {
    "swagger": "2.0", "host": "example.org", "basePath": "/v1", "schemes": ["https"], "consumes": ["application/json"],
    "securityDefinitions": {"key": {"type": "basic"}},
    "paths": {"/a": {"post": {"operationId": "t", "consumes": ["multipart/form-data"], "parameters": [
        {"name": "f", "in": "formData", "type": "file", "required": True},
        {"name": "l", "in": "query", "type": "array", "items": {"type": "string"}, "collectionFormat": "csv"}]},
        "put": {"parameters": [{"name": "b", "in": "body", "schema": {"$ref": "#/definitions/B"}}]}}},
    "definitions": {"B": {"type": "object", "properties": {"x": {"type": "number"}}}},
}  # fmt: skip
JUNK: list[Any] = [None, 5, -1.5, True, "", "x", "#/paths", [], [5], [None], {}, {"$ref": "#"}, {"$ref": "#/nowhere"},
                   {"$ref": 5}, {"": {}}, [{}], {"x": None}, "https://", "http://[", "{", "a" * 5000]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document, as what holds it and the key."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [(value, key) for key, _ in items] + [place for _, each in items for place in places(each)]


@pytest.mark.parametrize("whole", [WHOLE, OLDER], ids=["3.1", "2.0"])
def test_whatever_is_wrong_in_a_document_is_told_and_nothing_else_comes_of_it(whole: dict[str, Any]) -> None:
    other, seen, lost = {"get": {"operationId": "other"}}, set[bytes](), 0
    for number in range(len(places(whole))):
        for junk in JUNK:
            document = copy.deepcopy(whole)
            document["paths"]["/other"] = other
            holder, key = places(document)[number]
            holder[key] = copy.deepcopy(junk)
            try:
                found = read(document, "https://example.org/x.json")
                called = names("a", found.operations)
            except (AttributeError, LookupError, TypeError, ValueError):  # as a whole: `openapi_tools` says so
                lost += 1
                continue
            assert len(set(called)) == len(called)
            for operation in found.operations:
                assert operation.required <= operation.targets.keys()
                if (packed := codec.dumps(operation.schema)) not in seen:
                    seen.add(packed)
                    jsonschema.Draft202012Validator.check_schema(operation.schema)
    assert lost <= len(JUNK)  # where `paths` itself is none
