"""How the values of an OpenAPI operation are written: parameters by `style` and `explode`, bodies by media type."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

from ..core import codec
from ..core.errors import ToolFailed
from ..core.records import Json

JSON = re.compile(r"(application|text)/([^;]*\+)?json\b|(application|\*)/\*")
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
RESERVED = ":/?@!$'()*,;="  # what `allowReserved` leaves as it is; `&`, `#` and `+` would begin something else

_DELIMITERS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where an argument goes: `place` is path, query, header, cookie or body, `name` what it is called there.

    `media` is how a body is sent, or a parameter whose value is a document of its own; `parts` are the fields of a form
    that the document says more about.
    """

    place: str
    name: str
    style: str = ""
    explode: bool = False
    reserved: bool = False
    media: str = ""
    parts: Mapping[str, Target] = field(default_factory=dict)
    files: frozenset[str] = frozenset()


def segment(target: Target, value: Json) -> str:
    """A value as part of a path, whatever is in it; raises ToolFailed for what would be no part, or another one."""
    value = codec.words(value) if target.media else value
    words = [_joined(each, "=" if target.explode else ",") for each in _pieces(value)]
    first = {"label": ".", "matrix": ";"}.get(target.style, "")
    if target.style == "matrix" and not (target.explode and isinstance(value, dict)):
        name = quote(target.name, safe="")
        words = [f"{name}={each}" for each in (words if target.explode else [",".join(words)])]
    text = first + (first or "," if target.explode else ",").join(words)
    if not words or text in ("", ".", ".."):
        raise ToolFailed(f"{value!r} cannot stand in a path")
    return text


def query(target: Target, value: Json) -> Iterator[str]:
    """A value as `name=value` pieces of a query or a form, percent-encoded."""
    safe = RESERVED if target.reserved else ""
    name = quote(target.name, safe="")
    if target.media or not isinstance(value, dict | list):
        yield f"{name}={quote(codec.words(value), safe=safe)}"
    elif target.style == "deepObject" and isinstance(value, dict):
        for path, each in _deep(target.name, value):
            yield f"{quote(path, safe='')}={quote(codec.words(each), safe=safe)}"
    elif target.explode:
        for each in _pieces(value):
            key = quote(each[0], safe="") if isinstance(value, dict) else name
            yield f"{key}={quote(each[-1], safe=safe)}"
    elif pieces := _pieces(value):
        between = _DELIMITERS.get(target.style, ",")
        yield f"{name}=" + between.join(quote(word, safe=safe) for each in pieces for word in each)


def header(target: Target, value: Json) -> str:
    """A value of a header."""
    if target.media or not isinstance(value, dict | list):
        return codec.words(value)
    return ",".join(("=" if target.explode else ",").join(each) for each in _pieces(value))


def body(target: Target, value: Json) -> tuple[Any, str]:
    """A body to be sent, and its Content-Type (empty where that comes with it); raises ToolFailed for what is none."""
    if JSON.match(target.media):
        return codec.dumps(value), "application/json" if "*" in target.media else target.media
    if target.media.startswith((FORM, MULTIPART)):
        if not isinstance(value, dict):
            raise ToolFailed("body: a form is an object of its fields")
        if target.media.startswith(MULTIPART):
            return _multipart(target, value), ""
        fields = ((target.parts.get(key) or Target("body", key, "form", True), each) for key, each in value.items())
        pieces = [piece for part, each in fields if each is not None for piece in query(_flat(part, each), each)]
        return "&".join(pieces).encode(), target.media
    if target.files:
        return _bytes(value, "body"), target.media
    return codec.words(value).encode(), target.media


def file_schema(description: str) -> dict[str, Json]:
    """What a model writes for a file."""
    kinds = {"name": {"type": "string"}, "text": {"type": "string"}, "base64": {"type": "string"}}
    words = f"{description}\n" if description else ""
    told = f"{words}a file: its name, and what is in it as `text`, or as `base64` where it is no text"
    return {"type": "object", "description": told, "properties": kinds, "additionalProperties": False}


def _flat(target: Target, value: Json) -> Target:
    """The field of a form; an object in it is JSON unless the document says how else."""
    nested = isinstance(value, dict) and target.style in ("", "form")
    return (
        Target("body", target.name, target.style, target.explode, target.reserved, "application/json")
        if nested
        else target
    )


def _multipart(target: Target, value: Mapping[str, Json]) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for key, each in value.items():
        media = target.parts[key].media if key in target.parts else ""
        for one in each if isinstance(each, list) and not JSON.match(media) else [each]:
            if one is None:
                continue
            if key in target.files:
                name = str(one.get("name") or key) if isinstance(one, dict) else key
                form.add_field(key, _bytes(one, key), filename=name, content_type=media or "application/octet-stream")
            elif isinstance(one, dict | list):
                form.add_field(key, codec.words(one), content_type=media or "application/json")
            else:
                form.add_field(key, codec.words(one), content_type=media or None)
    return form


def _bytes(value: Json, name: str) -> bytes:
    if isinstance(value, dict) and value.get("base64"):
        try:
            return base64.b64decode(str(value["base64"]), validate=True)
        except binascii.Error as error:
            raise ToolFailed(f"{name}: this is no base64: {error}") from error
    return codec.words(value.get("text", "") if isinstance(value, dict) else value).encode()


def _pieces(value: Json) -> list[list[str]]:
    """A value's words: one for each value of a list, two for each key of an object; null is not sent."""
    if isinstance(value, dict):
        return [[key, codec.words(each)] for key, each in value.items() if each is not None]
    return [[codec.words(each)] for each in (value if isinstance(value, list) else [value]) if each is not None]


def _joined(words: list[str], between: str) -> str:
    return between.join(quote(word, safe="") for word in words)


def _deep(name: str, value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _deep(f"{name}[{key}]", each)
    elif isinstance(value, list):
        for each in value:
            yield from _deep(name, each)
    elif value is not None:
        yield name, value
