"""Templates: data in which `${NAME.PATH}` stands for what is put there; for flows, and for what starts by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import codec
from .errors import InvalidRequest
from .records import Json

NAME = re.compile(r"\$\{([A-Za-z_][\w-]*)((?:\.[\w-]+)*)\}")
GONE, _DIGITS = object(), 10
LONGEST = 4_000_000  # characters that names bring into one text: each node could double what it is given
WHOLE = "."
"""The path of a value itself."""


def named(template: Json) -> Iterator[str]:
    """What a template names, in order, each as often as it stands there."""
    if isinstance(template, str):
        yield from (found[1] for found in NAME.finditer(template))
    elif isinstance(template, Mapping):
        for each in template.values():
            yield from named(each)
    elif isinstance(template, Sequence):
        for each in template:
            yield from named(each)


def fill(template: Json, scope: Mapping[str, Json]) -> Json:
    """A template with every `${NAME.PATH}` replaced by what it names; one that stands alone keeps its type.

    What is not there is null, and no text within a text. Raises InvalidRequest for a text beyond `LONGEST`.
    """
    if isinstance(template, str):
        if alone := NAME.fullmatch(template):
            return _named(alone, scope)
        room = LONGEST

        def put(found: re.Match[str]) -> str:
            nonlocal room
            said = text(_named(found, scope))
            room -= len(said)
            if room < 0:
                raise InvalidRequest(f"a template came to more than {LONGEST:,} characters; pass less on")
            return said

        return NAME.sub(put, template)
    if isinstance(template, Mapping):
        return {name: fill(each, scope) for name, each in template.items()}
    return [fill(each, scope) for each in template] if isinstance(template, Sequence) else template


def _named(found: re.Match[str], scope: Mapping[str, Json]) -> Json:
    value = at(scope.get(found[1]), found[2].lstrip("."))
    return None if value is GONE else value


def at(value: Json, path: str) -> Any:
    """What stands at a path such as `order.lines.0`; the whole value for an empty one or `.`."""
    for name in path.split(".") if path not in ("", WHOLE) else ():
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list | tuple) and name.isdecimal() and len(name) < _DIGITS and int(name) < len(value):
            value = value[int(name)]
        else:
            return GONE
    return value


def text(value: Json) -> str:
    """A value in words: text as it is, nothing for null, the rest as JSON."""
    return "" if value is None else codec.words(value)
