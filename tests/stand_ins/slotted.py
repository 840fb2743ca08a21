"""A slotted engine without a model: the next token follows from all before it, and every computed token is counted."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from llmagent_os.core import codec
from llmagent_os.core.errors import EngineFailed, EngineUnavailable, Unsupported
from llmagent_os.core.records import NOTHING, Chunk, Embeddings, EmbedRequest, EngineInfo, GenerateRequest, Usage

VOCABULARY = 1000
BATCH = 16  # tokens of a prompt that are read in one go


def after(context: list[int]) -> int:
    """The token that follows a context."""
    return zlib.crc32(codec.dumps(context)) % VOCABULARY


class SlottedEngine:
    """`slots` contexts; a batch of a prompt and a token each take `pace` seconds. `die` makes every run fail."""

    def __init__(self, slots: int = 2, pace: float = 0.0, fingerprint: str = "slotted") -> None:
        self.info = EngineInfo("slotted", "slotted", window=100_000, limit=slots, abilities=frozenset({"prompt"}))
        self.slots, self.pace, self.fingerprint = slots, pace, fingerprint
        self.held: list[list[int]] = [[] for _ in range(slots)]
        self.working: set[int] = set()
        self.computed = 0
        self.saves = self.restores = 0
        self.dead = False

    async def begin(self, request: GenerateRequest) -> SlottedWork:
        """A request's prompt is its words, one token each."""
        words = (request.prompt or "").split()
        return SlottedWork(self, [zlib.crc32(word.encode()) % VOCABULARY for word in words], request)

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """On the first slot."""
        async with aclosing((await self.begin(request)).run(0)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def save(self, slot: int, path: Path) -> int:
        """Write the tokens."""
        assert slot not in self.working, "saved while it runs"
        self.saves += 1
        await asyncio.sleep(self.pace)
        path.write_bytes(codec.dumps(self.held[slot]))
        return len(self.held[slot])

    async def restore(self, slot: int, path: Path, adapter: str | None = None) -> int:
        """Read the tokens."""
        assert slot not in self.working, "restored while it runs"
        self.restores += 1
        await asyncio.sleep(self.pace)
        try:
            self.held[slot] = codec.loads(path.read_bytes())
        except (ValueError, OSError) as error:
            raise EngineFailed("not a page") from error
        return len(self.held[slot])

    async def count_tokens(self, request: GenerateRequest) -> int:
        """Words."""
        return len((request.prompt or "").split())

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """It has none."""
        raise Unsupported("no embeddings", parameter="model")

    def health(self) -> str | None:
        """Whether it died."""
        return "dead" if self.dead else None

    async def close(self) -> None:
        """Nothing is held."""


class SlottedWork:
    """A `core.ports.Work`: makes `max_tokens` tokens, shown as words."""

    def __init__(self, engine: SlottedEngine, prompt: list[int], request: GenerateRequest) -> None:
        self.prompt, self.said = prompt, list[int]()
        self.computed = self.read = 0
        self.movable = request.schema is None
        self._engine, self._most = engine, request.sampling.max_tokens or 16
        self._shown = 0

    async def resume(self, said: list[int]) -> None:
        """Go on after these."""
        self.said = said

    async def run(self, slot: int) -> AsyncGenerator[Chunk]:
        """Read what the slot does not hold, then make tokens."""
        engine = self._engine
        assert slot not in engine.working, "two runs on one slot"
        engine.working.add(slot)
        try:
            held, wanted = engine.held[slot], self.prompt + self.said
            alike = 0
            while alike < min(len(held), len(wanted) - 1) and held[alike] == wanted[alike]:
                alike += 1
            del held[alike:]
            self.computed = alike
            while self.computed < len(wanted):
                await self._work()
                batch = wanted[self.computed : self.computed + BATCH]
                held += batch
                self.computed += len(batch)
                self.read += len(batch)
                engine.computed += len(batch)
                yield NOTHING
            while len(self.said) < self._most:
                await self._work()
                self.said.append(after(self.prompt + self.said))
                text = "".join(f"{token} " for token in self.said[self._shown :])
                self._shown = len(self.said)
                yield Chunk(text)
                held.append(self.said[-1])
                self.computed += 1
                engine.computed += 1
            yield Chunk(finish="length", usage=Usage(len(self.prompt), len(self.said)))
        finally:
            try:
                await asyncio.sleep(engine.pace)
            finally:
                engine.working.discard(slot)

    async def _work(self) -> None:
        await asyncio.sleep(self._engine.pace)
        if self._engine.dead:
            raise EngineUnavailable("the engine has died", engine="slotted")


def answer(prompt: str, tokens: int) -> str:
    """What the engine says."""
    context = [zlib.crc32(word.encode()) % VOCABULARY for word in prompt.split()]
    said: list[int] = []
    for _ in range(tokens):
        said.append(after(context + said))
    return "".join(f"{token} " for token in said)
