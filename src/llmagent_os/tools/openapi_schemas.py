"""Schemas of OpenAPI documents (2.0, 3.0, 3.1) in the words of JSON Schema 2020-12, and where references lead."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from itertools import count
from typing import Any
from urllib.parse import unquote

from ..core import codec
from ..core.documents import Written
from ..core.errors import InvalidRequest
from ..core.records import Json

CHAIN = 12  # references that lead to one another
LARGEST = 40_000  # bytes of a tool's schema
DEPTHS = (CHAIN, 4, 2, 1, 0)  # of references that are followed, as many as LARGEST has room for

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


def schema(properties: Mapping[str, Any], required: list[str], root: Root) -> dict[str, Json]:
    """The schema of a tool's arguments, given the document's schema of each; at most LARGEST bytes.

    What it refers to is under `$defs`, each once. Where that is too much, the references farthest in stand for
    anything. Raises Unusable where even that is too much, or a reference leads nowhere.
    """
    for depth in DEPTHS:
        found = Schemas(root, depth)
        told: dict[str, Json] = {
            "type": "object",
            "properties": {key: found.of(each) for key, each in properties.items()},
        }
        told |= {"required": sorted(required), "additionalProperties": False}
        defined = found.definitions()
        told |= {"$defs": defined} if defined else {}
        if defined is not None and len(codec.dumps(told)) <= LARGEST:
            return told
    raise Unusable(f"the schema of its arguments has more than {LARGEST} bytes")


class Schemas:
    """Turns schemas over, and keeps what they refer to, by its whole path, until `definitions` turns that over too."""

    def __init__(self, root: Root, depth: int) -> None:
        self._root, self._depth = root, depth
        self._names: dict[str, str] = {}  # by reference
        self._waiting: list[str] = []
        self._cut = False

    def definitions(self) -> dict[str, Json] | None:
        """What was referred to, by name; None where that is more than LARGEST.

        Raises Unusable for what leads back to itself without an end.
        """
        found: dict[str, Json] = {}
        size = depth = 0
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            self._cut = (depth := depth + 1) >= self._depth
            for reference in waiting:
                found[self._names[reference]] = defined = self.of(self._root.at(reference))
                if (size := size + len(codec.dumps(defined))) > LARGEST:
                    return None
        for name in found:
            _ends(name, found)
        return found

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
            found |= self._referred(reference)
        return _nullable(found) if value.get("nullable") is True or value.get("x-nullable") is True else found

    def _words(self, value: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
        """What can be taken over key by key."""
        for key, each in value.items():
            if key in _ONE and isinstance(each, Mapping | bool):
                yield key, self.of(each)
            elif key in _LISTS and isinstance(each, list) and each:
                yield key, [self.of(one) for one in each]
            elif key in _MAPS and isinstance(each, Mapping):
                yield key, {text(name): self.of(one) for name, one in each.items() if not self._told_only(one)}
            elif key == "items" and isinstance(each, list) and each:  # as drafts before 2020 had it
                yield "prefixItems", [self.of(one) for one in each]
            elif key in _TEXTS and isinstance(each, str | int | float) and not isinstance(each, bool):
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

    def _referred(self, reference: str) -> dict[str, Json]:
        if reference not in self._names:
            self._root.resolved(self._root.at(reference))  # it must lead somewhere
            if self._cut or not self._depth:
                return {"description": f"a {reference.rpartition('/')[2]}, as the API's documentation has it"}
            name = re.sub(r"[^A-Za-z0-9_.-]+", "_", unquote(reference.rpartition("/")[2])) or "it"
            self._names[reference] = apart(name, set(self._names.values()))
            self._waiting.append(reference)
        return {"$ref": f"#/$defs/{self._names[reference]}"}


def apart(name: str, taken: Container[str]) -> str:
    """A name, with a number where it is taken."""
    numbered = (f"{name}_{number}" if number > 1 else name for number in count(1))
    return next(each for each in numbered if each not in taken)


def text(value: Any) -> str:
    """A key, or a word, as it was written."""
    if isinstance(value, str):
        return value
    return value.text if isinstance(value, Written) else codec.dumps(value).decode()


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
    kinds = found.get("type")
    if kinds is None and found.keys() - {"description", "title", "default"}:
        return {"anyOf": [found, {"type": "null"}]}
    if kinds is not None:
        found["type"] = _distinct([*(kinds if isinstance(kinds, list) else [kinds]), "null"])
    if "enum" in found:
        found["enum"] = _distinct([*found["enum"], None])
    return found


def _ends(name: str, defined: Mapping[str, Json]) -> None:
    """Raise Unusable where a schema is part of itself, so that no value ever settles it."""
    seen, here = set[str](), [name]
    while here:
        each: Any = defined[here.pop()]
        for reference in _inner(each):
            if reference == name:
                raise Unusable(f"the schema {name!r} leads back to itself")
            if reference not in seen:
                seen.add(reference)
                here.append(reference)


def _inner(value: Any) -> Iterator[str]:
    """The definitions that hold for the same value as a schema does."""
    if not isinstance(value, Mapping):
        return
    if "$ref" in value:
        yield str(value["$ref"]).removeprefix("#/$defs/")
    for key in ("allOf", "anyOf", "oneOf"):
        for each in value.get(key, ()):
            yield from _inner(each)
    for key in ("not", "if", "then", "else"):
        yield from _inner(value.get(key))


def refused(source: str, why: object, name: str) -> InvalidRequest:
    """The error of a whole document."""
    return InvalidRequest(f"{source} is not as OpenAPI says: {why}", parameter=name)
