"""The hostile inputs of `stall.py`, each made by a function: up to 2 MB, of what costs a parser or a check most."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

SIZE = 2_000_000  # bytes


def filled(piece: str, size: int = SIZE) -> str:
    """A text of about so many bytes, of one piece again and again."""
    return piece * (size // len(piece.encode()))


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def numbered(count: int, made: Callable[[int], Any]) -> list[Any]:
    """So many things, each with a number."""
    return [made(number) for number in range(count)]


def schema(parts: int, pattern: str | None = None) -> dict[str, Any]:
    """A schema with so many properties, each with a pattern where one is given."""
    one: dict[str, Any] = {"type": "string", **({"pattern": pattern} if pattern else {"enum": ["a", "b", "c"]})}
    return {"type": "object", "properties": {f"property_{n}": dict(one) for n in range(parts)}}


def tool(number: int, parts: int = 20) -> dict[str, Any]:
    """A tool of OpenAI's API."""
    function = {"name": f"tool_{number}", "description": "d" * 500, "parameters": schema(parts)}
    return {"type": "function", "function": function}


# -- bodies of chats


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def chat(model: str = "echo", **fields: Any) -> bytes:
    """A chat's body."""
    return json.dumps({"model": model, "messages": user("hi"), **fields}).encode()


_TEXT = {"type": "text", "text": "a"}
_CALLS = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, 2]}'}}
          for n in range(15_000)]  # fmt: skip
CHATS: Mapping[str, Callable[[], bytes]] = {
    "one long message": lambda: chat(messages=user(filled("word "))),
    "short messages": lambda: chat(messages=user("a") * 50_000),
    "parts of a message": lambda: chat(messages=[{"role": "user", "content": [_TEXT] * 60_000}]),
    "calls of a message": lambda: chat(
        messages=[*user("a"), {"role": "assistant", "content": "", "tool_calls": _CALLS}, *user("b")]
    ),
    "unknown fields": lambda: json.dumps({"model": "echo", **{f"field_{n}": 1 for n in range(130_000)}}).encode(),
    "fields nearly known": lambda: json.dumps(
        {"model": "echo", "messages": [{"role": "user", "content": "a", **{f"nam{n}": 1 for n in range(150_000)}}]}
    ).encode(),
    "many values": lambda: chat(metadata={"a": [1] * 240_000}),
    "broken": lambda: filled('{"a":[').encode(),
    "tools": lambda: chat(tools=numbered(1000, tool)),
    "a schema of patterns": lambda: chat(
        response_format={"type": "json_schema", "json_schema": {"schema": schema(4000, "^(a+)+(b|c*)*$")}}
    ),
    "a schema of references": lambda: chat(response_format={"type": "json_schema", "json_schema": {"schema": {
        "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(500)}
        | {"d500": {"type": "string"}}, "$ref": "#/$defs/d0",
    }}}),
    "choices": lambda: chat(choices=numbered(100_000, lambda n: f"choice {n}")),
    "stop texts": lambda: chat(stop=numbered(150_000, lambda n: f"stop{n}")),
    "escapes": lambda: b'{"model": "echo", "messages": [{"role": "user", "content": "%s"}]}' % (b"\\u00e9" * 330_000),
    "digits for a remote model": lambda: chat("remote", messages=user(filled("1 "))),
    "keys for a remote model": lambda: chat("remote", messages=user(filled("sk-"))),
    "messages for a remote model": lambda: chat("remote", messages=user("4111 1111") * 30_000),
}  # fmt: skip

ITEMS: Mapping[str, tuple[str, Callable[[], bytes]] | tuple[str, Callable[[], bytes], str]] = {
    "items of a response": (
        "/v1/responses", lambda: json.dumps({"model": "echo", "input": user("a") * 50_000}).encode(),
    ),
    "blocks of messages": ("/v1/messages", lambda: json.dumps({
        "model": "echo", "max_tokens": 9,
        "messages": [{"role": "user", "content": [_TEXT] * 60_000}],
    }).encode()),
    "prompts": ("/v1/completions", lambda: json.dumps(
        {"model": "echo", "prompt": [filled("a ", 2000)] * 1000}
    ).encode()),
    "texts to embed": ("/v1/embeddings", lambda: json.dumps(
        {"model": "echo", "input": [filled("a ", 900)] * 2048}
    ).encode()),
    "a definition of variables": ("/v1/agents", lambda: json.dumps({
        "name": "many", "prompt": "x", "variables": {f"v{n}": "x" for n in range(100_000)},
    }).encode()),
    "a definition of braces": ("/v1/agents", lambda: json.dumps(
        {"name": "braces", "prompt": filled("{a} {{")}
    ).encode()),
    "a definition of rules": ("/v1/agents", lambda: json.dumps({
        "name": "rules", "policy": {"tools": {f"t{n}": {"allow": [{"a": ["*a*b*c*"] * 5}]} for n in range(20_000)}},
    }).encode()),
    "a message of digits": ("/v1/agents/far/messages", lambda: json.dumps(  # whose tokens get the agent paused
        {"text": filled("1 1 1 1-", 1 << 20), "wait": 20}
    ).encode()),
    "a body of anything": ("/v1/agents/plain/messages", lambda: json.dumps(
        {"body": {"a": [[1]] * 120_000}}
    ).encode()),
    "a process of anything": ("/v1/processes", lambda: json.dumps(
        {"program": "agent", "args": {"a": [[1]] * 120_000}}
    ).encode()),
    "a consent of anything": ("/v1/privacy/consent", lambda: json.dumps({"a": [[1]] * 120_000}).encode(), "PUT"),
}  # fmt: skip
"""Path and body, and the method where it is not POST."""


# -- what tools give, and files

RESULTS: Mapping[str, Callable[[], Any]] = {
    "text": lambda: filled("word. "),
    "values": lambda: [1] * 240_000,
    "names": lambda: {f"name {n}": "evil.example" for n in range(60_000)},
    "nested": lambda: [nested(90)] * 5000,
    "links": lambda: filled("http://a.b/c@d.e "),
    "dots": lambda: filled("a.b."),
}


FILES: Mapping[str, Callable[[], bytes]] = {
    "words.txt": lambda: filled("a ").encode(),
    "lines.txt": lambda: filled("a line of a file that is nearly the one sought\n").encode(),
    "blanks.txt": lambda: filled(" ").encode(),
}
_A = "a " * 200_000
TABLE = [
    "CREATE TABLE t (a INTEGER, b TEXT)",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) "
    "INSERT INTO t SELECT n, substr(quote(zeroblob(30)), 3, 60) FROM c",
]
CALLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "an edit of words": ("edit_file", {"path": "words.txt", "old": f"{_A}b", "new": "c"}),
    "an edit of nearly that": ("edit_file", {"path": "lines.txt", "old": "b" * 300, "new": "c"}),
    "a search": ("search_files", {"text": "ab"}),
    "a pattern of names": ("list_files", {"pattern": "*a" * 50_000}),
    "a query that joins": ("query_sql", {"path": "t.db", "query": "SELECT count(*) FROM t x, t y, t z"}),
    "a query with LIKE": ("query_sql", {
        "path": "t.db", "query": "SELECT count(*) FROM t x, t y WHERE x.b LIKE '%a%a%a%a%a%a%a%a%ab'",
    }),
    "a change that recurses": ("change_sql", {"path": "t.db", "statements": [
        "CREATE TEMP TABLE u AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c",
    ]}),
    "a long sum": ("calculator", {"expression": "+".join(["1"] * 500_000)}),
    "a power": ("calculator", {"expression": "9**9**9"}),
}  # fmt: skip
"""A tool and its arguments, in a workspace that holds `FILES`."""


# -- pages

PAGES: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "open tags": ("text/html", lambda: filled("<a ").encode()),
    "comments": ("text/html", lambda: filled("<!--").encode()),
    "quotes": ("text/html", lambda: filled("<a href='").encode()),
    "entities": ("text/html", lambda: filled("&#1;&amp").encode()),
    "links": ("text/html", lambda: filled("<a href=x>y</a>").encode()),
    "punycode": (
        "text/plain; charset=punycode",
        lambda: filled("ab").encode() + b"-" + filled("z9").encode()[:800_000],
    ),
    "a JSON text": ("application/json", lambda: json.dumps([[1]] * 300_000).encode()),
}


# -- OpenAPI documents


def openapi(operations: int) -> dict[str, Any]:
    """A document with so many operations."""
    parameter = {"name": "q", "in": "query", "schema": schema(20)}
    paths = {f"/p{n}": {"get": {"operationId": f"op{n}", "parameters": [parameter]}} for n in range(operations)}
    return {"openapi": "3.0.0", "servers": [{"url": "http://a.example"}], "paths": paths}


DOCUMENTS: Mapping[str, Callable[[], bytes]] = {
    "json": lambda: json.dumps(openapi(1300)).encode(),
    "yaml": lambda: ("openapi: 3.0.0\npaths:\n" + filled("  /a: {get: {}}\n")).encode(),
    "aliases": lambda: "".join(
        ["a0: &a0 [x, x]\n", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))]
    ).encode(),
    "brackets": lambda: filled("[").encode(),
}  # fmt: skip


# -- MCP

_DEEP = {"type": "object", "properties": {"a": {"anyOf": [schema(30)] * 4}}}
LISTINGS: Mapping[str, Callable[[], list[Any]]] = {
    "tools": lambda: numbered(1000, lambda n: {"name": f"t{n}", "inputSchema": schema(25)}),
    "names": lambda: numbered(40_000, lambda n: {"name": f"t{n}", "inputSchema": {"type": "object"}}),
    "schemas": lambda: numbered(200, lambda n: {"name": f"t{n}", "inputSchema": _DEEP, "outputSchema": {"type": 3}}),
}
PARTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "": lambda: {"content": [{"type": "text", "text": "well"}]},
    "parts": lambda: {"content": [{"type": "text", "text": "a"}] * 55_000},
    "odd parts": lambda: {"content": [{"type": "odd", "a": [1]}] * 60_000},
    "data": lambda: {"content": [], "structuredContent": {"a": [[1]] * 120_000}},
}


# -- what a remote model's server streams


def _event(delta: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, **more}]}).encode() + b"\n\n"


def _piece(index: int | None, said: str) -> bytes:
    call = {"id": "c", "function": {"name": "f", "arguments": said}} | ({} if index is None else {"index": index})
    return _event({"tool_calls": [call]})


END = _event({}, finish_reason="stop") + b"data: [DONE]\n\n"
STREAMS: Mapping[str, Callable[[], bytes]] = {
    "": lambda: _event({"content": "well"}) + END,
    "events": lambda: _event({"content": "a"}) * (SIZE // 70) + END,
    "pieces of a call": lambda: _piece(0, '{"a": "') + _piece(0, '}"}{ ' * 2) * 14_000 + END,
    "calls": lambda: b"".join(_piece(n, "{}") for n in range(14_000)) + END,
    "one event": lambda: _event({"content": filled("a")}) + END,
    "no line": lambda: b"data: " + filled("a").encode(),
    "empty lines": lambda: filled("\n").encode() + END,
    "probabilities": lambda: _event(
        {"content": "a"}, logprobs={"content": [{"token": "a", "logprob": -1, "top_logprobs": []}] * 30_000}
    ) + END,
}  # fmt: skip
