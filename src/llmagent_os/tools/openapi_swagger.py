"""OpenAPI 2.0 (Swagger) in the words of 3.0: servers, ways to show a key, and what an operation takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yarl import URL

from .openapi_schemas import Unusable

_COLLECTIONS = {"csv": ("", False), "ssv": ("spaceDelimited", False), "pipes": ("pipeDelimited", False)}
_NOT_SCHEMA = frozenset({"name", "in", "required", "collectionFormat", "schema", "description"})


def servers(data: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """Where the API is: what the document does not say is as of the document itself, as the standard has it.

    A file has no scheme: then it is `http` on this machine and `https` elsewhere.
    """
    here = URL(source) if "://" in source else URL()
    host = data.get("host") or here.authority
    local = str(host).startswith(("localhost", "127.", "[::1]"))
    given = data.get("schemes") if isinstance(data.get("schemes"), list) else []
    schemes = [scheme for scheme in given or () if scheme in ("http", "https")]
    order = sorted(schemes, reverse=True) or [here.scheme or ("http" if local else "https")]
    return [{"url": f"{scheme}://{host}{data.get('basePath') or ''}"} for scheme in order] if host else []


def schemes(data: Mapping[str, Any]) -> dict[str, Any]:
    """The ways to show a key, by name."""
    given = data.get("securityDefinitions")
    found = (
        {name: each for name, each in given.items() if isinstance(each, Mapping)} if isinstance(given, Mapping) else {}
    )
    basic = {"type": "http", "scheme": "basic"}
    return {name: basic if about.get("type") == "basic" else about for name, about in found.items()}


def taken(given: Sequence[Mapping[str, Any]], consumes: Sequence[str]) -> dict[str, Any]:
    """`parameters` and `requestBody` out of parameters of 2.0; `consumes` are the media types of its bodies."""
    found: dict[str, Any] = {"parameters": list(_parameters(given))}
    fields = [each for each in given if each.get("in") == "formData"]
    for each in given:
        if each.get("in") == "body":
            content = {media: {"schema": each.get("schema")} for media in (consumes or ["application/json"])}
            found["requestBody"] = {"required": each.get("required"), "content": content}
    if fields:
        files = any(each.get("type") == "file" for each in fields)
        forms = [each for each in consumes if each.startswith(("multipart/", "application/x-www-form"))]
        media = (
            "multipart/form-data" if files or "multipart/form-data" in forms else "application/x-www-form-urlencoded"
        )
        needed = [each["name"] for each in fields if each.get("required") is True]
        properties = {each["name"]: _schema(each) for each in fields}
        encoding = {each["name"]: _collected(each) for each in fields if each.get("type") == "array"}
        schema = {"type": "object", "properties": properties, "required": needed}
        found["requestBody"] = {"required": bool(needed), "content": {media: {"schema": schema, "encoding": encoding}}}
    return found


def _parameters(given: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in given:
        if each.get("in") not in ("body", "formData"):
            told = {key: each[key] for key in ("name", "in", "required", "description") if key in each}
            yield told | {"schema": _schema(each)} | (_collected(each) if each.get("type") == "array" else {})


def _schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    words = {"description": parameter["description"]} if parameter.get("description") else {}
    return {key: each for key, each in parameter.items() if key not in _NOT_SCHEMA} | words


def _collected(parameter: Mapping[str, Any]) -> dict[str, Any]:
    form = parameter.get("collectionFormat") or "csv"
    if form == "multi":
        return {"style": "form", "explode": True}
    if form not in _COLLECTIONS:
        raise Unusable(f"{parameter.get('name')} is a list with {form!r} between its values, which no request can have")
    style, explode = _COLLECTIONS[form]
    return {"explode": explode} | ({"style": style} if style else {})
