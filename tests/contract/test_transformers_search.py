"""What else a `transformers` model can do: beams, going on from what was said, steps, and explanations."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest, Unsupported
from llmagent_os.core.ports import Stepper
from llmagent_os.core.records import Decoding, GenerateRequest, Generation, Message, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.llm.transformers import TransformersEngine
from tests.contract.engine_suite import SCHEMA, WEATHER
from tests.stand_ins.tiny_torch import save_pair

pytestmark = pytest.mark.torch

PROMPTS = ["the quick brown fox", "Grüße, 世界", '{"city": "Os', "dog dog dog", "jumps"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A model whose end token is likely enough to come up in a search."""
    folder = save_pair(tmp_path_factory.mktemp("pair"))
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(8)  # random weights say next to nothing about the next token
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def engine(pair: tuple[Any, Any]) -> TransformersEngine:
    return TransformersEngine(*pair)


def request(prompt: str = PROMPTS[0], **fields: Any) -> GenerateRequest:
    sampling = fields.pop("sampling", Sampling(temperature=0, max_tokens=fields.pop("max_tokens", 12)))
    decoding = Decoding(**fields.pop("decoding")) if "decoding" in fields else None
    return GenerateRequest("pair", prompt=prompt, sampling=sampling, decoding=decoding, **fields)


async def ask(engine: TransformersEngine, asked: GenerateRequest) -> Generation:
    return await collect(engine.generate(asked))


CASES = list(itertools.product(PROMPTS, [2, 4], [0.0, 1.0, 2.0], [True, False, "never"]))


@pytest.mark.parametrize(("prompt", "width", "penalty", "early"), CASES)
async def test_beams_are_those_of_transformers(
    engine: TransformersEngine, pair: tuple[Any, Any], prompt: str, width: int, penalty: float, early: Any
) -> None:
    model, tokenizer = pair
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    expected = model.generate(
        **inputs, num_beams=width, num_return_sequences=width, length_penalty=penalty, early_stopping=early,
        max_new_tokens=12, do_sample=False, pad_token_id=0, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    decoding = {"strategy": "beam", "width": width, "n": width, "length_penalty": penalty, "early_stopping": early}
    answer = await ask(engine, request(prompt, decoding=decoding))
    rows = expected.sequences[:, inputs["input_ids"].shape[1] :].tolist()
    texts = [tokenizer.decode(row, skip_special_tokens=True).replace("\ufffd", "") for row in rows]
    assert [each.text for each in answer.alternatives] == texts
    assert [each.score for each in answer.alternatives] == expected.sequences_scores.tolist()
    assert answer.text == texts[0]


async def test_one_beam_is_greedy_and_one_answer_has_no_alternatives(engine: TransformersEngine) -> None:
    beam = await ask(engine, request(decoding={"strategy": "beam", "width": 1}))
    assert beam.text == (await ask(engine, request())).text and beam.alternatives == ()


async def test_beams_keep_to_biases_penalties_and_stop_texts(engine: TransformersEngine) -> None:
    decoding = {"strategy": "beam", "width": 3, "n": 3}
    plain = await ask(engine, request(decoding=decoding))
    stop = plain.text[2:4]
    ended = await ask(engine, request(decoding=decoding, sampling=Sampling(max_tokens=12, stop=(stop,))))
    assert all(stop not in each.text for each in ended.alternatives)
    once = Sampling(max_tokens=12, presence_penalty=1000.0, logit_bias={"0": -1000.0})
    for each in (await ask(engine, request(decoding=decoding, sampling=once))).alternatives:
        ids = await engine.encode(request(each.text))
        assert len(set(ids)) == len(ids) or "\ufffd" in each.text


REFUSED = [
    ("schema", {"schema": SCHEMA}),
    ("choices", {"choices": ("yes", "no")}),
    ("tools", {"tools": (WEATHER,), "prompt": None, "messages": (Message("user", "hello"),)}),
    ("temperature", {"sampling": Sampling(temperature=0.5)}),
    ("top_k", {"sampling": Sampling(top_k=3)}),
    ("top_logprobs", {"sampling": Sampling(top_logprobs=1)}),
]


@pytest.mark.parametrize(("name", "fields"), REFUSED)
async def test_beams_refuse_what_they_cannot_honour(
    engine: TransformersEngine, name: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(Unsupported, match=name):
        await ask(engine, replace(request(decoding={"strategy": "beam"}), **fields))


async def test_more_answers_than_beams_are_refused(engine: TransformersEngine) -> None:
    with pytest.raises(InvalidRequest, match="num_return_sequences"):
        await ask(engine, request(decoding={"strategy": "beam", "width": 2, "n": 3}))


async def test_a_search_ends_soon_when_nobody_wants_it(engine: TransformersEngine) -> None:
    endless = Sampling(max_tokens=1500, logit_bias={"0": -1000.0})
    task = asyncio.create_task(ask(engine, request(decoding={"strategy": "beam"}, sampling=endless)))
    await asyncio.sleep(0.2)
    start = time.monotonic()
    task.cancel()
    await asyncio.wait([task])
    await ask(engine, request())
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("penalty", [None, 0.5])
async def test_an_answer_goes_on_from_what_was_said(
    engine: TransformersEngine, pair: tuple[Any, Any], prompt: str, penalty: float | None
) -> None:
    """Cut wherever the text so far is read as the tokens that were drawn; parts of characters never are."""
    tokenizer = pair[1]
    texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    bias = {str(token): -1000.0 for token, text in enumerate(texts) if "\ufffd" in text or token == 0}
    sampling = Sampling(temperature=0, max_tokens=16, presence_penalty=penalty, logit_bias=bias, top_logprobs=0)
    whole = await ask(engine, request(prompt, sampling=sampling))
    drawn = [row.token for row in whole.logprobs]
    cuts = 0
    for count in range(1, 16):
        said = "".join(drawn[:count])
        if [texts[token] for token in tokenizer(said)["input_ids"]] == drawn[:count]:
            left = replace(sampling, max_tokens=16 - count)
            assert said + (await ask(engine, request(prompt, sampling=left, said=said))).text == whole.text
            cuts += 1
    assert cuts > 0


async def test_a_constraint_holds_across_what_was_said(engine: TransformersEngine) -> None:
    assert (await ask(engine, request(said="ye", choices=("yes", "no")))).text == "s"
    with pytest.raises(InvalidRequest, match="said"):
        await ask(engine, request(said="may", choices=("yes", "no")))


async def test_steps_give_the_models_own_probabilities(engine: TransformersEngine, pair: tuple[Any, Any]) -> None:
    assert isinstance(engine, Stepper)
    contexts = [await engine.encode(request(prompt)) for prompt in PROMPTS]
    async with engine.lease(len(contexts)) as slots:
        rows = await engine.step(contexts, slots, 5)
    for context, row in zip(contexts, rows, strict=True):
        logits = pair[0](torch.tensor([context])).logits[0, -1]
        best = torch.log_softmax(logits, dim=-1).topk(5)
        assert [token for token, _ in row] == best.indices.tolist()
        assert [value for _, value in row] == pytest.approx(best.values.tolist(), abs=1e-4)


async def test_steps_read_what_was_said_and_ends_have_no_text(engine: TransformersEngine) -> None:
    prompt, both = await engine.encode(request()), await engine.encode(request(said=" jumps"))
    assert both[: len(prompt)] == prompt and await engine.decode(both[len(prompt) :]) == " jumps"
    (end,) = engine.ends()
    assert await engine.decode([end]) == ""


def maps(data: str, *shape: int) -> Any:
    """Weights out of their bytes, as `llm.explain` documents them."""
    return (torch.frombuffer(bytearray(base64.b64decode(data)), dtype=torch.uint8).reshape(shape) / 255.0) ** 2


@pytest.mark.parametrize("strategy", [None, "beam"])
async def test_an_explanation_has_maps_and_attributions(
    engine: TransformersEngine, pair: tuple[Any, Any], strategy: str | None
) -> None:
    answer = await ask(engine, request(decoding={"strategy": strategy, "explain": True}, max_tokens=6))
    told = answer.explanation
    assert told is not None and codec.loads(codec.dumps(told)) == told
    size, prompt = len(told["tokens"]), told["prompt_tokens"]
    assert prompt == answer.usage.input_tokens and (told["layers"], told["heads"]) == (2, 4)
    assert "".join(told["tokens"][:prompt]) == PROMPTS[0]
    for weights in (maps(told["attention"], 2, 4, size, size), maps(told["rollout"], size, size)):
        assert torch.allclose(weights.sum(dim=-1), torch.ones(()), atol=size**0.5 / 255)
        assert not weights.triu(1).any()
    rows = told["attribution"]
    assert [len(row) for row in rows] == list(range(prompt, size))
    assert all(sum(map(abs, row)) == pytest.approx(1, abs=1e-5) for row in rows)
    assert pair[0].config._attn_implementation == "sdpa"


async def test_the_maps_are_the_models_own(engine: TransformersEngine, pair: tuple[Any, Any]) -> None:
    told = (await ask(engine, request(decoding={"explain": True}, max_tokens=2))).explanation
    assert told is not None
    model, tokenizer = pair
    tokens = torch.tensor([tokenizer(PROMPTS[0])["input_ids"]])
    model.set_attn_implementation("eager")
    expected = torch.cat(model(tokens, output_attentions=True).attentions)
    model.set_attn_implementation("sdpa")
    size = len(told["tokens"])
    length = tokens.shape[1]
    found = maps(told["attention"], 2, 4, size, size)[..., :length, :length]
    assert torch.allclose(found, expected, atol=1 / 255)


async def test_attribution_is_the_gradient_times_the_input(engine: TransformersEngine, pair: tuple[Any, Any]) -> None:
    """Against differences: moving one token's vector a little along itself changes the score by its share."""
    told = (await ask(engine, request(decoding={"explain": True}, max_tokens=1))).explanation
    assert told is not None
    (row,) = told["attribution"]
    model, tokenizer = pair
    tokens = torch.tensor([tokenizer(PROMPTS[0])["input_ids"]])
    model = model.double()
    with torch.no_grad():
        inputs = model.get_input_embeddings()(tokens)
        best = int(model(inputs_embeds=inputs).logits[0, -1].argmax())
        changes = []
        for place, sign in itertools.product(range(len(row)), (1e-4, -1e-4)):
            moved = inputs.clone()
            moved[0, place] *= 1 + sign
            changes.append(model(inputs_embeds=moved).logits[0, -1, best])
    model.float()
    slopes = torch.stack([changes[at] - changes[at + 1] for at in range(0, len(changes), 2)])
    assert row == pytest.approx((slopes / slopes.abs().sum()).tolist(), abs=1e-3)


async def test_what_is_too_long_to_explain_is_refused_with_what_to_do(engine: TransformersEngine) -> None:
    with pytest.raises(InvalidRequest, match=r"at most 512 tokens.*shorten"):
        await ask(engine, request("dog " * 600, decoding={"explain": True}))
    with pytest.raises(InvalidRequest, match="lower max_tokens"):
        await ask(engine, request(decoding={"explain": True}, max_tokens=600))
    sampling = Sampling(temperature=0, logit_bias={"0": -1000.0})
    filled = await ask(engine, request("dog " * 220, decoding={"explain": True}, sampling=sampling))
    assert filled.usage.input_tokens + filled.usage.output_tokens == 512 and filled.finish == "length"


async def test_an_explanation_ends_soon_when_nobody_wants_it(engine: TransformersEngine) -> None:
    long = request(
        "dog " * 50, decoding={"explain": True}, sampling=Sampling(logit_bias={"0": -1000.0}, max_tokens=400)
    )
    chunks = engine.generate(long)
    for _ in range(405):  # 400 tokens, and a few steps of the explanation
        await anext(chunks)
    start = time.monotonic()
    await chunks.aclose()  # type: ignore[attr-defined]
    await ask(engine, request())
    assert time.monotonic() - start < 3
