"""The models that can be named: known ones, added ones, local paths, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import Conflict, InvalidRequest, NotFound
from llmagent_os.core.records import ModelSpec
from llmagent_os.gateway.console import models
from llmagent_os.llm import catalog, registry
from llmagent_os.llm.known import ALIASES, KNOWN, known_model, path_of
from llmagent_os.llm.tuned import adapters_folder

REMOTE = ModelSpec("house", "openai", "http://127.0.0.1:9/v1", model="llama", key_env="HOUSE_KEY", window=8192)

pytestmark = pytest.mark.usefixtures("models_folder")


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "own.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    return path


def test_parts_of_known_models_add_up_to_their_size() -> None:
    for model in KNOWN:
        assert model.part_size * (len(model.wheels) - 1) < model.size <= model.part_size * len(model.wheels)


@pytest.mark.parametrize("alias", ALIASES)
async def test_a_known_model_not_on_disk_says_how_to_get_it(alias: str) -> None:
    with pytest.raises(NotFound, match=f"llmagent-os models pull {ALIASES[alias]}"):
        await catalog.resolve(alias)


async def test_a_known_model_on_disk_opens_by_alias_and_by_name() -> None:
    model = known_model("tiny")
    assert model is not None
    path_of(model).parent.mkdir(parents=True)
    path_of(model).write_bytes(b"GGUF")
    spec = await catalog.resolve("tiny")
    assert spec == await catalog.resolve("smollm2-135m-instruct")
    assert (spec.name, spec.engine, spec.source) == ("smollm2-135m-instruct", "llamacpp", str(path_of(model)))


async def is_here(name: str, progress: Any) -> None:
    """Nothing has to be fetched."""


@pytest.mark.parametrize("name", ["tiny", "mine"])
async def test_what_was_deployed_to_a_model_does_not_make_another_of_it(
    name: str, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up --model tiny` would not start once an adapter of tiny had been deployed."""
    catalog.add(catalog.local_spec("mine", gguf))
    model = known_model("tiny")
    assert model is not None
    path_of(model).parent.mkdir(parents=True, exist_ok=True)
    path_of(model).write_bytes(b"GGUF")
    monkeypatch.setattr(models, "fetch", is_here)
    adapters = adapters_folder(model.name if name == "tiny" else name)
    adapters.mkdir(parents=True)
    (adapters / "tuned-0123456789abcdef.gguf").write_bytes(b"GGUF")
    spec = await models.bring(name, lambda done, total: None)
    assert list(spec.options["adapters"]) == ["tuned-0123456789abcdef"]
    assert [each.spec.name for each in catalog.list_models()].count(spec.name) == 1


async def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'small'"):
        await catalog.resolve("smal")


async def test_added_models_are_remembered_and_resolved(gguf: Path) -> None:
    catalog.add(REMOTE)
    catalog.add(ModelSpec("own", "llamacpp", str(gguf), options={"threads": 2}))
    assert await catalog.resolve("house") == REMOTE
    assert (await catalog.resolve("own")).options == {"threads": 2}
    added = {row.spec.name: row for row in catalog.list_models() if not row.known}
    assert set(added) == {"house", "own"}
    assert (added["own"].size, added["own"].present) == (64, True)


async def test_a_local_path_needs_no_name(gguf: Path, tmp_path: Path) -> None:
    assert (await catalog.resolve(str(gguf))).source == str(gguf)
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert (await catalog.resolve(str(folder))).engine == "transformers"


async def test_a_path_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fake.gguf").write_bytes(b"<html>")
    with pytest.raises(InvalidRequest, match="not a GGUF file"):
        await catalog.resolve(str(tmp_path / "fake.gguf"))
    with pytest.raises(NotFound, match="no model file"):
        await catalog.resolve(str(tmp_path / "gone.gguf"))
    with pytest.raises(InvalidRequest, match=r"config\.json"):
        await catalog.resolve(str(tmp_path))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ModelSpec("a b", "openai", "http://x"), "cannot be a model's name"),
        (ModelSpec("a", "lamacpp", "x.gguf"), "did you mean 'llamacpp'"),
        (ModelSpec("a", "openai", "localhost:8000"), "base URL"),
        (ModelSpec("a", "openai", "http://x", window=-1), "window must not be negative"),
        (ModelSpec("a", "openai", "http://x", key_env="sk-123"), "NAME of the environment variable"),
        (ModelSpec("a", "llamacpp", "/nowhere/x.gguf"), "no model file"),
        (ModelSpec("a", "openai", "http://x", window="wide"), "window: "),  # type: ignore[arg-type]
    ],
)
def test_a_spec_that_cannot_work_is_refused_by_name(spec: ModelSpec, says: str) -> None:
    with pytest.raises((InvalidRequest, NotFound), match=says) as caught:
        catalog.add(spec)
    assert "sk-123" not in caught.value.message
    assert registry.load() == {}


def test_a_file_is_refused_for_another_engine(gguf: Path) -> None:
    with pytest.raises(InvalidRequest, match="is for the engine 'llamacpp'"):
        catalog.add(ModelSpec("a", "transformers", str(gguf)))


def test_names_are_given_once() -> None:
    catalog.add(REMOTE)
    with pytest.raises(Conflict, match="models rm house"):
        catalog.add(REMOTE)
    with pytest.raises(Conflict, match="comes with the system"):
        catalog.add(ModelSpec("tiny", "openai", "http://x"))


def test_removing_forgets_the_entry_and_spares_the_users_file(gguf: Path) -> None:
    catalog.add(ModelSpec("own", "llamacpp", str(gguf)))
    assert catalog.remove("own") == []
    assert gguf.exists()
    with pytest.raises(NotFound, match="own"):
        catalog.remove("own")


def test_removing_a_known_model_deletes_its_file() -> None:
    model = known_model("tiny")
    assert model is not None
    path_of(model).parent.mkdir(parents=True)
    path_of(model).write_bytes(b"GGUF")
    assert catalog.remove("tiny") == [path_of(model)]
    assert catalog.remove("tiny") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: [", "not YAML"),
        ("[1]", "must hold `models:`"),
        ("models: {a: 3}", "must be a mapping"),
        ("models: {a: {engin: openai}}", "did you mean 'engine'"),
        ("models: {a: {engine: openai, limit: many}}", "limit: "),
    ],
)
def test_a_damaged_registry_says_what_to_mend(models_folder: Path, text: str, says: str) -> None:
    models_folder.mkdir()
    (models_folder / "models.yaml").write_text(text)
    with pytest.raises(InvalidRequest, match=says):
        registry.load()
