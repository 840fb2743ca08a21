"""The data folder: one running system may hold it, and says so."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..core.errors import DataFolderBusy, InvalidRequest


def prepare(folder: Path) -> None:
    """Make a data folder where there is none; raises InvalidRequest, with what to do, for one that cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"is there room?")
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: OSError) -> InvalidRequest:
    """Why a data folder cannot be used, and what to do."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if error.errno in (errno.EEXIST, errno.ENOTDIR) or not there.is_dir():
        why = f"{there} is no folder; move it away"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = "its disk is full; make room"
    elif error.errno == errno.EROFS:
        why = "its disk can only be read"
    elif error.errno in (errno.EACCES, errno.EPERM):
        why = f"{there} is of another user (uid {there.stat().st_uid}, you are {os.getuid()}); chown it"
    else:
        why = error.strerror or str(error)
    text = f"the data folder {folder} cannot be used: {why}, or choose another one with --data"
    return InvalidRequest(text, parameter="data")


def private(path: Path) -> None:
    """Make a file of the data folder, and what lies beside it under its name, their owner's alone.

    Where that cannot be had, whoever opens it will say so.
    """
    with suppress(OSError):  # one that is there is not opened: to close it would undo what locks SQLite has on it
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for each in path.parent.glob(f"{path.name}*"):
        with suppress(OSError):
            if each.stat().st_mode & 0o077:
                each.chmod(0o600)


class Claim:
    """Holds the lock on a data folder until `release` or the end of the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, creating it; raises DataFolderBusy with the pid of who holds it, and as `prepare` does."""
        prepare(folder)
        try:
            self._file = open(folder / "lock", "a+")  # noqa: SIM115 - held open: the lock lives as long as the file
        except OSError as error:
            raise unusable(folder, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = holder(folder)
            self._file.close()
            raise DataFolderBusy(
                f"{folder} is in use by process {pid}; stop it (kill {pid}) or start with --data on another folder",
                pid=pid,
                path=str(folder),
            ) from None
        try:
            self._file.truncate(0)
            self._file.write(str(os.getpid()))
            self._file.flush()
        except OSError as error:
            raise unusable(folder, error) from error

    def release(self) -> None:
        """Let the folder go; calling it twice is harmless."""
        self._file.close()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A block in which no other process may hold a folder; raises DataFolderBusy where one does."""
    if holder(folder) == os.getpid():
        yield
        return
    claim = Claim(folder)
    try:
        yield
    finally:
        claim.release()


def holder(folder: Path) -> int | None:
    """The pid written by the process that took the folder last, or None where nobody ever did."""
    try:
        return int((folder / "lock").read_text())
    except (FileNotFoundError, ValueError):
        return None
