"""From a model's text to the chunks of the contract: tool requests read, constraints verified."""

from __future__ import annotations

from ..core import schemas
from ..core.records import Chunk, FinishReason, GenerateRequest, TokenLogprob, Usage
from . import constrain, toolcalls
from .stops import Stops


def raw_stops(request: GenerateRequest) -> tuple[str, ...]:
    """The stop texts that an engine looks for in all that its model writes.

    None where that is an envelope: they are meant for the answer in it, and `AnswerText` looks for them there.
    """
    return () if constrain.enveloped(request) else request.sampling.stop or ()


class AnswerText:
    """Takes the text of one generation piece by piece; `finish` says why the engine ended.

    `stopped` is the stop text that came in the answer of an envelope. Once it is `done` the engine is to end.
    """

    def __init__(self, request: GenerateRequest) -> None:
        self._request = request
        self._parser = toolcalls.Parser(request) if constrain.enveloped(request) else None
        self._stops = Stops((request.sampling.stop or ()) if self._parser else ())
        self._text: list[str] = []

    @property
    def stopped(self) -> str | None:
        """See the class."""
        return self._stops.found

    @property
    def done(self) -> bool:
        """See the class."""
        return self.stopped is not None or (self._parser is not None and self._parser.slipped)

    def piece(self, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> Chunk:
        """The chunk for the next text; its text is empty inside a tool request."""
        said = text if self._parser is None else self._before_stop(self._parser.feed(text))
        self._text.append(said)
        return Chunk(said, logprobs)

    def last(self, finish: FinishReason, usage: Usage) -> Chunk:
        """The last chunk; raises Unsupported or EngineFailed when a whole answer breaks its constraint."""
        text, calls = self._parser.close(finish) if self._parser is not None else ("", ())
        text = self._before_stop(text)
        if self.stopped is None:
            text += self._stops.rest()
        else:
            finish, calls = "stop", ()
        if finish == "stop" and not calls:
            schemas.verify(self._request, "".join(self._text) + text)
        finish = "tool_calls" if calls else finish
        return Chunk(text, tool_calls=calls, finish=finish, usage=usage, stopped=self.stopped)

    def _before_stop(self, text: str) -> str:
        return self._stops.add(text)[0] if self.stopped is None else ""
