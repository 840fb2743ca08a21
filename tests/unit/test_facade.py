"""`LLM` over the scripted engine: blocking and awaited, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmagent_os.core.errors import InvalidRequest, NotFound
from llmagent_os.llm.facade import LLM

RULES = [{"match": "slow", "text": "word " * 400, "pace": 0.01}, {"match": "tool", "calls": [{"name": "add"}]}]


@pytest.fixture
def llm() -> Iterator[LLM]:
    with LLM.from_pretrained("s", engine="scripted", rules=[*RULES, {"text": "one two three"}]) as llm:
        yield llm


def test_a_text_is_answered(llm: LLM):
    answer = llm.generate("hello", max_tokens=100)
    assert (answer.text, answer.finish, answer.model, answer.engine) == ("one two three", "stop", "s", "scripted")


def test_messages_tools_and_choices_may_be_plain_data(llm: LLM):
    assert llm.generate([{"role": "user", "content": "hi"}], choices=["no", "yes"]).text in ("no", "yes")
    answer = llm.generate("tool", tools=[{"name": "add", "description": "Add."}], tool_choice="required")
    assert [call.name for call in answer.tool_calls] == ["add"]
    assert llm.generate("hi", stop="two").text.strip() == "one"


def test_a_stream_is_its_text_and_can_be_left(llm: LLM):
    assert "".join(llm.stream("hello")) == "one two three"
    stream = llm.stream("slow")
    assert next(stream)
    stream.close()
    assert llm.generate("hello").text


async def test_the_awaited_methods_do_the_same(llm: LLM):
    assert (await llm.agenerate("hello")).text == "one two three"
    assert "".join([piece async for piece in llm.astream("hello")]) == "one two three"


def test_texts_are_embedded(llm: LLM):
    first, second = llm.embed(["red", "blue"])
    assert len(first) == len(second) and first != second


def test_an_unknown_keyword_is_refused_with_the_nearest(llm: LLM):
    with pytest.raises(InvalidRequest, match="did you mean 'temperature'") as caught:
        llm.generate("hello", temprature=1)
    assert caught.value.facts["parameter"] == "temprature"


def test_an_unknown_model_is_refused_with_the_nearest(models_folder: Path):
    with pytest.raises(NotFound, match="did you mean 'small'"):
        LLM.from_pretrained("smal")


@pytest.mark.model
def test_a_gguf_file_is_opened_by_its_path(tiny_model: Path):
    with LLM.from_pretrained(str(tiny_model), slots=1, window=256) as llm:
        assert llm.engine.info.window == 256
        assert llm.generate("The sky is", max_tokens=4).usage.output_tokens <= 4


@pytest.mark.torch
def test_a_folder_is_opened_by_its_path(tmp_path: Path):
    from tests.stand_ins.tiny_torch import save_pair  # noqa: PLC0415 - needs torch

    with LLM.from_pretrained(str(save_pair(tmp_path))) as llm:
        assert llm.generate("hello", choices=["a", "b"]).text in ("a", "b")
