"""Who answers: a name stands for a model or for an agent, and both are asked in the same way."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from ..core import codec, schemas
from ..core.errors import InvalidRequest, Unsupported, not_found
from ..core.records import Chunk, GenerateRequest, Generation, Json
from .desk import Desk
from .lookout import lookout
from .notices import Notice

LONGEST = 600.0  # seconds that an agent may take to answer
AT_ONCE = 16  # answers of one request that begin in one turn of the loop
PATTERNED = frozenset("*?[")  # characters of names that are patterns

Stream = Callable[[Chunk], None]
Waits = Callable[[Notice], None]
"""Is told why an answer does not come."""
Piece = tuple[int, Chunk | Generation]
"""The number of an answer with a piece of it, or with the finished whole."""


class Answerers:
    """The models and agents that a caller may ask, as one."""

    def __init__(self, desk: Desk) -> None:
        self._kernel, self._agents, self._sys, self._desk = desk.system.kernel, desk.agents, desk.sys, desk
        self._aliases = desk.system.config.aliases

    async def answer(
        self, request: GenerateRequest, stream: Stream | None = None, waits: Waits | None = None
    ) -> Generation:
        """Answer a request; raises NotFound with the nearest of all models and agents. Cancelling frees all it held."""
        name, is_model = self._found(request.model)
        if name != request.model:
            request = replace(request, model=name)
        if is_model:
            return await self._ask_model(request, stream)
        return await self._ask_agent(request, stream, waits)

    async def all(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answer several requests at once; the first error of any ends them all."""
        if len(requests) == 1:
            return [await self.answer(requests[0])]
        answers: dict[int, Generation] = {}
        async with aclosing(follow(self, requests)) as batches:
            async for batch in batches:
                answers.update((i, piece) for i, piece in batch if isinstance(piece, Generation))
        return [answers[i] for i in range(len(requests))]

    def is_model(self, name: str) -> bool:
        """Whether a name stands for a model (True) or an agent; raises NotFound where it is neither."""
        return self._found(name)[1]

    def is_local(self, name: str) -> bool:
        """Whether a name stands for a model that what it is asked does not leave this system for."""
        return self.is_model(name) and not self._kernel.engines.remote(name)

    def named(self, name: str) -> str:
        """Who answers to a name: the model, route or agent that is called so, else what the configuration's `aliases`

        map it to; raises NotFound.
        """
        return self._found(name)[0]

    def _found(self, name: str) -> tuple[str, bool]:
        """Who answers to a name, and whether that is a model."""
        found = self._known(name)
        if found is not None:
            return name, found
        for pattern, target in self._aliases.items():
            if fnmatchcase(name, pattern) and (found := self._known(target)) is not None:
                return target, found
        engines, aliases = self._kernel.engines, [each for each in self._aliases if not set(each) & PATTERNED]
        models = self._desk.holds([*engines.names(), *engines.aliases(), *engines.routes])
        raise not_found("model", name, {*models, *aliases, *self._agents.near(name)})

    def _known(self, name: str) -> bool | None:
        """Whether a name is a model's (True), an agent's (False) or nobody's (None)."""
        if self._kernel.engines.knows(name):
            return True
        return False if self._agents.knows(name) else None

    async def _ask_model(self, request: GenerateRequest, stream: Stream | None) -> Generation:
        """Have a model answer. Calls of the caller's tools, which nobody else checks, are checked before they go."""
        held: list[Chunk] = []

        def show(chunk: Chunk) -> None:
            if chunk.tool_calls:
                held.append(chunk)
            elif stream is not None:
                stream(chunk)

        answer = await self._sys.generate(request, None if stream is None else show)
        schemas.verify_calls(request, answer.tool_calls)
        for chunk in held:
            if stream is not None:
                stream(chunk)
        return answer

    async def _ask_agent(self, request: GenerateRequest, stream: Stream | None, waits: Waits | None) -> Generation:
        """Have a process of its own answer, and end it if the caller leaves."""
        body, task = _message(request), uuid.uuid4().hex
        with self._agents.watch(task) as chunks:
            starting = asyncio.ensure_future(self._agents.once(request.model, body, task))
            try:
                await asyncio.shield(starting)  # never half started: a process without its message would wait for ever
                with lookout(self._desk, self._agents, task, chunks.put_nowait):
                    async with aclosing(live(chunks, self._agents.reply(task, LONGEST))) as pieces:
                        async for piece in pieces:
                            if isinstance(piece, Notice):
                                (waits or _unheard)(piece)
                            elif not isinstance(piece, Chunk):
                                return _generation(request.model, piece)
                            elif stream is not None:
                                stream(piece)
            except (asyncio.CancelledError, TimeoutError):
                pid, _ = await starting
                await self._agents.stop_task(pid)
                raise
        raise AssertionError("an answer ends with a reply, or with an error")


def _unheard(notice: Notice) -> None:
    """Where nobody can be told."""


_END = Chunk()


async def live(
    chunks: asyncio.Queue[Any], reply: Coroutine[Any, Any, dict[str, Json]], calls: bool = False
) -> AsyncGenerator[Chunk | Notice | dict[str, Json]]:
    """The text of an agent's answer as it comes, and why it does not, then its reply; raises what `reply` raises.

    Where its model calls end is not the caller's business, nor are the agent's own tool calls, unless `calls` asks to
    be told of each before it is made. An answer that its loop did not stream comes as one chunk.
    """
    replying = asyncio.ensure_future(reply)
    replying.add_done_callback(lambda _: chunks.put_nowait(_END))
    seen = False
    try:
        while (chunk := await chunks.get()) is not _END:
            if isinstance(chunk, Notice):
                yield chunk
            elif chunk.text:
                seen = True
                yield Chunk(chunk.text, chunk.logprobs)
            if calls and not isinstance(chunk, Notice):
                for call in chunk.tool_calls:
                    yield Notice("calling", {"tool": call.name, "arguments": call.arguments})
        found = replying.result()
        if not seen and found["text"]:
            yield Chunk(found["text"])
        yield found
    finally:
        replying.cancel()


def _message(request: GenerateRequest) -> dict[str, Json]:
    """The request as an agent's message; raises Unsupported by name for what is the agent's own business."""
    refused = {
        "tools": request.tools, "choices": request.choices is not None, "prompt": request.prompt is not None,
        "decoding": request.decoding is not None, "needs": request.needs is not None, "said": bool(request.said),
    }  # fmt: skip
    for name, sent in refused.items():
        if sent:
            text = f"{request.model!r} is an agent: {name!r} cannot be sent to it, only to a model"
            raise Unsupported(text, parameter=name)
    if request.messages[-1].role != "user":
        raise InvalidRequest("the last message to an agent must be the user's", parameter="messages")
    options: dict[str, Json] = {"sampling": request.sampling.sent(), "schema": request.schema}
    if request.adapter is not None:
        options["adapter"] = request.adapter
    return {"messages": request.messages, "options": options}


def _generation(model: str, reply: dict[str, Json]) -> Generation:
    finish = "length" if reply["finish"] == "length" else "stop"
    logprobs = reply.get("logprobs") or ()
    return codec.generation(
        {**reply, "tool_calls": (), "finish": finish, "logprobs": logprobs, "model": model, "engine": "agent"}
    )


def _telling(waits: Waits | None, put: Stream) -> Waits | None:
    """Tells of a notice, and lets whoever waits for pieces look."""
    if waits is None:
        return None

    def tell(notice: Notice) -> None:
        waits(notice)
        put(_END)

    return tell


async def follow(
    answerers: Answerers, requests: Sequence[GenerateRequest], waits: Waits | None = None
) -> AsyncGenerator[list[Piece]]:
    """Answer several requests at once and give what came since the last time; closing it ends them, and waits for it.

    Each answer's last piece is its Generation. The first error of any ends it, after what came before. With `waits`
    there is also a piece of nothing, as soon as that was told something.
    """
    pieces: asyncio.Queue[Piece | asyncio.Future[None]] = asyncio.Queue()

    async def one(i: int, request: GenerateRequest) -> None:
        def put(piece: Chunk | Generation) -> None:
            pieces.put_nowait((i, piece))

        put(await answerers.answer(request, put, _telling(waits, put)))

    def ended(task: asyncio.Future[None]) -> None:
        task.cancelled() or task.exception()  # noticed, also where an earlier error was the one to raise
        pieces.put_nowait(task)

    tasks: list[asyncio.Future[None]] = []
    left = len(requests)
    try:
        async for i, request in _some_at_a_time(requests):
            tasks.append(asyncio.ensure_future(one(i, request)))
            tasks[-1].add_done_callback(ended)
        while left:
            batch = [await pieces.get()]
            while not pieces.empty():
                batch.append(pieces.get_nowait())
            if present := [piece for piece in batch if isinstance(piece, tuple)]:
                yield present
            for done in (piece for piece in batch if isinstance(piece, asyncio.Future)):
                done.result()
                left -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _some_at_a_time(requests: Sequence[GenerateRequest]) -> AsyncGenerator[tuple[int, GenerateRequest]]:
    """Requests by number, AT_ONCE in a turn of the loop: each has a turn's work to do before it first waits."""
    for i, request in enumerate(requests):
        if i and i % AT_ONCE == 0:
            await asyncio.sleep(0)
        yield i, request
