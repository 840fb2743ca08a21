"""What an OpenAPI document says of its operations: how each is called, what it takes, and where that goes.

The document is somebody else's, and may be wrong in any place: what is wrong costs the operation that it is part of.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from yarl import URL

from ..core import documents
from ..core.errors import InvalidRequest
from ..core.records import Json
from ..core.schemas import meant
from . import openapi_swagger as swagger
from .openapi_schemas import Root, Schemas, Unusable, apart, text
from .openapi_values import FORM, JSON, MULTIPART, Target, file_schema
from .toolkit import shown_name

METHODS = ("get", "put", "post", "delete", "patch", "head")
MOST = 2000  # operations of a document
NO_SERVER = "the document does not say where its server is; give `server` in the configuration"
WORDS = 4000  # characters of a description

_TRANSPORT = frozenset({
    "accept", "accept-charset", "accept-encoding", "authorization", "connection", "content-length", "content-type",
    "cookie", "expect", "host", "idempotency-key", "origin", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "via",
})  # fmt: skip
"""Headers that are ours to send, or the connection's."""
_STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its `label` (`GET /items/{id}`), description and schema, and where its arguments go."""

    label: str
    identifier: str
    words: str
    schema: Json
    url: str
    targets: Mapping[str, Target]
    required: frozenset[str]
    auth: tuple[tuple[str, str, str], ...]  # ways to show the key: place, name, and what stands before it

    @property
    def method(self) -> str:
        """In small letters."""
        return self.label.partition(" ")[0].lower()


@dataclass(slots=True)
class Read:
    """The operations of a document, names for them, and why others cannot be tools, by their labels."""

    server: str
    operations: list[Operation] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


def imported(content: bytes, name: str, source: str, server: str = "") -> Read:
    """Read a document in JSON or YAML, which is to be known by a name, as far as models can be held to what it says.

    Raises InvalidRequest for what is no OpenAPI document, or has no operation that can be a tool.
    """
    data = documents.foreign(content, source)
    version = str(data.get("openapi", data.get("swagger", ""))) if isinstance(data, dict) else ""
    if not version.startswith(("2.", "3.")):
        raise InvalidRequest(f"{source} is no OpenAPI document of version 2 or 3", parameter=name)
    try:
        found = read(data, source, server)
        called = names(name, found.operations)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{source} is not as OpenAPI says: {error!r}", parameter=name) from error
    operations, found.operations = found.operations, []
    for each, operation in zip(called, operations, strict=True):
        try:
            meant(operation.schema, "the operation", "")
        except InvalidRequest as error:  # an agent that had it could not be asked anything
            found.left_out[operation.label] = f"no model can be held to its schema: {error}"
            continue
        found.names.append(each)
        found.operations.append(operation)
    if not found.operations:
        none = "it has none" if found.server else NO_SERVER
        why = next((f"{label}: {why}" for label, why in found.left_out.items()), none)
        raise InvalidRequest(f"{source} has no operation that can be a tool: {why}", parameter=name)
    return found


def read(data: Mapping[str, Any], source: str, server: str = "") -> Read:
    """Read a document that came from `source`. `server` is asked in place of those that it names."""
    return _Reader(data, source, server).read()


def names(prefix: str, operations: Sequence[Operation]) -> list[str]:
    """A name for each, which every model's API takes: by its `operationId`, or by method and path.

    Names that would be the same are told apart by the method and path, so that they are the same at every start.
    """
    longer = [_shown(prefix, f"{each.method}{each.label.removeprefix(each.method.upper())}") for each in operations]
    plain = [_shown(prefix, each.identifier) or by_path for each, by_path in zip(operations, longer, strict=True)]
    uses, more = Counter(plain), Counter(longer)
    return [
        first if uses[first] == 1
        else second if second and more[second] == 1 and second not in uses and len(second) < 64
        else told_apart(second or prefix, each.label)
        for first, second, each in zip(plain, longer, operations, strict=True)
    ]  # fmt: skip


def told_apart(name: str, by: str) -> str:
    """A name that another one is not, by what it stands for."""
    return f"{name[:55]}_{blake2b(by.encode(), digest_size=4).hexdigest()}"


def _shown(prefix: str, words: str) -> str:
    return shown_name(f"{prefix}_{words}") if re.search(r"[A-Za-z0-9]", words) else ""


class _Reader:
    def __init__(self, data: Mapping[str, Any], source: str, server: str) -> None:
        self._data, self._source, self._server, self._root = data, source, server, Root(data)
        self._schemas = Schemas(self._root)
        self._old = "swagger" in data
        servers = swagger.servers(data, source) if self._old else data.get("servers") or [{"url": "/"}]
        self._base = self._place(servers)
        parts = data.get("components")
        given = parts.get("securitySchemes") if isinstance(parts, Mapping) else None
        self._shown_by = swagger.schemes(data) if self._old else given

    def read(self) -> Read:
        found = Read(self._base)
        for path, method, item in self._all(found):
            label = f"{method.upper()} {path}"
            if len(found.operations) == MOST:
                found.left_out[label] = f"it is past the first {MOST} operations"
                continue
            try:
                found.operations.append(self._operation(path, label, item, item[method] or {}))
            except Unusable as error:
                found.left_out[label] = str(error)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                found.left_out[label] = f"it is not as OpenAPI says: {error!r:.200}"
        return found

    def _all(self, found: Read) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for key, given in (self._data.get("paths") or {}).items():
            path = text(key)
            if path.startswith("x-"):
                continue
            try:
                item = self._root.resolved(given)
            except Unusable as error:
                found.left_out[path] = str(error)
                continue
            yield from ((path, method, item) for method in METHODS if method in item)

    def _operation(self, path: str, label: str, item: Mapping[str, Any], about: Mapping[str, Any]) -> Operation:
        url = self._place(about.get("servers")) or self._place(item.get("servers")) or self._base
        if not url:
            raise Unusable(NO_SERVER)
        auth = self._auth(about)
        inputs = self._inputs(item, about)
        targets, schemas, required = self._targets(
            path, inputs["parameters"], {(place, name) for place, name, _ in auth}
        )
        if (body := self._body(inputs.get("requestBody"))) is not None:
            targets["body"], schemas["body"], needed = body
            required += ["body"] if needed else []
        said = [each for each in (about.get("summary"), about.get("description")) if isinstance(each, str) and each]
        words = ("Deprecated. " if about.get("deprecated") is True else "") + ("\n".join(said) or label)
        told = self._schemas.arguments(schemas, required)
        identifier = text(about.get("operationId") or "")
        return Operation(
            label, identifier, words[:WORDS], told, url + _encoded(path), targets, frozenset(required), auth
        )  # fmt: skip

    def _inputs(self, item: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters, those of the operation in place of the path's, and the body."""
        given = [
            self._root.resolved(each) for each in (*(item.get("parameters") or ()), *(about.get("parameters") or ()))
        ]
        given = list({(each.get("in"), each.get("name")): each for each in given}.values())
        if self._old:
            return swagger.taken(given, about.get("consumes") or self._data.get("consumes") or [])
        return {"parameters": given, "requestBody": self._root.resolved(about.get("requestBody"))}

    def _targets(
        self, path: str, given: Sequence[Mapping[str, Any]], keys: set[tuple[str, str]]
    ) -> tuple[dict[str, Target], dict[str, Any], list[str]]:
        """Where each argument goes, its schema, and which are needed; `keys` are shown by us.

        Of two with one name the first keeps it, in the order of path, query, header and cookie; `body` is the body's.
        """
        in_path = dict.fromkeys(re.findall(r"\{([^{}]+)\}", path))
        known = {text(each["name"]) for each in given if each.get("in") == "path"}
        given = [*given, *({"name": name, "in": "path"} for name in in_path if name not in known)]
        targets: dict[str, Target] = {}
        schemas: dict[str, Any] = {}
        required = []
        for each in sorted(given, key=lambda one: [*_STYLES].index(one["in"])):
            target = self._target(each)
            needed = target.place == "path" or each.get("required") is True
            unused = target.name not in in_path if target.place == "path" else target.place == "cookie" and not needed
            if (
                unused
                or (target.place, target.name) in keys
                or (target.place == "header" and target.name.lower() in _TRANSPORT)
            ):
                continue
            key = target.name
            if key == "body" or key in targets:
                key = apart(f"{key}_{target.place}", targets)
            targets[key], schemas[key] = target, self._described(each, target)
            required += [key] if needed else []
        return targets, schemas, required

    def _target(self, given: Mapping[str, Any]) -> Target:
        place = given["in"]
        content = given.get("content")
        media = text(next(iter(content))) if isinstance(content, Mapping) and content else ""
        style = given.get("style") or _STYLES[place]
        explode = given.get("explode")
        return Target(
            place, text(given["name"]), style, style == "form" if explode is None else explode is True,
            given.get("allowReserved") is True, media,
        )  # fmt: skip

    def _described(self, given: Mapping[str, Any], target: Target) -> Any:
        words = given.get("description")
        found = (given["content"].get(target.media) or {}).get("schema") if target.media else given.get("schema")
        found = found if isinstance(found, Mapping) and found else {"type": "string"}
        return {**found, "description": words} if isinstance(words, str) and "$ref" not in found else found

    def _body(self, body: Mapping[str, Any] | None) -> tuple[Target, Any, bool] | None:
        """The body's target and schema, and whether it is needed: as JSON where there is a choice, else as a form."""
        content = {
            text(kind): self._root.resolved(about) for kind, about in ((body or {}).get("content") or {}).items()
        }
        if not content:
            return None
        kinds = (JSON.match, lambda kind: kind.startswith(FORM), lambda kind: kind.startswith(MULTIPART),
                 lambda kind: kind.startswith("text/"), lambda _: True)  # fmt: skip
        media = next(kind for like in kinds for kind in content if like(kind))
        given = content[media].get("schema") or {}
        needed = (body or {}).get("required") is True
        if JSON.match(media):
            return Target("body", "body", media=media), given, needed
        if media.startswith((FORM, MULTIPART)):
            return *self._form(media, given, content[media].get("encoding") or {}), needed
        binary = not media.startswith("text/") and not re.search(r"xml|yaml|csv|javascript|graphql", media)
        words = f"sent as {media}"
        told = file_schema(words) if binary else {"type": "string", "description": words}
        return Target("body", "body", media=media, files=frozenset({"body"} if binary else ())), told, needed

    def _form(self, media: str, given: Any, encoding: Mapping[str, Any]) -> tuple[Target, Any]:
        properties, required = self._fields(given, 0)
        files = frozenset(
            key for key, each in properties.items() if self._binary(each) or self._binary(each.get("items"))
        )
        parts = {}
        for key, about in ((text(key), self._root.resolved(about)) for key, about in encoding.items()):
            style, explode = about.get("style") or "form", about.get("explode")
            kind = text(about.get("contentType") or "").partition(",")[0].strip()
            parts[key] = Target(
                "body", key, style, style == "form" if explode is None else explode is True,
                about.get("allowReserved") is True, kind if "*" not in kind else "",
            )  # fmt: skip
        if files and media.startswith(MULTIPART):
            told: dict[str, Any] = {key: _upload(each) if key in files else each for key, each in properties.items()}
            given = {"type": "object", "properties": told, "required": required}
        return Target("body", "body", media=media, parts=parts, files=files), given

    def _fields(self, given: Any, depth: int) -> tuple[dict[str, Any], list[Any]]:
        """The properties of an object, each resolved, and which are needed, with those of `allOf`."""
        found = self._root.resolved(given)
        properties = {text(key): self._root.resolved(each) for key, each in (found.get("properties") or {}).items()}
        required = found["required"] if isinstance(found.get("required"), list) else []
        for each in (found.get("allOf") or ()) if depth < len(_STYLES) else ():
            more, needed = self._fields(each, depth + 1)
            properties, required = more | properties, [*required, *needed]
        return properties, required

    def _binary(self, given: Any) -> bool:
        found = self._root.resolved(given)
        if found.get("format") == "binary" or found.get("type") == "file":
            return True
        return "contentMediaType" in found and "contentEncoding" not in found

    def _auth(self, about: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
        """How the first way of authentication that one key will do for shows it."""
        ways = about.get("security", self._data.get("security")) or []
        known = self._shown_by if isinstance(self._shown_by, Mapping) else {}
        for way in ways:
            schemes = [self._root.resolved(known.get(name)) for name in way]
            if schemes and not any(scheme.get("type") == "mutualTLS" for scheme in schemes):
                return tuple(_shows(scheme) for scheme in schemes)
        return ()

    def _place(self, servers: Any) -> str:
        """The base URL of the first server that can be asked; empty where there is none."""
        if self._server and servers:
            servers = [{"url": self._server}]
        start = URL(self._source) if "://" in self._source else URL()
        for each in servers if isinstance(servers, list) else ():
            with suppress(AttributeError, LookupError, TypeError, ValueError):  # it is none, or no URL
                told = _filled(each)
                url = URL(told)
                url = url if url.absolute or not start.absolute else start.join(url)
                if url.scheme in ("http", "https") and url.host and "{" not in told:
                    return str(url.with_query(None).with_fragment(None)).rstrip("/")
        return ""


def _filled(server: Mapping[str, Any]) -> str:
    """A server's URL with its variables as they are by default."""
    told = text(server.get("url") or "/")
    for name, about in (server.get("variables") or {}).items():
        choices = about.get("enum") or [""]
        told = told.replace(f"{{{text(name)}}}", text(about.get("default", choices[0])))
    return told


def _shows(scheme: Mapping[str, Any]) -> tuple[str, str, str]:
    if scheme.get("type") == "apiKey" and scheme.get("in") in ("query", "header", "cookie"):
        return scheme["in"], text(scheme["name"]), ""
    return "header", "Authorization", "Basic " if str(scheme.get("scheme")).lower() == "basic" else "Bearer "


def _encoded(path: str) -> str:
    """A path as it is sent, but for what stands in braces; it stays one of the server's, whatever it begins with."""
    parts = re.split(r"(\{[^{}]+\})", "/" + path.partition("#")[0].lstrip("/"))
    return "".join(part if part.startswith("{") else quote(part, safe="/:@!$&'()*+,;=~%?") for part in parts)


def _upload(given: Mapping[str, Any]) -> dict[str, Json]:
    words = given.get("description") if isinstance(given.get("description"), str) else ""
    one = file_schema(words or "")
    return {"type": "array", "items": one} if given.get("type") == "array" else one
