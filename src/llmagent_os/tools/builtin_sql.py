"""SQL on SQLite files of the workspace.

A database is read whole and opened from memory: SQLite never opens a file by name, so neither a link nor ATTACH
leads it anywhere. What a statement may do is said by an authorizer, how long and how large by limits.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from fnmatch import fnmatchcase
from functools import lru_cache

from ..core.errors import PermissionDenied, ToolFailed
from ..core.records import Json, Ticket
from .builtin_files import LARGEST, Workspaces

ROWS = 500  # that are shown
SECONDS = 2.0  # for all statements of a call: one processor works on nothing else meanwhile
LONGEST = 4 << 20  # bytes of a text or blob
PATTERN = 10_000  # characters of one for LIKE

_LOOK = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_CHANGE = _LOOK | {
    sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_REINDEX, sqlite3.SQLITE_TRANSACTION,
}  # fmt: skip
_ABOUT = frozenset({"table_info", "table_list", "index_list", "foreign_key_list"})


class Databases:
    """SQLite files in workspaces."""

    def __init__(self, files: Workspaces) -> None:
        self._files = files

    def query_sql(self, path: str, query: str, ticket: Ticket) -> dict[str, Json]:
        """Query an SQLite database of your workspace. It is only read; tables are listed in `sqlite_schema`."""
        with _opened(self._read(path, ticket)) as database:
            _limit(database, _LOOK)
            return _rows(database.execute(query))

    def change_sql(self, path: str, statements: list[str], ticket: Ticket) -> dict[str, Json]:
        """Change an SQLite database of your workspace, or make one: all of the statements, or none where one fails."""
        try:
            data = self._read(path, ticket)
        except FileNotFoundError:
            data = b""
        with _opened(data) as database:
            _limit(database, _CHANGE)
            changed = [database.execute(statement).rowcount for statement in statements]
            database.commit()
            database.set_authorizer(None)  # it would keep the pages from being counted
            self._files.write(path, database.serialize(), ticket)
        return {"changed": sum(count for count in changed if count > 0)}

    def _read(self, path: str, ticket: Ticket) -> bytes:
        """A database's bytes without the mark of a write-ahead log, which one in memory cannot have."""
        data = self._files.read(path, ticket)
        if not data.startswith(b"SQLite format 3\0"):
            raise ToolFailed(f"{path} is no SQLite database")
        with suppress(FileNotFoundError, PermissionDenied):
            if data[18:20] != b"\1\1" and self._files.read(f"{path}-wal", ticket):
                raise ToolFailed(f"another program is writing to {path}; try again when it is done")
        return data[:18] + b"\1\1" + data[20:]


@contextmanager
def _opened(data: bytes) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as database:
        if data:
            database.deserialize(data)
        try:
            yield database
        except sqlite3.Error as error:
            raise ToolFailed(f"SQL: {error}") from error


def _limit(database: sqlite3.Connection, actions: frozenset[int]) -> None:
    end = time.monotonic() + SECONDS

    def decide(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        about = action == sqlite3.SQLITE_PRAGMA and first in _ABOUT
        loads = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
        return sqlite3.SQLITE_OK if (action in actions or about) and not loads else sqlite3.SQLITE_DENY

    database.execute("PRAGMA trusted_schema = OFF")
    (page,) = database.execute("PRAGMA page_size").fetchone()
    database.execute(f"PRAGMA max_page_count = {LARGEST // page}")  # a larger one could not be written
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    database.set_progress_handler(lambda: int(time.monotonic() > end), 10_000)
    for name, places, matches in (("like", 2, _like), ("like", 3, _like), ("glob", 2, _glob)):
        database.create_function(name, places, matches, deterministic=True)  # SQLite's own may take for ever over a row
    database.set_authorizer(decide)


def _like(pattern: Json, text: Json, escape: str = "") -> bool | None:
    return None if pattern is None or text is None else _liked(str(pattern), escape).fullmatch(str(text)) is not None


def _glob(pattern: Json, text: Json) -> bool | None:
    return None if pattern is None or text is None else fnmatchcase(str(text), str(pattern).replace("[^", "[!"))


@lru_cache(maxsize=256)
def _liked(pattern: str, escape: str) -> re.Pattern[str]:
    """A pattern of LIKE, looked for piece by piece: no place in the text is tried twice for one of them."""
    if len(pattern) > PATTERN:
        raise ValueError(f"a pattern of LIKE has {PATTERN} characters at most")
    pieces, letters = [""], iter(pattern)
    for letter in letters:
        if letter == "%" and letter != escape:
            pieces.append("")
        elif letter == "_" and letter != escape:
            pieces[-1] += "."
        else:
            pieces[-1] += re.escape(next(letters, "") if letter == escape else letter)
    first, *others = pieces
    ends = f".*{others.pop()}" if others else ""
    return re.compile(
        first + "".join(f"(?>.*?{each})" for each in others if each) + ends, re.DOTALL | re.IGNORECASE | re.ASCII
    )


def _rows(cursor: sqlite3.Cursor) -> dict[str, Json]:
    rows = cursor.fetchmany(ROWS + 1)
    columns = [column[0] for column in cursor.description or ()]
    shown = [[f"<{len(v)} bytes>" if isinstance(v, bytes) else v for v in row] for row in rows[:ROWS]]
    more = {"more": f"only the first {ROWS} rows are shown; add a LIMIT or a WHERE"} if len(rows) > ROWS else {}
    return {"columns": columns, "rows": shown, **more}
