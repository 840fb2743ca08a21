"""From a stream of chunks to one generation: the same sum for the kernel, the facade and the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

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
    return Generation("".join(text), tuple(calls), last.finish, last.usage, tuple(logprobs), model, engine)
