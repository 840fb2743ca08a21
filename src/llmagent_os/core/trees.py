"""Folders that somebody else fills, gone through and removed however deep they are and whatever is in them.

Python's own functions go a call deeper at every level, and a path has 4,096 bytes at most, while code of an agent may
make sixty thousand levels: here each folder is opened from the one above it, and only a few at a time. That code may be
at work meanwhile, and swap what is found for links: none is followed.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LONGEST = 4095
"""Bytes of a path that a system takes."""

LOOK, ALL = 0o500, 0o700
"""What of a folder of ours may be done by ourselves."""

Shut = Callable[[str, OSError], object]
"""Told of what cannot be gone into, or read: its path, and why."""


class Closed:
    """Hears what is shut, and keeps the first `most` of it: (path, why). What is only gone meanwhile does not count."""

    def __init__(self, most: int = 1) -> None:
        self.count, self.first = 0, list[tuple[str, str]]()
        self._most = most

    def __call__(self, path: str, why: OSError) -> None:
        """One more."""
        if isinstance(why, FileNotFoundError):
            return
        self.count += 1
        if len(self.first) < self._most:
            self.first.append((path, why.strerror or str(why)))


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT = 16  # folders that are open at once, the others are found again


class Folder:
    """One folder of a walk: `at` is it, open for this step; `folders` are in it, and `others`: files, links, pipes.

    Whoever takes a name out of `folders` at this step keeps the walk out of it. `size` is its path's, in bytes.
    """

    __slots__ = ("_above", "at", "folders", "ident", "left", "name", "others", "size")

    def __init__(self, name: str, at: int, above: Folder | None) -> None:
        self.name, self.at, self._above = name, at, above
        self.ident = _ident(at)
        self.size: int = above.size + len(os.fsencode(name)) + 1 if above is not None else 0
        self.folders, self.others = list[str](), list[str]()
        with os.scandir(at) as found:
            for entry in found:
                (self.folders if entry.is_dir(follow_symlinks=False) else self.others).append(entry.name)
        self.folders.sort()
        self.others.sort()
        self.left = 0  # the first of `folders` that was not gone into yet

    @property
    def path(self) -> str:
        """Its path below the top, with a slash at the end; empty for the top."""
        names, folder = list[str](), self
        while folder._above is not None:
            names.append(f"{folder.name}/")
            folder = folder._above
        return "".join(reversed(names))

    def close(self) -> None:
        """Not open any more."""
        if self.at >= 0:
            os.close(self.at)
            self.at = -1


def walk(
    top: Path | int, shut: Shut | None = None, *, longest: int | None = None, last: bool = False, unlock: int = 0
) -> Iterator[Folder]:
    """A folder, by its path or open, and those below it, in order; with `last` each comes after those in it.

    With `unlock` (LOOK, ALL) those of ours that we may not look into, or change, are opened to ourselves for good.
    Paths of more than `longest` bytes are shut. Raises OSError where the top itself cannot be looked into.
    """
    opened = entered(".", top, unlock) if isinstance(top, int) else entered(os.path.realpath(top), None, unlock)
    stack = [_listed("", opened, None)]
    try:
        if not last:
            yield stack[0]
        while stack:
            here = stack[-1]
            if here.left == len(here.folders):
                if last:
                    yield here
                _up(stack, shut)
                continue
            here.left += 1
            below = _below(here, here.folders[here.left - 1], shut, longest, unlock)
            if below is not None:
                if len(stack) > _KEPT:
                    stack[-_KEPT].close()  # never the top: from there the way is found again
                stack.append(below)
                if not last:
                    yield below
    finally:
        for folder in stack:
            folder.close()


def _below(here: Folder, name: str, shut: Shut | None, longest: int | None, unlock: int) -> Folder | None:
    """A folder in another one, open; None for one that is shut."""
    try:
        if longest is not None and here.size + len(os.fsencode(name)) > longest:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return _listed(name, entered(name, here.at, unlock), here)
    except OSError as error:
        if shut is not None:
            shut(here.path + name, error)
        return None


def _listed(name: str, at: int, above: Folder | None) -> Folder:
    """What is in an open folder; where that cannot be told it is closed again."""
    try:
        return Folder(name, at, above)
    except OSError:
        os.close(at)
        raise


def _up(stack: list[Folder], shut: Shut | None) -> None:
    """Done with the last of a stack: have the one above it open."""
    done = stack.pop()
    if stack and stack[-1].at < 0:
        above = stack[-1]
        with suppress(OSError):
            above.at = os.open("..", _FOLDER, dir_fd=done.at)
        if above.at >= 0 and _ident(above.at) != above.ident:  # somebody moved it
            above.close()
        if above.at < 0:
            _again(stack, shut)
    done.close()


def _again(stack: list[Folder], shut: Shut | None) -> None:
    """Open the last of a stack by its way from the top; what is not on it any more is left, with all below it."""
    at, depth = os.dup(stack[0].at), 1
    for folder in stack[1:]:
        try:
            below = os.open(folder.name, _FOLDER, dir_fd=at)
        except OSError:
            break
        if _ident(below) != folder.ident:
            os.close(below)
            break
        os.close(at)
        at = below
        depth += 1
    if depth < len(stack) and shut is not None:
        shut(stack[depth].path[:-1], FileNotFoundError(errno.ENOENT, "it was moved meanwhile"))
    for folder in stack[depth:]:
        folder.close()
    del stack[depth:]
    if stack[-1].at < 0:
        stack[-1].at = at
    else:
        os.close(at)


def entered(name: str, at: int | None, unlock: int) -> int:
    """A folder by its name in another one, open; raises OSError for a link. For `unlock` see `walk`."""
    try:
        opened = os.open(name, _FOLDER, dir_fd=at)
    except PermissionError:
        if not unlock:
            raise
        _unlocked(name, at, unlock)
        return os.open(name, _FOLDER, dir_fd=at)
    if unlock:
        about = os.fstat(opened)
        if about.st_uid == os.geteuid() != 0 and about.st_mode & unlock != unlock:
            os.fchmod(opened, stat.S_IMODE(about.st_mode) | unlock)
    return opened


def _unlocked(name: str, at: int | None, unlock: int) -> None:
    """Open a folder of ours to ourselves; by its name alone that would follow a link."""
    if sys.platform != "linux":
        os.chmod(name, ALL, dir_fd=at, follow_symlinks=False)
        return
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        os.chmod(f"/proc/self/fd/{place}", stat.S_IMODE(os.fstat(place).st_mode) | unlock)
    finally:
        os.close(place)


def _ident(opened: int) -> tuple[int, int]:
    about = os.fstat(opened)
    return about.st_dev, about.st_ino


def below(folder: Path, leave: Callable[[str], bool] = lambda path: False, shut: Shut | None = None) -> Iterator[str]:
    """The relative paths of the files and links below a folder, in order; pipes and the like are none.

    What `leave` says of a path is left out, with all that is in it. Paths that no system takes are shut.
    """
    with suppress(FileNotFoundError):
        for here in walk(folder, shut, longest=LONGEST, unlock=LOOK):
            path = here.path
            here.folders[:] = [name for name in here.folders if not leave(path + name)]
            for name in here.others:
                if not leave(path + name) and _kept(name, here.at):
                    yield path + name


def _kept(name: str, at: int) -> bool:
    with suppress(OSError):
        kind = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
        return stat.S_ISREG(kind) or stat.S_ISLNK(kind)
    return False


def contents(folder: Path, shut: Shut | None = None) -> Iterator[tuple[str, BinaryIO]]:
    """The plain files below a folder, at any depth: the relative path of each, and it, open for this step."""
    for here in walk(folder, shut, unlock=LOOK):
        for name in here.others:
            try:
                file = plain(name, here.at)
            except FileNotFoundError:  # it is none, or gone
                continue
            except OSError as error:
                if shut is not None:
                    shut(here.path + name, error)
                continue
            with file:
                yield here.path + name, file


def remove(folder: Path) -> None:
    """Delete a folder with all that is in it, as far as one may; one that is not there is fine, a link is left."""
    with suppress(OSError):
        top = entered(str(folder), None, unlock=ALL)
        try:
            for here in walk(top, last=True, unlock=ALL):
                for name in here.others:
                    with suppress(OSError):
                        os.unlink(name, dir_fd=here.at)
                for name in here.folders:
                    with suppress(OSError):
                        os.rmdir(name, dir_fd=here.at)
        finally:
            os.close(top)
        folder.rmdir()


def plain(path: str | Path, at: int | None = None) -> BinaryIO:
    """A plain file, by its path or by its name in an open folder, to be read.

    Raises FileNotFoundError for what is gone, or is a link or a pipe by now.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a socket
            raise FileNotFoundError(errno.ENOENT, "it is no plain file", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, "it is no plain file", str(path))
    return open(handle, "rb")
