"""What a release leaves for the next one: a schema with a version, keys and rows that outlive new fields."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from sys import executable
from typing import Any

import pytest

from llmagent_os.agent.spec import parse, stored
from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core import codec, first
from llmagent_os.core.errors import Conflict, DataFolderBusy, InvalidRequest
from llmagent_os.core.records import (
    Budget,
    EmbedRequest,
    GenerateRequest,
    Grant,
    Json,
    Message,
    ModelSpec,
    Sampling,
    Ticket,
    ToolCall,
    ToolSpec,
    Traits,
)
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.kernel.syscalls import Builtins
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from llmagent_os.monitoring.replay import replay
from llmagent_os.stores import schema
from llmagent_os.stores.schema import VERSION
from llmagent_os.stores.sqlite import SQLiteStore

V1, V2 = (Path(__file__).parents[1] / "fixtures" / folder / "journal.db" for folder in ("folder_v1", "folder_v2"))


@dataclass(frozen=True, slots=True)
class Upgraded(GenerateRequest):
    """A request as a later release may have it."""

    thinking: bool = False
    also: tuple[str, ...] = ()
    more: dict[str, Json] = field(default_factory=dict)


class Pay:
    spec, traits = ToolSpec("pay", "pay"), Traits("external")

    def __init__(self) -> None:
        self.paid: list[tuple[str, Json]] = []

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        self.paid.append((ticket.key, arguments["to"]))
        return "paid"


def programs(kind: type[GenerateRequest], show: int) -> dict[str, Program]:
    async def run(sys: Sys, args: Json, state: Json) -> Any:
        answer = await sys.generate(kind("m", (Message("user", "whom to pay?"),)))
        await sys.call("pay", {"to": answer.text}, show=show)
        await sys.sleep(3600 if args == "hold" else 0)
        return answer.text

    return {"p": Program(run)}


async def start(path: Path, kind: type[GenerateRequest], pay: Pay, asked: list[int], show: int = 100) -> Kernel:
    def script(request: GenerateRequest) -> Reply:
        asked.append(1)
        return Reply(f"supplier {len(asked)}")  # a model that samples

    kernel = Kernel(SQLiteStore(path), programs(kind, show), {"pay": pay})
    kernel.engines.add("m", lambda: open_engine(ModelSpec("m", "scripted", options={"script": script})))
    await kernel.start_all()
    return kernel


async def test_a_new_field_and_another_way_to_show_results_change_no_key(tmp_path: Path) -> None:
    pay, asked = Pay(), list[int]()
    kernel = await start(tmp_path / "j.db", GenerateRequest, pay, asked)
    sys = await kernel.service("test")
    pid, done = await sys.spawn("p", "hold"), await sys.spawn("p")
    await sys.wait(done)
    while len(pay.paid) < 2 or kernel.table.get(pid).seq < 2:
        await asyncio.sleep(0.01)
    await kernel.close()
    kernel = await start(tmp_path / "j.db", Upgraded, pay, asked, show=200)
    await asyncio.sleep(0.2)
    assert len(asked) == len(pay.paid) == 2
    report = await replay(kernel.store, done, programs(Upgraded, 300), Builtins(kernel).table())
    assert report.diverged is None and report.calls == 4
    await kernel.close()


def test_the_canonical_form_has_no_defaults_and_no_order_of_fields() -> None:
    request = GenerateRequest("m", (Message("user", "hi"),), sampling=Sampling(temperature=0.5), stream=False)
    expected = b'{"messages":[{"content":"hi","role":"user"}],"model":"m","sampling":{"temperature":0.5}}'
    assert codec.canonical(request) == expected
    assert codec.canonical(Upgraded("m", request.messages, sampling=request.sampling)) == expected
    assert codec.canonical(Upgraded("m", thinking=True)) == b'{"model":"m","thinking":true}'
    assert codec.generate_request(codec.loads(expected)) == GenerateRequest(
        "m", request.messages, sampling=request.sampling
    )
    assert codec.arguments("send", {}, {"to": 1, "task": None}) == codec.arguments("send", {}, {"to": 1})
    assert codec.canonical({"b": {"y": None, "x": ()}, "a": 1}) == b'{"b":{"y":null,"x":[]},"a":1}'


def test_what_is_read_back_is_what_was_written() -> None:
    request = GenerateRequest(
        "m",
        (
            Message("user", [{"type": "text", "text": "x"}]),
            Message("assistant", "", (ToolCall("1", "pay", {"to": "a", "none": None}),)),
        ),
        tools=(ToolSpec("pay"),), choices=("a",), sampling=Sampling(stop=("x",), logit_bias={"1": 1.0}),
    )  # fmt: skip
    assert codec.generate_request(codec.loads(codec.canonical(request))) == request


@pytest.mark.parametrize(
    "args",
    [
        {"request": GenerateRequest("m", (Message("assistant", "", (ToolCall("1", "t", {"b": 1, "a": 2}),)),))},
        {"request": EmbedRequest("m", ("a", "b"))},
        {"to": 2, "body": {"x": 1}, "reply_to": None, "task": None, "id": None},
        {"tool": "pay", "arguments": {}, "show": 20_000},
    ],
)
def test_the_form_of_the_first_schema_is_all_fields_in_their_order(args: dict[str, Any]) -> None:
    assert first.form("any", args) == codec.dumps(args), "while no field was added to these"


def test_a_new_field_is_no_part_of_the_form_of_the_first_schema() -> None:
    args = codec.loads(codec.canonical({"program": "p", "args": 1, "name": None, "budget": Budget(tokens=5)}))
    args |= {"supervision": None, "grant": codec.loads(codec.canonical(Grant(tools=("a",), shared=True)))}
    made = codec.loads(first.form("spawn", args))
    assert made["budget"] == {"tokens": 5, "money": None, "steps": None, "seconds": None, "depth": None}
    assert list(made["grant"]) == ["tools", "paths", "hosts", "models", "agents", "policy"]


async def system(folder: Path) -> System:
    return await boot(load({"data": folder, "model": "scripted"}))


async def test_fields_that_a_release_does_not_know_stop_neither_the_start_nor_an_agent(tmp_path: Path) -> None:
    running = await system(tmp_path)
    for name in ("bot", "well", "held"):
        await running.agents.create({"name": name, "model": "scripted"})
        await running.agents.ask(name, "hi", session="s", timeout=20)
    pids = {row["name"].split("@")[0]: row["pid"] for row in running.kernel.table.listed() if "@" in str(row["name"])}
    await running.close()
    add_fields(tmp_path / "journal.db", pids["bot"], pids["held"])
    running = await system(tmp_path)
    assert (await running.agents.ask("bot", "again", session="s", timeout=20))["text"] == "again"
    assert (await running.agents.ask("well", "again", session="s", timeout=20))["text"] == "again"
    await running.agents.configure("bot", {"description": "still"})
    await running.agents.delete("bot")
    shown = {row["pid"]: row for row in running.kernel.table.listed()}
    assert "quarantined" in str(shown[pids["held"]]["reason"]), "a grant that cannot be read gives nothing"
    await running.close()


def add_fields(path: Path, budgeted: int, granted: int) -> None:
    """Give rows fields that no release has, one of them in the middle of a turn."""
    with sqlite3.connect(path) as database:
        (value,) = database.execute("SELECT value FROM record WHERE space = 'agent' AND key = 'bot'").fetchone()
        data = codec.loads(value)
        data["budget"]["watts"] = 3
        database.execute(
            "UPDATE record SET value = ? WHERE space = 'agent' AND key = 'bot'", (codec.dumps(data | {"memory": None}),)
        )
        for column, more in (
            ("budget", '[{"tokens":9000,"watts":3}]'),
            ("supervision", '{"restart":"transient","x":1}'),
            ("usage", '{"steps":4,"watts":1.5}'),
        ):
            database.execute(f"UPDATE process SET {column} = ? WHERE pid = ?", (more.encode(), budgeted))
        database.execute("UPDATE process SET status = 'running' WHERE pid IN (?, ?)", (budgeted, granted))
        database.execute("UPDATE process SET held = ? WHERE pid = ?", (b'{"planets":["mars"]}', granted))


def test_a_folder_of_a_newer_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    SQLiteStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(Conflict, match="newer LLMAgentOS"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


@pytest.mark.parametrize(("written", "rows"), [(V1, 52), (V2, 63)])
def test_an_older_folder_is_kept_beside_the_new_one(tmp_path: Path, written: Path, rows: int) -> None:
    path = Path(shutil.copy(written, tmp_path / "journal.db"))
    before = dump(path)
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] == VERSION
        assert database.execute("SELECT count(*) FROM call").fetchone()[0] == rows
    kept = path.with_name(f"journal.db.before-{VERSION}")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert dump(kept) == before
    kept.unlink()
    SQLiteStore(path).close()
    assert not kept.exists(), "nothing to keep where nothing was changed"


def test_an_older_folder_on_which_a_system_runs_is_left_alone(tmp_path: Path) -> None:
    path = Path(shutil.copy(V1, tmp_path / "journal.db"))
    before = dump(path)
    program = "import sys, pathlib; from llmagent_os.stores.folder import Claim\n"
    program += "claim = Claim(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    arguments = [executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as older:
        assert older.stdin is not None and older.stdout is not None
        assert older.stdout.readline().strip() == "held"
        with pytest.raises(DataFolderBusy):
            SQLiteStore(path)
        older.stdin.close()
    assert dump(path) == before


@pytest.mark.parametrize(("written", "step"), [(V1, 1), (V2, 2)])
def test_a_migration_happens_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Path, step: int
) -> None:
    path = Path(shutil.copy(written, tmp_path / "journal.db"))
    before, steps = dump(path), list(schema.MIGRATIONS)
    steps[step] += "INSERT INTO nowhere VALUES (1);"
    monkeypatch.setattr(schema, "MIGRATIONS", tuple(steps))
    with pytest.raises(sqlite3.Error):
        SQLiteStore(path)
    assert dump(path) == before
    monkeypatch.undo()
    SQLiteStore(path).close()
    assert dump(path) != before


@pytest.mark.parametrize("gone", [0, 1, 5])
def test_numbers_go_on_after_all_that_were_given_before(tmp_path: Path, gone: int) -> None:
    path = Path(shutil.copy(V2, tmp_path / "journal.db"))
    with closing(sqlite3.connect(path)) as database, database:  # which kept the last number apart
        (last,) = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'call'").fetchone()
        database.execute("DELETE FROM call WHERE n > ?", (last - gone,))
    store = SQLiteStore(path)
    assert store.read("call.newest") == [(last,)]
    *_, (_, pid, _, *rest) = store.read("call.feed", 0, 1000)
    store.write([("call.add", (pid, 1000, *rest))])
    assert store.read("call.newest") == [(last + 1,)] and store.read("audit.count") == [(63 - gone + 1,)]
    store.close()


def test_a_definition_that_was_kept_drops_what_is_unknown_but_never_in_its_grant() -> None:
    kept = parse({"name": "a"}).data()
    assert stored({**kept, "x": 1, "budget": {"tokens": 4, "watts": 1}, "needs": {"task": "chat", "y": 1}}) == parse(
        {"name": "a", "budget": {"tokens": 4}, "needs": {"task": "chat"}}
    )
    with pytest.raises(InvalidRequest):
        stored({**kept, "grant": {"planets": ["mars"]}})
