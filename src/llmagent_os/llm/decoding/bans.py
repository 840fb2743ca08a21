"""What an answer must not say: where banned words or topics come up, the answer goes back and takes another way.

Nothing that was handed out is taken back: text that may still become a banned phrase is held back, and with topics the
sentence that is being written.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from ...core.errors import Unsupported
from ...core.ports import Engine
from ...core.records import Chunk, Decoding, FinishReason, GenerateRequest, Message, Sampling, TokenLogprob, Usage
from ...core.stream import close, collect
from ..engines import check
from ..wire import priced
from .asking import AskedStepper, stepper
from .phrases import Phrases

_RETURNS = 32  # after so many the answer is given up
_CHOICES = 16  # likeliest tokens to choose another way from, beside those tried
_NONE = "none of these"
_SENTENCE = re.compile(r"[.!?]+[\"')\]]*\s|[。！？\n]")

TopicCheck = Callable[[str, Sequence[str]], Awaitable[str | None]]
"""`(text, topics)` -> the topic that the text is about, or None."""


async def restrained(
    request: GenerateRequest, engine: Engine, on_topic: TopicCheck | None = None
) -> AsyncIterator[Chunk]:
    """The engine's answer without what `request.decoding` bans; the engine must be able to go on from `said`.

    `on_topic` judges each sentence; by default the model is asked. Raises Unsupported where no other way is found.
    """
    check(request, engine.info)
    if "said" not in engine.info.abilities:
        raise Unsupported(
            f"{engine.info.name} cannot go back in an answer, which bans need; choose another model", parameter="banned"
        )
    draft = _Draft(request, engine, on_topic)
    while draft.finish is None:
        async with aclosing(draft.slice()) as pieces:
            async for piece in pieces:
                yield piece
    yield Chunk(finish=draft.finish, usage=draft.usage)


class _Draft:
    """An answer being written: pieces that are held back, and the ways that were tried at each place of the text."""

    def __init__(self, request: GenerateRequest, engine: Engine, on_topic: TopicCheck | None) -> None:
        decoding = request.decoding or Decoding()
        self.finish: FinishReason | None = None
        self.usage = Usage()
        self._request = replace(request, decoding=None, stream=True)
        self._engine = engine
        self._on_topic = on_topic or self._ask
        self._topics = decoding.topics
        self._phrases = Phrases(decoding.banned)
        self._text = request.said
        self._pieces: list[tuple[int, Chunk]] = []  # held back, each with its place in the text
        self._clean = self._phrases.sure(request.said, 0)  # no phrase can begin before it
        self._judged = len(self._text)  # the sentences before it are on none of the topics
        self._made = 0  # tokens of the text
        self._tried: dict[int, set[str]] = defaultdict(set)
        self._returns = 0

    async def slice(self) -> AsyncGenerator[Chunk]:
        """Go on to the end, or until something banned comes up; then the draft is left on another way."""
        request, place, before = self._rest(), None, self._made
        chunks = self._engine.generate(request)
        try:
            async for chunk in chunks:
                self._add(chunk)
                place = await self._banned(final=chunk.finish is not None)
                if place is not None:
                    break
                for piece in self._released(final=chunk.finish is not None):
                    yield piece
                self.finish, self.usage = chunk.finish, self.usage + (chunk.usage or Usage())
        finally:
            await close(chunks)
        if place is not None:
            read = await self._engine.count_tokens(request)  # what is broken off has no account of its own
            self.usage += priced(self._engine.info, read, self._made - before)
            await self._turn(place)

    def _rest(self) -> GenerateRequest:
        """The request for what is still to be written."""
        sampling = self._request.sampling
        if sampling.max_tokens is not None:
            sampling = replace(sampling, max_tokens=max(1, sampling.max_tokens - self._made))
        return replace(self._request, said=self._text, sampling=sampling)

    def _add(self, chunk: Chunk) -> None:
        self._pieces.append((len(self._text), replace(chunk, finish=None, usage=None)))
        self._text += chunk.text
        self._made += len(chunk.logprobs) or bool(chunk.text)

    def _found(self, text: str, final: bool) -> int | None:
        """Where a phrase begins that does not stand in what was said before already."""
        return self._phrases.found(text, self._clean, final, after=len(self._request.said))

    async def _banned(self, final: bool) -> int | None:
        """The place from which the text cannot stay as it is."""
        place = self._found(self._text, final)
        if place is not None or not self._topics:
            return place
        ends = [match.end() for match in _SENTENCE.finditer(self._text, self._judged)]
        end = len(self._text) if final else max(ends, default=self._judged)
        if not self._text[self._judged : end].strip():
            return None
        if await self._on_topic(self._text[self._judged : end], self._topics) is not None:
            return self._judged
        self._judged = end
        return None

    def _released(self, final: bool) -> Iterator[Chunk]:
        """Hand out the pieces that can stay."""
        self._clean = len(self._text) if final else self._phrases.sure(self._text, self._clean)
        sure = min(self._clean, self._judged) if self._topics else self._clean
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1].text) <= sure:
            yield self._pieces.pop(0)[1]

    async def _turn(self, place: int) -> None:
        """Go back to the piece in which the place lies, and begin with the likeliest token not tried there yet."""
        self._returns += 1
        if self._returns > _RETURNS:
            raise Unsupported("the model comes back to what is banned again and again", parameter="banned")
        last = max((i for i, (start, _) in enumerate(self._pieces) if start <= place), default=0)
        start, piece = self._pieces[last]
        self._made -= sum(len(each.logprobs) or bool(each.text) for _, each in self._pieces[last:])
        del self._pieces[last:]
        self._text = self._text[:start]
        self._clean = min(self._clean, start)
        self._tried[start].add(piece.text)
        await self._choose(start)

    async def _choose(self, start: int) -> None:
        for text, logprob in await self._ways(_CHOICES + len(self._tried[start])):
            if text is None:
                self.finish = "stop"
                return
            if text not in self._tried[start] and self._found(self._text + text, final=False) is None:
                asked = self._request.sampling.top_logprobs is not None
                self._add(Chunk(text, (TokenLogprob(text, logprob),) if asked else ()))
                return
        raise Unsupported("every way to go on is banned; ban less", parameter="banned")

    async def _ways(self, top: int) -> list[tuple[str | None, float]]:
        """The likeliest next tokens as whole characters, with None for an end of the answer."""
        request = replace(self._request, said=self._text)
        steps = stepper(request, self._engine)
        context = await steps.encode(request)
        async with steps.lease(1) as slots:
            (row,) = await steps.step([context], slots, top, request.adapter)
        self.usage += steps.usage if isinstance(steps, AskedStepper) else priced(self._engine.info, len(context), 1)
        texts = [(None if token in steps.ends() else await steps.decode([token]), logprob) for token, logprob in row]
        return [(text, logprob) for text, logprob in texts if text is None or (text and "\ufffd" not in text)]

    async def _ask(self, text: str, topics: Sequence[str]) -> str | None:
        """Let the model itself say which of the topics a text is about."""
        question = f"Which of these is the text about: {', '.join(topics)}? If none, say: {_NONE}.\n\nText: {text}"
        request = GenerateRequest(
            self._request.model, (Message("user", question),), sampling=Sampling(temperature=0.0, max_tokens=64),
            choices=(*topics, _NONE), stream=False,
        )  # fmt: skip
        answer = await collect(self._engine.generate(request))
        self.usage += answer.usage
        return None if answer.text == _NONE else answer.text
