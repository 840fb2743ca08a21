"""OpenAI's responses that are kept, conversations, answers in the background, and what this server has not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins.gateway import Gate, gate, user

RESPONSES, CONVERSATIONS = "/v1/responses", "/v1/conversations"


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        await found.script("memory", {"match": "what", "text": "you said: blue"}, {"match": "(.*)", "text": "{1}"})
        yield found


def text(response: dict[str, Any]) -> str:
    return response["output"][0]["content"][0]["text"]


async def respond(api: Gate, given: Any, **more: Any) -> dict[str, Any]:
    status, answer = await api.post(RESPONSES, {"model": "scripted", "input": given, **more})
    assert status == 200, answer
    return answer


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_is_had_again_until_it_is_deleted(api: Gate, stream: bool) -> None:
    body = {"model": "scripted", "input": "hello", "metadata": {"a": "b"}, "stream": stream}
    if stream:
        made = (await api.events(RESPONSES, body))[-1][1]["response"]
    else:
        made = await respond(api, "hello", metadata={"a": "b"})
    at = f"{RESPONSES}/{made['id']}"
    assert (await api.get(at))[1] == made
    status, gone = await api.ask("DELETE", at)
    assert (status, gone) == (200, {"id": made["id"], "object": "response", "deleted": True})
    for method, path in (("GET", at), ("DELETE", at), ("POST", f"{at}/cancel"), ("GET", f"{at}/input_items")):
        status, answer = await api.ask(method, path)
        assert (status, answer["error"]["type"]) == (404, "not_found_error"), (method, path)
    status, answer = await api.post(RESPONSES, {"model": "scripted", "input": "?", "previous_response_id": made["id"]})
    assert (status, answer["error"]["param"]) == (404, "previous_response_id")


async def test_what_was_not_kept_is_not_there(api: Gate) -> None:
    made = await respond(api, "hello", store=False)
    assert (await api.get(f"{RESPONSES}/{made['id']}"))[0] == 404


async def test_the_items_that_a_response_was_made_of(api: Gate) -> None:
    first = await respond(api, "one")
    second = await respond(api, [*user("two"), {"role": "user", "content": "three"}], previous_response_id=first["id"])
    at = f"{RESPONSES}/{second['id']}/input_items"
    _, listed = await api.get(f"{at}?order=asc")
    said = [item["content"][0]["text"] for item in listed["data"]]
    assert said == ["one", "one", "two", "three"] and not listed["has_more"]
    assert listed["data"][1] == first["output"][0]
    assert [item["role"] for item in listed["data"]] == ["user", "assistant", "user", "user"]
    _, newest = await api.get(f"{at}?limit=1")
    assert [item["content"][0]["text"] for item in newest["data"]] == ["three"] and newest["has_more"]
    _, rest = await api.get(f"{at}?after={newest['last_id']}")
    assert [item["content"][0]["text"] for item in rest["data"]] == ["two", "one", "one"]
    status, answer = await api.get(f"{at}?after=nothing")
    assert (status, answer["error"]["param"]) == (400, "after")


async def test_items_are_referred_to_by_name(api: Gate) -> None:
    first = await respond(api, "call me Ann")
    items = [{"type": "item_reference", "id": first["output"][0]["id"]}, {"id": first["output"][0]["id"]}, *user("two")]
    assert text(await respond(api, items)) == "two"
    for name in ("msg_nobodys", f"msg_{'0' * 32}_0"):
        body = {"model": "scripted", "input": [{"type": "item_reference", "id": name}, *user("x")]}
        status, answer = await api.post(RESPONSES, body)
        assert (status, answer["error"]["param"]) == (404, "input[0].id")


async def test_the_tokens_of_an_input_are_counted(api: Gate) -> None:
    status, answer = await api.post(f"{RESPONSES}/input_tokens", {"model": "scripted", "input": "x" * 40})
    assert (status, answer) == (200, {"object": "response.input_tokens", "input_tokens": 10})


async def test_a_service_tier_is_told(api: Gate) -> None:
    assert (await respond(api, "x", service_tier="flex"))["service_tier"] == "flex"
    assert "service_tier" not in await respond(api, "x")


# -- conversations


async def test_a_conversation_goes_on(api: Gate) -> None:
    _, begun = await api.post(CONVERSATIONS, {"items": user("blue"), "metadata": {"topic": "colours"}})
    assert begun["object"] == "conversation" and begun["metadata"] == {"topic": "colours"} and begun["created_at"]
    at = f"{CONVERSATIONS}/{begun['id']}"
    assert (await api.get(at))[1] == begun
    first = await respond(api, "green", conversation=begun["id"])
    assert first["conversation"] == {"id": begun["id"]}
    await respond(api, "red", conversation={"id": begun["id"]}, store=False)
    _, listed = await api.get(f"{at}/items?order=asc")
    assert [item["content"][0]["text"] for item in listed["data"]] == ["blue", "green", "green", "red", "red"]
    assert len({item["id"] for item in listed["data"]}) == 5
    _, answer = await api.post("/v1/chat/completions", {"model": "scripted", "messages": user("x")})
    one = listed["data"][0]
    assert (await api.get(f"{at}/items/{one['id']}"))[1] == one
    assert (await api.ask("DELETE", f"{at}/items/{one['id']}"))[0] == 200
    assert (await api.get(f"{at}/items/{one['id']}"))[0] == 404
    _, added = await api.post(f"{at}/items", {"items": user("violet")})
    assert added["data"][0]["content"][0]["text"] == "violet"
    _, listed = await api.get(f"{at}/items")
    assert [item["content"][0]["text"] for item in listed["data"]] == ["violet", "red", "red", "green", "green"]
    assert (await api.post(at, {"metadata": {"topic": "none"}}))[1]["metadata"] == {"topic": "none"}
    assert (await api.ask("DELETE", at))[1]["deleted"] is True
    assert (await api.get(at))[0] == (await api.get(f"{at}/items"))[0] == 404
    assert (await api.get(f"{RESPONSES}/{first['id']}"))[0] == 200
    status, answer = await api.post(RESPONSES, {"model": "scripted", "input": "x", "conversation": begun["id"]})
    assert (status, answer["error"]["param"]) == (404, "conversation")


async def test_what_was_said_in_a_conversation_is_read(api: Gate) -> None:
    _, begun = await api.post(CONVERSATIONS, {})
    await api.script("reader", {"match": "colour", "text": "{1}"})
    await respond(api, "a longer sentence about blue", conversation=begun["id"])
    short = await respond(api, "x")
    longer = await respond(api, "x", conversation=begun["id"])
    assert longer["usage"]["input_tokens"] > short["usage"]["input_tokens"] + 10
    agent = await respond(api, "hello", conversation=begun["id"], model="assistant")
    assert text(agent) == "hello"


async def test_turns_at_once_are_all_kept(api: Gate) -> None:
    _, begun = await api.post(CONVERSATIONS, {})
    await asyncio.gather(*(respond(api, f"turn {i}", conversation=begun["id"]) for i in range(8)))
    _, listed = await api.get(f"{CONVERSATIONS}/{begun['id']}/items?limit=100")
    assert len(listed["data"]) == 16
    assert {item["content"][0]["text"] for item in listed["data"]} == {f"turn {i}" for i in range(8)}


async def test_a_deleted_response_is_gone_from_its_conversation_alone(api: Gate) -> None:
    _, begun = await api.post(CONVERSATIONS, {})
    made = [await respond(api, word, conversation=begun["id"]) for word in ("one", "two", "three")]
    await api.ask("DELETE", f"{RESPONSES}/{made[1]['id']}")
    _, listed = await api.get(f"{CONVERSATIONS}/{begun['id']}/items?order=asc")
    assert [item["content"][0]["text"] for item in listed["data"]] == ["one", "one", "three", "three"]


async def test_a_conversation_outlives_a_restart(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        _, begun = await api.post(CONVERSATIONS, {"items": user("blue")})
        made = await respond(api, "green", conversation=begun["id"])
    async with gate(tmp_path / "data") as api:
        assert (await api.get(f"{RESPONSES}/{made['id']}"))[1] == made
        _, listed = await api.get(f"{CONVERSATIONS}/{begun['id']}/items")
        assert len(listed["data"]) == 3


async def test_what_excludes_what_and_what_cannot_be_read(api: Gate) -> None:
    for more, where in (
        ({"conversation": "conv_x", "previous_response_id": "resp_x"}, "conversation"),
        ({"background": True, "stream": True}, "background"),
        ({"background": True, "store": False}, "store"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"previous_response_id": "conv_x"}, "previous_response_id"),
        ({"input": []}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "function_call", "name": "x", "arguments": "{}"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "x", "tools": 3}]}, "tools[0].tools"),
        ({"temprature": 1}, "temprature"),
    ):
        status, answer = await api.post(RESPONSES, {"model": "scripted", "input": "x"} | more)
        assert status in (400, 404) and answer["error"]["param"] == where, (more, answer)
    status, answer = await api.post(CONVERSATIONS, {"items": [{"role": "wizard", "content": "x"}]})
    assert (status, answer["error"]["param"]) == (400, "items[0].role")
    _, begun = await api.post(CONVERSATIONS, {})
    status, answer = await api.post(RESPONSES, {"model": "scripted", "input": "x", "previous_response_id": begun["id"]})
    assert (status, answer["error"]["param"]) == (404, "previous_response_id")
    made = await respond(api, "x")
    assert (await api.get(f"{CONVERSATIONS}/{made['id']}"))[0] == 404
    assert (await api.get(f"{RESPONSES}/{begun['id']}"))[0] == 404
    assert (await api.get(f"{RESPONSES}/{made['id']}?stream=true"))[0] == 400


# -- in the background


async def finished(api: Gate, identifier: str) -> dict[str, Any]:
    for _ in range(2000):
        _, found = await api.get(f"{RESPONSES}/{identifier}")
        if found["status"] not in ("queued", "in_progress"):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it is never answered")


async def test_an_answer_in_the_background(api: Gate) -> None:
    _, begun = await api.post(CONVERSATIONS, {})
    made = await respond(api, "hello", background=True, conversation=begun["id"])
    assert made["status"] == "queued" and made["background"] and made["output"] == []
    found = await finished(api, made["id"])
    assert (found["status"], text(found)) == ("completed", "hello") and found["usage"]["total_tokens"] > 0
    _, listed = await api.get(f"{CONVERSATIONS}/{begun['id']}/items")
    assert len(listed["data"]) == 2
    assert (await api.post(f"{RESPONSES}/{made['id']}/cancel"))[1]["status"] == "completed"


async def test_an_answer_in_the_background_is_cancelled(api: Gate) -> None:
    await api.script("slow", {"text": "x" * 400, "pace": 0.05})
    made = await respond(api, "hello", background=True, model="slow")
    await asyncio.sleep(0.1)
    assert (await api.get(f"{RESPONSES}/{made['id']}"))[1]["status"] == "in_progress"
    status, answer = await api.post(f"{RESPONSES}/{made['id']}/cancel")
    assert (status, answer["status"]) == (200, "cancelled")
    assert (await api.get(f"{RESPONSES}/{made['id']}"))[1]["status"] == "cancelled"
    waited_for = await respond(api, "x")
    status, answer = await api.post(f"{RESPONSES}/{waited_for['id']}/cancel")
    assert status == 400 and "background" in answer["error"]["message"]


async def test_what_goes_wrong_in_the_background_is_told(api: Gate) -> None:
    await api.script("broken", {"error": {"type": "EngineFailed", "message": "broken"}})
    made = await respond(api, "hello", background=True, model="broken")
    found = await finished(api, made["id"])
    assert found["status"] == "failed" and found["error"]["message"] == "broken"


async def test_what_was_not_answered_when_the_system_stopped_says_so(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        await api.script("slow", {"text": "x" * 4000, "pace": 0.05})
        made = await respond(api, "hello", background=True, model="slow")
    async with gate(tmp_path / "data") as api:
        _, found = await api.get(f"{RESPONSES}/{made['id']}")
        assert found["status"] == "failed" and "stopped" in found["error"]["message"]


# -- what is not here


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/v1/files", "/v1/blobs"),
        ("GET", "/v1/files/file-1/content", "/v1/blobs"),
        ("POST", "/v1/batches", "flex"),
        ("POST", "/v1/assistants", "/v1/agents"),
        ("POST", "/v1/threads/t/runs", "/v1/conversations"),
        ("GET", "/v1/vector_stores", "tools"),
        ("POST", "/v1/images/generations", "text"),
        ("POST", "/v1/responses/compact", "shortens"),
    ],
)
async def test_what_this_server_has_not_is_said_plainly(api: Gate, method: str, path: str, words: str) -> None:
    status, answer = await api.ask(method, path, json={} if method == "POST" else None)
    assert status == 404 and answer["error"].keys() == {"message", "type", "param", "code"}
    assert "this server does not have" in answer["error"]["message"] and words in answer["error"]["message"]
    assert "did you mean" not in answer["error"]["message"]


async def test_files_of_anthropics_are_refused_in_their_form(api: Gate) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    status, answer = await api.post("/v1/files", {}, headers=headers)
    assert (status, answer["type"], answer["error"]["type"]) == (404, "error", "not_found_error")
    status, answer = await api.get("/v1/models/nothing", headers=headers)
    assert (status, answer["type"]) == (404, "error")
    status, answer = await api.get("/v1/nothing")
    assert status == 404 and answer["error"]["type"] == "NotFound"


async def test_nobody_has_more_answered_in_the_background_than_they_may(
    api: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.gateway.background.MOST", 2)
    await api.script("slow", {"text": "done", "delay": 30})
    body = {"model": "slow", "input": "x", "background": True}
    made = [(await api.post("/v1/responses", body))[1]["id"] for _ in "ab"]
    status, answer = await api.post("/v1/responses", body)
    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    _, key = await api.post("/v1/keys", {"scopes": ["chat"], "principal": "bea"})
    assert (await api.post("/v1/responses", body, headers={"Authorization": f"Bearer {key['key']}"}))[0] == 200
    assert (await api.post(f"/v1/responses/{made[0]}/cancel"))[1]["status"] == "cancelled"
    assert (await api.post("/v1/responses", body))[0] == 200
