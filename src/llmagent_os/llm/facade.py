"""`LLM`: one model by name or path, for programs that want no more than that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import fields, replace
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

from ..core import codec, schemas
from ..core.errors import Unsupported
from ..core.ports import Engine, Stepper
from ..core.records import (
    SAMPLING_NAMES,
    Chunk,
    Decoding,
    EmbedRequest,
    GenerateRequest,
    Generation,
    Json,
    Message,
    ModelSpec,
    Sampling,
    ToolSpec,
)
from ..core.stream import close, collect
from . import catalog
from .decoding import decoded
from .engines import open_engine, refuse_unknown

Conversation = str | Sequence[Message | Mapping[str, Json]]
"""A user's text, or messages: records or dicts with their fields."""

_T = TypeVar("_T")
_SPEC_FIELDS = frozenset(field.name for field in fields(ModelSpec)) - {"name", "options"}
_DECODING = frozenset(field.name for field in fields(Decoding))
_WRITTEN = {"calendar": "tiny"}  # the name in the reference documents
_ASKED = frozenset({"prompt", "tools", "tool_choice", "schema", "choices", "adapter"})


class LLM:
    """A model to talk to. The plain methods block, `agenerate` and `astream` await; all run on one background loop.

    Keywords of the generating methods are the sampling parameters (`core.records.Sampling`) and `schema`, `choices`,
    `tools`, `tool_choice`, `adapter` (`core.records.GenerateRequest`), and those of a decoding strategy (`strategy`,
    `width`, `banned`, ...: `core.records.Decoding`); `prompt` instead of a conversation is text to go on from, without
    a chat format. An unknown one raises InvalidRequest; what the model cannot do raises Unsupported. Use as a context
    manager, or call `close`.
    """

    def __init__(self, engine: Engine, spec: ModelSpec | None = None) -> None:
        """`spec` is what the engine was opened from, if it was."""
        self.engine, self.spec = engine, spec

    @classmethod
    def from_pretrained(cls, name_or_path: str, **options: Any) -> Self:
        """Open a model by its name in the catalog, a GGUF file, or a folder with a transformers or a tuned model.

        `calendar`, a name that the reference documents use, is the tiny model.
        `options` are fields of ModelSpec (`window`, `limit`, ...; `engine` skips the catalog) and the driver's own.
        Raises NotFound with the nearest match, MissingExtra with the command to run.
        """
        return cls(*_wait(_submit(_open(_WRITTEN.get(name_or_path, name_or_path), options))))

    def generate(self, conversation: Conversation = "", **options: Any) -> Generation:
        """Answer, whole; `.text` is the answer's text."""
        return _wait(_submit(collect(self._chunks(conversation, options), *self._names)))

    async def agenerate(self, conversation: Conversation = "", **options: Any) -> Generation:
        """`generate` for an event loop; cancelling it cancels the work."""
        return await asyncio.wrap_future(_submit(collect(self._chunks(conversation, options), *self._names)))

    def stream(self, conversation: Conversation = "", **options: Any) -> Iterator[str]:
        """The answer's text as it comes; closing the iterator cancels the work."""
        chunks = self._chunks(conversation, options)
        try:
            while (chunk := _wait(_submit(_next(chunks)))) is not None:
                if chunk.text:
                    yield chunk.text
        finally:
            _wait(_submit(close(chunks)))

    async def astream(self, conversation: Conversation = "", **options: Any) -> AsyncIterator[str]:
        """`stream` for an event loop."""
        chunks = self._chunks(conversation, options)
        try:
            while (chunk := await asyncio.wrap_future(_submit(_next(chunks)))) is not None:
                if chunk.text:
                    yield chunk.text
        finally:
            await asyncio.wrap_future(_submit(close(chunks)))

    def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """One vector a text."""
        request = EmbedRequest(self.engine.info.model, tuple(texts))
        return _wait(_submit(self.engine.embed(request))).vectors

    def encode(self, conversation: Conversation, said: str = "") -> list[int]:
        """The token ids that are put to the model for a conversation and the beginning of its answer.

        Raises Unsupported where the engine does not go token by token.
        """
        request = replace(_request(self.engine.info.model, conversation, {}), said=said)
        return _wait(_submit(self._stepper.encode(request)))

    def likeliest(self, context: Sequence[int], top: int, adapter: str | None = None) -> list[tuple[int, float]]:
        """The likeliest next tokens after token ids: (id, natural log-probability). Raises as `encode` does."""
        return _wait(_submit(_likeliest(self._stepper, context, top, adapter)))

    @property
    def _stepper(self) -> Stepper:
        if not isinstance(self.engine, Stepper):
            text = f"{self.engine.info.name} does not go token by token; the local engine does: try the model `tiny`"
            raise Unsupported(text, parameter="model")
        return self.engine

    def close(self) -> None:
        """Free the model; calling it twice is harmless."""
        _wait(_submit(self.engine.close()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _names(self) -> tuple[str, str]:
        return self.engine.info.model, self.engine.info.name

    def _chunks(self, conversation: Conversation, options: Mapping[str, Any]) -> AsyncIterator[Chunk]:
        request = _request(self.engine.info.model, conversation, options)
        return _checked(request, decoded(request, self.engine))


async def _checked(request: GenerateRequest, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    """The chunks; raises Unsupported for a tool call that breaks the schema of its tool, which nobody else checks."""
    try:
        async for chunk in chunks:
            if chunk.tool_calls:
                schemas.verify_calls(request, chunk.tool_calls)
            yield chunk
    finally:
        await close(chunks)


async def _likeliest(
    stepper: Stepper, context: Sequence[int], top: int, adapter: str | None
) -> list[tuple[int, float]]:  # fmt: skip
    async with stepper.lease(1) as slots:
        return (await stepper.step([context], slots, top, adapter))[0]


async def _open(name: str, options: Mapping[str, Any]) -> tuple[Engine, ModelSpec]:
    own = {key: value for key, value in options.items() if key in _SPEC_FIELDS}
    spec = ModelSpec(name, **own) if "engine" in own else replace(await catalog.resolve(name), **own)
    drivers = {key: value for key, value in options.items() if key not in _SPEC_FIELDS}
    spec = replace(spec, options={**spec.options, **drivers})
    return await open_engine(spec), spec


def _request(model: str, conversation: Conversation, options: Mapping[str, Any]) -> GenerateRequest:
    refuse_unknown(options, _ASKED.union(SAMPLING_NAMES, _DECODING), "parameter")
    asked: dict[str, Any] = {name: options[name] for name in _ASKED & options.keys()}
    if asked.get("choices") is not None:
        asked["choices"] = tuple(asked["choices"])
    asked["tools"] = tuple(t if isinstance(t, ToolSpec) else ToolSpec(**t) for t in asked.get("tools") or ())
    asked["decoding"] = codec.decoding({name: options[name] for name in _DECODING & options.keys()} or None)
    sampling = {name: value for name, value in options.items() if name in SAMPLING_NAMES}
    if sampling.get("stop") is not None:
        stop = sampling["stop"]
        sampling["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    return GenerateRequest(model, _messages(conversation), sampling=Sampling(**sampling), **asked)


def _messages(conversation: Conversation) -> tuple[Message, ...]:
    if isinstance(conversation, str):
        return (Message("user", conversation),) if conversation else ()
    return tuple(m if isinstance(m, Message) else codec.message(m) for m in conversation)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The background loop; its thread ends with the program."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="llm", daemon=True).start()
    return loop


def _submit(work: Coroutine[Any, Any, _T]) -> Future[_T]:
    return asyncio.run_coroutine_threadsafe(work, _loop())


def _wait(future: Future[_T]) -> _T:
    """The result; an interrupt (Ctrl-C) while waiting cancels the work."""
    try:
        return future.result()
    finally:
        future.cancel()


async def _next(chunks: AsyncIterator[Chunk]) -> Chunk | None:
    return await anext(chunks, None)
