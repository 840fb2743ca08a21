"""Page files: budgets hold, the least worth goes first, what is read stays, and what was cut off is no page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmagent_os.core.records import Page
from llmagent_os.stores.pages import PageFiles

SIZE = 1000


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[PageFiles]:
    made = PageFiles(tmp_path / "pages", 3 * SIZE, 5 * SIZE)
    yield made
    await made.close()


def keep(files: PageFiles, name: str, key: str = "") -> Page:
    page = Page(name, "model", [1, 2, 3], None, key, 7, 0)
    files.path(page).write_bytes(name.encode() * (SIZE // len(name)))
    files.keep(page)
    return page


async def test_the_least_worth_goes_to_disk_and_then_away(files: PageFiles) -> None:
    pages = [keep(files, f"page{n}") for n in range(10)]
    gone = await files.fit(lambda page: page.name)
    assert [page.name for page in gone] == ["page0", "page1"]
    assert [page.tier for page in pages[2:]] == ["disk"] * 5 + ["ram"] * 3
    assert all([await files.check(page) for page in pages[2:]])
    assert not await files.check(pages[0])


async def test_what_is_being_read_stays_where_it_is(files: PageFiles) -> None:
    pages = [keep(files, f"page{n}") for n in range(6)]
    with files.reading(pages[0]):
        await files.fit(lambda page: page.name)
    assert pages[0].tier == "ram" and pages[1].tier == "disk"


async def test_what_is_dropped_while_it_is_read_is_deleted_when_all_have_read_it(files: PageFiles) -> None:
    page = keep(files, "page")
    with files.reading(page) as path, files.reading(page):
        files.drop(page)
        assert path.is_file() and files.found("model") == []
    assert not path.exists() and not path.with_suffix(".head").exists()


async def test_a_flipped_bit_on_disk_is_found(files: PageFiles) -> None:
    pages = [keep(files, f"page{n}") for n in range(4)]
    await files.fit(lambda page: page.name)
    path = files.path(pages[0])
    data = bytearray(path.read_bytes())
    data[SIZE // 2] ^= 1
    path.write_bytes(data)
    assert not await files.check(pages[0])


async def test_the_next_start_finds_whole_pages_alone(tmp_path: Path) -> None:
    first = PageFiles(tmp_path / "pages", 3 * SIZE, 5 * SIZE)
    pages = [keep(first, f"page{n}", key=f"7.{n}") for n in range(5)]
    await first.fit(lambda page: page.name)
    memory = first.path(pages[4])
    memory.write_bytes(memory.read_bytes()[:10])  # cut off
    first.path(pages[3]).with_suffix(".head").unlink()  # never finished
    again = PageFiles(tmp_path / "pages", 3 * SIZE, 5 * SIZE)
    found = {page.name: page for page in again.found("model")}
    assert sorted(found) == ["page0", "page1", "page2"]
    assert found["page0"].tokens == [1, 2, 3] and found["page0"].key == "7.0" and found["page0"].tier == "disk"
    assert not memory.exists() and again.found("another") == []
    await again.close()


async def test_closing_gives_the_memory_back_and_keeps_the_pages(tmp_path: Path) -> None:
    files = PageFiles(tmp_path / "pages", 100 * SIZE, 100 * SIZE)
    page = keep(files, "page")
    memory = files.path(page)
    await files.close()
    assert not memory.exists()
    again = PageFiles(tmp_path / "pages", 100 * SIZE, 100 * SIZE)
    (found,) = again.found("model")
    assert await again.check(found)
    await again.close()


async def test_the_memory_of_a_system_that_is_gone_is_given_back(tmp_path: Path) -> None:
    killed = PageFiles(tmp_path / "killed", SIZE, SIZE)
    memory = killed.path(keep(killed, "page"))
    shutil.rmtree(tmp_path / "killed")
    await PageFiles(tmp_path / "pages", SIZE, SIZE).close()
    assert not memory.exists()


async def test_a_system_that_begins_or_ends_meanwhile_is_let_be(tmp_path: Path) -> None:
    other = PageFiles(tmp_path / "other", SIZE, SIZE)
    memory = other.path(keep(other, "page")).parent
    (memory / "owner").unlink()  # not written yet, or deleted already
    await PageFiles(tmp_path / "pages", SIZE, SIZE).close()
    assert memory.is_dir()
    await other.close()
