"""What people do in the desktop, each in a real browser: flows, models, knowledge, tenants; and that all can do it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmagent_os.gateway.client import Client
from llmagent_os.llm import catalog
from tests.scenario.test_desktop import enter
from tests.stand_ins.browser import PROGRAM, Tab, tab
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.hub import LocalHub
from tests.stand_ins.server import serving

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


async def put(page: Tab, label: str, text: str) -> None:
    """Write into the field of a label, as one who goes there by keyboard does: what was there is replaced."""
    found = f"[...document.querySelectorAll('label')].find(e => e.innerText.includes({label!r}))"
    field = f"{found}?.querySelector('input, textarea')"
    await page.until(f"Boolean({field})")
    await page.run(f"{field}.select()")
    await page.type(text)
    await page.run("document.activeElement.blur()")


async def test_a_flow_is_drawn_run_broken_mended_and_run_from_the_broken_node(api: Gate, page: Tab) -> None:
    await enter(page, api.running, "#/flows/+")
    await page.shows("step1")
    await page.run("document.querySelector('input.name').select()")
    await page.type("letters")
    await page.run("document.activeElement.blur()")
    for n in (2, 3):  # by keyboard: a node more, and the one before leads to it
        await page.press("n")
        await page.until(f"document.querySelector('.detail input')?.value === 'step{n}'")
    for source, target, whose in (("step1", "step2", "clerk"), ("step2", "step3", "clerk"), ("step3", "", "clerk")):
        await page.click("outline", "[role=tab]")
        await page.until("Boolean(document.querySelector('.outline .rows'))")
        row = f"[...document.querySelectorAll('.outline .rows-row')].find(e => e.innerText.includes('{source}'))"
        await page.run(f"{row}.click()")
        await page.click("node", "[role=tab]")
        await page.until(f"document.querySelector('.detail input')?.value === {source!r}")
        await put(page, "Which", whose)
        if target:
            choice = "[...document.querySelectorAll('.detail select')].at(-1)"
            await page.run(
                f"{choice}.value = {target!r}, {choice}.dispatchEvent(new Event('change', {{bubbles: true}}))"
            )
    await page.shows("nothing is wrong")
    await page.click("runs", "[role=tab]")
    await put(page, "What it is given", "Dear all")
    await page.click("Save and run")
    await page.until("document.querySelector('.detail').innerText.includes('heard: heard: heard: Dear all')")
    await page.click("outline", "[role=tab]")
    await page.run(
        "[...document.querySelectorAll('.outline .rows-row')].find(e => e.innerText.includes('step2')).click()"
    )
    await page.click("node", "[role=tab]")
    await put(page, "Which", "nobody")
    await page.shows("no agent named 'nobody'")  # the checker's words, in place
    await page.until("document.querySelector('.says').innerText.includes('1 fault')")
    await page.press("z", control=True)
    await page.shows("nothing is wrong")
    await page.run(
        "(e => (e.value = 'tool', e.dispatchEvent(new Event('change', {bubbles: true}))))"
        "(document.querySelector('.detail select'))"
    )
    await put(page, "Which", "calculator")
    await put(page, "Given", '{"expression": "1/0"}')  # nothing is wrong with the drawing: the run breaks
    await page.shows("nothing is wrong")
    await page.click("runs", "[role=tab]")
    await page.click("Save and run")
    await page.until("/failed/.test(document.querySelector('.detail h3')?.innerText ?? '')")
    await page.click("outline", "[role=tab]")
    await page.until("/step2[^]*failed/.test(document.querySelector('.outline').innerText)")
    await page.run(
        "[...document.querySelectorAll('.outline .rows-row')].find(e => e.innerText.includes('step2')).click()"
    )
    await page.click("node", "[role=tab]")
    await put(page, "Given", '{"expression": "6*7"}')
    await page.shows("nothing is wrong")
    await page.click("Run from here")
    await page.until("document.querySelector('.detail').innerText.includes('heard: 42')")
    _, told = await api.get("/v1/flows/letters/runs")
    first, broken, again = (each["pid"] for each in reversed(told["runs"]))
    assert [each["status"] for each in reversed(told["runs"])] == ["done", "failed", "done"]
    _, differ = await api.get(f"/v1/runs/{again}/diff?other={broken}")
    assert differ["runs"][0]["nodes"]["step1"]["pids"] == [] or differ["same"] >= 1  # step1 was not done again
    choice = "[...document.querySelectorAll('.detail select')].at(-1)"
    await page.run(f"{choice}.value = '{first}', {choice}.dispatchEvent(new Event('change', {{bubbles: true}}))")
    await page.shows("differ")
    assert page.complaints == []


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


async def test_a_model_is_fetched_with_its_progress_stopped_and_gone_on_with(
    api: Gate, page: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"GGUF" + bytes(4_000_000)
    hub = LocalHub({"me/mine": {"mine.gguf": data}}, pace=0.1)
    async with serving(hub.app()) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        await enter(page, api.running, "#/models")
        await page.shows("Fetch one")
        for name in ("default", "small", "tiny"):
            await page.shows(f"{name}\n")  # what comes with the system is offered with its size and licence
        await page.run("document.querySelector('.pulls form input').focus()")
        await page.type("me/mine")
        await page.press("Enter")
        await page.until("Number(document.querySelector('[role=progressbar]')?.ariaValueNow) >= 10")
        await page.click("Stop")
        await page.shows("stopped")
        hub.pace = 0.0
        await page.run("document.querySelector('.pulls form input').focus()")
        await page.type("me/mine")
        await page.press("Enter")
        await page.until("document.querySelector('table').innerText.includes('mine')")
        assert Path((await catalog.resolve("mine")).source).read_bytes() == data
        assert hub.ranges[0] is None and hub.ranges[1] is not None  # it went on where it was
        assert page.complaints == []


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


async def test_a_foreign_origin_and_a_foreign_host_get_nothing(api: Gate) -> None:
    ticket = api.running.desktop().partition("#ticket=")[2]
    url = api.running.url
    async with aiohttp.ClientSession() as session:
        async with session.post(
            f"{url}/v1/login", headers={"Authorization": f"Ticket {ticket}", "Origin": url}
        ) as answer:
            assert answer.status == 204, await answer.text()
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        asked: dict[str, dict[str, str]] = {
            "own": {"Origin": url, "Sec-Fetch-Site": "same-origin"},
            "nobody": {},
            "origin": {"Origin": "https://evil.example"},
            "port": {"Origin": "http://127.0.0.1:1"},
            "fetch": {"Sec-Fetch-Site": "cross-site"},
            "site": {"Sec-Fetch-Site": "same-site"},
            "host": {"Host": "evil.example"},
        }
        found = {}
        for name, headers in asked.items():
            for method, path in (("GET", "/v1/agents"), ("POST", "/v1/keys"), ("GET", "/v1/events?heartbeat=1")):
                body: dict[str, Any] = {"json": {"roles": ["owner"]}} if method == "POST" else {}
                sent = headers if name == "nobody" else {"Cookie": cookie, **headers}
                async with session.request(method, url + path, headers=sent, **body) as answer:
                    found[name, path] = answer.status
        assert {found["own", path] for path in ("/v1/agents", "/v1/events?heartbeat=1")} == {200}
        assert {status for (name, _), status in found.items() if name != "own"} <= {400, 401, 403, 421}, sorted(
            found.items()
        )


PLACES = (
    "#/chat/clerk/first", "#/chat/clerk/other", "#/chat/nobody", "#/inbox", "#/processes", "#/processes/{pid}",
    "#/run/{pid}", "#/flows", "#/flows/f", "#/flows/+", "#/agents", "#/agents/clerk", "#/agents/+", "#/models",
    "#/tools/calculator", "#/knowledge", "#/knowledge/facts", "#/knowledge/memory", "#/budgets", "#/audit", "#/health",
)  # fmt: skip


async def test_no_page_shuts_anybody_out(api: Gate, page: Tab) -> None:
    """axe finds nothing serious on any page in either theme; no page is wider than a phone."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None and found.origin is not None, "pip install axe-playwright-python"
    axe = (Path(found.origin).parent / "axe.min.js").read_text()
    await api.post("/v1/agents/clerk/messages", {"text": "hello", "session": "first", "wait": 5})
    await api.post("/v1/agents", {"name": "f", "flow": {"nodes": {"a": {"agent": "clerk"}, "b": {"function": "text"}},
                                                        "edges": ["a -> b"]}})  # fmt: skip
    await api.post("/v1/knowledge/facts", {"facts": [{"subject": "Bob", "predicate": "leads", "object": "all"}]})
    (pid,) = api.kernel.table.named("clerk@first")
    await enter(page, api.running)
    await page.run(axe + ";0")
    wrong, wide = [], []
    for where in (each.format(pid=pid) for each in PLACES):
        await page.run(f"location.hash = {where!r}")
        await page.until("document.querySelectorAll('main h1').length > 0")
        await asyncio.sleep(0.4)
        for theme in ("light", "dark"):
            await page.run(f"document.documentElement.dataset.theme = {theme!r}")
            told = await page.run(
                "axe.run(document, {resultTypes: ['violations']}).then(all => all.violations.map(each => "
                "[each.impact, each.id, each.nodes[0].html.slice(0, 200)]))"
            )
            wrong += [(where, theme, *each) for each in told if each[0] in ("serious", "critical")]
        await page.tell("Emulation.setDeviceMetricsOverride", width=390, height=780, deviceScaleFactor=1, mobile=False)
        await asyncio.sleep(0.1)
        if await page.run("document.documentElement.scrollWidth > innerWidth"):
            wide.append(where)
        await page.tell("Emulation.clearDeviceMetricsOverride")
    assert wrong == [] and wide == []
