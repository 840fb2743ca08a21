"""Data that somebody else wrote, read without surprises: YAML, and what JSON cannot hold or nobody could mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from . import codec
from .errors import InvalidRequest

DEEPEST, MOST = 100, 1_000_000  # levels, and values with every alias written out


def read(text: str | bytes, source: str) -> list[Any]:
    """The documents of a YAML text; raises InvalidRequest, which names `source`, for what is none or is not plain."""
    try:
        return [plain(document, source) for document in yaml.safe_load_all(text)]
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # a date of month 13 is a ValueError
        raise InvalidRequest(f"{source} is not YAML: {error}", parameter=source) from error


def one(text: str | bytes, source: str) -> Any:
    """The first document of a YAML text, None for an empty one; raises as `read` does."""
    return next(iter(read(text, source)), None)


def plain(value: Any, source: str) -> Any:
    """The same data, which JSON can hold; raises InvalidRequest for what it cannot, or what is too deep or large.

    YAML's aliases make data that is small in memory and endless when it is written, Python's JSON parser takes numbers
    and halves of characters that no database does.
    """
    try:
        if _measure(value, DEEPEST, {})[0] > MOST:
            raise InvalidRequest(f"{source} holds more than {MOST} values; split it", parameter=source)
        codec.dumps(value)
    except (TypeError, RecursionError) as error:
        raise InvalidRequest(f"{source} holds what JSON cannot: {error}", parameter=source) from error
    return value


def _measure(value: Any, room: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values there are, and on how many levels; each list and mapping is looked at once."""
    if not isinstance(value, Mapping | list | tuple):
        return 1, 0
    if id(value) not in known and room > 0:
        items = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        inner = [_measure(item, room - 1, known) for item in items]
        known[id(value)] = 1 + sum(size for size, _ in inner), 1 + max((levels for _, levels in inner), default=0)
    size, levels = known.get(id(value), (0, room + 1))
    if levels > room:
        raise TypeError(f"it is nested deeper than {DEEPEST} levels")
    return size, levels
