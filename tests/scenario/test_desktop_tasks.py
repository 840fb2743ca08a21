"""What people do in the desktop, each in a real browser: models, knowledge, people beside one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmagent_os.gateway.client import Client
from tests.scenario.test_desktop import enter
from tests.stand_ins.browser import PROGRAM, Tab, tab
from tests.stand_ins.gateway import Gate, gate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here"),
]


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Tab]:
    async with tab(tmp_path / "profile") as found:
        yield found


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        await found.script("script", {"match": "rent", "text": "On the third [1]."}, {"text": "heard: {echo}"})
        await found.post("/v1/agents", {"name": "clerk", "model": "script", "description": "keeps the books"})
        yield found


async def test_a_document_is_added_and_a_citation_leads_to_its_passage(api: Gate, page: Tab, tmp_path: Path) -> None:
    knows = {"name": "reader", "model": "script", "knowledge": {"recall": "always", "limit": 2}}
    status, told = await api.post("/v1/agents", knows)
    assert status == 201, told
    (tmp_path / "house.md").write_text("# The house\n\nThe rent is due on the third, by transfer.\n")
    await enter(page, api.running, "#/knowledge")
    await page.shows("Nothing is known yet")
    await page.choose("main input[type=file]", tmp_path / "house.md")
    await page.shows("house.md is known now")
    await page.run("location.hash = '#/chat/reader/first'")
    await page.until(
        "Boolean(document.querySelector('.composer textarea')) && document.querySelector('h1').innerText === 'reader'"
    )
    await page.run("document.querySelector('.composer textarea').focus()")
    await page.type("When is the rent due?")
    await page.press("Enter")
    await page.shows("On the third")
    await page.until("Boolean(document.querySelector('.citations summary'))")
    await page.run("document.querySelector('.citations summary').click()")
    await page.shows("by transfer")
    await page.click("In what is known", "a")
    await page.shows("Passages of house.md")
    await page.until("document.activeElement?.innerText.includes('due on the third, by transfer')")
    await page.click("Remove")
    await page.shows("Nothing is known yet")
    assert page.complaints == []


async def test_facts_are_stated_and_a_conclusion_is_proved(api: Gate, page: Tab) -> None:
    await api.ask("PUT", "/v1/knowledge/rules?name=team", data=b"reports_to(X, Y) :- member_of(X, T), leads(Y, T).")
    await enter(page, api.running, "#/knowledge/facts")
    await page.shows("No facts yet")
    for subject, predicate, thing in (("Carol", "member_of", "the team"), ("Bob", "leads", "the team")):
        for n, text in enumerate((subject, predicate, thing)):
            await page.run(f"document.querySelectorAll('form')[1].querySelectorAll('input')[{n}].focus()")
            await page.type(text)
        await page.press("Enter")
        await page.until(f"document.querySelector('table')?.innerText.includes({predicate!r})")
    await page.run("document.querySelector('form input').focus()")
    await page.type('reports_to("Carol", X)')
    await page.press("Enter")
    await page.until("document.querySelectorAll('.proof li').length === 3")
    shown = await page.run("document.querySelector('.proof').innerText")
    assert 'reports_to("Carol", "Bob")' in shown and "by the rule" in shown and "said by owner" in shown


async def test_a_model_that_is_nowhere_is_said_in_the_page(api: Gate, page: Tab) -> None:
    await enter(page, api.running, "#/models")
    await page.shows("Fetch one")
    await page.run("document.querySelector('.pulls form input').focus()")
    await page.type("nonsense")
    await page.press("Enter")
    await page.shows("no model named 'nonsense'")


async def test_two_people_of_one_tenant_see_their_own(api: Gate, tmp_path: Path) -> None:
    shown = {}
    for person, other in (("ann", "bob"), ("bob", "ann")):
        _, made = await api.post("/v1/keys", {"roles": ["user"], "principal": person})
        async with Client(api.running.url, made["key"]) as client, tab(tmp_path / person) as page:
            said = {"text": f"a secret of {person}", "session": person}
            await client.post("/v1/agents/clerk/messages", said | {"wait": 5})
            ticket = (await client.post("/v1/login/ticket"))["ticket"]
            await page.open(f"{api.running.url}/#ticket={ticket}")
            await page.shows(f"{person} · default")
            await page.run(f"location.hash = '#/chat/clerk/{person}'")
            await page.shows(f"heard: a secret of {person}")
            await page.run(f"location.hash = '#/chat/clerk/{other}'")
            await page.shows("What shall clerk do?")
            for where in ("#/inbox", "#/agents/clerk", "#/knowledge/memory", "#/budgets", "#/processes", "#/audit"):
                await page.run(f"location.hash = {where!r}")
                await asyncio.sleep(0.4)
                shown[person, where] = await page.run("document.body.innerText")
            assert not any(f"secret of {other}" in text for text in shown.values())
