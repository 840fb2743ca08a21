"""JSON in and out for plain data: `codec` without the records, for who has none and need not import them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def standing(value: Any) -> Any:
    """What stands for a value that is no JSON data in itself; raises TypeError where nothing does."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, float):  # of a class of its own
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON data; pass text, numbers, lists, dicts or records")


def dumps(value: Any) -> bytes:
    """Encode JSON data as UTF-8 bytes; raises TypeError for anything else."""
    return orjson.dumps(value, default=standing, option=orjson.OPT_NON_STR_KEYS)


loads = orjson.loads
