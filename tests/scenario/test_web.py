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

WEB = Path(__file__).parents[2] / "src" / "llmagent_os" / "gateway" / "web"
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
    await page.shows("Paste a key")
    await page.run(f"document.getElementById('key').value = {key!r}")
    await page.run("document.getElementById('login').requestSubmit()")


async def test_a_person_logs_in_and_sees_what_runs(api: Gate, page: Tab) -> None:
    await log_in(page, api, "sk-wrong")
    await page.shows("this key is not right")
    await log_in(page, api, api.running.key)
    await page.shows("service/system")
    await page.shows("runs well")
    assert f"{api.running.url}/v1" in await page.run("document.body.innerText")
    assert await page.run("document.getElementById('key').value") == ""
    await page.run("document.getElementById('leave').click()")
    await page.shows("Paste a key")


async def test_the_api_is_read_and_tried_out_without_anything_from_elsewhere(api: Gate, page: Tab) -> None:
    await page.open(f"{api.running.url}/docs")
    await page.shows("Log in first.")
    await log_in(page, api, api.running.key)
    await page.shows("service/system")
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
        for path, name in PAGES.items():
            async with session.get(api.running.url + path) as answer:
                assert answer.status == 200
                assert await answer.read() == (WEB / name).read_bytes()
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert sorted(PAGES.values()) == sorted(each.name for each in WEB.iterdir())


@pytest.mark.parametrize("name", sorted(set(PAGES.values())))
def test_a_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_text(name: str) -> None:
    text = (WEB / name).read_text()
    assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(", text)
