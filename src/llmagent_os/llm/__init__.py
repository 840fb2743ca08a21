"""Models behind one interface: the `LLM` facade, the catalog, and a driver for each engine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .facade import LLM as LLM

__all__ = ["LLM"]


def __getattr__(name: str) -> Any:
    if name != "LLM":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(".facade", __name__).LLM
