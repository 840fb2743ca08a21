"""OpenAPI documents (2.0 and 3.x) as tools: an operation a tool, its parameters and body as one JSON schema."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from ..core import codec, documents
from ..core.errors import FetchFailed, InvalidRequest, PermissionDenied, ToolFailed
from ..core.outside import outside
from ..core.places import allowed, named
from ..core.records import Json, Ticket, ToolSpec, Traits
from ..core.secrets import missing, secret
from ..core.whole import write_whole
from .charsets import decoded
from .openapi_read import Operation, imported, told_apart
from .openapi_values import Target, body, header, query, segment
from .settings import Document
from .toolkit import Bounds, File, as_json

LARGEST = 8 << 20  # bytes of an answer
DOCUMENT = 16 << 20  # bytes of a document
PATIENCE = 30.0  # seconds for a document to be fetched
READING, WORK = 60.0, 20.0  # seconds for one to be read, and of a processor: 16 MB of YAML take some 4
_SAFE, _REPEATABLE = ("get", "head"), ("get", "head", "put", "delete")
_JSON = re.compile(r"(application|text)/(.*\+)?json")


class OperationTool:
    """One operation. It is asked for at the document's server and nowhere else: redirects are not followed."""

    def __init__(self, name: str, operation: Operation, document: Document, source: str) -> None:
        method = operation.method
        effect: Any = "read" if method in _SAFE else "external"
        self.spec, self.source = ToolSpec(name, operation.words, operation.schema), source
        self.traits = Traits(effect, idempotent=method in _REPEATABLE, keyed=document.keyed, timeout=document.timeout)
        self.host = named((url := URL(operation.url, encoded=True)).host, url.port, url.scheme)
        self._operation, self._document = operation, document
        self._bounds = Bounds(name, self.traits)

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Make the request; raises ToolFailed for arguments that do not fit and with what the server refused."""
        url, headers = self._request({name: each for name, each in arguments.items() if each is not None})
        if not allowed(self.host, ticket.grant.hosts):
            raise PermissionDenied(f"{self.host!r} is not among the hosts of the grant; add it there", host=self.host)
        headers["Idempotency-Key"] = ticket.key
        data = None
        try:
            if arguments.get("body") is not None and "body" in self._operation.targets:
                data, kind = body(self._operation.targets["body"], arguments["body"])
                headers |= {"Content-Type": kind} if kind else {}
            async with (
                self._bounds.within(),
                aiohttp.ClientSession() as session,
                session.request(
                    self._operation.method, url, headers=headers, data=data, allow_redirects=False
                ) as response,
            ):
                return _answer(self.spec.name, response, await _read(response, LARGEST))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ToolFailed(f"{self.spec.name}: {error or type(error).__name__}", tool=self.spec.name) from error

    def _request(self, arguments: Mapping[str, Json]) -> tuple[URL, dict[str, str]]:
        operation, url = self._operation, self._operation.url
        if wrong := (arguments.keys() - operation.targets.keys()) | (operation.required - arguments.keys()):
            known = ", ".join(f"{name}{'' if name in operation.required else '?'}" for name in operation.targets)
            raise ToolFailed(f"{self.spec.name}: {min(wrong)!r} is unknown or missing; it takes {known or 'nothing'}")
        pieces: list[str] = []
        headers: dict[str, str] = {}
        cookies: list[str] = []
        for name, value in arguments.items():
            target = operation.targets[name]
            if target.place == "path":
                url = url.replace(f"{{{target.name}}}", segment(target, value))
            elif target.place == "query":
                pieces += query(target, value)
            elif target.place == "header":
                headers[target.name] = header(target, value)
            elif target.place == "cookie":
                cookies += query(target, value)
        if any(part in (".", "..") for part in url.partition("?")[0].split("/")):
            raise ToolFailed(f"{self.spec.name}: these values would make another path of it")
        self._show_key(pieces, headers, cookies)
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        if pieces:
            url += ("&" if "?" in url else "?") + "&".join(pieces)
        return URL(url, encoded=True), headers

    def _show_key(self, pieces: list[str], headers: dict[str, str], cookies: list[str]) -> None:
        name = self._document.key_env
        if not name:
            return
        key = secret(name)
        if not key:
            raise ToolFailed(f"{self.spec.name} needs a key: {missing(name)}")
        for place, field, scheme in self._operation.auth or (("header", "Authorization", "Bearer "),):
            value = scheme + (base64.b64encode(key.encode()).decode() if scheme == "Basic " else key)
            if place == "header":
                headers[field] = value
            else:
                (pieces if place == "query" else cookies).extend(query(Target(place, field), value))


class Imported(dict[str, OperationTool]):
    """The tools of a document by name; `left_out` says of other operations why they are none."""

    left_out: Mapping[str, str]


async def openapi_tools(name: str, document: Document, folder: Path, taken: Container[str] = ()) -> Imported:
    """The tools of a document. One from a URL is fetched once and kept in `folder`, so that it stays the same.

    A name that is `taken` stays whose it is. Raises FetchFailed, or InvalidRequest for what is no OpenAPI document.
    """
    file = place(name, document, folder)
    if not file.is_file() and "://" in document.source:
        data = await _fetched(document.source)
        found = await _imported(name, document, data, taken)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, data)
        return found
    return await _imported(name, document, await asyncio.to_thread(_content, file, document.source), taken)


def place(name: str, document: Document, folder: Path) -> Path:
    """The file that a document is read from; it need not be there yet."""
    return folder / f"{name}.json" if "://" in document.source else Path(document.source).expanduser()


async def _imported(name: str, document: Document, content: bytes, taken: Container[str]) -> Imported:
    """What it says, as tools. Raises InvalidRequest."""
    told = content, name, document.source, document.server
    found = await outside(imported, *told, source=document.source, seconds=READING, cpu=WORK)
    tools = Imported()
    tools.left_out = found.left_out
    for called, operation in zip(found.names, found.operations, strict=True):
        key = told_apart(called, operation.label) if called in taken else called
        tools[key] = OperationTool(key, operation, document, f"openapi {name}")
    return tools


def _content(file: Path, source: str) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(DOCUMENT + 1)
    except OSError as error:
        raise InvalidRequest(f"cannot read {source}: {error.strerror}", parameter="source") from error
    if len(data) > DOCUMENT:
        raise InvalidRequest(
            f"{source} has more than {DOCUMENT} bytes; take out what is not needed", parameter="source"
        )
    return data


async def _fetched(url: str) -> bytes:
    try:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session, session.get(url) as answer:
            return await _read(answer, DOCUMENT)
    except (aiohttp.ClientError, TimeoutError, ValueError, ToolFailed) as error:
        raise FetchFailed(f"cannot fetch {url}: {error or type(error).__name__}") from error


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for block in response.content.iter_any():
        data += block
        if len(data) > most:
            raise ToolFailed(f"{response.url.host} sent more than {most} bytes")
    return bytes(data)


def _answer(tool: str, response: aiohttp.ClientResponse, data: bytes) -> Json:
    if response.status >= 300:
        said = _text(response, data)[:500] or response.headers.get("Location") or response.reason
        raise ToolFailed(f"{tool}: the server answered {response.status}: {said}", tool=tool, status=response.status)
    if _JSON.match(response.content_type):
        with suppress(ValueError):  # it says so, and is none: then as the text that it is
            return documents.plain(codec.loads(data), "the answer")
    if response.content_type.startswith("text/") or _JSON.match(response.content_type) or not data:
        return _text(response, data)
    return as_json(File(response.url.name or "answer", data, response.content_type))


def _text(response: aiohttp.ClientResponse, data: bytes) -> str:
    return decoded(data, response.charset)
