"""Rows from files: JSON, JSON lines, CSV and dialogue logs. What cannot be used is said with its line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core import codec
from ..core.errors import InvalidRequest, NotFound
from ..core.records import Message
from .marked import conll
from .rows import Row, row_of

LONGEST = 1 << 28  # bytes of a file
SPEAKERS = {
    "user": "user", "human": "user", "customer": "user", "q": "user", "assistant": "assistant", "agent": "assistant",
    "bot": "assistant", "ai": "assistant", "a": "assistant", "system": "system",
}  # fmt: skip
"""Who may speak in a dialogue log, and what they are to a model."""
_TURN = re.compile(rf"({'|'.join(SPEAKERS)})\s*:\s*(.*)", re.IGNORECASE)


def read(path: str | Path) -> list[Row]:
    """The rows of a file, by its ending: .jsonl, .json, .csv, .tsv, .conll, or .txt and .log for dialogues.

    A dialogue has lines `User: ...` and `Assistant: ...`, and ends with an empty line; each answer is a row, with what
    was said before it. Raises NotFound, or InvalidRequest that names the file and line.
    """
    path = Path(path).expanduser()
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidRequest(f"{path} is no file of rows; they end in {', '.join(_READERS)}", parameter="file")
    try:
        if path.stat().st_size > LONGEST:
            raise InvalidRequest(f"{path} has over {LONGEST >> 20} MiB; split it", parameter="file")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", kind="file", name=str(path)) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InvalidRequest(f"{path}:{line} is not UTF-8", parameter="file") from error
    rows = list(reader(text, path.name))
    if not rows:
        raise InvalidRequest(f"{path} has no rows in it", parameter="file")
    return rows


def _lines(text: str, name: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield row_of(_json(line, f"{name}:{number}"), f"{name}:{number}")


def _whole(text: str, name: str) -> Iterator[Row]:
    values = _json(text, name)
    if not isinstance(values, list):
        raise InvalidRequest(f"{name} must hold a list of rows", parameter="file")
    for number, value in enumerate(values, 1):
        yield row_of(value, f"{name}, row {number}")


def _json(text: str, where: str) -> Any:
    try:
        return codec.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"{where} is not JSON: {error}", parameter="file", row=where) from None


def _table(mark: str) -> Callable[[str, str], Iterator[Row]]:
    def rows(text: str, name: str) -> Iterator[Row]:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
        try:
            for value in reader:
                where = f"{name}:{reader.line_num}"
                if None in value or None in value.values():
                    count = len(reader.fieldnames or ())
                    raise InvalidRequest(f"{where} has not {count} columns as the first line has", row=where)
                yield row_of(_named(value), where)
        except csv.Error as error:
            raise InvalidRequest(f"{name}:{reader.line_num} is no CSV: {error}", parameter="file") from error

    return rows


def _named(value: Mapping[str, str]) -> dict[str, str]:
    return {name.strip().lower(): text for name, text in value.items()}


def _dialogues(text: str, name: str) -> Iterator[Row]:
    said: list[tuple[str, str, int]] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if not line.strip():
            yield from _answers(said, name)
            said = []
        elif found := _TURN.fullmatch(line.strip()):
            said.append((SPEAKERS[found[1].lower()], found[2], number))
        elif said:
            role, before, first = said[-1]
            said[-1] = (role, f"{before}\n{line.strip()}", first)
        else:
            who = "a line begins with `User:` or `Assistant:`"
            raise InvalidRequest(f"{name}:{number} says not who speaks: {who}", row=f"{name}:{number}")


def _answers(said: list[tuple[str, str, int]], name: str) -> Iterator[Row]:
    for n, (role, text, number) in enumerate(said):
        if role == "assistant" and any(before[0] == "user" for before in said[:n]):
            messages = tuple(Message(who, words) for who, words, _ in said[:n])  # type: ignore[arg-type]
            yield Row(messages, text, f"{name}:{number}", f"{name}:{said[0][2]}")


def _tagged(text: str, name: str) -> Iterator[Row]:
    for said, output, where in conll(text, name):
        yield Row((Message("user", said),), output, where)


_READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    ".jsonl": _lines, ".json": _whole, ".csv": _table(","), ".tsv": _table("\t"), ".txt": _dialogues,
    ".log": _dialogues, ".conll": _tagged,
}  # fmt: skip
