"""A journal in trouble: damaged pages, a full disk, a folder that is taken. Real files throughout."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys as system
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import DataFolderBusy, JournalDamaged, JournalFull
from llmagent_os.core.records import Json
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.stores.folder import Claim
from llmagent_os.stores.sqlite import WRITES, SQLiteStore
from tests.stand_ins.kernels import until


async def counter(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    total = (state or 0) + message.body
    await sys.reply(message, total)
    return Idle(total)


async def waits(sys: Sys, args: Json, state: Json) -> Any:
    for _ in range(200):
        await sys.now()
    await sys.sleep(3600)


PROGRAMS = {"counter": Program(counter, wakes=True), "waits": Program(waits)}


async def boot(path: Path, store: SQLiteStore | None = None) -> Kernel:
    kernel = Kernel(store or SQLiteStore(path), PROGRAMS)
    await kernel.start_all()
    return kernel


async def ask(kernel: Kernel, pid: int, body: Json, task: str) -> Json:
    sys = await kernel.service("test")
    await sys.send(pid, body, reply_to=f"task/{task}", task=task, id=task)
    return (await kernel.mail.wait(f"task/{task}", timeout=20)).body


async def rows_written(kernel: Kernel, pids: Sequence[int]) -> None:
    for pid in pids:
        while len(kernel.journal.rows(pid)) < 201:
            await asyncio.sleep(0.01)


async def test_a_flipped_bit_quarantines_the_process_and_the_rest_starts(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    kernel = await boot(path)
    sys = await kernel.service("test")
    hurt, healthy = await sys.spawn("waits"), await sys.spawn("waits")
    actor = await sys.spawn("counter")
    await rows_written(kernel, [hurt, healthy])
    await kernel.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE call SET result = x'31' WHERE pid = ? AND seq = 7", (hurt,))
        waiting = ("asked", f"pid/{hurt}", b"1", "pid/1", "task/asked", "asked", 0.0, None, "default", "owner")
        database.execute(WRITES["message.add"], waiting)
    kernel = await boot(path)
    answer = await kernel.mail.wait("task/asked", timeout=20)
    assert answer.body["error"]["type"] == "JournalDamaged"
    assert hurt not in kernel.table.live and healthy in kernel.table.live
    shown = {info["pid"]: info for info in kernel.table.listed()}
    assert shown[hurt]["status"] == "quarantined" and "checksum" in str(shown[hurt]["reason"])
    assert await ask(kernel, actor, 3, "a") == 3
    await kernel.close()


async def test_an_unreadable_page_quarantines_its_process_and_the_rest_starts(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    kernel = await boot(path)
    sys = await kernel.service("test")
    hurt = await sys.spawn("waits")
    actor = await sys.spawn("counter")
    assert await ask(kernel, actor, 2, "a") == 2
    await rows_written(kernel, [hurt])
    await kernel.close()
    overwrite_a_leaf_of_calls(path, hurt)
    kernel = await boot(path)
    await until(lambda: shown(kernel, hurt)["status"] == "quarantined")
    assert hurt not in kernel.table.live and "quarantined" in str(shown(kernel, hurt)["reason"])
    assert await ask(kernel, actor, 3, "b") == 5
    await kernel.close()


def shown(kernel: Kernel, pid: int) -> dict[str, Json]:
    return next(info for info in kernel.table.listed() if info["pid"] == pid)


def overwrite_a_leaf_of_calls(path: Path, pid: int) -> None:
    """Fill the first page that holds rows in the middle of a process's calls with noise."""
    database = sqlite3.connect(path)
    size = database.execute("PRAGMA page_size").fetchone()[0]
    key = database.execute("SELECT key FROM call WHERE pid = ? AND seq = 100", (pid,)).fetchone()[0].encode()
    database.close()
    data = bytearray(path.read_bytes())
    page = data.index(key) // size
    data[page * size : (page + 1) * size] = b"\xa5" * size
    path.write_bytes(data)


class FullStore(SQLiteStore):
    """A store whose database may not grow: SQLite's own limit on pages stands for the disk's end."""

    def limit_pages(self, more: int) -> None:
        pages = self._writer.execute("PRAGMA page_count").fetchone()[0]
        self._writer.execute(f"PRAGMA max_page_count = {pages + more}")


async def test_a_full_disk_is_said_clearly_and_what_was_accepted_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = FullStore(path)
    kernel = await boot(path, store)
    actor = await (await kernel.service("test")).spawn("counter")
    assert await ask(kernel, actor, 1, "before") == 1
    store.limit_pages(2)
    sys = await kernel.service("test")
    accepted = []
    with pytest.raises(JournalFull, match="free some disk space"):
        for n in range(500):
            await sys.send(actor, random.randbytes(4000).hex(), id=f"m{n}", reply_to=f"task/m{n}")
            accepted.append(f"m{n}")
    assert kernel.health()["journal"] is not None
    await kernel.close()
    kernel = await boot(path)
    assert all(kernel.table.message(identifier) is not None for identifier in accepted)
    assert kernel.table.message("before") is not None
    await kernel.close()


async def test_work_stopped_by_a_full_disk_goes_on_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.kernel.runner.RETRY_FULL", 0.05)
    path = tmp_path / "journal.db"
    store = FullStore(path)
    kernel = await boot(path, store)
    actor = await (await kernel.service("test")).spawn("counter")
    sys = await kernel.service("test")
    await sys.send(actor, 5, reply_to="task/a", task="a", id="a")
    store.limit_pages(0)
    await asyncio.sleep(0.2)
    store.limit_pages(1000)
    assert (await kernel.mail.wait("task/a", timeout=20)).body == 5
    await kernel.close()


def test_a_second_system_on_a_folder_is_refused_with_the_pid_that_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from llmagent_os.stores.folder import Claim\n"
        "claim = Claim(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    arguments = [system.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline().strip() == "held"
        with pytest.raises(DataFolderBusy, match=str(other.pid)):
            Claim(tmp_path)
        other.stdin.close()
        other.wait()
    Claim(tmp_path).release()


def test_a_file_that_is_no_journal_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(JournalDamaged, match="backup"):
        SQLiteStore(path)


async def test_a_message_whose_text_is_gone_is_told_to_whom_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    kernel = await boot(path)
    sys = await kernel.service("test")
    await sys.send("task/reply", random.randbytes(4000).hex(), id="reply")
    await kernel.close()
    with sqlite3.connect(path) as database:
        assert database.execute("DELETE FROM blob").rowcount
    kernel = await boot(path)
    assert (await kernel.mail.wait("task/reply", timeout=20)).body["error"]["type"] == "JournalDamaged"
    assert await ask(kernel, await (await kernel.service("test")).spawn("counter"), 3, "a") == 3
    await kernel.close()
