"""The pages of the gateway in a real browser: logged out and in, the API read and tried out, nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from llmagent_os.gateway.rest_pages import PAGES
from tests.stand_ins.browser import PROGRAM, Tab, tab
from tests.stand_ins.gateway import Gate, gate

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "src" / "llmagent_os" / "gateway"
WRITTEN = [
    *sorted((GATEWAY / "web").iterdir()), *sorted((ROOT / "web" / "src").rglob("*.ts")),
    *sorted((ROOT / "web" / "src").rglob("*.svelte")),
]  # fmt: skip
FOREIGN = re.compile(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|@html")
pytestmark = pytest.mark.slow


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Tab]:
    if PROGRAM is None:
        pytest.skip("there is no Chromium here")
    async with tab(tmp_path / "profile") as found:
        yield found


async def log_in(page: Tab, api: Gate, key: str) -> None:
    await page.open(api.running.url)
    await page.shows("paste a key")
    await page.run("document.getElementById('key').focus()")
    await page.type(key)
    await page.press("Enter")


async def test_a_person_logs_in_with_a_key_and_out_again(api: Gate, page: Tab) -> None:
    await log_in(page, api, "sk-wrong")
    await page.shows("this key is not right")
    await log_in(page, api, api.running.key)
    await page.shows("What shall assistant do?")
    await page.run("document.getElementById('leave').click()")
    await page.shows("paste a key")


async def test_the_api_is_read_and_tried_out_without_anything_from_elsewhere(api: Gate, page: Tab) -> None:
    await page.open(f"{api.running.url}/docs")
    await page.shows("Log in first.")
    await log_in(page, api, api.running.key)
    await page.shows("What shall assistant do?")
    await page.open(f"{api.running.url}/docs")
    await page.shows("/v1/chat/completions")
    await page.run(
        "const one = [...document.querySelectorAll('details')]"
        ".find((each) => each.querySelector('summary').textContent.startsWith('GET/v1/agents '));"
        "one.open = true; one.querySelector('button').click()"
    )
    await page.shows('"agents"')
    asked = await page.run("performance.getEntriesByType('resource').map((each) => each.name)")
    assert asked and all(each.startswith(api.running.url) for each in asked)
    assert [each for each in page.complaints if "401" not in each and "favicon" not in each] == []


async def test_the_pages_are_for_everybody_and_hold_nothing_of_anybodys(api: Gate) -> None:
    async with aiohttp.ClientSession() as session:
        for path, file in PAGES.items():
            async with session.get(api.running.url + path) as answer:
                assert answer.status == 200
                assert await answer.read() == file.read_bytes()
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert "require-trusted-types-for 'script'" in answer.headers["Content-Security-Policy"]
    served = sorted(PAGES.values())
    assert served == sorted([*(GATEWAY / "web").iterdir(), *(GATEWAY / "desktop").iterdir()])


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.name)
def test_a_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_text(file: Path) -> None:
    assert FOREIGN.findall(file.read_text()) == []
