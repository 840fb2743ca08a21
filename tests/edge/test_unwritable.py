"""What cannot be written or read: states, results, errors and facts of programs, and what handlers return."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import HandlerFailed, LLMAgentOSError, NotFound, ProcessFailed, ResultLost, from_data
from llmagent_os.core.ports import Syscall, own, uncovered
from llmagent_os.core.records import Call, Json, Supervision, Ticket, ToolSpec, Traits
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Process, Program
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.kernels import Boot, kernels, until

LONG = "a long conversation " * 300
HALF = "caf\udce9"  # half a character, as the name of a file may hold


class Unspeakable(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


def nested(depth: int) -> Json:
    return [nested(depth - 1)] if depth else "deep"


RETURNS = {
    "state": Idle({"at": Decimal(1)}), "half a character": Idle(HALF), "number": Idle(2**70), "deep": Idle(nested(500)),
    "result": object(), "bytes": b"raw",
}  # fmt: skip
RAISES: dict[str, BaseException] = {
    "words": RuntimeError(f"no such file: {HALF}"), "unspeakable": Unspeakable(), "exit": SystemExit(3),
    "facts": LLMAgentOSError("with facts", path=Path("/nowhere"), when=Decimal(2), name=HALF),
}  # fmt: skip


async def odd(sys: Sys, args: Json, state: Json) -> Any:
    """Says `fine`, or does what it is told to and cannot be written."""
    message = await sys.receive()
    if message.body in RAISES:
        raise RAISES[message.body]
    if message.body in RETURNS:
        return RETURNS[message.body]
    await sys.reply(message, "fine")
    return Idle(LONG)


@dataclass
class Found:
    """What a plugin's handler returns."""

    title: str


TYPES: list[str] = []


async def pair(call: Call, process: Process) -> Any:
    return 1, Found("x")


async def reader(sys: Sys, args: Json, state: Json) -> Any:
    number, found = await sys.syscall("pair")
    TYPES.append(f"{number} {found['title']}")
    await sys.sleep(3600)


class Till:
    """A tool that acts, and cannot tell of it at first."""

    spec, traits = ToolSpec("pay", "pay"), Traits("external")

    def __init__(self, unwritable: int) -> None:
        self.unwritable, self.keys = unwritable, list[str]()

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        self.keys.append(ticket.key)
        return {"balance": Decimal("12.50") if len(self.keys) <= self.unwritable else "12.50"}


async def payer(sys: Sys, args: Json, state: Json) -> Any:
    return await sys.call("pay", {"n": 1}, show=args)


async def cashier(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    await sys.reply(message, await sys.call("pay", {"n": 1}))
    return Idle()


PROGRAMS = {
    "odd": Program(odd, wakes=True), "reader": Program(reader), "payer": Program(payer),
    "cashier": Program(cashier, wakes=True),
}  # fmt: skip


@pytest.fixture(autouse=True)
def unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """Half a character in a captured log is more than the test runner can send from one of its processes to another."""
    caplog.set_level(logging.CRITICAL + 1, "llmagent_os")


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[Boot]:
    async with kernels(tmp_path, PROGRAMS, syscalls={"pair": Syscall(pair, 5.0, uncovered, own)}) as found:
        yield found


async def ask(kernel: Kernel, pid: int, body: str, task: str | None = None) -> Json:
    task = task or body
    sys = await kernel.service("test")
    await sys.send(pid, body, reply_to=f"task/{task}", id=task)
    return (await kernel.mail.wait(f"task/{task}", 20)).body


@pytest.mark.parametrize("restart", ["permanent", "transient"])
@pytest.mark.parametrize("what", [*RETURNS, *RAISES])
async def test_who_waits_is_told_and_the_supervisor_lets_it_go_on(boot: Boot, what: str, restart: Any) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("odd", supervision=Supervision(restart))
    assert await ask(kernel, pid, "hi") == "fine"
    error = from_data((await ask(kernel, pid, what))["error"])
    assert error.message and isinstance(error, LLMAgentOSError)
    assert "fail" in {row.name for row in kernel.journal.rows(pid)}
    kernel = await boot()
    assert await ask(kernel, pid, "once more") == "fine"
    assert not any(kernel.health().values())


@pytest.mark.parametrize("what", [*RETURNS, *RAISES])
async def test_a_process_that_is_not_to_be_restarted_ends_with_a_reason(boot: Boot, what: str) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("odd")
    assert "error" in await ask(kernel, pid, what)
    with pytest.raises(ProcessFailed):
        await sys.wait(pid, timeout=20)


@pytest.mark.parametrize("show", [None, 5])
async def test_a_tool_that_cannot_tell_what_it_did_has_a_row_and_does_not_act_again(boot: Boot, show: int) -> None:
    till = Till(unwritable=2)
    kernel = await boot(tools={"pay": till})
    sys = await kernel.service("test")
    pid = await sys.spawn("payer", show, supervision=Supervision("transient"))
    with pytest.raises(ProcessFailed, match="has acted"):
        await sys.wait(pid, timeout=20)
    (row,) = [row for row in kernel.journal.rows(pid) if row.name == "call"]
    assert [row.key] == till.keys and kernel.journal.unpack(row.error)["type"] == "ResultLost"
    with pytest.raises(HandlerFailed, match="return JSON data"):
        await sys.call("pay", {"n": 2})


async def test_who_waits_for_such_a_tool_is_told_and_the_next_message_is_answered(boot: Boot) -> None:
    kernel = await boot(tools={"pay": Till(unwritable=1)})
    pid = await (await kernel.service("test")).spawn("cashier", supervision=Supervision("transient"))
    assert isinstance(from_data((await ask(kernel, pid, "one"))["error"]), ResultLost)
    assert await ask(kernel, pid, "two") == {"balance": "12.50"}


async def test_a_result_is_after_a_crash_what_it_was_before(boot: Boot) -> None:
    TYPES.clear()
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("reader")
    await until(lambda: len(TYPES) == 1)
    kernel = await boot()
    await until(lambda: len(TYPES) == 2)
    assert TYPES == ["1 x", "1 x"] and kernel.table.get(pid).life.phase == "running"


def is_quarantined(kernel: Kernel, pid: int) -> bool:
    return kernel.table.get(pid).life.phase == "quarantined" and str(pid) in str(kernel.health()["processes"])


def hide(path: Path, change: str) -> None:
    """Do something to the blobs of a file."""
    store = SQLiteStore(path)
    store._writer.execute(change)
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM blob",
        "UPDATE blob SET data = substr(data, 1, 20)",
        "UPDATE blob SET data = CAST(substr(data, 1, 10) || x'00ff' || substr(data, 13) AS BLOB)",
        "UPDATE process SET state = x'7b'",
        "UPDATE process SET state = CAST(x'23' || randomblob(16) AS BLOB)",
    ],
)
async def test_a_state_that_cannot_be_read_is_in_quarantine(boot: Boot, tmp_path: Path, change: str) -> None:
    kernel = await boot()
    pid = await (await kernel.service("test")).spawn("odd", name="odd", supervision=Supervision("permanent"))
    assert await ask(kernel, pid, "hi") == "fine"
    while kernel.table.get(pid).life.phase != "waiting":
        await asyncio.sleep(0.01)
    await kernel.close()
    hide(tmp_path / "journal.db", change)
    kernel = await boot()
    error = (await ask(kernel, pid, "what did we say?"))["error"]
    assert error["type"] == "JournalDamaged" and str(pid) in error["message"]
    assert is_quarantined(kernel, pid)
    kernel = await boot()
    assert is_quarantined(kernel, pid) and kernel.table.named("odd") == []
    sys = await kernel.service("test")
    with pytest.raises(LLMAgentOSError, match="quarantined"):
        await sys.send(pid, "anybody there?")
    await sys.kill(pid, "seen to")
    assert kernel.health()["processes"] is None
    kernel = await boot()
    assert kernel.health()["processes"] is None


@pytest.mark.parametrize("column", ["args", "budget", "supervision", "usage", "held", "origins", "restarts"])
async def test_who_waits_for_a_process_whose_row_cannot_be_read_is_told(
    boot: Boot, tmp_path: Path, column: str
) -> None:  # fmt: skip
    kernel = await boot()
    sys = await kernel.service("test")
    pid, well = await sys.spawn("odd", name="odd"), await sys.spawn("odd")
    await kernel.runner.pause(pid)
    await sys.send(pid, "hi", reply_to="task/hi", id="hi")
    await kernel.close()
    hide(tmp_path / "journal.db", f"UPDATE process SET {column} = x'7b', status = 'waiting' WHERE name = 'odd'")
    kernel = await boot()
    assert (await kernel.mail.wait("task/hi", 20)).body["error"]["type"] == "JournalDamaged"
    for to in (pid, "odd"):
        with pytest.raises(LLMAgentOSError):
            await (await kernel.service("test")).send(to, "hello")
    assert str(pid) in str(kernel.health()["processes"])
    assert [info["status"] for info in kernel.table.listed() if info["pid"] == pid] == ["quarantined"]
    assert await ask(kernel, well, "and you?") == "fine"


async def test_a_turn_whose_calls_cannot_be_read_is_not_run_on_half_of_them(boot: Boot, tmp_path: Path) -> None:
    kernel = await boot(tools={"pay": Till(unwritable=0)})
    sys = await kernel.service("test")
    pid = await sys.spawn("odd")
    await kernel.runner.pause(pid)
    await sys.send(pid, LONG, reply_to="task/long", id="long")
    await kernel.runner.resume(pid)
    await kernel.mail.wait("task/long", 20)
    await kernel.close()
    hide(tmp_path / "journal.db", "UPDATE process SET upto = 0, status = 'running' WHERE program = 'odd'")
    hide(tmp_path / "journal.db", "DELETE FROM blob")
    kernel = await boot()
    async with asyncio.timeout(20):
        while kernel.table.get(pid).life.phase != "quarantined":
            await asyncio.sleep(0.01)
    with pytest.raises(NotFound):
        await (await kernel.service("test")).send("odd", "hello")
