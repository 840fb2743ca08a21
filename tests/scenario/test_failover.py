"""Two real servers as replicas of one route: one is killed in the middle of its answers, and nobody notices."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import Config, Routing
from llmagent_os.core.records import Chunk, GenerateRequest, Generation, Message, ModelSpec, Sampling
from llmagent_os.gateway.client import find
from llmagent_os.llm import catalog
from tests.stand_ins.shell import COMMAND, Shell, kill

PROMPTS = ["Tell me about the sea.", "What is a tree?", "Describe a city at night.", "Why do birds sing?"]
TOKENS = 80
RULES = f"- {{text: {'one two three four ' * 20}, pace: 0.03}}"


class Replica:
    """A system in a process of its own; `models` is the folder of its models, None for the scripted `robot` alone."""

    def __init__(self, home: Path, model: str, models: Path | None, stack: ExitStack) -> None:
        home.mkdir()
        shell = Shell(home, RULES, models=models)
        command = [COMMAND, "up", "--model", model, "--port", "0"]
        self._model = model
        self.process = stack.enter_context(
            subprocess.Popen(command, env=shell.environment, cwd=home, stderr=subprocess.DEVNULL, text=True)
        )
        stack.callback(self.process.kill)
        self._shell = shell

    def register(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process know its model, once it answers."""
        self._shell.wait_ready(self.process)
        address = find(self._shell.data)
        monkeypatch.setenv(f"KEY_OF_{name.upper()}", address.key)
        source, key = f"{address.url}/v1", f"KEY_OF_{name.upper()}"
        catalog.add(ModelSpec(name, "openai", source, self._model, limit=4, key_env=key, options={"prefill": True}))


def ask(
    system: System, prompt: str, model: str, watch: Callable[[Chunk], None] | None = None
) -> asyncio.Future[Generation]:
    sampling = Sampling(max_tokens=TOKENS, temperature=0)
    return asyncio.ensure_future(
        system.sys.generate(GenerateRequest(model, (Message("user", prompt),), sampling=sampling), watch)
    )


@pytest.mark.parametrize(
    "model", ["robot", pytest.param("tiny", marks=[pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(300)])]
)  # fmt: skip
async def test_killing_one_of_two_replicas_neither_repeats_nor_drops_a_token(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    models = request.getfixturevalue("tiny_model").parent if model == "tiny" else None
    monkeypatch.setenv("LLMAGENT_OS_MODELS", str(tmp_path / "models"))  # this process's own
    with ExitStack() as processes:
        replicas = {name: Replica(tmp_path / name, model, models, processes) for name in "ab"}
        for name, replica in replicas.items():
            replica.register(name, monkeypatch)
        system = await boot(Config(data=tmp_path / "data", routes={"both": Routing(replicas=["a", "b"])}))
        try:
            alone = (ask(system, prompt, name) for prompt, name in zip(PROMPTS, "abab", strict=True))
            undisturbed = await asyncio.gather(*alone)

            pieces: asyncio.Queue[str] = asyncio.Queue()
            shown: list[list[str]] = [[] for _ in PROMPTS]
            calls = [
                ask(system, prompt, "both", lambda chunk, own=own: (own.append(chunk.text), pieces.put_nowait("")))
                for prompt, own in zip(PROMPTS, shown, strict=True)
            ]
            for _ in range(15 * len(PROMPTS)):
                await pieces.get()
            running = {name: len(system.kernel.dispatchers[name].scheduler.running) for name in replicas}
            assert sum(running.values()) == len(PROMPTS)  # all are in the middle of their answers
            kill(replicas[max(running, key=running.__getitem__)].process)
            answers = await asyncio.gather(*calls)
        finally:
            await system.close()

    for answer, whole, own in zip(answers, undisturbed, shown, strict=True):
        assert (answer.text, answer.finish) == (whole.text, whole.finish) == ("".join(own), whole.finish)
        assert answer.usage.output_tokens == whole.usage.output_tokens
