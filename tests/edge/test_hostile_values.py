"""Values that are well-formed and that nobody could keep, look through or live with: refused by name, at once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.agent.spec import parse
from llmagent_os.core import codec, schemas
from llmagent_os.core.errors import InvalidRequest, nearest
from llmagent_os.core.records import ToolSpec
from llmagent_os.core.remembered import LARGE, remembered
from llmagent_os.gateway.bodies import ChatBody, read
from llmagent_os.gateway.messages_bodies import MessagesBody
from llmagent_os.gateway.open_bodies import read_open
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.rivals import Plugin, tenant

CHAT, AGENTS = "/v1/chat/completions", "/v1/agents"
ENDLESS = ("inf", "Infinity", "-inf", "nan")


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Plugin()) as found:
        yield found


# -- numbers without end, which JSON reads back as null


@pytest.mark.parametrize("number", ENDLESS)
@pytest.mark.parametrize(
    ("where", "field"),
    [
        (("supervision", "period"), "supervision.period"), (("budget", "seconds"), "budget.seconds"),
        (("decoding", "length_penalty"), "decoding.length_penalty"),
        (("grant", "policy", "tools", "draw", "most", "size"), "grant.policy.tools.draw.most.size"),
    ],
)  # fmt: skip
async def test_a_definition_with_a_number_without_end_is_refused(
    api: Gate, number: str, where: tuple[str, ...], field: str
) -> None:
    value: Any = number
    for name in reversed(where):
        value = {name: value}
    status, answer = await api.post(AGENTS, {"name": "odd", "model": "scripted", "tools": ["draw"], **value})
    assert status == 400 and answer["error"]["param"] == field, answer
    assert (await api.get(f"{AGENTS}/odd"))[0] == 404
    assert (await api.post(AGENTS, {"name": "odd", "model": "scripted", "tools": ["draw"]}))[0] == 201
    status, answer = await api.ask("PATCH", f"{AGENTS}/odd", json=value)
    assert status == 400 and answer["error"]["param"] == field, answer
    assert (await api.get(f"{AGENTS}/odd"))[1]["version"] == 1


def test_a_whole_number_that_nobody_can_keep_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse({"name": "odd", "grant": {"policy": {"approvals": "1" + "0" * 25}}})
    assert caught.value.facts["parameter"] == "grant.policy.approvals"


async def test_a_block_whose_kind_is_no_word_is_left_out_and_told(api: Gate) -> None:
    blocks = [{"type": ["a"]}, {"type": "text", "text": "hi"}]
    asked = {"model": "scripted", "max_tokens": 5, "messages": [{"role": "user", "content": blocks}]}
    status, answer = await api.post("/v1/messages", asked)
    assert status == 200 and answer["left_out"] == ["content: ['a']"], answer


async def test_a_definition_that_cannot_be_read_is_deleted_all_the_same(api: Gate) -> None:
    await api.post(AGENTS, {"name": "odd", "model": "scripted"})
    await api.post(f"{AGENTS}/odd/deploy")
    _, kept = api.system.facts.get("agent", "odd") or (0, None)
    await api.system.facts.put("agent", "odd", kept | {"supervision": {"period": None}})  # as a release once wrote it
    status, answer = await api.get(f"{AGENTS}/odd")
    assert status == 400 and "supervision.period" in answer["error"]["message"]
    assert (await api.post(f"{AGENTS}/odd/pause"))[0] == 200
    assert (await api.ask("DELETE", f"{AGENTS}/odd"))[0] == 204
    assert api.kernel.table.named("odd") == []
    assert (await api.post(AGENTS, {"name": "odd", "model": "scripted"}))[0] == 201


@pytest.mark.parametrize("number", ENDLESS)
async def test_no_request_takes_a_number_without_end(api: Gate, number: str) -> None:
    for path, body, where in (
        (CHAT, {"messages": user("hi"), "temperature": number}, "temperature"),
        (CHAT, {"messages": user("hi"), "repetition_penalty": number}, "repetition_penalty"),
        (CHAT, {"messages": user("hi"), "decoding": {"length_penalty": number}}, "decoding.length_penalty"),
        (CHAT, {"messages": user("hi"), "needs": {"max_price": number}}, "needs.max_price"),
        ("/v1/responses", {"input": "hi", "temperature": number}, "temperature"),
    ):
        status, answer = await api.post(path, {"model": "scripted", **body})
        assert (status, answer["error"]["param"]) == (400, where), answer
    _, answer = await api.post(AGENTS, {"name": "clerk", "model": "scripted"})
    for path, body in (
        (f"{AGENTS}/clerk/messages", {"text": "hi", "options": {"sampling": {"temperature": number}}}),
        (f"{AGENTS}/clerk/messages", {"text": "hi", "wait": number}),
        ("/v1/processes", {"program": "agent", "supervision": {"period": number}}),
        ("/v1/processes", {"program": "agent", "budget": {"money": number}}),
        ("/v1/keys", {"scopes": ["chat"], "rate": number}),
        ("/v1/keys", {"scopes": ["chat"], "days": number}),
    ):
        status, answer = await api.post(path, body)
        assert status == 400, (path, body, answer)


async def test_who_may_ask_once_in_an_age_is_told_so(api: Gate) -> None:
    _, made = await api.post("/v1/keys", {"scopes": ["chat"], "rate": 1e-310})
    key = {"headers": {"Authorization": f"Bearer {made['key']}"}}
    assert (await api.post(CHAT, {"model": "scripted", "messages": user("hi")}, **key))[0] == 200
    async with api.session.post(f"{api.running.url}{CHAT}", json={}, **key) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "86400")


# -- what would take all there is


async def test_nobody_starts_more_replicas_than_there_can_be(api: Gate) -> None:
    await api.post(AGENTS, {"name": "clerk", "model": "scripted"})
    for path in ("scale", "deploy"):
        status, answer = await api.post(f"{AGENTS}/clerk/{path}", {"replicas": 10**9})
        assert (status, answer["error"]["param"]) == (400, "replicas")
    with pytest.raises(InvalidRequest, match="1000"):
        await api.system.agents.scale("clerk", 10**9)
    assert len(api.kernel.table.named("clerk")) <= 1


@pytest.mark.parametrize("cls", [ChatBody, MessagesBody])
def test_a_million_odd_names_keep_nobody_waiting(cls: Any) -> None:
    names = {f"contemt{number}": 1 for number in range(9_000)}
    bodies = [{"model": "m", "messages": user("hi"), **names}] if cls is MessagesBody else []
    bodies.append({"model": "m", "messages": [{**user("hi")[0], name: 1} for name in names]})
    for body in bodies:
        data = codec.dumps(body | {"max_tokens": 5})
        began = time.thread_time()
        assert (read_open if cls is MessagesBody else read)(cls, data).model == "m"
        assert time.thread_time() - began < 1.5


def test_a_name_misspelt_late_in_a_long_conversation_is_told_where_few_names_are_odd() -> None:
    echoed = {"reasoning_content": "x", "provider_specific_fields": {}, "citations": []}
    messages = [{"role": "assistant", "content": "x", **echoed} for _ in range(300)]
    with pytest.raises(InvalidRequest, match="contnt"):
        read(ChatBody, codec.dumps({"model": "m", "messages": [*messages, {"role": "user", "contnt": "hi"}]}))


async def test_what_is_wrong_a_thousand_times_is_told_once_and_at_once(api: Gate) -> None:
    for path, body in (
        (CHAT, {"messages": [1] * 200_000}), ("/v1/completions", {"prompt": [1] * 200_000}),
        ("/v1/embeddings", {"input": [1] * 200_000}), ("/v1/responses", {"input": [1] * 200_000}),
        ("/v1/messages", {"messages": [1] * 200_000, "max_tokens": 5}),
        (CHAT, {"messages": user("hi"), "logit_bias": {str(n): "x" for n in range(100_000)}}),
    ):  # fmt: skip
        data = codec.dumps({"model": "scripted", **body})
        began = time.thread_time()
        status, answer = await api.ask("POST", path, data=data, headers={"Content-Type": "application/json"})
        assert status == 400, answer
        assert time.thread_time() - began < 1.0, path


async def test_a_body_of_more_values_than_anybody_means_is_refused(api: Gate) -> None:
    for path in (CHAT, AGENTS):
        status, answer = await api.post(path, {"model": "scripted", "messages": [[]] * 600_000})
        assert status == 400 and "more than 100000 values" in answer["error"]["message"]


async def test_a_name_without_end_is_neither_compared_nor_repeated(api: Gate) -> None:
    name = "scripted" * 200_000
    for path, body in (
        (CHAT, {"model": name, "messages": user("hi")}), (AGENTS, {"name": "x", "model": name}),
        ("/v1/keys", {"scopes": [name]}), (AGENTS, {"name": "x", "model": "scripted", "tools": [name]}),
    ):  # fmt: skip
        began = time.thread_time()
        status, answer = await api.post(path, body)
        assert status in (400, 404) and len(answer["error"]["message"]) < 1000
        assert time.thread_time() - began < 1.0
    assert nearest("x" * 201, ["x" * 200]) == "available: " + "x" * 200


def test_what_is_made_of_a_large_text_is_not_kept() -> None:
    made: list[int] = []

    @remembered(10)
    def length(text: str) -> int:
        made.append(len(text))
        return len(text)

    for text in ("small", "small", "x" * (LARGE + 1), "x" * (LARGE + 1)):
        assert length(text) == len(text)
    assert made == [5, LARGE + 1, LARGE + 1]
    names = [f"choice {number}" for number in range(20_000)]
    tool = ToolSpec("t", "", {"type": "object", "properties": {"a": {"enum": names}}})
    found = schemas.arguments(tool, "tools[0]")
    assert found == tool and not {id(tool), id(found)} & schemas._TOOLS.keys()


# -- words that no header takes


async def test_a_kind_of_file_that_no_header_takes_is_refused(api: Gate) -> None:
    boss = await tenant(api, "acme", "boss")
    await boss.ask("POST", AGENTS, {"name": "clerk", "model": "scripted", "tools": ["draw"]})
    body = {"text": 'call draw with {"title": "x"}'}
    _, answer = await boss.ask("POST", f"{AGENTS}/clerk/messages", body)
    blob = next(part["blob"] for part in answer["reply"]["parts"] if "blob" in part)
    assert (await boss.ask("GET", f"/v1/blobs/{blob}?mime=image/svg%2Bxml"))[0] == 200
    for mime in ("текст/plain", "image/图", "a/b%0Ac", "a/b%0A"):
        assert (await boss.ask("GET", f"/v1/blobs/{blob}?mime={mime}"))[0] == 400
