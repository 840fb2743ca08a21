"""Folders kept in step: what is new or changed goes in, what has vanished goes out, what cannot be read is named."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.places import told as shown
from ..core.records import Json, Place
from ..core.trees import Closed, walk
from .base import Knowledge, digest, named
from .readers import LARGEST, read

NAMED = 1000  # files that are named, of those that were skipped
HIDDEN = (".", "__pycache__", "node_modules")
"""How the names of files and folders begin that are nobody's documents."""


@dataclass(slots=True)
class Synced:
    """What came of a folder: how many files went in, stayed as they were, went out; and which could not be read, why.

    `left` is about how many seconds more it takes.
    """

    files: int = 0
    done: int = 0
    added: int = 0
    same: int = 0
    removed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    left: float = 0.0

    def told(self) -> dict[str, Json]:
        """As JSON."""
        return asdict(self)

    def skip(self, path: str, why: str) -> None:
        """One cannot be read."""
        if len(self.skipped) < NAMED:
            self.skipped[path] = why


async def sync(
    knowledge: Knowledge, place: Place, folder: Path, tags: Sequence[str] = (), origins: Sequence[str] | None = None,
    told: Callable[[Synced], None] = lambda synced: None,
) -> Synced:  # fmt: skip
    """Have the documents of a place that are from a folder be what is in it; its files are told from their content.

    `told` hears how far it is. Stopped, it goes on where it was when it is called again. Raises InvalidRequest where
    there is no such folder.
    """
    top, synced, began = os.path.realpath(folder), Synced(), time.monotonic()
    if not os.path.isdir(top):
        raise InvalidRequest(f"{folder} is no folder", parameter="folder")
    before, shut = knowledge.sources(place, top + os.sep), Closed(NAMED)
    files = list(_files(Path(top), shut))
    for path, why in shut.first:
        synced.skip(shown(path), why)
    synced.files, there = len(files), set[str]()
    for path, size in files:
        there.add(path)
        await _one(knowledge, place, path, size, before.get(path), (tuple(tags), origins), synced)
        synced.done += 1
        synced.left = (time.monotonic() - began) / synced.done * (synced.files - synced.done)
        told(synced)
    for gone in before.keys() - there:
        synced.removed += await knowledge.remove(place, gone) > 0
    return synced


async def _one(
    knowledge: Knowledge, place: Place, path: str, size: int, before: str | None,
    given: tuple[tuple[str, ...], Sequence[str] | None], synced: Synced,
) -> None:  # fmt: skip
    tags, origins = given
    try:
        if size > LARGEST:
            raise InvalidRequest(f"it is larger than {LARGEST >> 20} MiB")
        data = Path(named(path)).read_bytes()
        whose = (f"document {path}",) if origins is None else tuple(origins)
        about = digest(codec.dumps([digest(data), tags, whose]))
        if about == before:
            synced.same += 1
            return
        made = await read(data, path, (place.tenant, place.principal))
        found = [replace(each, tags=tags, origins=whose, hash=about) for each in made]
        if not found:
            raise InvalidRequest("there is no text in it")
        await knowledge.add(place, found)
        synced.added += 1
    except (InvalidRequest, OSError) as error:
        synced.skip(shown(path), error.message if isinstance(error, InvalidRequest) else error.strerror or str(error))
        if before is not None:  # what it said is not what it says
            await knowledge.remove(place, path)


def _files(top: Path, shut: Closed) -> Iterator[tuple[str, int]]:
    """The plain files of a folder and those below it, with their sizes; links are not followed."""
    for here in walk(top, shut):
        here.folders[:] = [name for name in here.folders if not name.startswith(HIDDEN)]
        for name in here.others:
            try:
                about = os.stat(name, dir_fd=here.at, follow_symlinks=False)
            except OSError as why:
                shut(here.path + name, why)
                continue
            if stat.S_ISREG(about.st_mode) and not name.startswith(HIDDEN):
                yield os.path.join(top, here.path + name), about.st_size
