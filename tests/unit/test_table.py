"""The process table: one record a pid, what its row says, and rows that cannot be read."""

from __future__ import annotations

import gc
import sqlite3
import weakref
from pathlib import Path

import pytest

from llmagent_os.core.errors import JournalDamaged, NotFound
from llmagent_os.core.life import Life
from llmagent_os.core.records import Budget, Grant, Supervision
from llmagent_os.kernel.journal import Journal
from llmagent_os.kernel.process import Process
from llmagent_os.kernel.table import RECENT, ProcessTable
from llmagent_os.stores.sqlite import SQLiteStore
from llmagent_os.stores.statements import WRITES


def made(table: ProcessTable, name: str | None = None, parent: Process | None = None, parked: bool = True) -> Process:
    """A process whose row is written."""
    budget = (Budget(money=2.0),)
    process = table.create(
        "worker", {"a": 1}, name, parent, budget, Supervision("transient"), parked, grant=Grant(("x",))
    )
    table._store.write([("process.add", process.values(b'{"a":1}'))])
    return process


@pytest.fixture
def table() -> ProcessTable:
    return ProcessTable(Journal(SQLiteStore()))


def other(table: ProcessTable) -> ProcessTable:
    """A table of a system that starts again."""
    return ProcessTable(Journal(table._store))


def test_a_record_is_read_as_it_was_written(table: ProcessTable) -> None:
    boss = made(table, "boss", parked=False)
    child = made(table, "child", boss)
    child.owner_turn, child.restarts = 1, [1.5, 2.5]
    table._store.write([("process.restarts", ("[1.5,2.5]", child.pid))])
    read = other(table).get(child.pid)
    for name in (
        "pid",
        "parent",
        "name",
        "args",
        "life",
        "budgets",
        "supervision",
        "tally",
        "nice",
        "grant",
        "restarts",
    ):
        assert getattr(read, name) == getattr(child, name), name
    assert read.up is not None and read.up.pid == boss.pid and read.up.life == Life("running")


def test_there_is_one_record_a_pid_however_it_is_reached(table: ProcessTable) -> None:
    pid = made(table).pid
    assert table.get(pid) is table.get(pid) is table.of(pid, "default") is table.find(pid)
    again = other(table)
    found = again.get(pid)
    for _ in range(RECENT + 1):
        made(again)
    assert again.get(pid) is found, "held by somebody, it is the one"
    del found
    gc.collect()
    assert again.get(pid).life == Life("waiting")


def test_what_parks_without_a_name_is_in_memory_only_once_somebody_asks_for_it(table: ProcessTable) -> None:
    parked, called, awake = (
        weakref.ref(made(table, name, parked=parked)) for name, parked in ((None, True), ("boss", True), (None, False))
    )
    assert parked() is None and called() is not None and awake() is not None
    assert (found := table.get(1)) is table.get(1) and found.life == Life("waiting")


@pytest.mark.parametrize("pid", [0, -1, 4711, 2**63, -(2**70)])
def test_what_is_not_there_is_not_found(table: ProcessTable, pid: int) -> None:
    with pytest.raises(NotFound, match="ps"):
        table.get(pid)
    assert table.find(pid) is None


def test_a_record_goes_back_to_its_row(table: ProcessTable) -> None:
    process = made(table)
    process.move("pause")
    process.turn, process.upto, process.state, process.restarts = 7, 9, b"{}", [1.0]
    table.reload(process)
    assert (process.life, process.turn, process.upto, process.state) == (Life("waiting"), 0, 0, None)
    assert process.restarts == [] and not process.turn_began


def test_it_counts_what_is_and_lists_what_lives(table: ProcessTable) -> None:
    one, two = made(table, "pair"), made(table, "pair")
    assert table.named("pair") == [one.pid, two.pid] and table.near("pai", "default", "owner") == ["pair"]
    table._store.write([one.move("kill", "enough")])
    assert table.counts() == {"waiting": 1, "stopped": 1} and table.named("pair") == [two.pid]
    assert [(info["status"], info["reason"]) for info in table.listed()] == [("stopped", "enough"), ("waiting", None)]


def test_who_is_awake_is_who_was_in_a_turn_or_has_a_message(table: ProcessTable) -> None:
    running, parked, paused = made(table, parked=False), made(table), made(table, parked=False)
    table._store.write([paused.move("pause")])
    assert table.awake() == [running.pid]
    table._store.write([("message.add", ("m", parked.box, b"1", "", None, None, 0.0, None, "default", "owner"))])
    assert table.awake() == [running.pid, parked.pid]


def test_what_is_in_quarantine_is_known_at_the_start_and_shown(table: ProcessTable) -> None:
    process = made(table, "hurt")
    table._store.write([process.move("quarantine", "quarantined: half a memory")])
    again = other(table)
    assert again.quarantined == {process.pid: "quarantined: half a memory"}
    assert again.listed()[0]["status"] == "quarantined" and again.named("hurt") == []


def test_a_row_that_cannot_be_read_is_said_so_and_the_others_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    table = ProcessTable(Journal(SQLiteStore(path)))
    hurt, well = made(table), made(table)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE process SET supervision = x'7b' WHERE pid = ?", (hurt.pid,))
    again = other(table)
    with pytest.raises(JournalDamaged, match="cannot be read"):
        again.get(hurt.pid)
    assert again.find(hurt.pid) is None and hurt.pid in again.quarantined
    assert [info["status"] for info in again.listed()] == ["quarantined", "waiting"]
    assert again.get(well.pid).pid == well.pid


def test_the_only_statement_that_writes_a_status_is_one(table: ProcessTable) -> None:
    writers = [name for name, text in WRITES.items() if "status = ?" in text and text.startswith("UPDATE process")]
    assert writers == ["process.status"]
