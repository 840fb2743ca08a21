"""Libraries for code in sandboxes: numpy, pandas and matplotlib, brought by one command and shown there read-only.

They lie in the user's cache, in a folder for the Python that runs inside: `lib` has them, `fonts` the list of fonts
that matplotlib would otherwise make in each call, and `modules.json` says what is there. Which bytes they are is pinned
by hash in `modules.txt`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...core import codec
from ...core.errors import FetchFailed
from ...core.folders import cache_folder

NAMES = ("numpy", "pandas", "matplotlib")
LIBRARIES, FONTS = "lib", "fonts"
LOCK = Path(__file__).with_name("modules.txt")

_ABOUT, _BEFORE = "modules.json", "before"
_STALE = 3600.0  # seconds after which what an attempt left behind is nobody's any more
_PIP: tuple[str, ...] = (
    "--no-input",
    "--disable-pip-version-check",
    "--no-cache-dir",
    "--progress-bar=off",
    "--require-hashes",
)
_PIP += ("--no-deps", "--only-binary=:all:")  # what is in the lock, and no package's own code
_COMES = re.compile(r"Downloading (?P<name>[^-\s]+)-(?P<version>[^-\s]+)-\S+\.whl \((?P<size>[^)]+)\)")
_PROBE = """
import importlib, json, sys
sys.path.append(sys.argv[1])
found = {name: importlib.import_module(name).__version__ for name in sys.argv[2:]}
if "matplotlib" in found:
    importlib.import_module("matplotlib.font_manager")
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Modules:
    """Libraries that are there: versions by name, their `size` in bytes, and which `lock` they are of (its SHA-256)."""

    folder: Path
    versions: Mapping[str, str]
    size: int
    lock: str
    fonts: tuple[str, ...] = ()

    @property
    def current(self) -> bool:
        """Whether they are those that this release brings."""
        return self.lock == _digest(LOCK)


def place(python: Path) -> Path:
    """The folder of libraries for an interpreter, there or not."""
    real = Path(os.path.realpath(python))
    return cache_folder("sandbox") / f"{real.name}-{hashlib.sha256(str(real).encode()).hexdigest()[:8]}"


def found(python: Path) -> Modules | None:
    """The libraries for an interpreter, where they were set up."""
    folder = place(python)
    try:
        return _read(folder, (folder / _ABOUT).stat().st_mtime_ns)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=4)
def _read(folder: Path, changed: int) -> Modules:
    told = codec.loads((folder / _ABOUT).read_bytes())
    return Modules(folder, told["versions"], told["size"], told["lock"], tuple(told["fonts"]))


def set_up(python: Path, tell: Callable[[str], None], lock: Path = LOCK, names: Sequence[str] = NAMES) -> Modules:
    """Bring the libraries of a lock for an interpreter, in place of those that were there; `tell` hears how it goes.

    They are there all at once or not at all; interrupted, it leaves nothing behind. Raises FetchFailed with what went
    wrong.
    """
    target = place(python)
    with _beside(target) as new:
        _install(python, new, lock, tell)
        tell("trying them ...")
        versions = _tried(python, new, names)
        fonts = sorted(path.name for path in (new / FONTS).glob("fontlist-*.json"))
        size = sum(path.lstat().st_size for path in new.rglob("*"))
        about = {"versions": versions, "size": size, "lock": _digest(lock), "fonts": fonts}
        (new / _ABOUT).write_bytes(codec.dumps(about))
        _readable(new)
        with suppress(FileNotFoundError):
            target.rename(new / _BEFORE)
        new.rename(target)
        shutil.rmtree(target / _BEFORE, ignore_errors=True)
    done = found(python)
    assert done is not None
    return done


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """An empty folder to become the target; removed unless it does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob(".new-*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _STALE:
                shutil.rmtree(old)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _install(python: Path, new: Path, lock: Path, tell: Callable[[str], None]) -> None:
    """Have pip fill `lib`; it runs under the interpreter that the libraries are for, which needs none of its own."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *_PIP]
    command += ["--target", str(new / LIBRARIES), "--requirement", str(lock)]
    said: list[str] = []
    with subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(new)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    ) as pip:  # fmt: skip
        assert pip.stdout is not None
        try:
            for line in map(str.strip, pip.stdout):
                said.append(line)
                if comes := _COMES.search(line):
                    tell(f"{comes['name']} {comes['version']}, {comes['size']}")
                elif line.startswith("Installing"):
                    tell("unpacking ...")
        except BaseException:  # an interrupt, which pip in its own session does not hear of
            os.killpg(pip.pid, signal.SIGKILL)
            raise
    if pip.returncode:
        wrong = [line for line in said if "ERROR" in line] or said[-1:]
        raise FetchFailed(f"pip could not bring the libraries for {python}: {' '.join(wrong) or 'it says nothing'}")


def _tried(python: Path, new: Path, names: Sequence[str]) -> dict[str, str]:
    """The versions of the libraries, once each has been imported; the list of fonts is made on the way."""
    (new / FONTS).mkdir()
    environment = {"PATH": os.defpath, "HOME": str(new), "MPLCONFIGDIR": str(new / FONTS)}
    command = [str(python), "-I", "-S", "-c", _PROBE, str(new / LIBRARIES), *names]
    tried = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if tried.returncode:
        last = tried.stderr.strip().rpartition("\n")[2]
        raise FetchFailed(f"the libraries do not work with {python}: {last or f'it ended with {tried.returncode}'}")
    versions: dict[str, str] = codec.loads(tried.stdout.encode())
    return versions


def _readable(folder: Path) -> None:
    """Let everybody read it: where root starts sandboxes, code runs as nobody."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()
