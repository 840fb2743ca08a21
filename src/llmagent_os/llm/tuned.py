"""Tuned models: a folder with what was trained, and of which model; any name of a model may be the path of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import codec
from ..core.errors import InvalidRequest, NotFound
from ..core.records import ModelSpec
from .known import known_model, path_of

FILE, ADAPTER = "tuned.json", "adapter.gguf"


def tuned_spec(name: str, folder: Path) -> ModelSpec:
    """How to open the tuned model in a folder: an adapter on its base model, or what labels texts.

    Raises InvalidRequest where the folder is not whole, NotFound where its base model is not here.
    """
    told = read(folder)
    if told["engine"] == "labels":
        return ModelSpec(name, "labels", str(folder))
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
        if told["engine"] == "labels" or (told["sha256"] and told["base"]["name"]):
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
