"""The second import name: agents over models that the user loaded with `transformers`."""

from __future__ import annotations

from llmagent_os.agent.prompt import PromptTemplate

from .agent import LLMAgent

__all__ = ["LLMAgent", "PromptTemplate"]
