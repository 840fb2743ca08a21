"""A small valid value for a JSON schema: what the scripted engine says when a schema is all it knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..core import schemas
from ..core.errors import InvalidRequest
from ..core.patterns import Unreadable, compiled
from ..core.records import Json
from ..core.validity import KINDS, Check, Unknown, at, fault, same

Schema = Mapping[str, Any]

_DEPTH = 32
_VALUES, _CHARACTERS = 10_000, 100_000  # that an instance may need: a schema of a line can ask for any number of them
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "a@example.org",
    "hostname": "example.org",
    "uri": "https://example.org",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
}


class Impossible(InvalidRequest):
    """No value was found: there is none, or it takes more to find one than is tried here."""


class Root:
    """The whole schema, and how many values and characters may still be tried."""

    def __init__(self, schema: Schema | bool) -> None:
        self.schema = schema
        self.values, self.characters = _VALUES, _CHARACTERS
        self._check = Check(schema)

    def take(self, values: int = 0, characters: int = 0) -> None:
        """Raise Impossible for more than is left."""
        self.values -= values
        self.characters -= characters
        if self.values < 0 or self.characters < 0:
            raise Impossible(f"the schema requires more than {_VALUES} values, or {_CHARACTERS} characters")

    def allows(self, schema: Schema | bool, value: Json) -> bool:
        """Whether a value is valid under a part of the schema, as far as that can be told."""
        self.take(values=1)
        try:
            return self._check.fits(schema, value)
        except Unknown:
            return False


def smallest(schema: Schema | bool) -> Json:
    """A small value that is valid under the schema.

    Raises InvalidRequest for what is no schema, Impossible where no value was found: `not` and `if` are not solved, and
    alternatives that exclude each other only by trying them one by one.
    """
    schema = schema if isinstance(schema, bool) else schemas.meant(schema, "the schema", "schema")
    root = Root(schema)
    value = _value(schema, root, 0)
    try:
        found = fault(schema, value)
    except Unknown as error:
        raise Impossible(f"no value was found that is surely valid: {error}") from error
    if found is not None:
        raise Impossible(f"no valid value was found: {found}")
    return value


def _value(schema: Schema | bool, root: Root, depth: int) -> Json:
    if depth > _DEPTH:
        raise Impossible("the schema requires a value without end; make a recursive part optional")
    root.take(values=1)
    if schema is False:
        raise Impossible("the schema requires a value that it forbids")
    if isinstance(schema, bool) or not schema:
        return {}
    given = [schema[key] for key in ("const", "default") if key in schema] + list(schema.get("enum", ()))
    for value in given:
        if root.allows(schema, value):
            return value
    for parts in _resolved(schema, root, depth):
        with suppress(Impossible):
            value = _value(parts, root, depth + 1)
            if root.allows(schema, value):
                return value
        root.take(values=1)
    if "$ref" in schema or _SEVERAL & schema.keys():
        raise Impossible("none of the schema's alternatives has a value that is known to be valid")
    return _by_kind(schema, root, depth + 1)


_SEVERAL = frozenset({"allOf", "anyOf", "oneOf"})


def _by_kind(schema: Schema, root: Root, depth: int) -> Json:
    """The first that is valid of the values of the schema's types; else the last one tried."""
    kinds = _kinds(schema)
    for kind in kinds[:-1]:
        with suppress(Impossible):
            value = _BY_KIND[kind](schema, root, depth)
            if root.allows(schema, value):
                return value
    return _BY_KIND[kinds[-1]](schema, root, depth)


def _kinds(schema: Schema) -> list[str]:
    kind = schema.get("type")
    if kind is not None:
        return [kind] if isinstance(kind, str) else list(kind)
    likely = [kind for kind, keys in _TELLING.items() if keys & schema.keys()]
    return [*likely, *(kind for kind in ("object", *KINDS) if kind not in likely)]


_TELLING: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "contains"}),
    "string": frozenset({"pattern", "format", "minLength", "maxLength"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
}


def _resolved(schema: Schema, root: Root, depth: int) -> Iterator[Schema]:
    """The schema with one layer of $ref, allOf, anyOf or oneOf replaced by what it may stand for; nothing without."""
    if "$ref" in schema:
        yield _merged(_without(schema, "$ref"), at(root.schema, schema["$ref"]))
    elif "allOf" in schema:
        merged: Schema = _without(schema, "allOf")
        for part in schema["allOf"]:
            merged = _merged(merged, part)
        yield merged
    else:
        for key in ("oneOf", "anyOf"):
            if key in schema:
                rest = _without(schema, key)
                yield from (_merged(rest, part) for part in schema[key])
                return


def _without(schema: Schema, key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _merged(left: Schema, right: Schema | bool) -> Schema:
    """What asks for both, as far as one schema can say it; the rest shows when the value is tried."""
    if isinstance(right, bool):
        return left if right else {**left, "enum": []}
    both = {**right, **left}
    for key in left.keys() & right.keys():
        if (join := _JOINS.get(key)) is not None:
            both[key] = join(left[key], right[key])
        elif key in ("$ref", *_SEVERAL) and left[key] != right[key]:
            both["allOf"] = [*both.get("allOf", ()), {key: right[key]}]
    return both


def _narrower(left: Any, right: Any) -> Any:
    names = [right] if isinstance(right, str) else right
    kept = [kind for kind in ([left] if isinstance(left, str) else left) if kind in names]
    if not kept and {"integer", "number"} <= {*names, *([left] if isinstance(left, str) else left)}:
        return "integer"
    return kept or left


def _properties(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: {"allOf": [left[name], right[name]]} for name in left.keys() & right.keys()}
    return {**right, **left, **shared}


_JOINS: dict[str, Callable[[Any, Any], Any]] = {
    "properties": _properties,
    "required": lambda left, right: list(dict.fromkeys([*left, *right])),
    "type": _narrower,
    "enum": lambda left, right: [one for one in left if any(same(one, other) for other in right)],
    "allOf": lambda left, right: [*left, *right],
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}


def _object(schema: Schema, root: Root, depth: int) -> Json:
    properties = schema.get("properties", {})
    wanted = list(schema.get("required", ()))
    for name in wanted:  # it grows
        wanted += [other for other in schema.get("dependentRequired", {}).get(name, ()) if other not in wanted]
    least = schema.get("minProperties", 0)
    root.take(values=least)
    spare = (*(name for name in properties if name not in wanted), *(f"p{i}" for i in range(least)))
    wanted += spare[: max(0, least - len(wanted))]
    return {name: _value(_property(schema, name), root, depth) for name in wanted}


def _property(schema: Schema, name: str) -> Schema | bool:
    named: Mapping[str, Any] = schema.get("properties", {})
    if name in named:
        return named[name]
    parts = [part for pattern, part in schema.get("patternProperties", {}).items() if compiled(pattern).search(name)]
    return parts[0] if parts else schema.get("additionalProperties", {})


def _array(schema: Schema, root: Root, depth: int) -> Json:
    first = schema.get("prefixItems", [])
    least = schema.get("minItems", 0)
    root.take(values=least)
    items = [_value(first[i] if i < len(first) else schema.get("items", {}), root, depth) for i in range(least)]
    if "contains" in schema:
        lacking = schema.get("minContains", 1) - sum(root.allows(schema["contains"], item) for item in items)
        root.take(values=max(0, lacking))
        items += [_value(schema["contains"], root, depth) for _ in range(lacking)]
    if schema.get("uniqueItems"):
        for i, item in enumerate(items):
            if isinstance(item, int) and not isinstance(item, bool):
                items[i] = item + i
    return items


def _string(schema: Schema, root: Root, depth: int) -> Json:
    least = schema.get("minLength", 0)
    root.take(characters=least)
    tried = ""
    for tried in _texts(schema):
        longer = tried.ljust(least, "x")
        for text in (tried, longer):
            if root.allows({key: schema[key] for key in _ABOUT_TEXT & schema.keys()}, text):
                return text
    return tried


_ABOUT_TEXT = frozenset({"pattern", "minLength", "maxLength", "not"})


def _texts(schema: Schema) -> Iterable[str]:
    yield _FORMATS.get(schema.get("format", ""), "")
    if "pattern" in schema:
        with suppress(Unreadable):
            pattern = compiled(schema["pattern"])
            yield from (pattern.sample(more) for more in (0, 1, 2, 3, schema.get("minLength", 0)))
    yield from _FORMATS.values()


def _integer(schema: Schema, root: Root, depth: int) -> Json:
    return _number_of(schema, root, [0, 1], 1)


def _number(schema: Schema, root: Root, depth: int) -> Json:
    return _number_of(schema, root, [0, 0.5], 0.5)


def _number_of(schema: Schema, root: Root, tried: Sequence[float], gap: float) -> Json:
    """Zero if it is allowed, else near a bound, on the grid of `multipleOf`; an integer where the gap is one."""
    bounds = [schema[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if key in schema]
    step = schema.get("multipleOf", gap)
    near = [bound + way * step for bound in bounds for way in (0, 1, -1)]
    if len(bounds) > 1:
        near.append(sum(bounds) / len(bounds))
    grid = [math.floor(value / step + up) * step for value in near for up in (0, 1) if math.isfinite(value / step)]
    value: float = 0
    for value in (*tried, *near, *grid):
        whole = int(value) if abs(value) < 2**63 and value == int(value) else float(value)
        if (gap != 1 or isinstance(whole, int)) and root.allows(_about_number(schema), whole):
            return whole
    return 0


def _about_number(schema: Schema) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key in _TELLING["number"]}


_BY_KIND: dict[str, Callable[[Schema, Root, int], Json]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda schema, root, depth: False,
    "null": lambda schema, root, depth: None,
}
