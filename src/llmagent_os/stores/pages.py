"""Context pages as files: the newest in memory (a tmpfs where there is one), the rest on disk, each in its budget.

A page is two files: what the engine wrote, and a header of ours that is written last, so that a page that a crash cut
off is no page. On its way to disk a page gets a checksum.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import zlib
from array import array
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from ..core import codec
from ..core.records import Page

_SHARED_MEMORY = Path("/dev/shm")
_OWNER = "owner"
_CHUNK = 1 << 20
_AT_CLOSE = 1 << 28  # bytes: a second or so


class PageFiles:
    """A `PageStore` in two folders. `ram` and `disk` are budgets in bytes."""

    def __init__(self, folder: Path, ram: int, disk: int) -> None:
        digest = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()
        memory = _SHARED_MEMORY / f"llmagent-os-{digest}" if _SHARED_MEMORY.is_dir() else folder / "recent"
        self._folders = {"ram": memory, "disk": folder}
        self._budgets = {"ram": ram, "disk": disk}
        self._pages: dict[str, Page] = {}
        self._fitting = asyncio.Lock()
        for each in self._folders.values():
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        if memory.parent == _SHARED_MEMORY:
            _sweep()
            (memory / _OWNER).write_text(str(folder.resolve()))
        self._load()

    def _load(self) -> None:
        """Read the headers that are there; whatever has none is the rest of something cut off."""
        for tier in ("disk", "ram"):
            folder = self._folders[tier]
            pages = [page for head in folder.glob("*.head") if (page := _read(head, tier)) is not None]
            whole = {page.name: page for page in pages if page.name not in self._pages and self._whole(page)}
            for file in folder.iterdir():
                if file.stem not in whole and file.suffix in (".head", ".page", ".part"):
                    file.unlink()
            self._pages |= whole

    def found(self, fingerprint: str) -> list[Page]:
        """The pages of a model that are here."""
        return [page for page in self._pages.values() if page.fingerprint == fingerprint]

    def path(self, page: Page) -> Path:
        """The file that the engine reads or writes."""
        return self._folders[page.tier] / f"{page.name}.page"

    def keep(self, page: Page) -> None:
        """Write the header of a page whose file is there."""
        page.size = self.path(page).stat().st_size
        self._write_head(page)
        self._pages[page.name] = page

    def _write_head(self, page: Page) -> None:
        head = codec.dumps({**asdict(page), "tokens": [], "readers": 0}) + b"\n" + array("i", page.tokens).tobytes()
        file = self.path(page).with_suffix(".head")
        part = file.with_suffix(".part")
        part.write_bytes(head)
        part.rename(file)

    def _whole(self, page: Page) -> bool:
        path = self.path(page)
        return path.is_file() and path.stat().st_size == page.size

    async def check(self, page: Page) -> bool:
        """Whether the file is whole: by its size, and once it was on disk by its checksum (CRC-32)."""
        if not self._whole(page) or page.tier == "ram":
            return self._whole(page)
        try:
            return await asyncio.to_thread(_crc, self.path(page)) == page.crc
        except FileNotFoundError:  # deleted meanwhile
            return False

    async def fit(self, worth: Callable[[Page], Any]) -> list[Page]:
        """Move pages from memory to disk and delete pages from disk until both budgets hold."""
        async with self._fitting:
            for page in list(self._over("ram", worth)):
                await self._demote(page)
            gone = list(self._over("disk", worth))
            for page in gone:
                self.drop(page)
            return gone

    def _over(self, tier: Literal["ram", "disk"], worth: Callable[[Page], Any]) -> Iterator[Page]:
        """The pages that a budget has no room for."""
        pages = [page for page in self._pages.values() if page.tier == tier and not page.readers]
        used = sum(page.size for page in pages)
        for page in sorted(pages, key=worth):
            if used <= self._budgets[tier]:
                return
            used -= page.size
            yield page

    async def _demote(self, page: Page) -> None:
        source, moved = self.path(page), replace(page, tier="disk")
        try:
            crc = await asyncio.to_thread(_copy, source, self.path(moved))
        except OSError:  # no space there, or dropped meanwhile: then it is simply gone
            self.path(moved).unlink(missing_ok=True)
            self.drop(page)
            return
        if page.name not in self._pages or page.readers:
            self.path(moved).unlink()
            return
        page.tier, page.crc = "disk", crc
        self._write_head(page)
        source.unlink()
        source.with_suffix(".head").unlink()

    @contextmanager
    def reading(self, page: Page) -> Iterator[Path]:
        """Its file, which stays where it is for the block; dropped meanwhile, it is deleted after it."""
        page.readers += 1
        try:
            yield self.path(page)
        finally:
            page.readers -= 1
            if self._pages.get(page.name) is not page:
                self.drop(page)

    def drop(self, page: Page) -> None:
        """Delete a page, when nobody reads it any more."""
        self._pages.pop(page.name, None)
        if page.readers:
            return
        file = self.path(page)
        file.with_suffix(".head").unlink(missing_ok=True)
        file.unlink(missing_ok=True)

    def forget(self, pids: Collection[int]) -> None:
        """Delete the pages of processes."""
        for page in [page for page in self._pages.values() if page.pid in pids]:
            self.drop(page)

    async def close(self) -> None:
        """Give the memory back: unfinished calls' pages and the newest others go to disk, so far as it is quick."""
        pages = sorted(self._pages.values(), key=lambda page: bool(page.key))  # which keeps the order of coming
        self._budgets["ram"], left = 0, _AT_CLOSE
        for page in reversed([page for page in pages if page.tier == "ram"]):
            left -= page.size
            if left < 0:
                self.drop(page)
        await self.fit(lambda page: page.size)
        if self._folders["ram"].parent == _SHARED_MEMORY:
            shutil.rmtree(self._folders["ram"], ignore_errors=True)


def _sweep() -> None:
    """Give back the memory of systems that were killed and whose data folder is gone."""
    for memory in _SHARED_MEMORY.glob("llmagent-os-*"):
        with suppress(OSError):  # another user's, or its system begins or ends just now
            if not Path(os.fsdecode((memory / _OWNER).read_bytes())).is_dir():
                shutil.rmtree(memory, ignore_errors=True)


def _read(head: Path, tier: str) -> Page | None:
    """A page by its header; None for one that cannot be read."""
    fields, _, tokens = head.read_bytes().partition(b"\n")
    try:
        return Page(**{**codec.loads(fields), "tokens": array("i", tokens).tolist(), "tier": tier})
    except (ValueError, TypeError):
        return None


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            value = zlib.crc32(data, value)
    return value


def _copy(source: Path, target: Path) -> int:
    """Copy a file and return the checksum of what was written."""
    value = 0
    with source.open("rb") as reading, target.open("wb") as writing:
        while data := reading.read(_CHUNK):
            value = zlib.crc32(data, value)
            writing.write(data)
    return value
