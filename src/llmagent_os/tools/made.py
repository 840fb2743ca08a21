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
from ..core.trees import remove
from .aside import SHOWN, Mark, marks, plain, walked
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
            more.append(told(path))
    _clear(folder)
    return ({"files": files} if files else {}) | ({"more_files": more} if more else {})


def _written(folder: Path, fresh: set[str]) -> Iterator[tuple[str, bytes]]:
    for place, folders, names, at in walked(folder) if fresh else ():
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = (place / name).as_posix()
            if path in fresh and not name.startswith("."):
                yield from _read(path, name, at)


def _shown(folder: Path) -> Iterator[tuple[str, bytes]]:
    with suppress(FileNotFoundError):
        walk = os.fwalk(folder / SHOWN)  # it holds the folder open
        _, _, names, at = next(walk, ("", [], [], -1))  # nothing, where it is a link
        for name in sorted(names):
            yield from (each for each in _read(name, name, at) if name.endswith(".png") and each[1].startswith(_PNG))


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
