"""`Agent`: a program of its own made of a model, what is known, how it behaves, and how it is talked to."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from ..core.errors import InvalidRequest


class Agent:
    """To subclass: set `llm`, `kb`, `behavior` and `interaction`, replace what should be otherwise, and `run()`.

    They are an `LLM` and a `KnowledgeBase`, `BehaviorModule` and `InteractionModule` of `llmagent_os.modules`, or
    anything with the same methods; one without `kb` knows nothing beside its model.
    """

    llm: Any = None
    kb: Any = None
    behavior: Any = None
    interaction: Any = None

    def __init__(self, llm: Any = None, kb: Any = None, behavior: Any = None, interaction: Any = None) -> None:
        given = {"llm": llm, "kb": kb, "behavior": behavior, "interaction": interaction}
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)

    def preprocess(self, text: str) -> str:
        """What the model is to be asked for a line that somebody wrote: without the white space around it."""
        return " ".join(text.split())

    def respond(self, text: str) -> str:
        """The answer to a line; raises InvalidRequest where a part of the agent is missing."""
        for name in ("llm", "behavior"):
            if getattr(self, name) is None:
                raise InvalidRequest(f"this agent has no `{name}`: set self.{name} before run()", parameter=name)
        asked = self.preprocess(text)
        known = self.kb.retrieve_knowledge(asked) if self.kb is not None else []
        answer: str = self.behavior.generate_response(asked, known, self.llm)
        return answer

    def run(self, lines: Iterable[str] | None = None) -> None:
        """Answer line by line, from standard input without `lines`, until they end; empty ones are passed over."""
        if self.interaction is None:
            raise InvalidRequest("this agent has no `interaction`: set self.interaction", parameter="interaction")
        for line in sys.stdin if lines is None else lines:
            if line.strip():
                self.interaction.display_response(self.respond(line))
