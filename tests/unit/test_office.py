"""PDF and office files: what is read of them, and that what is none is refused by name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from llmagent_os.core.errors import InvalidRequest, MissingExtra
from llmagent_os.core.records import Document
from llmagent_os.knowledge import office
from llmagent_os.knowledge.folders import sync
from llmagent_os.knowledge.readers import documents_of, read
from tests.stand_ins.knowledge import HERE, found, knowledge

docx = pytest.importorskip("docx")
openpyxl = pytest.importorskip("openpyxl")
pptx = pytest.importorskip("pptx")
pypdf = pytest.importorskip("pypdf")


def saved(made: object) -> bytes:
    """A file of what a library made."""
    held = io.BytesIO()
    made.save(held)  # type: ignore[attr-defined]
    return held.getvalue()


def pdf(*pages: str) -> bytes:
    """A PDF by hand: what other programs write is no more than this."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        drawn = f"BT /F1 12 Tf 72 700 Td ({page}) Tj ET" if page else ""
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    made, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(made))
        made += f"{number} 0 obj\n{each}\nendobj\n".encode()
    table = "".join(f"{at:010} 00000 n \n" for at in offsets)
    tail = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(made)}\n%%EOF\n"
    return made + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{tail}".encode()


def letter() -> bytes:
    made = docx.Document()
    made.add_heading("租约 The lease", 1)
    made.add_paragraph("The rent is due on the fifth.")
    table = made.add_table(2, 2)
    for cell, text in zip((*table.rows[0].cells, *table.rows[1].cells), ("Room", "Key", "Attic", "7"), strict=True):
        cell.text = text
    return saved(made)


def talk() -> bytes:
    made = pptx.Presentation()
    slide = made.slides.add_slide(made.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "Boilers", "The boiler is in the cellar."
    slide.notes_slide.notes_text_frame.text = "Mention the valve."
    made.slides.add_slide(made.slide_layouts[6])
    return saved(made)


def prices() -> bytes:
    made = openpyxl.Workbook()
    for row in (["name", "price", None], ["tea", 4.0, None], [None, None, None], ["咖啡", 5.5, "new"]):
        made.active.append(row)
    return saved(made)


def test_pages_of_a_pdf_are_documents_and_one_without_text_is_refused() -> None:
    one, two = documents_of(pdf("The rent is due on the fifth.", "The key is under the mat."), "lease.pdf")
    assert "due on the fifth" in one.text and one.title == "lease.pdf, page 1"
    assert "under the mat" in two.text and two.title == "lease.pdf, page 2"
    with pytest.raises(InvalidRequest, match=r"scan\.pdf has no text"):
        documents_of(pdf(""), "scan.pdf")


def test_a_pdf_with_a_password_is_refused() -> None:
    writer, held = pypdf.PdfWriter(io.BytesIO(pdf("secret"))), io.BytesIO()
    writer.encrypt("sesame", algorithm="RC4-128")
    writer.write(held)
    with pytest.raises(InvalidRequest, match="password"):
        documents_of(held.getvalue(), "locked.pdf")


def test_texts_of_word_have_their_headings_and_tables() -> None:
    (made,) = documents_of(letter(), "lease.docx")
    assert made.title == "租约 The lease"
    assert made.text == "# 租约 The lease\n\nThe rent is due on the fifth.\n\nRoom | Key\n\nAttic | 7"


def test_slides_are_documents_with_what_is_noted() -> None:
    (made,) = documents_of(talk(), "house.pptx")
    assert (made.title, made.text) == ("Boilers", "Boilers\n\nThe boiler is in the cellar.\n\nMention the valve.")


def test_rows_of_a_sheet_are_documents() -> None:
    made = documents_of(prices(), "prices.xlsx")
    assert [(each.title, each.text) for each in made] == [
        ("tea", "name: tea\nprice: 4"), ("咖啡", "name: 咖啡\nprice: 5.5\ncolumn 3: new"),
    ]  # fmt: skip


@pytest.mark.parametrize(("rows", "wide"), [(2, 500), (100, 2)])
def test_a_sheet_that_is_too_large_is_refused_and_never_cut(
    rows: int, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(office, "ROWS", rows)
    monkeypatch.setattr(office, "WIDE", wide)
    with pytest.raises(InvalidRequest, match=f"more than {rows} rows or {wide} columns: save it in parts"):
        documents_of(prices(), "prices.xlsx")


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.doc"])
@pytest.mark.parametrize("data", [b"", b"no such file", letter()[:200], pdf("text")[:100]])
async def test_what_is_no_such_file_is_refused_by_name(name: str, data: bytes) -> None:
    with pytest.raises(InvalidRequest, match=name):
        await read(data, name)


async def test_what_unpacks_to_more_than_there_is_memory_for_is_refused() -> None:
    bomb, paragraphs = io.BytesIO(), b"<w:p><w:r><w:t>rent</w:t></w:r></w:p>" * (1 << 15)
    old = zipfile.ZipFile(io.BytesIO(letter()))
    with old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            head, mark, tail = old.read(name).partition(b"<w:body>")
            with new.open(name, "w") as member:
                member.write(head + mark)
                for _ in range(256 if mark else 0):
                    member.write(paragraphs)
                member.write(tail)
    assert len(bomb.getvalue()) < 4 << 20
    with pytest.raises(InvalidRequest, match=r"bomb\.docx"):
        await read(bomb.getvalue(), "bomb.docx")


async def test_a_folder_of_all_kinds_is_known_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    files = {"lease.docx": letter(), "house.pptx": talk(), "prices.xlsx": prices(), "key.pdf": pdf("Under the mat.")}
    for name, data in (files | {"broken.pdf": b"%PDF-1.4 no", "old.xls": b"\xd0\xcf\x11\xe0"}).items():
        (tmp_path / name).write_bytes(data)
    known = knowledge()
    done = await sync(known, HERE, tmp_path)
    assert (done.added, sorted(Path(path).name for path in done.skipped)) == (4, ["broken.pdf", "old.xls"])
    assert (await found(known, "when is the rent due?"))[0].source == str(tmp_path / "lease.docx")
    assert (await sync(known, HERE, tmp_path)).same == 4


async def test_without_the_libraries_a_file_is_skipped_with_what_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> list[Document]:
        raise MissingExtra("to read PDF files needs pypdf: pip install pypdf", extra="documents")

    (tmp_path / "a.pdf").write_bytes(pdf("text"))
    monkeypatch.setattr("llmagent_os.knowledge.folders.aside", missing)
    done = await sync(knowledge(), HERE, tmp_path)
    assert "pip install" in done.skipped[str(tmp_path / "a.pdf")]
