"""The loop of a bare causal model: the message fills a prompt template, the model goes on from there."""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import InvalidRequest
from ..core.records import RELAYED, GenerateRequest, Part, Sampling
from ..core.sys import Sys
from .loop import Agent, Find, Turn
from .prompt import PromptTemplate, variables_of
from .window import shorten


class TemplateAgent(Agent):
    """No chat format, no memory of earlier messages.

    `spec.prompt` is a template over `spec.variables` and one more, which stands for the message.
    """

    async def build_context(self, sys: Sys, turn: Turn) -> GenerateRequest:
        """Fill the template in; a message too long for the window is shortened in its middle."""
        request = self._filled(turn.message.text, turn)
        tokens, window = await sys.measure(request)
        room = window * 3 // 4
        if window and tokens > room:
            fixed, _ = await sys.measure(self._filled("", turn))
            message = shorten(turn.message, tokens - fixed, max(room - fixed, 16))
            request = self._filled(message.text, turn)
        return request

    def check(self, find: Find) -> None:
        """The prompt has one variable that the definition gives no value: the message's."""
        self._prompt_for("")

    def parts(self, turn: Turn) -> list[Part]:
        """The template has the message in it: the definition and the message are parts as they are."""
        said = [] if turn.message.name == RELAYED else [Part(turn.message.text, who="user")]
        return [Part(self.spec.prompt, who="definition"), *said]

    def _filled(self, text: str, turn: Turn) -> GenerateRequest:
        return GenerateRequest(self.spec.model, prompt=self._prompt_for(text), sampling=Sampling(**self.sampling(turn)))

    def _prompt_for(self, text: str) -> str:
        variables, names = self.spec.variables, variables_of(self.spec.prompt)
        free = [name for name in names if name not in variables]
        if len(free) != 1:
            found = ", ".join(free) or "none"
            raise InvalidRequest(
                f"the prompt has one variable for the message; this one has: {found}", parameter="prompt"
            )
        return PromptTemplate(names, self.spec.prompt).format(**variables, **{free[0]: text})

    async def post_process(self, sys: Sys, turn: Turn) -> None:
        """Tidy the answer; nothing is remembered."""
        turn.answer = replace(turn.answer, text=turn.answer.text.strip())
