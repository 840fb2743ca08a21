"""The smallest instance of a JSON schema: what the scripted engine says when a schema is all it knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import InvalidRequest
from ..core.records import Json

Schema = Mapping[str, Any]

_DEPTH = 32
_VALUES, _CHARACTERS = 10_000, 100_000  # that an instance may need: a schema of a line can ask for any number of them
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "a@example.org",
    "uri": "https://example.org",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "ipv4": "127.0.0.1",
}


@dataclass(slots=True)
class Root:
    """The whole schema, and how many values and characters an instance may still take."""

    schema: Schema | bool
    values: int = _VALUES
    characters: int = _CHARACTERS

    def take(self, values: int = 0, characters: int = 0) -> None:
        """Raise InvalidRequest for more than is left."""
        self.values -= values
        self.characters -= characters
        if self.values < 0 or self.characters < 0:
            raise InvalidRequest(f"the schema requires more than {_VALUES} values, or {_CHARACTERS} characters")


def smallest(schema: Schema | bool) -> Json:
    """Return a minimal value for the schema (draft 2020-12).

    `pattern`, `not`, `if` and `dependent*` are not solved: the value may break them. Raises InvalidRequest for a
    schema that refers to itself without end or to something outside itself, or requires too much.
    """
    return _value(schema, Root(schema), 0)


def _value(schema: Schema | bool, root: Root, depth: int) -> Json:
    if depth > _DEPTH:
        raise InvalidRequest("the schema requires a value without end; make a recursive part optional")
    root.take(values=1)
    if isinstance(schema, bool) or not schema:
        return {}
    if "const" in schema:
        return schema["const"]
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    merged = _resolve(schema, root, depth)
    if merged is not schema:
        return _value(merged, root, depth + 1)
    return _BY_TYPE[_type_of(schema)](schema, root, depth + 1)


def _resolve(schema: Schema, root: Root, depth: int) -> Schema:
    """Replace one layer of $ref, allOf, anyOf or oneOf by what it stands for; the schema itself when there is none."""
    if "$ref" in schema:
        return _merge(_without(schema, "$ref"), _look_up(schema["$ref"], root.schema))
    if "allOf" in schema:
        merged: Schema = _without(schema, "allOf")
        for part in schema["allOf"]:
            merged = _merge(merged, _flat(part, root, depth))
        return merged
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return _merge(_without(schema, key), _flat(schema[key][0], root, depth))
    return schema


def _flat(schema: Schema, root: Root, depth: int) -> Schema:
    while (step := _resolve(schema, root, depth)) is not schema:
        depth += 1
        if depth > _DEPTH:
            raise InvalidRequest("the schema refers to itself without end; remove the loop of $ref")
        schema = step
    return schema


def _look_up(ref: str, root: Any) -> Schema:
    if not ref.startswith("#"):
        raise InvalidRequest(f"the schema refers to {ref!r}, outside itself; put the definition under $defs")
    node = root
    for part in ref[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or key not in node:
            raise InvalidRequest(f"the schema has nothing at {ref!r}")
        node = node[key]
    return node if isinstance(node, Mapping) else {}


def _without(schema: Schema, key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _merge(left: Schema, right: Schema) -> Schema:
    merged = {**right, **left}
    if "properties" in left and "properties" in right:
        merged["properties"] = {**right["properties"], **left["properties"]}
    if "required" in left and "required" in right:
        merged["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    return merged


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind is None and ("items" in schema or "prefixItems" in schema):
        return "array"
    return kind if kind in _BY_TYPE else "object"


def _object(schema: Schema, root: Root, depth: int) -> Json:
    properties = schema.get("properties", {})
    return {name: _value(properties.get(name, {}), root, depth) for name in schema.get("required", ())}


def _array(schema: Schema, root: Root, depth: int) -> Json:
    first = schema.get("prefixItems", [])
    count = schema.get("minItems", 0)
    return [_value(first[i] if i < len(first) else schema.get("items", {}), root, depth) for i in range(count)]


def _string(schema: Schema, root: Root, depth: int) -> Json:
    least = schema.get("minLength", 0)
    root.take(characters=least)
    return _FORMATS.get(schema.get("format", ""), "").ljust(least, "x")


def _integer(schema: Schema, root: Root, depth: int) -> Json:
    low = math.floor(schema["exclusiveMinimum"]) + 1 if "exclusiveMinimum" in schema else None
    return math.ceil(_within(schema, low, 1))


def _number(schema: Schema, root: Root, depth: int) -> Json:
    low = schema["exclusiveMinimum"] + 0.5 if "exclusiveMinimum" in schema else None
    return _within(schema, low, 0.5)


def _within(schema: Schema, low: float | None, gap: float) -> float:
    """Zero if it is allowed, else the bound nearest to it, on the grid of `multipleOf`."""
    low = schema.get("minimum", low)
    high = schema.get("maximum", schema["exclusiveMaximum"] - gap if "exclusiveMaximum" in schema else None)
    value = max(0, low) if low is not None else 0
    value = min(value, high) if high is not None else value
    step = schema.get("multipleOf")
    return math.ceil(value / step) * step if step else value


_BY_TYPE: dict[str, Callable[[Schema, Root, int], Json]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda schema, root, depth: False,
    "null": lambda schema, root, depth: None,
}
