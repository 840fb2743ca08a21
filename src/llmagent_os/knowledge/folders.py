"""Folders kept in step: what is new or changed goes in, what has vanished goes out, what cannot be read is named.

A look into a folder, and the reading of a file, may take for ever (a log of the kernel's, a share of a server that is
gone). Both are done in another process, with a limit of seconds.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..core import codec
from ..core.errors import Conflict, InvalidRequest, MissingExtra
from ..core.outside import outside
from ..core.places import told as shown
from ..core.records import Document, Json, Place
from ..core.trees import Closed, plain, walk
from .base import Knowledge, Said, digest, named
from .readers import LARGEST, aside, documents_of

NAMED = 1000  # files that are named, of those that were skipped
HIDDEN = (".", "__pycache__", "node_modules")
"""How the names of files and folders begin that are nobody's documents."""
LOOKING = 600.0  # seconds that it may take to find all the files of a folder
MADE_UP = frozenset(
    ["bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl", "proc", "pstore", "securityfs",
     "sysfs", "tracefs"]
)  # fmt: skip
"""File systems that hold no documents: a kernel makes up what is read there."""


@dataclass(slots=True)
class Synced:
    """What came of a folder: how many files went in, stayed as they were, went out; and which could not be read, why.

    `left` is about how many seconds more it takes. Who sets `stopped` has it end with the file that it is at.
    """

    files: int = 0
    done: int = 0
    added: int = 0
    same: int = 0
    removed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    left: float = 0.0
    stopped: bool = False

    def told(self) -> dict[str, Json]:
        """As JSON."""
        return asdict(self)

    def skip(self, path: str, why: str) -> None:
        """One cannot be read."""
        if len(self.skipped) < NAMED:
            self.skipped[path] = why


async def sync(
    knowledge: Knowledge, place: Place, folder: Path, tags: Sequence[str] | None = None,
    trusted: bool | None = None, told: Callable[[Synced], None] = lambda synced: None, own: Path | None = None,
) -> Synced:  # fmt: skip
    """Have the documents of a place that are from a folder be what is in it; its files are told from their content.

    Where nothing is said of `tags`, or of whether its words may direct an agent (`trusted`), each file keeps what was
    said of it before; a new one has the tags that all have, and is not trusted.

    Left out is what is on another file system than the folder (and what is known of it stays), and `own`: a folder of
    the system itself. `told` hears how far it is, as does who looks into `Knowledge.syncing`. Stopped, it goes on where
    it was when it is called again. Raises InvalidRequest where there is no such folder, or it is `own` or holds no
    documents, and where no end is found of it; Conflict where it is at work on that already.
    """
    synced, key = Synced(), (place, os.path.realpath(folder))
    if key in knowledge.syncing:
        raise Conflict(f"{shown(str(folder))} is being read already: see how far it is, or stop that")
    knowledge.syncing[key] = synced
    try:
        return await _sync(knowledge, place, folder, tags, trusted, told, own, synced)
    finally:
        del knowledge.syncing[key]


async def _sync(
    knowledge: Knowledge, place: Place, folder: Path, tags: Sequence[str] | None, trusted: bool | None,
    told: Callable[[Synced], None], own: Path | None, synced: Synced,
) -> Synced:  # fmt: skip
    began = time.monotonic()
    looked = outside(_looked, str(folder), str(own or ""), source=shown(str(folder)), seconds=LOOKING, cpu=LOOKING)
    top, files, others, shut = await looked
    before = knowledge.sources(place, os.path.join(top, ""))
    for path, why in shut:
        synced.skip(shown(path), why)
    synced.files, there = len(files), {path for path in before if path.startswith(others)}
    first = next(iter(before.values())).tags if before else ()
    common = tuple(tag for tag in first if all(tag in each.tags for each in before.values()))
    for path, size in files:
        there.add(path)
        was = before.get(path, Said("", common, trusted=False))
        wanted = Said(was.hash, was.tags if tags is None else tuple(tags), was.trusted if trusted is None else trusted)
        if not await _one(knowledge, place, path, size, wanted, synced) and path in before:
            await knowledge.remove(place, path)  # what it said is not what it says
        synced.done += 1
        synced.left = (time.monotonic() - began) / synced.done * (synced.files - synced.done)
        told(synced)
        if synced.stopped:
            return synced
    for gone in before.keys() - there:
        synced.removed += await knowledge.remove(place, gone) > 0
    return synced


async def _one(knowledge: Knowledge, place: Place, path: str, size: int, said: Said, synced: Synced) -> bool:
    """Have a file known as it is; False where it cannot be read."""
    try:
        if size > LARGEST:
            raise InvalidRequest(f"it is larger than {LARGEST >> 20} MiB")
        whose = () if said.trusted else (f"document {named(path)}",)
        reader = place.tenant, place.principal
        about, made = await aside(_made, path, said.hash, said.tags, whose, name=path, whose=reader)
        if made is None:
            synced.same += 1
            return True
        found = [replace(each, tags=said.tags, origins=whose, hash=about) for each in made]
        if not found:
            raise InvalidRequest("there is no text in it")
        await knowledge.add(place, found)
        synced.added += 1
        return True
    except (InvalidRequest, MissingExtra) as error:
        synced.skip(shown(path), error.message)
        return False


def _made(path: str, before: str, tags: tuple[str, ...], whose: tuple[str, ...]) -> tuple[str, list[Document] | None]:
    """The hash of a file with what is said of it, and its documents: None where that hash is the one from before."""
    try:
        with plain(path) as file:
            data = file.read(LARGEST + 1) or b""  # None: it would have to be waited for
    except OSError as error:
        raise InvalidRequest(error.strerror or str(error), parameter="file") from None
    if len(data) > LARGEST:
        raise InvalidRequest(f"it is larger than {LARGEST >> 20} MiB", parameter="file")
    about = digest(codec.dumps([digest(data), tags, whose]))
    return about, None if about == before else documents_of(data, path)


def _looked(
    folder: str, own: str
) -> tuple[str, list[tuple[str, int]], tuple[str, ...], list[tuple[str, str]]]:  # fmt: skip
    """A folder's real path; the plain files in it and below, with their sizes; how the paths begin that were left out;
    and what is shut, with why. Links are not followed.
    """
    top, own = os.path.realpath(folder), own and os.path.realpath(own)
    if not os.path.isdir(top):
        raise InvalidRequest(f"{folder} is no folder", parameter="folder")
    device = os.stat(top).st_dev
    if top == own or _kind(device) in MADE_UP:
        raise InvalidRequest(f"{folder} holds no documents: it is the system's own", parameter="folder")
    files, others, shut = list[tuple[str, int]](), list[str](), Closed(NAMED)
    for here in walk(Path(top), shut):
        folders = [name for name in here.folders if not name.startswith(HIDDEN)]
        here.folders.clear()
        for name in folders + here.others:
            path = here.path + name
            try:
                about = os.stat(name, dir_fd=here.at, follow_symlinks=False)
            except OSError as why:
                shut(path, why)
                continue
            if stat.S_ISREG(about.st_mode) and not name.startswith(HIDDEN):
                files.append((os.path.join(top, path), about.st_size))
            elif stat.S_ISDIR(about.st_mode):
                whole = os.path.join(top, path)
                if whole == own:
                    shut(whole, OSError("it is the system's own"))
                elif about.st_dev != device:
                    shut(whole, OSError("it is on another file system: sync it by its own name"))
                    others.append(os.path.join(whole, ""))
                else:
                    here.folders.append(name)
    return top, files, tuple(others), [(os.path.join(top, path), why) for path, why in shut.first]


def _kind(device: int) -> str:
    """Of what kind a file system is, where that is told."""
    with suppress(OSError), open("/proc/self/mountinfo", errors="replace") as mounts:
        for mount in mounts:
            about = mount.split()
            if about[2] == f"{os.major(device)}:{os.minor(device)}":
                return about[about.index("-") + 1]
    return ""
