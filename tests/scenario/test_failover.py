"""Two real servers as replicas of one route: one is killed in the middle of its answers, and nobody notices."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from llmagent_os.core.ports import Engine
from llmagent_os.core.records import Chunk, GenerateRequest, Generation, Message, ModelSpec, Route, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.gateway.client import find
from llmagent_os.kernel.router import Engines, Router
from llmagent_os.llm.engines import open_engine
from tests.stand_ins.shell import COMMAND, Shell, kill

PROMPTS = ["Tell me about the sea.", "What is a tree?", "Describe a city at night.", "Why do birds sing?"]
TOKENS = 80


class Replica:
    """A system in a process of its own, with the tiny model, and the engine that asks it."""

    def __init__(self, name: str, home: Path, models: Path, stack: ExitStack) -> None:
        home.mkdir()
        self.shell = Shell(home, "", models=models)
        command = [COMMAND, "up", "--model", "tiny", "--port", "0"]
        self.process = stack.enter_context(
            subprocess.Popen(command, env=self.shell.environment, cwd=home, stderr=subprocess.DEVNULL, text=True)
        )
        stack.callback(self.process.kill)
        self.shell.wait_ready(self.process)
        self.name, self.address = name, find(self.shell.data)

    def spec(self, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
        """How to reach its model."""
        monkeypatch.setenv(f"KEY_OF_{self.name}", self.address.key)
        source, key = f"{self.address.url}/v1", f"KEY_OF_{self.name}"
        return ModelSpec(self.name, "openai", source, "tiny", key_env=key, options={"prefill": True})


async def serve(model: str, engine: Engine, request: GenerateRequest) -> AsyncIterator[Chunk]:
    async for chunk in engine.generate(request):
        yield chunk


def ask(prompt: str, model: str) -> GenerateRequest:
    return GenerateRequest(model, (Message("user", prompt),), sampling=Sampling(max_tokens=TOKENS, temperature=0))


@pytest.mark.model
@pytest.mark.slow
async def test_killing_one_of_two_replicas_neither_repeats_nor_drops_a_token(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as processes:
        replicas = [Replica(name, tmp_path / name, tiny_model.parent, processes) for name in "ab"]
        async with AsyncExitStack() as stack:
            engines = Engines()
            stack.push_async_callback(engines.close)
            for replica in replicas:
                spec = replica.spec(monkeypatch)
                engines.add(spec.name, lambda spec=spec: open_engine(spec))
            engines.add_route("r", Route(("a", "b")))
            router = Router(engines)
            asks = [ask(prompt, name) for prompt, name in zip(PROMPTS, "abab", strict=True)]
            undisturbed = [await collect(router.stream(each, serve)) for each in asks]

            begun: asyncio.Queue[str] = asyncio.Queue()
            asked: dict[str, list[str]] = {}
            calls = [asyncio.ensure_future(watched(router, prompt, begun, asked)) for prompt in PROMPTS]
            for _ in range(25 * len(PROMPTS)):  # all of them are in the middle of their answers
                await begun.get()
            kill(replicas[0].process)
            answers = await asyncio.gather(*calls)

    # each began where its prompt had been read before, and those on the dead one were moved
    assert {tuple(models) for models in asked.values()} == {
        ("a", "b"),
        ("b",),
    }
    for answer, whole in zip(answers, undisturbed, strict=True):
        assert (answer.text, answer.finish) == (whole.text, whole.finish)
        assert answer.usage.output_tokens == whole.usage.output_tokens


async def watched(
    router: Router, prompt: str, begun: asyncio.Queue[str], asked: dict[str, list[str]]
) -> Generation:  # fmt: skip
    """An answer, saying whom it was asked of and when its pieces come."""

    async def noted(model: str, engine: Engine, request: GenerateRequest) -> AsyncIterator[Chunk]:
        asked.setdefault(prompt, []).append(model)
        async for chunk in engine.generate(request):
            yield chunk

    return await collect(router.stream(ask(prompt, "r"), noted), watch=lambda chunk: begun.put_nowait(chunk.text))
