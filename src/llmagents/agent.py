"""`LLMAgent`: a model, a tokenizer and a prompt template that answer as one."""

from __future__ import annotations

from typing import Any

from llmagent_os.agent.prompt import PromptTemplate
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.ports import Engine
from llmagent_os.llm.engines import driver
from llmagent_os.llm.facade import LLM

MAX_TOKENS = 256


class LLMAgent:
    """An agent over an AutoModelForCausalLM and its AutoTokenizer; the filled template is the whole prompt.

    The same object runs as a process: `LLMAgentOS.add(name, agent)`. Raises MissingExtra without
    `transformers`, InvalidRequest for a template that has not exactly one variable.
    """

    def __init__(self, model: Any, tokenizer: Any, prompt_template: PromptTemplate) -> None:
        if len(prompt_template.input_variables) != 1:
            names = ", ".join(prompt_template.input_variables) or "none"
            message = f"the template of an agent has one variable, for the text; this one has: {names}"
            raise InvalidRequest(message, parameter="prompt_template")
        (self._variable,) = prompt_template.input_variables
        self.prompt_template = prompt_template
        self.engine: Engine = driver("transformers").TransformersEngine(model, tokenizer)
        self._llm = LLM(self.engine)

    def generate(self, text: str, **options: Any) -> str:
        """Answer a text. `options` are those of `LLM.generate`; `max_tokens` is 256 where nothing is said."""
        prompt = self.prompt_template.format(**{self._variable: text})
        return self._llm.generate(prompt=prompt, **{"max_tokens": MAX_TOKENS, **options}).text

    def close(self) -> None:
        """End what runs. The model stays the caller's."""
        self._llm.close()
