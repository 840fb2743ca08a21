"""Workspace files: each agent has a folder of its own, and no path leads out of it.

A path is walked folder by folder from the workspace, each step opened relative to the one before and never through a
link (openat with O_NOFOLLOW): there is no moment between a check and its use in which a link could be slipped in.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from ..core.errors import PermissionDenied, ToolFailed, nearest
from ..core.places import allowed, folders, meant, steps, told
from ..core.records import Json, Ticket
from ..core.trees import LONGEST, LOOK, Closed, entered, walk

LARGEST = 64 << 20  # bytes of a file that is read or written
LISTED = 1000  # files
FOUND = 200  # lines that a search shows, each of at most:
LINE = 300  # characters
SHOWN = 1000  # characters of a file that is not overwritten
SEARCHED = 4 << 20  # bytes of a file that is searched
PLACES = 5  # where an old text stands that are shown
NEAR, LIKE = 200, 80  # lines that a text is compared with that is not there, and letters of each

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_Found = tuple[str, int, str, int]  # a path as it is told and its bytes; its name, and the folder that has it, open


class Workspaces:
    """The folders of workspaces (`Ticket.home`) below `root`. Paths that a grant does not cover are refused."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read_file(self, path: str, ticket: Ticket, first: int = 1, lines: int = 2000) -> str:
        """Read a text file of your workspace.

        Of a long one you get `lines` lines from line `first` on, counted from 1.
        """
        text = self._text(path, ticket).splitlines(keepends=True)
        shown = "".join(text[max(first, 1) - 1 : max(first, 1) - 1 + lines])
        left = len(text) - max(first, 1) + 1 - lines
        return shown + (f"\n[{left} more lines; read on from line {max(first, 1) + lines}]" if left > 0 else "")

    def write_file(self, path: str, text: str, ticket: Ticket, replace: bool = False) -> str:
        """Write a whole text file into your workspace. Folders are made.

        A file that is there has to keep some of its lines, or `replace` says that all of it may go.
        """
        before = self._before(path, ticket)
        lines = before.split("\n")
        if before.strip() and not replace and not any(line.strip() and line.strip() in text for line in lines):
            raise ToolFailed(
                f"nothing was written: all that {path} has would be lost. It has:\n{before[:SHOWN].rstrip()}\n"
                "Call write_file again with the whole text: those of these lines that stay, and then the new ones; "
                "`replace: true` drops these"
            )
        self.write(path, text.encode(), ticket)
        return f"wrote {len(text)} characters to {path}" + (", in place of what it had" if before else "")

    def append_file(self, path: str, text: str, ticket: Ticket) -> str:
        """Add text at the end of a text file of your workspace, on a new line. One that is not there is made."""
        with suppress(FileNotFoundError):
            if before := self.read(path, ticket).decode():
                text = text.removeprefix("\n")  # written for the new line, which it is on by itself
                text = (before if before.endswith("\n") else f"{before}\n") + text
        self.write(path, (text if text.endswith("\n") else f"{text}\n").encode(), ticket)
        return f"added to {path}, which ends now with: {_end(text)}"

    def edit_file(self, path: str, old: str, new: str, ticket: Ticket) -> str:
        """Replace a piece of a text file of your workspace. `old` has to stand in it once, as the file has it."""
        if not old:
            return self.append_file(path, new, ticket)
        text = self._text(path, ticket)
        begin, end = _place(text, old, path)
        if old == new:
            raise ToolFailed(f"nothing was changed in {path}: the new text is the old one")
        if text[begin:end] != old:  # found without the white space at its ends
            new = new.strip()
        changed = text[:begin] + new + text[end:]
        self.write(path, changed.encode(), ticket)
        return f"changed {path}, where it says now: {_lines_at(changed, begin, begin + len(new))}"

    def list_files(self, ticket: Ticket, folder: str = "", pattern: str = "*") -> list[dict[str, Json]]:
        """List the files of your workspace with their sizes in bytes.

        `folder` is one of its folders, `pattern` as in *.txt.
        """
        found, shut = list[dict[str, Json]](), Closed()
        for path, size, _, _ in self._walk(ticket, folder, pattern, shut):
            if len(found) == LISTED:
                found.append({"more": f"there are more; name a folder, or a pattern instead of {pattern}"})
                break
            found.append({"path": path, "size": size})
        return [*found, *_left(shut, ticket)] if len(found) <= LISTED else found

    def search_files(self, text: str, ticket: Ticket, folder: str = "", pattern: str = "*") -> list[dict[str, Json]]:
        """Find the lines of your workspace's text files in which a text stands, in any case."""
        sought = text.casefold()  # no patterns: a hostile one would hold up everybody
        found, shut = list[dict[str, Json]](), Closed()
        for path, size, name, at in self._walk(ticket, folder, pattern, shut):
            with suppress(OSError, ToolFailed, UnicodeDecodeError):  # no text, or gone meanwhile
                lines = _content(name, at, path).decode().splitlines() if size <= SEARCHED else ()
                for number, line in enumerate(lines, 1):
                    if sought in line.casefold():
                        found.append({"path": path, "line": number, "text": line.strip()[:LINE]})
            if len(found) >= FOUND:
                return [*found[:FOUND], {"more": "there are more; search for something longer"}]
        return [*found, *_left(shut, ticket)]

    def read(self, path: str, ticket: Ticket) -> bytes:
        """A file's bytes; raises PermissionDenied, OSError, or ToolFailed for what is no file or too large."""
        *folders, name = _parts(path, ticket)
        with self._folder(ticket, folders) as folder:
            return _content(_there(name, folder), folder, path)

    def write(self, path: str, data: bytes, ticket: Ticket) -> None:
        """Put a whole file in place at once; raises as `read` does."""
        *folders, name = _parts(path, ticket)
        if len(data) > LARGEST:
            raise ToolFailed(f"that is {len(data)} bytes; the most is {LARGEST}")
        beside = f".{uuid.uuid4().hex}"
        with self._folder(ticket, folders, make=True) as folder:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
            try:
                with open(file, "wb") as opened:
                    opened.write(data)
                os.replace(beside, _there(name, folder), src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(beside, dir_fd=folder)
                raise

    def _text(self, path: str, ticket: Ticket) -> str:
        try:
            return self.read(path, ticket).decode()
        except UnicodeDecodeError:
            raise ToolFailed(f"{path} is not text in UTF-8") from None
        except FileNotFoundError:
            names = [name for name, *_ in islice(self._walk(ticket, "", "*", Closed()), LISTED)]
            raise ToolFailed(f"there is no file {path!r} in the workspace; {nearest(path, names)}") from None

    def _before(self, path: str, ticket: Ticket) -> str:
        """How a file begins; empty where there is no plain one."""
        with suppress(OSError, ToolFailed):
            return self.read(path, ticket)[:SEARCHED].decode(errors="replace")
        return ""

    def _walk(self, ticket: Ticket, folder: str, pattern: str, shut: Closed) -> Iterator[_Found]:
        """The plain files that the grant covers, in order; `shut` gets the folders that cannot be looked into."""
        start = "".join(f"{part}/" for part in _parts(folder, ticket, covered=False))
        with self._folder(ticket, steps(folder)) as top:
            for here in walk(top, shut, longest=LONGEST, unlock=LOOK):
                for name in here.others:
                    path = told(f"{start}{here.path}{name}")
                    if fnmatchcase(told(name), pattern) and allowed(path, ticket.grant.paths):
                        with suppress(FileNotFoundError):  # gone meanwhile
                            about = os.stat(name, dir_fd=here.at, follow_symlinks=False)
                            if stat.S_ISREG(about.st_mode):
                                yield path, about.st_size, name, here.at

    @contextmanager
    def _folder(self, ticket: Ticket, parts: list[str], make: bool = False) -> Iterator[int]:
        """A folder of the workspace, open for the block; the workspace itself is made where it is not there yet."""
        home = folders(ticket.home)
        self._root.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._root, _FOLDER)
        try:
            for depth, part in enumerate([*home, *parts]):
                if make or depth < len(home):
                    with suppress(FileExistsError):
                        os.mkdir(_there(part, folder), dir_fd=folder)
                below = entered(_there(part, folder), folder, LOOK)
                os.close(folder)
                folder = below
            yield folder
        finally:
            os.close(folder)


def _content(name: str, folder: int, path: str) -> bytes:
    """What is in a file of an open folder."""
    file = os.open(name, _FILE, dir_fd=folder)  # a pipe in its place would wait for a writer
    with open(file, "rb") as opened:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:  # its other name may be outside
            raise ToolFailed(f"{path} is no plain file")
        if about.st_size > LARGEST:
            raise ToolFailed(f"{path} has {about.st_size} bytes; the most is {LARGEST}")
        return opened.read(LARGEST)


def _there(name: str, folder: int) -> str:
    """A name in an open folder: it itself, or the one that is told so where that is the one that is there."""
    if (other := meant(name)) == name or _is(name, folder) or not _is(other, folder):
        return name
    return other


def _is(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _left(shut: Closed, ticket: Ticket) -> list[dict[str, Json]]:
    """What is said of folders that could not be looked into; of those that the grant does not cover not their names."""
    said = f"{shut.count} folders could not be looked into"
    named = [f": {told(path)}: {why}" if ticket.grant.paths is None else "" for path, why in shut.first]
    return [{"more": said + each} for each in named]


def _place(text: str, old: str, path: str) -> tuple[int, int]:
    """Where the one piece stands that `old` means: as it is, else with any white space in place of its own.

    Raises ToolFailed with what is nearest to it.
    """
    words = old.split()
    if not words:
        raise ToolFailed("there is no old text; give what is to be replaced, or nothing to add the new text at the end")
    found = list(islice(_exact(text, old), PLACES)) or list(islice(_loose(text, words), PLACES))
    if len(found) == 1:
        return found[0]
    if found:
        lines = " / ".join(_lines_at(text, *place) for place in found)
        times = f"{PLACES} times or more" if len(found) == PLACES else f"{len(found)} times"
        raise ToolFailed(
            f"nothing was changed: the old text stands {times} in {path}: {lines}\n"
            "Give the whole line that is meant; to change all of them, write the whole file again"
        )
    raise ToolFailed(f"nothing was changed: the old text stands 0 times in {path}; {_nearest_line(text, old)}")


def _exact(text: str, old: str) -> Iterator[tuple[int, int]]:
    """Where a piece stands as it is."""
    at = text.find(old)
    while at >= 0:
        yield at, at + len(old)
        at = text.find(old, at + len(old))


def _loose(text: str, words: list[str]) -> Iterator[tuple[int, int]]:
    """Where words stand with any white space between them. Not by a pattern, which would try every place to its end."""
    plain = " ".join(text.split()) if len(text) <= SEARCHED else ""
    for begin, end in _exact(plain, " ".join(words)):
        yield _before(text, plain, begin), _before(text, plain, end - 1) + 1


def _before(text: str, plain: str, place: int) -> int:
    """Where a character stands in a text that stands at a place of it with single spaces."""
    number, first = plain.count(" ", 0, place), plain.rfind(" ", 0, place) + 1
    word = next(islice(re.finditer(r"\S+", text), number, None))
    return word.start() + place - first


def _nearest_line(text: str, old: str) -> str:
    """The hint for an old text that is not there: the line most like its first one, or how the file begins."""
    lines = [line.strip()[:LINE] for line in text[:SEARCHED].splitlines()[:NEAR] if line.strip()]
    near = difflib.get_close_matches(
        old.strip().splitlines()[0][:LIKE], [line[:LIKE] for line in lines], n=1, cutoff=0.3
    )
    if near:
        return f"the nearest line is: {next(line for line in lines if line.startswith(near[0]))}"
    return f"it begins with: {lines[0]}" if lines else "it is empty"


def _lines_at(text: str, begin: int, end: int) -> str:
    """The lines that a piece of a text stands in, cut where they are long."""
    first, last = text.rfind("\n", 0, begin) + 1, text.find("\n", end)
    return " / ".join(text[first : last if last >= 0 else None].strip().splitlines())[:LINE]


def _end(text: str) -> str:
    return " / ".join(text.splitlines()[-2:])[-LINE:]


def _parts(path: str, ticket: Ticket, covered: bool = True) -> list[str]:
    """The steps of a path; raises PermissionDenied for one that leads out or that the grant does not cover."""
    parts = steps(path)
    if covered and not parts:
        raise PermissionDenied(f"{path!r} is no file in the workspace; paths are like notes/today.txt", path=path)
    if covered and not allowed("/".join(parts), ticket.grant.paths):
        raise PermissionDenied(f"the grant does not cover the path {path!r}; add it to `paths` of the grant", path=path)
    return parts
