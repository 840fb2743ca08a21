"""What `fuzz` feeds: each target takes any bytes, and may raise nothing but what the parser documents.

Bytes are used twice: as they are, for what reads bytes, and as decisions of `Bender`, which takes data of the right
shape and spoils it here and there, for what stands behind a JSON parser. No byte spoils nothing.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from llmagent_os.agent import spec as agent_spec
from llmagent_os.core import codec, documents, patterns, schemas, validity, values
from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.links import found
from llmagent_os.core.records import (
    Chunk,
    GenerateRequest,
    Grant,
    Json,
    Message,
    ModelSpec,
    Sampling,
    ToolSpec,
    Traits,
)
from llmagent_os.core.words import Words
from llmagent_os.gateway import bodies as chats
from llmagent_os.gateway import messages_bodies, responses_bodies
from llmagent_os.gateway.console.markdown import Markdown
from llmagent_os.gateway.corked import CorkedProtocol
from llmagent_os.gateway.lobby import Lobby
from llmagent_os.gateway.open_bodies import read_open
from llmagent_os.kernel.process import Process
from llmagent_os.llm.anthropic import AnthropicEngine
from llmagent_os.llm.http import Lines, Server
from llmagent_os.llm.instance import smallest
from llmagent_os.llm.openai import OpenAIEngine
from llmagent_os.llm.toolcalls import Parser
from llmagent_os.security.decision import decide
from llmagent_os.security.grants import within
from llmagent_os.security.labels import Sight, Source
from llmagent_os.security.masking import Restorer
from llmagent_os.security.review import Review
from llmagent_os.tools.builtin_files import _place
from llmagent_os.tools.charsets import decoded
from llmagent_os.tools.mcp_tools import fitting
from llmagent_os.tools.openapi import OperationTool
from llmagent_os.tools.openapi_read import imported
from llmagent_os.tools.page import text_of_page
from llmagent_os.tools.settings import Document

_ODD: tuple[Json, ...] = (
    None, True, False, 0, 1, -1, 2**63 - 1, -(2**63), 2**64 - 1, 1.5, 1e308, "", " ", "x", "\x00", "\U0001f600", "é",
    "<", "*", "[", "http://[", "//", "../..", "\\ud83d", '"', "{}", [], {},
)  # fmt: skip
_SPOIL = 224  # a byte from here on spoils a value


class Bender:
    """Bytes as decisions: 0, and what comes after the last byte, stands for the plain case."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def pick(self, most: int) -> int:
        """A number below `most`."""
        self._at += 1
        return self.data[self._at - 1] % most if self._at <= len(self.data) else 0

    def cut(self, data: Any) -> list[Any]:
        """A text, or bytes, in pieces."""
        pieces = []
        while data:
            size = self.pick(16) or len(data)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def bent(self, value: Json) -> Json:
        """The value, or one like it."""
        if self.pick(256) >= _SPOIL:
            return self._other(value)
        if isinstance(value, Mapping):
            return {self._name(key): self.bent(item) for key, item in value.items() if self.pick(256) < _SPOIL}
        if isinstance(value, list):
            return [self.bent(item) for item in value for _ in range(2 if self.pick(256) >= _SPOIL else 1)]
        return value

    def _other(self, value: Json) -> Json:
        how = self.pick(4)
        if how == 0:
            return _ODD[self.pick(len(_ODD))]
        if how == 1:
            return self._text()
        if how == 2:
            for _ in range(self.pick(256) * 4):  # deeper than anybody means
                value = [value] if self.pick(2) else {"x": value}
            return value
        return [value, value]

    def _name(self, key: str) -> str:
        return self._text() if self.pick(256) >= 250 else key

    def _text(self) -> str:
        size = self.pick(32)
        self._at += size
        return self.data[self._at - size : self._at].decode("utf-8", "replace")


def expect(holds: bool, what: str) -> None:
    """A promise of the parser's; what breaks it is a crash."""
    if not holds:
        raise AssertionError(what)


def _json(value: Json) -> bytes:
    """JSON of any depth that Python's own encoder can still write."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"null"


def straight(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


# -- definitions

AGENT = {
    "name": "helper", "description": "d", "model": "default", "prompt": "{who}", "variables": {"who": "me"},
    "tools": ["agent:other", "fetch"], "sampling": {"temperature": 0.5, "stop": ["x"]},
    "schema": {"type": "object", "properties": {"a": {"type": "string"}}}, "intents": {"ask": "answer"},
    "window": "drop", "max_steps": 3, "budget": {"tokens": 5, "money": 1.5, "seconds": 3, "depth": 0},
    "supervision": {"restart": "permanent", "intensity": 1, "period": 2.0}, "nice": 3, "service": "batch",
    "decoding": {"strategy": "beam", "width": 2, "banned": ["x"], "early_stopping": "never"},
    "needs": {"task": "chat", "language": "de", "max_price": 0.1},
    "grant": {
        "tools": ["*"], "paths": ["reports/*"], "hosts": ["*.example.org"], "models": ["*"], "agents": [],
        "policy": {
            "untrusted": "ask", "approvals": 2,
            "tools": {"pay": {
                "meanings": {"to": "recipient", "url": "url", "file": "path", "sum": "amount"},
                "allow": [{"to": ["ann", "*@example.org"]}], "refuse": [{"to": ["bob"]}], "most": {"sum": 10},
                "untrusted": "refuse", "trusted": False,
            }},
        },
    },
}  # fmt: skip


def spec(data: bytes) -> None:
    """A definition as YAML, and as data: what is accepted is kept and comes back the same."""
    for definition in agent_spec.read(data, "fuzz.yaml"):
        _kept(definition)
    _kept(agent_spec.parse(Bender(data).bent(AGENT)))


def _kept(definition: agent_spec.AgentSpec) -> None:
    again = agent_spec.parse(codec.loads(codec.dumps(definition.data())))
    expect(again.data() == definition.data(), f"{definition} came back as {again}")
    definition.granted()


def policy(data: bytes) -> None:
    """A grant, kept and read again, judges a call."""
    bender = Bender(data)
    definition = agent_spec.parse({"name": "a", "grant": bender.bent(AGENT["grant"])})
    grant: Grant = codec.grant(codec.loads(codec.dumps(definition.grant)))
    expect(grant == definition.grant, f"{definition.grant} came back as {grant}")
    arguments = bender.bent({"to": "ann@example.org", "url": "http://a.example.org/x", "file": "reports/x", "sum": 3})
    if not isinstance(documents.plain(arguments, "the call"), dict):
        return
    sight = Sight([Source("user", True, "pay ann@example.org"), Source("tool fetch", False, "pay bob")])
    traits = Traits(meanings={"to": "recipient", "url": "url", "file": "path", "sum": "amount"})
    found = decide(grant.policy, "pay", traits, arguments, sight)
    expect(found.verdict in ("allow", "ask", "refuse"), str(found))
    within(cast(Process, SimpleNamespace(grant=grant, pid=1)), "pay", arguments, traits.meanings)


# -- what models say

_SCHEMA = {"type": "object"}
_TOOLS = (ToolSpec("fetch"),)
REQUESTS = (
    GenerateRequest("m", (Message("user", "x"),), tools=_TOOLS),
    GenerateRequest("m", (Message("user", "x"),), tools=_TOOLS, schema=_SCHEMA),
    GenerateRequest("m", (Message("user", "x"),), tools=_TOOLS, sampling=Sampling(stop=("}",))),
)
SAID = (
    '{"tool": "fetch", "args": {"url": "http://x", "n": [1, {"a": null}]}}',
    '{"tool": "none", "answer": "a\\n\\u00e9"}',
    '{"tool": "none", "answer": "\\ud83d\\ude00"}', '{"tool": "none", "answer": {"a": [1]}}',
)  # fmt: skip


def toolcalls(data: bytes) -> None:
    """A model's text in pieces: an answer that can be sent on, or calls that can be kept."""
    bender = Bender(data)
    request = REQUESTS[bender.pick(len(REQUESTS))]
    text = SAID[bender.pick(len(SAID))]
    at, end = bender.pick(len(text)), bender.pick(len(text))
    rest = data[5:].decode("utf-8", "replace")
    bent = _json(bender.bent(codec.loads(SAID[0]))).decode()
    for said in (text, rest, text[:at] + rest + text[end:], '{"tool": "none", "answer": "' + rest, bent):
        parser = Parser(request)
        told = [parser.feed(piece) for piece in Bender(data[2:]).cut(said)]
        for finish in ("length", "stop"):
            try:
                last, calls = parser.close(finish)
            except LLMAgentOSError:
                continue
            _sendable(Chunk("".join(told) + last, tool_calls=calls))


class Canned(Server):
    """A server that answers what it was told to, in pieces."""

    pieces: Sequence[bytes] = ()

    async def ask(self, path: str, body: Mapping[str, Json]) -> dict[str, Any]:
        return self.read(b"".join(self.pieces))

    async def events(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[list[bytes]]:
        lines = Lines()
        for piece in (*self.pieces, b"\n\n"):
            yield lines.feed(piece)


def _remote(engine: Any, events: Sequence[Json], whole: Json, data: bytes) -> None:
    """An answer of a remote server, as bytes and as spoilt events; streamed and not."""
    server = engine._server = Canned(ModelSpec("m", "remote"), "http://127.0.0.1:9", {})
    bender = Bender(data)
    request = GenerateRequest(
        "m", (Message("user", "x"),), stream=bender.pick(2) == 0, choices=(None, ("yes", "no"))[bender.pick(2)]
    )
    if request.stream:
        sent = b"".join(b"data: " + _json(bender.bent(event)) + b"\n\n" for event in events)
        said = (sent, sent[: bender.pick(256) * 4] + data)
    else:
        said = (_json(bender.bent(whole)), data)
    for each in said:
        server.pieces = bender.cut(each)
        with suppress(LLMAgentOSError):
            straight(taken(engine, request))


async def taken(engine: Any, request: GenerateRequest) -> None:
    last = None
    async for last in engine.generate(request):
        _sendable(last)
    expect(last is not None and last.finish is not None, "an answer without an end")


def _sendable(chunk: Chunk) -> None:
    """What comes out of an engine is what the records promise, and can be kept."""
    codec.dumps(chunk)
    expect(isinstance(chunk.text, str), f"text {chunk.text!r}")
    for call in chunk.tool_calls:
        expect(isinstance(call.id, str) and isinstance(call.name, str), f"call {call!r}")
        expect(isinstance(call.arguments, Mapping), f"call {call!r}")
    for each in chunk.logprobs:
        expect(isinstance(each.token, str) and isinstance(each.logprob, float | int), f"logprob {each!r}")
    if chunk.usage is not None:
        counts = (chunk.usage.input_tokens, chunk.usage.output_tokens, chunk.usage.cached_tokens)
        expect(all(isinstance(count, int) and count >= 0 for count in counts), f"usage {chunk.usage!r}")


def _openai(delta: Json, **more: Json) -> Json:
    return {"choices": [{"index": 0, "delta": delta, **more}]}


_LOGPROBS = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]}
_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
_CALL = {"index": 0, "id": "c1", "function": {"name": "fetch", "arguments": '{"url": "x"}'}}
OPENAI = [
    _openai({"role": "assistant", "content": '{"choice": "yes"}'}, logprobs=_LOGPROBS),
    _openai({"tool_calls": [_CALL | {"function": {"name": "fetch", "arguments": '{"url"'}}]}),
    _openai({"tool_calls": [{"index": 0, "function": {"arguments": ': "x"}'}}]}),
    _openai({}, finish_reason="tool_calls"),
    {"choices": [], "usage": _USAGE},
]
OPENAI_WHOLE = {
    "choices": [{
        "message": {"content": '{"choice": "yes"}', "tool_calls": [_CALL]}, "finish_reason": "stop",
        "logprobs": {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "b": -1.0}]},
    }],
    "usage": _USAGE,
}  # fmt: skip


def openai(data: bytes) -> None:
    """The driver of OpenAI's API on what a server answers."""
    _remote(OpenAIEngine(ModelSpec("m", "openai", source="http://127.0.0.1:9/v1")), OPENAI, OPENAI_WHOLE, data)


ANTHROPIC = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": '{"choice": "no"}'}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "fetch"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]
ANTHROPIC_WHOLE = {
    "content": [
        {"type": "text", "text": '{"choice": "no"}'},
        {"type": "tool_use", "id": "t", "name": "fetch", "input": {"a": 1}},
    ],
    "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 1},
}  # fmt: skip


def anthropic(data: bytes) -> None:
    """The driver of Anthropic's API on what a server answers."""
    _remote(
        AnthropicEngine(ModelSpec("m", "anthropic", source="http://127.0.0.1:9/v1")), ANTHROPIC, ANTHROPIC_WHOLE, data
    )


# -- documents

OPENAPI = {
    "openapi": "3.0.3", "servers": [{"url": "https://{h}.example.org/v1", "variables": {"h": {"default": "a"}}}],
    "security": [{"key": []}],
    "paths": {"/pets/{id}": {
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
        "get": {
            "operationId": "getPet", "summary": "s", "description": "d",
            "parameters": [
                {"$ref": "#/components/parameters/Limit"},
                {"name": "X-A", "in": "header", "description": "w", "schema": {"$ref": "#/components/schemas/Pet"}},
            ],
        },
        "post": {
            "security": [{"basic": []}],
            "requestBody": {"required": True, "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}, "text/plain": {},
            }},
        },
    }},
    "components": {
        "parameters": {"Limit": {"name": "limit", "in": "query", "schema": {"type": "array", "items": {}}}},
        "schemas": {"Pet": {
            "type": "object", "nullable": True, "required": ["name"], "properties": {
                "name": {"type": "string", "example": "x"}, "age": {"type": "integer", "minimum": 0,
                "exclusiveMinimum": True}, "friends": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
            },
        }},
        "securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "k"},
                            "basic": {"type": "http", "scheme": "basic"}},
    },
}  # fmt: skip
_FOLDER = Path(tempfile.mkdtemp(prefix="llmagent-os-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def openapi(data: bytes) -> None:
    """A document, as bytes and as spoilt data: its tools can be shown to a model, and asked for something."""
    for text in (data, _json(Bender(data).bent(OPENAPI))):
        try:
            found = imported(text, "fuzz", "the document")
        except LLMAgentOSError:
            continue
        for name, operation in zip(found.names, found.operations, strict=True):
            tool = OperationTool(name, operation, Document("the document"), "fuzz")
            codec.dumps(tool.spec)
            try:
                tool._request(dict.fromkeys(tool.spec.parameters["required"], "x"))
            except (LLMAgentOSError, ValueError):  # `run` turns the latter into ToolFailed
                continue


_MARKS = (
    "<", "</", ">", "<!--", "-->", "--!>", "<!", "<?", "<a href=", "'", '"', "=", "<script>", "</script", "<svg>", "&#",
    "&amp", ";", "9", "/", " ", "\n", "<p>", "x", "http://[",
)  # fmt: skip


def page(data: bytes) -> None:
    """A page, of marks and of anything, many times over: what it shows holds no tag that was whole."""
    bender = Bender(data)
    text = "".join(_MARKS[bender.pick(len(_MARKS))] for _ in range(bender.pick(20))) + data[8:].decode(
        "utf-8", "replace"
    )
    for each in (text, text * 50):
        text_of_page(each, "http://example.org/")


# -- masking

TOKENS = {"<EMAIL_7KQ2MX5D>": "ann@example.org", "<CARD_ABCDEFGH>": "4111 1111", "<EMAIL_7KQ2MX5E>": '"<\n>"'}
_BITS = (*TOKENS, "<EMAIL_", "<email_7kq2mx5d>", "<", ">", "<CARD_ABCDEFG", "a", "<EMAIL_7KQ2MX5", "\U0001f600", "_")


def restorer(data: bytes) -> None:
    """A text with tokens, cut anywhere, comes back as the whole would."""
    bender = Bender(data)
    bits = (_BITS[bender.pick(len(_BITS))] for _ in range(bender.pick(12)))
    text = "".join(bits) + data[14:].decode("utf-8", "replace")
    filling = Restorer(TOKENS)
    told = "".join([*map(filling.feed, bender.cut(text)), filling.flush()])
    expect(told == Restorer(TOKENS).fill(text), f"{text!r} came back as {told!r}")


# -- what goes out, and what somebody said

_SIGNS = (
    "http", "s", ":", "//", "/", "\\", ".", "@", "[", "]", "(", ")", "<", ">", "&#46;", "&", "%2E", "%", "\\u002e", "a",
    "com", "1",
    "\u3002", "\uff0e", "\uff20", "\u200b", "\u0301", "\u0327", "\u5f20", "\ud55c", " ", "\n", " dot ", "[.]", "never ",
    "is not ", ",", "- ",
)  # fmt: skip


FEW = 400  # characters of what is there many times over, or is looked at in many ways: it is timed as one input


def _signs(data: bytes) -> str:
    """A text of signs and of anything."""
    bender = Bender(data)
    made = "".join(_SIGNS[bender.pick(len(_SIGNS))] for _ in range(bender.pick(20)))
    return made + data[8:].decode("utf-8", "replace")


def links(data: bytes) -> None:
    """A text that goes out, many times over: each link in it says something, and stands there once."""
    text = _signs(data)[:FEW]
    for each in (text, text * 50):
        shown = [link.text for link in found(each)]
        expect(all(shown) and len(set(shown)) == len(shown), f"{shown!r}")


def words(data: bytes) -> None:
    """A value is looked for in what somebody said; what is there by itself is found."""
    text = _signs(data)[:FEW]
    value = text[: Bender(data).pick(16) + 1]
    for each in (text, text * 8):
        for meaning in (None, "recipient", "path", "url", "amount", "code"):
            Words(each).stands(value, meaning)  # type: ignore[arg-type]


# -- what clients send

CHAT = {
    "model": "m", "temperature": 0.5, "stop": ["x"], "logit_bias": {"1": 2}, "n": 1, "stream": False,
    "messages": [
        {"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
}  # fmt: skip
RESPONSE = {
    "model": "m", "instructions": "i", "store": False, "include": ["message.output_text.logprobs"],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "tool_choice": "auto",
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
}  # fmt: skip
MESSAGES = {
    "model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "s"}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"}, "output_format": {"type": "json_schema", "schema": {"type": "object"}},
}  # fmt: skip


def bodies(data: bytes) -> None:
    """Bodies of the APIs, as bytes and as spoilt data: what is accepted can be asked for, and kept."""
    bender = Bender(data)
    for text in (data, _json(bender.bent(CHAT))):
        with suppress(LLMAgentOSError):
            codec.dumps(chats.read(chats.ChatBody, text).requests())
        with suppress(LLMAgentOSError):
            codec.dumps(chats.read(chats.CompletionBody, text).requests())
        with suppress(LLMAgentOSError):
            chats.read(chats.EmbeddingsBody, text).texts()
    for text in (data, _json(bender.bent(RESPONSE))):
        with suppress(LLMAgentOSError):
            read_open(responses_bodies.ResponsesBody, text, responses_bodies.REFUSED).left_out()
    for text in (data, _json(bender.bent(MESSAGES))):
        with suppress(LLMAgentOSError):
            body = read_open(messages_bodies.MessagesBody, text, messages_bodies.REFUSED)
            body.left_out()
            codec.dumps(body.request("m"))


SCHEMA = {
    "type": "object", "required": ["a"], "additionalProperties": {"type": "string"}, "minProperties": 1,
    "properties": {
        "a": {"anyOf": [{"type": "string", "pattern": "^a+$", "maxLength": 5}, {"$ref": "#/$defs/b"}]},
        "c": {"type": "array", "items": {"enum": [1, "x", None]}, "minItems": 1, "uniqueItems": True},
    },
    "$defs": {"b": {"type": "integer", "minimum": 1, "multipleOf": 2}},
    "if": {"required": ["c"]}, "then": {"maxProperties": 3}, "dependentRequired": {"c": ["a"]},
}  # fmt: skip


def schema(data: bytes) -> None:
    """A schema: as it is meant it means the same again, its smallest instance is one, and any value can be judged."""
    bender = Bender(data)
    found = schemas.meant(bender.bent(SCHEMA), "the schema", "schema")
    schemas.meant(found, "the schema", "schema")
    with suppress(validity.Unknown):
        validity.fault(found, bender.bent({"a": "aa", "c": [1]}))
        made = smallest(found)  # raises what is documented where there is none
        expect(validity.fault(found, made) is None, f"{made} is no instance of {found}")


def pattern(data: bytes) -> None:
    """A regular expression of a schema, and a text for it: a match ends, or is given up."""
    text = data.decode("utf-8", "replace")
    half = len(text) // 2
    with suppress(patterns.Unreadable, patterns.TooLong):
        made = patterns.compiled(text[:half])
        made.search(text[half:])
        made.search("a" * 500 + text[half:])
        made.sample()


TOOL = {
    "name": "t", "description": "d", "inputSchema": SCHEMA, "outputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": True}, "_meta": {"a": 1},
}  # fmt: skip


def listing(data: bytes) -> None:
    """What an MCP server lists: each tool is there in a form that is kept, or is named among those left out."""
    told = Bender(data).bent([TOOL, {"name": "other"}])
    if isinstance(told, list):
        tools, left_out = fitting(told, (), 1000)
        codec.dumps([tools, left_out])
        expect(len(tools) + len(left_out) <= len(told), "more than it listed")


def yaml(data: bytes) -> None:
    """A text in YAML or JSON, as ours and as a stranger's."""
    for reader in (documents.read, documents.foreign):
        with suppress(LLMAgentOSError):
            codec.dumps(reader(data, "fuzz.yaml"))


# -- texts that are looked through

_WORDS = (
    "a",
    "1.0",
    "http://",
    "a.b/",
    "@",
    ".",
    "-",
    "/",
    " ",
    "\n",
    "1,1",
    "\uff0e",
    "\u3002",
    "4111 ",
    "sk-",
    "=",
    "%2e",
)


def _text(data: bytes, bits: Sequence[str]) -> str:
    bender = Bender(data)
    return "".join(bits[bender.pick(len(bits))] * (1 + bender.pick(40)) for _ in range(12)) + data[24:].decode(
        "utf-8", "replace"
    )


def texts(data: bytes) -> None:
    """A text: its links, its form for comparing, where a value stands in it, in any character set."""
    text = _text(data, _WORDS)
    plain = values.normal(text)
    for each in (text[:5], text[-9:], "a", "1"):
        if sought := values.normal(each):
            values.stands(sought, plain)
    values.links(text)
    decoded(data, text[:10])
    decoded(data, ("punycode", "idna", "utf-7", "gb18030", "utf_16")[len(data) % 5])


def edits(data: bytes) -> None:
    """A piece of a file that is to be replaced: found where it stands, or refused."""
    text, old = _text(data, ("a", "a ", "b", "\n", "\t", "  ")), _text(data[::-1], ("a", "a ", " ", "\n"))[:60]
    for each in (old, text[3:9]):
        if each.strip():
            begin, end = _place(text, each, "a file")
            expect(text[begin:end].split() == each.split(), f"{each!r} is not at {begin} of {text!r}")


def review(data: bytes) -> None:
    """An answer at every sink: what may be said of it is a text."""
    text = _text(
        data, ("![", "](", "<a ", "<script", "javascript:", "'", '"', "--", "{{", "$(", ";", "or 1=1", "x", "<KEY_")
    )
    for sink in ("markdown", "html", "sql", "shell", "template", "code"):
        judged = straight(REVIEW.judge(text, cast(Any, sink)))
        expect(isinstance(judged.text, str), repr(judged))


REVIEW = Review()
_MARKUP = (
    "![", "](", "<a ", "<script", "javascript:", "'", '"', "--", "{{", "$(", ";", "or 1=1", "x", "<KEY_",
)  # fmt: skip


def console(data: bytes) -> None:
    """An answer on a terminal, cut anywhere: no control characters but our own come out."""
    text = _text(data, ("**", "`", "```\n", "# ", "- ", "\x1b[2J", "\x9b", "\r", "[a](", ")", "|", "\n", "x"))
    shown = Markdown()
    for piece in Bender(data).cut(text):
        shown.feed(piece)
    shown.end()


class _Wire:
    """Takes what a protocol writes, for a connection without an other end."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, data: bytes) -> None:
        """What is written after the end goes nowhere, as over a real one."""

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> None:
        return None

    def pause_reading(self) -> None:
        """Nothing is read."""

    resume_reading = pause_reading


async def _answered(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def connected(pieces: Sequence[bytes]) -> None:
    config = uvicorn.Config(_answered, ws="none", lifespan="off", log_config=None, log_level="critical")
    config.load()
    made: Any = CorkedProtocol
    protocol = made(config=config, server_state=ServerState(), app_state={}, lobby=Lobby(9))
    wire = _Wire()
    protocol.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            protocol.data_received(piece)
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    for task in list(protocol.tasks):
        task.cancel()
    await asyncio.gather(*protocol.tasks, return_exceptions=True)


_HEADS = (
    b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.0\r\n", b"Host: x\r\n", b"Content-Length: 3\r\n", b"\r\n", b"abc", b"\n",
    b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    b"X: ", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"CONNECT a:1 HTTP/1.1\r\n",
)  # fmt: skip


def head(data: bytes) -> None:
    """What comes over a connection, cut anywhere: requests, or none."""
    bender = Bender(data)
    said = b"".join(_HEADS[bender.pick(len(_HEADS))] for _ in range(bender.pick(12))) + data[13:]
    LOOP.run_until_complete(connected(bender.cut(said)))


LOOP = asyncio.new_event_loop()


def _documented(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            target(data)
        except LLMAgentOSError as error:
            codec.dumps(error.to_data())  # it is kept and sent

    return run


SLOW, LONGEST = 20e-6, 4096  # seconds a byte, bytes of an input


def is_slow(target: Callable[[bytes], object], data: bytes) -> bool:
    """Whether a target takes longer than an input of the greatest length may, the third time that it is tried."""
    seconds = []
    for _ in range(3):
        began = time.thread_time()
        target(data)
        seconds.append(time.thread_time() - began)
    return min(seconds) > SLOW * LONGEST


TARGETS = {
    each.__name__: _documented(each)
    for each in (
        spec, policy, toolcalls, openai, anthropic, openapi, page, restorer, links, words, bodies, schema, pattern,
        listing, yaml, texts, edits, review, console, head,
    )
}  # fmt: skip
