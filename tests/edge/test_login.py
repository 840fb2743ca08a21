"""A browser that logged in: what its cookie is good for, and what pages of others cannot do with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.stand_ins.gateway import Gate, gate


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


class Browser:
    """Sends what a browser would: the cookie it was given, and where the page that asks comes from."""

    def __init__(self, api: Gate, session: aiohttp.ClientSession) -> None:
        self.url, self._session, self.cookie, self.given = api.running.url, session, "", ""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items() if value}
        if self.cookie:
            sent["Cookie"] = f"theme=dark; {self.cookie}"
        async with self._session.request(method, self.url + path, json=body, headers=sent) as answer:
            self.given = answer.headers.get("Set-Cookie", "")
            return answer.status

    async def log_in(self, key: str) -> int:
        status = await self.ask("POST", "/v1/login", Authorization=f"Bearer {key}", Origin=self.url)
        self.cookie = self.given.partition(";")[0]
        return status


@pytest.fixture
async def browser(api: Gate) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Browser(api, session)


CONSENT = ("PUT", "/v1/privacy/consent", {"learning": True})


async def test_a_browser_shows_its_key_once(api: Gate, browser: Browser) -> None:
    assert await browser.ask("GET", "/v1/agents") == 401
    assert await browser.log_in(api.running.key) == 204
    assert api.running.key not in browser.given
    assert all(word in browser.given for word in ("HttpOnly", "SameSite=Strict", "Max-Age=43200"))
    assert await browser.ask("GET", "/v1/agents") == 200
    assert await browser.ask(*CONSENT, Origin=browser.url, Sec_Fetch_Site="same-origin") == 200
    cookie = browser.cookie
    assert await browser.ask("DELETE", "/v1/login", Origin=browser.url) == 204
    browser.cookie = cookie
    assert await browser.ask("GET", "/v1/agents") == 401


@pytest.mark.parametrize(
    "sent",
    [
        {},  # no browser leaves both out
        {"Origin": "http://evil.example", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://127.0.0.1:3000", "Sec_Fetch_Site": "same-site"},  # another port of this machine
        {"Origin": "null"},
        {"Sec_Fetch_Site": "none"},
    ],
)
async def test_another_page_changes_nothing_with_it(api: Gate, browser: Browser, sent: dict[str, str]) -> None:
    await browser.log_in(api.running.key)
    assert await browser.ask(*CONSENT, **sent) == 403
    assert api.system.privacy.consents("default", "owner") is False


@pytest.mark.parametrize("sent", [{"Sec_Fetch_Site": "same-site"}, {"Origin": "http://127.0.0.1:3000"}])
async def test_another_page_reads_nothing_with_it(api: Gate, browser: Browser, sent: dict[str, str]) -> None:
    await browser.log_in(api.running.key)
    assert await browser.ask("GET", "/v1/agents", **sent) == 403


async def test_under_another_name_there_is_no_cookie(api: Gate, browser: Browser) -> None:
    """A name that somebody else owns may resolve to this machine."""
    await browser.log_in(api.running.key)
    port = browser.url.rpartition(":")[2]
    assert await browser.ask("GET", "/v1/agents", Host=f"evil.example:{port}") == 403
    browser.cookie = ""
    bearer = {"Authorization": f"Bearer {api.running.key}", "Origin": f"http://evil.example:{port}"}
    assert await browser.ask("POST", "/v1/login", **bearer, Host=f"evil.example:{port}") == 403
    assert await browser.ask("POST", "/v1/login", **bearer) == 403
    assert browser.given == ""


async def test_a_login_ends_with_its_key(api: Gate, browser: Browser) -> None:
    _, made = await api.post("/v1/keys", {"roles": ["user"], "principal": "ann"})
    await browser.log_in(made["key"])
    assert await browser.ask("GET", "/v1/agents") == 200
    assert await browser.ask("GET", "/v1/processes") == 403  # it holds what the key holds
    await api.ask("DELETE", f"/v1/keys/{made['id']}")
    assert await browser.ask("GET", "/v1/agents") == 401
    _, made = await api.post("/v1/keys", {"roles": ["user"], "days": 2.0 / 86400})
    await browser.log_in(made["key"])
    assert await browser.ask("GET", "/v1/agents") == 200
    await asyncio.sleep(2.1)
    assert await browser.ask("GET", "/v1/agents") == 401


async def test_a_key_in_the_address_is_none(api: Gate, browser: Browser) -> None:
    assert await browser.ask("GET", f"/v1/agents?key={api.running.key}&access_token={api.running.key}") == 401
