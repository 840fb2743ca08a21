"""Agents: what they are (`spec`), how they answer (`loop`), and how many of them run (`manager`).

`Agent` here is the one of a program that runs no system; what a system runs is `loop.Agent`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .program import Agent as Agent

__all__ = ["Agent"]


def __getattr__(name: str) -> Any:
    if name != "Agent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(".program", __name__).Agent
