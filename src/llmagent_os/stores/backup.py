"""A data folder copied while its system runs, held against what was copied, and put back.

A backup is a folder like the one it was made of, with `backup.json`: each file's size and SHA-256. The journal comes
last and in one step, so that it has everything that the audit log beside it speaks of.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..core import codec
from ..core.errors import Conflict, InvalidRequest, NotFound
from ..core.places import told
from ..core.trees import Closed, below
from .folder import Claim
from .schema import VERSION, copy_to

JOURNAL, MANIFEST = "journal.db", "backup.json"
LEFT_OUT = ("lock", "server.json", "log", "pages", MANIFEST, f"{JOURNAL}-wal", f"{JOURNAL}-shm")
"""What belongs to a running system, or is made again."""
KEYS = ("vault.key", "key", "audit/signing.key")
"""Files without which a restored system cannot read or prove what the old one kept, and that others must not have."""
WORKSPACES = "workspaces"
UNREAD = 1000  # files that are named, of those that could not be copied
THEIRS = frozenset({None, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR})
"""Errors that code of an agent can bring about by what it leaves in its workspace; None: of a pipe."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: `files` are [size, SHA-256] by path; `without` names what was left out on purpose, `unread`

    files of workspaces that could not be copied, and why.
    """

    made: float
    schema: int
    files: dict[str, list[int | str]]
    without: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def back_up(data: Path, to: Path, without: Collection[str] = ()) -> Manifest:
    """Copy a data folder into an empty one, beside a running system or without one.

    `without` names files and folders to leave out. Raises NotFound where there is no journal, Conflict where `to` has
    something in it or lies in the data folder, whose next backup would have it inside, keys and all.
    """
    if not (data / JOURNAL).is_file():
        raise NotFound(f"there is no journal at {data / JOURNAL}; name the data folder with --data", kind="journal")
    if to.exists() and any(to.iterdir()):
        raise Conflict(f"{to} is not empty; name a new folder")
    _apart(to, data)
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    left_out = {*LEFT_OUT, *without}
    shut = Closed(UNREAD)
    for path in below(data, lambda name: name in left_out or name.startswith(JOURNAL), shut):
        try:
            _copy(data / path, to / path)
        except OSError as error:
            if not path.startswith(f"{WORKSPACES}/") or error.errno not in THEIRS:
                raise
            shut(path, error)  # nobody's code stops a backup
    with closing(sqlite3.connect(data / JOURNAL)) as journal:
        (schema,) = journal.execute("PRAGMA user_version").fetchone()
        copy_to(journal, to / JOURNAL)
    named = sorted(name for name in without if (data / name).exists())
    files = {_written(path): _digest(to / path) for path in _inside(to)}
    manifest = Manifest(time.time(), schema, files, named, _unread(shut))
    with open(os.open(to / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(codec.dumps(asdict(manifest)))
    return manifest


def _unread(shut: Closed) -> list[str]:
    more = shut.count - len(shut.first)
    return [f"{told(path)}: {why}" for path, why in shut.first] + ([f"and {more} more"] if more else [])


def read(backup: Path) -> Manifest:
    """What a backup says of itself; raises NotFound, or InvalidRequest where it cannot be read."""
    try:
        return codec.record(Manifest, codec.loads((backup / MANIFEST).read_bytes()))
    except FileNotFoundError:
        raise NotFound(f"{backup} is no backup: it has no {MANIFEST}", kind="backup") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"{backup / MANIFEST} cannot be read: {error}", parameter=MANIFEST) from error


def faults(backup: Path) -> list[str]:
    """What is not as it was when the backup was made, and why its journal could not be opened; best nothing."""
    manifest = read(backup)
    there, files = set(_inside(backup)), _files(manifest)
    found = [f"{told(path)} is missing" for path in sorted(files.keys() - there)]
    found += [f"{told(path)} was not in it" for path in sorted(there - files.keys())]
    for path in sorted(there & files.keys()):
        if _digest(backup / path) != list(files[path]):
            found.append(f"{told(path)} has changed since")
    if manifest.schema > VERSION:
        found.append(f"it is of a newer LLMAgentOS (schema {manifest.schema}, this one knows {VERSION})")
    if JOURNAL in there and not found:
        found += _damage(backup / JOURNAL)
    return found


def _damage(journal: Path) -> Iterator[str]:
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro&immutable=1", uri=True)) as database:
            for (line,) in database.execute("PRAGMA integrity_check(5)"):
                if line != "ok":
                    yield f"{JOURNAL}: {line}"
    except sqlite3.DatabaseError as error:
        yield f"{JOURNAL} cannot be read: {error}"


def restore(backup: Path, data: Path) -> Manifest:
    """Put a backup into a data folder that has no journal. That comes last: what is cut off can be done again.

    Raises InvalidRequest for a backup that is not as it was made, Conflict for a folder with a journal or one that lies
    in the backup, DataFolderBusy.
    """
    manifest = read(backup)
    _apart(data, backup)
    if found := faults(backup):
        raise InvalidRequest(f"{backup} cannot be restored: {'; '.join(found[:3])}", parameter=str(backup))
    claim = Claim(data)
    try:
        if (data / JOURNAL).exists():
            raise Conflict(f"{data} has a journal already; move it away, or name another folder with --data")
        for path in sorted(_files(manifest).keys() - {JOURNAL}):
            _copy(backup / path, data / path)
        part = data / f"{JOURNAL}.part"
        _copy(backup / JOURNAL, part)
        for rest in (f"{JOURNAL}-wal", f"{JOURNAL}-shm"):  # of another journal: it would be played into this one
            (data / rest).unlink(missing_ok=True)
        part.replace(data / JOURNAL)
    finally:
        claim.release()
    return manifest


def _written(path: str) -> str:
    """A path as JSON can hold it: one that is no UTF-8, as an agent's code may make it, by its bytes after a NUL."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "\0" + os.fsencode(path).hex()
    return path


def _files(manifest: Manifest) -> dict[str, list[int | str]]:
    """The files of a backup by their paths."""
    return {
        os.fsdecode(bytes.fromhex(name[1:])) if name[:1] == "\0" else name: about
        for name, about in manifest.files.items()
    }


def _apart(new: Path, old: Path) -> None:
    """Raise Conflict for a folder that would lie in the one that it is made of."""
    if new.resolve().is_relative_to(old.resolve()):
        raise Conflict(f"{new} lies in {old}; name a folder elsewhere")


def _inside(backup: Path) -> Iterator[str]:
    """The files and links of a backup, without what it says of itself."""
    return below(backup, lambda path: path == MANIFEST)


def _copy(source: Path, to: Path) -> None:
    """Copy a file with its rights, or a link as a link; one that has gone meanwhile is left out."""
    missing = [to.parent]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):  # one by one: they may be deeper than calls can be
        folder.mkdir(exist_ok=True, mode=0o700)
    try:
        if source.is_symlink():  # one that is there, of a copy that was cut off, would be in its way
            to.unlink(missing_ok=True)
        shutil.copy2(source, to, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not to.is_symlink():
        with to.open("rb") as file:
            os.fsync(file.fileno())


def _digest(path: Path) -> list[int | str]:
    if path.is_symlink():
        return [0, f"link {told(str(path.readlink()))}"]
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
