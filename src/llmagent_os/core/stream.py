"""Streams of chunks: summed up to one generation, and shown live to whoever watches."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from .errors import EngineFailed
from .records import Chunk, Generation, TokenLogprob, ToolCall


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
        close = getattr(chunks, "aclose", None)  # async generators have it, plain iterators hold nothing
        if close is not None:
            await close()
    if last is None or last.finish is None or last.usage is None:
        raise EngineFailed("the engine's answer broke off before its end; try again", engine=engine)
    return Generation(
        "".join(text), tuple(calls), last.finish, last.usage, tuple(logprobs), model, engine,
        last.alternatives, last.explanation,
    )  # fmt: skip


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
