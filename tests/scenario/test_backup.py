"""Backup and restore: beside a busy system, with everything that a restored one needs to mask, unmask and prove."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import Conflict, DataFolderBusy, InvalidRequest, NotFound, VaultUnreadable
from llmagent_os.core.records import GenerateRequest, Json, Message, ModelSpec
from llmagent_os.core.sys import Sys
from llmagent_os.core.trees import remove
from llmagent_os.kernel.process import Program
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from llmagent_os.offline import audited, backed_up, checked, restored
from llmagent_os.plugins import hookimpl
from llmagent_os.stores.folder import Claim
from tests.stand_ins.deep import deepen
from tests.stand_ins.shell import Shell

SECRET = "hunter2zz"
SAID = f"My name is Peregrine Took, password: {SECRET}"


class Busy:
    """A plugin with a program that never rests."""

    @hookimpl
    def programs(self) -> dict[str, Program]:
        async def spin(sys: Sys, args: Json, state: Json) -> Any:
            while True:
                await sys.now()

        return {"spin": Program(spin)}


async def start(data: Path, left: list[str]) -> System:
    """A system with a model of somebody else's, which notes what it is sent and says it again."""

    def script(request: GenerateRequest) -> Reply:
        left.append(request.messages[-1].text)
        return Reply(f"you said {request.messages[-1].text}")

    system = await boot(load({"data": data, "model": "scripted"}), [Busy()])
    engine = await open_engine(ModelSpec("far", "scripted", options={"script": script}))

    async def opened() -> Any:
        return engine

    system.kernel.engines.add("far", opened, remote=True)
    return system


async def ask(system: System, text: str) -> str:
    return (await system.sys.generate(GenerateRequest("far", (Message("user", text),)))).text


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A data folder with masked values, a workspace and a definition."""
    system = await start(tmp_path / "data", [])
    await ask(system, SAID)
    await system.agents.create({"name": "bot", "model": "scripted"})
    workspace = tmp_path / "data" / "workspaces" / "default" / "bot"
    workspace.mkdir(parents=True)
    (workspace / "report.txt").write_text("all is well")
    (workspace / "latest").symlink_to("report.txt")
    await system.close()
    return tmp_path / "data"


async def test_a_restored_system_masks_and_unmasks(folder: Path, tmp_path: Path) -> None:
    made = backed_up(load({"data": folder}), tmp_path / "backup")
    assert checked(tmp_path / "backup") == [] and not made.without
    restored(tmp_path / "backup", load({"data": tmp_path / "new"}))
    left: list[str] = []
    system = await start(tmp_path / "new", left)
    assert (
        await ask(system, f"Call Peregrine Took and use {SECRET}") == f"you said Call Peregrine Took and use {SECRET}"
    )
    assert SECRET not in left[0] and "Took" not in left[0]
    assert "bot" in system.agents.names()
    assert (tmp_path / "new" / "workspaces" / "default" / "bot" / "latest").read_text() == "all is well"
    assert (tmp_path / "new" / "vault.key").stat().st_mode & 0o777 == 0o600
    await system.close()
    assert not audited(load({"data": tmp_path / "new"})).bad


@pytest.mark.parametrize("key", ["gone", "another"])
async def test_values_that_cannot_be_read_stop_what_would_leave(folder: Path, tmp_path: Path, key: str) -> None:
    """As after a restore of the journal alone, or beside another system's key."""
    (tmp_path / "new").mkdir()
    shutil.copy(folder / "journal.db", tmp_path / "new")
    if key == "another":
        (tmp_path / "new" / "vault.key").write_bytes(b"k" * 32)
    left: list[str] = []
    system = await start(tmp_path / "new", left)
    assert "vault.key" in str(system.kernel.health()["vault"])
    for text in ("what is 2 and 2?", f"use {SECRET}", "and 3?"):
        with pytest.raises(VaultUnreadable, match=r"put vault\.key back"):
            await ask(system, text)
    await system.sys.act("tenants.grant", tenant="other", models=["far"])
    other = await system.kernel.service("test", tenant="other")
    with pytest.raises(VaultUnreadable):
        await other.generate(GenerateRequest("far", (Message("user", SAID),)))
    near = await system.sys.generate(GenerateRequest("scripted", (Message("user", "hi"),)))
    assert near.text == "hi" and left == []
    await system.close()
    shutil.copy(folder / "vault.key", tmp_path / "new")
    system = await start(tmp_path / "new", left)
    await ask(system, f"use {SECRET}")
    assert system.kernel.health()["vault"] is None and SECRET not in left[0]
    await system.close()


async def test_a_damaged_value_stops_what_would_leave(folder: Path) -> None:
    with sqlite3.connect(folder / "journal.db") as database:
        database.execute("UPDATE record SET value = '\"AAAA\"' WHERE space = 'vault/default'")
    left: list[str] = []
    system = await start(folder, left)
    for _ in range(3):
        with pytest.raises(VaultUnreadable):
            await ask(system, f"use {SECRET}")
    assert left == [] and system.kernel.health()["vault"] is not None
    await system.close()


async def test_a_backup_beside_a_busy_system_holds_nobody_up(folder: Path, tmp_path: Path) -> None:
    system = await start(folder, [])
    for _ in range(10):
        await system.sys.spawn("spin")
    await asyncio.sleep(0.5)
    work = asyncio.ensure_future(asyncio.to_thread(backed_up, load({"data": folder}), tmp_path / "backup"))
    longest, last = 0.0, time.perf_counter()
    while not work.done():
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    await work
    assert longest < 1.0
    assert all(trouble is None for trouble in system.kernel.health().values())
    assert checked(tmp_path / "backup") == []
    await system.close()
    restored(tmp_path / "backup", load({"data": tmp_path / "new"}))
    system = await start(tmp_path / "new", [])
    await asyncio.sleep(0.3)
    running = [info for info in system.kernel.table.listed() if info["program"] == "spin"]
    assert len(running) == 10 and all(info["status"] == "running" for info in running)
    await system.close()
    assert not audited(load({"data": tmp_path / "new"})).bad


async def test_a_backup_says_what_is_not_as_it_was(folder: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    backed_up(load({"data": folder}), backup)
    (backup / "workspaces" / "default" / "bot" / "report.txt").write_text("all is lost")
    (backup / "vault.key").unlink()
    (backup / "more").write_text("x")
    assert checked(backup) == [
        "vault.key is missing", "more was not in it", "workspaces/default/bot/report.txt has changed since",
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match=r"vault\.key is missing"):
        restored(backup, load({"data": tmp_path / "new"}))
    assert not (tmp_path / "new").exists()


async def test_a_backup_with_another_vaults_key_is_told(folder: Path, tmp_path: Path) -> None:
    (folder / "vault.key").write_bytes(b"k" * 32)
    backed_up(load({"data": folder}), tmp_path / "backup")
    assert checked(tmp_path / "backup") == ["masked values of tenant 'default' cannot be read with its vault.key"]


async def test_keys_can_be_kept_elsewhere(folder: Path, tmp_path: Path) -> None:
    made = backed_up(load({"data": folder}), tmp_path / "backup", keys=False, workspaces=False)
    assert made.without == ["audit/signing.key", "vault.key", "workspaces"]
    assert not any("key" in path or "workspace" in path for path in made.files)
    assert checked(tmp_path / "backup") == []
    (tmp_path / "new").mkdir()
    shutil.copy(folder / "vault.key", tmp_path / "new")
    restored(tmp_path / "backup", load({"data": tmp_path / "new"}))
    system = await start(tmp_path / "new", left := [])
    await ask(system, f"use {SECRET}")
    assert SECRET not in left[0]
    await system.close()


async def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    config = load({"data": folder})
    backed_up(config, tmp_path / "backup")
    with pytest.raises(Conflict, match="not empty"):
        backed_up(config, tmp_path / "backup")
    with pytest.raises(Conflict, match="has a journal"):
        restored(tmp_path / "backup", config)
    with pytest.raises(NotFound, match="no backup"):
        restored(folder, load({"data": tmp_path / "new"}))
    with pytest.raises(NotFound, match="no journal"):
        backed_up(load({"data": tmp_path / "nowhere"}), tmp_path / "other")
    claim = Claim(tmp_path / "held")
    with pytest.raises(DataFolderBusy):
        restored(tmp_path / "backup", load({"data": tmp_path / "held"}))
    claim.release()


async def test_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    with shell.system():
        made = shell.ok("backup", "copy", "--check")
        assert "files" in made and made.endswith("all is as it was\n")
        assert "is in use by process" in shell.fails("restore", "copy")
    assert "all is as it was" in shell.ok("restore", "copy", "--check")
    assert "restored" in shell.ok("restore", "copy", "--data", "new")
    assert (tmp_path / "new" / "journal.db").exists()
    (tmp_path / "copy" / "key").write_text("x")
    assert shell.run("backup", "copy", "--check").returncode == 1
    said = shell.ok("backup", "small", "--no-keys", "--no-workspaces")
    assert "not in it: vault.key; keep it elsewhere, a restored system needs it" in said


def test_a_backup_and_what_it_is_made_of_lie_apart(folder: Path, tmp_path: Path) -> None:
    """Within the data folder it would be in every later backup, with the keys that `--no-keys` leaves out."""
    backup, link = tmp_path / "backup", tmp_path / "link"
    link.symlink_to(folder)
    for inside in (folder / "monday", folder / "backups" / "monday", link / "monday"):
        with pytest.raises(Conflict, match="lies in"):
            backed_up(load({"data": folder}), inside)
        assert not inside.exists()
    backed_up(load({"data": folder}), backup)
    with pytest.raises(Conflict, match="lies in"):
        restored(backup, load({"data": backup / "data"}))
    assert checked(backup) == []


async def test_files_whose_names_are_no_text_are_kept_as_well(folder: Path, tmp_path: Path) -> None:
    workspace = folder / "workspaces" / "default" / "bot"
    odd = os.fsdecode(b"caf\xe9 \xff.txt")  # as code of an agent may call them
    (workspace / odd).write_text("odd")
    (workspace / "way").symlink_to(odd)
    backed_up(load({"data": folder}), tmp_path / "backup")
    assert checked(tmp_path / "backup") == []
    restored(tmp_path / "backup", load({"data": tmp_path / "new"}))
    assert (tmp_path / "new" / "workspaces" / "default" / "bot" / "way").read_text() == "odd"
    (tmp_path / "backup" / "workspaces" / "default" / "bot" / odd).write_text("changed")
    (fault,) = checked(tmp_path / "backup")
    assert fault.encode() and r"caf\xe9 \xff.txt" in fault


async def test_nothing_that_code_can_leave_in_a_workspace_stops_a_backup(folder: Path, tmp_path: Path) -> None:
    workspace = folder / "workspaces" / "default" / "bot"
    deep = workspace
    for _ in range(1200):
        deep = deep / "d"
        deep.mkdir()
    (deep / "end.txt").write_text("deep")
    deepen(deep, 1200)  # deeper than a path can say
    os.mkfifo(workspace / "pipe")
    (workspace / "zero").symlink_to("/dev/zero")
    made = backed_up(load({"data": folder}), tmp_path / "backup")
    assert checked(tmp_path / "backup") == []
    (unread,) = made.unread
    assert unread.startswith("workspaces/default/bot/d/d/") and unread.endswith(": File name too long")
    restored(tmp_path / "backup", load({"data": tmp_path / "new"}))
    end = tmp_path / "new" / deep.relative_to(folder) / "end.txt"
    assert end.read_text() == "deep"
    for place in (folder, tmp_path / "backup", tmp_path / "new"):
        remove(place)  # what tidies up after the tests does not get so deep
        assert not place.exists()


async def test_a_restore_that_was_cut_off_is_done_again(folder: Path, tmp_path: Path) -> None:
    backed_up(load({"data": folder}), tmp_path / "backup")
    for _ in "ab":
        restored(tmp_path / "backup", load({"data": tmp_path / "new"}))
        (tmp_path / "new" / "journal.db").unlink()  # it comes last
    assert (tmp_path / "new" / "workspaces" / "default" / "bot" / "latest").read_text() == "all is well"
