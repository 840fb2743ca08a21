"""What the way through the OS costs a local model: 16 streams at once on the tiny model, direct and through the OS.

Both sides use one loaded engine in this process, in turns, with equal requests. Direct: 16 threads hand llama.cpp the
request and take its events, nothing else. OS: 16 processes of a kernel (journal on disk) make a `generate` syscall each
and look at every chunk. The end-of-text tokens are ruled out, so that every stream has the same length; no prompt comes
twice, so that no side profits from the other's cache.

    python bench/engine.py [--json] [--streams 16] [--tokens 96] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common import Report, folder, gather, interleaved, run

from llmagent_os.core import codec
from llmagent_os.core.records import Chunk, GenerateRequest, Json, Message, ModelSpec, Sampling
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.llm.catalog import resolve
from llmagent_os.llm.llamacpp import LlamaCpp, open_engine
from llmagent_os.stores.sqlite import SQLiteStore

ENDS = {"0": -100.0, "2": -100.0}  # the tiny model's <|endoftext|> and <|im_end|>


class Streams:
    """Numbers the requests, so that none comes twice, and counts the tokens of the answers."""

    def __init__(self, streams: int, tokens: int) -> None:
        self.streams, self.tokens = streams, tokens
        self._asked = 0

    def request(self) -> GenerateRequest:
        self._asked += 1
        text = f"{self._asked:05d}. Tell me a long story about number {self._asked:05d} and its friends."
        sampling = Sampling(max_tokens=self.tokens, temperature=0.0, logit_bias=ENDS)
        return GenerateRequest("tiny", (Message("user", text),), sampling=sampling)

    async def timed(self, work: Callable[[GenerateRequest], Awaitable[int]]) -> dict[str, float]:
        """Tokens a second of all streams together."""
        requests = [self.request() for _ in range(self.streams)]
        began = time.perf_counter()
        counts = await gather(self.streams, lambda number: work(requests[number]))
        took = time.perf_counter() - began
        if counts != [self.tokens] * self.streams:
            raise SystemExit(f"every stream should have {self.tokens} tokens, not {counts}")
        return {"tokens/s": sum(counts) / took}


def direct(engine: LlamaCpp, request: GenerateRequest) -> int:
    """llama.cpp's own server object, in a thread; the number of tokens it made."""
    events: list[bytes] = []

    def take(event: bytes) -> bool:
        events.append(event)
        return False

    sampling = request.sampling
    body = {
        "messages": [{"role": "user", "content": request.messages[0].content}], "stream": True,
        "max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "logit_bias": sampling.logit_bias,
    }  # fmt: skip
    engine.server.native.handle_chat_completions(codec.dumps(body), take)
    return int(codec.loads(events[-1])["timings"]["predicted_n"])


async def tells(sys: Sys, args: Json, state: Json) -> Json:
    """A process that asks the model once and looks at every chunk."""
    seen: list[Chunk] = []
    answer = await sys.generate(codec.generate_request(args), stream=seen.append)
    return answer.usage.output_tokens


async def compare(spec: ModelSpec, options: argparse.Namespace, store: SQLiteStore) -> dict[str, dict[str, float]]:
    """Both sides in turns."""
    engine = await open_engine(spec)
    kernel = Kernel(store, {"tells": Program(tells)}, filters=[budgets])

    async def opened() -> Any:
        return engine

    kernel.engines.add("tiny", opened)
    sys, loop = await kernel.service("bench"), asyncio.get_running_loop()
    streams, threads = Streams(options.streams, options.tokens), ThreadPoolExecutor(options.streams)

    async def through(request: GenerateRequest) -> int:
        pid = await sys.spawn("tells", codec.loads(codec.dumps(request)))
        return int(await sys.wait(pid))

    async def around(request: GenerateRequest) -> int:
        return await loop.run_in_executor(threads, direct, engine, request)

    try:
        cases = {"direct": lambda: streams.timed(around), "OS": lambda: streams.timed(through)}
        await interleaved(cases, 1)
        return await interleaved(cases, options.rounds)
    finally:
        await kernel.close()


def measure(report: Report, options: argparse.Namespace) -> None:
    """Tokens a second, and the ratio."""
    spec = asyncio.run(resolve("tiny"))
    spec = ModelSpec(spec.name, spec.engine, spec.source, window=1024, limit=options.streams)
    with folder() as path:
        found = asyncio.run(compare(spec, options, SQLiteStore(path / "journal.db")))
    case = f"{options.streams} streams"
    for side, values in found.items():
        report.add(case, side, values["tokens/s"], "tokens/s")
    ratio = found["OS"]["tokens/s"] / found["direct"]["tokens/s"]
    report.add(case, "OS of direct", 100 * ratio, "%", at_least=95)


if __name__ == "__main__":
    run(
        "engine", __doc__, measure,
        streams=(int, 16, "at once"), tokens=(int, 96, "tokens a stream"), rounds=(int, 5, "rounds of each side"),
    )  # fmt: skip
