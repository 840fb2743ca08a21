"""Beam search token by token against the beams of `transformers`: equal models, equal answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("gguf")
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from llmagent_os.core.records import Decoding, GenerateRequest, ModelSpec, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.llm.decoding import decoded
from llmagent_os.llm.decoding.beam import Driver
from llmagent_os.llm.llamacpp import open_engine as open_llamacpp
from llmagent_os.llm.transformers import open_engine as open_transformers
from tests.stand_ins.tiny_gguf import save_gguf
from tests.stand_ins.tiny_torch import save_pair

pytestmark = pytest.mark.torch

PROMPTS = ["the quick brown", "fox jumps over", "the lazy dog jumps", '{"city": "Oslo"', "the fox"]
MOST = 12
NEAR = 1e-2  # natural logarithms, over a whole answer: llama.cpp keeps its cache in half precision


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model made sharper and readier to end, so that searches end in every way."""
    folder = save_pair(tmp_path_factory.mktemp("beams"))
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight.mul_(8.0)
        model.lm_head.weight[model.config.eos_token_id].mul_(2.0)
    model.save_pretrained(folder)
    save_gguf(folder)
    return folder


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return LlamaForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", params=["llamacpp", "transformers"])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    source = {"llamacpp": folder / "tiny.gguf", "transformers": folder}[request.param]
    options = {"slots": 4, "threads": 1} if request.param == "llamacpp" else {}
    spec = ModelSpec("pair", request.param, str(source), window=256, options=options)
    opened = asyncio.run({"llamacpp": open_llamacpp, "transformers": open_transformers}[request.param](spec))
    yield opened
    asyncio.run(opened.close())


@pytest.mark.parametrize(("early", "penalty"), list(product([True, False, "never"], [0.0, 1.0, 2.0])))
async def test_the_beams_are_those_of_transformers(engine: Any, reference: Any, early: Any, penalty: float) -> None:
    model, tokenizer = reference
    decoding = Decoding("beam", width=4, n=4, length_penalty=penalty, early_stopping=early)
    for text in PROMPTS:
        request = GenerateRequest("pair", prompt=text, sampling=Sampling(max_tokens=MOST), decoding=decoding)
        driver = Driver(request, decoding, engine, engine)
        found = await driver.run()
        expected = beams(model, tokenizer(text)["input_ids"], length_penalty=penalty, early_stopping=early)
        assert [list(each.tokens) for each in found] == [tokens for tokens, _ in expected]
        assert [driver.search.score(each) for each in found] == pytest.approx(
            [score for _, score in expected], abs=NEAR
        )


def beams(model: Any, prompt: list[int], **settings: Any) -> list[tuple[list[int], float]]:
    """The four best as `generate` gives them: tokens without the padding after an end, and score."""
    end = model.config.eos_token_id
    answer = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), num_beams=4,
        num_return_sequences=4, max_new_tokens=MOST, do_sample=False, pad_token_id=end, return_dict_in_generate=True,
        output_scores=True, **settings,
    )  # fmt: skip
    rows = [row[len(prompt) :].tolist() for row in answer.sequences]
    cut = [row[: row.index(end) + 1] if end in row else row for row in rows]
    return list(zip(cut, answer.sequences_scores.tolist(), strict=True))


async def test_native_beams_and_ours_say_the_same(folder: Path) -> None:
    engine = await open_transformers(ModelSpec("pair", "transformers", str(folder)))
    request = GenerateRequest(
        "pair", prompt=PROMPTS[0], sampling=Sampling(max_tokens=MOST), decoding=Decoding("beam", n=4)
    )
    native = await collect(decoded(request, engine))
    engine.info = replace(engine.info, abilities=engine.info.abilities - {"beams"})
    ours = await collect(decoded(request, engine))
    assert ours.text == native.text
    assert [each.score for each in ours.alternatives] == pytest.approx(
        [each.score for each in native.alternatives], abs=NEAR
    )
    await engine.close()
