"""Servers that speak OpenAI's or Anthropic's API oddly, as their users report it: what they mean is what is taken."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from llmagent_os.core.errors import EngineFailed, EngineUnavailable, InvalidRequest, Unsupported
from llmagent_os.core.records import EmbedRequest, Generation, ModelSpec, ToolSpec
from llmagent_os.llm.engines import open_engine
from llmagent_os.llm.wire import Halves
from tests.contract.engine_suite import SHORT, Bed
from tests.stand_ins.anthropic_api import anthropic_server
from tests.stand_ins.openai_api import openai_server
from tests.stand_ins.server import StandIn

TOOLS = (ToolSpec("add"), ToolSpec("mul"))
SERVERS = {"openai": openai_server, "anthropic": anthropic_server}


class Odd:
    """A server that answers with given bytes."""

    def __init__(self, server: StandIn, bed: Bed) -> None:
        self.server, self.bed = server, bed

    async def says(self, *blocks: bytes, kind: str = "text/event-stream", hold: float = 0, **asked: Any) -> Generation:
        """The answer that is made of the blocks; `hold` seconds pass before the connection ends."""

        async def instead(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": kind})
            await response.prepare(request)
            for block in blocks:
                await response.write(block)
                await asyncio.sleep(0.001)
            await asyncio.sleep(hold)
            return response

        self.server.instead = instead
        return await self.bed.ask(self.bed.chat(SHORT, **{"tools": TOOLS, **asked}))

    async def events(self, *events: Any, done: bool = True, **asked: Any) -> Generation:
        """The answer that is made of server-sent events."""
        data = [b"data: " + (each if isinstance(each, bytes) else json.dumps(each).encode()) for each in events]
        return await self.says(*(each + b"\n\n" for each in data), b"data: [DONE]\n\n" if done else b"", **asked)

    async def whole(self, answer: Any, **asked: Any) -> Generation:
        """The answer that is one JSON object."""
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return await self.says(body, kind="application/json", stream=False, **asked)


async def _odd(name: str) -> AsyncIterator[Odd]:
    async with SERVERS[name]() as server:
        engine = await open_engine(ModelSpec("remote", name, source=server.url, model="stand-in"))
        yield Odd(server, Bed(engine))
        await engine.close()


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    async for each in _odd("openai"):
        yield each


@pytest.fixture
async def claude() -> AsyncIterator[Odd]:
    async for each in _odd("anthropic"):
        yield each


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def part(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    return {**fields, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """One event a part, and the end."""
    return [*(delta(tool_calls=[each]) for each in parts), delta("tool_calls")]


def made(answer: Generation) -> list[tuple[str, Any]]:
    assert len({call.id for call in answer.tool_calls}) == len(answer.tool_calls) and all(
        call.id for call in answer.tool_calls
    )
    return [(call.name, call.arguments) for call in answer.tool_calls]


A, B = '{"a": 1}', '{"a": 2}'
BOTH = [("add", {"a": 1}), ("add", {"a": 2})]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([part("add", A, index=0, id="1"), part("add", B, index=0, id="2")], id="one index, two ids"),
        pytest.param([part("add", A, index=0), part("add", B, index=0)], id="one index, no ids"),
        pytest.param([part("add", A, index=0, id=""), part("add", B, index=0, id="")], id="one index, empty ids"),
        pytest.param([part("add", A, id="1"), part("add", B, id="2")], id="no index"),
        pytest.param([part("add", A), part("add", B)], id="no index, no ids"),
        pytest.param([part("add", A, index=None, id=None), part("add", B, index=None, id=None)], id="null"),
        pytest.param([part("add", A, index=0, id="x"), part("add", B, index=1, id="x")], id="one id"),
        pytest.param([part("add", {"a": 1}, index=0), part("add", {"a": 2}, index=1)], id="objects"),
        pytest.param([part("add", A, index=1, id="1"), part("add", B, index=2, id="2")], id="counted from one"),
        pytest.param(
            [part("add", "", index=0, id="1"), part(None, A, index=0, id=None), part("add", "", index=0, id="2"),
             part(None, '{"a":', index=0), part(None, " 2}", index=0)], id="one index, in pieces",
        ),
        pytest.param(
            [part("add", "", id="1"), part(None, '{"a":', id="1"), part(None, " 1}", id="1"), part("add", "", id="2"),
             part(None, B, id="2")], id="no index, told apart by ids",
        ),
        pytest.param(
            [part("add", '{"a"', index=0, id="1"), part("add", '{"a":', index=1, id="2"),
             part(None, ": 1}", index=0), part(None, " 2}", index=1)], id="in turns",
        ),
        pytest.param(
            [part("add", '{"a"', index=0, id="1"), part("add", ": 1}", index=0, id="1"),
             part("add", B, index=1, id="2")],
            id="name and id each time",
        ),
        pytest.param(
            [part("add", '{"a"', index=0, id="1"), part("add", ": 1}", index=0, id="9"),
             part("add", B, index=1, id="2")],
            id="another id each time",
        ),
        pytest.param(
            [part("add", '{"a": ', index=0, id="1"), part(None, "1}", index=0), part("add", A, index=0, id="1"),
             part("add", B, index=1, id="2")], id="once more when whole",
        ),
    ],
)  # fmt: skip
async def test_calls_are_told_apart(odd: Odd, parts: list[dict[str, Any]]) -> None:
    answer = await odd.events(*called(*parts))
    assert made(answer) == BOTH and answer.finish == "tool_calls"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("", {}), (None, {}), ("null", {}), ("{}", {}), (" \n", {}), ({"a": [1]}, {"a": [1]}),
        ('"{\\"a\\": 1}"', {"a": 1}), ('{"a": "one\ntwo"}', {"a": "one\ntwo"}), ('{"a": "\\ud83d"}', {"a": "\ufffd"}),
    ],
)  # fmt: skip
async def test_arguments_of_many_forms(odd: Odd, arguments: Any, meant: Any) -> None:
    assert made(await odd.events(*called(part("add", arguments, index=0, id="1")))) == [("add", meant)]
    message = {"content": None, "tool_calls": [part("add", arguments, id="1")]}
    assert made(await odd.whole({"choices": [{"message": message, "finish_reason": "stop"}]})) == [("add", meant)]


@pytest.mark.parametrize("both", [False, True])
async def test_a_call_as_it_was_before_tool_calls(odd: Odd, both: bool) -> None:
    call = {"name": "add", "arguments": A}
    more = {"tool_calls": [part("add", A, id="1")]} if both else {}
    answer = {
        "choices": [{"message": {"content": None, "function_call": call, **more}, "finish_reason": "function_call"}]
    }
    assert made(await odd.whole(answer)) == BOTH[:1]
    pieces = [delta(function_call={"name": "add"}), delta(function_call={"arguments": '{"a"'})]
    pieces += [delta(function_call={"arguments": ": 1}"}), delta("function_call")]
    answered = await odd.events(*pieces)
    assert made(answered) == BOTH[:1] and answered.finish == "tool_calls"


async def test_a_call_that_the_length_cut_off_is_none(odd: Odd) -> None:
    answer = await odd.events(
        delta(content="I"), delta(tool_calls=[part("add", '{"a": ', index=0, id="1")]), delta("length")
    )
    assert (answer.text, answer.tool_calls, answer.finish) == ("I", (), "length")
    cut = await odd.events(*called(part("add", A, index=0), part("mul", '{"a', index=1))[:-1], delta("max_tokens"))
    assert made(cut) == BOTH[:1] and cut.finish == "length"


async def test_a_call_that_broke_otherwise_is_an_error(odd: Odd) -> None:
    with pytest.raises(EngineFailed, match="add"):
        await odd.events(*called(part("add", '{"a": ', index=0, id="1")))
    with pytest.raises(EngineFailed, match="name"):
        await odd.events(*called(part(None, A, index=0, id="1")))


@pytest.mark.parametrize(
    "said",
    [
        "Hi 😀", [{"type": "text", "text": "Hi 😀"}], ["Hi ", "😀"], {"type": "text", "text": "Hi 😀"},
        [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi 😀"}],
        [{"type": "text", "text": {"value": "Hi 😀"}}, {"type": "image_url"}], [{"text": "Hi "}, {"text": "😀"}],
    ],
)  # fmt: skip
async def test_content_of_many_forms(odd: Odd, said: Any) -> None:
    assert (await odd.events(delta(content=said), delta("stop"))).text == "Hi 😀"
    assert (await odd.whole({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})).text == "Hi 😀"


@pytest.mark.parametrize(
    "pieces",
    [
        [b'{"choices": [{"delta": {"content": "a\\ud83d"}}]}', b'{"choices": [{"delta": {"content": "\\ude00b"}}]}'],
        [b'{"choices": [{"delta": {"content": "a\xf0\x9f"}}]}', b'{"choices": [{"delta": {"content": "\x98\x80b"}}]}'],
        [b'{"choices": [{"delta": {"content": "a\xf0"}}]}', b'{"choices": [{"delta": {"content": "\x9f\x98\x80b"}}]}'],
    ],
)
async def test_a_character_in_two_halves_is_one(odd: Odd, pieces: list[bytes]) -> None:
    assert (await odd.events(*pieces, delta("stop"))).text == "a😀b"
    assert (await odd.events(pieces[0], delta("stop"))).text == "a\ufffd"  # the other half never came


async def test_halves_in_arguments_are_one(odd: Odd) -> None:
    first = b'{"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "add", "arguments": '
    pieces = [first + b'"{\\"a\\": \\"\\ud83d"}}]}}]}', delta(tool_calls=[part(None, '"}', index=0)])]
    pieces.insert(1, b'{"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\\ude00"}}]}}]}')
    assert made(await odd.events(*pieces, delta("tool_calls"))) == [("add", {"a": "😀"})]


@given(st.text(), st.lists(st.integers(1, 3), min_size=1), st.sampled_from(["utf-16", "utf-8"]))
def test_text_survives_any_cut_between_halves(text: str, sizes: list[int], kind: str) -> None:
    if kind == "utf-16":
        units = text.encode("utf-16-be", "surrogatepass")
        letters = "".join(chr(int.from_bytes(units[i : i + 2], "big")) for i in range(0, len(units), 2))
    else:
        letters = "".join(chr(byte) if byte < 128 else chr(0xDC00 + byte) for byte in text.encode())
    halves, said, at = Halves(), "", 0
    for size in sizes * (len(letters) + 1):
        said += halves.add(letters[at : at + size])
        at += size
    assert said + halves.rest() == text


@pytest.mark.parametrize(
    ("counted", "known"),
    [
        (
            {"prompt_tokens": 7, "completion_tokens": None, "total_tokens": None, "prompt_tokens_details": None},
            (7, None),
        ),
        ({"prompt_tokens": None, "completion_tokens": 3}, (None, 3)),
        ({"input_tokens": 7, "output_tokens": 3}, (7, 3)),
        ({"prompt_tokens": 7.0, "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": None}}, (7, None)),
        ({"prompt_tokens": "7", "completion_tokens": 10**30}, (None, None)),
        ({}, (None, None)),
        (None, (None, None)),
    ],
)
async def test_usage_that_lacks_something_is_estimated(
    odd: Odd, counted: Any, known: tuple[int | None, int | None]
) -> None:
    for usage in (
        (await odd.events(delta(content="x" * 40), delta("stop"), {"choices": [], "usage": counted})).usage,
        (await odd.whole({"choices": [{"message": {"content": "x" * 40}}], "usage": counted})).usage,
    ):
        assert usage.input_tokens == known[0] or (known[0] is None and usage.input_tokens > 7)
        assert usage.output_tokens == (10 if known[1] is None else known[1])


async def test_usage_may_come_at_any_time(odd: Odd) -> None:
    early = {**delta(content="x"), "usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    late = {**delta("stop"), "usage": {"completion_tokens": 5, "prompt_tokens": None}}
    usage = (await odd.events(early, late, {"usage": None})).usage
    assert (usage.input_tokens, usage.output_tokens) == (7, 5)


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("stop", "stop"), ("eos", "stop"), ("eos_token", "stop"), ("end_turn", "stop"), ("STOP", "stop"), ("", "stop"),
        ("content_filter", "stop"), ("tool_calls", "stop"), ("length", "length"), ("MAX_TOKENS", "length"),
        ("model_length", "length"), (None, "stop"),
    ],
)  # fmt: skip
async def test_reasons_of_many_words(odd: Odd, said: str | None, finish: str) -> None:
    assert (await odd.events(delta(content="x"), delta(said))).finish == finish
    assert (await odd.whole({"choices": [{"message": {"content": "x"}, "finish_reason": said}]})).finish == finish


@pytest.mark.parametrize(
    "events",
    [
        [delta(role="assistant", content=None), delta(content="x"), delta("stop", content=None)],
        [delta(role=None, content="x", tool_calls=None, function_call=None, refusal=None), delta("stop")],
        [{"choices": [{"delta": None}]}, delta(content="x"), {"choices": [{"finish_reason": "stop"}]}],
        [{"choices": []}, {"choices": None}, {"choices": [None]}, {}, delta(content="x"), delta("stop")],
        [delta(role="assistant"), delta(role="assistant", content="x"), delta(role="assistant"), delta("stop")],
        [delta(reasoning_content="hm", content=""), delta(reasoning="hm"), delta(content="x"), delta("stop")],
        [delta(content="x", tool_calls=[]), delta("stop", tool_calls=[None])],
        [{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}],
        [{"choices": [{"text": "x", "finish_reason": ""}]}, {"choices": [{"text": "", "finish_reason": "stop"}]}],
        [{"object": "x", "error": None, **delta(content="x")}, delta("stop")],
        [b"", b" ", delta(content="x"), delta("stop")],
    ],
)
async def test_events_with_more_or_less_in_them(odd: Odd, events: list[Any]) -> None:
    answer = await odd.events(*events)
    assert (answer.text, answer.finish, answer.tool_calls) == ("x", "stop", ())


def packed(*events: Any) -> list[bytes]:
    return [json.dumps(each).encode() for each in events]


X, END = packed(delta(content="x"), delta("stop"))


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param([b"data: %s\r\n\r\ndata: %s\r\n\r\n" % (X, END)], id="CRLF"),
        pytest.param([b"data: %s\r\rdata: %s\r\r" % (X, END)], id="CR"),
        pytest.param([b"data: %s\r" % X, b"\n\r", b"\ndata: %s\r\n" % END, b"\r\n"], id="CRLF cut in two"),
        pytest.param([b"\xef\xbb\xbfdata: %s\n\ndata: %s\n\n" % (X, END)], id="byte order mark"),
        pytest.param([b"data:%s\n\ndata:%s\n\n" % (X, END)], id="no blank"),
        pytest.param([b"data: %s\ndata: %s\ndata: [DONE]\n" % (X, END)], id="no empty lines"),
        pytest.param([b": ping\n\n: ping\ndata: %s\n\n:\n\ndata: %s\n\n" % (X, END)], id="comments"),
        pytest.param([b"event: message\nid: 1\nretry: 9\ndata: %s\n\ndata: %s\n\n" % (X, END)], id="other fields"),
        pytest.param([b"data: %s\n\ndata: %s" % (X, END)], id="cut at the end"),
        pytest.param([b"data: %s\n\ndata:  [DONE] \n\n" % X], id="no reason"),
        pytest.param([b"data: %s\n\ndata: %s\n\n" % (X, END)], id="no [DONE]"),
        pytest.param([b'data: {"choices":\ndata: [{"delta": {"content": "x"}}]}\n\ndata: %s\n\n' % END], id="lines"),
    ],
)
async def test_streams_of_many_forms(odd: Odd, blocks: list[bytes]) -> None:
    for kind in ("text/event-stream", "text/plain", "application/json"):
        answer = await odd.says(*blocks, kind=kind)
        assert (answer.text, answer.finish) == ("x", "stop")


async def test_a_server_that_does_not_stream_is_read_all_the_same(odd: Odd) -> None:
    message = {"content": "x", "tool_calls": [part("add", A, id="1")]}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3}})
    answer = await odd.says(body.encode(), kind="application/json; charset=utf-8")
    assert (answer.text, made(answer), answer.usage.input_tokens) == ("x", BOTH[:1], 3)


async def test_a_connection_that_stays_open_after_the_end_is_not_waited_for(odd: Odd) -> None:
    start = time.monotonic()
    answer = await odd.says(b"data: %s\n\ndata: %s\n\ndata: [DONE]\n\n" % (X, END), hold=30)
    assert answer.text == "x" and time.monotonic() - start < 10


async def test_an_answer_that_is_whole_survives_its_connection(odd: Odd) -> None:
    async def instead(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Content-Length": "9999"})
        await response.prepare(request)
        await response.write(b"data: %s\n\ndata: %s\n\n" % (X, END))
        assert request.transport is not None
        request.transport.close()
        return response

    odd.server.instead = instead
    assert (await odd.bed.ask(odd.bed.chat(SHORT))).text == "x"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, EngineUnavailable),
        ({"error": {"message": "slow down", "code": 429}}, EngineUnavailable),
        ({"error": {"message": "slow down", "code": "429"}}, EngineUnavailable),
        ({"error": {"message": "slow down", "code": 1302}}, EngineFailed),
        ({"error": {"message": "slow down", "code": None, "type": "invalid_request_error"}}, InvalidRequest),
        ({"error": "slow down"}, EngineFailed),
        ({"object": "error", "message": "slow down", "code": 400}, InvalidRequest),
        ({"detail": "slow down"}, EngineFailed),
        ({"message": "slow down", "code": 503}, EngineUnavailable),
        ({"choices": [{"finish_reason": "error", "error": {"message": "slow down", "code": 502}}]}, EngineUnavailable),
    ],
)
async def test_an_error_in_a_stream_keeps_its_words(odd: Odd, event: Any, kind: type) -> None:
    with pytest.raises(kind, match="slow down"):
        await odd.events(delta(content="x"), event, delta("stop"))
    with pytest.raises(kind, match="slow down"):
        await odd.whole(event)


async def test_an_answer_that_breaks_the_schema_is_refused(odd: Odd) -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}, "required": ["a"]}
    for text, says in (("Sure! Here it is", "no JSON"), ('{"a": "x"}', "a is 'x'")):
        with pytest.raises(Unsupported, match=says):
            await odd.events(delta(content=text), delta("stop"), schema=schema, tools=())
    assert (
        await odd.events(delta(content='{"a": null}'), delta("stop"), schema=schema, tools=())
    ).text == '{"a": null}'
    assert (await odd.events(delta(content='{"a'), delta("length"), schema=schema, tools=())).finish == "length"


@pytest.mark.parametrize("rows", [[{"embedding": [1.0]}, {"embedding": [0.5]}], [{"embedding": [1.0]}], None, "x"])
async def test_vectors_without_numbers(odd: Odd, rows: Any) -> None:
    async def instead(request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": rows, "usage": None})

    odd.server.instead = instead
    if isinstance(rows, list) and len(rows) == 2:
        assert (await odd.bed.engine.embed(EmbedRequest("remote", ("a", "b")))).vectors == ((1.0,), (0.5,))
    else:
        with pytest.raises(EngineFailed):
            await odd.bed.engine.embed(EmbedRequest("remote", ("a", "b")))


@pytest.mark.parametrize("logprob", [None, -0.5, "-Infinity"])
async def test_log_probabilities_that_json_cannot_say(odd: Odd, logprob: Any) -> None:
    row = {"token": "x", "logprob": logprob, "top_logprobs": None}
    event = json.dumps({"choices": [{"delta": {"content": "x"}, "logprobs": {"content": [row]}}]}).encode()
    answer = await odd.events(event.replace(b'"-Infinity"', b"-Infinity"), delta("stop"))
    assert answer.logprobs[0].logprob == (-0.5 if logprob == -0.5 else -9999.0)


# Anthropic's API


def block(index: Any, **said: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": said}


def grown(index: Any, **said: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": said}


BEGIN = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": None}}}
TEXT = [block(0, type="text", text=""), grown(0, type="text_delta", text="x")]


def ended(reason: str | None = "end_turn", **usage: Any) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}, {"type": "message_stop"}]


@pytest.mark.parametrize(
    "events",
    [
        [BEGIN, *TEXT, *ended()],
        [{"type": "message_start", "message": {}}, *TEXT, *ended(None)],
        [{"type": "message_start"}, {"type": "ping"}, *TEXT, {"type": "message_stop"}],
        [BEGIN, block(0, type="thinking", thinking=""), grown(0, type="thinking_delta", thinking="hm"),
         block(1, type="text", text="x"), *ended()],
        [BEGIN, block(0, type="text", text=None), grown(0, type="text_delta", text="x"), {"type": "new"}, *ended()],
        [{"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "usage": None}],
    ],
)  # fmt: skip
@pytest.mark.parametrize("done", [False, True])
async def test_anthropics_events_with_more_or_less_in_them(claude: Odd, events: list[Any], done: bool) -> None:
    answer = await claude.events(*events, done=done)
    assert (answer.text, answer.finish) == ("x", "stop")


@pytest.mark.parametrize(
    "events",
    [
        [block(0, type="tool_use", id="1", name="add", input={}), grown(0, type="input_json_delta", partial_json=A)],
        [block(0, type="tool_use", id="1", name="add", input={"a": 1})],
        [block(0, type="tool_use", id=None, name="add", input=None), grown(0, type="input_json_delta", partial_json=A)],
        [block(None, type="tool_use", id="1", name="add"), grown(None, type="input_json_delta", partial_json=A)],
        [block(0, type="tool_use", id="1", name="add", input=A)],
    ],
)
async def test_anthropics_calls_of_many_forms(claude: Odd, events: list[Any]) -> None:
    answer = await claude.events(BEGIN, *events, *ended("tool_use"), done=False)
    assert made(answer) == BOTH[:1] and answer.usage.input_tokens == 5


async def test_anthropics_call_that_the_length_cut_off_is_none(claude: Odd) -> None:
    call = [block(0, type="tool_use", id="1", name="add"), grown(0, type="input_json_delta", partial_json='{"a')]
    answer = await claude.events(BEGIN, *call, *ended("max_tokens"), done=False)
    assert (answer.tool_calls, answer.finish) == ((), "length")


@pytest.mark.parametrize(
    "content", ["x", [{"type": "text", "text": "x"}], [{"type": "thinking"}, {"type": "text", "text": "x"}]]
)
async def test_anthropics_content_of_many_forms(claude: Odd, content: Any) -> None:
    answer = await claude.whole(
        {"type": "message", "content": content, "stop_reason": None, "usage": {"input_tokens": None}}
    )
    assert (answer.text, answer.finish) == ("x", "stop")
