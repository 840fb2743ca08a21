"""Files that code made, as parts of its result: what it wrote in its folder, and the pictures that it showed."""

from __future__ import annotations

import mimetypes
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

from ..core.places import told
from ..core.records import Json
from ..core.trees import LOOK, entered, remove, walk
from .aside import SHOWN, Mark, marks, named, plain, walked
from .sandbox.watch import survey
from .toolkit import File

MOST = 10  # files
LARGEST = 8 << 20  # bytes of one
TOGETHER = 24 << 20  # bytes of all

_ANY = "application/octet-stream"
_PNG = b"\x89PNG\r\n"


def before(folder: Path, owner: int | None) -> Mapping[str, Mark]:
    """What is in a folder that code is about to work in, as the user `owner` where it is somebody else."""
    survey(folder, owner)  # now: what is handed over counts as written to
    _clear(folder)  # of a call that was cut off
    return marks(folder)


def made(folder: Path, then: Mapping[str, Mark] | None) -> dict[str, Json]:
    """`files`: what was made in a folder since; `more_files`: the paths of those that are too many, or too large.

    Neither where there are none; with `then` None only pictures that were drawn to be shown, which are taken away. What
    is hidden (`.name`) is no result of anybody's.
    """
    fresh = {path for path, mark in marks(folder).items() if mark != then.get(path)} if then is not None else set()
    files, more, room = list[Json](), list[str](), TOGETHER
    for path, data in chain(_written(folder, fresh), _shown(folder)):
        if len(files) < MOST and len(data) <= min(LARGEST, room):
            files.append(File(told(path), data, mimetypes.guess_type(path)[0] or _ANY).to_json())
            room -= len(data)
        else:
            more.append(path)
    _clear(folder)
    return ({"files": files} if files else {}) | ({"more_files": list[Json](named(more))} if more else {})


def _written(folder: Path, fresh: set[str]) -> Iterator[tuple[str, bytes]]:
    for here in walked(folder) if fresh else ():
        here.folders[:] = [name for name in here.folders if not name.startswith(".")]
        path = here.path
        for name in here.others:
            if path + name in fresh and not name.startswith("."):
                yield from _read(path + name, name, here.at)


def _shown(folder: Path) -> Iterator[tuple[str, bytes]]:
    with suppress(OSError):  # there is none, or a link in its place
        shown = entered(str(folder / SHOWN), None, LOOK)
        try:
            for name in next(walk(shown)).others:
                if name.endswith(".png"):
                    yield from (each for each in _read(name, name, shown) if each[1].startswith(_PNG))
        finally:
            os.close(shown)


def _clear(folder: Path) -> None:
    """Remove what was shown. It is moved out of reach first: code may have put a link to anywhere in its place."""
    gone = folder.parent / f".{uuid.uuid4().hex}"
    with suppress(OSError):
        (folder / SHOWN).rename(gone)
        remove(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink()


def _read(path: str, name: str, at: int) -> Iterator[tuple[str, bytes]]:
    with suppress(OSError):
        if (file := plain(name, at)) is not None:
            with file:
                yield path, file.read(LARGEST + 1)
