"""What the benches of the scheduler share: one loaded engine, asked directly and through the OS, in turns.

Direct: a thread a request hands llama.cpp the request, and its own queue does the rest. OS: a process of a kernel
(journal on disk) makes `generate` syscalls. End-of-text tokens are ruled out, so that every answer has its full length;
every round uses prompts of its own, so that no side profits from what another one computed.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from llmagent_os.core import codec
from llmagent_os.core.records import Chunk, GenerateRequest, Message, ModelSpec, Sampling
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.llm.catalog import resolve
from llmagent_os.llm.llamacpp import LlamaCpp, open_engine
from llmagent_os.sched.policies import SchedulerSettings
from llmagent_os.stores.pages import PageFiles
from llmagent_os.stores.sqlite import SQLiteStore

ENDS = {
    "tiny": ("0", "2"),  # <|endoftext|>, <|im_end|>
    "small": ("151643", "151645"),
    "default": ("151643", "151645"),
}
THREADS = 160
WORDS = [
    "river", "house", "bridge", "children", "stones", "bees", "fields", "corn", "hats", "trains", "rain", "hills",
    "under", "past", "because", "where", "never", "old", "every", "throw", "fly", "wait", "break", "come", "run",
]  # fmt: skip


@dataclass(slots=True)
class Answer:
    """When a call was made, when its first token came, when it ended (seconds of `time.perf_counter`), its tokens."""

    asked: float
    first: float = 0.0
    ended: float = 0.0
    tokens: int = 0
    text: list[str] = field(default_factory=list)


Ask = Callable[[Sequence[Message], int], Awaitable[Answer]]
"""Ask for an answer of so many tokens to a conversation."""


class Bed:
    """An engine, and a kernel over it for every side that is measured."""

    def __init__(self, engine: LlamaCpp, model: str, folder: Path) -> None:
        self.engine, self.model, self.folder = engine, model, folder
        self.kernel: Kernel | None = None
        self._threads = ThreadPoolExecutor(THREADS)
        self._seeds = 0

    def words(self, count: int) -> str:
        """About so many tokens of text that was never used before."""
        self._seeds += 1
        numbers = [(self._seeds * 7919 + 31 * n * n) % len(WORDS) for n in range(count)]
        return f"{self._seeds}: " + " ".join(WORDS[n] for n in numbers)

    def request(self, messages: Sequence[Message], tokens: int) -> GenerateRequest:
        """A greedy answer of exactly so many tokens."""
        bias = dict.fromkeys(ENDS[self.model], -100.0)
        sampling = Sampling(max_tokens=tokens, temperature=0.0, logit_bias=bias)
        return GenerateRequest(self.model, tuple(messages), sampling=sampling)

    async def direct(self, messages: Sequence[Message], tokens: int) -> Answer:
        """Ask llama.cpp."""
        answer = Answer(time.perf_counter())
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._direct, messages, tokens, answer)

    def _direct(self, messages: Sequence[Message], tokens: int, answer: Answer) -> Answer:
        def take(raw: bytes) -> bool:
            event = codec.loads(raw)
            if (text := event["choices"][0]["delta"].get("content")) is not None:
                answer.first = answer.first or time.perf_counter()
                answer.text.append(text)
            answer.tokens = event.get("timings", {}).get("predicted_n", answer.tokens)
            return False

        body = {
            "messages": [{"role": m.role, "content": m.content} for m in messages], "stream": True,
            "max_tokens": tokens, "temperature": 0.0, "logit_bias": dict.fromkeys(ENDS[self.model], -100.0),
        }  # fmt: skip
        self.engine.server.native.handle_chat_completions(codec.dumps(body), take)
        answer.ended = time.perf_counter()
        return answer

    @asynccontextmanager
    async def system(
        self,
        settings: SchedulerSettings,
        programs: dict[str, Program] | None = None,
        tenants: Sequence[str] = ("default",),
    ) -> AsyncIterator[dict[str, Sys]]:
        """A kernel over the engine, with a handle for each tenant."""
        self._seeds += 1
        folder = self.folder / f"kernel{self._seeds}"
        folder.mkdir()
        pages = PageFiles(folder / "pages", 2 << 30, 4 << 30)
        store = SQLiteStore(folder / "journal.db")
        kernel = Kernel(
            store, programs or {}, filters=[budgets], sharing=lambda model: settings, pages=pages, checkpoint=512
        )  # fmt: skip

        async def opened() -> Any:
            return self.engine

        kernel.engines.add(self.model, opened, borrowed=True)
        self.kernel = kernel
        try:
            yield {tenant: await kernel.service(f"bench-{tenant}", tenant, tenant) for tenant in tenants}
        finally:
            await kernel.close()

    def limits(self) -> dict[int, float]:
        """What the kernel's dispatcher learned: tokens a second by calls at once."""
        assert self.kernel is not None
        (dispatcher,) = self.kernel.dispatchers.values()
        return {places: round(speed, 1) for places, speed in sorted(dispatcher.limit.speeds.items())}

    async def through(self, sys: Sys, messages: Sequence[Message], tokens: int) -> Answer:
        """Ask through the OS."""
        answer = Answer(time.perf_counter())

        def take(chunk: Chunk) -> None:
            answer.first = answer.first or time.perf_counter()
            answer.text.append(chunk.text)

        found = await sys.generate(self.request(messages, tokens), stream=take)
        answer.ended, answer.tokens = time.perf_counter(), found.usage.output_tokens
        return answer

    async def sides(
        self, work: Callable[[Ask], Awaitable[Any]], settings: dict[str, SchedulerSettings]
    ) -> dict[str, Any]:
        """The same work directly and under each of the settings."""
        found = {"direct": await work(self.direct)}
        for name, each in settings.items():
            async with self.system(each) as handles:
                found[name] = await work(partial(self.through, handles["default"]))
        return found


@asynccontextmanager
async def bed(options: argparse.Namespace, folder: Path, slots: int, window: int) -> AsyncIterator[Bed]:
    """Load the model that the options name."""
    spec = await resolve(options.model)
    engine = await open_engine(ModelSpec(spec.name, spec.engine, spec.source, window=window, limit=slots))
    try:
        made = Bed(engine, options.model, folder)
        await made.direct([Message("user", "Warm up.")], 8)
        yield made
    finally:
        await engine.close()


def chat(text: str, system: str = "You tell stories.") -> list[Message]:
    """A conversation's beginning."""
    return [Message("system", system), Message("user", text)]


def settings(options: argparse.Namespace, **fields: Any) -> SchedulerSettings:
    """The settings that the options ask for."""
    return SchedulerSettings(**{"policy": options.policy, "quantum": options.quantum, **fields})


MODEL = {
    "model": (str, "tiny", "model: tiny, small or default"),
    "policy": (str, "las", "the scheduler's policy"),
    "quantum": (int, SchedulerSettings().quantum, "tokens a call keeps its place at least"),
}
"""Options that every one of these benches has."""
