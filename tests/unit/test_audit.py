"""The audit log over real SQLite files: whatever is done to the rows or the log is found, and nothing else is."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from llmagent_os.config import Config, load
from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest, NotFound
from llmagent_os.core.records import Call, Usage
from llmagent_os.kernel.journal import Journal, Statement
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.offline import audited, pinned, restored
from llmagent_os.security.audit import RECENT, Audit, Bad, Log, parse, read_checkpoints, verify
from llmagent_os.security.pins import Pin
from llmagent_os.stores.backup import back_up
from llmagent_os.stores.schema import FIRST
from llmagent_os.stores.sqlite import SQLiteStore
from llmagent_os.stores.statements import CALL

COLUMNS = CALL.split(", ")
OTHER = {
    "pid": 900, "seq": 900, "labels": '["rule:other"]', "origins": '["tool other"]', "decision": b"{}",
    "error": b'{"type":"x"}', "result": b"0",
}  # fmt: skip


def write(store: SQLiteStore, pids: Sequence[int], calls: range, large: bool = False) -> None:
    """Commit calls as the door does, of several processes in turns."""
    journal = Journal(store)
    for seq in calls:
        writes: list[Statement] = []
        for pid in pids:
            call = Call(pid, "call", {}, f"{pid}.1.{seq}", "acme", "ann", 60.0, seq, ("from:web", "rule:mail"))
            call.cost = Usage(seq, 2, 1, 0.25)
            args = journal.pack({"tool": "mail", "arguments": {"to": f"{seq}@example.org"}}, writes)
            result = journal.pack("x" * 5000 + str(seq) if large else seq, writes)
            writes.append(journal.row(call, 1, args, result, None, (1e9 + seq, 0.5)))
        store.write(writes)


class Place:
    """A journal with its audit log."""

    def __init__(self, folder: Path, pin: Pin | None = None) -> None:
        self.database, self.folder, self.pin = folder / "journal.db", folder / "audit", pin

    def run(self, *writes: range, crash: bool = False, large: bool = False) -> None:
        """What a system does from its start to its end."""
        store = SQLiteStore(self.database)
        audit = Audit(store, self.folder, writer=store, pin=self.pin)
        for calls in writes:
            write(store, (1, 2, 3), calls, large)
            audit.catch_up()
        if not crash:
            audit.close()
        store.close()

    def sql(self, *statements: str) -> None:
        with sqlite3.connect(self.database) as connection:
            for statement in statements:
                connection.execute(statement)

    def bad(self, **options: Any) -> list[Bad]:
        store = SQLiteStore(self.database)
        try:
            return verify(store, self.folder, **options).bad
        finally:
            store.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Three processes of 40 calls each, closed in good order."""
    made = Place(tmp_path)
    made.run(range(1, 21), range(21, 41))
    return made


def test_an_untouched_journal_is_in_order(place: Place) -> None:
    store = SQLiteStore(place.database)
    found = verify(store, place.folder)
    assert (found.rows, found.bad, found.waiting, found.notes) == (120, [], 0, [])
    assert found.checkpoints == len(read_checkpoints(place.folder)) == 4


@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_of_any_column_is_found(place: Place, column: str) -> None:
    with sqlite3.connect(place.database) as connection:
        where = "WHERE pid = 2 AND seq = 17"
        (before,) = connection.execute(f"SELECT {column} FROM call {where}").fetchone()
        after = OTHER[column] if column in OTHER else before + (1 if isinstance(before, int | float) else before)
        connection.execute(f"UPDATE call SET {column} = ? {where}", (after,))
    first, *_ = place.bad()
    assert (first.kind, first.pid, first.seq) == ("missing" if column in ("pid", "seq") else "changed", 2, 17)


@pytest.mark.parametrize("value", ["NULL", "CAST(args AS TEXT)", "7", "x'ff'"])
def test_a_change_of_type_is_found(place: Place, value: str) -> None:
    place.sql(f"UPDATE call SET args = {value} WHERE pid = 1 AND seq = 3")
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("changed", 1, 3)]


def test_text_that_is_no_text_any_more_is_found(place: Place) -> None:
    place.sql("UPDATE call SET principal = CAST(x'ff' AS TEXT) WHERE pid = 1 AND seq = 3")
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("changed", 1, 3)]


def test_a_row_taken_out_of_the_middle_is_named(place: Place) -> None:
    place.sql("DELETE FROM call WHERE pid = 2 AND seq = 20", "DELETE FROM call WHERE pid = 3 AND seq = 30")
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("missing", 2, 20), ("missing", 3, 30)]


@pytest.mark.parametrize("last", [40, 37, 5, 1])
def test_a_cut_tail_is_named_by_its_first_row(place: Place, last: int) -> None:
    place.sql(f"DELETE FROM call WHERE seq >= {last}")
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("cut", 1, last)]


def test_a_cut_that_only_one_process_suffers_is_named(place: Place) -> None:
    place.sql("DELETE FROM call WHERE pid = 1 AND seq > 38")
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("missing", 1, 39), ("missing", 1, 40)]


def test_swapped_rows_are_found(place: Place) -> None:
    place.sql(
        "UPDATE call SET seq = -7 WHERE pid = 2 AND seq = 7",
        "UPDATE call SET seq = 7 WHERE pid = 2 AND seq = 8",
        "UPDATE call SET seq = 8 WHERE pid = 2 AND seq = -7",
    )
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("changed", 2, 7), ("changed", 2, 8)]


def copied(seq: int, pid: int = 1) -> str:
    others = ", ".join(column for column in COLUMNS if column not in ("pid", "seq"))
    return f"INSERT INTO call({CALL}) SELECT {pid}, {seq}, {others} FROM call WHERE pid = 1 AND seq = 1"


def test_a_row_put_in_is_named(place: Place) -> None:
    place.sql(copied(99))
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("inserted", 1, 99)]


def test_a_row_put_in_for_one_taken_out_is_named(place: Place) -> None:
    place.sql(copied(99), "DELETE FROM call WHERE pid = 2 AND seq = 2")
    assert place.bad()[0] == Bad("missing", "row 2 of process 2 is gone", 2, 2)


def test_a_row_put_in_while_the_system_was_closed_is_never_taken_in(place: Place) -> None:
    place.sql(copied(99))
    place.run(range(41, 43))
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("inserted", 1, 99)]


def test_after_a_crash_the_last_rows_are_taken_in_and_it_says_so(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run(range(1, 5), crash=True)
    store = SQLiteStore(place.database)
    write(store, (1,), range(5, 8))
    assert verify(store, place.folder).waiting == 3
    Audit(store, place.folder).close()
    found = verify(store, place.folder)
    assert (found.rows, found.bad, found.notes) == (15, [], ["opened after a crash; 3 rows taken in"])


def test_what_a_crash_left_half_written_is_dropped(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run(range(1, 5), crash=True)
    for name in ("rows.log", "checkpoints.jsonl"):
        with (place.folder / name).open("ab") as file:
            file.write(b'{"count": 1')
    assert place.bad() == []
    place.run(range(5, 9))
    assert place.bad() == []


def test_large_values_are_checked_too(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run(range(1, 4), large=True)
    assert place.bad() == []
    place.sql(
        "UPDATE blob SET data = (SELECT data FROM blob ORDER BY hash DESC) WHERE hash = (SELECT min(hash) FROM blob)"
    )
    assert [bad.kind for bad in place.bad()] == ["changed"] * 3  # one blob, named by three rows
    place.sql("DELETE FROM blob")
    assert len(place.bad()) == 9


def test_rows_that_may_be_erased_are_amended(place: Place) -> None:
    store = SQLiteStore(place.database)
    audit = Audit(store, place.folder)
    place.sql(
        "DELETE FROM call WHERE pid = 3",
        "UPDATE call SET args = x'', result = NULL WHERE pid = 2 AND seq = 9",
    )
    assert len(verify(store, place.folder).bad) == 41
    audit.amend([(3, seq) for seq in range(1, 41)] + [(2, 9)], "a person's data")
    audit.close()
    found = verify(store, place.folder)
    assert (found.bad, found.notes) == ([], ["amended 41 rows: a person's data"])
    place.sql(copied(7, pid=3))
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("inserted", 3, 7)]


@pytest.mark.parametrize("entry", [0, 59, 60, 119])
def test_a_changed_log_is_found(place: Place, entry: int) -> None:
    data = bytearray((place.folder / "rows.log").read_bytes())
    data[entry * 49 + 30] ^= 1
    (place.folder / "rows.log").write_bytes(data)
    found = place.bad()
    first = 60 * (entry // 60) + 1
    assert found[0] == Bad("log", f"entries {first} to {first + 59} of the log are not those that were signed")
    assert [(bad.kind, bad.pid, bad.seq) for bad in found[1:]] == [("changed", entry % 3 + 1, entry // 3 + 1)]


def test_a_cut_log_is_found(place: Place) -> None:
    data = (place.folder / "rows.log").read_bytes()
    (place.folder / "rows.log").write_bytes(data[:-490])
    assert [bad.kind for bad in place.bad()] == ["log"] + ["inserted"] * 10


def test_a_forged_checkpoint_is_found(place: Place, tmp_path: Path) -> None:
    path = place.folder / "checkpoints.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].replace('"count":120', '"count":60')]) + "\n")
    assert Bad("checkpoint", "the signature of checkpoint 4 does not hold") in place.bad()
    path.write_text("what?\n")
    with pytest.raises(InvalidRequest, match="no checkpoint"):
        place.bad()


def test_a_log_signed_anew_is_shown_by_the_key(place: Place) -> None:
    """Who replaces the whole log has another key."""
    (key,) = {each.key for each in read_checkpoints(place.folder)}
    place.sql("UPDATE call SET principal = 'bob' WHERE pid = 1")
    shutil.rmtree(place.folder)
    place.run()
    assert place.bad() == []
    assert {bad.kind for bad in place.bad(key=key)} == {"checkpoint"}


def test_a_set_back_log_is_shown_by_a_copy_of_a_checkpoint(place: Place) -> None:
    *_, copy = read_checkpoints(place.folder)
    path = place.folder / "checkpoints.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:2]))
    place.sql("DELETE FROM call WHERE seq > 20")
    assert place.bad() == []
    assert [bad.text for bad in place.bad(copies=[copy])] == [
        "the log ends at entry 60; a copy of a checkpoint has 120"
    ]


def year(folder: Path, lines: int) -> None:
    """Put as many checkpoints before the last one as a system that is busy for so many seconds makes."""
    *_, last = read_checkpoints(folder)
    private = Ed25519PrivateKey.from_private_bytes((folder / "signing.key").read_bytes())
    made = [replace(last, at=last.at - number, note="") for number in range(lines, 0, -1)]
    made[lines // 2] = replace(made[lines // 2], note="amended 7 rows: a person's data")
    signed = [replace(each, signature=private.sign(each.body()).hex()) for each in made]
    with (folder / "checkpoints.jsonl").open("wb") as file:
        file.writelines(codec.dumps(each) + b"\n" for each in [*signed, last])


def test_old_checkpoints_are_thinned_out_and_the_log_stays_verifiable(place: Place) -> None:
    path, hours = place.folder / "checkpoints.jsonl", 2
    *_, copy = read_checkpoints(place.folder)[:2]
    year(place.folder, hours * 3600)
    before = path.stat().st_size
    place.run(range(41, 43))
    kept = read_checkpoints(place.folder)
    assert RECENT <= len(kept) <= RECENT + hours + 2
    assert path.stat().st_size < before / 4
    assert place.bad() == [] == place.bad(copies=[copy])
    assert verify(SQLiteStore(place.database), place.folder).notes == ["amended 7 rows: a person's data"]
    place.sql("UPDATE call SET principal = 'bob' WHERE pid = 1 AND seq = 1")
    assert [(bad.kind, bad.pid, bad.seq) for bad in place.bad()] == [("changed", 1, 1)]


def test_a_start_reads_the_last_checkpoint_alone(place: Place) -> None:
    year(place.folder, 500)
    data = (place.folder / "checkpoints.jsonl").read_bytes().splitlines(True)
    (place.folder / "checkpoints.jsonl").write_bytes(b"what?\n" * 100_000 + data[-1] + data[0][:50])
    assert Log(place.folder).last == parse(data[-1])


def test_the_key_is_its_owners(place: Place) -> None:
    assert (place.folder / "signing.key").stat().st_mode & 0o777 == 0o600


def test_a_journal_without_a_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no audit log"):
        verify(SQLiteStore(None), tmp_path / "audit")


def test_rows_from_before_the_log_are_taken_in_by_time(tmp_path: Path) -> None:
    """A journal of a system that had no commit order yet."""
    place = Place(tmp_path)
    with sqlite3.connect(place.database) as connection:
        connection.executescript(f"{FIRST} DROP TRIGGER call_committed; DROP TABLE commit_order;")
        old = "INSERT INTO call VALUES (?,?,1,'call','k','{}',NULL,NULL,'acme','ann','from:a,r:b','a',1,1,1,0,?,1,0,?)"
        rows = [(pid, seq, seq, zlib.crc32(b"k\0{}\0\0")) for pid in (1, 2) for seq in (1, 2, 3)]
        connection.executemany(old, rows)
    connection.close()
    place.run(range(4, 6))
    store = SQLiteStore(place.database)
    assert (verify(store, place.folder).rows, verify(store, place.folder).bad) == (12, [])


class Unread(SQLiteStore):
    """Counts how often the feed is read from the file."""

    reads = 0

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        self.reads += query == "call.feed"
        return super().read(query, *params)


async def test_rows_are_signed_as_they_were_committed_whatever_was_done_to_the_file_since(tmp_path: Path) -> None:
    place = Place(tmp_path)
    store = Unread(place.database)
    writer = SQLiteStore(place.database)
    audit = Audit(store, place.folder, every=0.5, writer=writer)
    kernel = Kernel(writer, {})
    kernel.worker("audit", audit.run(kernel.feed))
    sys = await kernel.service("test")
    for _ in range(30):
        await sys.random()
    place.sql("UPDATE call SET result = '0.5' WHERE seq = 7", "DELETE FROM call WHERE seq = 9")
    async with asyncio.timeout(20):
        while audit.at < kernel.feed.last:
            await asyncio.sleep(0.02)
    assert store.reads == 0
    await kernel.close()
    audit.close()
    store.close()
    assert [(bad.kind, bad.seq) for bad in place.bad()] == [("changed", 7), ("missing", 9)]


# -- strangers: rows that another program puts into the database while the system runs


class Running:
    """A system that runs on a place, and a stranger beside it."""

    def __init__(self, place: Place) -> None:
        self.place, self.store = place, SQLiteStore(place.database)
        self.audit = Audit(self.store, place.folder, writer=self.store, pin=place.pin)

    def write(self, *seqs: int) -> None:
        for seq in seqs:
            write(self.store, (1,), range(seq, seq + 1))

    def look(self) -> None:
        """What happens every second or two."""
        self.store.look()
        self.audit.catch_up()

    def stop(self) -> None:
        self.audit.close()
        self.store.close()


@pytest.fixture
def beside(tmp_path: Path) -> Running:
    running = Running(Place(tmp_path))
    running.write(1, 2, 3)
    running.look()
    return running


def far(seq: int) -> str:
    """Put in a row under a number far beyond the newest."""
    return copied(seq).replace("INSERT INTO call(", "INSERT INTO call(n, ").replace("SELECT ", "SELECT 100000, ", 1)


@pytest.mark.parametrize("put", [copied, far])
@pytest.mark.parametrize("when", ["alone", "before others", "among others", "just before the stop"])
def test_a_row_that_somebody_else_puts_in_is_never_signed(beside: Running, put: Any, when: str) -> None:
    if when == "among others":
        beside.write(4)
    beside.place.sql(put(99))
    if when in ("before others", "among others"):
        beside.write(5, 6)
    if when != "just before the stop":
        beside.look()
        assert "row 99 of process 1" in (beside.audit.trouble() or "")
        assert verify(beside.store, beside.place.folder).bad == [
            Bad("inserted", "row 99 of process 1 was never recorded", 1, 99)
        ]
        beside.write(7)
        beside.look()
    beside.stop()
    found = verify(SQLiteStore(beside.place.database), beside.place.folder)
    assert [(bad.kind, bad.pid, bad.seq) for bad in found.bad] == [("inserted", 1, 99)]
    said = [note for note in found.notes if "row 99 of process 1" in note]
    assert len(said) == (when != "just before the stop")


def test_many_rows_of_a_stranger_are_told_in_one_line(beside: Running) -> None:
    beside.place.sql(*(copied(seq) for seq in range(50, 300)))
    beside.write(4)
    beside.look()
    assert "250 rows, the first of them row 50 of process 1" in (beside.audit.trouble() or "")
    beside.stop()
    assert len(beside.place.bad()) == 250


def test_the_newest_rows_taken_out_beside_the_system_are_told(beside: Running) -> None:
    beside.place.sql("DELETE FROM call WHERE seq >= 2")
    beside.look()
    beside.write(4)
    beside.look()
    beside.stop()
    found = verify(SQLiteStore(beside.place.database), beside.place.folder)
    assert [(bad.kind, bad.seq) for bad in found.bad] == [("missing", 2), ("missing", 3)]
    assert found.notes == ["the newest 2 rows of the journal are gone"]


def test_rows_of_a_commit_that_failed_and_reached_the_file_are_our_own(beside: Running) -> None:
    other, rows = SQLiteStore(beside.place.database), list[Any]()
    write(other, (1,), range(4, 6))
    rows = [tuple(row) for _, *row in other.read("call.feed", 3, -1)]
    beside.audit.doubts(rows)
    beside.write(6)
    beside.look()
    beside.stop()
    assert (beside.audit.trouble(), beside.place.bad()) == (None, [])
    assert verify(other, beside.place.folder).rows == 6


def test_what_a_running_system_has_not_signed_yet_is_waited_for(beside: Running) -> None:
    beside.write(4)
    timer = threading.Timer(0.3, beside.look)
    timer.start()
    found = verify(beside.store, beside.place.folder, patience=10.0)
    timer.join()
    assert (found.rows, found.waiting, found.bad) == (4, 0, [])
    beside.place.sql(copied(99))
    threading.Timer(0.3, beside.look).start()
    assert [bad.kind for bad in verify(beside.store, beside.place.folder, patience=10.0).bad] == ["inserted"]


# -- what is pinned apart from the folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A folder of a system whose audit log is pinned."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = load({"data": tmp_path / "data"})
    config.data.mkdir()
    place_of(config).run(range(1, 21))
    return config


def place_of(config: Config) -> Place:
    return Place(config.data, Pin(config.data))


def set_back(config: Config, copy: Path) -> None:
    shutil.rmtree(config.data)
    shutil.copytree(copy, config.data)


def test_a_folder_that_was_set_back_is_shown_by_what_is_pinned(data: Config, tmp_path: Path) -> None:
    shutil.copytree(data.data, tmp_path / "copy")
    place_of(data).run(range(21, 41))
    assert audited(data).bad == []
    assert (Pin(data.data).path.stat().st_mode & 0o777, Pin(data.data).path.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )
    set_back(data, tmp_path / "copy")
    wanted = "the log ends at entry 60; a copy of a checkpoint has 120"
    assert [bad.text for bad in audited(data).bad] == [wanted]
    running = Running(place_of(data))  # and a start changes nothing of that
    running.write(21)
    running.audit.close()
    assert "audit pin --accept" in (running.audit.trouble() or "")
    assert "a copy of a checkpoint has 120" in audited(data).bad[0].text
    pinned(data, accept=True)  # it was its owner's own doing
    assert audited(data).bad == []
    Running(place_of(data)).stop()
    assert audited(data).bad == []


def test_a_log_that_was_written_anew_is_shown_by_the_pinned_key(data: Config) -> None:
    place = place_of(data)
    place.sql("UPDATE call SET principal = 'bob' WHERE pid = 1")
    shutil.rmtree(place.folder)
    place.run()
    assert {bad.kind for bad in audited(data).bad} >= {"checkpoint"}


def test_a_log_that_was_signed_anew_with_the_stolen_key_is_shown_by_the_pinned_head(data: Config) -> None:
    place = place_of(data)
    key = (place.folder / "signing.key").read_bytes()
    place.sql("UPDATE call SET principal = 'bob' WHERE pid = 1 AND seq = 7")
    shutil.rmtree(place.folder)
    place.folder.mkdir()
    (place.folder / "signing.key").write_bytes(key)
    (place.folder / "stamped").touch()
    Place(data.data).run()
    assert place.bad() == []
    assert "the log up to entry 60 is not that of the copied checkpoint" in [bad.text for bad in audited(data).bad]


def test_who_begins_anew_is_told_so_and_pinned_anew(data: Config) -> None:
    shutil.rmtree(data.data)
    data.data.mkdir()
    place_of(data).run(range(1, 3))
    found = audited(data)
    assert (found.bad, found.notes) == ([], ["begun; another log of 60 entries was pinned for this folder before"])


def test_a_restored_backup_is_pinned_anew_and_another_machine_begins_to(data: Config, tmp_path: Path) -> None:
    back_up(data.data, tmp_path / "backup")
    place_of(data).run(range(21, 41))
    _, kept = pinned(data)
    shutil.rmtree(data.data)
    restored(tmp_path / "backup", data)
    assert (audited(data).bad, audited(data).pinned) == ([], None)
    assert [bad.kind for bad in audited(data, copies=[str(kept)]).bad] == ["log"]  # the rest is lost, and shows
    place_of(data).run()
    assert audited(data).bad == [] and audited(data).pinned is not None
    other = load({"data": tmp_path / "elsewhere"})
    restored(tmp_path / "backup", other)
    assert (audited(other).bad, audited(other).pinned) == ([], None)
    place_of(other).run(range(21, 23))
    assert audited(other).bad == [] and audited(other).pinned is not None


def test_where_nothing_can_be_pinned_the_log_goes_on_and_says_so(
    data: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    place_of(data).run(range(21, 31))
    assert "pinned nowhere" in caplog.text
    assert place_of(data).bad() == []
