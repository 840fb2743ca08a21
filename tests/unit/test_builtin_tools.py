"""The built-in tools: what they do, and what they cannot be made to do."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest

from llmagent_os.core.errors import PermissionDenied, ToolFailed
from llmagent_os.core.records import Grant, Ticket
from llmagent_os.core.trees import remove
from llmagent_os.tools import zones
from llmagent_os.tools.builtin import builtin_tools
from llmagent_os.tools.toolkit import ToolKit
from tests.stand_ins.deep import deepen

TICKET = Ticket("key-1", 7, home="default/tester")
OTHER = Ticket("key-2", 8, home="acme/other")


@pytest.fixture
def kit(tmp_path: Path) -> ToolKit:
    return builtin_tools(tmp_path / "spaces")


async def call(kit: ToolKit, name: str, ticket: Ticket = TICKET, **arguments: Any) -> Any:
    return await kit[name].run(arguments, ticket)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 3 * 4", 14),
        ("-(2 ** 10) // 3", -342),
        ("sqrt(2) * sqrt(2)", pytest.approx(2)),
        ("max(1, 2.5, hypot(3, 4))", 5.0),
        ("sum(120, 75.5)", 195.5),
        ("sum([120, 75, 2 * 3]) / min([4, 3])", 67.0),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("factorial(20) / 1e3", pytest.approx(2432902008176640.0)),
        ("1e308 * 10", "inf"),
        ("round(1234.567, -2) + round(2.6)", 1203.0),
        ("0.1 + 0.2", 0.3),
        ("2,340 * 17.5%", 409.5),
        ("17.5% of 2,340 =", 409.5),
        ("(1,200 + 300) × 2 ÷ 4", 750.0),
        ("max(1,200) + 17 % 5", 202),
        ("17%5", 2),
        ("１２ × ３．５", 42.0),
        ("3² + 2^3 − 1", 16),
        ("$12.50 * 2", 25.0),
    ],
)
async def test_the_calculator_computes(kit: ToolKit, expression: str, result: object) -> None:
    assert await call(kit, "calculator", expression=expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9", "2 ** 5000", "factorial(100000)", "'a' * 9", "().__class__", "open('x')", "sqrt", "1 / 0",
        "(-8) ** 0.5", "max(x=1)", "lambda: 1", "[1 for _ in range(9)]", "1 if 1 else 2", "True + 1", "2 +", "",
        "(" * 300 + "1" + ")" * 300, "-" * 499 + "1", "1" * 501, "f(1)", "sqrt([4])", "sum(a['b'])", "10 ** 400 * 1.0",
        "round(5, -1000000000)", "round(5.5, 10 ** 300)", "round(5, 2.5)",
        "200 + 10%", "20% - 5", "1,23 + 1",
    ],
)  # fmt: skip
async def test_the_calculator_refuses_what_is_no_arithmetic_or_too_large(kit: ToolKit, expression: str) -> None:
    if expression.startswith("--"):
        assert await call(kit, "calculator", expression=expression) == -1
        return
    with pytest.raises(ToolFailed):
        await call(kit, "calculator", expression=expression)


async def test_the_clock_knows_zones(kit: ToolKit) -> None:
    assert (await call(kit, "clock", zone="Asia/Shanghai"))["time"].endswith("+08:00")
    with pytest.raises(ToolFailed, match="Nowhere"):
        await call(kit, "clock", zone="Nowhere")


@pytest.mark.parametrize(
    ("said", "zone"),
    [
        ("Tokyo", "Asia/Tokyo"), ("asia/tokyo", "Asia/Tokyo"), ("东京", "Asia/Tokyo"), ("Osaka, Japan", "Asia/Tokyo"),
        ("Beijing", "Asia/Shanghai"), ("Asia/Beijing", "Asia/Shanghai"), ("北京市", "Asia/Shanghai"),
        ("New York City", "America/New_York"), ("纽约时间", "America/New_York"), ("Germany", "Europe/Berlin"),
        ("Mexico City", "America/Mexico_City"), ("london time", "Europe/London"), ("", "UTC"), ("utc", "UTC"),
        ("UTC+8", "Etc/GMT-8"), ("GMT-5", "Etc/GMT+5"), ("Etc/GMT+5", "Etc/GMT+5"),
    ],
)  # fmt: skip
async def test_the_clock_knows_zones_by_what_people_call_them(kit: ToolKit, said: str, zone: str) -> None:
    assert (await call(kit, "clock", zone=said))["zone"] == zone


def test_every_place_that_is_known_is_in_a_zone_that_there_is() -> None:
    assert set(zones._PLACES) <= available_timezones()


async def test_the_clock_says_what_is_tomorrow(kit: ToolKit) -> None:
    told = await call(kit, "clock")
    assert date.fromisoformat(told["tomorrow"][:10]) == date.fromisoformat(told["time"][:10]) + timedelta(days=1)


async def test_a_wrong_zone_is_told_the_nearest(kit: ToolKit) -> None:
    with pytest.raises(ToolFailed, match="Europe/London"):
        await call(kit, "clock", zone="Europe/Londen")


async def test_a_line_is_added_whether_or_not_the_last_one_ended(kit: ToolKit) -> None:
    await call(kit, "append_file", path="list.txt", text="milk")
    await call(kit, "append_file", path="list.txt", text="\neggs\n")  # on a line of its own all the same, and on one
    await call(kit, "write_file", path="open.txt", text="milk")
    await call(kit, "append_file", path="open.txt", text="eggs")
    assert await call(kit, "read_file", path="list.txt") == "milk\neggs\n"
    assert await call(kit, "read_file", path="open.txt") == "milk\neggs\n"


async def test_a_write_loses_no_file_by_mistake(kit: ToolKit) -> None:
    """A line that was to be added is often written alone: then the rest would be gone."""
    await call(kit, "write_file", path="list.txt", text="milk\neggs\n")
    with pytest.raises(ToolFailed, match=r"all that list.txt has would be lost.*\nmilk\neggs\nCall write_file again"):
        await call(kit, "write_file", path="list.txt", text="butter\n")
    assert await call(kit, "read_file", path="list.txt") == "milk\neggs\n"
    told = await call(kit, "write_file", path="list.txt", text="milk\neggs\nbutter\n")
    assert "in place of what it had" in told
    assert await call(kit, "write_file", path="list.txt", text="milk\neggs\nbutter\n") == told  # again, the same
    await call(kit, "write_file", path="list.txt", text="nothing", replace=True)
    assert await call(kit, "read_file", path="list.txt") == "nothing"


async def test_an_edit_passes_over_white_space_and_names_what_is_nearest(kit: ToolKit) -> None:
    await call(kit, "write_file", path="a.ini", text="[server]\n  port  =  8080\nhost = a\nhost = a\n")
    with pytest.raises(ToolFailed, match=r"the nearest line is: port  =  8080"):
        await call(kit, "edit_file", path="a.ini", old="prot: 8080", new="port = 9090")
    with pytest.raises(ToolFailed, match="nothing was changed: the old text stands 2 times"):
        await call(kit, "edit_file", path="a.ini", old="host = a", new="host = b")
    with pytest.raises(ToolFailed, match=r"stands 2 times in a\.ini: host = a / host = a"):
        await call(kit, "edit_file", path="a.ini", old="host  = a", new="host = b")
    with pytest.raises(ToolFailed, match="nothing was changed"):
        await call(kit, "edit_file", path="a.ini", old="[server]", new="[server]")
    with pytest.raises(ToolFailed, match="no old text"):
        await call(kit, "edit_file", path="a.ini", old=" ", new="x")
    told = await call(kit, "edit_file", path="a.ini", old="port = 8080\n", new="port = 9090\n")
    assert told == "changed a.ini, where it says now: port = 9090"
    assert await call(kit, "read_file", path="a.ini") == "[server]\n  port = 9090\nhost = a\nhost = a\n"


async def test_an_edit_without_an_old_text_adds_the_new_one(kit: ToolKit) -> None:
    await call(kit, "write_file", path="list.txt", text="milk\neggs")
    assert "ends now with: eggs / butter" in await call(kit, "edit_file", path="list.txt", old="", new="butter")
    assert await call(kit, "read_file", path="list.txt") == "milk\neggs\nbutter\n"


async def test_a_file_that_is_not_there_is_told_with_those_that_are(kit: ToolKit) -> None:
    await call(kit, "write_file", path="budget.txt", text="500")
    with pytest.raises(ToolFailed, match=r"there is no file 'budgte.txt' in the workspace; did you mean 'budget.txt'"):
        await call(kit, "read_file", path="budgte.txt")
    narrow = Ticket("k", home=TICKET.home, grant=Grant(paths=("public/*",)))
    with pytest.raises(ToolFailed, match="there are none yet"):  # what the grant does not cover is not named
        await call(kit, "read_file", narrow, path="public/budget.txt")


async def test_files_are_written_read_edited_listed_and_searched(kit: ToolKit) -> None:
    await call(kit, "write_file", path="notes/today.txt", text="buy milk\ncall Ann\n")
    await call(kit, "edit_file", path="notes/today.txt", old="milk", new="Milch")
    assert await call(kit, "read_file", path="notes/today.txt") == "buy Milch\ncall Ann\n"
    assert (await call(kit, "read_file", path="./notes/today.txt", first=2)) == "call Ann\n"
    assert "1 more lines; read on from line 2" in await call(kit, "read_file", path="notes/today.txt", lines=1)
    assert await call(kit, "list_files") == [{"path": "notes/today.txt", "size": 19}]
    assert await call(kit, "list_files", folder="notes", pattern="*.md") == []
    found = await call(kit, "search_files", text="MILCH")
    assert found == [{"path": "notes/today.txt", "line": 1, "text": "buy Milch"}]
    with pytest.raises(ToolFailed, match="0 times"):
        await call(kit, "edit_file", path="notes/today.txt", old="bread", new="")
    assert await call(kit, "list_files", OTHER) == []


async def test_no_path_and_no_link_leads_out_of_the_workspace(kit: ToolKit, tmp_path: Path) -> None:
    await call(kit, "write_file", path="mine.txt", text="mine")
    await call(kit, "write_file", OTHER, path="theirs.txt", text="secret")
    home, theirs = tmp_path / "spaces/default/tester", tmp_path / "spaces/acme/other"
    (home / "file").symlink_to(theirs / "theirs.txt")
    (home / "folder").symlink_to(theirs)
    (home / "up").symlink_to("..")
    os.link(theirs / "theirs.txt", home / "hard")
    os.mkfifo(home / "pipe")
    for path in ("../../acme/other/theirs.txt", "/etc/passwd", "a/../../x", "", "\0", "."):
        with pytest.raises(PermissionDenied):
            await call(kit, "read_file", path=path)
    for path in ("file", "folder/theirs.txt", "up/tester/mine.txt", "hard", "pipe", "mine.txt/x"):
        with pytest.raises(ToolFailed):
            await call(kit, "read_file", path=path)
    for path in ("folder/new.txt", "up/new.txt"):
        with pytest.raises(ToolFailed):
            await call(kit, "write_file", path=path, text="x")
    await call(kit, "write_file", path="file", text="x")  # takes the link's place
    assert (theirs / "theirs.txt").read_text() == "secret" and os.listdir(theirs) == ["theirs.txt"]
    assert {each["path"] for each in await call(kit, "list_files")} == {"file", "hard", "mine.txt"}
    assert await call(kit, "search_files", text="secret") == []


@pytest.mark.parametrize("home", ["default/../../x", "../x", "default/..", "default/service/system", "default/%2E"])
async def test_no_name_of_a_process_leads_out_of_the_workspaces(kit: ToolKit, tmp_path: Path, home: str) -> None:
    await call(kit, "write_file", Ticket("k", home=home), path="a.txt", text="x")
    made = [path.relative_to(tmp_path / "spaces") for path in tmp_path.rglob("a.txt")]
    assert len(made) == 1 and len(made[0].parts) == 3


async def test_a_grant_of_paths_is_kept(kit: ToolKit) -> None:
    await call(kit, "write_file", path="reports/a.txt", text="a")
    await call(kit, "write_file", path="private/b.txt", text="b")
    narrow = Ticket("k", home=TICKET.home, grant=Grant(paths=("reports/*",)))
    assert await call(kit, "read_file", narrow, path="reports/a.txt") == "a"
    assert [each["path"] for each in await call(kit, "list_files", narrow)] == ["reports/a.txt"]
    assert await call(kit, "search_files", narrow, text="b") == []
    for path in ("private/b.txt", "reports/../private/b.txt"):
        with pytest.raises(PermissionDenied):
            await call(kit, "read_file", narrow, path=path)
    with pytest.raises(PermissionDenied, match="paths"):
        await call(kit, "write_file", narrow, path="other.txt", text="")


async def test_sql_is_read_only_unless_asked_for(kit: ToolKit) -> None:
    made = ["CREATE TABLE t(n INTEGER, s TEXT)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')"]
    assert await call(kit, "change_sql", path="db", statements=made) == {"changed": 2}
    assert await call(kit, "query_sql", path="db", query="SELECT * FROM t WHERE n > 1") == {
        "columns": ["n", "s"], "rows": [[2, "b"]],
    }  # fmt: skip
    for query in ("DELETE FROM t", "DROP TABLE t", "PRAGMA journal_mode = WAL", "ATTACH '/tmp/x.db' AS x", "VACUUM"):
        with pytest.raises(ToolFailed, match="SQL"):
            await call(kit, "query_sql", path="db", query=query)
    for statement in ("ATTACH '/tmp/x.db' AS x", "VACUUM INTO '/tmp/x.db'", "PRAGMA writable_schema = 1", "nonsense"):
        with pytest.raises(ToolFailed, match="SQL"):
            await call(kit, "change_sql", path="db", statements=["DELETE FROM t", statement])
    assert (await call(kit, "query_sql", path="db", query="SELECT count(*) FROM t"))["rows"] == [[2]]
    assert (await call(kit, "query_sql", path="db", query="PRAGMA table_info(t)"))["rows"][0][1] == "n"


async def test_sql_is_bounded(kit: ToolKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.tools.builtin_sql.SECONDS", 0.3)
    await call(kit, "change_sql", path="db", statements=["CREATE TABLE t(n)"])
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
    shown = await call(kit, "query_sql", path="db", query=f"{endless} SELECT n FROM c")
    assert len(shown["rows"]) == 500 and "first 500" in shown["more"]
    for query in (f"{endless} SELECT count(*) FROM c", "SELECT hex(zeroblob(1000000000))"):
        with pytest.raises(ToolFailed, match=r"interrupted|too big"):
            await call(kit, "query_sql", path="db", query=query)


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ("'abc' LIKE 'A%'", 1), ("'abc' LIKE '%B%'", 1), ("'abc' LIKE 'a_c'", 1), ("'abc' LIKE 'a_'", 0),
        ("'' LIKE '%'", 1),
        ("'a%c' LIKE 'a!%c' ESCAPE '!'", 1), ("'abc' LIKE 'a!%c' ESCAPE '!'", 0), ("'aXbXc' LIKE 'a%x%c'", 1),
        ("'aba' LIKE 'ab%ba'", 0), ("'ä' LIKE 'Ä'", 0), ("NULL LIKE '%'", None), ("12 LIKE '1%'", 1),
        ("'a.c' LIKE 'a.c'", 1),
        ("'abc' GLOB 'a*'", 1), ("'abc' GLOB 'A*'", 0), ("'abc' GLOB '[^x]b?'", 1), ("'x' || char(10) LIKE 'x%'", 1),
        ("replace(hex(zeroblob(20000)), '0', 'a') LIKE '" + "%a" * 30 + "%b'", 0),
        ("replace(hex(zeroblob(20000)), '0', 'a') GLOB '" + "*a" * 30 + "*b'", 0),
    ],
)  # fmt: skip
async def test_no_pattern_takes_for_ever(kit: ToolKit, query: str, result: Any) -> None:
    await call(kit, "change_sql", path="db", statements=["CREATE TABLE t(n)"])
    began = time.process_time()
    assert (await call(kit, "query_sql", path="db", query=f"SELECT {query}"))["rows"] == [[result]]
    assert time.process_time() - began < 2


async def test_a_database_grows_no_larger_than_a_file_may_be(kit: ToolKit) -> None:
    many = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 100)"
    made = ["CREATE TABLE t(b)", f"INSERT INTO t {many} SELECT zeroblob(1000000) FROM c"]
    with pytest.raises(ToolFailed, match="full"):
        await call(kit, "change_sql", path="db", statements=made)
    assert await call(kit, "list_files") == []
    await call(kit, "change_sql", path="db", statements=[made[0], made[1].replace("100", "20", 1)])


async def test_sql_reads_what_others_wrote_and_nothing_outside(kit: ToolKit, tmp_path: Path) -> None:
    await call(kit, "write_file", path="text", text="hello")
    home = tmp_path / "spaces/default/tester"
    with closing(sqlite3.connect(home / "wal.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t(n)")
        database.execute("INSERT INTO t VALUES (5)")
        database.commit()
    assert (await call(kit, "query_sql", path="wal.db", query="SELECT n FROM t"))["rows"] == [[5]]
    (tmp_path / "journal.db").write_bytes((home / "wal.db").read_bytes())
    (home / "link.db").symlink_to(tmp_path / "journal.db")
    with pytest.raises(ToolFailed):
        await call(kit, "query_sql", path="link.db", query="SELECT n FROM t")
    with pytest.raises(ToolFailed, match="no SQLite"):
        await call(kit, "query_sql", path="text", query="SELECT 1")


def test_no_agent_has_them_by_default_and_each_says_what_it_does(kit: ToolKit) -> None:
    for name, tool in kit.items():
        assert tool.spec.description and tool.source == "built in", name
        assert tool.traits.effect == ("write" if name in ("write_file", "append_file", "edit_file", "change_sql") else
                                      "external" if name == "fetch" else "read")  # fmt: skip
        assert tool.traits.trusted == (name in ("calculator", "clock"))


async def test_nothing_that_code_can_leave_in_a_workspace_breaks_its_tools(kit: ToolKit, tmp_path: Path) -> None:
    await call(kit, "write_file", path="notes/a.txt", text="tea")
    home = tmp_path / "spaces/default/tester"
    deepen(home)
    (home / os.fsdecode(b"caf\xe9.txt")).write_text("tea and coffee")
    (home / "notes" / "esc\x1b[2J.txt").write_text("tea")
    try:
        listed = await call(kit, "list_files")
        assert [each.get("path") for each in listed] == [r"caf\xe9.txt", "notes/a.txt", r"notes/esc\x1b[2J.txt", None]
        assert "1 folders could not be looked into: d/d/" in listed[-1]["more"] and len(listed[-1]["more"]) < 2500
        found = await call(kit, "search_files", text="coffee")
        assert found[0] == {"path": r"caf\xe9.txt", "line": 1, "text": "tea and coffee"} and "more" in found[1]
        assert await call(kit, "read_file", path=r"caf\xe9.txt") == "tea and coffee"
        await call(kit, "append_file", path=r"caf\xe9.txt", text="milk")
        await call(kit, "edit_file", path=r"caf\xe9.txt", old="milk", new="oats")
        assert (home / os.fsdecode(b"caf\xe9.txt")).read_text() == "tea and coffee\noats\n"
        await call(kit, "write_file", path="notes/b.txt", text="x")
        with pytest.raises(ToolFailed, match=r"there is no file"):
            await call(kit, "read_file", path=r"missing\xe9.txt")
        await call(kit, "write_file", path=r"new\xe9.txt", text="its name is as it was written")
        assert (home / r"new\xe9.txt").exists()
        deep = "d/" * 3000 + "x.txt"  # longer than the path of any system; each step of it is not
        await call(kit, "write_file", path=deep, text="x")
        assert await call(kit, "read_file", path=deep) == "x"
    finally:
        remove(home)


async def test_a_name_that_is_told_in_words_is_no_way_around_a_grant(kit: ToolKit, tmp_path: Path) -> None:
    await call(kit, "write_file", path="public/a.txt", text="x")
    home = tmp_path / "spaces/default/tester"
    (home / os.fsdecode(b"se\xffcret.txt")).write_text("hidden")
    narrow = Ticket("k", home=TICKET.home, grant=Grant(paths=("public/*",)))
    for path in (r"se\xffcret.txt", r"public\x2f..\x2fse\xffcret.txt", "se\udcffcret.txt", "half\ud83d.txt"):
        with pytest.raises((PermissionDenied, ToolFailed)):
            await call(kit, "read_file", narrow, path=path)
    assert [each["path"] for each in await call(kit, "list_files", narrow)] == ["public/a.txt"]
