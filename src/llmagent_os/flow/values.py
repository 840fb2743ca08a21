"""Values on their way through a flow: templates that name them, conditions on them, and whether two types fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import Json
from ..core.validity import Unknown, fault, same

_NAME = re.compile(r"\$\{([A-Za-z_][\w-]*)((?:\.[\w-]+)*)\}")
_GONE, _DIGITS = object(), 10
LONGEST = 4_000_000  # characters that names bring into one text: each node could double what it is given
WHOLE = "."
"""The path of a value itself."""


def named(template: Json) -> Iterator[str]:
    """The nodes that a template names (and `input`, `item`), in order, each as often as it stands there."""
    if isinstance(template, str):
        yield from (found[1] for found in _NAME.finditer(template))
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
        if alone := _NAME.fullmatch(template):
            return _named(alone, scope)
        room = LONGEST

        def put(found: re.Match[str]) -> str:
            nonlocal room
            said = text(_named(found, scope))
            room -= len(said)
            if room < 0:
                raise InvalidRequest(f"a template came to more than {LONGEST:,} characters; pass less on")
            return said

        return _NAME.sub(put, template)
    if isinstance(template, Mapping):
        return {name: fill(each, scope) for name, each in template.items()}
    return [fill(each, scope) for each in template] if isinstance(template, Sequence) else template


def _named(found: re.Match[str], scope: Mapping[str, Json]) -> Json:
    value = at(scope.get(found[1]), found[2].lstrip("."))
    return None if value is _GONE else value


def at(value: Json, path: str) -> Any:
    """What stands at a path such as `order.lines.0`; the whole value for an empty one or `.`."""
    for name in path.split(".") if path not in ("", WHOLE) else ():
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list | tuple) and name.isdecimal() and len(name) < _DIGITS and int(name) < len(value):
            value = value[int(name)]
        else:
            return _GONE
    return value


def text(value: Json) -> str:
    """A value in words: text as it is, nothing for null, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else codec.dumps(value).decode()


def holds(when: Mapping[str, Json], value: Json) -> bool:
    """Whether all of a condition is met: by path a value, a list of values of which it is one, or a JSON schema."""
    return all(_meets(expected, at(value, path)) for path, expected in when.items())


def _meets(expected: Json, found: Any) -> bool:
    if found is _GONE:
        return False
    if isinstance(expected, Mapping):
        return valid(expected, found) is None
    choices = expected if isinstance(expected, list | tuple) else [expected]
    return any(same(each, found) for each in choices)


def valid(schema: Mapping[str, Json], value: Json) -> str | None:
    """What is wrong with a value under a schema, None for nothing."""
    try:
        found = fault(schema, value)
    except Unknown as error:
        return str(error)
    return None if found is None else str(found)


def kinds(schema: Mapping[str, Json]) -> set[str] | None:
    """The JSON types that a value of a schema may have; None: any."""
    said = schema.get("type")
    if said is None:
        given = schema.get("enum", [schema["const"]] if "const" in schema else None)
        return None if given is None else {_kind(each) for each in given}
    found = {said} if isinstance(said, str) else set(said)
    return found | {"integer"} if "number" in found else found


def _kind(value: Json) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    if isinstance(value, Mapping | list | tuple):
        return "object" if isinstance(value, Mapping) else "array"
    return "string" if isinstance(value, str) else "integer" if float(value).is_integer() else "number"


def misfit(gives: Mapping[str, Json] | None, takes: Mapping[str, Json] | None, place: str = "") -> str | None:
    """Why no value of one type can be of another, as far as both say; None where some may be."""
    if not gives or not takes:
        return None
    where, has, wants = place or "it", kinds(gives), kinds(takes)
    if has is not None and wants is not None and not has & wants:
        return f"{where} is {_or(has)}, and {_or(wants)} is taken"
    choices = gives.get("enum", [gives["const"]] if "const" in gives else None)
    if choices and all(valid(takes, each) is not None for each in choices):
        return f"{where} is one of {codec.dumps(choices).decode()}, of which none is taken"
    told, asked = gives.get("properties") or {}, takes.get("properties") or {}
    if has == {"object"} and gives.get("additionalProperties") is not True and told:
        for name in takes.get("required") or ():
            if name not in told:
                return f"{place + '.' if place else ''}{name} is taken, and not given"
    for name in told.keys() & asked.keys() if has == {"object"} else ():
        if wrong := misfit(told[name], asked[name], f"{place}.{name}".lstrip(".")):
            return wrong
    if has == {"array"} and isinstance(gives.get("items"), Mapping) and isinstance(takes.get("items"), Mapping):
        return misfit(gives["items"], takes["items"], f"{place}[]")
    return None


def _or(found: set[str]) -> str:
    return " or ".join(sorted(found))


def under(schema: Mapping[str, Json] | None, path: str) -> Mapping[str, Json] | None:
    """The schema of what stands at a path; None where nothing is said about it."""
    for name in path.split(".") if path not in ("", WHOLE) else ():
        if not isinstance(schema, Mapping):
            return None
        schema = schema.get("items") if name.isdecimal() else (schema.get("properties") or {}).get(name)
    return schema if isinstance(schema, Mapping) else None


def type_of(template: Json, types: Mapping[str, Mapping[str, Json] | None]) -> Mapping[str, Json] | None:
    """The type of what a template is filled to, by the types of what it names; None: nobody says."""
    if isinstance(template, str):
        alone = _NAME.fullmatch(template)
        if alone:
            return under(types.get(alone[1]), alone[2].lstrip("."))
        return {"type": "string"} if _NAME.search(template) else {"const": template}
    if isinstance(template, Mapping):
        parts = {name: type_of(each, types) or {} for name, each in template.items()}
        return {"type": "object", "properties": parts, "additionalProperties": False}
    return {"type": "array"} if isinstance(template, list | tuple) else {"const": template}
