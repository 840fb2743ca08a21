"""OpenAPI documents (3.0 and 3.1) as tools: an operation a tool, its parameters and JSON body as one JSON schema."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from ..core import codec, documents
from ..core.errors import FetchFailed, InvalidRequest, PermissionDenied, ToolFailed
from ..core.places import allowed, named
from ..core.records import Json, Ticket, ToolSpec, Traits
from ..core.secrets import missing, secret
from .settings import Document
from .toolkit import Bounds, File, as_json, shown_name

LARGEST = 8 << 20  # bytes of a document or an answer
CHAIN = 12  # references that lead to one another
_METHODS = ("get", "put", "post", "delete", "patch", "head")
_SAFE, _REPEATABLE = ("get", "head"), ("get", "head", "put", "delete")
_JSON = re.compile(r"application/(.*\+)?json")
_NO_SCHEMA = frozenset({"example", "xml", "externalDocs", "discriminator", "deprecated"})
_VALUES = frozenset({"properties", "enum", "const", "default", "examples", "required"})  # done, or no schemas in them


@dataclass(frozen=True, slots=True)
class Operation:
    """Where an operation's arguments go: name -> `path`, `query`, `header`, or `body`."""

    method: str
    url: str
    places: Mapping[str, str]
    required: frozenset[str]
    auth: tuple[tuple[str, str, str], ...]  # ways to show the key: place, name, and what stands before it


class OperationTool:
    """One operation. It is asked for at the document's server and nowhere else: redirects are not followed."""

    def __init__(self, spec: ToolSpec, operation: Operation, document: Document, source: str) -> None:
        method = operation.method
        effect: Any = "read" if method in _SAFE else "external"
        self.spec, self.source = spec, source
        self.traits = Traits(effect, idempotent=method in _REPEATABLE, keyed=document.keyed, timeout=document.timeout)
        self._operation, self._document = operation, document
        self._bounds = Bounds(spec.name, self.traits)

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Make the request; raises ToolFailed for arguments that do not fit and with what the server refused."""
        url, query, headers = self._request(arguments)
        name = named(url.host, url.port, url.scheme)
        if not allowed(name, ticket.grant.hosts):
            raise PermissionDenied(f"{name!r} is not among the hosts of the grant; add it there", host=name)
        body = arguments.get("body")
        headers |= {"Idempotency-Key": ticket.key} | ({} if body is None else {"Content-Type": "application/json"})
        data = None if body is None else codec.dumps(body)
        try:
            async with (
                self._bounds.within(),
                aiohttp.ClientSession() as session,
                session.request(
                    self._operation.method, url, params=query, headers=headers, data=data, allow_redirects=False
                ) as response,
            ):
                return _answer(self.spec.name, response, await _read(response))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ToolFailed(f"{self.spec.name}: {error or type(error).__name__}", tool=self.spec.name) from error

    def _request(self, arguments: Mapping[str, Json]) -> tuple[URL, list[tuple[str, str]], dict[str, str]]:
        operation, url = self._operation, self._operation.url
        if wrong := (arguments.keys() - operation.places.keys()) | (operation.required - arguments.keys()):
            known = ", ".join(f"{name}{'' if name in operation.required else '?'}" for name in operation.places)
            raise ToolFailed(f"{self.spec.name}: {min(wrong)!r} is unknown or missing; it takes {known or 'nothing'}")
        query: list[tuple[str, str]] = []
        headers: dict[str, str] = {}
        for name, value in arguments.items():
            place = operation.places[name]
            if place == "path":
                url = url.replace(f"{{{name}}}", _segment(value))
            elif place == "query":
                query += [(name, _plain(each)) for each in (value if isinstance(value, list) else [value])]
            elif place == "header":
                headers[name] = _plain(value)
        self._show_key(query, headers)
        return URL(url, encoded=True), query, headers

    def _show_key(self, query: list[tuple[str, str]], headers: dict[str, str]) -> None:
        name = self._document.key_env
        if not name:
            return
        key = secret(name)
        if not key:
            raise ToolFailed(f"{self.spec.name} needs a key: {missing(name)}")
        for place, field, scheme in self._operation.auth or (("header", "Authorization", "Bearer "),):
            value = scheme + (base64.b64encode(key.encode()).decode() if scheme == "Basic " else key)
            if place == "query":
                query.append((field, value))
            else:
                headers[field] = value


async def openapi_tools(name: str, document: Document, folder: Path) -> dict[str, OperationTool]:
    """The tools of a document, by name. One from a URL is fetched once and kept in `folder`, so that it stays the same.

    Raises FetchFailed, or InvalidRequest for what is no OpenAPI document.
    """
    file = Path(document.source).expanduser()
    if "://" in document.source:
        file = folder / f"{name}.json"
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(await _fetched(document.source))
    data = _parsed(file, document.source)
    if not isinstance(data, dict) or not str(data.get("openapi", "")).startswith("3."):
        raise InvalidRequest(f"{document.source} is no OpenAPI document of version 3", parameter=name)
    try:
        found = list(_operations(name, data, _base(data, document)))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{document.source} is not as OpenAPI says: {error!r}", parameter=name) from error
    return {spec.name: OperationTool(spec, about, document, f"openapi {name}") for spec, about in found}


def _parsed(file: Path, source: str) -> Any:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {source}: {error.strerror}", parameter="source") from error
    with suppress(ValueError):
        return documents.plain(codec.loads(data), source)  # many times as fast, and most documents are JSON
    return documents.one(data, source)


async def _fetched(url: str) -> bytes:
    try:
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session, session.get(url) as answer:
            return await _read(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise FetchFailed(f"cannot fetch {url}: {error or type(error).__name__}") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for block in response.content.iter_any():
        data += block
        if len(data) > LARGEST:
            raise ToolFailed(f"{response.url.host} sent more than {LARGEST} bytes")
    return bytes(data)


def _answer(tool: str, response: aiohttp.ClientResponse, data: bytes) -> Json:
    if response.status >= 300:
        said = data.decode("utf-8", "replace")[:500] or response.reason
        raise ToolFailed(f"{tool}: the server answered {response.status}: {said}", tool=tool, status=response.status)
    if _JSON.match(response.content_type) and data:
        return codec.loads(data)
    if response.content_type.startswith("text/") or not data:
        return data.decode("utf-8", "replace")
    return as_json(File(response.url.name or "answer", data, response.content_type))


def _base(data: Mapping[str, Any], document: Document) -> str:
    servers = data.get("servers") or [{"url": "/"}]
    told = servers[0]["url"]
    for name, about in (servers[0].get("variables") or {}).items():
        told = told.replace(f"{{{name}}}", str(about.get("default", "")))
    start = URL(document.source) if "://" in document.source else URL()
    url = URL(document.server or told)
    url = url if url.absolute or not start.absolute else start.join(url)
    if url.scheme not in ("http", "https"):
        text = f"{document.source} does not say where its server is; give `server` in the configuration"
        raise InvalidRequest(text, parameter="server")
    return str(url).rstrip("/")


def _operations(name: str, data: Mapping[str, Any], base: str) -> Iterator[tuple[ToolSpec, Operation]]:
    for path, item in (data.get("paths") or {}).items():
        for method in _METHODS:
            if method in item and (places := _places(item, item[method], data)) is not None:
                operation = item[method]
                used: dict[str, Json] = {}
                properties = {key: _schema(schema, data, used) for key, (_, schema, _) in places.items()}
                needed = frozenset(key for key, (*_, required) in places.items() if required)
                schema: Json = {"type": "object", "properties": properties, "required": sorted(needed)}
                schema |= {"additionalProperties": False} | ({"$defs": used} if used else {})
                words = "\n".join(filter(None, (operation.get("summary"), operation.get("description"))))
                title = shown_name(f"{name}_{operation.get('operationId') or f'{method}_{path}'}")
                where = {key: place for key, (place, *_) in places.items()}
                about = Operation(method, base + path, where, needed, _auth(operation, data))
                yield ToolSpec(title, words, schema), about


def _places(
    item: Mapping[str, Any], operation: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, tuple[str, Json, bool]] | None:
    """Each argument's place, schema and whether it is needed; None where the body is a form or a file."""
    given = [_resolved(each, data) for each in (*item.get("parameters", ()), *operation.get("parameters", ()))]
    places = {
        each["name"]: (each["in"], _described(each), each.get("required", False))
        for each in given
        if each["in"] != "cookie"
    }
    body = _resolved(operation.get("requestBody") or {}, data)
    content = next((about for kind, about in body.get("content", {}).items() if _JSON.match(kind)), None)
    if content is not None:
        places["body"] = ("body", content.get("schema") or {}, body.get("required", False))
    return None if content is None and body.get("required") else places


def _described(parameter: Mapping[str, Any]) -> dict[str, Json]:
    words = parameter.get("description")
    schema = dict(parameter.get("schema") or {"type": "string"})
    return schema | {"description": words} if words and "$ref" not in schema else schema


def _auth(operation: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """How the first way of authentication that the operation takes shows its key."""
    ways = operation.get("security", data.get("security")) or []
    known = (data.get("components") or {}).get("securitySchemes") or {}
    found = []
    for scheme in (known.get(name) or {} for name in (ways[0] if ways else ())):
        if scheme.get("type") == "apiKey" and scheme.get("in") in ("query", "header"):
            found.append((scheme["in"], scheme["name"], ""))
        else:
            found.append(("header", "Authorization", "Basic " if scheme.get("scheme") == "basic" else "Bearer "))
    return tuple(found)


def _resolved(value: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """What a `$ref` within the document stands for; raises InvalidRequest for another one."""
    found: Any = value
    for _ in range(CHAIN):
        reference = found.get("$ref")
        if reference is None:
            return dict(found)
        found = data
        for part in str(reference).removeprefix("#/").split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        if not str(reference).startswith("#/") or not isinstance(found, Mapping):
            raise InvalidRequest(f"the reference {reference!r} leads to nothing in this document", parameter="$ref")
    raise InvalidRequest("a reference leads back to itself", parameter="$ref")


def _schema(value: Any, data: Mapping[str, Any], used: dict[str, Json]) -> Any:
    """A schema in the words of JSON Schema 2020-12; what it refers to is put into `used`, each once."""
    if isinstance(value, list):
        return [_schema(each, data, used) for each in value]
    if not isinstance(value, Mapping):
        return value
    if isinstance(reference := value.get("$ref"), str):
        name = reference.rpartition("/")[2]
        if name not in used:
            used[name] = {}  # it may refer to itself
            used[name] = _schema(_resolved(value, data), data, used)
        return {"$ref": f"#/$defs/{name}"}
    found = {key: each for key, each in value.items() if key not in _NO_SCHEMA}
    for limit, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(strict), bool) and found.pop(strict) and limit in found:  # as 3.0 has it
            found[strict] = found.pop(limit)
    if found.pop("nullable", False) is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    if isinstance(named_schemas := found.get("properties"), Mapping):
        found["properties"] = {key: _schema(each, data, used) for key, each in named_schemas.items()}
    return {key: each if key in _VALUES else _schema(each, data, used) for key, each in found.items()}


def _segment(value: Json) -> str:
    """A value as one segment of a path, whatever is in it."""
    text = quote(_plain(value), safe="")
    if text in ("", ".", ".."):
        raise ToolFailed(f"{value!r} cannot stand in a path")
    return text


def _plain(value: Json) -> str:
    return value if isinstance(value, str) else codec.dumps(value).decode()
