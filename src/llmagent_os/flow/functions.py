"""Pure functions that come with flows: each takes the value that a node is given and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core import codec, templates
from ..core.records import Json

Function = Callable[[Json], Json]


def _all(value: Json) -> list[Json]:
    """What several branches made: the values of a mapping, or a list as it is."""
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [value]


def first(value: Json) -> Json:
    """The first of several, null of none."""
    return next(iter(_all(value)), None)


def vote(value: Json) -> Json:
    """What most of several are; of as many the one that came first."""
    counted: dict[bytes, list[Json]] = {}
    for each in _all(value):
        counted.setdefault(codec.canonical(each), []).append(each)
    return max(counted.values(), key=len)[0] if counted else None


def merge(value: Json) -> Json:
    """One mapping of several, the later ones over those before."""
    merged: dict[str, Any] = {}
    for each in _all(value):
        if not isinstance(each, Mapping):
            raise TypeError(f"merge takes mappings, not {type(each).__name__}")
        merged |= each
    return merged


def text(value: Json) -> str:
    """Several in words, a paragraph each."""
    return "\n\n".join(map(templates.text, _all(value)))


FUNCTIONS: Mapping[str, Function] = {
    "pass": lambda value: value, "list": _all, "first": first, "vote": vote, "merge": merge, "text": text,
    "count": lambda value: len(_all(value)),
}  # fmt: skip
"""Those that every system has; plugins bring more (the hook `functions`)."""
