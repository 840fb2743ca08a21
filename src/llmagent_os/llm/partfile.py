"""A download on disk: bytes gather in `NAME.part`, hashed as they come, and take their name only when checked."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..core.errors import FetchFailed
from .known import part_path

_BLOCK = 1 << 20
_SPARE = 64 << 20  # bytes to leave free
_LOOK_AGAIN = 0.3  # seconds


class PartFile:
    """The bytes of `target` so far; `have` counts them.

    What an earlier run left is kept, cut to whole multiples of `multiple` bytes. Not thread-safe.
    """

    def __init__(self, target: Path, multiple: int = 1) -> None:
        self.target = target
        self.path = part_path(target)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab+")
        self.have = 0
        self._keep(self.path.stat().st_size // multiple * multiple)

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _keep(self, size: int) -> None:
        self._file.truncate(size)
        self._file.seek(0)
        self._hash = hashlib.sha256()
        while block := self._file.read(_BLOCK):
            self._hash.update(block)
        self.have = size

    def restart(self) -> None:
        """Forget every byte: the source cannot continue where we stopped."""
        self._keep(0)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.have += len(data)

    def finish(self, size: int, sha256: str = "") -> None:
        """Give the file its name. Bytes that are not the expected ones are deleted and FetchFailed says so."""
        self._file.flush()
        found = self._hash.hexdigest()
        if self.have != size or (sha256 and found != sha256):
            self.path.unlink()
            raise FetchFailed(
                f"{self.target.name} is not what it should be, so it was deleted: {self.have} bytes, sha256 {found}; "
                f"expected {size} bytes, sha256 {sha256 or 'unknown'}; try again",
                path=str(self.target),
            )
        os.fsync(self._file.fileno())
        self.path.replace(self.target)


def require_space(folder: Path, missing: int) -> None:
    """Raise FetchFailed unless the disk of `folder` can take `missing` bytes more."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < missing + _SPARE:
        raise FetchFailed(
            f"{missing / 1e6:,.0f} MB are needed and the disk of {folder} has {free / 1e6:,.0f} MB free; "
            "make room, or set LLMAGENT_OS_MODELS to a folder on another disk",
            need=missing + _SPARE,
            free=free,
        )


@asynccontextmanager
async def alone(target: Path) -> AsyncIterator[None]:
    """Hold `target` against other fetchers, of this process or another; waits while one is at work."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        while not _taken(lock.fileno()):
            await asyncio.sleep(_LOOK_AGAIN)
        yield


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
