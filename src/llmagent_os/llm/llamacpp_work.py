"""One generation on llama.cpp's slots: run in slices, each gone on with from token ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ..core import codec
from ..core.records import Chunk, FinishReason, GenerateRequest, TokenLogprob, Usage
from .answer import AnswerText, raw_stops
from .llamacpp_server import LoadedModel, read, refusals
from .stops import Stops
from .workers import Workers


class Host(Protocol):
    """The engine, as far as one generation on it needs to know it."""

    workers: Workers

    def scaled(self, adapter: str | None) -> dict[str, Any]:
        """What a request to the server says of adapters; raises NotFound for an unknown one."""
        ...

    @property
    def server(self) -> LoadedModel:
        """The loaded model; raises EngineUnavailable once closed."""
        ...

    async def tokenize(self, text: str) -> list[int]:
        """The token ids of a text, without those that begin a prompt."""
        ...

    async def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids of an answer."""
        ...


class LlamaWork:
    """A `core.ports.Work`. Made by the engine's `begin`.

    Stop texts are looked for here and not by the server: it would hold text back, and lose it with the slice.
    """

    def __init__(
        self, engine: Host, request: GenerateRequest, body: dict[str, Any], prompt: list[int], grammar: str | None
    ) -> None:  # fmt: skip
        """`grammar` is what the answer is held to."""
        self.prompt = prompt
        self.said: list[int] = []
        self.computed = self.read = 0
        self._stateless = grammar is None  # a grammar's state cannot be given to another slice
        self._body = body | ({"grammar": grammar} if grammar is not None else {})
        self._most: int | None = body.get("max_tokens")
        self._engine = engine
        self._sampling, self._adapter = request.sampling, request.adapter
        self._answer = AnswerText(request)
        self._stops = Stops(raw_stops(request))
        self._held: tuple[TokenLogprob, ...] = ()  # of text that is held back
        self._made = 0  # tokens, the end token included
        self._cached: int | None = None
        self._before = Chunk()

    @property
    def movable(self) -> bool:
        """See `core.ports.Work`."""
        return self._stateless or not self.said

    async def resume(self, said: list[int]) -> None:
        """See `core.ports.Work.resume`."""
        self.said = said
        self._made = len(said)
        text, _ = self._stops.add(await self._engine.decode(said))
        self._before = self._answer.piece(text)

    async def run(self, slot: int) -> AsyncGenerator[Chunk]:
        """See `core.ports.Work.run`; slot -1 leaves the choice to llama.cpp."""
        yield self._before
        self._before = Chunk()
        left = self._left()
        if left is not None and left < 1:
            yield self._last("length")
            return
        before = self._made
        run = partial(self._engine.server.native.handle_completions, codec.dumps(self._slice(slot, left)))
        with refusals(), self._engine.workers.run(run) as events:
            try:
                async for raw in events:
                    event = read(raw)
                    if (progress := event.get("prompt_progress")) is not None:
                        self._progress(progress)
                        yield Chunk()
                        continue
                    choice, detail = event["choices"][0], event["__verbose"]
                    self._made = before + detail["tokens_predicted"]
                    if choice["finish_reason"] is not None:
                        yield self._last(choice["finish_reason"])
                        return
                    text, stopped = await self._take(choice, detail["tokens"])
                    self.computed = len(self.prompt) + len(self.said) - 1
                    yield text
                    if stopped:
                        yield self._last("stop")
                        return
            finally:
                await events.stop()

    def _left(self) -> int | None:
        """Tokens that may still be made; None: until the window is full."""
        return None if self._most is None else min(self._most, 2**31 - 1) - self._made  # the server reads 32 bits

    def _slice(self, slot: int, left: int | None) -> dict[str, Any]:
        body = self._body | {"prompt": self.prompt + self.said, "id_slot": slot} | self._engine.scaled(self._adapter)
        if left is not None:
            body["max_tokens"] = left
        if self.said and self._sampling.seed is not None:
            body["seed"] = (self._sampling.seed + len(self.said)) % 2**32  # else it would draw the same again
        return body

    def _progress(self, progress: dict[str, int]) -> None:
        if self._cached is None:
            self._cached = progress["cache"]
        if progress["processed"] == progress["cache"]:
            self.computed = progress["cache"]  # of this slot: the first report of a slice
        self.read += progress["processed"] - self.computed
        self.computed = progress["processed"]

    async def _take(self, choice: dict[str, Any], tokens: list[int]) -> tuple[Chunk, bool]:
        """The chunk for a piece, and whether a stop text ended the answer."""
        missing = self._made - len(self.said) - len(tokens)
        if missing:  # only the last token of a character's is reported
            tokens = await self._recovered(choice["text"], missing + len(tokens))
        self.said += tokens
        logprobs = choice.get("logprobs")
        if logprobs:
            self._held += _logprobs(logprobs["content"], self._sampling.top_logprobs)
        text, stopped = self._stops.add(choice["text"])
        if not text:
            return Chunk(), stopped
        entries, self._held = self._held, ()
        piece = self._answer.piece(text, entries)
        return piece, stopped or self._answer.done

    async def _recovered(self, text: str, count: int) -> list[int]:
        """The ids of a text's tokens. Where the model split it in an unusual way, the slice is the last one."""
        tokens = await self._engine.tokenize(text)
        if len(tokens) != count:
            self._stateless = False
        return tokens

    def _last(self, finish: FinishReason) -> Chunk:
        usage = Usage(len(self.prompt), self._made, self._cached or 0)
        rest = self._stops.rest()
        piece = self._answer.piece(rest, self._held) if rest else Chunk()
        last = self._answer.last(finish, usage)
        stopped = self._stops.found or last.stopped
        return replace(last, text=piece.text + last.text, logprobs=piece.logprobs, stopped=stopped)


def _logprobs(entries: list[dict[str, Any]], top: int | None) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            entry["token"],
            entry["logprob"],
            tuple((other["token"], other["logprob"]) for other in entry["top_logprobs"][:top]),
        )
        for entry in entries
    )
