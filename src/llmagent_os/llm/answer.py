"""From a model's text to the chunks of the contract: tool requests read, constraints verified."""

from __future__ import annotations

from ..core import schemas
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
        said = self._parser.feed(text) if self._parser else text
        self._text.append(said)
        return Chunk(said, logprobs)

    def last(self, finish: FinishReason, usage: Usage) -> Chunk:
        """The last chunk; raises Unsupported or EngineFailed when a whole answer breaks its constraint."""
        text, calls = self._parser.close(finish) if self._parser is not None else ("", ())
        if finish == "stop" and not calls:
            schemas.verify(self._request, "".join(self._text) + text)
        return Chunk(text, tool_calls=calls, finish="tool_calls" if calls else finish, usage=usage)
