"""How a sandbox is started: the command line of each level, and what it needs of the machine.

`bwrap` (bubblewrap) gives the code a world of its own: an empty environment, a file system with /usr (read-only), its
workspace and nothing else, no network, no other processes. `landlock` leaves it in ours and fences it in by Landlock
and seccomp. `subprocess` only limits what it uses up, and protects nothing.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from .modules import FONTS, LIBRARIES, Modules
from .seccomp import ARCHES

Level = Literal["bwrap", "landlock", "subprocess"]

NOBODY = "65534"
PROXY_SOCKET, PROXY_PORT = "/run/proxy", 3128

_LANDLOCK_CREATE, _LANDLOCK_ENOUGH = 444, 6  # the version that closes signals and abstract sockets (Linux 6.12)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/ssl/certs", "/etc/ssl/openssl.cnf")
_SCRATCH = 64 << 20  # bytes of /dev/shm
_THREADS, _MOST_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), 4  # each is a process of those code may have
_BORROWED = (Path("/mnt"), Path("/media"))  # where a workspace, and libraries, are shown to whoever cannot walk there
_MODULES, _FONTS = "/modules", "/tmp/matplotlib"


@dataclass(frozen=True, slots=True)
class Cell:
    """How one sandbox is to be started: `folder` is its workspace outside (None: one in memory, of `room` bytes).

    `proxy` is the socket of its way out, `modules` are libraries that code has (see `modules`).
    """

    level: Level
    folder: Path | None
    room: int
    readonly: tuple[Path, ...] = ()
    proxy: Path | None = None
    modules: Modules | None = None

    @property
    def inside(self) -> str:
        """Where the workspace is for the code."""
        if self.level == "bwrap":
            return "/workspace"
        return str(self.outside)

    @property
    def outside(self) -> Path | None:
        """Where the workspace is for whoever starts it: root becomes nobody, who may not be able to walk to it."""
        return _BORROWED[0] if self.folder is not None and _hidden(self.folder) else self.folder

    @property
    def _libraries(self) -> Path | None:
        """Where the folder of libraries is for whoever starts it."""
        folder = self.modules.folder if self.modules is not None else None
        return _BORROWED[1] if folder is not None and _hidden(folder) else folder

    @property
    def libraries(self) -> list[str]:
        """Where code finds libraries, beside those of Python itself."""
        if self._libraries is None:
            return []
        return [_MODULES if self.level == "bwrap" else str(self._libraries / LIBRARIES)]

    def command(self, seccomp: int) -> list[str]:
        """The whole command; `seccomp` is an open file with the filter."""
        python = interpreter()
        words = [str(python), "-I", "-S", "-u", "-c", inside()]
        if self.level == "bwrap":
            words = self._bwrap(python, seccomp) + words
        if os.geteuid() != 0:
            return words
        pairs = ((self.folder, self.outside), (self.modules and self.modules.folder, self._libraries))
        return as_nobody([(theirs, ours) for theirs, ours in pairs if theirs and ours and theirs != ours]) + words

    def _bwrap(self, python: Path, seccomp: int) -> list[str]:
        words = [_which("bwrap"), "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session"]
        words += ["--cap-drop", "ALL", "--hostname", "sandbox", "--seccomp", str(seccomp), "--clearenv"]
        for name, value in self.environ().items():
            words += ["--setenv", name, value]
        for path in map(Path, _SYSTEM):
            if path.is_symlink():
                words += ["--symlink", os.readlink(path), str(path)]
            elif path.is_dir():
                words += ["--ro-bind", str(path), str(path)]
        for name in (*_ETC, *map(str, self.readonly), *_distribution(python)):
            words += ["--ro-bind-try", name, name]
        words += ["--proc", "/proc", "--dev", "/dev", "--size", str(_SCRATCH), "--tmpfs", "/dev/shm"]
        words += ["--remount-ro", "/dev", "--size", str(self.room), "--tmpfs", "/tmp"]
        if self.modules is not None:
            words += ["--ro-bind", f"{self._libraries}/{LIBRARIES}", _MODULES, "--dir", _FONTS]
            for name in self.modules.fonts:
                words += ["--ro-bind", f"{self._libraries}/{FONTS}/{name}", f"{_FONTS}/{name}"]
        if self.proxy is not None:
            words += ["--ro-bind", str(self.proxy), PROXY_SOCKET]  # the socket alone: its folder lies on a disk
        if self.folder is None:
            words += ["--size", str(self.room), "--tmpfs", "/workspace"]
        else:
            words += ["--bind", str(self.outside), "/workspace"]
        return [*words, "--chdir", "/workspace", "--remount-ro", "/", "--"]

    def environ(self) -> dict[str, str]:
        """The few variables that the code has."""
        scratch = "/tmp" if self.level == "bwrap" else self.inside
        proxied = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY") if self.proxy is not None else ()
        found = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": self.inside, "TMPDIR": scratch, "LANG": "C.UTF-8"}
        found |= dict.fromkeys(proxied, f"http://127.0.0.1:{PROXY_PORT}")
        if self.modules is None:
            return found
        fonts = _FONTS if self.level == "bwrap" else f"{self.inside}/.cache/matplotlib"
        found |= {"MPLBACKEND": "Agg", "MPLCONFIGDIR": fonts}
        if _same_python(found["PATH"]):
            found["PYTHONPATH"] = self.libraries[0]
        return found | dict.fromkeys(_THREADS, str(min(os.cpu_count() or 1, _MOST_THREADS)))

    def files(self) -> list[tuple[str, bool]] | None:
        """What Landlock leaves of the files: (path, may it be written); None: everything."""
        if self.level == "subprocess" or landlock_version() < 1:
            return None
        if self.level == "bwrap":  # nothing is there but what was put there
            return [("/", False), *((path, True) for path in ("/dev", "/tmp", PROXY_SOCKET, self.inside))]
        readable = (*_SYSTEM, *_ETC, *map(str, self.readonly), *_distribution(interpreter()), *self.libraries)
        places = [(path, False) for path in readable]
        devices = [(f"/dev/{name}", True) for name in ("null", "zero", "full", "random", "urandom")]
        return [*places, *devices, (self.inside, True)]


def trouble(level: Level, unsafe: bool = False) -> str | None:
    """What keeps a level from working here, with the remedy; None where nothing is missing."""
    if sys.platform != "linux":
        return "code runs in sandboxes on Linux only"
    if level == "subprocess" and not unsafe:
        return "level `subprocess` protects nothing; set `unsafe` to run code in it all the same"
    if level != "subprocess" and platform.machine() not in ARCHES:
        known = " and ".join(ARCHES)
        return f"there is no filter of system calls for {platform.machine()}, only for {known}"
    if level == "bwrap" and shutil.which("bwrap") is None:
        return "bubblewrap is not installed: apt-get install bubblewrap (or dnf, apk add, pacman -S bubblewrap)"
    if level == "landlock" and landlock_version() < _LANDLOCK_ENOUGH:
        return f"this kernel's Landlock has version {landlock_version()}, and 6 is needed: Linux 6.12 or later"
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or shutil.which("unshare") is None):
        return "limits do not bind root, and there is no `setpriv` to become another user: apt-get install util-linux"
    return None


@cache
def landlock_version() -> int:
    """The version of Landlock that this kernel offers; 0 for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_long(0), ctypes.c_long(1)))


def as_nobody(shown: Sequence[tuple[Path, Path]] = ()) -> list[str]:
    """The words that root puts before a command: its limits would not bind root itself.

    Folders that lie where nobody can walk are first shown at other places, (folder, place), to this process alone.
    """
    words = [_which("setpriv"), "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"]
    words += ["--bounding-set=-all", "--no-new-privs", "--"]
    if not shown:
        return words
    script = "".join(f'mount --bind -- "$1" {place} && shift && ' for _, place in shown) + 'exec "$@"'
    start = [_which("unshare"), "--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, "sh"]
    return [*start, *(str(folder) for folder, _ in shown), *words]


@cache
def inside() -> str:
    """What the interpreter inside is handed: `inside.py`, compiled, which it runs if it is of our version."""
    text = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
    compiled = marshal.dumps(compile(text, "<sandbox>", "exec")).hex()
    ours = f"sys.implementation.cache_tag == {sys.implementation.cache_tag!r}"
    return f"import marshal, sys\nexec(marshal.loads(bytes.fromhex({compiled!r})) if {ours} else {text!r})"


def interpreter() -> Path:
    """The Python that runs inside: the system's own, else the one that this one stands on."""
    own = Path(sys.base_prefix, "bin", "python3")
    found = [path for path in (own, Path("/usr/bin/python3"), Path("/usr/local/bin/python3")) if path.exists()]
    return next((path for path in found if path.is_relative_to("/usr")), own)


def _distribution(python: Path) -> list[str]:
    return [] if python.is_relative_to("/usr") else [sys.base_prefix]


def _hidden(folder: Path) -> bool:
    """Whether root, once it has become nobody, could not walk to a folder."""
    return os.geteuid() == 0 and not all(path.stat().st_mode & 1 for path in folder.parents)


@cache
def _same_python(path: str) -> bool:
    """Whether `python3` in a shell there is the interpreter that libraries were brought for."""
    found = shutil.which("python3", path=path)
    return found is not None and os.path.realpath(found) == os.path.realpath(interpreter())


def _which(name: str) -> str:
    return shutil.which(name) or name
