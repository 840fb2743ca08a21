"""Tuned models: a folder with what was trained, and of which model; any name of a model may be the path of one."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core import codec
from ..core.errors import InvalidRequest, NotFound, not_found
from ..core.records import ModelSpec
from .known import known_model, models_folder, path_of

FILE, ADAPTER = "tuned.json", "adapter.gguf"
_SUM = re.compile(r".+-([0-9a-f]{16})")


def tuned_spec(name: str, folder: Path) -> ModelSpec:
    """How to open the tuned model in a folder: an adapter on its base model, or what labels texts.

    Raises InvalidRequest where the folder is not whole, NotFound where its base model is not here.
    """
    told = read(folder)
    if told["engine"] != "adapter":
        return ModelSpec(name, told["engine"], str(folder))
    adapter, base = folder / ADAPTER, told["base"]
    if digest(adapter) != told["sha256"]:
        raise InvalidRequest(f"{adapter} is not the file that was saved there; tune again", parameter="source")
    path, known = Path(base["source"]), known_model(base["name"])
    if known is not None and not path.is_file():  # the folder may come from another machine
        path = path_of(known)
    if not path.is_file():
        hint = f"; run: llmagent-os models pull {base['name']}" if known is not None else ""
        raise NotFound(f"the base model of {folder} is not at {path}{hint}", kind="model", name=base["name"])
    if path.stat().st_size != base["size"]:
        raise InvalidRequest(f"{path} is not the model that {folder} was tuned from", parameter="source")
    options = {"adapters": {told["name"]: str(adapter)}, "adapter": told["name"]}
    return ModelSpec(name, "llamacpp", str(path), options=options)


def read(folder: Path) -> Mapping[str, Any]:
    """What a folder says of the tuned model in it; raises InvalidRequest."""
    try:
        told: Mapping[str, Any] = codec.loads((folder / FILE).read_bytes())
        if told["engine"] in ("labels", "encoder") or (told["sha256"] and told["base"]["name"]):
            return told
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{folder / FILE} cannot be read: {error!r}", parameter="source") from error
    raise InvalidRequest(f"{folder / FILE} does not say what was tuned", parameter="source")


def digest(path: Path) -> str:
    """The sha256 of a file; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def adapters_folder(model: str) -> Path:
    """Where the adapters that were deployed to a model lie: NAME-SUM.gguf, where the sum is of what is in it."""
    return models_folder() / "adapters" / model.replace("/", "--").replace(":", "--")


def deployed(file: str) -> bool:
    """Whether a file is an adapter that was deployed."""
    return Path(file).is_relative_to(models_folder() / "adapters")


def adapters_of(model: str) -> dict[str, str]:
    """The adapters that were deployed to a model, by name."""
    return {file.stem: str(file) for file in sorted(adapters_folder(model).glob("*.gguf")) if _SUM.fullmatch(file.stem)}


def adapted(spec: ModelSpec) -> ModelSpec:
    """How to open a model with the adapters that were deployed to it."""
    found = adapters_of(spec.name) if spec.engine == "llamacpp" else {}
    given = spec.options.get("adapters", {})
    return replace(spec, options={**spec.options, "adapters": {**given, **found}}) if found else spec


def deploy(spec: ModelSpec, folder: Path) -> str:
    """Keep the adapter of a tuned model for its base model, and return its name; the same one again is no other.

    Raises InvalidRequest where the folder is of another model, or not whole.
    """
    told = read(folder)
    if told["engine"] != "adapter":
        raise InvalidRequest(f"{folder} holds no adapter; add it as a model of its own", parameter="source")
    opened = tuned_spec(spec.name, folder)
    if Path(opened.source).resolve() != Path(spec.source).expanduser().resolve():
        raise InvalidRequest(f"{folder} was tuned from {opened.source}, not from {spec.name!r}", parameter="source")
    kept = adapters_folder(spec.name)
    kept.mkdir(parents=True, exist_ok=True)
    file = kept / f"{told['name']}.gguf"
    if file.name != f"{told['name']}.gguf" or not told["name"].endswith(told["sha256"][:16]):
        raise InvalidRequest(f"{told['name']!r} does not name what is in {folder}", parameter="source")
    fresh = file.with_suffix(".tmp")
    shutil.copyfile(folder / ADAPTER, fresh)
    fresh.replace(file)
    return file.stem


def withdraw(model: str, adapter: str) -> None:
    """Forget an adapter that was deployed to a model; raises NotFound."""
    found = adapters_of(model)
    if adapter not in found:
        raise not_found("adapter", adapter, found)
    Path(found[adapter]).unlink()
