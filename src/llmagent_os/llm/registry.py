"""`models.yaml`: the models that the user added, checked where they enter."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from ..core import documents
from ..core.errors import InvalidRequest, NotFound, nearest, not_found
from ..core.records import ModelSpec
from ..core.whole import write_whole
from .known import models_folder
from .tuned import FILE, tuned_spec

REMOTE = ("openai", "anthropic")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_FIELDS = {field.name for field in fields(ModelSpec)}
_SPEC = TypeAdapter(ModelSpec)


def registry_path() -> Path:
    """The file that holds the registered models."""
    return models_folder() / "models.yaml"


def load() -> dict[str, ModelSpec]:
    """The registered models by name; raises InvalidRequest that names what is wrong in the file."""
    path = registry_path()
    try:
        data = documents.one(path.read_bytes(), str(path)) or {"models": {}}
    except FileNotFoundError:
        return {}
    rows = data.get("models") if isinstance(data, dict) else None
    if not isinstance(rows, dict):
        raise InvalidRequest(f"{path} must hold `models:` with one entry a name; mend it or delete it")
    return {name: _from_row(f"{path}: model {name!r}", name, row) for name, row in rows.items()}


@contextmanager
def editing() -> Iterator[dict[str, ModelSpec]]:
    """Hold the file alone, and replace it in one step when the block ends well."""
    path = registry_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        models = load()
        yield models
        write_whole(path, yaml.safe_dump({"models": {name: _row(spec) for name, spec in models.items()}}).encode())


def _row(spec: ModelSpec) -> dict[str, Any]:
    return {name: value for name, value in asdict(spec).items() if value and name != "name"}


def _from_row(where: str, name: str, row: Any) -> ModelSpec:
    if not isinstance(row, Mapping):
        raise InvalidRequest(f"{where} must be a mapping with an `engine`")
    for field in row:
        if field not in _FIELDS - {"name"}:
            raise InvalidRequest(f"{where}: no field {field!r}; {nearest(field, _FIELDS)}", parameter=field)
    return _typed(where, {**row, "name": name})


def _typed(where: str, values: dict[str, Any]) -> ModelSpec:
    try:
        return _SPEC.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{where}: {field}: {first['msg']}", parameter=field) from error


def check(spec: ModelSpec, engines: Iterable[str]) -> ModelSpec:
    """Return the spec with a local source made absolute.

    Raises InvalidRequest naming the field to blame, or NotFound for an engine that is not among `engines` or a file
    that is not there.
    """
    spec = _typed(f"model {spec.name!r}", asdict(spec))
    if not _NAME.fullmatch(spec.name):
        raise InvalidRequest(
            f"{spec.name!r} cannot be a model's name: use letters, digits and . _ - : / @", parameter="name"
        )
    if spec.engine not in set(engines):
        raise not_found("engine", spec.engine, engines)
    for field in ("window", "limit", "input_price", "output_price"):
        if getattr(spec, field) < 0:
            raise InvalidRequest(f"{field} must not be negative", parameter=field)
    if spec.key_env and not _VARIABLE.fullmatch(spec.key_env):
        raise InvalidRequest(
            "key_env is the NAME of the environment variable that holds the key (such as OPENAI_API_KEY), not the key",
            parameter="key_env",
        )
    return _with_checked_source(spec)


def _with_checked_source(spec: ModelSpec) -> ModelSpec:
    own_server = spec.engine == "anthropic" and not spec.source
    if spec.engine in REMOTE and not own_server and not spec.source.startswith(("http://", "https://")):
        raise InvalidRequest(
            f"{spec.source!r} is no address of a server: give its base URL, such as http://127.0.0.1:8000/v1",
            parameter="source",
        )
    if spec.engine not in ("llamacpp", "transformers", "labels"):
        return spec
    found = local_spec(spec.name, Path(spec.source))
    if found.engine != spec.engine:
        raise InvalidRequest(f"{found.source} is for the engine {found.engine!r}", parameter="engine")
    return replace(spec, source=found.source, options={**found.options, **spec.options})


def local_spec(name: str, path: Path) -> ModelSpec:
    """Describe a local model: a GGUF file for llama.cpp, a folder as transformers' `save_pretrained` writes it, or
    one with a tuned model.

    Raises NotFound for a path that is not there and InvalidRequest for something else found there.
    """
    path = path.expanduser().absolute()
    if (path / FILE).is_file():
        return tuned_spec(name, path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InvalidRequest(f"{path} has no config.json, so it holds no transformers model", parameter="source")
        return ModelSpec(name=name, engine="transformers", source=str(path))
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError as error:
        raise NotFound(f"there is no model file or folder at {path}", kind="model", name=name) from error
    if magic != b"GGUF":
        raise InvalidRequest(f"{path} is not a GGUF file; convert it with llama.cpp first", parameter="source")
    return ModelSpec(name=name, engine="llamacpp", source=str(path))
