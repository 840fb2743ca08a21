"""Data that somebody else wrote, read without surprises: YAML, and what JSON cannot hold or nobody could mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from . import codec
from .errors import InvalidRequest

DEEPEST, MOST = 100, 1_000_000  # levels, and values with every alias written out
SMALL = 1 << 20  # bytes that the slower of two parsers is given


def read(text: str | bytes, source: str) -> list[Any]:
    """The documents of a YAML text; raises InvalidRequest, which names `source`, for what is none or is not plain."""
    try:
        return [plain(document, source) for document in yaml.safe_load_all(text)]
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # a date of month 13 is a ValueError
        raise InvalidRequest(f"{source} is not YAML: {error}", parameter=source) from error


def one(text: str | bytes, source: str) -> Any:
    """The first document of a YAML text, None for an empty one; raises as `read` does."""
    return next(iter(read(text, source)), None)


def foreign(text: bytes, source: str) -> Any:
    """The first document of a text in JSON, or in YAML 1.2 by its JSON schema; raises as `read` does.

    So `NO`, `on`, `012`, `0x1F`, `1_000`, `12:30` and dates are text, as OpenAPI has it.
    """
    text = text.removeprefix(b"\xef\xbb\xbf")  # a mark that JSON does not have
    with suppress(ValueError):
        return plain(codec.loads(text), source)  # many times as fast, and most documents are JSON
    try:
        return plain(_loaded(text), source)
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"{source} is not YAML: {error}", parameter=source) from error


def _loaded(text: bytes) -> Any:
    """By the parser in C where there is one; what is small and beyond that (`{a/b:}`) by the other."""
    try:
        return next(iter(yaml.load_all(text, _FOREIGN[0])), None)
    except yaml.MarkedYAMLError:
        if len(text) > SMALL:
            raise
        return next(iter(yaml.load_all(text, _FOREIGN[-1])), None)


class Written(float):
    """A number that is not written as JSON would write it (`1.10`), with how it was: it may be meant as a name."""

    text = ""


def _number(loader: Any, node: Any) -> float:
    found = Written(node.value)
    found.text = node.value
    return found if repr(float(found)) != node.value else float(found)


def _foreign(base: Any) -> Any:
    """A loader for YAML 1.2; `<<` is no key of its own, as everywhere."""
    loader: Any = type("Foreign", (base,), {"yaml_implicit_resolvers": {}})  # none of those of YAML 1.1
    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", "~nN"),
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", "-+0123456789"),
        ("merge", r"<<", "<"),
    ):
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), [*first, ""])
    loader.add_constructor("tag:yaml.org,2002:float", _number)
    loader.add_constructor("tag:yaml.org,2002:merge", loader.construct_yaml_str)  # where it is no key
    return loader


_FOREIGN = [_foreign(base) for base in (getattr(yaml, "CSafeLoader", None), yaml.SafeLoader) if base is not None]


def plain(value: Any, source: str) -> Any:
    """The same data, which JSON can hold; raises InvalidRequest for what it cannot, or what is too deep or large.

    YAML's aliases make data that is small in memory and endless when it is written, Python's JSON parser takes numbers
    and halves of characters that no database does.
    """
    try:
        _measured(value, source)
        codec.dumps(value)
    except (TypeError, RecursionError) as error:
        raise InvalidRequest(f"{source} holds what JSON cannot: {error}", parameter=source) from error
    return value


_LEAVES = frozenset({str, int, float, bool, type(None)})


def _measured(value: Any, source: str) -> None:
    """Count the values level by level, which takes a tenth of the time of one by one; raises as `plain` does."""
    level, count = [value], 0
    for _ in range(DEEPEST):
        count += len(level)
        inner: list[Any] = []
        for each in level:
            if type(each) in _LEAVES:
                continue
            if isinstance(each, Mapping):
                count += len(each)  # its names
                inner += each.values()
            elif isinstance(each, list | tuple):
                inner += each
            if count + len(inner) > MOST:
                raise InvalidRequest(f"{source} holds more than {MOST} values; split it", parameter=source)
        if not inner:
            return
        level = inner
    if any(isinstance(each, Mapping | list | tuple) for each in level):
        raise TypeError(f"it is nested deeper than {DEEPEST} levels")
