"""The engine contract on a `transformers` model, and what that engine adds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from llmagent_os.core.errors import EngineFailed, EngineUnavailable, InvalidRequest, NotFound
from llmagent_os.core.records import EmbedRequest, GenerateRequest, Message, ModelSpec, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.llm.transformers import TransformersEngine, open_engine
from tests.contract.engine_suite import *  # noqa: F403
from tests.contract.engine_suite import LONG, SHORT, Bed
from tests.stand_ins.tiny_torch import CHAT, END, save_pair

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", params=[None, CHAT], ids=["plain", "chat"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pair(tmp_path_factory.mktemp("pair"), request.param)


def spec(folder: Path, **fields: Any) -> ModelSpec:
    return ModelSpec("pair", "transformers", str(folder), **fields)


@pytest.fixture
async def bed(folder: Path) -> Bed:
    return Bed(await open_engine(spec(folder)), overlong="word " * 2100)


VARIANTS = [
    {"temperature": 0.01},
    {"top_k": 2},
    {"top_p": 0.05},
    {"min_p": 0.999},
    {"typical_p": 0.05},
    {"repetition_penalty": 50.0},
    {"presence_penalty": 90.0},
    {"frequency_penalty": 90.0},
    {"seed": 4},
    {"logit_bias": {"40": 90.0}},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: next(iter(variant)))
async def test_every_parameter_changes_what_is_drawn(bed: Bed, variant: dict[str, Any]) -> None:
    """The weights are random, so the plain distribution is nearly flat and each of these bends it."""
    plain = {"max_tokens": 40, "temperature": 1.0, "seed": 3}
    before, again, after = [
        (await bed.ask(bed.chat(SHORT, sampling=Sampling(**{**plain, **change})))).text for change in ({}, {}, variant)
    ]
    assert before == again != after


async def test_penalties_forbid_what_was_drawn(bed: Bed) -> None:
    sampling = Sampling(max_tokens=60, temperature=0, presence_penalty=1000.0, top_logprobs=0)
    rows = (await bed.ask(bed.chat(SHORT, sampling=sampling))).logprobs
    tokens = [row.token for row in rows if "\ufffd" not in row.token]
    assert len(tokens) == len(set(tokens)) > 10


async def test_a_seed_leaves_the_callers_random_numbers_alone(bed: Bed) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    await bed.ask(bed.chat(SHORT, sampling=Sampling(max_tokens=3, seed=9)))
    assert torch.equal(torch.rand(1), expected)


async def test_an_unseeded_draw_differs_from_the_last(bed: Bed) -> None:
    texts = {(await bed.ask(bed.chat(SHORT, sampling=Sampling(max_tokens=30, temperature=1.0)))).text for _ in range(3)}
    assert len(texts) > 1


@pytest.mark.parametrize("top", [0, 3])
async def test_log_probabilities_have_shape_and_sign(bed: Bed, top: int) -> None:
    """In place of the suite's: the tokens of random weights are seldom whole characters."""
    answer = await bed.ask(bed.chat(SHORT, sampling=bed.greedy(top_logprobs=top)))
    assert len(answer.logprobs) == answer.usage.output_tokens
    for row in answer.logprobs:
        values = [value for _, value in row.top]
        assert row.logprob <= 0 and len(values) == top and values == sorted(values, reverse=True)
        assert not values or values[0] == row.logprob  # greedy


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 3.0}, {"repetition_penalty": -1.0}, {"logit_bias": {"99999": 1.0}}]
)
async def test_values_that_mean_nothing_are_refused(bed: Bed, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        await bed.ask(bed.chat(SHORT, sampling=Sampling(max_tokens=2, **wrong)))
    assert bed.engine.health() is None


async def test_the_chat_template_is_used_where_there_is_one(bed: Bed, folder: Path) -> None:
    engine = bed.engine
    assert isinstance(engine, TransformersEngine)
    with_end = "chat_template" in str(list(folder.iterdir()))
    ends = engine._tokens(bed.chat(SHORT)).count(engine._tokenizer.convert_tokens_to_ids(END))
    assert ends == (1 if with_end else 0)


async def test_vectors_have_length_one(bed: Bed) -> None:
    (vector,) = (await bed.engine.embed(EmbedRequest("pair", ("a lazy dog",)))).vectors
    assert abs(sum(x * x for x in vector) - 1) < 1e-5


async def test_an_answer_fills_the_window_at_most(folder: Path) -> None:
    engine = await open_engine(spec(folder, window=64))
    request = GenerateRequest("pair", prompt="the lazy dog", sampling=Sampling(temperature=0, logit_bias={"0": -100.0}))
    usage = (await collect(engine.generate(request))).usage
    assert usage.input_tokens + usage.output_tokens == 64


async def test_closing_ends_a_running_answer(folder: Path) -> None:
    engine = await open_engine(spec(folder))
    sampling = Sampling(logit_bias={"0": -100.0}, temperature=0)
    request = GenerateRequest("pair", messages=(Message("user", LONG),), sampling=sampling)
    task = asyncio.create_task(collect(engine.generate(request)))
    await asyncio.sleep(0.2)
    await engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await task
    assert engine.health() == "closed"


async def test_a_folder_that_is_missing_or_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await open_engine(spec(tmp_path / "nowhere"))
    with pytest.raises(EngineFailed, match="cannot load"):
        await open_engine(spec(tmp_path))
