"""Data folders that earlier releases wrote: they open, go on where they were cut off, repeat nothing, and replay."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import NotFound
from llmagent_os.kernel.syscalls import Builtins
from llmagent_os.monitoring.replay import replay
from llmagent_os.security.audit import verify
from llmagent_os.security.vault import Vault, key_file
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.shop import Shop

FOLDERS = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(params=["folder_v1", "folder_v2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a folder that an earlier release left, with two turns in the middle of their second tool."""
    return Path(shutil.copytree(FOLDERS / request.param, tmp_path / "data"))


async def start(folder: Path) -> System:
    return await boot(load({"data": folder, "model": "scripted"}), [Shop(folder / "ledger.jsonl")])


def acts(folder: Path) -> list[dict[str, Any]]:
    """What the tools did, in order."""
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


async def answer(system: System, task: str) -> Any:
    return (await system.kernel.mail.wait(f"task/{task}", timeout=10)).body


async def test_interrupted_turns_go_on_without_a_second_effect(folder: Path) -> None:
    before = acts(folder)
    system = await start(folder)
    assert (await answer(system, "second"))["total"] == 5
    assert "noted" in (await system.agents.reply("bobs", 10))["text"]
    after = acts(folder)[len(before) :]
    in_flight = [act for act in before if act["tool"] == "post"][-2:]
    assert sorted(after, key=str) == sorted(in_flight, key=str), "only what had no outcome runs again, under its key"
    await system.close()


async def test_everything_in_the_folder_is_still_there(folder: Path) -> None:
    seen = json.loads((folder / "seen.json").read_text())
    system = await start(folder)
    await system.agents.reply("bobs", 10)
    assert await answer(system, "first") == {"total": 2, "args": {"desk": 1}}
    caller = system.keys.find(seen["secret"])
    assert caller is not None and caller.principal == "ada"
    vault = Vault(key_file(folder / "vault.key"), system.facts)
    assert vault.known("default").values[seen["token"]] == "ada@example.org"
    assert [row["name"] for row in system.kernel.table.listed() if row["status"] == "paused"] == ["napper"]
    await system.kernel.runner.resume(seen["napper"])
    async with asyncio.timeout(10):
        while acts(folder)[-1]["arguments"]["to"] != "eve":
            await asyncio.sleep(0.01)
    reply = await system.agents.ask("teller", "hello", session="ada", timeout=10)
    assert reply["text"] == "hello"
    acme = await system.tenant("acme")
    assert acme.names().count("guide") == 1 and "guide" not in system.agents.names()
    await system.close()


async def test_its_runs_replay(folder: Path) -> None:
    system = await start(folder)
    await answer(system, "second")
    await system.agents.reply("bobs", 10)
    await asyncio.sleep(0.1)
    programs, table = system.kernel.programs, Builtins(system.kernel).table()
    pids = [info["pid"] for info in system.kernel.table.listed() if info["program"] != "service"]
    await system.close()
    store = SQLiteStore(folder / "journal.db")
    reports = [await replay(store, pid, programs, table) for pid in pids]
    assert [report.diverged for report in reports] == [None] * len(pids)
    assert sum(report.turns for report in reports) >= 7


async def test_its_audit_log_still_holds(folder: Path) -> None:
    system = await start(folder)
    await answer(system, "second")
    await system.close()
    found = verify(SQLiteStore(folder / "journal.db"), folder / "audit")
    assert found.rows > 52 and not found.bad


@pytest.mark.parametrize("folder", ["folder_v1"], indirect=True)  # the next had workspaces by person
async def test_tasks_and_workspaces_are_those_of_the_person_who_began_them(folder: Path) -> None:
    files = folder / "workspaces" / "default" / "teller"
    files.mkdir(parents=True)
    (files / "notes.txt").write_text("kept")
    system = await start(folder)
    await system.agents.reply("bobs", 10)
    asked = system.kernel.table.message("bobs")
    assert asked is not None and asked.principal == "owner"
    mine, eve = (system.agents.acting(system.sys.acting(name)) for name in ("owner", "eve"))
    assert "noted" in (await mine.reply("bobs", 20))["text"]
    with pytest.raises(NotFound):
        await eve.reply("bobs", 0)
    assert (folder / "workspaces" / "default" / "teller@owner" / "notes.txt").read_text() == "kept"
    await system.close()
