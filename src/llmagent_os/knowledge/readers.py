"""Files as documents, by their kind: what may be known of their text, title and date.

Each reader is given bytes that somebody else wrote, and is meant for another process (see `core.outside`).
"""

from __future__ import annotations

import asyncio
import csv
import email
import email.policy
import io
import re
from collections.abc import Callable, Iterator, Mapping
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ..core import codec, documents
from ..core.errors import InvalidRequest, Unsupported
from ..core.outside import outside
from ..core.records import Document, Json
from ..tools.charsets import decoded
from ..tools.page import text_of_page
from . import office

LARGEST = 16 << 20  # bytes of a file
SECONDS, CPU = 120.0, 20.0  # that one may take to be read; the second is of a processor
PERSON, TENANT = 1, 2  # files that are read at once, of those that `core.outside` works on
HEAD, KIND = 10_000, 500  # characters of a header that are read, and of one that says of what kind a part is
FIELD = 1 << 20  # characters of a field of a table
NAMES = ("title", "name", "summary", "subject", "question", "id", "标题", "名称")
"""What in a record tells its title, the first that is there."""

T = TypeVar("T")
Made = Iterator[Document]
Reader = Callable[[bytes, str], Made]

_HEADING = re.compile(r"^(?:#{1,6}[ \t]+(\S[^\n]*)|(\S[^\n]*)\n(?:=+|-+)[ \t]*$)", re.MULTILINE)
_TITLE = re.compile(r"<title[^<>]*+>([^<]{1,500})", re.IGNORECASE)
_SHARES = WeakValueDictionary[tuple[Any, ...], asyncio.Semaphore]()


class _Policy(email.policy.EmailPolicy):
    """Headers as far as they are read: to take one apart takes the square of its length, or worse."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[: KIND if name.lower().startswith("content-") else HEAD]


_HEADERS: Any = HeaderRegistry()
for _name in ("from", "to", "cc"):
    _HEADERS.map_to_type(_name, UnstructuredHeader)  # shown as they stand, and not taken apart
_POLICY = _Policy(header_factory=_HEADERS)


async def read(data: bytes, name: str, whose: tuple[str, str] = ("", "")) -> list[Document]:
    """The documents of a file; raises InvalidRequest, which names it, where there is nothing to be read in it.

    `whose` are the tenant and the person that it is read for: their files wait for one another, not everybody's.
    """
    if len(data) > LARGEST:
        raise InvalidRequest(f"{name} is larger than {LARGEST >> 20} MiB", parameter="file")
    return await aside(documents_of, data, name, name=name, whose=whose)


async def aside(work: Callable[..., T], *args: Any, name: str, whose: tuple[str, str]) -> T:
    """What a function makes of a file, in another process and its limits (see `read` and `core.outside`)."""
    async with _share(PERSON, *whose), _share(TENANT, whose[0]):
        return await outside(work, *args, source=name, seconds=SECONDS, cpu=CPU)


def _share(most: int, *whose: str) -> asyncio.Semaphore:
    key = id(asyncio.get_running_loop()), *whose
    share = _SHARES.get(key)
    if share is None:
        share = _SHARES[key] = asyncio.Semaphore(most)
    return share


def documents_of(data: bytes, name: str) -> list[Document]:
    """The same, here; raises what a reader does."""
    suffix = PurePath(name).suffix.lower()
    if suffix in WITHOUT:
        raise Unsupported(f"{name}: there is no reader for {WITHOUT[suffix]}; keep it as text beside this file")
    return [each for each in READERS.get(suffix, plain)(data, name) if each.text.strip()]


def plain(data: bytes, name: str) -> Made:
    """A text, such as source code, under the name of its file."""
    yield Document(name, _text(data, name), PurePath(name).name)


def markdown(data: bytes, name: str) -> Made:
    """A text under its first heading."""
    text = _text(data, name)
    found = _HEADING.search(text)
    yield Document(name, text, (found[1] or found[2]).strip(" #") if found else PurePath(name).name)


def html(data: bytes, name: str) -> Made:
    """What a page shows."""
    page = _text(data, name)
    found = _TITLE.search(page)
    text = text_of_page(page, "")
    yield Document(name, text, " ".join(text_of_page(found[1], "").split()) if found else PurePath(name).name)


def json(data: bytes, name: str) -> Made:
    """A list's values, each a document; anything else as one."""
    try:
        found = documents.plain(codec.loads(data), name)
    except ValueError as error:
        raise InvalidRequest(f"{name} is not JSON: {error}", parameter="file") from None
    for each in found if isinstance(found, list) else [found]:
        yield record(each, name)


def lines(data: bytes, name: str) -> Made:
    """A document a line of JSON."""
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                yield record(documents.plain(codec.loads(line), name), name)
            except ValueError as error:
                raise InvalidRequest(f"{name}: line {number} is not JSON: {error}", parameter="file") from None


def table(data: bytes, name: str) -> Made:
    """A document a row, whose columns are named by the first one."""
    text = _text(data, name)
    csv.field_size_limit(FIELD)
    separated = "\t" if PurePath(name).suffix.lower() == ".tsv" else ";" if _semicolons(text) else ","
    try:
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=separated, restkey="more"):
            yield record({key: value for key, value in row.items() if value not in ("", None)}, name)
    except csv.Error as error:
        raise InvalidRequest(f"{name} is no table: {error}", parameter="file") from None


def sheet(data: bytes, name: str) -> Made:
    """A document a row of an Excel file."""
    return (record(row, name) for row in office.rows(data, name))


def mail(data: bytes, name: str) -> Made:
    """An e-mail under its subject: who wrote to whom and when, and what."""
    found = email.message_from_bytes(data, policy=_POLICY)
    assert isinstance(found, EmailMessage)
    heads = [f"{head}: {found[head]}" for head in ("From", "To", "Cc", "Date", "Subject") if found[head]]
    body = found.get_body(("plain", "html"))
    text = ""
    if body is not None:
        content = body.get_payload(decode=True)
        text = decoded(content if isinstance(content, bytes) else b"", body.get_content_charset())
        text = text_of_page(text, "") if body.get_content_subtype() == "html" else text
    try:
        at = parsedate_to_datetime(str(found["Date"])).timestamp()
    except (ValueError, TypeError, OverflowError):
        at = None
    yield Document(name, "\n".join([*heads, "", text]), str(found["Subject"] or PurePath(name).name), at)


def record(value: Json, source: str) -> Document:
    """A value of JSON as a document: a line a field, the name of what holds it before it."""
    title = ""
    if isinstance(value, Mapping):
        names = [str(value[each]) for each in NAMES if isinstance(value.get(each), str | int) and value[each] != ""]
        title = names[0] if names else ""
        if set(value) <= {"title", "text", "source"} and isinstance(value.get("text"), str):
            return Document(source, value["text"], title)
    return Document(source, "\n".join(_fields(value, "")), title or PurePath(source).name)


def _fields(value: Json, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _fields(each, f"{name} {key}".strip())
    elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        for each in value:
            yield from _fields(each, name)
    else:
        told = ", ".join(map(codec.words, value)) if isinstance(value, list) else codec.words(value)
        yield f"{name}: {told}" if name else told


def _text(data: bytes, name: str) -> str:
    """A text in UTF-8, or in UTF-16 where it says so; raises InvalidRequest for what is none."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InvalidRequest(f"{name} is no text in UTF-8 or UTF-16", parameter="file")
    return text.replace("\r\n", "\n")


def _semicolons(text: str) -> bool:
    head = text[: text.find("\n")] if "\n" in text else text
    return head.count(";") > head.count(",")


READERS: Mapping[str, Reader] = {
    ".md": markdown, ".markdown": markdown, ".html": html, ".htm": html, ".xhtml": html, ".json": json,
    ".jsonl": lines, ".ndjson": lines, ".csv": table, ".tsv": table, ".eml": mail,
    ".pdf": office.pdf, ".docx": office.word, ".pptx": office.slides, ".xlsx": sheet, ".xlsm": sheet,
}  # fmt: skip
"""By suffix; everything else is text, or nothing that can be read."""
WITHOUT = {
    ".doc": "Word as it was before 2007", ".ppt": "PowerPoint as it was before 2007",
    ".xls": "Excel as it was before 2007", ".odt": "OpenDocument", ".odp": "OpenDocument", ".ods": "OpenDocument",
}  # fmt: skip
"""What is known to be no text, and what it is."""
