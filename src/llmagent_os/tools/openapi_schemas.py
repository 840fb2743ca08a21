"""Schemas of OpenAPI documents (2.0, 3.0, 3.1) in the words of JSON Schema 2020-12, and where references lead."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import unquote

from ..core import codec
from ..core.foreign import Written
from ..core.records import Json

CHAIN = 12  # references that lead to one another
LARGEST = 40_000  # bytes of a tool's schema
PATTERN = 1000  # characters of a pattern
DEFINED = 16_000  # bytes of what it refers to

_ONE = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_COUNTS = frozenset(f"{bound}{what}" for bound in ("min", "max") for what in ("Length", "Items", "Properties"))
_LIMITS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_TEXTS = frozenset({"title", "description", "format", "pattern", "contentEncoding", "contentMediaType"})
_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})


class Unusable(Exception):
    """What makes an operation one that cannot be a tool, in words."""


class Root:
    """A document, in which references are looked up."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def resolved(self, value: Any) -> dict[str, Any]:
        """What a `$ref` stands for, with what stands beside it; a value that is none as it is, nothing as empty.

        Raises Unusable for a reference to nothing, to another document, or back to itself.
        """
        beside: dict[str, Any] = {}
        for _ in range(CHAIN):
            if not isinstance(value, Mapping):
                return beside
            beside = {key: each for key, each in value.items() if key != "$ref"} | beside
            if not isinstance(value.get("$ref"), str):
                return beside
            value = self.at(value["$ref"])
        raise Unusable("a reference leads back to itself")

    def at(self, reference: str) -> Mapping[str, Any]:
        """The mapping that a reference (a JSON pointer, perhaps percent-encoded) leads to."""
        document, sign, pointer = reference.partition("#")
        if document or not sign:
            raise Unusable(f"the reference {reference!r} leads to another document; put both into one")
        found: Any = self.data
        for part in unquote(pointer).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = found[int(key)] if key.isascii() and key.isdigit() and int(key) < len(found) else None
            elif isinstance(found, Mapping):
                found = found.get(key, found.get(int(key)) if key.isascii() and key.isdigit() else None)
            else:
                found = None
        if not isinstance(found, Mapping) or (pointer and not pointer.startswith("/")):
            raise Unusable(f"the reference {reference!r} leads to nothing in this document")
        return found


class Reference(dict[str, Any]):
    """A schema that is one of the document's, by its whole path: `{"$ref": path}`, with what stands beside it."""


@dataclass(frozen=True, slots=True)
class Known:
    """A schema of the document that is referred to: in the words of 2020-12, with its bytes, and what it refers to."""

    schema: Any
    size: int
    references: tuple[str, ...]


class Schemas:
    """The schemas of a document, each turned over once, however many operations refer to it."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._known: dict[str, Known] = {}
        self._ending: set[str] = set()

    def arguments(self, properties: Mapping[str, Any], required: list[str]) -> dict[str, Json]:
        """The schema of a tool's arguments, given the document's schema of each; at most LARGEST bytes.

        Raises Unusable where that does not do, or a reference leads nowhere.
        """
        told: dict[str, Json] = {
            "type": "object",
            "properties": {key: self.of(each) for key, each in properties.items()},
        }
        return self.whole(told | {"required": sorted(required), "additionalProperties": False})

    def whole(self, told: dict[str, Json]) -> dict[str, Json]:
        """A schema that was turned over, with what it refers to under `$defs`, each once, the nearest first.

        What is past DEFINED bytes may be anything. Raises Unusable as `arguments` does.
        """
        names: dict[str, str] = {}
        waiting, size = deque(_references(told)), 0
        while waiting:
            reference = waiting.popleft()
            if reference in names:
                continue
            known = self._at(reference)
            if size + known.size <= DEFINED:
                size += known.size
                name = re.sub(r"[^A-Za-z0-9_.-]+", "_", unquote(reference.rpartition("/")[2])) or "it"
                names[reference] = apart(name, set(names.values()))
                waiting += known.references
        found: dict[str, Json] = _named(told, names)
        if names:
            found["$defs"] = {name: _named(self._at(reference).schema, names) for reference, name in names.items()}
        if len(codec.dumps(found)) > LARGEST:
            raise Unusable(f"the schema of its arguments has more than {LARGEST} bytes")
        return found

    def _at(self, reference: str) -> Known:
        if reference not in self._known:
            self._root.resolved(self._root.at(reference))  # it must lead somewhere
            made = self.of(self._root.at(reference))
            self._known[reference] = Known(made, len(codec.dumps(made)), tuple(_references(made)))
        self._ends(reference)
        return self._known[reference]

    def _ends(self, reference: str) -> None:
        """Raise Unusable where a schema is part of itself, so that no value ever settles it."""
        here, seen = [reference], set[str]()
        while here and reference not in self._ending:
            for each in _inner(self._turned(here.pop())):
                if each == reference:
                    raise Unusable(f"the schema {reference!r} leads back to itself")
                if each not in seen and each not in self._ending:
                    seen.add(each)
                    here.append(each)
        self._ending.add(reference)

    def _turned(self, reference: str) -> Any:
        return self._known[reference].schema if reference in self._known else self.of(self._root.at(reference))

    def of(self, value: Any) -> Any:
        """A schema in the words of 2020-12; what is none stands for anything."""
        if not isinstance(value, Mapping):
            return value if isinstance(value, bool) else {}
        found = dict(self._words(value))
        self._types(value, found)
        if isinstance(value.get("enum"), list):
            found["enum"] = _distinct(_meant(each, found) for each in value["enum"])
        found |= {key: _meant(value[key], found) for key in ("const", "default") if key in value}
        if isinstance(reference := value.get("$ref"), str):
            found = Reference(found | {"$ref": reference})
        return _nullable(found) if value.get("nullable") is True or value.get("x-nullable") is True else found

    def _words(self, value: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
        """What can be taken over key by key."""
        for key, each in value.items():
            if key in _ONE and isinstance(each, Mapping | bool):
                yield key, self.of(each)
            elif key in _LISTS and isinstance(each, list) and each:
                yield key, [self.of(one) for one in each]
            elif key in _MAPS and isinstance(each, Mapping):
                named = {text(name): one for name, one in each.items() if not self._told_only(one)}
                names = filter(_is_pattern, named) if key == "patternProperties" else named
                yield key, {name: self.of(named[name]) for name in names}
            elif key == "items" and isinstance(each, list) and each:  # as drafts before 2020 had it
                yield "prefixItems", [self.of(one) for one in each]
            elif key in _TEXTS and isinstance(each, str | int | float) and not isinstance(each, bool):
                if key != "pattern" or _is_pattern(text(each)):
                    yield key, text(each)
            elif (key in _COUNTS and type(each) is int) or (key == "uniqueItems" and isinstance(each, bool)):
                yield key, each
        yield from _limits(value)
        if isinstance(required := value.get("required"), list):
            properties = value.get("properties")
            known = properties if isinstance(properties, Mapping) else {}
            yield "required", _distinct(text(name) for name in required if not self._told_only(known.get(name)))

    def _told_only(self, value: Any) -> bool:
        """Whether a property is one that only answers have."""
        return isinstance(value, Mapping) and value.get("readOnly") is True

    def _types(self, value: Mapping[str, Any], found: dict[str, Json]) -> None:
        given = value.get("type")
        names = ["null" if each is None else each for each in (given if isinstance(given, list) else [given])]
        if given == "file":  # as 2.0 has it
            found |= {"type": "string", "format": "binary"}
        elif "type" in value and (known := _distinct(name for name in names if name in _TYPES)):
            found["type"] = known if len(known) > 1 else known[0]


def apart(name: str, taken: Container[str]) -> str:
    """A name, with a number where it is taken."""
    numbered = (f"{name}_{number}" if number > 1 else name for number in count(1))
    return next(each for each in numbered if each not in taken)


def text(value: Any) -> str:
    """A key, or a word, as it was written."""
    if isinstance(value, str):
        return value
    return value.text if isinstance(value, Written) else codec.dumps(value).decode()


def _is_pattern(value: str) -> bool:
    """Whether a pattern is one here, too: others are left out, for words such as `\\p{L}` are not everywhere known."""
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return len(value) <= PATTERN


def _limits(value: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    """Bounds of numbers; in 3.0 the strict ones are a word beside the others."""
    found = {key: float(each) if isinstance(each, Written) else each for key, each in value.items() if key in _LIMITS}
    for limit, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(strict), bool) and found.pop(strict) and limit in found:
            found[strict] = found.pop(limit)
    yield from ((key, each) for key, each in found.items() if type(each) in (int, float))


def _meant(value: Any, of: Mapping[str, Json]) -> Json:
    """A value as its schema means it: where only text may stand, `1.10` is text."""
    if of.get("type") == "string" and isinstance(value, int | float):
        return text(value)
    return codec.loads(codec.dumps(value))


def _distinct(values: Any) -> list[Any]:
    """Each value once, in their order."""
    found: dict[bytes, Any] = {codec.dumps(value): value for value in values}
    return list(found.values())


def _nullable(found: dict[str, Json]) -> dict[str, Json]:
    kinds = found.get("type") if not isinstance(found, Reference) else None
    if kinds is None and found.keys() - {"description", "title", "default"}:
        return {"anyOf": [found, {"type": "null"}]}
    if kinds is not None:
        found["type"] = _distinct([*(kinds if isinstance(kinds, list) else [kinds]), "null"])
    if "enum" in found:
        found["enum"] = _distinct([*found["enum"], None])
    return found


def _inner(value: Any) -> Iterator[str]:
    """The definitions that hold for the same value as a schema does."""
    if not isinstance(value, Mapping):
        return
    if "$ref" in value:
        yield str(value["$ref"])
    for key in ("allOf", "anyOf", "oneOf"):
        for each in value.get(key, ()):
            yield from _inner(each)
    for key in ("not", "if", "then", "else"):
        yield from _inner(value.get(key))


def _references(value: Any) -> Iterator[str]:
    """What a schema that was turned over refers to."""
    if isinstance(value, Reference):
        yield value["$ref"]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(each, dict | list):
            yield from _references(each)


def _named(value: Any, names: Mapping[str, str]) -> Any:
    """A schema with its references by name; those that have none may be anything."""
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _named(each, names) for key, each in value.items()}
    if isinstance(value, Reference):
        reference = found.pop("$ref")
        if reference in names:
            return found | {"$ref": f"#/$defs/{names[reference]}"}
        found.setdefault("description", f"a {reference.rpartition('/')[2]}, as the API's documentation has it")
    return found
