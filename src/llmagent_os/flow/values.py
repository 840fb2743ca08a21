"""Values on their way through a flow: conditions on them, and whether two types fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import codec, schemas
from ..core.errors import InvalidRequest
from ..core.records import Json
from ..core.templates import GONE, NAME, WHOLE, at
from ..core.validity import same, wrong


def holds(when: Mapping[str, Json], value: Json) -> bool:
    """Whether all of a condition is met: by path a value, a list of values of which it is one, or a JSON schema."""
    return all(_meets(expected, at(value, path)) for path, expected in when.items())


def _meets(expected: Json, found: Any) -> bool:
    if found is GONE:
        return False
    if isinstance(expected, Mapping):
        return valid(expected, found) is None
    choices = expected if isinstance(expected, list | tuple) else [expected]
    return any(same(each, found) for each in choices)


def valid(schema: Mapping[str, Json], value: Json) -> str | None:
    """What is wrong with a value under a schema, None for nothing."""
    try:
        return wrong(schemas.meant(schema, "it", ""), value)
    except InvalidRequest as error:
        return str(error)


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
        alone = NAME.fullmatch(template)
        if alone:
            return under(types.get(alone[1]), alone[2].lstrip("."))
        return {"type": "string"} if NAME.search(template) else {"const": template}
    if isinstance(template, Mapping):
        parts = {name: type_of(each, types) or {} for name, each in template.items()}
        return {"type": "object", "properties": parts, "additionalProperties": False}
    return {"type": "array"} if isinstance(template, list | tuple) else {"const": template}
