"""The remote drivers: the engine contract against stand-in servers, and what goes over the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from llmagent_os.core.errors import ContextOverflow, EngineFailed, EngineUnavailable, InvalidRequest, Unsupported
from llmagent_os.core.records import EmbedRequest, Message, ModelSpec, Sampling, ToolCall, ToolSpec
from llmagent_os.llm.engines import open_engine
from llmagent_os.llm.http import Lines
from tests.contract.engine_suite import *  # noqa: F403
from tests.contract.engine_suite import EMAIL, LONG, SCHEMA, SHORT, Bed
from tests.stand_ins.anthropic_api import anthropic_server
from tests.stand_ins.openai_api import asked, openai_server
from tests.stand_ins.server import StandIn, event_stream

OVERLONG = "word " * 5000
SERVERS = {"openai": openai_server, "anthropic": anthropic_server}


def spec(server: StandIn, engine: str = "openai", **fields: Any) -> ModelSpec:
    return ModelSpec("remote", engine, source=server.url, model="stand-in", **fields)


def sent_to_openai(body: Mapping[str, Any]) -> dict[str, Any]:
    extra = {name: body[name] for name in ("top_k", "min_p", "typical_p", "repetition_penalty") if name in body}
    return {**asked(body).sampling.sent(), **extra}


def sent_to_anthropic(body: Mapping[str, Any]) -> dict[str, Any]:
    stop = {"stop": tuple(body["stop_sequences"])} if "stop_sequences" in body else {}
    return {**body, **stop}


@pytest.fixture(params=["openai", "openai-extended", "openai-whole", "anthropic", "anthropic-whole"])
async def bed(request: pytest.FixtureRequest) -> AsyncIterator[Bed]:
    name, _, variant = request.param.partition("-")
    async with AsyncExitStack() as stack:
        made = openai_server(extended=variant == "extended") if name == "openai" else anthropic_server()
        server = await stack.enter_async_context(made)
        options = {"extended": {"extended": True, "choices": "structured_outputs"}, "whole": {"stream": False}}
        engine = await open_engine(spec(server, name, options=options.get(variant, {})))
        stack.push_async_callback(engine.close)
        reached = sent_to_openai if name == "openai" else sent_to_anthropic
        yield Bed(engine, lambda: reached(server.last), OVERLONG, streams=variant != "whole")


@pytest.fixture(params=SERVERS)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[StandIn, Bed]]:
    async with SERVERS[request.param]() as server:
        engine = await open_engine(spec(server, request.param))
        yield server, Bed(engine)
        await engine.close()


@pytest.fixture
async def openai() -> AsyncIterator[tuple[StandIn, Bed]]:
    async with openai_server() as server:
        engine = await open_engine(spec(server))
        yield server, Bed(engine)
        await engine.close()


@pytest.fixture
async def anthropic() -> AsyncIterator[tuple[StandIn, Bed]]:
    async with anthropic_server() as server:
        engine = await open_engine(spec(server, "anthropic"))
        yield server, Bed(engine)
        await engine.close()


# What goes over the wire


async def test_an_answer_goes_on_from_its_beginning_where_the_server_can():
    async with openai_server() as server:
        engine = await open_engine(spec(server, options={"prefill": True}))
        assert "said" in engine.info.abilities
        bed = Bed(engine)
        whole = (await bed.ask(bed.chat(SHORT))).text
        assert (await bed.ask(bed.chat(SHORT, said=whole[:9]))).text == whole[9:]
        assert server.last["messages"][-1] == {"role": "assistant", "content": whole[:9]}
        assert (server.last["continue_final_message"], server.last["add_generation_prompt"]) == (True, False)
        await engine.close()


async def test_an_answer_that_cannot_go_on_is_refused(pair):
    _, bed = pair
    with pytest.raises(Unsupported) as caught:
        await bed.ask(bed.chat(SHORT, said="Red"))
    assert caught.value.facts["parameter"] == "said"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_request_says_whether_to_stream(pair, stream: bool):
    server, bed = pair
    await bed.ask(bed.chat(SHORT, stream=stream))
    assert server.last["stream"] is stream


async def test_what_is_switched_off_is_not_sent_to_a_server_that_does_not_know_it(pair):
    server, bed = pair
    await bed.ask(bed.chat(SHORT, sampling=Sampling(repetition_penalty=1, min_p=0, typical_p=1, top_p=1)))
    assert not {"repetition_penalty", "min_p", "typical_p"} & server.last.keys()
    assert server.last["top_p"] == 1


async def test_openai_gets_tools_schema_and_choices_in_its_own_shape(openai):
    server, bed = openai
    tool = ToolSpec("add", "Add.", {"type": "object", "properties": {}})
    await bed.ask(bed.chat("x", tools=(tool,), tool_choice="add"))
    function = {"name": "add", "description": "Add.", "parameters": tool.parameters}
    assert server.last["tools"] == [{"type": "function", "function": function}]
    assert server.last["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    await bed.ask(bed.chat("x", schema=SCHEMA))
    assert server.last["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": False}
    await bed.ask(bed.chat("x", choices=("a", "b")))
    assert server.last["response_format"]["json_schema"]["strict"] is True


async def test_servers_get_no_pattern_that_they_refuse(pair):
    """One would refuse all tools beside it."""
    server, bed = pair
    said = {"type": "string", "pattern": EMAIL}
    schema = {
        "type": "object",
        "properties": {"a": said, "b": {"pattern": "^x"}, "const": {"const": {"pattern": "(?"}}},
    }
    tools = (ToolSpec("mail", "", {**schema, "patternProperties": {"^(?!a)": {}, "b": {}}}), ToolSpec("t", "", {}))
    await bed.ask(bed.chat("x", tools=tools))
    sent = [tool.get("function", tool) for tool in server.last["tools"]]
    mail = sent[0].get("parameters", sent[0].get("input_schema"))
    assert mail["properties"] == {
        "a": {"type": "string"},
        "b": {"pattern": "^x"},
        "const": {"const": {"pattern": "(?"}},
    }
    assert mail["patternProperties"] == {"b": {}}
    with pytest.raises(Unsupported, match="does not match"):
        await bed.ask(bed.chat('{"a": "a..b@x.org"}', schema=schema))


async def test_vllm_gets_choices_in_its_own_field():
    async with openai_server(extended=True) as server:
        engine = await open_engine(spec(server, options={"extended": True, "choices": "structured_outputs"}))
        bed = Bed(engine)
        assert (await bed.ask(bed.chat("b", choices=("a", "b")))).text == "b"
        assert server.last["structured_outputs"] == {"choice": ["a", "b"]}
        await engine.close()


async def test_openai_itself_gets_the_new_name_of_max_tokens_by_option(openai):
    server, _ = openai
    engine = await open_engine(spec(server, options={"max_tokens": "max_completion_tokens", "body": {"seed": 5}}))
    bed = Bed(engine)
    await bed.ask(bed.chat("x", sampling=Sampling(max_tokens=2)))
    assert server.last["max_completion_tokens"] == 2 and server.last["seed"] == 5
    await engine.close()


async def test_openai_has_no_schema_for_a_raw_prompt(openai):
    _, bed = openai
    with pytest.raises(Unsupported, match="extended"):
        await bed.ask(bed.chat("", messages=(), prompt="x", schema=SCHEMA))


@pytest.mark.parametrize("top", [0, 2])
async def test_raw_log_probabilities_are_read(openai, top: int):
    _, bed = openai
    answer = await bed.ask(bed.chat("", messages=(), prompt="red green", sampling=Sampling(top_logprobs=top)))
    assert [row.token for row in answer.logprobs] == ["red ", "gree", "n"]
    assert all(len(row.top) == top and row.logprob < 0 for row in answer.logprobs)


async def test_anthropic_gets_system_tool_results_and_images_in_its_own_shape(anthropic):
    server, bed = anthropic
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}, {"type": "text", "text": "?"}]
    calls = (ToolCall("1", "add", {"a": 1}), ToolCall("2", "mul", {}))
    messages = (
        Message("system", "Be brief."),
        Message("user", picture),
        Message("assistant", ""),
        Message("assistant", "", calls),
        Message("tool", "3", tool_call_id="1"),
        Message("tool", "4", tool_call_id="2"),
        Message("user", "go on"),
    )
    await bed.ask(bed.chat("", messages=messages, tools=(ToolSpec("add"), ToolSpec("mul")), sampling=Sampling()))
    assert (server.last["system"], server.last["max_tokens"]) == ("Be brief.", 4096)
    user, assistant, results = server.last["messages"]
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    assert user["content"] == [{"type": "image", "source": source}, {"type": "text", "text": "?"}]
    assert [block["type"] for block in assistant["content"]] == ["tool_use", "tool_use"]
    assert [block["type"] for block in results["content"]] == ["tool_result", "tool_result", "text"]


@pytest.mark.parametrize("stream", [True, False])
async def test_parallel_tool_calls_come_whole(stream: bool):
    calls = [ToolCall("", "add", {"a": 1, "text": "héllo"}), ToolCall("", "mul", {}), ToolCall("", "add", {"b": [2]})]
    for name, serve in SERVERS.items():
        async with serve(script=lambda request: calls) as server:
            engine = await open_engine(spec(server, name))
            bed = Bed(engine)
            answer = await bed.ask(bed.chat("x", tools=(ToolSpec("add"), ToolSpec("mul")), stream=stream))
            assert [(call.name, call.arguments) for call in answer.tool_calls] == [(c.name, c.arguments) for c in calls]
            assert len({call.id for call in answer.tool_calls}) == 3 and answer.finish == "tool_calls"
            await engine.close()


async def test_usage_is_the_servers_with_what_it_cached_and_costs():
    for name, serve in SERVERS.items():
        async with serve() as server:
            engine = await open_engine(spec(server, name, input_price=3.0, output_price=15.0))
            bed = Bed(engine)
            for stream in (True, False):
                usage = (await bed.ask(bed.chat("x" * 40, stream=stream))).usage
                assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (10, 10, 1)
                assert usage.money == pytest.approx((10 * 3 + 10 * 15) / 1e6)
            await engine.close()


async def test_usage_is_estimated_where_the_server_does_not_count():
    async with openai_server(counts=False) as server:
        engine = await open_engine(spec(server))
        bed = Bed(engine)
        usage = (await bed.ask(bed.chat("x" * 40))).usage
        assert (usage.input_tokens, usage.output_tokens) == (14, 10)
        await engine.close()


async def test_embeddings_come_back_in_order(openai):
    server, bed = openai
    made = await bed.engine.embed(EmbedRequest("remote", ("red", "green", "blue")))
    again = await server.model.embed(EmbedRequest("x", ("red", "green", "blue")))
    assert made.vectors == again.vectors


# Trouble


async def answer_with(bed: Bed, server: StandIn, status: int, body: Any = None, **headers: str) -> Exception:
    async def instead(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    server.instead = instead
    with pytest.raises(Exception) as caught:
        await bed.ask(bed.chat(SHORT))
    return caught.value


@pytest.mark.parametrize(("status", "kind", "words"), [
    (400, InvalidRequest, "what the server said"),
    (401, EngineFailed, "key_env"),
    (404, EngineFailed, "stand-in"),
    (422, InvalidRequest, "what the server said"),
    (429, EngineUnavailable, "try later"),
    (500, EngineFailed, "what the server said"),
    (503, EngineUnavailable, "busy"),
    (529, EngineUnavailable, "busy"),
])  # fmt: skip
async def test_an_error_answer_keeps_the_servers_words(pair, status: int, kind: type, words: str):
    server, bed = pair
    error = await answer_with(bed, server, status, {"error": {"message": "what the server said"}})
    assert type(error) is kind and words in str(error) and "what the server said" in str(error)
    assert error.facts["status"] == status
    assert bed.engine.health() is None


@pytest.mark.parametrize("body", [{"error": "said"}, {"detail": "said"}, {"message": "said"}, "said", None])
async def test_an_error_body_may_have_any_shape(pair, body: Any):
    server, bed = pair
    error = await answer_with(bed, server, 500, body)
    assert "said" in str(error) if body else "HTTP 500" in str(error) or "null" in str(error)


async def test_a_busy_server_says_when_to_come_back(pair):
    server, bed = pair
    error = await answer_with(bed, server, 429, {}, **{"Retry-After": "7"})
    assert error.facts["retry_after"] == "7"


@pytest.mark.parametrize("words", [
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000: too many tokens",
    "the request exceeds the available context size, try increasing it",
    "prompt is too long: 5000 tokens > 4096 maximum",
])  # fmt: skip
async def test_a_window_is_known_by_many_words(pair, words: str):
    server, bed = pair
    assert type(await answer_with(bed, server, 400, {"error": {"message": words}})) is ContextOverflow


async def test_an_error_inside_a_stream_is_raised(pair):
    server, bed = pair

    async def instead(request: web.Request) -> web.StreamResponse:
        response = await event_stream(request)
        error = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
        await response.write(b"event: error\ndata: " + error + b"\n\n")
        return response

    server.instead = instead
    with pytest.raises(EngineUnavailable, match="Overloaded"):
        await bed.ask(bed.chat(SHORT))


@pytest.mark.parametrize("how", ["ends", "breaks"])
async def test_an_answer_that_breaks_off_is_an_error(pair, how: str):
    server, bed = pair

    async def instead(request: web.Request) -> web.StreamResponse:
        response = await event_stream(request)
        if how == "breaks":
            request.transport.close()
        return response

    server.instead = instead
    with pytest.raises(EngineUnavailable, match="broke"):
        await bed.ask(bed.chat(SHORT))


@pytest.mark.parametrize("answer", ["<html>", "[]", "{}"])
async def test_what_is_no_model_server_is_an_error(openai, answer: str):
    server, bed = openai

    async def instead(request: web.Request) -> web.StreamResponse:
        return web.Response(text=answer)

    server.instead = instead
    with pytest.raises(EngineFailed):
        await bed.ask(bed.chat(SHORT, stream=False))


@pytest.mark.parametrize("text", ['{"choice": "c"}', "a", '{"other": 1}', "[]"])
async def test_a_server_that_does_not_keep_to_the_choices_is_an_error(text: str):
    async with openai_server(script=lambda request: text) as server:
        engine = await open_engine(spec(server, options={"choices": "schema"}))
        server.instead = fixed(text)
        bed = Bed(engine)
        with pytest.raises(EngineFailed, match="choices"):
            await bed.ask(bed.chat("x", choices=("a", "b"), stream=False))
        await engine.close()


def fixed(text: str, calls: Any = None):
    async def instead(request: web.Request) -> web.StreamResponse:
        message = {"content": text, "tool_calls": calls}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    return instead


@pytest.mark.parametrize("arguments", ["{", "[1]", '"a"'])
async def test_tool_arguments_that_are_no_object_are_an_error(openai, arguments: str):
    server, bed = openai
    server.instead = fixed("", [{"id": "1", "function": {"name": "add", "arguments": arguments}}])
    with pytest.raises(EngineFailed, match="add"):
        await bed.ask(bed.chat("x", tools=(ToolSpec("add"),), stream=False))


async def test_a_server_that_is_not_there_turns_health_red_until_it_answers(pair, unused_tcp_port: int):
    _, bed = pair
    engine = await open_engine(ModelSpec("m", bed.engine.info.name, source=f"http://127.0.0.1:{unused_tcp_port}/v1"))
    with pytest.raises(EngineUnavailable, match="is the server running"):
        await Bed(engine).ask(bed.chat(SHORT))
    assert str(unused_tcp_port) in (engine.health() or "")
    await engine.close()


async def test_silence_ends_after_the_idle_time(openai):
    server, _ = openai

    async def instead(request: web.Request) -> web.StreamResponse:
        response = await event_stream(request)
        await asyncio.sleep(10)
        return response

    server.instead = instead
    engine = await open_engine(spec(server, options={"idle": 0.1}))
    with pytest.raises(EngineUnavailable, match="idle"):
        await Bed(engine).ask(Bed(engine).chat(SHORT))
    await engine.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cancelled_call_closes_its_connection(pair, stream: bool):
    server, bed = pair
    task = asyncio.create_task(bed.ask(bed.chat(LONG, stream=stream)))
    while not server.received:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait_for(server.abandoned.wait(), 20)


async def test_a_closed_engine_says_so(pair):
    _, bed = pair
    await bed.engine.close()
    assert "closed" in (bed.engine.health() or "")
    with pytest.raises(EngineUnavailable, match="closed"):
        await bed.ask(bed.chat(SHORT))


async def test_an_unknown_option_is_refused_with_the_nearest(pair):
    server, bed = pair
    with pytest.raises(InvalidRequest, match="did you mean 'stream'"):
        await open_engine(spec(server, bed.engine.info.name, options={"steam": False}))


# Keys


@pytest.mark.parametrize("name", SERVERS)
async def test_the_key_comes_from_its_variable_and_is_never_shown(name: str, monkeypatch: pytest.MonkeyPatch):
    async with SERVERS[name](key="right") as server:
        with pytest.raises(EngineFailed, match="set the environment variable REMOTE_KEY"):
            await open_engine(spec(server, name, key_env="REMOTE_KEY"))
        monkeypatch.setenv("REMOTE_KEY", "right")
        engine = await open_engine(spec(server, name, key_env="REMOTE_KEY"))
        assert (await Bed(engine).ask(Bed(engine).chat(SHORT))).text
        await engine.close()
        monkeypatch.setenv("REMOTE_KEY", "wrong-secret")
        engine = await open_engine(spec(server, name, key_env="REMOTE_KEY"))
        with pytest.raises(EngineFailed, match=r"REMOTE_KEY") as caught:
            await Bed(engine).ask(Bed(engine).chat(SHORT))
        assert "wrong-secret" not in str(caught.value)
        await engine.close()


# Server-sent events

EVENT = st.text(st.characters(exclude_characters="\r\n", codec="utf-8")).map(str.encode).filter(bytes.strip)


@given(st.lists(EVENT, max_size=8), st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(1, 40), min_size=1))
def test_events_survive_any_cut(events: list[bytes], end: bytes, sizes: list[int]):
    wire = b": comment" + end * 2 + b"".join(b"event: x" + end + b"data: " + one + end * 2 for one in events)
    lines, got = Lines(), []
    while wire:
        size = sizes[0]
        sizes = sizes[1:] + sizes[:1]
        got += lines.feed(wire[:size])
        wire = wire[size:]
    assert got == events


def test_the_lines_of_one_event_are_joined():
    assert Lines().feed(b"data:a\ndata: b\nid: 7\n\n\n\n") == [b"a\nb"]


async def test_a_hundred_calls_at_once_share_one_session(openai):
    _, bed = openai
    start = time.monotonic()
    answers = await asyncio.gather(*(bed.ask(bed.chat(SHORT, stream=False)) for _ in range(100)))
    assert all(answer.text == SHORT for answer in answers) and time.monotonic() - start < 15
