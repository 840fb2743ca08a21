"""The models that can be named: those known out of the box, those the user added, and local paths."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import Conflict, NotFound, not_found
from ..core.records import ModelSpec
from .known import ALIASES, KNOWN, KnownModel, known_model, models_folder, part_path, path_of, pulled_folder
from .registry import REMOTE, check, editing, load, local_spec
from .tuned import adapted

ENGINES = ("llamacpp", "openai", "anthropic", "transformers", "scripted", "labels", "encoder")
SCRIPTED = ModelSpec("scripted", "scripted")
"""The model that needs no file: it does what it is told (see `llm.script.follow`)."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of `list_models`: `present` says whether it can be opened now, `size` is in bytes (0: remote)."""

    spec: ModelSpec
    known: bool
    present: bool
    size: int
    aliases: tuple[str, ...] = ()
    licence: str = ""


async def resolve(name: str) -> ModelSpec:
    """Return how to open a model given by alias, known name, registered name, or path of a GGUF file or folder.

    Raises NotFound, which says how to get a known model that is not on this machine, or names the nearest match.
    """
    if known := known_model(name):
        return adapted(_present(known))
    if name == SCRIPTED.name:
        return SCRIPTED
    registered = await asyncio.to_thread(load)
    if name in registered:
        return adapted(registered[name])
    path = Path(name).expanduser()
    if path.suffix == ".gguf" or path.is_dir():
        return local_spec(path.stem, path)
    raise not_found("model", name, _names(registered))


def _names(registered: Iterable[str]) -> set[str]:
    return {*ALIASES, *ALIASES.values(), SCRIPTED.name, *registered}


def _present(model: KnownModel) -> ModelSpec:
    if not path_of(model).is_file():
        message = f"model {model.name!r} is not on this machine yet; run: llmagent-os models pull {model.name}"
        raise NotFound(message, kind="model", name=model.name)
    return _spec(model)


def _spec(model: KnownModel) -> ModelSpec:
    return ModelSpec(name=model.name, engine=model.engine, source=str(path_of(model)))


def list_models() -> list[Listed]:
    """Every model that can be named, the known ones first."""
    scripted = Listed(SCRIPTED, known=True, present=True, size=0)
    return [*map(_listed_known, KNOWN), scripted, *map(_listed_added, load().values())]


def _listed_known(model: KnownModel) -> Listed:
    aliases = tuple(alias for alias, name in ALIASES.items() if name == model.name)
    return Listed(_spec(model), True, path_of(model).is_file(), model.size, aliases, model.licence)


def _listed_added(spec: ModelSpec) -> Listed:
    if spec.engine in REMOTE or not spec.source:
        return Listed(spec, known=False, present=True, size=0)
    path = Path(spec.source)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return Listed(spec, known=False, present=path.exists(), size=sum(file.stat().st_size for file in files))


def add(spec: ModelSpec, engines: Iterable[str] = ENGINES) -> ModelSpec:
    """Register a model under `spec.name` and return it as stored; `engines` are the drivers that exist.

    Raises InvalidRequest naming the field to blame, NotFound for an unknown engine or file, Conflict for a taken name.
    """
    spec = check(spec, engines)
    if known_model(spec.name) or spec.name == SCRIPTED.name:
        raise Conflict(f"{spec.name!r} comes with the system; choose another name", name=spec.name)
    with editing() as models:
        if spec.name in models:
            hint = f"run: llmagent-os models rm {spec.name}"
            raise Conflict(f"a model named {spec.name!r} exists already; {hint}", name=spec.name)
        models[spec.name] = spec
    return spec


def remove(name: str) -> list[Path]:
    """Forget a registered model, or delete a known one's file; returns what was deleted.

    Files outside the models folder are the user's own and stay; what was tuned goes with its last model. Raises
    NotFound.
    """
    if known := known_model(name):
        return _delete(path_of(known), part_path(path_of(known)))
    with editing() as models:
        if name not in models:
            raise not_found("model", name, _names(models))
        spec = models.pop(name)
        others = {each.source for each in models.values()}
    pulled = pulled_folder(name)
    if Path(spec.source).parent == models_folder() / "tuned" and spec.source not in others:
        return _delete(Path(spec.source))
    return _delete(pulled) if Path(spec.source).is_relative_to(pulled) else []


def _delete(*paths: Path) -> list[Path]:
    gone = [path for path in paths if path.exists()]
    for path in gone:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return gone
