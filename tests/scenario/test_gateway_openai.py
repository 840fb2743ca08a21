"""The OpenAI-compatible paths over real HTTP: whole and streamed, models and agents."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.codec import dumps
from llmagent_os.gateway.bodies import ChatBody, read
from llmagent_os.llm.known import known_model, path_of
from tests.stand_ins.gateway import Gate, gate, user

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
ADD = {
    "name": "add",
    "description": "Add two numbers",
    "parameters": {
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


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": user(text), **more}


def joined(events: list[tuple[str, Any]], index: int = 0) -> str:
    choices = [choice for _, data in events[:-1] for choice in data["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_a_chat_is_answered_and_counted(api: Gate) -> None:
    status, answer = await api.post(CHAT, chat("hello there"))
    assert status == 200
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "hello there", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


async def test_who_has_time_says_so_by_the_service_tier(api: Gate) -> None:
    for tier, told in (("flex", "flex"), ("auto", "default"), ("priority", "default")):
        _, answer = await api.post(CHAT, chat("hello", service_tier=tier))
        assert answer["service_tier"] == told
    events = await api.events(CHAT, chat("hello", service_tier="flex", stream=True))
    assert {data["service_tier"] for _, data in events[:-1]} == {"flex"}
    _, answer = await api.post(CHAT, chat("hello"))
    assert "service_tier" not in answer
    assert read(ChatBody, dumps(chat("hello", service_tier="flex"))).requests()[0].service == "batch"


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_candidates_of_a_search_come_with_the_choice(api: Gate, path: str) -> None:
    asked = {"model": "scripted", "decoding": {"strategy": "vote", "width": 3, "n": 2}}
    asked |= {"messages": user("hello")} if path == CHAT else {"prompt": "hello"}
    status, answer = await api.post(path, asked)
    assert status == 200, answer
    found = answer["choices"][0]["alternatives"]
    assert found[0]["text"] == "hello" and found[0]["score"] > 0
    *_, (_, last), _ = await api.events(path, asked | {"stream": True})
    assert last["choices"][0]["alternatives"] == found


async def test_decoding_that_cannot_be_is_refused_by_name(api: Gate) -> None:
    status, answer = await api.post(CHAT, chat("hello", decoding={"widht": 3}))
    assert (status, answer["error"]["param"]) == (400, "decoding.widht")
    status, answer = await api.post(CHAT, chat("hello", explain=True))
    assert (status, answer["error"]["param"]) == (400, "explain")
    for more in ({"width": 9999}, {"n": 5, "width": 2}, {"banned": ["x" * 9999]}):
        status, answer = await api.post(CHAT, chat("hello", decoding={"strategy": "vote", **more}))
        assert (status, answer["error"]["param"]) == (400, "decoding"), answer


async def test_a_chat_streams_piece_by_piece(api: Gate) -> None:
    events = await api.events(CHAT, chat("hello there", stream=True, stream_options={"include_usage": True}))
    assert events[-1][1] == "[DONE]"
    assert joined(events) == "hello there"
    assert len([1 for _, data in events[:-1] if data["choices"] and data["choices"][0]["delta"].get("content")]) > 1
    *_, (_, finish), (_, usage), _ = events
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 3
    assert len({data["id"] for _, data in events[:-1]}) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_is_called_and_its_result_answered(api: Gate, stream: bool) -> None:
    body = chat(CALL_ADD, tools=[{"type": "function", "function": ADD}], stream=stream)
    if stream:
        events = await api.events(CHAT, body)
        deltas = [data["choices"][0]["delta"] for _, data in events[:-1]]
        (call,) = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert call["index"] == 0
        assert events[-2][1]["choices"][0]["finish_reason"] == "tool_calls"
    else:
        _, answer = await api.post(CHAT, body)
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        assert answer["choices"][0]["message"]["content"] is None
        assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert call["function"] == {"name": "add", "arguments": '{"a":1,"b":2}'}
    said = {"role": "assistant", "content": None, "tool_calls": [{k: v for k, v in call.items() if k != "index"}]}
    body["messages"] += [said, {"role": "tool", "tool_call_id": call["id"], "content": "3"}]
    _, answer = await api.post(CHAT, body | {"stream": False})
    assert answer["choices"][0]["message"]["content"] == "Done: 3"


async def test_one_tool_at_a_time_where_asked(api: Gate) -> None:
    await api.script("two", {"calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}] * 2})
    body = chat("x", model="two", tools=[{"type": "function", "function": ADD}])
    _, both = await api.post(CHAT, body)
    _, one = await api.post(CHAT, body | {"parallel_tool_calls": False})
    assert len(both["choices"][0]["message"]["tool_calls"]) == 2
    assert len(one["choices"][0]["message"]["tool_calls"]) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_n_answers_side_by_side(api: Gate, stream: bool) -> None:
    if stream:
        events = await api.events(CHAT, chat("twice", n=2, stream=True))
        assert [joined(events, i) for i in (0, 1)] == ["twice", "twice"]
    else:
        _, answer = await api.post(CHAT, chat("twice", n=2))
        assert [(c["index"], c["message"]["content"]) for c in answer["choices"]] == [(0, "twice"), (1, "twice")]


async def test_a_schema_and_choices_hold_the_answer(api: Gate) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    _, held = await api.post(CHAT, chat('{"n": 3}', response_format=wanted))
    assert held["choices"][0]["message"]["content"] == '{"n": 3}'
    _, chosen = await api.post(CHAT, chat("is it red or blue", choices=["blue", "green"]))
    assert chosen["choices"][0]["message"]["content"] == "blue"


async def test_log_probabilities_and_limits(api: Gate) -> None:
    _, answer = await api.post(CHAT, chat("hello there", logprobs=True, top_logprobs=2, max_completion_tokens=2))
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("hello th", "length")
    first = choice["logprobs"]["content"][0]
    assert first["token"] == "hell" and bytes(first["bytes"]) == b"hell" and len(first["top_logprobs"]) == 2


async def test_an_agent_is_a_model(api: Gate) -> None:
    await api.system.agents.create({"name": "clerk", "model": "scripted", "prompt": "You are a clerk."})
    _, whole = await api.post(CHAT, chat("good day", model="clerk"))
    events = await api.events(CHAT, chat("good day", model="clerk", stream=True))
    assert whole["choices"][0]["message"]["content"] == joined(events) == "good day"
    assert await api.get("/v1/agents/clerk") and api.kernel.table.named_like("clerk@") == []


async def test_an_agent_has_its_own_tools(api: Gate) -> None:
    body = chat("hi", model="assistant", tools=[{"type": "function", "function": ADD}])
    status, answer = await api.post(CHAT, body)
    assert status == 400
    assert answer["error"]["param"] == "tools"


async def test_raw_prompts(api: Gate) -> None:
    body = {"model": "scripted", "prompt": "once upon", "max_tokens": 1, "logprobs": 1}
    _, answer = await api.post("/v1/completions", body)
    assert answer["object"] == "text_completion"
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("once", "length")
    assert choice["logprobs"]["tokens"] == ["once"] and choice["logprobs"]["text_offset"] == [0]
    events = await api.events("/v1/completions", body | {"stream": True, "prompt": ["once", "more"]})
    texts = ["".join(c["text"] for _, d in events[:-1] for c in d["choices"] if c["index"] == i) for i in (0, 1)]
    assert texts == ["once", "more"]


async def test_embeddings_as_numbers_and_as_bytes(api: Gate) -> None:
    body = {"model": "scripted", "input": ["red", "blue"]}
    _, numbers = await api.post("/v1/embeddings", body)
    _, packed = await api.post("/v1/embeddings", body | {"encoding_format": "base64"})
    assert [row["index"] for row in numbers["data"]] == [0, 1]
    for row, same in zip(numbers["data"], packed["data"], strict=True):
        floats = struct.unpack("<64f", base64.b64decode(same["embedding"]))
        assert row["embedding"] == pytest.approx(floats)


async def test_models_and_agents_are_listed(api: Gate) -> None:
    _, listed = await api.get("/v1/models")
    kinds = {row["id"]: row["kind"] for row in listed["data"]}
    assert kinds == {"scripted": "model", "assistant": "agent", "default": "alias"}
    rows = {row["id"]: row for row in listed["data"]}
    assert rows["default"]["alias_of"] == "scripted" and not rows["scripted"]["loaded"]
    await api.post(CHAT, {"model": "default", "messages": user("hi")})
    _, listed = await api.get("/v1/models")
    assert [row["id"] for row in listed["data"] if row.get("loaded")] == ["scripted"]
    assert (await api.get("/v1/models/scripted"))[1]["object"] == "model"


async def test_every_name_that_a_model_goes_by_is_listed_and_offered(tmp_path: Path, models_folder: Path) -> None:
    tiny = known_model("tiny")
    assert tiny is not None
    path_of(tiny).parent.mkdir(parents=True)
    with path_of(tiny).open("wb") as file:
        file.truncate(tiny.size)
    async with gate(tmp_path / "data", aliases={"claude-*": "default", "house": "default"}) as api:
        found = {row["id"]: row["kind"] for row in (await api.get("/v1/models"))[1]["data"]}
        assert {name: found.get(name) for name in ("default", "tiny", "house", "small")} == {
            "default": "alias", "tiny": "alias", "house": "alias", "small": None,  # which is not on this machine
        }  # fmt: skip
        for name in found:
            assert (await api.get(f"/v1/models/{name}"))[0] == 200, name
        for wrong, right in (("defualt", "default"), ("tny", "tiny"), ("smal", "small"), ("hose", "house")):
            status, answer = await api.get(f"/v1/models/{wrong}")
            assert status == 404 and f"did you mean {right!r}?" in answer["error"]["message"]
            status, answer = await api.post(CHAT, {"model": wrong, "messages": user("hi")})
            assert status == 404 and f"did you mean {right!r}?" in answer["error"]["message"]


async def test_a_response_and_the_one_after_it(api: Gate) -> None:
    await api.script("memory", {"match": "my name", "text": "Ann"})
    tools = [{"type": "function", **ADD, "strict": None}]
    _, first = await api.post(RESPONSES, {"model": "scripted", "input": CALL_ADD, "tools": tools})
    (call,) = first["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "add", '{"a":1,"b":2}')
    result = [{"type": "function_call_output", "call_id": call["call_id"], "output": "3"}]
    body = {"model": "scripted", "input": result, "tools": tools, "previous_response_id": first["id"]}
    _, second = await api.post(RESPONSES, body)
    (message,) = second["output"]
    assert message["content"][0]["text"] == "Done: 3"
    assert second["status"] == "completed" and second["usage"]["total_tokens"] > 0


async def test_a_response_that_was_not_kept_is_no_past(api: Gate) -> None:
    _, first = await api.post(RESPONSES, {"model": "scripted", "input": "hi", "store": False})
    body = {"model": "scripted", "input": "and?", "previous_response_id": first["id"]}
    status, answer = await api.post(RESPONSES, body)
    assert (status, answer["error"]["param"]) == (404, "previous_response_id")


async def test_a_conversation_in_items(api: Gate) -> None:
    items = [
        *user(CALL_ADD),
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1,"b":2}', "id": "fc_1"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "3"}]},
    ]
    body = {"model": "scripted", "instructions": "Be brief.", "input": items}
    body["tools"] = [{"type": "function", **ADD}]
    _, answer = await api.post(RESPONSES, body)
    assert answer["output"][0]["content"][0]["text"] == "Done: 3"
    assert answer["instructions"] == "Be brief."


async def test_the_events_of_a_response(api: Gate) -> None:
    events = await api.events(RESPONSES, {"model": "scripted", "input": "hello there", "stream": True})
    assert all(name == data["type"] for name, data in events)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    names = list(dict.fromkeys(name for name, _ in events))
    assert names == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert "".join(data["delta"] for name, data in events if name.endswith("text.delta")) == "hello there"
    assert events[-1][1]["response"]["output"][0]["content"][0]["text"] == "hello there"


async def test_the_events_of_a_call(api: Gate) -> None:
    body = {"model": "scripted", "input": CALL_ADD, "tools": [{"type": "function", **ADD}], "stream": True}
    events = await api.events(RESPONSES, body)
    names = [name for name, _ in events]
    assert names[2:6] == [
        "response.output_item.added", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.output_item.done",
    ]  # fmt: skip
    assert events[4][1]["arguments"] == '{"a":1,"b":2}'


async def test_an_answer_goes_on_from_the_last_message(api: Gate) -> None:
    begun = [*user("one two three"), {"role": "assistant", "content": "one t"}]
    body = {"model": "scripted", "messages": begun, "continue_final_message": True, "add_generation_prompt": False}
    status, answer = await api.post(CHAT, body)
    assert status == 200 and answer["choices"][0]["message"]["content"] == "wo three"
    for wrong in ({"add_generation_prompt": True}, {"messages": user("one")}):
        status, answer = await api.post(CHAT, body | wrong)
        assert status == 400 and answer["error"]["param"] in wrong
