"""A person's data: exported, erased so that it is nowhere, kept no longer than said, learned from by consent."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os import File, ToolKit
from llmagent_os.core import codec
from llmagent_os.core.records import Retention
from llmagent_os.kernel.journal import Row
from llmagent_os.plugins import hookimpl
from llmagent_os.security.audit import verify
from llmagent_os.security.privacy import VaultShare
from llmagent_os.security.vault import Vault
from llmagent_os.stores.sqlite import SQLiteStore
from tests.scenario.test_dispatch import host, prompts
from tests.stand_ins.deep import deepen
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.slotted import SlottedEngine, answer

MAIL = "ann.peregrine@example.org"
LONG = " ".join(f"{MAIL} wrote line {number}." for number in range(200))  # too long for a row: a blob
DAY = 86400.0
TOOLS = ToolKit()


@TOOLS.add
def letter(text: str) -> File:
    """Write a letter."""
    return File("letter.txt", f"Dear {text}".encode(), "text/plain")


class Plugin:
    """A tool."""

    @hookimpl
    def tools(self) -> Any:
        return TOOLS


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", Plugin()) as found:
        yield found


async def person(api: Gate, name: str) -> dict[str, Any]:
    _, made = await api.post("/v1/keys", {"roles": ["user"], "tenant": "acme", "principal": name})
    return {"headers": {"Authorization": f"Bearer {made['key']}"}}


async def admin(api: Gate) -> dict[str, Any]:
    assert (await api.ask("PUT", "/v1/tenants/acme", json={"tools": None}))[0] == 200
    _, made = await api.post("/v1/keys", {"roles": ["admin"], "tenant": "acme", "principal": "boss"})
    key = {"headers": {"Authorization": f"Bearer {made['key']}"}}
    spec = {"name": "clerk", "model": "scripted", "tools": ["letter"]}
    assert (await api.post("/v1/agents", spec, **key))[0] == 201
    await api.post("/v1/agents/clerk/deploy", **key)
    return key


async def traffic(api: Gate, key: dict[str, Any], mail: str, long: str) -> None:
    """Everything that somebody can leave behind: chats, a session, a shared replica's turns, files, responses."""
    clerk = "/v1/agents/clerk/messages"
    for path, body in (
        ("/v1/chat/completions", {"model": "scripted", "messages": user(f"I am {mail}")}),
        ("/v1/chat/completions", {"model": "clerk", "messages": user(f"I am {mail}")}),
        ("/v1/responses", {"model": "scripted", "input": long}),
        (clerk, {"text": f"I am {mail}"}),
        (clerk, {"text": f"I am {long}"}),
        (clerk, {"text": f"I am {mail}", "session": f"of-{mail.split('@')[0]}"}),
        (clerk, {"text": f"I said {long}", "session": f"of-{mail.split('@')[0]}"}),
        (clerk, {"text": f'call letter with {{"text": "{mail}"}}'}),
    ):
        status, answer = await api.post(path, body, **key)
        assert status == 200, answer


async def exported(api: Gate, key: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    status, data = await api.get(f"/v1/privacy/export{query}", **key)
    assert status == 200
    return [codec.loads(line) for line in data.splitlines()]


async def test_an_export_has_everything_and_nobody_elses(api: Gate) -> None:
    await admin(api)
    ann, bob = await person(api, "ann"), await person(api, "bob")
    await traffic(api, ann, MAIL, LONG)
    await traffic(api, bob, "bob@example.org", "bob@example.org " * 300)
    lines = await exported(api, ann)
    assert {line["kind"] for line in lines} == {"process", "call", "message", "record"}
    assert "bob@" not in str(lines) and "digest" not in str(lines)
    assert sum(LONG in str(line) for line in lines if line["kind"] == "call") >= 2
    spaces = {line["space"] for line in lines if line["kind"] == "record"}
    assert spaces == {"acme/response", "key"}
    assert (await api.get("/v1/privacy/export?principal=ann", **bob))[0] == 403


async def test_what_is_erased_is_nowhere(api: Gate) -> None:
    boss = await admin(api)
    ann, bob = await person(api, "ann"), await person(api, "bob")
    vault = Vault(b"k" * 32)
    vault.token("acme", "EMAIL", MAIL)
    vault.token("acme", "EMAIL", "bob@example.org")
    api.system.privacy._holders = [*api.system.privacy._holders, VaultShare(vault)]
    await traffic(api, ann, MAIL, LONG)
    await traffic(api, bob, "bob@example.org", "bob@example.org " * 300)
    told: list[int] = []
    api.system.privacy._amend = lambda keys, why, pids: told.extend(1 for _ in keys)
    before = len(await exported(api, bob))
    _, checked = await api.post("/v1/privacy/erase", {"principal": "nobody", "prove": [MAIL]}, **boss)
    assert {"blobs", "journal.db"} <= set(checked["found"][MAIL]) | {"journal.db"} and checked["found"][MAIL]

    status, done = await api.post("/v1/privacy/erase", {"principal": "ann", "prove": [MAIL, "bob@example.org"]}, **boss)
    assert status == 200
    assert done["found"][MAIL] == []
    assert "journal.db" in done["found"]["bob@example.org"] or "journal.db-wal" in done["found"]["bob@example.org"]
    assert min(done[kind] for kind in ("processes", "calls", "messages", "records", "blobs")) > 0
    assert len(told) == done["calls"]
    for file in api.system.config.data.rglob("*"):
        assert not file.is_file() or MAIL.encode() not in file.read_bytes(), file
    assert (await api.get("/v1/agents", **ann))[0] == 401  # their keys went too
    assert await exported(api, boss, "?principal=ann") == []
    feed = api.kernel.feed
    for n in range(feed.last):  # whether it is read from memory or from the file
        assert not any(MAIL.encode() in row.args or row.principal == "ann" for row in feed.after(n, 1))
    assert list(vault.known("acme").values.values()) == ["bob@example.org"]

    assert len(await exported(api, bob)) == before
    await traffic(api, bob, "bob@example.org", "bob@example.org " * 300)  # what was shared goes on
    await traffic(api, await person(api, "ann"), MAIL, LONG)
    (pid,) = api.kernel.table.named("clerk", "acme")
    assert all(Row(*row).intact() for row in api.kernel.store.read("call.after", pid, 0))


async def test_erased_work_is_broken_off_and_stays_erased_after_a_restart(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", Plugin()) as api:
        boss = await admin(api)
        ann = await person(api, "ann")
        await api.script("slow", {"text": "word " * 2000, "pace": 0.01})
        await api.ask("PATCH", "/v1/agents/clerk", json={"model": "slow"}, **boss)
        for more in ({}, {"session": "s"}):
            status, _ = await api.post("/v1/agents/clerk/messages", {"text": MAIL, "wait": 0, **more}, **ann)
            assert status == 202
        await asyncio.sleep(0.2)
        _, done = await api.post("/v1/privacy/erase", {"principal": "ann", "prove": [MAIL]}, **boss)
        assert done["found"] == {MAIL: []}
        await api.ask("PATCH", "/v1/agents/clerk", json={"model": "scripted"}, **boss)
    async with gate(tmp_path / "data", Plugin()) as api:
        assert (await api.post("/v1/agents/clerk/messages", {"text": "hello"}, **boss))[1]["reply"]["text"] == "hello"
        _, done = await api.post("/v1/privacy/erase", {"principal": "nobody", "prove": [MAIL]}, **boss)
        assert done["found"] == {MAIL: []}


async def test_learning_needs_consent(api: Gate) -> None:
    ann, bob = await person(api, "ann"), await person(api, "bob")
    assert (await api.get("/v1/privacy/consent", **ann))[1] == {"learning": False}
    assert (await api.ask("PUT", "/v1/privacy/consent", json={"learning": True}, **ann))[1] == {"learning": True}
    assert api.system.privacy.consents("acme", "ann") and not api.system.privacy.consents("acme", "bob")
    assert not api.system.privacy.consents("default", "ann")
    status, _ = await api.ask("PUT", "/v1/privacy/consent", json={"learning": False, "principal": "ann"}, **bob)
    assert status == 403
    await api.ask("PUT", "/v1/privacy/consent", json={"learning": False}, **ann)
    assert not api.system.privacy.consents("acme", "ann")


def older(data: Path, days: float) -> None:
    """Make everything so many days older."""
    with sqlite3.connect(data / "journal.db") as database:
        columns = {"process": "created", "call": "started", "message": "at", "record": "at", "blob": "at"}
        for table, column in columns.items():
            database.execute(f"UPDATE {table} SET {column} = {column} - ?", (days * DAY,))


def count(api: Gate, table: str, where: str = "1") -> int:
    with sqlite3.connect(api.system.config.data / "journal.db") as database:
        return int(database.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])


async def test_data_is_deleted_when_its_time_is_over(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", Plugin()) as api:
        boss, ann = await admin(api), await person(api, "ann")
        for _ in "ab":
            await traffic(api, ann, MAIL, LONG)
        assert (await api.get("/v1/privacy/retention"))[1]["calls"] == 90
        assert set((await api.post("/v1/privacy/retention"))[1].values()) == {0}  # nothing is so old
        calls, blobs = count(api, "call"), count(api, "blob")
    older(tmp_path / "data", 10)
    keep = Retention(calls=7, messages=7, processes=7, idle=7, blobs=0)
    async with gate(tmp_path / "data", Plugin(), retention=keep) as api:
        told: list[Any] = []
        api.system.privacy._amend = lambda keys, why, pids: told.extend(keys)
        async with asyncio.timeout(20):
            while count(api, "message", f"at < {time.time() - DAY}") or count(api, "blob") >= blobs:
                await asyncio.sleep(0.05)
        fresh = {"text": "still here", "session": "fresh"}
        assert (await api.post("/v1/agents/clerk/messages", fresh, **boss))[0] == 200
        for _ in "ab":  # what this turn has replaced may go now, and what the row about that has
            _, more = await api.post("/v1/privacy/retention")
            assert more["idle"] == more["messages"] == 0
        assert set((await api.post("/v1/privacy/retention"))[1].values()) == {0}
        living = api.kernel.table.named("clerk", "acme")
        assert api.kernel.table.named("clerk@fresh", "acme") and len(living) == 1
        assert not api.kernel.table.named(f"clerk@of-{MAIL.split('@')[0]}", "acme")  # nobody used it
        assert count(api, "call", f"started < {time.time() - DAY} AND pid = {living[0]}") <= 1
        assert len(told) > calls * 0.8
        await traffic(api, ann, MAIL, LONG)
        for body in ({"text": "one", "session": "fresh"}, {"text": "two"}):
            status, answer = await api.post("/v1/agents/clerk/messages", body, **boss)
            assert (status, answer["reply"]["text"]) == (200, body["text"])
        assert api.kernel.health().keys() >= {"worker retention"}
    older(tmp_path / "data", 10)
    async with gate(tmp_path / "data", Plugin(), retention=keep) as api:
        await api.post("/v1/privacy/retention")
        assert (await api.post("/v1/agents/clerk/messages", {"text": "three"}, **boss))[1]["reply"]["text"] == "three"
        assert count(api, "process", "status IN ('stopped', 'done')") <= 3  # those that were ended just now
        assert count(api, "call") < calls and count(api, "blob") < blobs


async def test_the_audit_log_still_holds_after_an_erasure_and_names_what_else_was_changed(api: Gate) -> None:
    boss, folder = await admin(api), api.system.config.data / "audit"
    path = api.system.config.data / "journal.db"
    audit = api.system.audit
    assert audit is not None
    ann = await person(api, "ann")
    await traffic(api, ann, MAIL, LONG)
    _, done = await api.post("/v1/privacy/erase", {"principal": "ann", "prove": [MAIL]}, **boss)
    assert done["found"] == {MAIL: []} and done["calls"] > 10
    audit.catch_up()
    found = verify(SQLiteStore(path), folder)
    assert found.bad == [] and any("erased" in note for note in found.notes)
    with sqlite3.connect(path) as database:
        pid, seq = database.execute("SELECT pid, seq FROM call WHERE key != '' LIMIT 1").fetchone()
        database.execute("UPDATE call SET principal = '' WHERE pid = ? AND seq = ?", (pid, seq))
    assert [(bad.kind, bad.pid, bad.seq) for bad in verify(SQLiteStore(path), folder).bad] == [("changed", pid, seq)]


async def test_saved_contexts_are_forgotten(tmp_path: Path) -> None:
    async with host(tmp_path, SlottedEngine(slots=1), ram=400) as system:  # in memory, on disk, and on the slot
        texts = prompts(6, 100)
        for text in texts:
            await system.ask(text)
        await system.dispatcher.pager.close()
        assert len(system.pages.found("slotted")) > 3
        system.kernel.forget({system.sys.pid + 1})
        assert len(system.pages.found("slotted")) > 3
        system.kernel.forget({system.sys.pid})
        assert system.pages.found("slotted") == [] and not list((tmp_path / "pages").glob("*.page"))
        assert system.dispatcher.overview()["pages"]["disk"]["count"] == 0
        assert [await system.ask(text) for text in texts] == [answer(text, 16) for text in texts]


async def test_a_blob_that_is_named_is_kept(api: Gate) -> None:
    await admin(api)
    ann = await person(api, "ann")
    status, answer = await api.post("/v1/agents/clerk/messages", {"text": 'call letter with {"text": "you"}'}, **ann)
    assert status == 200
    (blob,) = [part["blob"] for part in answer["reply"]["parts"] if "blob" in part]
    assert api.kernel.store.collect(0.0) == 0
    assert (await api.get(f"/v1/blobs/{blob}", **ann))[0] == 200
    api.kernel.store.write([("blob.add", (b"x" * 16, b"unnamed")), ("file.add", (b"x" * 16, "acme", "ann"))])
    await asyncio.sleep(0.01)
    assert api.kernel.store.collect(1000.0) == 0  # too young
    assert api.kernel.store.collect(0.0) == 1
    assert api.kernel.store.read("file.of", b"x" * 16, "acme", "ann") == []


async def test_a_question_that_was_erased_does_not_come_back(api: Gate) -> None:
    boss = await admin(api)
    ann = await person(api, "ann")
    body = {"policy": {"tools": {"letter": "ask"}}}
    assert (await api.ask("PATCH", "/v1/agents/clerk", json=body, **boss))[0] == 200
    said = {"text": f'call letter with {{"text": "{MAIL}"}}', "session": "s", "wait": 0}
    assert (await api.post("/v1/agents/clerk/messages", said, **ann))[0] == 202
    for _ in range(100):
        if (await api.get("/v1/approvals", **ann))[1]["approvals"]:
            break
        await asyncio.sleep(0.02)
    _, done = await api.post("/v1/privacy/erase", {"principal": "ann", "prove": [MAIL]}, **boss)
    assert done["found"] == {MAIL: []}
    assert (await api.get("/v1/approvals", **boss))[1] == {"approvals": []}
    await api.kernel.journal.append(())
    _, done = await api.post("/v1/privacy/erase", {"principal": "nobody", "prove": [MAIL]}, **boss)
    assert done["found"] == {MAIL: []}


async def test_nothing_shows_from_memory_whose_erased_processes_were(api: Gate) -> None:
    boss = await admin(api)
    await traffic(api, await person(api, "ann"), MAIL, LONG)
    held = [api.kernel.table.get(pid) for pid in api.kernel.table.named_like("clerk@", "acme")]
    assert held and all(each.principal == "ann" for each in held)
    await api.post("/v1/privacy/erase", {"principal": "ann"}, **boss)
    _, found = await api.get("/v1/processes", **boss)
    assert found["processes"] and "ann" not in str(found) and "of-ann" not in str(found)


async def test_looking_for_what_to_forget_stops_nobody() -> None:
    vault = Vault(b"k" * 32)
    for number in range(200):
        vault.token("acme", "EMAIL", f"a{number}@example.org")
    ticks = 0

    def wanted(value: str) -> bool:
        time.sleep(0.005)
        return value != "a7@example.org"

    forgetting = asyncio.create_task(vault.forget("acme", wanted))
    while not forgetting.done():
        await asyncio.sleep(0.01)
        ticks += 1
        if ticks == 5:
            vault.token("acme", "EMAIL", "new@example.org")
    assert ticks > 20 and await forgetting == 199
    assert sorted(vault.known("acme").values.values()) == ["a7@example.org", "new@example.org"]


async def test_what_is_being_answered_is_broken_off_and_stays_erased(api: Gate) -> None:
    boss = await admin(api)
    ann, bob = await person(api, "ann"), await person(api, "bob")
    await api.script("slow", {"text": "{echo} " * 20, "match": "(?s).*", "delay": 0.5, "pace": 0.01})
    asked = [{"model": "slow", "messages": user(MAIL), "stream": stream} for stream in (False, True)]
    chats = [asyncio.create_task(api.post("/v1/chat/completions", each, **ann)) for each in asked]
    other = asyncio.create_task(api.post("/v1/chat/completions", {"model": "slow", "messages": user("bob")}, **bob))
    body = {"model": "slow", "input": MAIL, "background": True}
    assert (await api.post("/v1/responses", body, **ann))[0] == 200
    await asyncio.sleep(0.2)
    _, done = await api.post("/v1/privacy/erase", {"principal": "ann", "prove": [MAIL]}, **boss)
    assert done["found"] == {MAIL: []}
    assert [status for status, _ in await asyncio.gather(*chats)] == [401, 401]
    assert (await other)[0] == 200
    _, done = await api.post("/v1/privacy/erase", {"principal": "nobody", "prove": [MAIL]}, **boss)
    assert done["found"] == {MAIL: []}


async def test_who_erases_their_own_data_is_told_how_that_went(api: Gate) -> None:
    await admin(api)
    ann = await person(api, "ann")
    await traffic(api, ann, MAIL, LONG)
    status, done = await api.post("/v1/privacy/erase", {"prove": [MAIL]}, **ann)
    assert (status, done["found"]) == (200, {MAIL: []})


async def test_a_file_whose_name_is_no_text_keeps_nothing_from_being_exported_and_erased(api: Gate) -> None:
    boss = await admin(api)
    ann = await person(api, "ann")
    await traffic(api, ann, MAIL, LONG)
    folder = api.system.config.data / "workspaces" / "acme" / "clerk@ann"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / os.fsdecode(b"\xff.txt")).write_text(MAIL)
    assert any(
        r"\xff.txt" in str(line["value"]["path"]) for line in await exported(api, ann) if line["kind"] == "Homes"
    )
    _, checked = await api.post("/v1/privacy/erase", {"principal": "nobody", "prove": [MAIL]}, **boss)
    assert r"workspaces/acme/clerk@ann/\xff.txt" in checked["found"][MAIL]
    _, done = await api.post("/v1/privacy/erase", {"principal": "ann", "prove": [MAIL]}, **boss)
    assert done["found"] == {MAIL: []}
    body = {"arguments": {}}
    assert (await api.post("/v1/tools/list_files", body, **boss))[0] == 200
    here = api.system.config.data / "workspaces" / "acme"
    (own,) = [each for each in here.iterdir() if each.name.endswith("@boss")]
    (own / os.fsdecode(b"\xff.txt")).write_text("x")
    status, found = await api.post("/v1/tools/list_files", body, **boss)
    assert status == 200 and found["result"] == [{"path": r"\xff.txt", "size": 1}]


async def test_nothing_that_code_can_leave_in_a_workspace_stops_an_erasure(api: Gate) -> None:
    boss = await admin(api)
    ann = await person(api, "ann")
    await traffic(api, ann, MAIL, LONG)
    folder = deep = api.system.config.data / "workspaces" / "acme" / "clerk@ann"
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    for _ in range(1200):
        deep = deep / "d"
        deep.mkdir()
    deepen(deep, 1200, data=MAIL.encode())  # deeper than a path can say
    _, checked = await api.post("/v1/privacy/erase", {"principal": "nobody", "prove": [MAIL]}, **boss)
    assert any(place.endswith("d/d/end.txt") for place in checked["found"][MAIL])
    assert any(line["value"].get("text") == MAIL for line in await exported(api, ann) if line["kind"] == "Homes")
    async with asyncio.timeout(20):
        _, done = await api.post("/v1/privacy/erase", {"principal": "ann", "prove": [MAIL]}, **boss)
    assert done["found"] == {MAIL: []}
    assert not folder.exists()
