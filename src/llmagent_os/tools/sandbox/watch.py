"""Looking at a sandbox from outside: its processes, the memory they hold, the disk they fill; and ending them."""

from __future__ import annotations

import math
import os
import signal
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


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
    held = sum(_field(f"/proc/{pid}/statm") for pid in pids)
    return held if held <= limit else sum(map(_fair_share, pids))


def _field(path: str) -> int:
    with suppress(OSError, IndexError):
        return int(Path(path).read_text().split()[1]) * _PAGE
    return 0


def _fair_share(pid: int) -> int:
    """Bytes of a process, a page that n processes share being 1/n of one (PSS)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def kill(pid: int) -> None:
    """End a process and all below it, now."""
    for member in reversed(family(pid)):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def survey(folder: Path, owner: int | None = None, most: float = math.inf) -> int:
    """Bytes on disk of all files below a folder, a page for each at least; counted until there are more than `most`.

    With `owner` everything there is made that user's. The code inside may swap files for links meanwhile: none is
    followed, as folders are walked by descriptor.
    """
    total = 0
    for _, folders, files, place in os.fwalk(folder):
        for name in (*folders, *files, "."):
            if total > most:
                return total
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=place, follow_symlinks=False)
                total += max(found.st_blocks * 512, _PAGE)
                if owner is not None and found.st_uid != owner:
                    os.chown(name, owner, owner, dir_fd=place, follow_symlinks=False)
    return total


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
