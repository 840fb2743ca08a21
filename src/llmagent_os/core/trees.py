"""Folders that somebody else fills, gone through and removed however deep they are.

Python's own functions go a call deeper at every level, and code of an agent may make a thousand levels.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def below(folder: Path, leave: Callable[[str], bool] = lambda path: False) -> Iterator[str]:
    """The relative paths of the files and links below a folder, in no order; pipes and the like are none.

    What `leave` says of a path is left out, with all that is in it, and so is what nobody may look into.
    """
    todo = [""]
    while todo:
        base = todo.pop()
        entries: list[os.DirEntry[str]] = []
        with suppress(OSError), os.scandir(folder / base) as found:  # it may be gone meanwhile
            entries += found
        for entry in entries:
            path = base + entry.name
            if leave(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo.append(path + "/")
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield path


def remove(folder: Path) -> None:
    """Delete a folder with all that is in it, as far as one may; one that is not there is fine."""
    todo = [folder]
    while todo:
        here = todo.pop()
        with suppress(OSError):
            here.chmod(0o700)
            with os.scandir(here) as found:
                entries = list(found)
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(_raised(Path(entry.path), folder))
                    else:
                        os.unlink(entry.path)
            if here != folder:
                here.rmdir()
    with suppress(OSError):
        folder.rmdir()


def _raised(deep: Path, top: Path) -> Path:
    """A folder moved up to right below another one, so that its path does not grow with its depth."""
    new = top / uuid.uuid4().hex
    deep.rename(new)
    return new


def plain(path: Path) -> BinaryIO:
    """A plain file, opened to be read; raises FileNotFoundError for what is gone, or is a link or a pipe by now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "it is a link", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, "it is no plain file", str(path))
    return open(handle, "rb")
