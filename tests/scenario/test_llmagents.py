"""The second import name, as its users write it: a model from a local folder becomes an agent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmagent_os import LLMAgentOS
from llmagent_os.core.errors import InvalidRequest
from llmagents import LLMAgent, PromptTemplate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.stand_ins.tiny_torch import save_pair  # noqa: PLC0415 - needs torch

    return save_pair(tmp_path_factory.mktemp("model"))


@pytest.fixture
def agent(folder: Path) -> LLMAgent:
    transformers = pytest.importorskip("transformers")
    return LLMAgent(
        model=transformers.AutoModelForCausalLM.from_pretrained(folder),
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        prompt_template=PromptTemplate(input_variables=["input"], template="Answer briefly: {input}"),
    )


@pytest.mark.torch
def test_an_agent_answers_as_the_model_does(agent: LLMAgent, folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    answer = agent.generate("the quick brown fox", max_tokens=12, temperature=0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer("Answer briefly: the quick brown fox", return_tensors="pt")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokens = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert answer == tokenizer.decode(tokens, skip_special_tokens=True).replace("\ufffd", "") != ""


@pytest.mark.torch
def test_an_agent_answers_under_constraints(agent: LLMAgent) -> None:
    assert agent.generate("is it warm?", choices=["yes", "no"]) in ("yes", "no")
    with pytest.raises(InvalidRequest, match="did you mean 'max_tokens'"):
        agent.generate("x", max_token=1)


@pytest.mark.torch
def test_the_same_agent_runs_as_a_process(agent: LLMAgent) -> None:
    with LLMAgentOS() as system:
        system.add("mine", agent, sampling={"max_tokens": 12, "temperature": 0})
        answer = system.ask("mine", "the quick brown fox", timeout=60)
    assert answer == agent.generate("the quick brown fox", max_tokens=12, temperature=0).strip() != ""


@pytest.mark.torch
def test_a_template_of_another_shape_is_refused() -> None:
    template = PromptTemplate(input_variables=["a", "b"], template="{a} {b}")
    with pytest.raises(InvalidRequest, match="a, b"):
        LLMAgent(model=None, tokenizer=None, prompt_template=template)


@pytest.mark.parametrize(
    ("variables", "template", "blamed"),
    [
        (["input"], "{inptu}", "inptu"),
        (["input", "other"], "{input}", "other"),
        (["input"], "{input} {", "brace"),
        (["input"], "{input:>99999999999}", "99999999999"),
        (["input"], "{input:{width}}", "width"),
        (["input"], "{input!z}", "!z"),
        (["input"], "{input.x}", "x"),
        (["input"], "{0}", "0"),
    ],
)
def test_a_template_names_the_variable_to_blame(variables: list[str], template: str, blamed: str) -> None:
    with pytest.raises(InvalidRequest, match=blamed):
        PromptTemplate(input_variables=variables, template=template)


def test_a_call_names_the_variable_to_blame() -> None:
    template = PromptTemplate(input_variables=["input"], template="{{literal}} {input}")
    assert template.format(input="x{y}") == "{literal} x{y}"
    with pytest.raises(InvalidRequest, match="'input' is missing"):
        template.format()
    with pytest.raises(InvalidRequest, match=r"no variable 'inputs'.*'input'"):
        template.format(input="x", inputs="y")


def test_importing_the_name_loads_no_model_library() -> None:
    code = "import sys, llmagents; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'xllamacpp')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
