"""The files of a workspace that a call names: what a person has to see of them before they say yes.

Code names files by their paths, by their names in a folder that it goes to, by the name of a module; and a script names
others. Each that is named is told with a digest of what is in it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import translate
from hashlib import sha256
from pathlib import Path

from ..core.places import folders, told
from .aside import marks, plain, walked

MOST = 50  # files that are told one by one
PATTERNS, LONGEST = 1000, 255  # that are tried on the names of all files, and letters of one
READ = 1 << 16  # bytes of a file in which names of others are looked for
CHUNK = 1 << 20
REST = "(the other files)"
"""What stands for all files, where more are named than are told."""
_WORD = re.compile(r"[\w.+@%~*?-]+")
_SCRIPTS = ("py", "sh", "bash", "mk", "")  # endings of files that name others


class NamedFiles:
    """Looks into workspaces, which are folders below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def digests(self, home: str, texts: Sequence[str]) -> dict[str, str]:
        """The files of a workspace (see `Ticket.home`) that texts name, by path, each with `sha256:` and hex digits.

        Of a link it is where that leads. With more than 50, one digest stands for all files there are.
        """
        folder = self._root.joinpath(*folders(home))
        return await asyncio.to_thread(_digests, folder, texts) if folder.is_dir() else {}


def _digests(folder: Path, texts: Iterable[str]) -> dict[str, str]:
    left = sorted(_files(folder))
    said, found = list(texts), dict[str, str]()
    while new := dict.fromkeys(_named(left, said)):
        said, left = [], [path for path in left if path not in new]
        for path in new:
            if len(found) >= MOST:
                all_of_them = repr(sorted(marks(folder).items())).encode()
                return found | {REST: f"sha256:{sha256(all_of_them).hexdigest()}"}
            if (looked := _looked_at(folder, path)) is not None:
                found[told(path)], text = looked
                said += [text] if _names_others(path, text) else []
    return found


def _files(folder: Path) -> Iterator[str]:
    for here in walked(folder):
        path = here.path
        yield from (path + name for name in here.others)


def _named(paths: Sequence[str], texts: Sequence[str]) -> Iterator[str]:
    """Those of some paths that texts name; all of them where they hold more patterns than anybody writes."""
    words = {word.strip(".") for text in texts for word in _WORD.findall(text)}
    words |= {part for word in words for part in word.split(".")}  # of a dotted name
    patterns = [word for word in words if ("*" in word or "?" in word) and any(map(str.isalnum, word))]
    if len(patterns) > PATTERNS or any(len(pattern) > LONGEST for pattern in patterns):
        yield from paths
        return
    fits = re.compile("|".join(map(translate, patterns))).match
    for path in paths:
        name = path.rpartition("/")[2]
        odd = not _WORD.fullmatch(name) and any(name in text for text in texts)
        if odd or _names(path) & words or (patterns and fits(name)):
            yield path


def _names_others(path: str, text: str) -> bool:
    name = path.rpartition("/")[2]
    return text.startswith("#!") or name.rpartition(".")[2] in _SCRIPTS or "." not in name


def _names(path: str) -> set[str]:
    """The words that name a file: its name, a module's without the ending, a package's for what is first in it."""
    name = path.rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    names = {name.strip(".")}
    if ending in ("py", "sh", "so"):
        names.add(stem.partition(".")[0])
    if name in ("__init__.py", "__main__.py"):
        names.add(path.rpartition("/")[0].rpartition("/")[2])
    return names - {""}


def _looked_at(folder: Path, path: str) -> tuple[str, str] | None:
    """A digest of a file's content, and how that begins; None where it is gone by now."""
    below, _, name = path.rpartition("/")
    with suppress(OSError):
        at = os.open(folder / below, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.path.islink(folder / path):
                leads = os.readlink(name, dir_fd=at)
                return f"a link to {told(leads)}", leads
            file = plain(name, at)
            if file is None:
                return "no plain file", ""
            with file:
                begins = file.read(READ)
                digest = sha256(begins)
                while more := file.read(CHUNK):
                    digest.update(more)
            return f"sha256:{digest.hexdigest()}", begins.decode(errors="replace")
        finally:
            os.close(at)
    return None
