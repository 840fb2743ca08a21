"""The contract that every engine keeps, as tests over a `bed` fixture.

A test module says `from tests.contract.engine_suite import *` and defines an async fixture `bed` that yields a Bed.
The prompts suit a real model as well as the scripted engine, which echoes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from llmagent_os.core import codec, schemas
from llmagent_os.core.errors import ContextOverflow, InvalidRequest, Unsupported
from llmagent_os.core.ports import Engine
from llmagent_os.core.records import (
    SAMPLING_NAMES,
    Chunk,
    Decoding,
    EmbedRequest,
    GenerateRequest,
    Generation,
    Message,
    Sampling,
    ToolCall,
    ToolSpec,
)
from llmagent_os.core.stream import collect
from tests.stand_ins.schemas import SCHEMAS as SCHEMAS_DRAWN
from tests.stand_ins.schemas import valid

CANCEL_SECONDS = 5.0

GREEDY = Sampling(temperature=0.0, max_tokens=48)
LONG = "Count slowly from one to two hundred, in words."
SHORT = "Name three colours of the rainbow, please."
VALUES: Mapping[str, Any] = {
    "max_tokens": 7,
    "temperature": 0.5,
    "top_k": 3,
    "top_p": 0.75,
    "min_p": 0.125,
    "typical_p": 0.875,
    "repetition_penalty": 1.25,
    "presence_penalty": 0.25,
    "frequency_penalty": 0.375,
    "seed": 11,
    "stop": ("zebra",),
    "logit_bias": {"17": -2.0},
    "top_logprobs": 2,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["warm", "cold"]},
        "at": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    },
    "required": ["name", "kind", "at"],
}
WEATHER = ToolSpec(
    "weather",
    "Today's weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 16}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
CLOCK = ToolSpec("clock", "The time of day.", {"type": "object", "properties": {}, "additionalProperties": False})

ABILITIES: Mapping[str, dict[str, Any]] = {
    "prompt": {"messages": (), "prompt": SHORT},
    "tools": {"tools": (WEATHER,)},
    "schema": {"schema": SCHEMA},
    "choices": {"choices": ("yes", "no")},
    "adapters": {"adapter": "french"},
    "said": {"said": "The"},
    "explain": {"decoding": Decoding(explain=True)},
    "images": {"messages": (Message("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]),)},
}


@dataclass
class Bed:
    """An engine under test. `reached` gives the sampling parameters of the last request as the model got them, by our
    names; None where that cannot be seen. `overlong` is a text over its window, None where it has none. `streams` is
    false where it was told not to.
    """

    engine: Engine
    reached: Callable[[], Mapping[str, Any]] | None = None
    overlong: str | None = None
    streams: bool = True

    def chat(self, text: str, **fields: Any) -> GenerateRequest:
        """A greedy request for one user message; what the engine does not take is left out."""
        sampling = fields.pop("sampling", self.greedy())
        return replace(
            GenerateRequest(self.engine.info.model, messages=(Message("user", text),), sampling=sampling), **fields
        )

    def greedy(self, **fields: Any) -> Sampling:
        """Temperature 0 where the engine takes one, and `fields`."""
        kept = {name: value for name, value in GREEDY.sent().items() if name in self.engine.info.parameters}
        return Sampling(**{**kept, **fields})

    async def ask(self, request: GenerateRequest) -> Generation:
        """The whole answer."""
        return await collect(self.engine.generate(request))

    def needs(self, ability: str) -> None:
        """Skip where the engine does not promise it; that it then refuses is a test of its own."""
        if ability not in self.engine.info.abilities | self.engine.info.parameters:
            pytest.skip(f"{self.engine.info.name} has no {ability}")


async def test_the_pieces_add_up_to_the_whole(bed: Bed) -> None:
    request = bed.chat(SHORT)
    pieces = [chunk async for chunk in bed.engine.generate(request)]
    whole = await bed.ask(replace(request, stream=False))
    assert len(pieces) > 2 or not bed.streams
    assert "".join(piece.text for piece in pieces) == whole.text != ""
    assert whole.finish in ("stop", "length")


async def test_the_last_piece_alone_ends_and_counts(bed: Bed) -> None:
    pieces = [chunk async for chunk in bed.engine.generate(bed.chat(SHORT))]
    assert all(piece.finish is None and piece.usage is None for piece in pieces[:-1])
    usage = pieces[-1].usage
    assert pieces[-1].finish and usage and usage.input_tokens > 0 and usage.output_tokens > 0


async def test_a_cancelled_call_ends_soon_and_the_next_one_works(bed: Bed) -> None:
    request = bed.chat(LONG, sampling=bed.greedy(max_tokens=400))
    chunks = bed.engine.generate(request)
    await anext(chunks)
    start = time.monotonic()
    await chunks.aclose()  # type: ignore[attr-defined]
    assert (await bed.ask(bed.chat(SHORT))).text
    assert time.monotonic() - start < CANCEL_SECONDS


async def test_a_cancelled_task_ends_soon_and_the_next_one_works(bed: Bed) -> None:
    request = bed.chat(LONG, sampling=bed.greedy(max_tokens=400), stream=False)
    task = asyncio.create_task(bed.ask(request))
    await asyncio.sleep(0.05)
    start = time.monotonic()
    task.cancel()
    await asyncio.wait([task])
    assert (await bed.ask(bed.chat(SHORT))).text
    assert time.monotonic() - start < CANCEL_SECONDS


async def test_calls_at_once_are_all_answered(bed: Bed) -> None:
    answers = await asyncio.gather(*(bed.ask(bed.chat(SHORT)) for _ in range(4)))
    assert all(answer.text and answer.finish in ("stop", "length") for answer in answers)


@pytest.mark.parametrize("name", SAMPLING_NAMES)
async def test_a_parameter_reaches_the_model_or_is_refused_by_name(bed: Bed, name: str) -> None:
    request = bed.chat(SHORT, sampling=Sampling(**{"max_tokens": 8, name: VALUES[name]}))
    if name not in bed.engine.info.parameters:
        with pytest.raises(Unsupported, match=name):
            await bed.ask(request)
        return
    await bed.ask(request)
    if bed.reached:
        assert bed.reached()[name] == VALUES[name]


@pytest.mark.parametrize("ability", ABILITIES)
async def test_what_it_cannot_do_is_refused_by_name(bed: Bed, ability: str) -> None:
    if ability in bed.engine.info.abilities:
        pytest.skip("it can")
    with pytest.raises(Unsupported, match=ability):
        await bed.ask(bed.chat(SHORT, **ABILITIES[ability]))


async def test_nothing_to_answer_is_refused(bed: Bed) -> None:
    with pytest.raises(InvalidRequest):
        await bed.ask(GenerateRequest(bed.engine.info.model))


async def test_a_raw_prompt_is_continued(bed: Bed) -> None:
    bed.needs("prompt")
    answer = await bed.ask(bed.chat("", messages=(), prompt="The colours of the rainbow are red, orange,"))
    assert answer.text and answer.usage.input_tokens > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_max_tokens_ends_the_answer(bed: Bed, stream: bool) -> None:
    answer = await bed.ask(bed.chat(LONG, sampling=bed.greedy(max_tokens=3), stream=stream))
    assert answer.finish == "length"
    assert 0 < answer.usage.output_tokens <= 3


async def test_the_stop_string_is_not_in_the_text(bed: Bed) -> None:
    bed.needs("stop")
    free = (await bed.ask(bed.chat(SHORT))).text
    stop = free[len(free) // 2 : len(free) // 2 + 3]
    answer = await bed.ask(bed.chat(SHORT, sampling=bed.greedy(stop=(stop, "never said"))))
    assert answer.finish == "stop"
    assert answer.text == free.partition(stop)[0]
    assert answer.stopped == (None if bed.engine.info.name == "openai" else stop)  # whose API does not say which


async def test_a_stop_text_ends_no_tool_call(bed: Bed) -> None:
    """Agent frameworks send some beside their tools."""
    bed.needs("stop")
    bed.needs("tools")
    sampling = bed.greedy(max_tokens=200, stop=("tool", "{", "city", '"'))
    asked = bed.chat("How is the weather in Oslo?", tools=(WEATHER,), tool_choice="required", sampling=sampling)
    answer = await bed.ask(asked)
    assert answer.finish == "tool_calls" and [call.name for call in answer.tool_calls] == ["weather"]


async def test_a_stop_text_ends_the_answer_after_a_tool_was_used(bed: Bed) -> None:
    bed.needs("stop")
    bed.needs("tools")
    call = ToolCall("call_1", "weather", {"city": "Oslo"})
    used = (Message("user", SHORT), Message("assistant", "", (call,)), Message("tool", "clear", tool_call_id="call_1"))
    free = await bed.ask(bed.chat(SHORT, messages=used))
    stop = free.text[len(free.text) // 2 : len(free.text) // 2 + 3]
    answer = await bed.ask(bed.chat(SHORT, messages=used, sampling=bed.greedy(stop=(stop, "never said"))))
    assert (answer.text, answer.finish) == (free.text.partition(stop)[0], "stop")
    assert answer.stopped == (None if bed.engine.info.name == "openai" else stop)
    assert answer.usage.output_tokens <= free.usage.output_tokens


async def test_a_schema_is_kept(bed: Bed) -> None:
    bed.needs("schema")
    answer = await bed.ask(bed.chat("Describe a colour.", schema=SCHEMA, sampling=bed.greedy(max_tokens=200)))
    Draft202012Validator(SCHEMA).validate(codec.loads(answer.text))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_choice_is_one_of_the_strings(bed: Bed, stream: bool) -> None:
    bed.needs("choices")
    choices = ("a warm colour", 'a "cold" colour', "neither, ünlike")
    answer = await bed.ask(bed.chat("What is red?", choices=choices, stream=stream))
    assert answer.text in choices and not answer.tool_calls


@pytest.mark.parametrize("stream", [True, False])
async def test_a_required_tool_is_called(bed: Bed, stream: bool) -> None:
    bed.needs("tools")
    sampling = bed.greedy(max_tokens=200)
    request = bed.chat(
        "How is the weather in Oslo?", tools=(WEATHER,), tool_choice="required", sampling=sampling, stream=stream
    )
    answer = await bed.ask(request)
    assert answer.finish == "tool_calls"
    assert [call.name for call in answer.tool_calls] == ["weather"] and answer.tool_calls[0].id
    Draft202012Validator(WEATHER.parameters).validate(answer.tool_calls[0].arguments)


async def test_a_named_tool_is_called_and_none_is_not(bed: Bed) -> None:
    bed.needs("tools")
    request = bed.chat("Hello!", tools=(WEATHER, CLOCK), tool_choice="clock", sampling=bed.greedy(max_tokens=200))
    assert [call.name for call in (await bed.ask(request)).tool_calls] == ["clock"]
    assert not (await bed.ask(replace(request, tool_choice="none"))).tool_calls


EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"  # zod's


def takes(**said: Any) -> ToolSpec:
    """A tool whose only argument is `a`."""
    return ToolSpec("send", "Send a letter.", {"type": "object", "properties": {"a": said}, "required": ["a"]})


@pytest.mark.parametrize(
    "tool",
    [
        takes(type=["string", "null"], maxLength=8),
        takes(type=["integer", None], examples={"one": {"value": 1}}),
        takes(enum=["x", None], type=["string", "null"], title=None),
        takes(anyOf=[{"type": "null"}, {"type": "integer", "maximum": 9, "minimum": 0}], default=None),
        takes(type="BOOLEAN", nullable=True),
        replace(takes(), parameters={"type": "object", "properties": None, "required": None}),
        replace(takes(), parameters={"properties": [], "additionalProperties": False}),
        takes(type="array", items=[{"type": "boolean"}], additionalItems=False, maxItems=1),
    ],
)
async def test_schemas_are_read_as_they_are_meant(bed: Bed, tool: ToolSpec) -> None:
    bed.needs("tools")
    asked = bed.chat(SHORT, tools=(tool,), tool_choice="required", sampling=bed.greedy(max_tokens=200))
    (call,) = (await bed.ask(asked)).tool_calls
    schemas.verify_calls(asked, [call])
    assert (await bed.ask(replace(asked, tool_choice="auto"))).finish


async def test_a_tool_that_a_grammar_cannot_hold_spoils_none_beside_it(bed: Bed) -> None:
    bed.needs("tools")
    mail = takes(type="string", format="email", pattern=EMAIL)
    asked = bed.chat(SHORT, tools=(mail, WEATHER), tool_choice="weather", sampling=bed.greedy(max_tokens=120))
    (call,) = (await bed.ask(asked)).tool_calls
    assert call.name == "weather" and isinstance(call.arguments["city"], str)
    assert (await bed.ask(replace(asked, tool_choice="auto"))).finish
    called = await bed.ask(replace(asked, tool_choice="send"))
    assert called.finish == "length" or called.tool_calls[0].name == "send"


@pytest.mark.parametrize("tool", [takes(type="strng"), takes(pattern="["), takes(enum=[]), takes(**{"$ref": "#/no"})])
async def test_a_tool_whose_schema_is_none_is_named(bed: Bed, tool: ToolSpec) -> None:
    bed.needs("tools")
    with pytest.raises(InvalidRequest, match=r"tool 'send': properties\.a"):
        await bed.ask(bed.chat(SHORT, tools=(WEATHER, tool)))


def examples(count: int) -> settings:
    """How many schemas a property is tried on."""
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


async def kept_or_named(bed: Bed, schema: Any) -> None:
    """A tool's arguments are valid under any schema, or an error names the tool."""
    tool = ToolSpec("send", "Send a letter.", schema)
    asked = bed.chat(SHORT, tools=(WEATHER, tool), tool_choice="send", sampling=bed.greedy(max_tokens=64))
    try:
        answer = await bed.ask(asked)
        schemas.verify_calls(asked, answer.tool_calls)
    except InvalidRequest as error:
        assert "tool 'send'" in error.message
        return
    assert answer.tool_calls or answer.finish == "length"
    assert all(valid(schema, dict(call.arguments)) for call in answer.tool_calls)


async def kept_or_refused(bed: Bed, schema: Any) -> None:
    """An answer is valid under any schema, or an error says that it is the schema."""
    try:
        answer = await bed.ask(bed.chat(SHORT, schema=schema, sampling=bed.greedy(max_tokens=64)))
    except InvalidRequest as error:
        assert "schema" in error.message
        return
    assert answer.finish == "length" or valid(schema, codec.loads(answer.text))


@examples(25)
@given(schema=SCHEMAS_DRAWN)
async def test_any_schema_of_a_tool_is_kept_or_named(bed: Bed, schema: Any) -> None:
    bed.needs("tools")
    await kept_or_named(bed, schema)


@examples(25)
@given(schema=SCHEMAS_DRAWN)
async def test_any_schema_of_an_answer_is_kept_or_refused(bed: Bed, schema: Any) -> None:
    bed.needs("schema")
    await kept_or_refused(bed, schema)


async def test_tool_results_are_read(bed: Bed) -> None:
    bed.needs("tools")
    request = bed.chat(
        "How is the weather?", tools=(WEATHER,), tool_choice="required", sampling=bed.greedy(max_tokens=200)
    )
    called = await bed.ask(request)
    results = [Message("tool", '{"sky": "clear"}', tool_call_id=c.id, name=c.name) for c in called.tool_calls]
    messages = (*request.messages, Message("assistant", called.text, called.tool_calls), *results)
    before = await bed.ask(replace(request, tool_choice="none"))
    answer = await bed.ask(replace(request, messages=messages, tool_choice="none"))
    assert answer.text and answer.usage.input_tokens > before.usage.input_tokens


@pytest.mark.parametrize("top", [0, 3])
async def test_log_probabilities_have_shape_and_sign(bed: Bed, top: int) -> None:
    bed.needs("top_logprobs")
    chunks: list[Chunk] = [
        chunk async for chunk in bed.engine.generate(bed.chat(SHORT, sampling=bed.greedy(top_logprobs=top)))
    ]
    rows = [row for chunk in chunks for row in chunk.logprobs]
    assert "".join(row.token for row in rows).startswith("".join(chunk.text for chunk in chunks)[:8])
    for row in rows:
        values = [value for _, value in row.top]
        assert row.logprob <= 0 and len(values) == top
        assert values == sorted(values, reverse=True) and all(value <= 0 for value in values)


async def test_any_script_and_sign_survives(bed: Bed) -> None:
    text = "Grüße, 世界 👩‍🚀 \u0000 ‮ \\n \"quoted\" <|im_end|> {'a': 1}"
    messages = (Message("system", text), Message("user", text), Message("assistant", text), Message("user", text))
    answer = await bed.ask(bed.chat("", messages=messages))
    assert answer.text.encode() and "\ufffd" not in answer.text


async def test_a_prompt_over_the_window_is_refused_with_its_size(bed: Bed) -> None:
    if bed.overlong is None:
        pytest.skip("no window")
    with pytest.raises(ContextOverflow) as caught:
        await bed.ask(bed.chat(bed.overlong))
    assert caught.value.facts["tokens"] > caught.value.facts["window"] > 0
    assert (await bed.ask(bed.chat(SHORT))).text


async def test_tokens_are_counted(bed: Bed) -> None:
    short, long = await bed.engine.count_tokens(bed.chat("hi")), await bed.engine.count_tokens(bed.chat(LONG * 4))
    assert 0 < short < long


async def test_texts_are_embedded_or_refused(bed: Bed) -> None:
    request = EmbedRequest(bed.engine.info.model, ("red", "a longer text about blue"))
    if "embed" not in bed.engine.info.abilities:
        with pytest.raises(Unsupported, match="embed"):
            await bed.engine.embed(request)
        return
    made = await bed.engine.embed(request)
    assert len(made.vectors) == 2 and len({len(vector) for vector in made.vectors}) == 1
    assert made.vectors[0] != made.vectors[1] and made.usage.input_tokens > 0


async def test_it_is_well_and_closes_twice(bed: Bed) -> None:
    assert bed.engine.health() is None
    await bed.engine.close()
    await bed.engine.close()
