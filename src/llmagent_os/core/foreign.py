"""YAML that somebody else wrote, as data: built from the parser's events, one at a time.

That takes a third of the time of the loaders of PyYAML, which make a tree of nodes first, and what is too deep or too
much is given up as soon as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

DEEPEST, MOST = 100, 1_000_000  # levels, and values with every alias written out
MERGED = 100_000  # names that mappings have from others by `<<`
DIGITS = 400  # characters of a number: what takes more is nobody's value, and long to work out
FREE, EACH = 200_000, 8  # values that any text may hold, and the bytes that every further one takes

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)").fullmatch
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)").fullmatch
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_OTHERS = frozenset("0123456789+-<~nNtTfF")  # with what begins whatever is no text
_CORE = "tag:yaml.org,2002:"


class Written(float):
    """A number that is not written as JSON would write it (`1.10`), with how it was: it may be meant as a name."""

    text = ""


def number(said: str) -> float:
    """A number, with how it was written where JSON would write another one."""
    found = Written(said)
    found.text = said
    return found if repr(float(found)) != said else float(found)


class _Merge:
    """The key `<<`."""


_MERGE, _NONE = _Merge(), object()


def first(loader: Any, size: int) -> Any:
    """The first document that a loader of PyYAML reads, None where there is none, by the JSON schema of YAML 1.2.

    So `NO`, `on`, `012`, `0x1F`, `1_000`, `12:30` and dates are text. Raises ValueError or yaml.YAMLError for what is
    too deep, is more than a text of `size` bytes has an honest use for, or is no YAML.
    """
    built = _Built(loader, min(MOST, FREE + size // EACH))
    told = loader.get_event
    handlers = built.handlers
    while True:
        event = told()
        kind = type(event)
        if kind is yaml.ScalarEvent:
            built.scalar(event)
        elif kind is yaml.DocumentEndEvent or kind is yaml.StreamEndEvent:
            return built.document
        elif kind in handlers:
            handlers[kind](event)


class _Built:
    """A value in the making. What is open: where the next value goes, the key that waits for it, and what is merged."""

    def __init__(self, loader: Any, most: int) -> None:
        self.document: Any = None
        self.handlers: Mapping[Any, Callable[[Any], None]] = {
            yaml.MappingStartEvent: self.mapping, yaml.SequenceStartEvent: self.sequence, yaml.AliasEvent: self.alias,
            yaml.MappingEndEvent: self.closed, yaml.SequenceEndEvent: self.closed,
        }  # fmt: skip
        self._loader, self._most = loader, most
        self._known: dict[str, Any] = {}
        self._names: list[str | None] = []
        self._above: list[tuple[Any, Any, list[Any]]] = []
        self._into: Any = None
        self._key: Any = _NONE
        self._merges: list[Any] = []
        self._count = self._merged = 0

    def scalar(self, event: Any) -> None:
        """A text, or what it stands for."""
        value, tag = event.value, event.tag
        if tag is not None and tag != "!":
            value = self._tagged(tag, value)
        elif event.implicit[0] and (not value or value[0] in _OTHERS):
            value = self._meant(value)
        if event.anchor is not None and value is not _MERGE:
            self._known[event.anchor] = value
        self._add(value)

    def mapping(self, event: Any) -> None:
        """Names and values follow."""
        self._open(event, {}, f"{_CORE}map")

    def sequence(self, event: Any) -> None:
        """Values follow."""
        self._open(event, [], f"{_CORE}seq")

    def alias(self, event: Any) -> None:
        """A value that was there before, whole."""
        if event.anchor not in self._known or event.anchor in self._names:
            raise ValueError(f"*{event.anchor} names nothing that was there before, whole")
        self._add(self._known[event.anchor])

    def closed(self, _: Any) -> None:
        """All of it is there."""
        value, merges = self._into, self._merges
        self._into, self._key, self._merges = self._above.pop()
        self._names.pop()
        if merges:
            own = dict(value)
            value.clear()
            for each in merges:
                value.update(each)
            value.update(own)
        self._add(value)

    def _open(self, event: Any, value: Any, tag: str) -> None:
        if event.tag not in (None, "!", tag):
            raise ValueError(f"{event.tag} is no type of JSON")
        if len(self._above) > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        if event.anchor is not None:
            self._known[event.anchor] = value
        self._above.append((self._into, self._key, self._merges))
        self._names.append(event.anchor)
        self._into, self._key, self._merges = value, _NONE, []

    def _add(self, value: Any) -> None:
        into = self._into
        self._count += 1
        if self._count > self._most:
            raise ValueError(f"it holds more than {self._most} values, too many for its size; split it")
        if type(into) is list:
            into.append(value)
        elif into is None:
            self.document = value
        elif self._key is _NONE:
            if type(value) in (dict, list):
                raise ValueError("a name is a list or a mapping")
            self._key = value
        elif self._key is _MERGE:
            self._merge(value if isinstance(value, list) else [value])
            self._key = _NONE
        else:
            into[self._key] = value
            self._key = _NONE

    def _merge(self, given: list[Any]) -> None:
        for each in reversed(given):  # the first one counts most
            if not isinstance(each, dict):
                raise ValueError("what is merged by `<<` is no mapping")
            self._merged += len(each)
            if self._merged > MERGED:
                raise ValueError(f"more than {MERGED} names are merged")
            self._merges.append(each)

    def _meant(self, said: str) -> Any:
        """What a text without quotes stands for."""
        if said in _WORDS:
            return _WORDS[said]
        if said == "<<" and type(self._into) is dict and self._key is _NONE:
            return _MERGE
        if _INT(said):
            return int(_short(said))
        return number(_short(said)) if _FLOAT(said) else said

    def _tagged(self, tag: str, said: str) -> Any:
        if tag == f"{_CORE}str":
            return said
        if tag == f"{_CORE}float":
            return number(_short(said))
        return self._loader.construct_object(yaml.ScalarNode(tag, said))


def _short(said: str) -> str:
    if len(said) > DIGITS:
        raise ValueError(f"a number has more than {DIGITS} characters")
    return said
