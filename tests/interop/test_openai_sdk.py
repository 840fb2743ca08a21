"""The official SDK: chats, responses, embeddings, errors."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.interop.conftest import Server, Shop
from tests.interop.scripts import FUNCTIONS, TASK

pytestmark = pytest.mark.interop


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key=server.api_key)


def run(shop: Shop, name: str, arguments: str) -> str:
    return getattr(shop, name)(**json.loads(arguments))


@pytest.mark.parametrize("stream", [False, True])
def test_chat(client: OpenAI, server: Server, shop: Shop, stream: bool) -> None:
    tools: Any = [{"type": "function", "function": function} for function in FUNCTIONS]
    messages: list[Any] = [{"role": "user", "content": TASK}]
    while True:
        if stream:
            with client.chat.completions.stream(model=server.model, messages=messages, tools=tools) as events:
                message = events.get_final_completion().choices[0].message
        else:
            answer = client.chat.completions.create(model=server.model, messages=messages, tools=tools)
            message = answer.choices[0].message
        if not message.tool_calls:
            return shop.check(message.content)
        messages.append(message)
        for call in message.tool_calls:
            result = run(shop, call.function.name, call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_responses(client: OpenAI, server: Server, shop: Shop, stream: bool, kept: bool) -> None:
    tools: Any = [{"type": "function", **function} for function in FUNCTIONS]
    items: list[Any] = [{"role": "user", "content": TASK}]
    more: dict[str, Any] = {}
    while True:
        if stream:
            with client.responses.stream(model=server.model, input=items, tools=tools, **more) as events:
                for _ in events:
                    pass
                answer = events.get_final_response()
        else:
            answer = client.responses.create(model=server.model, input=items, tools=tools, **more)
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            return shop.check(answer.output_text)
        outputs = [
            {"type": "function_call_output", "call_id": c.call_id, "output": run(shop, c.name, c.arguments)}
            for c in calls
        ]
        if kept:
            items, more = outputs, {"previous_response_id": answer.id}
        else:
            items += [*answer.output, *outputs]


def test_responses_are_kept(client: OpenAI) -> None:
    made = client.responses.create(model="scripted", input="hello", metadata={"a": "b"})
    found = client.responses.retrieve(made.id)
    assert found.output_text == "hello" and found.metadata == {"a": "b"} and found.status == "completed"
    items = list(client.responses.input_items.list(made.id, limit=1))
    assert [item.content[0].text for item in items] == ["hello"]
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    assert client.responses.input_tokens.count(model="scripted", input="hello").input_tokens > 0


def test_an_answer_in_the_background(client: OpenAI) -> None:
    made = client.responses.create(model="scripted", input="hello", background=True)
    for _ in range(100):
        if made.status == "completed":
            break
        time.sleep(0.05)
        made = client.responses.retrieve(made.id)
    assert made.output_text == "hello"
    assert client.responses.cancel(made.id).status == "completed"


def test_conversations(client: OpenAI) -> None:
    begun = client.conversations.create(metadata={"topic": "x"}, items=[{"role": "user", "content": "one"}])
    client.responses.create(model="scripted", input="two", conversation=begun.id)
    items = list(client.conversations.items.list(begun.id, order="asc", limit=2))
    assert [item.content[0].text for item in items] == ["one", "two", "two"]
    client.conversations.items.create(begun.id, items=[{"role": "user", "content": "three"}])
    assert client.conversations.items.retrieve(items[0].id, conversation_id=begun.id).id == items[0].id
    client.conversations.items.delete(items[0].id, conversation_id=begun.id)
    assert client.conversations.update(begun.id, metadata={"topic": "y"}).metadata == {"topic": "y"}
    assert client.conversations.retrieve(begun.id).id == begun.id
    assert client.conversations.delete(begun.id).deleted


def test_what_is_not_here_says_so(client: OpenAI) -> None:
    for ask in (client.files.list, client.batches.list, client.vector_stores.list):
        with pytest.raises(openai.NotFoundError, match="this server does not have"):
            ask()


class Place(BaseModel):
    """A structured answer."""

    city: str
    people: int


def test_structured_answers(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": '{"city": "Paris", "people": 2}'}]
    parsed = client.chat.completions.parse(model="scripted", messages=messages, response_format=Place)
    assert parsed.choices[0].message.parsed == Place(city="Paris", people=2)
    answer = client.responses.parse(model="scripted", input=messages, text_format=Place)
    assert answer.output_parsed == Place(city="Paris", people=2)


def test_raw_completions_embeddings_and_models(client: OpenAI) -> None:
    assert client.completions.create(model="scripted", prompt="once").choices[0].text == "once"
    found = client.embeddings.create(model="scripted", input=["red", "blue"])
    assert [len(row.embedding) for row in found.data] == [64, 64]
    assert {model.id for model in client.models.list()} >= {"scripted", "assistant"}
    assert client.models.retrieve("assistant").id == "assistant"


def test_log_probabilities(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "hello there"}]
    answer = client.chat.completions.create(model="scripted", messages=messages, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs
    assert tokens is not None and tokens.content is not None
    assert "".join(token.token for token in tokens.content) == "hello there"
    assert all(len(token.top_logprobs) == 3 for token in tokens.content)


def test_an_agent_answers(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "good day"}]
    pieces = client.chat.completions.create(model="assistant", messages=messages, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "good day"
    assert client.responses.create(model="assistant", input="good day").output_text == "good day"


def test_errors_are_the_sdks_own(client: OpenAI, server: Server) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.NotFoundError, match="did you mean 'scripted'") as missing:
        client.chat.completions.create(model="scriptd", messages=messages)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="scripted", messages=messages, top_logprobs=1)
    assert bad.value.param == "top_logprobs"
    with pytest.raises(openai.BadRequestError, match="did you mean 'temperature'"):
        client.chat.completions.create(model="scripted", messages=messages, extra_body={"temprature": 1})
    with pytest.raises(openai.AuthenticationError, match="send another one"):
        OpenAI(base_url=server.base_url, api_key="sk-wrong").models.list()


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_stream_of_an_agent_that_asks_a_person(client: OpenAI, server: Server, api: str) -> None:
    """While it waits there are comments, which the SDK leaves out."""
    name, policy = f"writer-{api}", {"tools": {"write_file": "ask"}}
    _owner(server, "/agents", {"name": name, "model": "scripted", "tools": ["write_file"], "policy": policy})
    with ThreadPoolExecutor(1) as threads:
        allowed = threads.submit(_allow_the_next, server)
        said = 'call write_file with {"path": "a.txt", "text": "x"}'
        if api == "chat":
            messages: Any = [{"role": "user", "content": said}]
            with client.chat.completions.stream(model=name, messages=messages) as events:
                text = events.get_final_completion().choices[0].message.content
        else:
            with client.responses.stream(model=name, input=said) as answer:
                text = answer.get_final_response().output_text
        assert allowed.result(timeout=10) and text is not None and "a.txt" in text


def _owner(server: Server, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(server.base_url + path, data, headers)) as response:
        return json.loads(response.read())


def _allow_the_next(server: Server) -> bool:
    for _ in range(100):
        if found := _owner(server, "/approvals")["approvals"]:
            time.sleep(1)  # seconds, in which comments come
            return bool(_owner(server, f"/approvals/{found[0]['id']}", {"allow": True})["allowed"])
        time.sleep(0.05)
    return False
