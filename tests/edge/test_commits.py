"""Commits that fail: each caller gets its own error, nobody waits for ever, health tells, and the work goes on."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import Conflict, HandlerFailed, InvalidRequest, JournalUnavailable, LLMAgentOSError
from llmagent_os.core.records import ANSWER, Json
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.security.identity import check_names
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.kernels import until


async def box(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    await sys.reply(message, message.body)
    return Idle()


async def counting(sys: Sys, args: Json, state: Json) -> Any:
    for _ in range(args):
        await sys.now()
    return args


async def asking(sys: Sys, args: Json, state: Json) -> Any:
    sent = await sys.send(args["to"], args["body"], reply_to=ANSWER, id="same")
    return (await sys.syscall("answer", deadline=5, id=sent)).body


PROGRAMS = {"asking": Program(asking), "box": Program(box, wakes=True), "counting": Program(counting)}


class Faulty(SQLiteStore):
    """A store whose commits do what a test says before they are made."""

    fault: BaseException | float | None = None

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        if isinstance(self.fault, float):
            time.sleep(self.fault)
        elif self.fault is not None:
            raise self.fault
        super().write(batch, patience)


@pytest.fixture(params=["thread", "loop", "memory"])
async def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = None if request.param == "memory" else tmp_path / "journal.db"
    store = Faulty(path)
    store.prompt = request.param == "loop"
    kernel = Kernel(store, PROGRAMS)
    await kernel.start_all()
    yield kernel
    async with asyncio.timeout(15):
        await kernel.close()


def faulty(kernel: Kernel) -> Faulty:
    assert isinstance(kernel.store, Faulty)
    return kernel.store


@pytest.mark.parametrize(
    "bad",
    [
        {"task": {"a": 1}}, {"reply_to": ["b"]}, {"id": ["c"]}, {"task": 2**63}, {"id": "a\ud800"}, {"id": "a\0b"},
        {"to": True}, {"to": 2**63}, {"body": "\ud800"}, {"body": 2**64}, {"body": object()}, {"body": {1, "a"}},
    ],
)  # fmt: skip
async def test_a_value_that_cannot_be_kept_is_refused_and_stops_nobody(kernel: Kernel, bad: dict[str, Any]) -> None:
    sys = await kernel.service("test")
    pid = await sys.spawn("box")
    others = [(await kernel.service("test", tenant=f"tenant{n}")).now() for n in range(10)]
    args: dict[str, Any] = {"to": pid, "body": "x", "reply_to": None, "task": None, "id": None} | bad
    async with asyncio.timeout(20):
        *answers, refused = await asyncio.gather(*others, sys.syscall("send", **args), return_exceptions=True)
    assert isinstance(refused, InvalidRequest)
    assert all(isinstance(answer, float) for answer in answers)
    assert kernel.health()["journal"] is None


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("spawn", {"program": "box", "name": ["a"]}), ("spawn", {"program": ["box"]}), ("wait", {"pid": 2**70}),
        ("kill", {"pid": 1, "reason": {"why": 1}}), ("kill", {"pid": 1, "reason": "\ud800"}), ("wait", {"pid": "1"}),
        ("spawn", {"program": "box", "nice": 2**64}), ("call", {"tool": 7, "arguments": {}}), ("answer", {"id": 1}),
        ("spawn", {"program": "box", "name": "a\0"}), ("sleep", {"until": "soon"}),
    ],
)  # fmt: skip
async def test_every_syscall_says_which_value_it_cannot_take(kernel: Kernel, name: str, args: dict[str, Any]) -> None:
    sys = await kernel.service("test")
    async with asyncio.timeout(20):
        with pytest.raises(InvalidRequest):
            await kernel.door.syscall(sys._process, name, args)
        assert await sys.wait(await sys.spawn("counting", 3)) == 3


@pytest.mark.parametrize("principal", ["ada\ud800", "a\0b", "a b", "", "\x1b[2J", "\x7f", 7, ["ada"]])
async def test_a_principal_is_a_whole_text(kernel: Kernel, principal: Any) -> None:
    with pytest.raises(InvalidRequest):
        check_names("default", principal)


async def test_a_principal_that_no_column_takes_stops_only_its_own_calls(kernel: Kernel) -> None:
    sys = await kernel.service("test")
    async with asyncio.timeout(20):
        with pytest.raises(InvalidRequest):
            await Sys(kernel.door, sys._process, "ada\ud800").now()
        with pytest.raises(InvalidRequest):
            await (await kernel.service("gateway", "ada\ud800", "newtenant")).now()
        assert await sys.now() > 0


@pytest.mark.parametrize(
    "fault", [RuntimeError("odd"), sqlite3.IntegrityError("odd"), ValueError("odd"), OSError(5, "odd"), MemoryError()]
)
async def test_whatever_a_commit_raises_its_callers_hear_and_health_tells(kernel: Kernel, fault: Exception) -> None:
    calls = [await kernel.service("test", tenant=f"tenant{n}") for n in range(5)]
    faulty(kernel).fault = fault
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(sys.now() for sys in calls), return_exceptions=True)
    assert all(isinstance(answer, HandlerFailed | JournalUnavailable) for answer in answers)
    assert kernel.health()["journal"] is not None
    faulty(kernel).fault = None
    async with asyncio.timeout(20):
        while kernel.health()["journal"] is not None:  # found out without anybody's call
            await asyncio.sleep(0.05)
        assert await calls[0].now() > 0


async def test_a_slow_commit_stops_neither_the_loop_nor_whoever_has_a_deadline(tmp_path: Path) -> None:
    kernel = Kernel(Faulty(tmp_path / "journal.db"), PROGRAMS)
    sys = await kernel.service("test")
    pid = await sys.spawn("box")
    faulty(kernel).prompt = False
    faulty(kernel).fault = 3.0
    began = time.monotonic()
    with pytest.raises(JournalUnavailable):
        await sys.syscall("send", deadline=0.3, to=pid, body=7, reply_to="task/late", task=None, id="late")
    assert 0.3 <= time.monotonic() - began < 2.5
    await until(lambda: "not through" in str(kernel.health()["journal"]))
    faulty(kernel).fault = None
    assert (await kernel.mail.wait("task/late", timeout=20)).body == 7, (
        "it was written after all, and woke its receiver"
    )
    assert kernel.health()["journal"] is None
    assert await sys.send(pid, 7, id="late") == "late"
    await kernel.close()


async def test_what_waits_behind_a_slow_commit_is_not_written_once_it_was_given_up(tmp_path: Path) -> None:
    kernel = Kernel(Faulty(tmp_path / "journal.db"), PROGRAMS)
    sys = await kernel.service("test")
    pid = await sys.spawn("box")
    faulty(kernel).prompt = False
    faulty(kernel).fault = 2.0
    first = asyncio.ensure_future(sys.now())
    await asyncio.sleep(0.1)
    with pytest.raises(JournalUnavailable):
        await sys.syscall("send", deadline=0.3, to=pid, body=7, reply_to="task/never", task=None, id="never")
    faulty(kernel).fault = None
    assert await first > 0
    assert await sys.now() > 0
    assert not kernel.table.messages("task/never") and kernel.table.message("never") is None
    await kernel.close()


async def test_a_lock_that_somebody_else_holds_does_not_stop_the_loop(tmp_path: Path) -> None:
    kernel = Kernel(SQLiteStore(tmp_path / "journal.db"), PROGRAMS)
    sys = await kernel.service("test")
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    call = asyncio.ensure_future(sys.now())
    began = time.monotonic()
    await asyncio.sleep(0.05)
    assert not call.done() and time.monotonic() - began < 3
    other.execute("ROLLBACK")
    assert await call > 0
    await kernel.close()


async def test_a_checkpoint_waits_for_no_reader(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "journal.db")
    store.write([("record.put", ("a", "b", 1, b"1", 0.0))])
    reader = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM record").fetchall()
    store.write([("record.put", ("a", "c", 1, b"1", 0.0))])
    began = time.monotonic()
    store.checkpoint()
    assert time.monotonic() - began < 3
    reader.execute("ROLLBACK")
    store.close()


async def test_a_program_goes_on_after_its_journal_came_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.kernel.runner.RETRY_FULL", 0.1)
    kernel = Kernel(Faulty(tmp_path / "journal.db"), PROGRAMS)
    sys = await kernel.service("test")
    pids = [await sys.spawn("counting", 2000) for _ in range(5)]
    faulty(kernel).fault = OSError(30, "read-only file system")
    await asyncio.sleep(0.3)
    faulty(kernel).fault = None
    async with asyncio.timeout(20):
        assert await asyncio.gather(*(sys.wait(pid) for pid in pids)) == [2000] * 5
    assert [len([r for r in kernel.journal.rows(pid) if r.name == "now"]) for pid in pids] == [2000] * 5
    await kernel.close()


async def test_a_system_whose_disk_never_answers_still_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.core.commits.DRAIN", 0.3)
    kernel = Kernel(Faulty(tmp_path / "journal.db"), PROGRAMS)
    sys = await kernel.service("test")
    faulty(kernel).fault = 4.0
    call = asyncio.ensure_future(sys.now())
    await asyncio.sleep(0.1)
    began, worked = time.monotonic(), time.process_time()
    await kernel.close()
    assert time.monotonic() - began < 3.5 and time.process_time() - worked < 1
    call.cancel()


async def test_ids_of_messages_are_of_a_tenant_and_a_box(kernel: Kernel) -> None:
    one = await kernel.service("test")
    other = await kernel.service("test", tenant="rival")
    for sys, where in ((one, "a"), (one, "b"), (other, "a")):
        pid = await sys.spawn("box")
        assert await sys.send(pid, where, reply_to=f"x/{sys.pid}/{where}", id="weekly") == "weekly"
        assert (await kernel.mail.wait(f"x/{sys.pid}/{where}", timeout=20)).body == where
    pid = await one.spawn("box")
    assert await one.send(pid, {"n": 1}, id="x1") == await one.send(pid, {"n": 1}, id="x1") == "x1"
    with pytest.raises(Conflict):
        await one.send(pid, {"n": 2}, id="x1")


async def test_two_who_ask_under_one_id_are_answered_each(kernel: Kernel) -> None:
    sys = await kernel.service("test")
    boxes = [await sys.spawn("box") for _ in range(2)]
    asked = [await sys.spawn("asking", {"to": box, "body": f"for {box}"}) for box in boxes]
    assert await asyncio.gather(*(sys.wait(pid, timeout=20) for pid in asked)) == [f"for {box}" for box in boxes]


async def test_the_same_id_with_another_body_is_a_conflict_also_in_one_group(kernel: Kernel) -> None:
    sys = await kernel.service("test")
    pid = await sys.spawn("box")
    sent = (sys.send(pid, n, reply_to="x/one", id="one") for n in range(5))
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert answers[0] == "one" and all(isinstance(answer, Conflict) for answer in answers[1:])
    assert (await kernel.mail.wait("x/one", timeout=20)).body == 0
    rows = [row for row in kernel.journal.rows(sys.pid) if row.name == "send"]
    assert [row.error is None for row in rows] == [True, False, False, False, False]
    assert not isinstance(answers[0], LLMAgentOSError)


async def test_a_disk_that_turns_out_to_be_slow_stops_the_loop_once(tmp_path: Path) -> None:
    kernel = Kernel(Faulty(tmp_path / "journal.db"), PROGRAMS)
    sys = await kernel.service("test")
    faulty(kernel).fault = 0.8
    await sys.now()
    began, slow = time.monotonic(), asyncio.ensure_future(sys.now())
    await asyncio.sleep(0.02)
    assert not slow.done() and time.monotonic() - began < 0.7
    await slow
    faulty(kernel).fault = None
    await kernel.close()
