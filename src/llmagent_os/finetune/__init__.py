"""Fine-tuning: rows, training, what of it is served, and the ladder of cheap to dear. torch comes with `tune`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .finetuner import Finetuner as Finetuner
    from .rows import Row as Row
    from .settings import Settings as Settings

_WHERE = {"Finetuner": ".finetuner", "Row": ".rows", "Settings": ".settings"}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name], __name__), name)
