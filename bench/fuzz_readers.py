"""What takes bytes of others, each as it is given them, and documents that it understands: see `fuzz`."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, get_args

import docx
import openpyxl
import pptx
import yaml
from fuzz_targets import (
    AGENT,
    ANTHROPIC,
    CHAT,
    LOOP,
    MESSAGES,
    OPENAI,
    OPENAPI,
    REQUESTS,
    RESPONSE,
    REVIEW,
    SAID,
    SCHEMA,
    TARGETS,
    TOOL,
    Canned,
    connected,
    expect,
    straight,
    taken,
)

from llmagent_os.agent import said
from llmagent_os.agent import spec as agent_spec
from llmagent_os.agent.prompt import PromptTemplate, variables_of
from llmagent_os.core import asks, codec, documents, outcomes, patterns, places, schemas, templates, validity, values
from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.links import found
from llmagent_os.core.records import GenerateRequest, Meaning, Message, ModelSpec
from llmagent_os.core.words import Words
from llmagent_os.flow import check, compose, draw, graph
from llmagent_os.flow import values as scopes
from llmagent_os.gateway import bodies, messages_bodies, responses_bodies
from llmagent_os.gateway.console.asking import described
from llmagent_os.gateway.console.markdown import Markdown
from llmagent_os.gateway.open_bodies import read_open
from llmagent_os.knowledge import passages, readers, sentences, tables, triples
from llmagent_os.knowledge import words as indexed
from llmagent_os.knowledge.rules import Program, goal, syntax
from llmagent_os.llm import script
from llmagent_os.llm.anthropic import AnthropicEngine
from llmagent_os.llm.openai import OpenAIEngine
from llmagent_os.llm.toolcalls import Parser
from llmagent_os.planner import plan
from llmagent_os.security.masking import Passage, Restorer, logged
from llmagent_os.security.recognisers import keys, recognise
from llmagent_os.security.review import Sink
from llmagent_os.security.vault import Vault
from llmagent_os.tools import builtin_files, charsets, mcp_http, mcp_stdio, named
from llmagent_os.tools.builtin import calculator
from llmagent_os.tools.mcp_tools import fitting
from llmagent_os.tools.openapi_read import imported
from llmagent_os.tools.page import text_of_page
from llmagent_os.tools.sandbox import traffic
from llmagent_os.tools.zones import zone_of
from llmagent_os.triggers import spec as triggers

PIECE = 1000  # bytes that come at a time
HALF = 100_000  # bytes, beyond which a line or an event is too long


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads bytes, each for itself, and documents that it understands."""

    seeds: tuple[bytes, ...]
    reads: tuple[Callable[[bytes], object], ...]


def _reader(seeds: Sequence[bytes], *reads: Callable[[bytes], object]) -> Reader:
    return Reader(tuple(seeds), reads)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def _json(data: bytes) -> Any:
    """JSON as anybody reads it who takes it further; what is none is refused before."""
    try:
        return documents.plain(codec.loads(data), "the input")
    except ValueError:
        return None


# -- definitions


def _agents(data: bytes) -> None:
    for each in agent_spec.read(data, "fuzz.yaml"):
        each.granted()


def _flow(data: bytes) -> None:
    for each in graph.load(data, "fuzz.yaml"):
        made = compose.read(each)
        told = made.data()
        expect(compose.read(codec.loads(codec.dumps(told))).data() == told, "a graph came back as another one")
        check.check(made, check.World(functions=("pass", "text", "vote")))
        draw.mermaid(made)


def _scope(data: bytes) -> None:
    """Templates and conditions of a flow."""
    told = _json(data)
    if isinstance(told, dict):
        filled = templates.fill(told.get("template"), told)
        list(templates.named(told.get("template")))
        if isinstance(told.get("when"), dict):
            scopes.holds(told["when"], filled)


_SENTENCES = [
    sentences.Pattern.read(text, "at") for text in ("{S} takes place in {O}", "{S} is in {O}", "{S}在{O}举行")
]
_CLAIMED = "The talk takes place in Room 5, and Ann is in Rome. Is it? 会议在北京举行。\n".encode()


def _claimed(data: bytes) -> None:
    """Sentences come in order and stand where they say; what is read of them has names."""
    text, done = _text(data), 0
    for each in sentences.sentences(text):
        expect(each.begin >= done and text.startswith(each.text, each.begin), f"{each} stands elsewhere")
        done = each.begin + len(each.text)
        for claim in sentences.claims(each.text, _SENTENCES):
            expect(bool(claim.subject) and claim.object != "", f"{claim} names nothing")


def _template(data: bytes) -> None:
    text = _text(data)
    names = variables_of(text)
    PromptTemplate(names, text).format(**dict.fromkeys(names, "x"))


def _rules(data: bytes) -> None:
    told = _json(data)
    if isinstance(told, list) and all(isinstance(each, dict) for each in told):
        script.rules(told)(REQUESTS[0])


def _datalog(data: bytes) -> None:
    """Rules over facts; what they say is written as it is read."""
    for rule in Program.read(_text(data)).rules:
        told = ", ".join(map(syntax.told, rule.body))
        if isinstance(rule.head.predicate, str) and not rule.aggregates and len(told) < HALF:
            (again,) = syntax.rules(f"{syntax.told(rule.head)} :- {told}.")
            expect(str(again.head.predicate) == rule.head.predicate, f"{rule} came back as {again}")


def _follow(data: bytes) -> None:
    script.follow(replace(REQUESTS[0], messages=(Message("user", _text(data)),)))


# -- what comes over a connection


def _head(data: bytes) -> None:
    LOOP.run_until_complete(connected(list(_pieces(data))))


def _proxied(data: bytes) -> None:
    LOOP.run_until_complete(_through(data))


async def _through(data: bytes) -> None:
    reader = asyncio.StreamReader(limit=traffic.LIMIT)
    reader.feed_data(data)
    reader.feed_eof()
    stream = traffic.Stream(reader)
    with suppress(traffic.Odd):
        first = await stream.opening()
        if traffic.is_tls(first):
            traffic.server_name(first)
        traffic.is_http(first)
        asked = traffic.request(await stream.until(b"\r\n\r\n"))
        asked.head("/", "example.org")
        async for _ in traffic.body(stream, asked.length):
            pass


def _lines(data: bytes) -> None:
    lines = mcp_stdio.Lines(HALF)
    for piece in _pieces(data):
        for line, whole in lines.feed(piece):
            (mcp_stdio._parsed if whole else mcp_stdio._too_long)(line)


def _told(data: bytes) -> None:
    events = mcp_http.Events(HALF)
    for piece in _pieces(data):
        list(events.feed(piece))
    events.rest()


def _responses(data: bytes) -> None:
    read_open(responses_bodies.ResponsesBody, data, responses_bodies.REFUSED).left_out()


def _messages(data: bytes) -> None:
    read_open(messages_bodies.MessagesBody, data, messages_bodies.REFUSED).request("m")


def _upstream(engine: Any, stream: bool, data: bytes) -> None:
    """What a server of a model answers."""
    engine._server = Canned(ModelSpec("m", "remote"), "http://127.0.0.1:9", {})
    engine._server.pieces = list(_pieces(data))
    straight(taken(engine, replace(REQUESTS[0], stream=stream)))


# -- what models, pages and tools say


def _openapi(data: bytes) -> None:
    imported(data, "fuzz", "the document")


def _page(data: bytes) -> None:
    text_of_page(_text(data), "http://example.org/")


def _said(request: GenerateRequest, data: bytes) -> None:
    parser = Parser(request)
    for piece in _pieces(data):
        parser.feed(_text(piece))
    parser.close("stop")


def _schema(data: bytes) -> None:
    told = _json(data)
    meant = schemas.meant(told, "the schema", "schema")
    with suppress(validity.Unknown):
        validity.fault(meant, told)


def _pattern(data: bytes) -> None:
    """An expression of any length. What a search of it costs is bounded by itself, see `patterns.STEPS`."""
    with suppress(patterns.Unreadable):
        patterns.compiled(_text(data))


def _searched(data: bytes) -> None:
    with suppress(patterns.TooLong):
        patterns.compiled("^[a-z0-9]+$").search(_text(data))


def _listing(data: bytes) -> None:
    told = _json(data)
    if isinstance(told, list):
        fitting(told, (), 1000)


def _named(data: bytes) -> None:
    """The files of a workspace that code names."""
    list(named._named([f"work/file {n}.txt" if n % 2 else f"work/file{n}.py" for n in range(40)], [_text(data)]))


def _placed(data: bytes) -> None:
    """A path, or a host."""
    text = _text(data)
    places.folders(text)
    places.told(text)
    places.resolved(text)
    places.inside(text)
    places.named(places.host_of(text))
    places.steps(text)


# -- texts that are looked through


def _recognised(data: bytes) -> None:
    spans = recognise(_text(data))
    expect(all(a.end <= b.start for a, b in pairwise(spans)), "values overlap")


def _masked(data: bytes) -> None:
    """A text whose values are known by now, masked and filled in again."""
    text, vault = _text(data), Vault(b"k" * 32)
    for span in _SPANS(text):
        vault.token("fuzz", span.kind, text[span.start : span.end])
    passage = Passage(vault, "fuzz", lambda text: ())
    Restorer(passage.tokens).fill(passage.mask(text))


_SPANS = lru_cache(2)(recognise)
"""Once a text: what it costs is measured by itself."""


def _stands(meaning: Meaning | None, data: bytes) -> None:
    text = _text(data)
    words = Words(text)
    for value in (text[:8], text[-20:], "ann@example.org", "a"):
        words.stands(value, meaning)


def _normal(data: bytes) -> None:
    text = _text(data)
    if sought := values.normal(text[:8]):
        values.stands(sought, values.normal(text))


def _review(sink: Sink, data: bytes) -> None:
    list(REVIEW._certain(_text(data), sink, "fuzz", None))


def _console(data: bytes) -> None:
    shown = Markdown()
    for piece in _pieces(data):
        shown.feed(_text(piece))
    shown.end()


def _foreign(suffix: str, data: bytes) -> None:
    """A file that is learned, as passages and as words."""
    for each in readers.documents_of(data, f"a.{suffix}"):
        for begin, end in passages.cut(each.text):
            indexed.terms(each.text[begin:end])
        indexed.mentioned(each.text)
        indexed.titles(each.title)


def _office(suffix: str, member: str, data: bytes) -> None:
    """A file of an office, of which one part is what is given, in the process that reads it and its limits."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as written:
        for name, content in _whole(suffix).items():
            written.writestr(name, data if name == member else content)
    LOOP.run_until_complete(readers.read(made.getvalue(), f"a.{suffix}"))


@lru_cache(None)
def _whole(suffix: str) -> Mapping[str, bytes]:
    """The parts of a file as its library writes it."""
    made = io.BytesIO()
    if suffix == "xlsx":
        book = openpyxl.Workbook()
        book.active.append(["a", 1.5])
        book.save(made)
    elif suffix == "docx":
        docx.Document().save(made)
    else:
        shown = pptx.Presentation()
        shown.slides.add_slide(shown.slide_layouts[1])
        shown.save(made)
    with zipfile.ZipFile(made) as written:
        return {name: written.read(name) for name in written.namelist()}


def _triples(form: str, data: bytes) -> None:
    """Triples; the facts of them are written, and read as the same ones."""
    said, _ = triples.read(data, f"a.{form}", "a", triples.BASE)
    told = {(each.subject, each.predicate, each.object, "") for each in said}
    again, out = triples.read(triples.written(told, "nt", triples.BASE), "a.nt", "a", triples.BASE)
    plain = {tuple(" ".join(str(end).split()) for end in each[:3]) for each in told}
    back = {tuple(" ".join(str(end).split()) for end in (each.subject, each.predicate, each.object)) for each in again}
    expect(plain == back and not out, "facts came back as others")


def _asked(data: bytes) -> None:
    """A question to a person, and an answer to it."""
    told = _json(data)
    if isinstance(told, dict):
        form = asks.form(told.get("ask"), told)
        if form is not None:
            asks.fits(form, told.get("answer"))
        list(described({**_KEPT, "kind": told.get("ask"), "form": form or {}, "arguments": told}, 80))


def _sent(data: bytes) -> None:
    """A message to an agent, and what it is to come to."""
    told = _json(data)
    said.rewinds(told)
    said.read(told)
    outcomes.of(told)


def _planned(data: bytes) -> None:
    told = _json(data)
    if isinstance(told, dict):
        plan.read(told.get("plan"))
        plan.steps_of(told.get("steps"), ["a", "b"], 20)


def _triggered(data: bytes) -> None:
    made = triggers.parse(_json(data))
    made.due(0.0, 1e9, 1e9 + 86_400)
    made.after(0.0, 1e9)


def _decoded(charset: str, data: bytes) -> None:
    charsets.decoded(data, charset)


def _edited(data: bytes) -> None:
    """A piece of a file that is to be replaced."""
    text = _text(data)
    for old in (text[:40], text[-40:], f"{text[:30]}\n{text[-9:]}"):
        if old.strip():
            builtin_files._place(text, old, "a file")


def _dumped(*each: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(one).encode() for one in each)


def _written(*each: Any) -> tuple[bytes, ...]:
    return (*_dumped(*each), *(yaml.safe_dump(one, sort_keys=False).encode() for one in each))


def _events(events: Sequence[Any]) -> tuple[bytes, ...]:
    return (
        b"".join(b"data: %s\n\n" % one for one in _dumped(*events)),
        b"event: x\r\ndata: {}\r\n\r\ndata: [DONE]\n\n",
    )


_FLOW = {
    "nodes": {
        "a": {"agent": "writer", "input": "${input.x}", "takes": {"type": "object"}, "retry": {"times": 2, "delay": 1}},
        "b": {"function": "pass", "over": "${a.list}", "at_once": 2, "fallback": {"value": [1, "${item}"]}},
        "c": {"similar": "m", "choices": {"x": "one", "y": "two"}, "undo": {"tool": "back"}, "join": 1},
    },
    "edges": [
        "a -> b", {"from": "b", "to": "c", "when": {".": 1}, "value": "${b}"}, {"from": "c", "to": "a", "limit": 2},
    ],
    "result": "${c}",
}  # fmt: skip
_CHAIN = {"chain": [
    {"id": "d", "function": "pass"},
    {"parallel": {"branches": [{"function": "pass"}, {"id": "f", "function": "text"}], "then": {"function": "vote"}}},
    {"select": {"cases": {
        "x": {"when": {".": "y"}, "do": {"id": "e", "function": "pass"}}, "else": {"function": "text"},
    }}},
]}  # fmt: skip
_RULES = [{"match": "^call (.+)$", "step": 0, "calls": [{"name": "f", "arguments": {"a": "{1}"}}]}, {"text": "{echo}"}]
_DATALOG = (
    "grandparent(X, Z) :- parent(X, Y), parent(Y, Z). % a comment\n"
    "0.8 :: likes(?x, 'a \\n b') :- not q(?x, _), r(?x).\n"
    'p(X, count(C), sum(C)) :- q(X, C), Y = (X + 67) // 2 mod 3 * -1.5e3, Y >= 2000, X != "c".\n'
    '父母（"王 五"，张三）。\n'
    "a(1). b :- a(X), X < 2. # end\n"
).encode()
_FAILING = [{"error": {"type": "EngineFailed", "message": "x"}, "delay": 0.5}]
_CALLING = b'call fetch with {"a": [1, {"b": "c"}]}, then call fetch'
_CALLED = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "a"}], "structuredContent": {}}}
_SCOPE = {"template": {"a": "${b.c.0} and ${b}", "d": ["${b}"]}, "b": {"c": [1]}, "when": {"a": {"type": "string"}}}
_INPUTS = {"model": "m", "input": ["a", "b"]}
_YAML = (
    b"a: &a [1, 0x1F, 1.5, yes, 2001-01-01, 1:30, !!bool x, !!int 1]\nb: {<<: {c: d}, e: *a}\n? [k]\n: |\n  t\n"
    b"---\n- >-\n  x\n"
)
_VALUES = (
    "ann@example.org +49 30 1234567 4111 1111 1111 1111 DE89 3704 0044 0532 0130 00 10.0.0.1 aa:bb:cc:dd:ee:ff "
    "sk-abcdEFGH1234ijklMNOP5678 Authorization: Basic dXNlcjpwYXNzd29yZDEyMw== postgres://u:geheim99@h/d 京A12345 "
    "password=hunter2hunter2 passport no. C01X00T47 born: 1970-01-01 my name is Ann Lee 身份证 11010519491231002X "
    "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- %40 \\n &amp; ann\u200b@x.org １２３"
).encode()
_LINKS = (
    "https://a.example.org/x?y=1#z www.b.example [t](http://c.example 't') <a href='//d.example'> e＠evil.example "
    "evil[.]example 10.0.0.1:80 tel:+49301234567 javascript:alert(1) data:text/html;base64,PGI+ hxxp://f。example %2e "
    "aHR0cDovL2cuZXhhbXBsZQ== &#46; never pay bob, 张三丰 김민수에게 /a/b/c.txt 1,000.50 DE89 3704"
).encode()
_PAGE = (
    b"<!doctype html><head><title>t</title><script>x</script></head><p a='b'>hi &amp; <a href='/x'>there</a>"
    b"<!-- c --><table><tr><td>1</table><svg><![CDATA[x]]></svg><pre>\n a\n</pre>"
)
_MARKUP = (
    b"# t\n\n- a **b** `c`\n\n```py\nx = 1\n```\n| a | b |\n|---|---|\n![p](http://x/y.png) <script> {{ a }} "
    b"$(rm) ' or 1=1 --\x1b[2J"
)
_REQUEST = (
    b"POST /v1/chat?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc"
    b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
)
_HELLO = (
    bytes.fromhex("1603010043 0100003f 0303") + bytes(32)
    + bytes.fromhex("00 000213 01 0100 0014 0000 0010 000e 00 000b") + b"my.host.org"
)  # fmt: skip
_CODE = b"import file1, os\nopen('work/file 3.txt')\nglob('*.py') # file?.txt a*b\n"
_ASKED = (
    b"3 * (2 + 4) ** 2 - sqrt(2) / 1,000.5 + 10% of 20", b"Europe/Berlin", b"notes/../a/today.txt", b"[::1]:80",
    b"utc+8",
)  # fmt: skip
_MAIL = (
    b"From: Ann <ann@example.org>\r\nTo: b@x.org\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n"
    b"Date: Mon, 30 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=x\r\n"
    b"\r\n--x\r\nContent-Type: text/plain; charset=gbk\r\nContent-Transfer-Encoding: base64\r\n\r\nYWJj\r\n"
    b"--x\r\nContent-Type: text/html\r\n\r\n<p>hi\r\n--x--\r\n"
)
_TABLE = b'name;age;"a ""b"""\nann;5;x\n"b\nc";6;y;z\n'
_KEPT = {"agent": "a", "pid": 1, "tool": "t", "origins": {}, "sources": {}, "why": "w", "four_eyes": False}
_ASKS = (
    {"ask": "choose", "options": ["a", "b"], "escalate": {"after": 5, "to": "x"}, "answer": "a"},
    {"ask": "fill", "schema": SCHEMA, "expires": 60, "otherwise": {"a": "aa"}, "answer": {"a": "aa", "c": [1]}},
    {"ask": "correct", "expires": 9, "otherwise": "x", "answer": "y"}, {"ask": "approve"},
)  # fmt: skip
_SENT = (
    {"text": "hi", "options": {"sampling": {"temperature": 0.5, "stop": ["x"]}, "outcome": {"schema": SCHEMA}}},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": [
        {"id": "c", "name": "f", "arguments": {"a": 1}}]}], "options": {"outcome": {"rubric": "r", "judge": "j"}}},
    {"rewind": True}, {"text": "x", "options": {"outcome": {"tests": "pytest", "tries": 3}, "when": "now"}},
)  # fmt: skip
_PLAN = {
    "plan": {"agents": ["a", "b"], "templates": {"t": {"about": "x", "flow": {"takes": {"type": "object"}}}}},
    "steps": {"steps": [{"do": "read it", "needs": "a", "after": []}, {"do": "write it", "needs": "b", "after": [1]}]},
}  # fmt: skip
_TRIGGERS = (
    {"name": "t", "agent": "a", "cron": "*/5 9-17 * * mon-fri", "zone": "Europe/Berlin", "text": "x ${at}"},
    {"name": "t", "agent": "a", "every": 60, "overlap": "skip"}, {"name": "t", "flow": "f", "webhook": {}},
)  # fmt: skip
_PATTERNS = (b"^(a|b)*c{2,5}[^x-z]\\d+(?=y)$aaabcc1y", b"(?:a+)+$aaaaaaaaaaaaaaaab", b"\\p{L}*[\\w-]{1,3}?\\1xxxxx")

_PDF = b"\n".join((
    b"%PDF-1.4", b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj",
    b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj",
    b"3 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>\nendobj",
    b"4 0 obj\n<< /Length 43 >>\nstream\nBT /F1 12 Tf 72 700 Td [(a) -250 <62>] TJ ET\nendstream\nendobj",
    b"5 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>\nendobj",
    b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n9\n%%EOF\n",
))  # fmt: skip
_TURTLE = b'@prefix : <a:> . :b :c 1.5e3 , "x"@en , """y\n""" ; a [ :d ( :e true ) ] .\n_:f :g <<( :h :i :j )>> .'
_QUADS = b'<a:b> <a:c> "d\\u0041"^^<a:e> <a:f> .\n_:g <a:h> _:i .\n'
_WORD = (
    b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    b'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>t</w:t></w:r></w:p><w:tbl><w:tblGrid>'
    b"<w:gridCol/></w:tblGrid><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>"
)
_MEMBERS = (
    ("docx", "word/document.xml"), ("pptx", "ppt/slides/slide1.xml"), ("xlsx", "xl/worksheets/sheet1.xml"),
    ("xlsx", "xl/workbook.xml"),
)  # fmt: skip

_OPENAI = OpenAIEngine(ModelSpec("m", "openai", source="http://127.0.0.1:9/v1"))
_ANTHROPIC = AnthropicEngine(ModelSpec("m", "anthropic", source="http://127.0.0.1:9/v1"))

READERS: Mapping[str, Reader] = {
    "spec": _reader((*_written(AGENT), *_written([AGENT, {"name": "b"}])), _agents),
    "flow": _reader((*_written(_FLOW), *_written(_CHAIN)), _flow),
    "scope": _reader(_dumped(_SCOPE), _scope),
    "yaml": _reader(
        (_YAML, *_written(AGENT)), lambda data: documents.read(data, "fuzz"),
        lambda data: documents.foreign(data, "fuzz"),
    ),
    "template": _reader((b"You are {who}, {{not}} {self} {a}.",), _template),
    "rules": _reader((*_dumped(_RULES, _FAILING), _CALLING), _rules, _follow),
    "datalog": _reader(
        (_DATALOG, *_DATALOG.splitlines()), _datalog, lambda data: goal(_text(data))
    ),
    "head": _reader((_REQUEST,), _head),
    "proxy": _reader((_REQUEST, _HELLO, b"CONNECT a:443 HTTP/1.1\r\n\r\n"), _proxied),
    "mcp": _reader(
        (b"\n".join(_dumped(_CALLED, {"jsonrpc": "2.0", "method": "x"})), *_events([_CALLED])), _lines, _told
    ),
    "bodies": _reader(
        _dumped(CHAT, RESPONSE, MESSAGES, _INPUTS), lambda data: bodies.read(bodies.ChatBody, data).requests(),
        lambda data: bodies.read(bodies.CompletionBody, data).requests(),
        lambda data: bodies.read(bodies.EmbeddingsBody, data).texts(), _responses, _messages,
    ),
    "openai": _reader(_events(OPENAI), partial(_upstream, _OPENAI, True), partial(_upstream, _OPENAI, False)),
    "anthropic": _reader(
        _events(ANTHROPIC), partial(_upstream, _ANTHROPIC, True), partial(_upstream, _ANTHROPIC, False)
    ),
    "openapi": _reader(_written(OPENAPI), _openapi),
    "page": _reader((_PAGE,), _page),
    "toolcalls": _reader([each.encode() for each in SAID], *(partial(_said, request) for request in REQUESTS)),
    "schema": _reader(_dumped(SCHEMA), _schema),
    "pattern": _reader(_PATTERNS, _pattern, _searched),
    "listing": _reader(_dumped([TOOL, {"name": "other"}]), _listing),
    "named": _reader((_CODE,), _named),
    "asked": _reader(
        _ASKED, lambda data: straight(calculator(_text(data))), lambda data: zone_of(_text(data)), _placed
    ),
    "masking": _reader(
        (_VALUES,), _recognised, _masked, lambda data: keys(_text(data)), lambda data: logged(_text(data))
    ),
    "links": _reader((_LINKS,), lambda data: found(_text(data))),
    "words": _reader((_LINKS, _VALUES), _normal, *(partial(_stands, each) for each in (None, *get_args(Meaning)))),
    "review": _reader((_MARKUP, _PAGE), *(partial(_review, each) for each in get_args(Sink))),
    "console": _reader((_MARKUP,), _console),
    "files": _reader(
        (_MARKUP, _PAGE, _MAIL, _TABLE, *_dumped(_SCOPE, [_SCOPE, {"title": "t", "text": "x"}])),
        *(partial(_foreign, each) for each in ("txt", "md", "html", "json", "jsonl", "csv", "tsv", "eml")),
    ),
    "pdf": _reader((_PDF,), lambda data: LOOP.run_until_complete(readers.read(data, "a.pdf"))),
    "office": _reader(
        (_WORD, *(_whole(suffix)[member] for suffix, member in _MEMBERS[1:])),
        *(partial(_office, *each) for each in _MEMBERS),
    ),
    "tables": _reader(
        (_TABLE, *_dumped([{"a": 1, "b": "x"}], {"a": 1})),
        *(lambda data, each=each: tables.rows_of(data, f"x.{each}") for each in ("csv", "json", "jsonl")),
    ),
    "rdf": _reader(
        (_TURTLE, _QUADS, *_dumped({"@context": {"@vocab": "a:"}, "@id": "a:b", "c": [1, {"@value": "d"}], "e": {}})),
        *(partial(_triples, each) for each in triples.FORMATS),
    ),
    "sentences": _reader((_CLAIMED,), _claimed, lambda data: sentences.Pattern.read(_text(data), "at")),
    "asks": _reader(_dumped(*_ASKS), _asked),
    "sent": _reader(_dumped(*_SENT), _sent),
    "plan": _reader(_dumped(_PLAN), _planned),
    "trigger": _reader(_dumped(*_TRIGGERS), _triggered),
    "edits": _reader((_MARKUP, _CODE), _edited),
    "charsets": _reader(
        (b"ab-z9", "\u00fcber \u5f20".encode(), "x\u5f20".encode("gb18030")),
        *(partial(_decoded, each) for each in ("punycode", "idna", "utf-7", "gb18030", "utf_16", "unicode_escape")),
    ),
}  # fmt: skip
"""What takes bytes of others, by the names of `fuzz`."""


def _all_of(reader: Reader, data: bytes) -> None:
    for read in reader.reads:
        with suppress(LLMAgentOSError):
            read(data)


COVERED = {name: partial(_all_of, reader) for name, reader in READERS.items()} | TARGETS
"""What is fuzzed by coverage."""
