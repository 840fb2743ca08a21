"""Adapters that come and go while a model serves: nothing is dropped, and nothing of one is left in another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest, NotFound
from llmagent_os.core.records import GenerateRequest, Message, ModelSpec, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.llm.llamacpp import LlamaCpp, open_engine
from llmagent_os.llm.tuned import adapters_of, deploy, digest, withdraw
from tests.stand_ins.gateway import gate

pytestmark = pytest.mark.model
numpy = pytest.importorskip("numpy")
gguf_file = pytest.importorskip("llmagent_os.finetune.gguf_file")

ASKED = Message("user", "Name three colours.")


def made(path: Path, model: Path, seed: int) -> str:
    """An adapter that changes what the model says, drawn at random; its sha256."""
    shape, drawn = gguf_file.ModelFile(model).shape, numpy.random.default_rng(seed)
    pairs = {
        f"blk.{layer}.attn_output.weight": (
            drawn.normal(0, 0.05, (4, shape.heads * shape.head)), drawn.normal(0, 0.05, (shape.width, 4)),
        )
        for layer in range(0, shape.layers, 3)
    }  # fmt: skip
    return str(gguf_file.save_adapter(path, shape, 8.0, pairs))


def tuned(folder: Path, model: Path, seed: int, name: str) -> Path:
    """A folder as `Finetuner.save_model` writes one."""
    folder.mkdir(parents=True)
    digest_ = made(folder / "adapter.gguf", model, seed)
    base = {"name": "smollm2-135m-instruct", "source": str(model), "size": model.stat().st_size}
    told = {"engine": "adapter", "name": f"{name}-{digest_[:16]}", "sha256": digest_, "base": base}
    (folder / "tuned.json").write_text(json.dumps(told))
    return folder


@asynccontextmanager
async def opened(model: Path, **adapters: str) -> AsyncIterator[LlamaCpp]:
    options: dict[str, Any] = {"slots": 2, "threads": 2, "adapters": adapters}
    engine = await open_engine(ModelSpec("tiny", "llamacpp", str(model), window=1024, options=options))
    try:
        yield engine
    finally:
        await engine.close()


async def likely(engine: LlamaCpp, adapter: str | None) -> dict[int, float]:
    context = await engine.encode(GenerateRequest("tiny", (ASKED,)))
    return dict((await engine.step([context], [0], 5, adapter))[0])


async def test_what_runs_goes_on_and_what_comes_is_as_from_a_cold_start(tiny_model: Path, tmp_path: Path) -> None:
    one, two = str(tmp_path / "one.gguf"), str(tmp_path / "two.gguf")
    made(Path(one), tiny_model, 1)
    made(Path(two), tiny_model, 2)
    async with opened(tiny_model, one=one, two=two) as cold:
        wanted = {name: await likely(cold, name) for name in ("one", "two", "")}
    assert wanted["one"] != pytest.approx(wanted[""]) and wanted["one"] != pytest.approx(wanted["two"])
    greedy = GenerateRequest("tiny", (ASKED,), sampling=Sampling(max_tokens=60, temperature=0.0))
    async with opened(tiny_model) as engine:
        whole = await collect(engine.generate(greedy), "tiny", "llamacpp")
        work = await engine.begin(greedy)
        chunks = work.run(1)
        text, count = "", 0
        async for chunk in chunks:
            text, count = text + chunk.text, count + bool(chunk.text)
            if count == 5:
                await engine.adopt({"one": one, "two": two})
            if count == 20:  # off its slot, and on again: now on the new server
                break
        await chunks.aclose()
        async for chunk in work.run(1):
            text += chunk.text
        assert text == whole.text
        for name in ("one", "", "two", "one", "two", ""):
            assert await likely(engine, name) == pytest.approx(wanted[name], abs=1e-3), name
        assert await likely(engine, None) == pytest.approx(wanted[""], abs=1e-3)
        await engine.adopt({"two": two})
        assert await likely(engine, "two") == pytest.approx(wanted["two"], abs=1e-3)
        with pytest.raises(NotFound, match="one"):
            await likely(engine, "one")


async def test_adapters_are_kept_by_what_is_in_them(tiny_model: Path, tmp_path: Path, models_folder: Path) -> None:
    spec = ModelSpec("smollm2-135m-instruct", "llamacpp", str(tiny_model))
    folder = tuned(tmp_path / "tuned", tiny_model, 1, "colours")
    name = deploy(spec, folder)
    assert deploy(spec, folder) == name and list(adapters_of(spec.name)) == [name]
    assert name.endswith(digest(folder / "adapter.gguf")[:16])
    with pytest.raises(InvalidRequest, match="was tuned from"):
        deploy(ModelSpec("other", "llamacpp", str(tmp_path)), folder)
    withdraw(spec.name, name)
    assert adapters_of(spec.name) == {}
    with pytest.raises(NotFound):
        withdraw(spec.name, name)


async def test_a_running_system_is_given_an_adapter_and_an_agent_has_it(
    tiny_model: Path, tmp_path: Path, models_folder: Path
) -> None:
    models_folder.mkdir()
    (models_folder / tiny_model.name).symlink_to(tiny_model)
    folder = tuned(tmp_path / "tuned", models_folder / tiny_model.name, 1, "colours")
    async with gate(tmp_path / "data", model="tiny") as api:
        spec = {"name": "painter", "model": "tiny", "sampling": {"temperature": 0.0, "max_tokens": 12}}
        assert (await api.post("/v1/agents", spec))[0] == 201

        async def says() -> str:
            status, task = await api.post("/v1/agents/painter/messages", {"text": "Name three colours."})
            assert status == 200, task
            return str(task["reply"]["text"])

        before = await says()
        running = asyncio.ensure_future(says())
        status, done = await api.post("/v1/models/tiny/adapters", {"source": str(folder)})
        assert status == 201 and await running == before
        adapter = done["adapter"]
        assert (await api.ask("PATCH", "/v1/agents/painter", json={"adapter": adapter}))[0] == 200
        changed = await says()
        assert changed != before
        assert (await api.ask("PATCH", "/v1/agents/painter", json={"adapter": None}))[0] == 200
        assert await says() == before
        status, error = await api.post("/v1/models/tiny/adapters", {"source": str(tmp_path)})
        assert status in (400, 422), error
        assert (await api.ask("DELETE", f"/v1/models/tiny/adapters/{adapter}"))[0] == 204
        assert (await api.ask("PATCH", "/v1/agents/painter", json={"adapter": adapter}))[0] == 200
        status, error = await api.post("/v1/agents/painter/messages", {"text": "Name three colours."})
        assert status != 200
    async with gate(tmp_path / "data", model="tiny") as api:  # and after a restart
        assert (await api.post("/v1/models/tiny/adapters", {"source": str(folder)}))[0] == 201
        status, task = await api.post("/v1/agents/painter/messages", {"text": "Name three colours."})
        assert status == 200 and task["reply"]["text"] == changed
