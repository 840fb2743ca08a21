"""What drivers of models and tools must be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..records import Chunk, Embeddings, EmbedRequest, EngineInfo, GenerateRequest, Json, Ticket, ToolSpec, Traits


class Engine(Protocol):
    """A model behind one interface: a driver, one file an engine in `llm/`."""

    info: EngineInfo

    def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the answer. Closing the iterator cancels the work and frees the slot.

        Raises Unsupported for what `info` does not promise, ContextOverflow for a prompt over the window,
        EngineFailed or EngineUnavailable for the engine's own trouble.
        """
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Return one vector a text; raises Unsupported where the model has no embeddings."""
        ...

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The length of the rendered prompt in the model's tokens (an estimate where the server cannot tell)."""
        ...

    def health(self) -> str | None:
        """None while the engine can serve, else what is wrong. Cheap: called several times a second."""
        ...

    async def close(self) -> None:
        """End running work and free what is held. Calling it twice is harmless."""
        ...


class Work(Protocol):
    """One generation on a slotted engine: begun once, run in slices, on whatever slot its context lies."""

    prompt: list[int]
    """The prompt's token ids."""
    said: list[int]
    """The ids of the answer so far; the context is `prompt` and then these."""
    computed: int
    """How many tokens of the context lie on its slot."""
    read: int
    """How many tokens were read (not found on the slot, not made), over all slices."""

    @property
    def movable(self) -> bool:
        """Whether it can stop here and go on later (false where a sampler has state that tokens do not give back)."""
        ...

    async def resume(self, said: list[int]) -> None:
        """Take in the ids of an answer that was cut off, before the first `run`: their text comes with the next."""
        ...

    def run(self, slot: int) -> AsyncGenerator[Chunk]:
        """Go on with the answer on a slot. Closing the iterator stops at a token, and has freed the slot on return.

        The chunks of all slices together are those of one `Engine.generate`, with empty ones while the prompt is read.
        """
        ...


@runtime_checkable
class Slotted(Engine, Protocol):
    """An Engine whose contexts lie on slots that the kernel hands out, and can be kept as files (pages)."""

    slots: int
    fingerprint: str
    """Names the model's file and settings: pages of another fingerprint cannot be restored."""

    async def begin(self, request: GenerateRequest) -> Work:
        """Read a request into token ids. Raises as `generate` does."""
        ...

    async def save(self, slot: int, path: Path) -> int:
        """Write an idle slot's context to a file; returns how many tokens it holds. Raises EngineFailed."""
        ...

    async def restore(self, slot: int, path: Path, adapter: str | None = None) -> int:
        """Fill an idle slot from a file; returns how many tokens it holds. Raises EngineFailed for one it refuses."""
        ...


@runtime_checkable
class Stepper(Engine, Protocol):
    """An Engine that can be driven token by token, as beam search does."""

    async def encode(self, request: GenerateRequest) -> list[int]:
        """The token ids of the rendered prompt, `said` included. Raises as `generate` does."""
        ...

    async def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids of an answer; tokens that end it have none."""
        ...

    def ends(self) -> frozenset[int]:
        """The ids of the tokens that end an answer."""
        ...

    def lease(self, width: int) -> AbstractAsyncContextManager[Sequence[int]]:
        """Hold `width` slots for the block; they are handed to `step`. May wait."""
        ...

    async def step(
        self, contexts: Sequence[Sequence[int]], slots: Sequence[int], top: int, adapter: str | None = None
    ) -> list[list[tuple[int, float]]]:
        """For each context (token ids, one a slot) the `top` likeliest next tokens: (id, natural log-probability)."""
        ...


@runtime_checkable
class Adaptable(Engine, Protocol):
    """An Engine that is given other adapters while it serves."""

    async def adopt(self, adapters: Mapping[str, str]) -> None:
        """Serve with these (file by name) from now on; what runs ends as it began. Raises EngineFailed, NotFound."""
        ...


DecodingStrategy = Callable[[GenerateRequest, Engine], AsyncIterator[Chunk]]
"""A decoding strategy: answers a request by asking a model, once or often. `Engine` may also be a Stepper."""


class Tool(Protocol):
    """Something an agent may do to the world."""

    spec: ToolSpec
    traits: Traits

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Do it and return JSON data. `ticket` says for whom, and under which idempotency key."""
        ...
