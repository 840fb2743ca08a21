"""The loop of a bare causal model: the message fills a prompt template, the model goes on from there."""

from __future__ import annotations

from dataclasses import replace

from ..core.records import GenerateRequest, Sampling
from ..core.sys import Sys
from .loop import Agent, Turn
from .prompt import PromptTemplate
from .window import shorten


class TemplateAgent(Agent):
    """`spec.prompt` is a template over `input` and `spec.variables`; no chat format, no memory of earlier messages."""

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

    def _filled(self, text: str, turn: Turn) -> GenerateRequest:
        variables = self.spec.variables
        template = PromptTemplate(["input", *variables], self.spec.prompt)
        sampling = Sampling(**self.sampling(turn))
        return GenerateRequest(self.spec.model, prompt=template.format(input=text, **variables), sampling=sampling)

    async def post_process(self, sys: Sys, turn: Turn) -> None:
        """Tidy the answer; nothing is remembered."""
        turn.answer = replace(turn.answer, text=turn.answer.text.strip())
