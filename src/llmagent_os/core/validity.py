"""Whether a value is valid under a JSON schema (draft 2020-12), and if not, where: in bounded time, without look-ups.

Schemas are those that `schemas.meant` gives: every `$ref` points into the schema itself, and none leads back to where
it stands. `format` says nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

from .patterns import Steps, TooLong, Unreadable, compiled
from .records import Json

_FOR_EACH = 40  # steps of patterns more for each character that they are looked for in
STEPS = 100_000  # schemas that are looked at in one check: about a tenth of a second
_DEEPEST = 150  # schemas in one another; it stays under Python's own bound


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value: `place` is the part (`to[2].name`, empty: all of it), `keyword` what it breaks."""

    place: str
    keyword: str
    text: str

    def __str__(self) -> str:
        return f"{self.place or 'the value'} {self.text}"


class Unknown(ValueError):
    """Whether the value is valid would take too long to find out."""


def fault(schema: Any, value: Json) -> Fault | None:
    """The first thing wrong with a value; None where it is valid. Raises Unknown where that takes too long."""
    return next(Check(schema).faults(schema, value, ""), None)


def wrong(schema: Any, value: Json) -> str | None:
    """The same in words: None where it is valid, and that it cannot be told where that takes too long."""
    try:
        found = fault(schema, value)
    except Unknown as error:
        return str(error)
    return None if found is None else str(found)


def same(left: Json, right: Json) -> bool:
    """Whether two values are one in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def at(root: Any, pointer: str) -> Any:
    """What a pointer such as `#/$defs/a` points to; raises LookupError for nothing."""
    node = root
    for part in pointer[1:].split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list):
            if not key.isdecimal():
                raise LookupError(pointer)
            node = node[int(key)]
        elif isinstance(node, Mapping):
            node = node[key]
        else:
            raise LookupError(pointer)
    return node


def is_kind(value: Json, kind: str) -> bool:
    """Whether a value is of a JSON type; 1.0 is an integer too."""
    return _KINDS[kind](value)


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list | tuple),
    "string": lambda value: isinstance(value, str),
    "number": _number,
    "integer": lambda value: _number(value) and (isinstance(value, int) or value.is_integer()),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
KINDS = tuple(_KINDS)
"""The types of JSON schemas."""


class Check:
    """The check of a value, or of several under parts of one schema, which share the steps."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = STEPS
        self._steps = Steps()
        self._depth = 0

    def faults(self, schema: Any, value: Json, place: str) -> Iterator[Fault]:
        """All that is wrong, keyword by keyword."""
        if isinstance(schema, bool):
            if not schema:
                yield Fault(place, "false", "may not be there")
            return
        self._left -= 1
        self._depth += 1
        if self._left < 0 or self._depth > _DEEPEST:
            raise Unknown("the check takes too long")
        try:
            for keyword, said in schema.items():
                if (rule := _RULES.get(keyword)) is not None:
                    yield from rule(self, said, value, place, schema)
        finally:
            self._depth -= 1

    def fits(self, schema: Any, value: Json) -> bool:
        """Whether a value is valid under a part of the schema."""
        return next(self.faults(schema, value, ""), None) is None

    def target(self, pointer: str) -> Any:
        """What a `$ref` points to."""
        return at(self._root, pointer)

    def matches(self, pattern: str, text: str) -> bool:
        """Whether a text has the pattern in it; raises Unknown."""
        try:
            self._steps.left += _FOR_EACH * len(text)
            return compiled(pattern).search(text, self._steps)
        except (TooLong, Unreadable) as error:
            raise Unknown(str(error)) from error

    def named(self, schema: Mapping[str, Any], value: Mapping[str, Json]) -> set[str]:
        """The properties that `properties` or `patternProperties` speak of."""
        patterns = schema.get("patternProperties", {})
        found = {name for name in value if name in schema.get("properties", {})}
        return found | {name for name in value if any(self.matches(pattern, name) for pattern in patterns)}

    def spoken_for(self, schema: Any, value: Json) -> tuple[set[str], set[int]]:
        """The properties and items that a valid schema has said something of, its parts included."""
        self._left -= 1
        if self._left < 0 or self._depth > _DEEPEST:
            raise Unknown("the check takes too long")
        names, items = set[str](), set[int]()
        if not isinstance(schema, Mapping):
            return names, items
        if isinstance(value, Mapping):
            every = {"additionalProperties", "unevaluatedProperties"} & schema.keys()
            names |= set(value) if every else self.named(schema, value)
        if isinstance(value, list):
            every = {"items", "unevaluatedItems"} & schema.keys()
            items |= set(range(len(value) if every else len(schema.get("prefixItems", ()))))
            if "contains" in schema:
                items |= {i for i, item in enumerate(value) if self.fits(schema["contains"], item)}
        self._depth += 1
        try:
            for part in self._beside(schema, value):
                if self.fits(part, value):
                    more = self.spoken_for(part, value)
                    names, items = names | more[0], items | more[1]
        finally:
            self._depth -= 1
        return names, items

    def _beside(self, schema: Mapping[str, Any], value: Json) -> Iterator[Any]:
        """The parts that speak of the same value."""
        if "$ref" in schema:
            yield self.target(schema["$ref"])
        for key in ("allOf", "anyOf", "oneOf"):
            yield from schema.get(key, ())
        if isinstance(value, Mapping):
            yield from (part for name, part in schema.get("dependentSchemas", {}).items() if name in value)
        if "if" in schema:
            yield schema["if"]
            yield schema.get("then" if self.fits(schema["if"], value) else "else", True)


Rule = Callable[[Check, Any, Any, str, Mapping[str, Any]], Iterator[Fault]]


def _inner(place: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{place}[{key}]"
    return f"{place}.{key}" if place else key


def shown(value: Any) -> str:
    """A value as a message names it: at most 60 characters of it."""
    try:
        text = repr(value)
    except RecursionError:
        return "nested too deeply to be shown"
    return text if len(text) <= 60 else text[:60] + "..."


def _ref(check: Check, said: str, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    yield from check.faults(check.target(said), value, place)


def _type(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    kinds = [said] if isinstance(said, str) else said
    if not any(is_kind(value, kind) for kind in kinds):
        yield Fault(place, "type", f"is {shown(value)}, not {' or '.join(kinds)}")


def _enum(check: Check, said: Sequence[Json], value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if not any(same(value, one) for one in said):
        yield Fault(place, "enum", f"is {shown(value)}, which is none of the values of its enum")


def _const(check: Check, said: Json, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if not same(value, said):
        yield Fault(place, "const", f"is {shown(value)}, not {shown(said)}")


def _bound(keyword: str, kind: Callable[[Any], bool], size: Any, wrong: Callable[[Any, Any], bool]) -> Rule:
    """A rule that compares a number with what `size` makes of a value of a kind."""

    def rule(check: Check, said: Any, value: Any, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
        if kind(value) and wrong(size(value), said):
            yield Fault(place, keyword, f"is {shown(value)}, which breaks {keyword} {said!r}")

    return rule


def _odd(value: float, step: float) -> bool:
    return Fraction(str(value)) % Fraction(str(step)) != 0


def _pattern(check: Check, said: str, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(value, str) and not check.matches(said, value):
        yield Fault(place, "pattern", f"is {shown(value)}, which does not match the pattern {said}")


def _unique(check: Check, said: bool, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if not said or not isinstance(value, list):
        return
    if len(value) > 1000:
        raise Unknown("there are too many items to compare")
    if any(same(value[i], one) for i in range(len(value)) for one in value[:i]):
        yield Fault(place, "uniqueItems", "has an item twice")


def _prefix(check: Check, said: list[Any], value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(value, list):
        for i, (part, item) in enumerate(zip(said, value, strict=False)):
            yield from check.faults(part, item, _inner(place, i))


def _items(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(value, list):
        for i in range(len(schema.get("prefixItems", ())), len(value)):
            yield from check.faults(said, value[i], _inner(place, i))


def _contains(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(value, list):
        count = sum(check.fits(said, item) for item in value)
        if not schema.get("minContains", 1) <= count <= schema.get("maxContains", len(value)):
            yield Fault(place, "contains", f"has {count} of the items that it must contain")


def _properties(
    check: Check, said: Mapping[str, Any], value: Json, place: str, schema: Mapping[str, Any]
) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for name in said.keys() & value.keys():
            yield from check.faults(said[name], value[name], _inner(place, name))


def _patterns(
    check: Check, said: Mapping[str, Any], value: Json, place: str, schema: Mapping[str, Any]
) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for pattern, part in said.items():
            for name in value:
                if check.matches(pattern, name):
                    yield from check.faults(part, value[name], _inner(place, name))


def _additional(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for name in value.keys() - check.named(schema, value):
            yield from check.faults(said, value[name], _inner(place, name))


def _names(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for name in value:
            if not check.fits(said, name):
                yield Fault(_inner(place, name), "propertyNames", "has a name that is not allowed")


def _required(check: Check, said: list[str], value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for name in said:
            if name not in value:
                yield Fault(_inner(place, name), "required", "is missing")


def _needs(
    check: Check, said: Mapping[str, list[str]], value: Json, place: str, schema: Mapping[str, Any]
) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for name in said.keys() & value.keys():
            yield from _required(check, said[name], value, place, schema)


def _dependent(
    check: Check, said: Mapping[str, Any], value: Json, place: str, schema: Mapping[str, Any]
) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for name in said.keys() & value.keys():
            yield from check.faults(said[name], value, place)


def _all(check: Check, said: list[Any], value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    for part in said:
        yield from check.faults(part, value, place)


def _any(check: Check, said: list[Any], value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if not any(check.fits(part, value) for part in said):
        yield Fault(place, "anyOf", f"is {shown(value)}, which fits none of its alternatives")


def _one(check: Check, said: list[Any], value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    count = sum(check.fits(part, value) for part in said)
    if count != 1:
        yield Fault(place, "oneOf", f"is {shown(value)}, which fits {count} of its alternatives, not one")


def _not(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if check.fits(said, value):
        yield Fault(place, "not", f"is {shown(value)}, which it must not be")


def _if(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    yield from check.faults(schema.get("then" if check.fits(said, value) else "else", True), value, place)


def _unevaluated(check: Check, said: Any, value: Json, place: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    own = {key: part for key, part in schema.items() if not key.startswith("unevaluated")}
    names, items = check.spoken_for(own, value)
    if isinstance(value, Mapping) and schema.get("unevaluatedProperties") is said:
        for name in value.keys() - names:
            yield from check.faults(said, value[name], _inner(place, name))
    if isinstance(value, list) and schema.get("unevaluatedItems") is said:
        for i in sorted(set(range(len(value))) - items):
            yield from check.faults(said, value[i], _inner(place, i))


def _below(size: Any, least: Any) -> bool:
    return bool(size < least)


def _above(size: Any, most: Any) -> bool:
    return bool(size > most)


def _is(value: Any) -> Any:
    return value


_RULES: dict[str, Rule] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _bound("minimum", _number, _is, _below),
    "maximum": _bound("maximum", _number, _is, _above),
    "exclusiveMinimum": _bound("exclusiveMinimum", _number, _is, lambda value, said: value <= said),
    "exclusiveMaximum": _bound("exclusiveMaximum", _number, _is, lambda value, said: value >= said),
    "multipleOf": _bound("multipleOf", _number, _is, _odd),
    "minLength": _bound("minLength", _KINDS["string"], len, _below),
    "maxLength": _bound("maxLength", _KINDS["string"], len, _above),
    "minItems": _bound("minItems", _KINDS["array"], len, _below),
    "maxItems": _bound("maxItems", _KINDS["array"], len, _above),
    "minProperties": _bound("minProperties", _KINDS["object"], len, _below),
    "maxProperties": _bound("maxProperties", _KINDS["object"], len, _above),
    "pattern": _pattern,
    "uniqueItems": _unique,
    "prefixItems": _prefix,
    "items": _items,
    "contains": _contains,
    "properties": _properties,
    "patternProperties": _patterns,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "required": _required,
    "dependentRequired": _needs,
    "dependentSchemas": _dependent,
    "allOf": _all,
    "anyOf": _any,
    "oneOf": _one,
    "not": _not,
    "if": _if,
    "unevaluatedProperties": _unevaluated,
    "unevaluatedItems": _unevaluated,
}
