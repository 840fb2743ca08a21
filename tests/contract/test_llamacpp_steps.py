"""llama.cpp driven token by token, and the strategies on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Decoding, GenerateRequest, Generation, Message, ModelSpec, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.llm.decoding import decoded
from llmagent_os.llm.llamacpp import LlamaCpp, open_engine

pytestmark = pytest.mark.model

FRANCE = (Message("user", "What is the capital of France?"),)
CHINESE = (Message("user", "Say hi in Chinese."),)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[LlamaCpp]:
    opened = asyncio.run(open_engine(ModelSpec("tiny", "llamacpp", str(tiny_model), window=512, options={"slots": 4})))
    yield opened
    asyncio.run(opened.close())


async def ask(engine: LlamaCpp, messages: tuple[Message, ...], decoding: Any = None, **sampling: Any) -> Generation:
    return await collect(
        decoded(GenerateRequest("tiny", messages, sampling=Sampling(**sampling), decoding=decoding), engine)
    )


async def test_a_step_gives_the_models_own_probabilities(engine: LlamaCpp) -> None:
    answer = await ask(engine, FRANCE, max_tokens=1, temperature=0.0, top_logprobs=8)
    context = await engine.encode(GenerateRequest("tiny", FRANCE))
    async with engine.lease(2) as slots:
        rows = await engine.step([context, context], slots, 8)
    for row in rows:
        texts = [await engine.decode([token]) for token, _ in row]
        assert texts == [text for text, _ in answer.logprobs[0].top]
        assert [value for _, value in row] == pytest.approx([value for _, value in answer.logprobs[0].top], abs=1e-2)


async def test_a_step_reads_on_where_the_likeliest_token_is_no_whole_character(engine: LlamaCpp) -> None:
    context = await engine.encode(GenerateRequest("tiny", CHINESE))
    async with engine.lease(1) as slots:
        for _ in range(3):
            ((best, *_),) = await engine.step([context], slots, 3)
            context.append(best[0])
    assert "\ufffd" not in await engine.decode(context[-3:])


async def test_tokens_that_end_an_answer_have_no_text(engine: LlamaCpp) -> None:
    assert engine.ends()
    assert await engine.decode([*engine.ends()]) == ""
    with pytest.raises(InvalidRequest, match="4 slots"):
        async with engine.lease(5):
            pass


async def test_a_beam_finds_a_likelier_answer_than_greedy(engine: LlamaCpp) -> None:
    found, greedy = [
        await ask(engine, FRANCE, Decoding("beam", width=width, length_penalty=0.0), max_tokens=16) for width in (4, 1)
    ]
    assert found.alternatives[0].score > greedy.alternatives[0].score


async def test_a_banned_word_is_gone_and_the_answer_goes_on(engine: LlamaCpp) -> None:
    free = await ask(engine, FRANCE, max_tokens=20, temperature=0.0)
    word = next(word for word in free.text.split() if word.isalpha() and len(word) > 3)
    bound = await ask(engine, FRANCE, Decoding(banned=(word,)), max_tokens=20, temperature=0.0)
    assert word.casefold() not in bound.text.casefold().split()
    assert len(bound.text) > 10 and bound.usage.output_tokens > 20


BY_TURNS = (
    b"{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) or m.content == 'never' %}"
    b"{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
)


@pytest.fixture
def strict(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with a template that takes users and assistants by turns, as many models have it."""
    data, name = tiny_model.read_bytes(), b"tokenizer.chat_template"
    begin = data.index(name) + len(name) + 12  # after its type and length
    length = int.from_bytes(data[begin - 8 : begin], "little")
    path = tmp_path / "strict.gguf"
    path.write_bytes(data[:begin] + BY_TURNS.ljust(length) + data[begin + length :])
    return path


async def test_a_template_that_wants_turns_gets_them_or_says_why_not(strict: Path) -> None:
    engine = await open_engine(ModelSpec("strict", "llamacpp", str(strict), window=512, options={"slots": 1}))

    async def prompt(*messages: Message) -> str:
        return (await engine.decode(await engine.encode(GenerateRequest("strict", messages)))).strip()

    hi, hello, result = Message("user", "hi"), Message("assistant", "hello"), Message("tool", "3", tool_call_id="c")
    try:
        assert await prompt(hi, hello, hi) == "[user]hi[assistant]hello[user]hi"
        assert await prompt(hi, hello, result, hi) == "[user]hi[assistant]hello[user]Result of the tool: 3\n\nhi"
        assert await prompt(hello, hi) == "[user][assistant]hello[user]hi"
        with pytest.raises(InvalidRequest, match="refuses the messages: roles must alternate") as caught:
            await prompt(Message("user", "never"))
        assert caught.value.facts["parameter"] == "messages"
    finally:
        await engine.close()
