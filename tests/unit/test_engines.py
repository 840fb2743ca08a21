"""The driver table, the request checks all engines share, constraints as grammars, and workers."""

from __future__ import annotations

import asyncio
import shlex
import sys
import threading
import time

import pytest
from llguidance import LLMatcher, LLTokenizer

from llmagent_os.core import extras, schemas
from llmagent_os.core.errors import (
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    MissingExtra,
    NotFound,
    Unsupported,
)
from llmagent_os.core.records import EngineInfo, GenerateRequest, Message, ModelSpec, Sampling, ToolSpec
from llmagent_os.llm.constrain import closed, grammar
from llmagent_os.llm.engines import DRIVERS, check, driver, open_engine
from llmagent_os.llm.workers import Workers

INFO = EngineInfo("e", "m", parameters=frozenset({"max_tokens", "temperature", "logit_bias", "top_p"}))
ABLE = EngineInfo("e", "m", abilities=frozenset({"chat", "tools", "schema", "choices"}))
TOOL = ToolSpec("weather")


def asked(**fields) -> GenerateRequest:
    return GenerateRequest("m", **{"messages": (Message("user", "hi"),), **fields})


async def test_an_unknown_driver_is_refused_with_the_nearest():
    with pytest.raises(NotFound, match="did you mean 'llamacpp'"):
        await open_engine(ModelSpec("m", "lamacpp"))


@pytest.mark.parametrize("name", ["llamacpp", "transformers"])
def test_a_missing_library_is_named_with_the_command(name: str, monkeypatch: pytest.MonkeyPatch):
    for loaded in [module for module in sys.modules if module.startswith(DRIVERS[name][0])]:
        monkeypatch.delitem(sys.modules, loaded)
    for library in ("xllamacpp", "llguidance", "llguidance.hf", "torch"):
        monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "llmagent_os.llm.constrain", raising=False)
    with pytest.raises(MissingExtra) as caught:
        driver(name)
    command = caught.value.facts["command"]
    assert command == extras.command(name) and command in caught.value.message


def test_the_command_for_an_extra_names_libraries_that_an_index_has():
    *pip, library = shlex.split(extras.command("mcp"))
    assert pip == [sys.executable, "-m", "pip", "install"] and library.startswith(("mcp>", "mcp<"))


def test_parameters_and_abilities_that_are_not_promised_are_refused_by_name():
    check(asked(sampling=Sampling(temperature=0.5)), INFO)
    with pytest.raises(Unsupported, match="top_k"):
        check(asked(sampling=Sampling(top_k=1)), INFO)
    with pytest.raises(Unsupported, match="schema"):
        check(asked(schema={}), INFO)


WRONG = [
    ({"messages": ()}, "messages"),
    ({"messages": (), "prompt": ""}, "messages"),
    ({"prompt": "x"}, "prompt"),
    ({"sampling": Sampling(max_tokens=0)}, "max_tokens"),
    ({"sampling": Sampling(logit_bias={"4294967297": 5.0})}, "logit_bias"),  # token 1, in 32 bits
    ({"sampling": Sampling(logit_bias={"\u0663": 5.0})}, "logit_bias"),
    ({"sampling": Sampling(repetition_penalty=1e-300)}, "repetition_penalty"),
    ({"sampling": Sampling(temperature=-0.1)}, "temperature"),
    ({"sampling": Sampling(top_p=1.1)}, "top_p"),
    ({"sampling": Sampling(top_p=float("nan"))}, "top_p"),
    ({"sampling": Sampling(logit_bias={"the": 1.0})}, "logit_bias"),
    ({"choices": ()}, "choices"),
    ({"choices": ("a",), "schema": {}}, "choices"),
    ({"choices": ("a",), "tools": (TOOL,)}, "choices"),
    ({"tools": (TOOL, TOOL)}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": (TOOL,), "tool_choice": "clock"}, "tool_choice"),
]


@pytest.mark.parametrize(("fields", "blamed"), WRONG)
def test_contradictions_are_refused_by_name(fields: dict, blamed: str):
    able = EngineInfo("e", "m", abilities=ABLE.abilities | {"prompt"})
    with pytest.raises(InvalidRequest) as caught:
        check(asked(**fields), able)
    assert caught.value.facts["parameter"] == blamed


def test_a_parameter_that_is_switched_off_may_be_sent_to_every_engine():
    check(asked(sampling=Sampling(presence_penalty=0, frequency_penalty=0.0, repetition_penalty=1, top_k=0)), INFO)
    with pytest.raises(Unsupported, match="presence_penalty"):
        check(asked(sampling=Sampling(presence_penalty=0.1)), INFO)


def test_a_schema_that_leads_nowhere_is_refused():
    with pytest.raises(InvalidRequest, match="not in the schema"):
        check(asked(schema={"$ref": "#/nowhere"}), ABLE)


@pytest.mark.parametrize("schema", [{"type": "object", "not": {}}, {"type": "string", "pattern": "(?=a)b"}])
def test_what_a_grammar_cannot_hold_of_a_schema_is_looked_at_in_the_answer(schema: dict):
    request = check(asked(schema=schema), ABLE)
    assert grammar(schemas.fitted(request))
    with pytest.raises(Unsupported, match="breaks the schema"):
        schemas.verify(request, '"c"')


def test_a_tool_with_such_a_schema_is_taken_as_far_as_it_goes():
    tags = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    assert grammar(asked(tools=(ToolSpec("tag", "", {"type": "object", "properties": {"tags": tags}}),)))


def test_no_constraint_no_grammar():
    assert grammar(asked()) is None
    assert grammar(asked(tools=(TOOL,), tool_choice="none")) is None


def test_a_closed_schema_has_no_room_for_invented_properties():
    inner = {"type": "object", "properties": {"properties": {"type": "object", "properties": {}}}}
    schema = {"type": "array", "items": {"anyOf": [inner, {"$ref": "#/$defs/x"}]}, "$defs": {"x": inner}}
    shut = {
        "type": "object",
        "properties": {"properties": {"type": "object", "properties": {}, "additionalProperties": False}},
        "additionalProperties": False,
    }
    items = {"anyOf": [shut, {"$ref": "#/$defs/x"}]}
    assert closed(schema) == {"type": "array", "items": items, "$defs": {"x": shut}}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}, "additionalProperties": True},
        {"properties": {"a": {}}, "anyOf": [{"required": ["b"]}]},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
    ],
)
def test_a_schema_that_leaves_room_on_purpose_keeps_it(schema: dict):
    assert closed(schema) == schema


def test_an_answer_that_broke_its_constraint_is_not_passed_off():
    schemas.verify(asked(schema={}), "{}")
    schemas.verify(asked(schema={}, sampling=Sampling(stop=("}",))), "{")
    with pytest.raises(Unsupported):
        schemas.verify(asked(schema={}), "Sure! {}")
    with pytest.raises(Unsupported):
        schemas.verify(asked(choices=("a", "b")), "c")


async def test_events_arrive_in_order_and_errors_at_the_end():
    def work(take):
        for number in range(100):
            take(number)
        raise EngineFailed("out of order")

    workers, seen = Workers("e", 1), []
    with pytest.raises(EngineFailed, match="out of order"), workers.run(work) as events:
        async for event in events:
            seen.append(event)
    assert seen == list(range(100))
    assert workers.health() == "out of order"
    await workers.close()


async def test_leaving_stops_the_work():
    stopped = threading.Event()

    def work(take):
        while not take("tick"):
            time.sleep(0.001)
        stopped.set()

    workers = Workers("e", 1)
    with workers.run(work) as events:
        assert await anext(events) == "tick"
    assert await asyncio.to_thread(stopped.wait, 2)
    assert workers.health() is None
    await workers.close()


async def test_closing_ends_what_runs_and_what_waits():
    def work(take):
        while not take("tick"):
            time.sleep(0.001)

    async def read():
        with workers.run(work) as events:
            async for _ in events:
                pass

    workers = Workers("e", 1)
    running, waiting = asyncio.create_task(read()), asyncio.create_task(read())
    await asyncio.sleep(0.05)
    await workers.close()
    for task in (running, waiting):
        with pytest.raises(EngineUnavailable, match="closed"):
            await task
    with pytest.raises(EngineUnavailable, match="closed"):
        await read()
    assert workers.health() == "closed"


def walked(text: str, answer: str) -> bool:
    """Whether a grammar lets an answer be said, byte by byte, and end."""
    matcher = LLMatcher(LLTokenizer("byte"), text, log_level=0)
    said = all(matcher.compute_logit_bias()[byte] and matcher.consume_token(byte) for byte in answer.encode())
    return said and matcher.is_accepting() and not matcher.get_error()


def test_a_grammar_holds_as_many_choices_as_are_sent():
    """Each as a way of its own was too many for the parser, which gave up in the middle of an answer."""
    choices = tuple(f"c{i}" for i in range(3000))
    text = grammar(asked(choices=choices)) or ""
    assert all(walked(text, each) for each in ("c0", "c1", "c10", "c2999")) and not walked(text, "c3000")


def test_a_schema_with_too_many_ways_to_go_on_is_held_in_part():
    properties = {f"k{i}": {"type": "integer"} for i in range(1000)}
    text = grammar(schemas.fitted(asked(schema={"type": "object", "properties": properties}))) or ""
    assert walked(text, '{"k7": 5}')


def test_more_tools_than_a_grammar_can_tell_apart_are_refused():
    with pytest.raises(Unsupported, match="tools"):
        grammar(asked(tools=tuple(ToolSpec(f"t{i}") for i in range(2500))))
