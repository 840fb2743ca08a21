"""Looking at a sandbox from outside: its processes, the memory they hold, the disk they fill; and ending them."""

from __future__ import annotations

import math
import os
import signal
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ...core.trees import LOOK, Shut, walk

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOKS = 3  # at a folder in which things move while they are counted


def family(pid: int) -> list[int]:
    """A process and all below it, those that were orphaned in its PID namespace too."""
    found = [pid]
    for member in found:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{member}/task"):
                found += map(int, Path(f"/proc/{member}/task/{thread}/children").read_text().split())
    return found


def memory(pids: list[int], limit: int) -> int:
    """Bytes that processes hold together. First shared pages are counted often; near the limit they are shared out."""
    held = sum(_of(pid, _resident) for pid in pids)
    return held if held <= limit else sum(_of(pid, _fair_share) for pid in pids)


def _of(pid: int, count: Callable[[str], int]) -> int:
    """What a process holds; of one whose first thread has ended, only the others tell."""
    return count(f"/proc/{pid}") or max((count(f"/proc/{pid}/task/{each}") for each in _threads(pid)), default=0)


def _resident(place: str) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"{place}/statm").read_text().split()[1]) * _PAGE
    return 0


def _fair_share(place: str) -> int:
    """Bytes, a page that n processes share being 1/n of one (PSS)."""
    with suppress(OSError):
        for line in Path(f"{place}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def kill(pid: int) -> None:
    """End a process and all below it, now."""
    for member in reversed(family(pid)):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def survey(folder: Path, owner: int | None = None, most: float = math.inf, shut: Shut | None = None) -> int:
    """Bytes on disk of all files below a folder, a page for each at least; counted until there are more than `most`.

    With `owner` everything there is made that user's. `shut` hears of what is gone, moved or closed to us meanwhile.
    """
    total = 0
    for here in walk(folder, shut, unlock=LOOK):
        for name in (".", *here.others):
            if total > most:
                return total
            try:
                found = os.stat(name, dir_fd=here.at, follow_symlinks=False)
            except OSError as error:
                if shut is not None:
                    shut(name, error)
                continue
            total += max(found.st_blocks * 512, _PAGE)
            if owner is not None and found.st_uid != owner:
                with suppress(FileNotFoundError):
                    os.chown(name, owner, owner, dir_fd=here.at, follow_symlinks=False)
    return total


def overfull(folder: Path, pid: int, most: int, gone: int) -> bool:
    """Whether a folder that a process and those below it work in takes more than `most` bytes of its disk.

    Files that have no name any more count as long as they are open. Where it cannot be told what takes the disk, since
    things are moved, mapped or sent while they are counted, it is the disk that tells: `gone` bytes, more than it may.
    """
    try:
        for _ in range(_LOOKS):
            found, sure = _look(folder, pid, most)
            if sure or found > most:
                return found > most
    except FileNotFoundError:  # somebody deleted it
        return False
    return gone > most


def _look(folder: Path, pid: int, most: int) -> tuple[int, bool]:
    """Bytes that were found, and whether that is all there is."""
    unsure: list[str] = []
    named = survey(folder, most=most, shut=lambda path, why: unsure.append(path))
    nameless, sure = _nameless(family(pid), folder.stat().st_dev)
    return named + nameless, sure and not unsure


def _nameless(pids: Iterable[int], disk: int) -> tuple[int, bool]:
    """Bytes on a disk of the open files of processes that have no name, and whether there can be no others."""
    found, sure = dict[int, int](), True
    for pid in pids:
        for thread in _threads(pid):  # all have the same files (see `seccomp`); one that has ended has none
            place = f"/proc/{pid}/task/{thread}"
            try:
                files = os.listdir(f"{place}/fd")
                sure &= not _mapped(f"{place}/maps", disk)
            except PermissionError:
                sure = False
                continue
            except OSError:  # it has ended
                continue
            for file in files:
                with suppress(OSError):
                    about = os.stat(f"{place}/fd/{file}")
                    if stat.S_ISREG(about.st_mode) and not about.st_nlink and about.st_dev == disk:
                        found[about.st_ino] = about.st_blocks * 512
                    elif stat.S_ISSOCK(about.st_mode):
                        sure &= not _sent(f"{place}/fdinfo/{file}")
            if files:
                break
    return sum(found.values()), sure


def _sent(path: str) -> bool:
    """Whether open files wait in a socket for whoever receives them."""
    return any(line.startswith("scm_fds:") and line.split()[1] != "0" for line in _lines(path))


def _mapped(path: str, disk: int) -> bool:
    """Whether a process has a file without a name in its memory: how large that is nobody says."""
    device = f" {os.major(disk):02x}:{os.minor(disk):02x} "
    anonymous = os.major(disk) == 0  # a device that maps may know by another number
    return any(line.endswith(" (deleted)") and (device in line or (anonymous and " /dev/" not in line))
               for line in _lines(path))  # fmt: skip


def _lines(path: str) -> list[str]:
    return Path(path).read_text(errors="replace").splitlines()


def _threads(pid: int) -> list[str]:
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/task")
    return []


class Group:
    """A control group (version 2) for one sandbox, below a folder that is ours to write: the kernel's own limits."""

    def __init__(self, parent: Path, pids: list[int], memory: int, processes: int) -> None:
        """Make it and move processes in; raises OSError where the folder cannot do that."""
        self._folder = parent / f"sandbox-{pids[0]}"
        self._folder.mkdir(exist_ok=True)
        limits = {"memory.max": memory, "memory.swap.max": 0, "memory.oom.group": 1, "pids.max": processes}
        for name, value in limits.items():
            (self._folder / name).write_text(str(value))
        for pid in pids:
            (self._folder / "cgroup.procs").write_text(str(pid))

    def overran(self) -> bool:
        """Whether the kernel killed it for its memory."""
        with suppress(OSError):
            return "oom_kill 0" not in (self._folder / "memory.events").read_text()
        return False

    def close(self) -> None:
        """Remove it, once its processes have ended."""
        with suppress(OSError):
            self._folder.rmdir()


def threads_of(user: int) -> int:
    """How many threads a user has on this machine: the kernel counts them together."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == user:
                total += len(os.listdir(process / "task"))
    return total
