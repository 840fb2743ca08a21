"""The engine contract on a model in this process, and what llama.cpp adds to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from llmagent_os.core import codec
from llmagent_os.core.errors import EngineFailed, EngineUnavailable, InvalidRequest, NotFound
from llmagent_os.core.records import EmbedRequest, GenerateRequest, Message, ModelSpec, Sampling, ToolSpec
from llmagent_os.core.stream import collect
from llmagent_os.llm.llamacpp import FIELDS, LlamaCpp, open_engine
from tests.contract.engine_suite import *  # noqa: F403
from tests.contract.engine_suite import (
    CLOCK,
    LONG,
    SCHEMA,
    SHORT,
    VALUES,
    Bed,
    examples,
    kept_or_named,
    kept_or_refused,
)
from tests.stand_ins.schemas import SCHEMAS as SCHEMAS_DRAWN

pytestmark = pytest.mark.model


def spec(path: Path, **fields: Any) -> ModelSpec:
    return ModelSpec("tiny", "llamacpp", str(path), window=1024, **{"options": {"slots": 4}, **fields})


@pytest.fixture(scope="module")
def opened() -> Iterator[list[LlamaCpp]]:
    """The engines of this module: one, and another after a test that closes it."""
    engines: list[LlamaCpp] = []
    yield engines
    for engine in engines:
        asyncio.run(engine.close())


@pytest.fixture
async def engine(tiny_model: Path, opened: list[LlamaCpp]) -> LlamaCpp:
    if not opened or opened[-1].health() == "closed":
        opened.append(await open_engine(spec(tiny_model)))
    return opened[-1]


@pytest.fixture
async def bed(engine: LlamaCpp) -> Bed:
    return Bed(engine, reached=lambda: reached(engine), overlong="word " * 1100)


def reached(engine: LlamaCpp) -> dict[str, Any]:
    """The settings of the slot that worked last, as the engine reports them; it is silent about two of them."""
    last = max(engine.server.get("/slots"), key=lambda slot: slot.get("id_task", -1))["params"]
    seen = {ours: last[theirs] for ours, theirs in FIELDS.items() if theirs in last}
    assert set(VALUES) - set(seen) == {"stop", "logit_bias"}
    return {**VALUES, **seen}


async def settled(engine: LlamaCpp) -> float:
    """Seconds until no slot works."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while any(slot["is_processing"] for slot in await asyncio.to_thread(engine.server.get, "/slots")):
        await asyncio.sleep(0.002)
    return loop.time() - start


async def test_stop_strings_and_logit_bias_reach_the_model(bed: Bed) -> None:
    """The slots do not report these two, so their effect is looked at."""
    first = (await bed.ask(bed.chat(SHORT, sampling=bed.greedy(max_tokens=1)))).text
    (token,) = bed.engine.server.post("/tokenize", {"content": first})["tokens"]
    banned = await bed.ask(bed.chat(SHORT, sampling=bed.greedy(max_tokens=1, logit_bias={str(token): -100.0})))
    assert banned.text != first
    stopped = await bed.ask(bed.chat(SHORT, sampling=bed.greedy(stop=(first,))))
    assert (stopped.text, stopped.finish) == ("", "stop")


@pytest.mark.parametrize("most", [2**31, 2**32 + 1, 2**63])
async def test_as_many_tokens_as_anybody_can_write_are_all_there_is_room_for(bed: Bed, most: int) -> None:
    """llama.cpp reads 32 bits: such a number would be one below nothing, or one token."""
    some = await bed.ask(bed.chat(SHORT, sampling=bed.greedy(max_tokens=6)))
    answer = await bed.ask(bed.chat(SHORT, sampling=bed.greedy(max_tokens=most, stop=(some.text[3:],))))
    assert answer.finish == "stop" and answer.text == some.text[:3]


async def test_log_probabilities_are_natural_and_sum_to_one_at_most(bed: Bed) -> None:
    answer = await bed.ask(bed.chat(SHORT, sampling=bed.greedy(max_tokens=4, top_logprobs=20)))
    for row in answer.logprobs:
        assert row.top[0] == (row.token, row.logprob)  # greedy
        assert 0.3 < sum(math.exp(value) for _, value in row.top) <= 1.0 + 1e-4


async def test_characters_cut_between_tokens_come_whole(bed: Bed) -> None:
    request = bed.chat("Repeat: 日本語😀é", sampling=bed.greedy(max_tokens=30))
    pieces = [chunk.text async for chunk in bed.engine.generate(request)]
    assert any(ord(letter) > 0xFFFF for piece in pieces for letter in piece)
    assert "\ufffd" not in "".join(pieces)


async def test_a_repeated_prompt_is_read_from_the_cache(bed: Bed) -> None:
    first, second = [(await bed.ask(bed.chat(LONG, sampling=bed.greedy(max_tokens=2)))).usage for _ in range(2)]
    assert first.cached_tokens < second.cached_tokens < second.input_tokens == first.input_tokens


async def test_a_cancelled_answer_frees_its_slot_at_the_next_token(bed: Bed, engine: LlamaCpp) -> None:
    chunks = engine.generate(bed.chat(LONG, sampling=Sampling(max_tokens=900)))
    await anext(chunks)
    await chunks.aclose()
    assert await settled(engine) < 1


async def test_a_prompt_being_read_is_cancelled_between_batches(bed: Bed, engine: LlamaCpp) -> None:
    request = bed.chat("word " * 900, sampling=bed.greedy(max_tokens=1))
    task = asyncio.create_task(bed.ask(request))
    await asyncio.sleep(0.1)
    task.cancel()
    await settled(engine)
    usage = (await bed.ask(request)).usage
    assert task.cancelled()
    assert usage.cached_tokens < usage.input_tokens - 256  # it had not been read to its end


async def test_tools_with_a_schema_answer_under_the_schema(bed: Bed) -> None:
    request = bed.chat("Describe red.", tools=(CLOCK,), schema=SCHEMA, sampling=bed.greedy(max_tokens=200))
    answer = await bed.ask(request)
    if answer.tool_calls:  # its choice; what it says instead must fit
        assert answer.tool_calls[0].name == "clock"
    else:
        Draft202012Validator(SCHEMA).validate(codec.loads(answer.text))


async def test_parameters_with_references_keep_their_meaning(bed: Bed) -> None:
    place = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
    parameters = {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/at"}},
        "required": ["at"],
        "$defs": {"at": place},
    }
    tool = ToolSpec("weather", "The weather.", {**parameters, "additionalProperties": False})
    sampling = bed.greedy(max_tokens=100)
    answer = await bed.ask(bed.chat("Rome?", tools=(tool,), tool_choice="required", sampling=sampling))
    assert answer.tool_calls[0].arguments["at"]["city"] in ("Oslo", "Rome")


@pytest.mark.parametrize("schema", [{"type": "no such type"}, {"$ref": "#/nowhere"}])
async def test_a_schema_that_cannot_be_followed_is_refused(bed: Bed, schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="schema") as caught:
        await bed.ask(bed.chat(SHORT, schema=schema))
    assert caught.value.facts["parameter"].startswith("schema.")
    assert bed.engine.health() is None


@examples(6)
@given(schema=SCHEMAS_DRAWN)
async def test_any_schema_of_a_tool_is_kept_or_named(bed: Bed, schema: Any) -> None:
    await kept_or_named(bed, schema)


@examples(6)
@given(schema=SCHEMAS_DRAWN)
async def test_any_schema_of_an_answer_is_kept_or_refused(bed: Bed, schema: Any) -> None:
    await kept_or_refused(bed, schema)


async def test_embeddings_are_near_for_near_texts(bed: Bed) -> None:
    texts = ("The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "Stock markets fell sharply today.")
    cat, kitten, market = (await bed.engine.embed(EmbedRequest("tiny", texts))).vectors
    assert abs(dot(cat, cat) - 1) < 1e-6
    assert dot(cat, kitten) > dot(cat, market)


async def test_a_text_too_long_to_embed_is_refused(bed: Bed) -> None:
    with pytest.raises(InvalidRequest):
        await bed.engine.embed(EmbedRequest("tiny", ("word " * 1100,)))


async def test_a_page_that_does_not_come_in_time_is_the_engines_failure(
    engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def late(*_: Any) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr(engine.server, "post", late)
    for work in (engine.save, engine.restore):
        with pytest.raises(EngineFailed, match=r"did not \w+ a page: timed out"):
            await work(0, tmp_path / "page")


def dot(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


async def test_a_closed_engine_says_so_and_ends_its_streams(tiny_model: Path) -> None:
    engine = await open_engine(spec(tiny_model))
    request = GenerateRequest("tiny", messages=(Message("user", "word " * 900),))
    task = asyncio.create_task(collect(engine.generate(request)))
    await asyncio.sleep(0.1)
    await engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await task
    assert engine.health() == "closed"
    with pytest.raises(EngineUnavailable, match="closed"):
        await collect(engine.generate(request))


async def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.gguf"):
        await open_engine(spec(tmp_path / "none.gguf"))
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(EngineFailed, match="damaged"):
        await open_engine(spec(damaged))


async def test_an_answer_that_nobody_bounded_ends_by_the_model_s_own_length(tiny_model: Path) -> None:
    endless = GenerateRequest("tiny", prompt="1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", sampling=Sampling(temperature=0.0))
    short = await open_engine(spec(tiny_model, options={"answer": 20}))
    try:
        answer = await collect(short.generate(endless))
        longer = await collect(short.generate(replace(endless, sampling=Sampling(temperature=0.0, max_tokens=30))))
    finally:
        await short.close()
    assert (answer.finish, answer.usage.output_tokens) == ("length", 20)
    assert (longer.finish, longer.usage.output_tokens) == ("length", 30)


async def test_options_that_cannot_be_used_are_refused_by_name(tiny_model: Path) -> None:
    with pytest.raises(InvalidRequest, match="did you mean 'slots'"):
        await open_engine(spec(tiny_model, options={"slot": 2}))
    with pytest.raises(InvalidRequest, match="slots"):
        await open_engine(spec(tiny_model, options={"slots": 0}))
    with pytest.raises(NotFound, match="french"):
        await open_engine(spec(tiny_model, options={"adapters": {"french": "nowhere.gguf"}}))


async def test_an_engine_serves_from_any_event_loop(tiny_model: Path) -> None:
    engine = await open_engine(spec(tiny_model))
    request = GenerateRequest("tiny", messages=(Message("user", SHORT),), sampling=Sampling(max_tokens=4))
    assert (await collect(engine.generate(request))).text
    assert (await asyncio.to_thread(asyncio.run, collect(engine.generate(request)))).text
    await engine.close()
