"""PDF and office files as documents, by libraries of an extra: a page, a slide or a row is a document of its own.

Meant for another process, as all readers are (see `readers`): what unpacks to more than there is memory for, or never
ends, is given up there.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import PurePath
from types import ModuleType
from typing import Any

from ..core import extras
from ..core.errors import InvalidRequest
from ..core.records import Document, Json

EXTRA = "documents"
ROWS, WIDE = 200_000, 500  # rows and columns that a sheet may have
DEEP = 20  # shapes in shapes of a slide


def pdf(data: bytes, name: str) -> Iterator[Document]:
    """A document a page, as far as its text is text: what is scanned is a picture, and has none."""
    library = _library("pypdf", "PDF")
    reader = library.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise InvalidRequest(f"{name} is locked by a password: save it without one", parameter="file")
    title = _title(reader.metadata and reader.metadata.title, name)
    pages = [page.extract_text() for page in reader.pages]
    if pages and not any(text.strip() for text in pages):
        raise InvalidRequest(f"{name} has no text, only pictures of it: it wants recognising first", parameter="file")
    many = len(pages) > 1
    for number, text in enumerate(pages, 1):
        yield Document(name, text, f"{title}, page {number}" if many else title, _at(reader.metadata, "creation_date"))


def word(data: bytes, name: str) -> Iterator[Document]:
    """A text with its headings, lists and tables, a row of which is a line."""
    library = _library("docx", "Word")
    opened = library.Document(io.BytesIO(data))
    lines = list[str]()
    for part in opened.iter_inner_content():
        if hasattr(part, "rows"):
            lines += map(_cells, part.rows)
            continue
        style = (part.style.name if part.style is not None else "") or ""
        level = style.removeprefix("Heading ")
        heading = "#" * int(level) + " " if style.startswith("Heading ") and level in "123456" else ""
        lines.append(f"{heading}{part.text}")
    heads = (line.lstrip("# ") for line in lines if line.startswith("#"))
    about = opened.core_properties
    yield Document(name, "\n\n".join(lines), _title(about.title or next(heads, ""), name), _at(about, "modified"))


def slides(data: bytes, name: str) -> Iterator[Document]:
    """A document a slide, with what its speaker notes."""
    library = _library("pptx", "PowerPoint")
    opened = library.Presentation(io.BytesIO(data))
    title, at = _title(opened.core_properties.title, name), _at(opened.core_properties, "modified")
    for number, slide in enumerate(opened.slides, 1):
        texts = list(_shown(slide.shapes, DEEP))
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            texts.append(slide.notes_slide.notes_text_frame.text)
        head = slide.shapes.title.text if slide.shapes.title is not None else ""
        yield Document(name, "\n\n".join(filter(None, texts)), head or f"{title}, slide {number}", at)


def rows(data: bytes, name: str) -> Iterator[dict[str, Json]]:
    """The rows of all sheets, by the names that stand in the first one of each; raises InvalidRequest for one that is
    too large.
    """
    library = _library("openpyxl", "Excel")
    book = library.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    many = len(book.worksheets) > 1
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # which a file may say anything of
        found = sheet.iter_rows(values_only=True, max_col=WIDE + 1)
        names = [str(each) if each is not None else "" for each in next(found, ())]
        for number, row in enumerate(found, 1):
            if number > ROWS or any(each not in (None, "") for each in row[WIDE:]):
                raise InvalidRequest(f"{name}: the sheet {sheet.title!r} has more than {ROWS} rows or {WIDE} "
                                     "columns: save it in parts, or as CSV", parameter="file")  # fmt: skip
            cells = {names[n] if n < len(names) and names[n] else f"column {n + 1}": _plain(each)
                     for n, each in enumerate(row) if each not in (None, "")}  # fmt: skip
            if cells:
                yield {"sheet": sheet.title, **cells} if many else cells


def _library(module: str, what: str) -> ModuleType:
    return extras.imported(module, EXTRA, f"to read {what} files")


def _title(told: Any, name: str) -> str:
    return str(told).strip() if told and str(told).strip() else PurePath(name).name


def _at(about: Any, field: str) -> float | None:
    """A date that a file has of itself."""
    try:
        found = getattr(about, field, None)
        return found.timestamp() if isinstance(found, datetime) else None
    except (ValueError, OverflowError):
        return None


def _cells(row: Any) -> str:
    told = dict.fromkeys((id(cell._tc), " ".join(cell.text.split())) for cell in row.cells)  # merged ones are one
    return " | ".join(text for _, text in told)


def _shown(shapes: Iterable[Any], deep: int) -> Iterator[str]:
    """What shapes of a slide say."""
    for shape in shapes:
        if getattr(shape, "shapes", None) is not None and deep:
            yield from _shown(shape.shapes, deep - 1)
        elif shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            yield "\n".join(" | ".join(" ".join(cell.text.split()) for cell in row.cells) for row in shape.table.rows)


def _plain(value: Any) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | bool) else str(value)
