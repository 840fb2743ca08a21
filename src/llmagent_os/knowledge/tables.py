"""Rows of a file that is a table: CSV, JSON with a list of records, or JSONL."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ..core import codec
from ..core.errors import InvalidRequest
from .readers import aside

ROWS = 1_000_000
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?")


async def table(data: bytes, name: str, whose: tuple[str, str]) -> list[dict[str, Any]]:
    """The rows of a file, read in another process; raises InvalidRequest, which names it, for what is no table."""
    return await aside(rows_of, data, name, name=name, whose=whose)


def rows_of(data: bytes, name: str) -> list[dict[str, Any]]:
    """The same, here. What stands in CSV as a number is one."""
    try:
        text = data.decode("utf-8-sig")
        if PurePath(name).suffix.lower() == ".json":
            found = codec.loads(text)
        elif PurePath(name).suffix.lower() in (".jsonl", ".ndjson"):
            found = [codec.loads(each) for each in text.splitlines() if each.strip()]
        else:
            head = text.partition("\n")[0]
            separator = max("\t;,", key=head.count)
            found = [{key: _value(each) for key, each in row.items() if key is not None}
                     for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)]  # fmt: skip
    except (ValueError, csv.Error) as error:
        raise InvalidRequest(f"{name} is no table: {error}", parameter="file") from None
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise InvalidRequest(f"{name} is no table: a list of records is expected", parameter="file")
    if len(found) > ROWS:
        raise InvalidRequest(f"{name} has {len(found)} rows, at most {ROWS} are read at once", parameter="file")
    return [dict(each) for each in found]


def _value(cell: str | None) -> str | int | float:
    if cell is None or not _NUMBER.fullmatch(cell):
        return (cell or "").strip()
    return float(cell) if "." in cell else int(cell)
