"""The data folder: one running system may hold it, and says so."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import DataFolderBusy


class Claim:
    """Holds the lock on a data folder until `release` or the end of the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, creating it; raises DataFolderBusy with the pid of the process that holds it."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = open(folder / "lock", "a+")  # noqa: SIM115 - held open: the lock lives as long as the file
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
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

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
