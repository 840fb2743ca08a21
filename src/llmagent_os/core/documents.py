"""Data that somebody else wrote, read without surprises: YAML, and what JSON cannot hold or nobody could mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import yaml

from . import codec
from .errors import InvalidRequest
from .foreign import DEEPEST, DIGITS, MERGED, MOST, first

T = TypeVar("T")

SMALL = 1 << 16  # bytes that the slower of two parsers is given
_ODD = "found unexpected ':'"  # what the other one says of them
BROKEN = (yaml.YAMLError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What a parser of YAML raises for a text that is none, or for a value that is not what its tag says."""


def read(text: str | bytes, source: str) -> list[Any]:
    """The documents of a YAML text; raises InvalidRequest, which names `source`, for what is none or is not plain."""
    return [plain(document, source) for document in loaded(text, source, LOADERS)]


def definitions(text: str | bytes, source: str, loaders: Sequence[Any] = ()) -> list[Any]:
    """What a YAML text defines: one thing, or several as documents or as lists, each by a name of its own.

    Raises as `read` does.
    """
    read = [plain(document, source) for document in loaded(text, source, loaders or LOADERS)]
    found = [one for each in read for one in (each if isinstance(each, list) else [each]) if one is not None]
    names = set[str]()
    for each in found:
        name = each.get("name") if isinstance(each, dict) else None
        if isinstance(name, str) and name in names:
            raise InvalidRequest(f"{source} defines {name!r} twice; give one of them another name", parameter=source)
        names |= {name} if isinstance(name, str) else set()
    return found


def loaded(text: str | bytes, source: str, loaders: Sequence[Any]) -> list[Any]:
    """The documents of a YAML text, by the first loader, or by the last one what is small and odd; raises as `read`."""
    return _parsed(text, source, loaders, lambda loader: list(yaml.load_all(text, loader)))


def _parsed(text: str | bytes, source: str, loaders: Sequence[Any], done: Callable[[Any], T]) -> T:
    """What is done by the first loader, or by the last one where the text is small, and odd: that takes `{a/b:}`.

    Raises InvalidRequest, which names `source`, for what is no YAML.
    """
    try:
        try:
            return done(loaders[0])
        except yaml.MarkedYAMLError as error:
            if error.problem != _ODD or len(text) > SMALL:
                raise
            return done(loaders[-1])
    except BROKEN as error:
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
    return plain(_parsed(text, source, LOADERS, lambda loader: first(loader(text), len(text))), source)


def _bounded(base: Any) -> Any:
    """A loader that gives up what has no end: depths, of which parsers hold each with all above it in mind, numbers by

    sixties (one of 200 KB takes seconds to work out), and merges: `{<<: [*a, *a]}` doubles what `a` is, and so on.
    """

    class Bounded(base):  # type: ignore[misc]
        depth = merged = 0

        def descend_resolver(self, node: Any, index: Any) -> None:
            self.depth += 1
            if self.depth > DEEPEST + 1:
                raise ValueError(f"it is nested deeper than {DEEPEST} levels")
            super().descend_resolver(node, index)

        def ascend_resolver(self) -> None:
            self.depth -= 1
            super().ascend_resolver()

        def flatten_mapping(self, node: Any) -> None:
            for each in _merged(node):
                self.flatten_mapping(each)
                self.merged += len(each.value)
                if self.merged > MERGED:
                    raise ValueError(f"more than {MERGED} names are merged")
            super().flatten_mapping(node)

    for kind in ("int", "float"):
        Bounded.add_constructor(f"tag:yaml.org,2002:{kind}", _short(getattr(base, f"construct_yaml_{kind}")))
    return Bounded


def _merged(node: Any) -> Iterator[Any]:
    """The mappings whose names one has as well."""
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            found = value.value if isinstance(value, yaml.SequenceNode) else [value]
            yield from (each for each in found if isinstance(each, yaml.MappingNode))


def _short(made: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def number(loader: Any, node: Any) -> Any:
        if len(loader.construct_scalar(node)) > DIGITS:
            raise ValueError(f"a number has more than {DIGITS} characters")
        return made(loader, node)

    return number


LOADERS = [_bounded(base) for base in (getattr(yaml, "CSafeLoader", None), yaml.SafeLoader) if base is not None]
"""For YAML as it is mostly written: by the parser in C where there is one, and by the other."""


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
