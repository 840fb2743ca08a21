"""Streams of chunks: summed up to one generation, and shown live to whoever watches."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from .errors import EngineFailed
from .records import Chunk, EngineInfo, GenerateRequest, Generation, TokenLogprob, ToolCall, Usage


async def collect(
    chunks: AsyncIterator[Chunk], model: str = "", engine: str = "", watch: Callable[[Chunk], None] | None = None
) -> Generation:
    """Sum a stream up, showing each piece to `watch`; raises EngineFailed if it ended without its last chunk.

    The iterator is closed however this ends, which frees the engine's slot at once.
    """
    text: list[str] = []
    logprobs: list[TokenLogprob] = []
    calls: list[ToolCall] = []
    last: Chunk | None = None
    try:
        async for last in chunks:
            text.append(last.text)
            logprobs.extend(last.logprobs)
            calls.extend(last.tool_calls)
            if watch is not None:
                watch(last)
    finally:
        await close(chunks)
    if last is None or last.finish is None or last.usage is None:
        raise EngineFailed("the engine's answer broke off before its end; try again", engine=engine)
    return Generation(
        "".join(text), tuple(calls), last.finish, last.usage, tuple(logprobs), model, engine,
        last.alternatives, last.explanation, last.stopped,
    )  # fmt: skip


def priced(info: EngineInfo, read: int, written: int, cached: int = 0) -> Usage:
    """Usage at an engine's prices; cached tokens are counted in `read` and cost the same."""
    return Usage(read, written, cached, (read * info.input_price + written * info.output_price) / 1e6)


def estimate(request: GenerateRequest, template: int = 0) -> int:
    """Tokens of a prompt where nobody has counted them, and of what a chat template adds to each message."""
    if request.prompt is not None:
        return tokens_of(len(request.prompt))
    return sum([template + tokens_of(len(message.text)) for message in request.messages])


def tokens_of(characters: int) -> int:
    """Tokens of a text where nobody has counted them: four characters each."""
    return -(-characters // 4)


def tokens_in(chunk: Chunk) -> int:
    """Tokens in a piece of an answer: engines stream a piece a token, and log-probabilities are one a token."""
    return max(bool(chunk.text or chunk.tool_calls), len(chunk.logprobs))


async def close(chunks: AsyncIterator[Chunk]) -> None:
    """End a stream, which frees its engine's slot."""
    end = getattr(chunks, "aclose", None)  # async generators have it, plain iterators hold nothing
    if end is not None:
        await end()


NOTHING_SPENT = Usage()


class Continuation:
    """An answer that one engine begins and another one may have to end: what was shown of it, and what is left.

    Tokens are counted by pieces, or log-probabilities where there are more: engines stream a piece a token.
    """

    def __init__(self, request: GenerateRequest) -> None:
        self.finished = False
        self.pieces = 0  # since it was last asked for
        self._request = request
        self._texts: list[str] = []
        self._tokens = self._logprobs = 0
        self._skip, self._skip_logprobs = "", 0
        self._spent = NOTHING_SPENT

    @property
    def shown(self) -> bool:
        """Whether the caller has got any of it."""
        return bool(self._texts or self._logprobs)

    def rest(self, resumes: bool) -> GenerateRequest | None:
        """What to ask for: to go on from what was said, or (`resumes` false) all of it again; None: nothing is left."""
        request, sampling, said = self._request, self._request.sampling, "".join(self._texts)
        self.pieces = 0
        self._skip, self._skip_logprobs = ("", 0) if resumes else (said, self._logprobs)
        if self._skip or not said:
            return request
        if sampling.max_tokens is not None:
            if self._tokens >= sampling.max_tokens:
                return None
            sampling = replace(sampling, max_tokens=sampling.max_tokens - self._tokens)
        return replace(request, said=request.said + said, sampling=sampling)

    def take(self, chunk: Chunk) -> Chunk:
        """What is new in a piece; raises EngineFailed where an answer that was asked for again is another one."""
        tokens = tokens_in(chunk)
        self.pieces += tokens
        if self._skip or self._skip_logprobs:
            chunk = self._unseen(chunk)
            tokens = tokens_in(chunk)
        if chunk.text:
            self._texts.append(chunk.text)
        self._tokens += tokens
        self._logprobs += len(chunk.logprobs)
        self.finished = chunk.finish is not None
        if chunk.usage is None or self._spent is NOTHING_SPENT:
            return chunk
        return replace(chunk, usage=chunk.usage + self._spent)

    def _unseen(self, chunk: Chunk) -> Chunk:
        """A piece without what was shown before."""
        again = self._skip[: len(chunk.text)]
        if not chunk.text.startswith(again) or (chunk.finish is not None and again != self._skip):
            raise EngineFailed("an engine failed in the middle of an answer, and another one gave a different answer")
        fresh = replace(chunk, text=chunk.text[len(again) :], logprobs=chunk.logprobs[self._skip_logprobs :])
        self._skip = self._skip[len(again) :]
        self._skip_logprobs = max(0, self._skip_logprobs - len(chunk.logprobs))
        return fresh

    def broke(self, prompt: int, info: EngineInfo) -> None:
        """It broke off: count what an engine made for a prompt of so many tokens."""
        if self.pieces:
            self._spent += priced(info, prompt, self.pieces)

    def end(self) -> Chunk:
        """The last piece of an answer that had all its tokens when it broke off."""
        self.finished = True
        return Chunk(finish="length", usage=self._spent)


class Streams:
    """Live pieces of answers by task: a view, not a record, for the journal keeps the whole answer.

    A watcher's queue grows at most to one answer, which its token limit bounds.
    """

    def __init__(self) -> None:
        self._watchers: dict[str, list[asyncio.Queue[Chunk]]] = defaultdict(list)

    @contextmanager
    def watch(self, task: str) -> Iterator[asyncio.Queue[Chunk]]:
        """The chunks of a task from now on, as a queue that exists for the block."""
        queue: asyncio.Queue[Chunk] = asyncio.Queue()
        self._watchers[task].append(queue)
        try:
            yield queue
        finally:
            self._watchers[task].remove(queue)
            if not self._watchers[task]:
                del self._watchers[task]

    def publish(self, task: str, chunk: Chunk) -> None:
        """Hand a chunk to everyone who watches the task."""
        for queue in self._watchers.get(task, ()):
            queue.put_nowait(chunk)
