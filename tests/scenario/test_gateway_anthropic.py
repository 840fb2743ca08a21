"""Anthropic's Messages API over real HTTP: whole and streamed, tools, errors, and the names of models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmagent_os.core import codec
from llmagent_os.core.errors import EngineUnavailable
from llmagent_os.core.records import GenerateRequest, ModelSpec
from llmagent_os.gateway.answering import Answerers
from llmagent_os.gateway.desk import desk
from llmagent_os.gateway.messages_bodies import MessagesBody
from llmagent_os.gateway.messages_wire import Wire
from llmagent_os.gateway.open_bodies import read_open
from llmagent_os.gateway.streaming import stream
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import ScriptedEngine
from llmagent_os.security.identity import OWNER
from tests.stand_ins.gateway import Gate, gate, user

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
ADD = {
    "name": "add",
    "description": "Add two numbers",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
CALL_ADD = 'call add with {"a": 1, "b": 2}'


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "max_tokens": 64, "messages": user(text), **more}


def request(**more: Any) -> GenerateRequest:
    """What a model is asked for a body."""
    return read_open(MessagesBody, codec.dumps({"model": "m", "messages": user("hi"), **more})).request("m")


async def test_a_message_is_answered_and_counted(api: Gate) -> None:
    status, answer = await api.post(MESSAGES, ask("hello there"))
    assert status == 200
    assert answer["id"].startswith("msg_")
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "scripted")
    assert answer["content"] == [{"type": "text", "text": "hello there"}]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)
    assert answer["usage"]["output_tokens"] == 3 and answer["usage"]["input_tokens"] > 0
    assert "left_out" not in answer


async def test_the_events_come_in_anthropics_order(api: Gate) -> None:
    events = await api.events(MESSAGES, ask("hello there", stream=True))
    assert all(name == data["type"] for name, data in events)
    assert list(dict.fromkeys(name for name, _ in events)) == [
        "message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    start, block, *_ = (data for _, data in events)
    assert start["message"]["content"] == [] and start["message"]["stop_reason"] is None
    assert start["message"]["usage"]["input_tokens"] == events[-2][1]["usage"]["input_tokens"]
    assert (block["index"], block["content_block"]) == (0, {"type": "text", "text": ""})
    deltas = [data["delta"] for name, data in events if name == "content_block_delta"]
    assert {delta["type"] for delta in deltas} == {"text_delta"} and len(deltas) > 1
    assert "".join(delta["text"] for delta in deltas) == "hello there"
    assert events[-2][1]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2][1]["usage"]["output_tokens"] == 3 and events[-2][1]["usage"]["input_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_answered(api: Gate, streamed: bool) -> None:
    body = ask(CALL_ADD, tools=[ADD], stream=streamed)
    if streamed:
        events = [data for _, data in await api.events(MESSAGES, body)]
        (begun,) = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        (delta,) = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        assert begun["input"] == {} and delta["type"] == "input_json_delta"
        call = begun | {"input": codec.loads(delta["partial_json"])}
        assert events[-2]["delta"]["stop_reason"] == "tool_use"
    else:
        _, answer = await api.post(MESSAGES, body)
        (call,) = answer["content"]
        assert answer["stop_reason"] == "tool_use"
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "add", {"a": 1, "b": 2})
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "3"}]}
    body["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    _, answer = await api.post(MESSAGES, body | {"stream": False})
    assert answer["content"][0]["text"] == "Done: 3"


async def test_text_and_calls_are_blocks_of_their_own(api: Gate) -> None:
    two = ({"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "add", "arguments": {"a": 2, "b": 3}})
    await api.script("both", {"text": "I add.", "calls": list(two)})
    body = ask("x", model="both", tools=[ADD], stream=True)
    events = [data for _, data in await api.events(MESSAGES, body)]
    started = [(event["index"], event["content_block"]["type"]) for event in events if "content_block" in event]
    stopped = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert started[-2:] == [(len(started) - 2, "tool_use"), (len(started) - 1, "tool_use")]
    assert stopped == list(range(len(started)))
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    _, one = await api.post(MESSAGES, body | {"stream": False, "tool_choice": choice})
    assert [block["type"] for block in one["content"]].count("tool_use") == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_stop_sequence_that_was_reached_is_named(api: Gate, streamed: bool) -> None:
    body = ask("one two three", stop_sequences=["zebra", " three", "two"], stream=streamed)
    if streamed:
        ended = (await api.events(MESSAGES, body))[-2][1]["delta"]
    else:
        _, ended = await api.post(MESSAGES, body)
        assert ended["content"][0]["text"] == "one "
    assert (ended["stop_reason"], ended["stop_sequence"]) == ("stop_sequence", "two")
    _, cut = await api.post(MESSAGES, ask("one two three four", max_tokens=1))
    assert (cut["stop_reason"], cut["stop_sequence"]) == ("max_tokens", None)


async def test_an_answer_goes_on_from_a_beginning(api: Gate) -> None:
    begun = [*user("one two three"), {"role": "assistant", "content": [{"type": "text", "text": "one t"}]}]
    _, answer = await api.post(MESSAGES, ask("", messages=begun))
    assert answer["content"][0]["text"] == "wo three"
    status, refused = await api.post(MESSAGES, ask("", messages=begun, model="assistant"))
    assert status == 400 and "agent" in refused["error"]["message"]


async def test_a_schema_holds_the_answer(api: Gate) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "schema": schema}
    for more in ({"output_config": {"format": form}}, {"output_format": form}):
        _, answer = await api.post(MESSAGES, ask('{"n": 3}', **more))
        assert answer["content"][0]["text"] == '{"n": 3}'


async def test_an_agent_answers(api: Gate) -> None:
    _, answer = await api.post(MESSAGES, ask("good day", model="assistant"))
    assert answer["content"] == [{"type": "text", "text": "good day"}] and answer["model"] == "assistant"
    status, refused = await api.post(MESSAGES, ask("hi", model="assistant", tools=[ADD]))
    assert (status, refused["error"]["type"]) == (400, "invalid_request_error")
    status, refused = await api.post(COUNT, ask("hi", model="assistant"))
    assert status == 400 and "agent" in refused["error"]["message"]


async def test_tokens_are_counted_by_the_model_and_journalled(api: Gate) -> None:
    counted = {"model": "scripted", "messages": user("x" * 40), "tools": [ADD], "tool_choice": {"type": "auto"}}
    status, answer = await api.post(COUNT, counted)
    assert (status, answer) == (200, {"input_tokens": 10})
    calls = (await api.get("/v1/events?after=0&follow=false"))[1].decode()
    assert '"name":"measure"' in calls.replace(" ", "")


# -- what is read


def test_a_conversation_in_blocks() -> None:
    asked = request(
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.77; cch=0;"},
            {"type": "text", "text": "You code.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be brief."},
        ],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "look: "}, {"type": "text", "text": "here"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I read."},
                    {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a"}},
                    {"type": "tool_use", "id": "t2", "name": "read", "input": {"path": "b"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and now?"},
                    {"type": "tool_result", "tool_use_id": "t1", "content": "text"},
                    {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [
                        {"type": "text", "text": "no such file"}]},
                ],
            },
            {"role": "system", "content": "It is late."},
            {"role": "user", "content": "go on"},
        ],
    )  # fmt: skip
    assert [(message.role, message.content) for message in asked.messages] == [
        ("system", "You code.\n\nBe brief."),
        ("user", "look: here"),
        ("assistant", "I read."),
        ("tool", "text"),
        ("tool", "Error: no such file"),
        ("user", "and now?\n<system-reminder>\nIt is late.\n</system-reminder>"),
        ("user", "go on"),
    ]
    assert [call.arguments for call in asked.messages[2].tool_calls] == [{"path": "a"}, {"path": "b"}]
    assert [(message.tool_call_id, message.name) for message in asked.messages[3:5]] == [("t1", "read"), ("t2", "read")]


def test_pictures_and_documents() -> None:
    blocks = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        {"type": "search_result", "title": "T", "source": "https://example.org", "content": [
            {"type": "text", "text": "found"}]},
    ]  # fmt: skip
    (message,) = request(messages=[{"role": "user", "content": blocks}]).messages
    assert message.content[0] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert message.content[1] == {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert "Notes\nwords" in message.text and "T (https://example.org)\nfound" in message.text
    result = {"type": "tool_result", "tool_use_id": "t", "content": blocks[:1]}
    (message,) = request(messages=[{"role": "user", "content": [result]}]).messages
    assert message.role == "tool" and message.content[0]["type"] == "image_url"


def test_choices_of_tools_and_sampling() -> None:
    for choice, meant in (({"type": "any"}, "required"), ({"type": "tool", "name": "add"}, "add"),
                          ({"type": "none"}, "none"), ({"type": "auto"}, "auto"), (None, "auto")):  # fmt: skip
        assert request(tools=[ADD], tool_choice=choice).tool_choice == meant
    asked = request(max_tokens=5, temperature=0.5, top_p=0.75, top_k=3, stop_sequences=["a", ""], stream=True)
    sampling = asked.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k) == (5, 0.5, 0.75, 3)
    assert sampling.stop == ("a",) and asked.stream
    assert request(top_k=-1).sampling.top_k is None


async def test_what_is_without_effect_is_named_in_the_answer(api: Gate) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    used = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    turns = [*user("x"), {"role": "assistant", "content": [used, found, {"type": "text", "text": "y"}]}, *user("hi")]
    body = ask(
        "", messages=turns, tools=[search, ADD], thinking={"type": "enabled", "budget_tokens": 1024},
        output_config={"effort": "high"}, context_management={"edits": [{"type": "clear_thinking_20251015"}]},
        mcp_servers=[{"type": "url", "url": "https://example.org", "name": "x"}], brand_new_field=1,
        metadata={"user_id": "u"}, service_tier="auto",
    )  # fmt: skip
    status, answer = await api.post(MESSAGES, body)
    assert status == 200, answer
    told = [
        "thinking", "output_config.effort", "context_management", "mcp_servers", "brand_new_field",
        "tools: web_search_20250305", "content: server_tool_use", "content: web_search_tool_result",
    ]  # fmt: skip
    assert answer["left_out"] == told
    events = await api.events(MESSAGES, body | {"stream": True})
    assert events[0][1]["message"]["left_out"] == told
    for choice in ({"type": "tool", "name": "web_search"}, {"type": "any"}):
        status, refused = await api.post(MESSAGES, body | {"tools": [search], "tool_choice": choice})
        assert (status == 400 and "web_search" in refused["error"]["message"]) or choice["type"] == "any"
        assert status == 400 and "tool_choice" in refused["error"]["message"]


# -- who may, and errors


async def test_a_key_is_taken_from_either_header(api: Gate) -> None:
    _, minted = await api.post("/v1/keys", {"roles": ["user"], "principal": "ann"})
    async with aiohttp.ClientSession() as session:
        for header in ({"x-api-key": minted["key"]}, {"Authorization": f"Bearer {minted['key']}"}):
            betas = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219,context-1m-2025-08-07"}
            url = f"{api.running.url}{MESSAGES}?beta=true"
            async with session.post(url, json=ask("hi"), headers=header | betas) as answer:
                assert answer.status == 200
        for wrong in ({"x-api-key": "sk-wrong"}, {}):
            async with session.post(api.running.url + MESSAGES, json=ask("hi"), headers=wrong) as answer:
                data = await answer.json()
            assert answer.status == 401 and data["type"] == "error"
            assert data["error"]["type"] == "authentication_error"


async def test_errors_are_anthropics(api: Gate) -> None:
    for body, status, kind, words in (
        (ask("hi", model="scriptd"), 404, "not_found_error", "did you mean 'scripted'"),
        (ask("hi", temprature=1), 400, "invalid_request_error", "did you mean 'temperature'"),
        (ask("hi", max_tokens=0), 400, "invalid_request_error", "max_tokens"),
        (ask("hi", messages=[]), 400, "invalid_request_error", "messages"),
        (ask("hi", tools=[{"name": "x"}]), 400, "invalid_request_error", "tools[0].input_schema"),
        (ask("hi", messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]), 400,
         "invalid_request_error", "messages[0].content[0].source"),
    ):  # fmt: skip
        found, answer = await api.post(MESSAGES, body)
        assert (found, answer["type"], answer["error"]["type"]) == (status, "error", kind), answer
        assert words in answer["error"]["message"]
    for more, words in (({"thread": {"type": "create"}}, "whole conversation"), ({"compaction": {}}, "shortens")):
        status, answer = await api.post(MESSAGES, ask("hi", **more))
        assert status == 400 and words in answer["error"]["message"]
    assert (await api.post(MESSAGES, ask("hi", thread={"type": "create"})))[1]["error"]["details"] == {
        "error_code": "thread_unsupported_request",
        "unsupported": ["thread"],
    }
    for method, path, status in (("GET", MESSAGES, 405), ("POST", "/v1/messages/batches", 404)):
        found, answer = await api.ask(method, path, json={})
        assert (found, answer["type"]) == (status, "error")


async def test_errors_of_the_system_have_anthropics_types(api: Gate) -> None:
    await api.script("down", {"error": {"type": "EngineUnavailable", "message": "busy"}})
    await api.script("broken", {"error": {"type": "EngineFailed", "message": "broken"}})
    await api.script("short", {"text": "x"}, window=8)
    for model, text, status, kind, words in (
        ("down", "hi", 529, "overloaded_error", "busy"),
        ("broken", "hi", 502, "api_error", "broken"),
        ("short", "x" * 400, 400, "invalid_request_error", "prompt is too long: 100 tokens > 8 maximum"),
    ):
        found, answer = await api.post(MESSAGES, ask(text, model=model))
        assert (found, answer["error"]["type"]) == (status, kind), answer
        assert words in answer["error"]["message"]


async def test_a_used_up_budget_is_a_matter_of_billing(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", budgets={"person": {"tokens": 10}}) as api:
        await api.post(MESSAGES, ask("hello there, this is long"))
        status, answer = await api.post(MESSAGES, ask("hello there, this is long"))
    assert (status, answer["error"]["type"]) == (402, "billing_error")


async def test_what_breaks_off_in_the_middle_is_an_event(api: Gate) -> None:
    def breaks(request: GenerateRequest) -> Reply:
        return Reply("x" * 400, pace=0.01)

    class Breaking(ScriptedEngine):
        async def generate(self, request: GenerateRequest) -> Any:
            async for chunk in super().generate(request):
                yield chunk
                if chunk.text:
                    raise EngineUnavailable("the plug was pulled")

    api.system.add_engine("breaking", Breaking(ModelSpec("breaking", "scripted"), breaks))
    events = await api.events(MESSAGES, ask("hi", model="breaking", stream=True))
    assert [name for name, _ in events][-1] == "error" and events[0][0] == "message_start"
    assert events[-1][1]["error"] == {"type": "overloaded_error", "message": "the plug was pulled"}


async def test_who_waits_long_for_the_first_word_is_shown_that_somebody_is_there(api: Gate) -> None:
    await api.script("late", {"text": "at last", "delay": 0.3})
    sent: list[bytes] = []

    class Seen:
        started = False

        async def events(self, data: bytes) -> None:
            self.started = True
            sent.append(data)

        async def end(self) -> None:
            sent.append(b"")

    here = await desk(api.system, OWNER)
    asked = GenerateRequest("late", messages=request().messages)
    await stream(Seen(), Answerers(here), asked, Wire("late"), pulse=0.1)  # type: ignore[arg-type]
    names = [line for line in b"".join(sent).decode().splitlines() if line.startswith("event:")]
    assert names[:2] == ["event: message_start", "event: ping"] and names.count("event: message_start") == 1
    assert names[-1] == "event: message_stop"


# -- names


async def test_their_names_of_models_stand_for_ours(tmp_path: Path, models_folder: Path) -> None:
    aliases = {"claude-haiku-*": "assistant", "claude-*": "default", "gpt-*": "nobody", "local": "scripted"}
    async with gate(tmp_path / "data", aliases=aliases) as api:
        answered = {name: (await api.post(MESSAGES, ask("hi", model=name)))[1]["model"]
                    for name in ("claude-opus-5", "claude-haiku-5", "local", "scripted")}  # fmt: skip
        assert answered == {"claude-opus-5": "default", "claude-haiku-5": "assistant", "local": "scripted",
                            "scripted": "scripted"}  # fmt: skip
        assert (await api.post(MESSAGES, ask("hi", model="gpt-7")))[0] == 404
        chat = {"model": "claude-x", "messages": user("hi")}
        assert (await api.post("/v1/chat/completions", chat))[1]["model"] == "default"
        await api.post("/v1/agents", {"name": "claude-own", "model": "scripted"})
        assert (await api.post(MESSAGES, ask("hi", model="claude-own")))[1]["model"] == "claude-own"
        listed = (await api.get("/v1/models"))[1]
        assert {row["id"]: row["kind"] for row in listed["data"]}["local"] == "alias"
        assert (await api.get("/v1/models/claude-opus-5"))[1]["id"] == "scripted"
        assert (await api.get("/v1/models/mistral-1"))[0] == 404


async def test_models_are_listed_as_both_sdks_read_it(api: Gate) -> None:
    _, listed = await api.get("/v1/models")
    names = [row["id"] for row in listed["data"]]
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert (listed["first_id"], listed["last_id"]) == (names[0], names[-1])
    row = listed["data"][0]
    assert row["type"] == row["object"] == "model" and row["display_name"] == row["id"] and row["created_at"]
    _, first = await api.get("/v1/models?limit=1")
    assert [row["id"] for row in first["data"]] == names[:1] and first["has_more"]
    _, rest = await api.get(f"/v1/models?after_id={names[0]}")
    assert [row["id"] for row in rest["data"]] == names[1:]
    _, before = await api.get(f"/v1/models?before_id={names[1]}")
    assert [row["id"] for row in before["data"]] == names[:1]
