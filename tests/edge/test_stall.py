"""Hostile inputs hold nobody up: the small part of `bench/stall.py` that needs no second process.

What is measured is the CPU that the event loop's own thread uses without a turn for others, and what an input costs in
all: neither depends on what else the machine does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llmagent_os.core import codec, documents, values
from llmagent_os.core import files as files_in_results
from llmagent_os.core.errors import InvalidRequest, LLMAgentOSError, ToolFailed
from llmagent_os.core.records import (
    Chunk,
    GenerateRequest,
    Generation,
    Message,
    Policy,
    Ticket,
    ToolSpec,
    Traits,
    Usage,
)
from llmagent_os.core.words import Words
from llmagent_os.gateway import reading, rest_identity
from llmagent_os.gateway.answering import AT_ONCE, Answerers
from llmagent_os.llm import constrain, http, openai_reader
from llmagent_os.llm.constrain import HEAVY, grammar, grammar_of
from llmagent_os.llm.scripted import PIECES
from llmagent_os.security.decision import CALL, JUDGED, TOLD, decide
from llmagent_os.security.labels import LOOKED, NOWHERE, Sight, Source, beside
from llmagent_os.tools import builtin_web, openapi
from llmagent_os.tools.builtin_files import Workspaces
from llmagent_os.tools.builtin_web import Web
from llmagent_os.tools.charsets import decoded
from llmagent_os.tools.mcp_tools import MOST, fitting
from llmagent_os.tools.settings import Document
from tests.edge.test_gateway import chat
from tests.stand_ins.elsewhere import elsewhere
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.server import serving

HELD = 0.7  # seconds of CPU in one turn of the loop: what was mended took more, or many times as much
COST = 3.0  # seconds of CPU for one input


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


@asynccontextmanager
async def nobody_waits() -> AsyncIterator[None]:
    """Fails where the loop's thread works too long without a turn for others.

    What other tests have left is not collected meanwhile, as a server has frozen what was there when it started.
    """
    gc.freeze()
    longest, last, done = 0.0, time.thread_time(), False

    async def turns() -> None:
        nonlocal longest, last
        while not done:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    turning = asyncio.create_task(turns())
    yield
    done = True
    await turning
    gc.unfreeze()
    assert longest < HELD, f"the loop stood still for {longest:.2f} s of CPU"


class Cheap:
    """Fails where a block costs more CPU than it may."""

    def __enter__(self) -> None:
        self.began = time.process_time()

    def __exit__(self, *_: object) -> None:
        used = time.process_time() - self.began
        assert used < COST, f"it cost {used:.2f} s of CPU"


# -- through the gateway

BODIES: dict[str, Callable[[], Any]] = {
    "messages": lambda: {"model": "scripted", "messages": [{"role": "user", "content": "a"}] * 9_000},
    "names": lambda: {"model": "scripted", **{f"name_{n}": 1 for n in range(60_000)}},
    "values": lambda: chat(metadata={"a": [[1]] * 45_000}),
    "a long text": lambda: chat(text="word " * 300_000),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_long_body_is_read_while_others_have_their_turn(api: Gate, name: str) -> None:
    async with nobody_waits():
        status, _ = await api.post("/v1/chat/completions", BODIES[name]())
    assert status in (200, 400)


async def test_a_long_answer_of_a_script_comes_in_as_many_pieces_as_a_client_can_use(api: Gate) -> None:
    async with nobody_waits():
        events = await api.events("/v1/chat/completions", chat(text="a" * 1_000_000, stream=True))
    said = [each["choices"][0]["delta"].get("content", "") for _, each in events if each != "[DONE]"]
    assert len("".join(said)) == 1_000_000 and len(said) < PIECES + 10


async def test_the_description_of_the_api_is_made_beside_the_loop(api: Gate) -> None:
    async with nobody_waits():
        found = await asyncio.gather(*(api.get("/openapi.json") for _ in range(3)))
    assert all(status == 200 and document["paths"] for status, document in found)


# -- what servers of models stream


async def test_events_without_an_end_take_time_by_their_length() -> None:
    lines = http.Lines()
    with Cheap():
        for _ in range(10_000):
            assert lines.feed(b"x" * 200) == []
    assert lines.size == 2_000_000
    assert lines.feed(b"\n\ndata: {}\n\n") == [b"{}"]
    assert lines.size == 0


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
async def test_events_are_the_same_wherever_they_are_cut(end: bytes) -> None:
    sent = end.join([b"data: {1}", b"", b": x", b"data: a", b"data: b", b"", b"data: [DONE]", b"", b""])
    for size in range(1, len(sent)):
        lines, found = http.Lines(), list[bytes]()
        for start in range(0, len(sent), size):
            found += lines.feed(sent[start : start + size])
        assert found + lines.feed(b"\n\n") == [b"{1}", b"a\nb", http.DONE]


def test_what_comes_at_once_is_put_together_only_where_it_is_very_much() -> None:
    few, many = [b"x"] * http.MANY, [b"x"] * (2 * http.MANY + 1)
    assert list(http.gathered(few)) == [[b"x"]] * http.MANY
    assert [len(each) for each in http.gathered(many)] == [http.MANY, http.MANY, 1]


def test_calls_in_many_pieces_take_time_by_their_length() -> None:
    request = GenerateRequest("m", (Message("user", "x"),))
    reader = openai_reader.Reader(request, False)

    def piece(said: str, **more: Any) -> Chunk:
        call = {"index": 0, "function": {"name": "f", "arguments": said}, **more}
        return reader.piece({"choices": [{"delta": {"tool_calls": [call]}}]})

    with Cheap():
        piece('{"a": "')
        for _ in range(30_000):
            piece("}" * 40)
        piece('"}')
        (call,) = reader.calls()
    assert len(str(call.arguments["a"])) == 1_200_000
    for n in range(openai_reader.CALLS - 1):
        piece("{}", index=n + 1)
    with pytest.raises(LLMAgentOSError, match="more than 1000 tools"):
        piece("{}", index=openai_reader.CALLS + 1)


async def test_empty_lines_without_an_end_leave_others_their_turns() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    assert await http.fed(http.Lines(), b"\n" * (20 * http.PIECE) + b"data: {}\n\n") == [b"{}"]
    counting.cancel()
    assert turns >= 20


def test_of_log_probabilities_as_many_are_read_as_a_text_can_have() -> None:
    rows = [{"token": "a", "logprob": -1, "top_logprobs": []}] * 5000
    event = {"choices": [{"delta": {"content": "ab"}, "logprobs": {"content": rows}}]}
    reader = openai_reader.Reader(GenerateRequest("m", (Message("user", "x"),)), False)
    assert len(reader.piece(event).logprobs) == 8 + openai_reader.SPECIAL


# -- pages, files, databases, servers of tools


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "rot13", "nothing", "undefined", "\0"])
def test_a_character_set_that_nobody_sends_text_in_is_none(charset: str) -> None:
    with Cheap():
        assert decoded(b"ab" * 200_000 + b"-" + b"z9" * 200_000, charset).startswith("abab")


@pytest.mark.parametrize(
    ("charset", "data"), [(None, "é".encode()), ("latin-1", b"\xe9"), ("GB18030", "é".encode("gb18030"))]
)
def test_any_other_is_read_as_it_says(charset: str | None, data: bytes) -> None:
    assert decoded(data, charset) == "é"


@pytest.fixture
def files(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path)


TICKET = Ticket("key", 1)


def test_an_edit_tries_no_place_to_its_end(files: Workspaces) -> None:
    files.write("a.txt", b"a " * 500_000, TICKET)
    with Cheap(), pytest.raises(ToolFailed, match="0 times"):
        files.edit_file("a.txt", "a " * 100_000 + "b", "c", TICKET)
    files.write("b.txt", b"a line that is nearly the one\n" * 5000, TICKET)
    with Cheap(), pytest.raises(ToolFailed, match="0 times"):
        files.edit_file("b.txt", "enil a" * 50, "c", TICKET)


@pytest.mark.parametrize(
    ("text", "old", "found"),
    [
        ("x a  b\n c y", "a b c", "x NEW y"), ("xa\tb", "a b", "xNEW"), ("a\tb a  b", "a b", None),
        ("  a\n\n b  ", " a b ", "  NEW  "), ("\u3000a\u3000b", "a b", "\u3000NEW"), ("a bc", "a b", "NEWc"),
    ],
)  # fmt: skip
def test_an_edit_finds_words_with_other_blanks_between_them(
    files: Workspaces, text: str, old: str, found: str | None
) -> None:
    files.write("a.txt", text.encode(), TICKET)
    if found is None:
        with pytest.raises(ToolFailed, match="2 times"):
            files.edit_file("a.txt", old, "NEW", TICKET)
    else:
        files.edit_file("a.txt", old, "NEW", TICKET)
        assert files.read("a.txt", TICKET).decode() == found


def test_a_long_listing_of_a_server_is_cut_and_told() -> None:
    listed = [{"name": f"t{n}"} for n in range(40_000)]
    with Cheap():
        tools, left_out = fitting(listed, {"t0"}, MOST)
    assert len(tools) == MOST and left_out["t0"] == "it is listed twice"
    assert "past the first" in left_out[f"t{MOST + 5}"] and left_out["..."] == "and what comes after it"


# -- answers


async def test_many_answers_of_one_request_do_not_begin_in_one_turn() -> None:
    begun, most = 0, 0

    class Slow(Answerers):
        def __init__(self) -> None:
            """It answers without a system."""

        async def answer(self, request: GenerateRequest, stream: Any = None, waits: Any = None) -> Generation:
            nonlocal begun
            begun += 1
            return Generation("a", (), "stop", Usage())

    async def turns() -> None:
        nonlocal begun, most
        while True:
            most, begun = max(most, begun), 0
            await asyncio.sleep(0)

    counting = asyncio.create_task(turns())
    assert len(await Slow().all([GenerateRequest("m", prompt="a")] * 1000)) == 1000
    counting.cancel()
    assert 0 < most <= 2 * AT_ONCE


async def test_a_long_line_of_an_export_is_sent_in_pieces() -> None:
    long = {"text": "x" * 500_000}
    pieces = [piece async for piece in rest_identity._lines([long, {"a": 1}])]
    assert max(map(len, pieces)) <= rest_identity.PIECE and len(pieces) >= 8
    assert [json.loads(line) for line in b"".join(pieces).splitlines()] == [long, {"a": 1}]


def test_a_file_is_looked_for_only_where_one_is_named() -> None:
    large = [[[1]] * 10 for _ in range(1000)]
    assert files_in_results.named(large, lambda data: "") is large and files_in_results.found(large) == []
    kept = files_in_results.named([large, {"$file": {"name": "a", "data": "YQ=="}}], lambda data: data.decode())
    assert kept == [large, {"$file": {"name": "a", "blob": "a"}}]
    assert files_in_results.found(kept) == [{"name": "a", "blob": "a"}]


# -- data and words


def levels(count: int) -> Any:
    value: Any = 1
    for number in range(count):
        value = [value] if number % 2 else {"a": value}
    return value


def test_data_is_measured_level_by_level() -> None:
    documents.plain(levels(100), "it")
    with pytest.raises(InvalidRequest, match="deeper than 100"):
        documents.plain(levels(101), "it")
    with Cheap():
        documents.plain([[1]] * 400_000, "it")
    bomb: Any = ["x"]
    for _ in range(60):
        bomb = [bomb, bomb]
    endless: Any = []
    endless.append(endless)
    with Cheap():
        for wrong in ([1] * 1_000_001, dict.fromkeys(map(str, range(600_000)), 1), bomb):
            with pytest.raises(InvalidRequest, match="more than 1000000 values"):
                documents.plain(wrong, "it")
        with pytest.raises(InvalidRequest, match="deeper than 100"):
            documents.plain(endless, "it")


def test_a_value_that_stands_in_a_million_longer_ones_is_given_up() -> None:
    text = "xax" * 700_000 + " a"
    with Cheap():
        assert not values.stands("a", text)
    assert values.stands("a", "xax " * 100 + "a")


async def test_a_large_grammar_is_the_same_as_a_small_one_and_made_elsewhere() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"enum": ["a" * 20]} for n in range(40)}, "required": ["p1"]}
    tools = tuple(ToolSpec(f"tool_{n}", "", schema) for n in range(20))
    request = GenerateRequest("m", (Message("user", "x"),), tools=tools)
    assert len(codec.dumps(request.tools)) > HEAVY
    async with nobody_waits():
        found = await grammar_of(request)
    assert found == grammar(request) == await grammar_of(request)
    impossible = ToolSpec("never", "", {"type": "object", "properties": {"a": {"enum": ["x" * HEAVY], "type": "null"}},
                                        "required": ["a"]})  # fmt: skip
    with pytest.raises(LLMAgentOSError, match="never"):
        await grammar_of(GenerateRequest("m", (Message("user", "x"),), tools=(impossible,)))


def test_json_of_another_maker_is_plain_all_the_same() -> None:
    assert documents.foreign(json.dumps({"a": [1, {"b": None}]}).encode(), "it") == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(("value", "wrong"), [([[1]] * 50_001, "50000 lists"), ([1] * 100_001, "100000 values")])
def test_a_body_of_more_than_anybody_means_is_refused_as_it_is_read(value: Any, wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=f"more than {wrong}"):
        reading.received(json.dumps(value).encode())


# -- the gate


PAGE, USER = Source("page", False, "evil.example " * 10), Source("user", True, "do it")


def test_a_call_with_more_values_than_are_judged_is_in_doubt_as_a_whole() -> None:
    arguments = {f"a{n}": f"evil{n}" for n in range(8 * JUDGED)}
    found = decide(Policy(), "act", Traits("external"), arguments, Sight([USER, PAGE]))
    assert found.verdict != "allow" and CALL in found.origins and len(found.origins) == JUDGED + 1
    assert found.why.count("evil") + found.why.count("from context") <= 2 * TOLD and "and 951 more" in found.why
    assert decide(Policy(), "act", Traits("external"), arguments, Sight([USER])).verdict == "allow"


@pytest.mark.parametrize(("kind", "verdict"), [("refuse", "refuse"), ("allow", "ask")])
def test_a_value_with_more_parts_than_are_judged_is_refused_and_not_allowed_by_a_case(kind: str, verdict: str) -> None:
    policy = codec.grant({"policy": {"tools": {"act": {kind: [{"to": ["a*"]}], "ask": "always"}}}}).policy
    many = {"to": ["b", *["a"] * JUDGED]}
    assert decide(policy, "act", Traits("external"), many, Sight()).verdict == verdict


def test_where_a_value_may_come_from_is_looked_for_in_so_much_text_and_no_more() -> None:
    sight = Sight([USER, *(Source(f"page {n}", False, f"{n} " + "x" * 1000) for n in range(50))])
    assert sight.origin("yyyy") == NOWHERE and sight.left < LOOKED - 50_000
    sight.left = 0
    assert sight.origin("x" * 1000) == NOWHERE and sight.quotes("x" * 1000) is not None


async def test_values_are_looked_for_in_much_text_in_a_thread() -> None:
    async def where(sight: Sight, looked: Any = None) -> bool:
        return await beside(threading.current_thread, sight, looked) is threading.current_thread()

    small, large = Sight([PAGE]), Sight([Source("page", False, [["x" * 100]] * 1000)])
    assert await where(small) and not await where(large) and not await where(small, ["x" * 60_000])


def test_a_value_that_stands_in_many_longer_ones_is_tried_a_bounded_number_of_times() -> None:
    with Cheap():
        assert not Words("1234" * 500_000).stands("1234")
        assert not values.stands("a", "." * 100_000 + "a." * 100_000)
    assert Words("x1234, " * 1000 + "1234").stands("1234") and values.stands("a", "..." + "a" + "...")


# -- what could take for ever


async def a_page(folder: Path) -> Any:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<p>hi</p>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    async with serving(app) as url:
        return await Web(["*"], ["*"]).fetch(url, TICKET)


async def a_document(folder: Path) -> Any:
    (folder / "document").write_text("{}")
    return await openapi.openapi_tools("it", Document(str(folder / "document")), folder)


async def a_grammar(folder: Path) -> Any:
    tool = ToolSpec("t", "", {"type": "object", "properties": {f"p{n}": {"enum": ["a" * 20]} for n in range(1000)}})
    return await constrain.grammar_of(GenerateRequest("m", (Message("user", "x"),), tools=(tool,)))


READ: list[tuple[Any, Any, str]] = [
    (a_page, builtin_web, "text_of_page"), (a_document, openapi, "imported"), (a_grammar, constrain, "grammar"),
]  # fmt: skip


@pytest.mark.parametrize(("reads", "module", "name"), READ, ids=[name for _, _, name in READ])
async def test_what_could_take_for_ever_is_read_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Any, module: Any, name: str
) -> None:
    monkeypatch.setattr(module, name, elsewhere)
    with pytest.raises(InvalidRequest, match="read by process") as told:
        await reads(tmp_path)
    assert told.value.message != f"read by process {os.getpid()}"
