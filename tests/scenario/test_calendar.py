"""The calendar agent of `examples/`: it uses every name of the reference documents, is tuned, and talks over a pipe."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.agent import Agent
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.modules import BehaviorModule, InteractionModule
from tests.stand_ins.examples import FOLDER


class Echo:
    """A model that says what it was asked."""

    def generate(self, messages: list[dict[str, str]], **options: Any) -> Any:
        return type("Said", (), {"text": f" {messages[0]['content'].splitlines()[-1]} <- {messages[-1]['content']} "})


class Known:
    """Knows one thing."""

    def retrieve_knowledge(self, text: str) -> list[dict[str, str]]:
        return [{"text": "Friday: swimming"}]


def test_an_agent_answers_line_by_line_from_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent(Echo(), Known(), BehaviorModule(), InteractionModule())
    agent.run(["  what is\ton Friday? ", "", "\x1b[2J"])
    assert capsys.readouterr().out == "- Friday: swimming <- what is on Friday?\n- Friday: swimming <- \\u001b[2J\n"


def test_what_is_missing_or_unknown_is_said() -> None:
    with pytest.raises(InvalidRequest, match=r"no `llm`: set self\.llm"):
        Agent(interaction=InteractionModule()).respond("hello")
    with pytest.raises(InvalidRequest, match=r"set self\.interaction"):
        Agent().run(["hello"])
    with pytest.raises(InvalidRequest, match="task_oriented"):
        BehaviorModule("task_orientated")
    with pytest.raises(InvalidRequest, match="there is: text"):
        InteractionModule("voice")


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_calendar_agent_is_tuned_and_talks_over_a_pipe(tiny_model: Path, tmp_path: Path) -> None:
    program = [sys.executable, FOLDER / "calendar_agent.py", "--model", tmp_path / "tuned"]
    done = subprocess.run(
        [*program, "--steps", "12"], input="what is on tuesday?\n\n", capture_output=True, text=True, check=True
    )
    losses = [float(line.split(": ")[1]) for line in done.stderr.splitlines() if line.startswith("step ")]
    assert len(losses) == 12 and losses[-1] < losses[0] / 2
    assert " | " in done.stdout  # the form is what it was tuned for, and what the model never says by itself
