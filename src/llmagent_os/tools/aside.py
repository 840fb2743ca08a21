"""A copy of a workspace, for code that may do with it as it likes: nothing of that lasts.

Other code may be at work in the workspace meanwhile, and swap what it finds for links: folders are walked by
descriptor, and no link is followed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..core.places import told
from ..core.trees import LOOK, Closed, Folder, remove, walk
from .sandbox.watch import survey

Mark = tuple[int, ...]
"""What tells of a file whether it was written to since: no program can set all of it."""

DEEPEST = 1024  # bytes of a path that is kept in mind: of each there may be tens of thousands
NAMED = 200  # paths in a result
CACHES = ("__pycache__", ".cache")  # written by whoever imports a file, or draws a picture: no result of anybody's
SHOWN = ".shown"  # the folder of pictures that code drew to be shown, not to be kept (see `sandbox.inside`)


class Aside:
    """The copy, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.closed = Closed()
        """Folders of the workspace that it has nothing of."""
        self._marks: Mapping[str, Mark] = {}

    def take(self, workspace: Path, owner: int | None = None) -> None:
        """Fill it with the plain files, folders and links of a workspace; with `owner` they become that user's."""
        for here in walked(workspace, self.closed):
            below = self.folder / here.path
            below.mkdir(exist_ok=True)
            for name in here.others:
                with suppress(FileNotFoundError):
                    _copy(name, here.at, below / name)
        survey(self.folder, owner)
        self._marks = marks(self.folder)

    def changed(self) -> list[str]:
        """The paths that are new, gone or written to since it was filled."""
        return changed(self._marks, marks(self.folder))


@contextmanager
def aside() -> Iterator[Aside]:
    """An empty folder to put a workspace aside in; removed with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="llmagent-os-aside-"))
    try:
        yield Aside(folder)
    finally:
        remove(folder)


def walked(top: Path, closed: Closed | None = None) -> Iterator[Folder]:
    """A folder and those below it, but for caches and for those whose paths are too long to be kept in mind."""
    for here in walk(top, closed, longest=DEEPEST, unlock=LOOK):
        here.folders[:] = [name for name in here.folders if name not in (*CACHES, SHOWN)]
        yield here


def _copy(name: str, at: int, target: Path) -> None:
    """Copy one file, or a link as a link; what is neither is left out, as are other names of a file elsewhere."""
    about = os.stat(name, dir_fd=at, follow_symlinks=False)
    if stat.S_ISLNK(about.st_mode):
        os.symlink(os.readlink(name, dir_fd=at), target)
    elif stat.S_ISREG(about.st_mode) and (read := plain(name, at)) is not None:
        with read, target.open("xb") as written:
            shutil.copyfileobj(read, written)
            target.chmod(stat.S_IMODE(os.fstat(read.fileno()).st_mode) & 0o777)


def plain(name: str, at: int) -> BinaryIO | None:
    """A plain file in an open folder, to be read; None for what is none, or has other names elsewhere."""
    try:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError:  # swapped meanwhile
        return None
    about = os.fstat(source)
    if stat.S_ISREG(about.st_mode) and about.st_nlink == 1:
        return os.fdopen(source, "rb")
    os.close(source)
    return None


def marks(top: Path) -> dict[str, Mark]:
    """The mark of every file, folder and link below a folder, by path."""
    found: dict[str, Mark] = {}
    for here in walked(top):
        path = here.path
        for name in (*here.folders, *here.others):
            with suppress(FileNotFoundError):
                about = os.stat(name, dir_fd=here.at, follow_symlinks=False)
                folder = stat.S_ISDIR(about.st_mode)  # what is in it has marks of its own
                times = () if folder else (about.st_size, about.st_mtime_ns, about.st_ctime_ns)
                found[path + name] = (about.st_ino, stat.S_IFMT(about.st_mode), *times)
    return found


def changed(before: Mapping[str, Mark], now: Mapping[str, Mark]) -> list[str]:
    """The paths that are new, gone or written to; of very many the first."""
    return named([path for path in now.keys() | before.keys() if now.get(path) != before.get(path)])


def named(paths: Sequence[str]) -> list[str]:
    """Paths as they are told, in order; of very many the first, and how many there are more."""
    first = [told(path) for path in sorted(paths)[:NAMED]]
    return [*first, f"and {len(paths) - NAMED} more"] if len(paths) > NAMED else first
