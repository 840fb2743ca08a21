"""From a model's text to the chunks of the contract: tool requests read, constraints verified."""

from __future__ import annotations

from ..core.records import Chunk, FinishReason, GenerateRequest, TokenLogprob, Usage
from . import constrain, toolcalls


class AnswerText:
    """Takes the text of one generation piece by piece; `finish` says why the engine ended."""

    def __init__(self, request: GenerateRequest) -> None:
        self._request = request
        self._parser = toolcalls.Parser(request) if constrain.enveloped(request) else None
        self._text: list[str] = []

    def piece(self, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> Chunk:
        """The chunk for the next text; its text is empty inside a tool request."""
        self._text.append(text)
        return Chunk(self._parser.feed(text) if self._parser else text, logprobs)

    def last(self, finish: FinishReason, usage: Usage) -> Chunk:
        """The last chunk; raises Unsupported or EngineFailed when a whole answer breaks its constraint."""
        if self._parser is not None:
            text, calls = self._parser.close(finish)
            return Chunk(text, tool_calls=calls, finish="tool_calls" if calls else finish, usage=usage)
        if finish == "stop":
            constrain.verify(self._request, "".join(self._text))
        return Chunk(finish=finish, usage=usage)
