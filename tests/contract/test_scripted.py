"""What the scripted engine adds to the engine contract: rules, the default script, and answers that never change."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from llmagent_os.core.errors import ContextOverflow, EngineUnavailable, InvalidRequest, Unsupported
from llmagent_os.core.records import (
    Chunk,
    EmbedRequest,
    GenerateRequest,
    Generation,
    Message,
    ModelSpec,
    Sampling,
    ToolCall,
    ToolSpec,
)
from llmagent_os.core.stream import collect
from llmagent_os.llm.instance import smallest
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import ScriptedEngine, open_engine
from tests.contract.engine_suite import *  # noqa: F403
from tests.contract.engine_suite import Bed
from tests.stand_ins.server import RULES, WINDOW

TOOLS = (ToolSpec("add"), ToolSpec("mul"))


@pytest.fixture
async def bed() -> Bed:
    engine = await open_engine(ModelSpec("s", "scripted", window=WINDOW, options={"rules": RULES}))
    return Bed(engine, overlong="word " * WINDOW)


def chat(text: str, **fields) -> GenerateRequest:
    return GenerateRequest("s", messages=(Message("user", text),), **fields)


async def scripted(*rules, **fields) -> ScriptedEngine:
    return await open_engine(ModelSpec("s", "scripted", options={"rules": rules} if rules else {}, **fields))


async def ask(engine: ScriptedEngine, request: GenerateRequest) -> Generation:
    return await collect(engine.generate(request))


async def pieces(engine: ScriptedEngine, request: GenerateRequest) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


async def test_without_a_script_it_echoes():
    assert (await ask(await scripted(), chat("Grüße, 世界 👋"))).text == "Grüße, 世界 👋"


async def test_without_a_script_it_calls_the_named_tools_in_order_and_reports():
    engine = await scripted()
    messages = (Message("user", 'Please call add with {"a": 1, "b": {"c": 2}}, then call mul. Not call other.'),)
    called = []
    for step in range(2):
        (call,) = (await ask(engine, GenerateRequest("s", messages=messages, tools=TOOLS))).tool_calls
        called.append((call.id, call.name, call.arguments))
        messages += (Message("assistant", "", (call,)), Message("tool", f"result {step}", tool_call_id=call.id))
    last = await ask(engine, GenerateRequest("s", messages=messages, tools=TOOLS))
    assert called == [("call_0", "add", {"a": 1, "b": {"c": 2}}), ("call_1", "mul", {})]
    assert (last.text, last.finish) == ("Done: result 0; result 1", "stop")


async def test_a_broken_call_in_the_text_is_refused():
    with pytest.raises(InvalidRequest, match="no JSON object"):
        await ask(await scripted(), chat("call add with {a: 1}", tools=TOOLS))


async def test_the_first_rule_that_fits_answers_with_its_groups():
    engine = await scripted(
        {"match": r"I am (?P<who>\w+)", "text": 'Hi {who}, {"kept": {}}'},
        {"match": "I am", "text": "never"},
        {"match": "find (.+)", "calls": [{"name": "add", "arguments": {"what": ["{1}"]}}]},
    )
    assert (await ask(engine, chat("I am Bob"))).text == 'Hi Bob, {"kept": {}}'
    found = await ask(engine, chat("find it", tools=TOOLS))
    assert found.tool_calls == (ToolCall("call_0", "add", {"what": ["it"]}),)
    assert (await ask(engine, chat("other"))).text == "other"


async def test_a_step_counts_the_answers_since_the_user_spoke():
    engine = await scripted({"step": 1, "text": "second"}, {"text": "first"})
    messages = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert (await ask(engine, GenerateRequest("s", messages=messages))).text == "first"
    messages += (Message("assistant", "first"), Message("tool", "d", tool_call_id="1"))
    assert (await ask(engine, GenerateRequest("s", messages=messages))).text == "second"


async def test_rules_are_read_from_yaml(tmp_path: Path):
    path = tmp_path / "script.yaml"
    path.write_text("- {match: ping, text: pong}\n- {match: down, error: {type: EngineUnavailable, message: gone}}\n")
    engine = await open_engine(ModelSpec("s", "scripted", source=str(path)))
    assert (await ask(engine, chat("ping"))).text == "pong"
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="gone"):
            await ask(engine, chat("down"))


@pytest.mark.parametrize("text", ["match: [", "just text", "- {reply: unknown key}", "- {match: '('}"])
async def test_a_script_that_cannot_be_read_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRequest):
        await open_engine(ModelSpec("s", "scripted", source=str(path)))


@pytest.mark.parametrize("answer", ["yes", Generation("yes"), [ToolCall("x", "add", {"a": 1})]])
async def test_a_function_may_be_the_script(answer):
    engine = await open_engine(ModelSpec("s", "scripted", options={"script": lambda request: answer}))
    got = await ask(engine, chat("?", tools=TOOLS))
    assert got.text == "yes" or got.tool_calls == (ToolCall("call_0", "add", {"a": 1}),)


async def test_the_same_request_has_the_same_answer():
    engine = await scripted()
    request = chat('call add with {"a": 1}', tools=TOOLS, sampling=Sampling(top_logprobs=3))
    assert await ask(engine, request) == await ask(engine, request)


async def test_it_streams_by_token_or_answers_whole():
    engine = await scripted()
    assert len(await pieces(engine, chat("abcdefgh"))) == 3
    assert len(await pieces(engine, chat("abcdefgh", stream=False))) <= 2


async def test_delay_and_pace_are_seconds():
    engine = await scripted({"text": "abcdefgh", "delay": 0.05, "pace": 0.05})
    for stream in (True, False):
        start = time.monotonic()
        await ask(engine, chat("x", stream=stream))
        assert 0.1 <= time.monotonic() - start < 5


async def test_a_constraint_takes_what_the_script_says_where_it_fits():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    engine = await scripted({"match": "good", "text": '{"n": 7}'}, {"text": "blue it is"})
    assert (await ask(engine, chat("good", schema=schema))).text == '{"n": 7}'
    assert (await ask(engine, chat("bad", schema=schema))).text == '{"n":0}'
    assert (await ask(engine, chat("?", choices=("red", "blue")))).text == "blue"
    assert (await ask(engine, chat("good", choices=("red", "blue")))).text == "red"


async def test_a_prompt_over_the_window_is_refused_and_an_answer_ends_there():
    engine = await scripted(window=8)
    with pytest.raises(ContextOverflow) as caught:
        await ask(engine, chat("x" * 36))
    assert caught.value.facts == {"tokens": 9, "window": 8}
    answer = await ask(engine, chat("x" * 24))
    assert (answer.finish, answer.usage.output_tokens) == ("length", 2)


async def test_embeddings_are_unit_vectors_near_for_shared_words():
    engine = await scripted()
    near, same, far, empty = (await engine.embed(EmbedRequest("s", ("a red cat", "A red cat!", "9 1 8", "")))).vectors
    assert near == same and len(near) == len(empty) == 64
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-9 for vector in (near, far, empty))
    assert sum(x * y for x, y in zip(near, far, strict=True)) < 0.5


async def test_others_have_their_turn_while_many_texts_become_vectors():
    engine, turns = await scripted(), list[int]()
    few = await engine.embed(EmbedRequest("s", ("a red cat", "b")))

    async def other() -> None:
        turns.append(1)

    waiting = asyncio.create_task(other())
    many = await engine.embed(EmbedRequest("s", ("a red cat", "b") * 20_000))
    assert turns == [1] and waiting.done()
    assert many.vectors == few.vectors * 20_000


SCHEMAS = [
    True,
    {},
    {"const": None},
    {"enum": ["b", "a"]},
    {"type": ["string", "null"], "minLength": 3},
    {"type": "integer", "minimum": 3, "multipleOf": 5},
    {"type": "integer", "exclusiveMinimum": 3},
    {"type": "number", "maximum": -2.5},
    {"type": "number", "exclusiveMaximum": 0},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
    {"prefixItems": [{"const": 1}, {"type": "string"}], "minItems": 2},
    {"oneOf": [{"const": 1}, {"const": 2}]},
    {"type": "string", "format": "date-time"},
    {"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]}, {"$ref": "#/$defs/b"}],
     "required": ["c"], "$defs": {"b": {"properties": {"b": {"type": "integer"}}, "required": ["b"]}}},
    {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["value"], "properties": {
        "value": {"type": "string"}, "next": {"$ref": "#/$defs/node"}}}}},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_smallest_instance_is_valid(schema):
    Draft202012Validator(schema).validate(smallest(schema))


@pytest.mark.parametrize("schema", [
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
    {"$ref": "https://example.org/x"},
    {"$ref": "#/$defs/missing"},
    {"type": "array", "minItems": 10**12, "items": {"type": "string"}},
    {"type": "string", "minLength": 10**12},
    {"$ref": "#/$defs/0", "$defs": {"14": {"type": "null"}, **{str(i): {"type": "array", "minItems": 9, "items": {
        "$ref": f"#/$defs/{i + 1}"}} for i in range(14)}}},
])  # fmt: skip
def test_a_schema_without_an_instance_is_refused(schema):
    with pytest.raises(InvalidRequest):
        smallest(schema)


async def test_it_goes_on_from_the_beginning_of_its_answer():
    engine = await scripted()
    assert (await ask(engine, chat("one two three", said="one t"))).text == "wo three"
    with pytest.raises(Unsupported, match="does not say"):
        await ask(engine, chat("one two three", said="four"))


async def test_a_long_answer_lets_others_have_their_turn() -> None:
    engine = await open_engine(ModelSpec("s", "scripted", options={"script": lambda request: Reply("x" * 1_000_000)}))
    turns, seen, since, most = 0, 0, 0, 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    async for _ in engine.generate(chat("go", stream=True)):
        seen, since = turns, since + 1 if seen == turns else 1
        most = max(most, since)
    task.cancel()
    assert turns > 30 and most <= 65
