"""What a system keeps grows with what is said, and with nothing else; what nobody needs any more goes away."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.records import Json, ModelSpec
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.kernel.table import CROWD
from llmagent_os.llm.scripted import open_engine
from llmagent_os.stores.sqlite import SQLiteStore
from llmagent_os.stores.statements import READS

WORDS = [a + b for a in ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo") for b in ("ran", "tel", "mis", "dor")]
TURNS = 60


async def started(folder: Path) -> System:
    """A system with an agent `bot` whose model says `I see.` to everything."""
    system = await boot(load({"data": folder, "model": "scripted"}))
    spec = ModelSpec("short", "scripted", options={"rules": [{"match": "(.*)", "text": "I see."}]})
    system.add_engine("short", await open_engine(spec))
    return system


def said(rng: random.Random) -> str:
    """A kilobyte that compresses as people's words do."""
    return " ".join(rng.choice(WORDS) for _ in range(180))


async def test_a_conversation_costs_the_same_at_every_turn(tmp_path: Path) -> None:
    system, rng, sizes = await started(tmp_path), random.Random(7), {}
    await system.agents.create({"name": "bot", "model": "short"})
    for turn in range(1, TURNS + 1):
        await system.agents.ask("bot", said(rng), session="s", timeout=10)
        if turn % 20 == 0:
            await asyncio.sleep(0.05)  # the turn parks after its answer
            sizes[turn] = size(tmp_path / "journal.db")
    pid = system.kernel.table.named("bot@s")[0]
    state = system.kernel.journal.unpack(system.kernel.table.get(pid).state)
    assert len(state["history"]) == 2 * TURNS
    await system.close()
    early, late = (sizes[40] - sizes[20]) / 20, (sizes[60] - sizes[40]) / 20
    assert late < 1.2 * early + 200  # pages are counted whole
    assert late <= 4096


def size(path: Path) -> int:
    """The bytes of a journal's pages that are in use."""
    with sqlite3.connect(path) as database:
        pages = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")]
    return int(pages[0] * pages[1])


async def hoarder(sys: Sys, args: Json, state: Json) -> Idle:
    """Remembers all it was told."""
    message = await sys.receive()
    told = [*(state or ()), message.body]
    await sys.reply(message, len(told))
    return Idle(told)


async def tell(kernel: Kernel, pid: int, text: str) -> int:
    task = str(random.getrandbits(60))
    await (await kernel.service("test")).send(pid, text, reply_to=f"task/{task}", task=task, id=task)
    return int((await kernel.mail.wait(f"task/{task}", 10)).body)


async def test_collecting_blobs_keeps_every_part_that_is_named(tmp_path: Path) -> None:
    """Also of what is packed while it runs, and relies on parts that were stored before."""
    kernel = Kernel(SQLiteStore(tmp_path / "journal.db"), {"hoarder": Program(hoarder, wakes=True)})
    pid = await (await kernel.service("test")).spawn("hoarder")
    texts = [f"{n} " + "something that is long enough to be a part of its own " * 8 for n in range(40)]
    for text in texts[:30]:
        await tell(kernel, pid, text)
    gone = 0
    for text in texts[30:]:
        async with kernel.journal.sweeping():
            collecting = asyncio.create_task(asyncio.to_thread(kernel.store.collect, 0.0))
            await tell(kernel, pid, text)
            gone += await collecting
    while kernel.table.get(pid).status != "waiting":  # it parks after its answer
        await asyncio.sleep(0.01)
    assert kernel.journal.unpack(kernel.table.get(pid).state) == texts
    await kernel.close()
    again = Kernel(SQLiteStore(tmp_path / "journal.db"), {"hoarder": Program(hoarder, wakes=True)})
    assert again.journal.unpack(again.table.get(pid).state) == texts
    await again.close()


async def test_a_part_that_was_collected_is_written_again(tmp_path: Path) -> None:
    kernel = Kernel(SQLiteStore(tmp_path / "journal.db"), {})
    journal, text = kernel.journal, b'"' + b"a long text " * 200 + b'"'
    for _ in range(2):
        writes: list[tuple[str, tuple[object, ...]]] = []
        (packed,) = await journal.packed(writes, text)
        assert [name for name, _ in writes] == ["blob.add"]
        await journal.append(writes)
        again: list[tuple[str, tuple[object, ...]]] = []
        assert await journal.packed(again, text) == [packed]
        assert again == []
        async with journal.sweeping():
            assert await asyncio.to_thread(kernel.store.collect, 0.0) == 1
    await kernel.close()


async def sleeper(sys: Sys, args: Json, state: Json) -> None:
    await sys.sleep(3600)


async def test_a_message_by_name_costs_the_same_however_many_wait(tmp_path: Path) -> None:
    """And where all are crowded they take turns: the next one goes where the last message is the oldest."""
    kernel = Kernel(SQLiteStore(tmp_path / "journal.db"), {"sleeper": Program(sleeper)})
    sys = await kernel.service("test")
    pids = [await sys.spawn("sleeper", name="queue") for _ in range(3)]
    waiting = [(f"{n}-{pid}", f"pid/{pid}", b"1", "", None, None, 0.0, None, "default", "owner")
               for n in range(300 + CROWD) for pid in pids[: 2 + (n < CROWD)]]  # fmt: skip
    kernel.store.write([("message.add", values) for values in waiting])
    assert {count for count, *_ in kernel.table.loads("queue")} == {CROWD}
    assert kernel.mail.address("queue") == f"pid/{pids[2]}"
    for _ in range(6):
        await sys.send("queue", "x")
    assert [kernel.table.waiting_messages(f"pid/{pid}") - CROWD for pid in pids] == [302, 302, 2]
    await kernel.close()


async def test_what_a_run_leaves_behind_goes_when_its_time_is_over(tmp_path: Path) -> None:
    """One-shot processes with their calls and messages, answered questions, replaced definitions, and their blobs."""
    keep = {"calls": 0.0, "messages": 0.0, "processes": 0.0, "approvals": 0.0, "versions": 0.0, "blobs": 0.0}
    system = await boot(load({"data": tmp_path, "model": "scripted", "retention": keep}))
    await system.agents.create({"name": "bot", "model": "scripted"})
    for _ in range(20):
        _, task = await system.agents.once("bot", {"text": "a question " * 200})
        await system.agents.reply(task, 20)
    for n in range(20):
        await system.agents.configure("bot", {"description": f"v{n}"})
        await system.facts.put("approval", f"q{n}", {"id": f"q{n}", "allowed": n < 10 or None})
    await asyncio.sleep(0.1)
    # a minute on: a period that ends meanwhile is none of those that go on
    now = [time.strftime(form, time.gmtime(time.time() + 60)) for form in ("%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H")]
    periods = ["", *now, "2020-01", "2020-01-31", "2020-01-31T23"]
    system.kernel.store.write([("account.add", ("default/agent/bot", "tokens", period, 1.0)) for period in periods])
    await system.privacy.tidy()
    left = rows(tmp_path / "journal.db")
    assert left.pop("account") == 4  # of periods that go on
    assert left.pop("record") == 10 + 2  # open questions, and the agents
    assert left["call"] + left["process"] < 20 and left["message"] == 0
    assert left["blob"] <= 2  # of the newest process, whose number is not to be given again
    assert system.agents.get("bot").version == 21
    await system.close()


def rows(path: Path) -> dict[str, int]:
    """How many rows there are, by table."""
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


async def test_what_looks_at_everything_does_so_beside_the_event_loop(tmp_path: Path) -> None:
    system, threads = await started(tmp_path), set()
    await system.agents.create({"name": "bot", "model": "short"})
    for text in ("mail ann@example.org " * 200, "again"):
        await system.agents.ask("bot", text, session="s", timeout=20)
    store, scan = system.kernel.store, SQLiteStore.scan

    def noted(query: str, *params: Any) -> list[tuple[Any, ...]]:
        threads.add(threading.current_thread())
        return scan(store, query, *params)

    store.scan = noted  # type: ignore[method-assign]
    assert (await system.privacy.tidy()).keys() >= {"processes", "versions"}
    erased = await system.privacy.erase("default", "owner", ["ann@example.org"])
    assert erased.calls and erased.messages and erased.found == {"ann@example.org": []}
    assert threads and threading.main_thread() not in threads
    await system.close()


def test_no_statement_on_the_event_loop_reads_a_whole_table() -> None:
    """Those that do are of `person`, `erase`, `retain`, `audit`, `past` or `desk`, and run in threads; or are rare."""
    store = SQLiteStore()
    scans = set()
    for name, statement in READS.items():
        number = max((int(n) for n in re.findall(r"\?(\d)", statement)), default=statement.count("?"))
        plan = [row[3] for row in store._writer.execute(f"EXPLAIN QUERY PLAN {statement}", [1] * number)]
        own = re.findall(r"WITH RECURSIVE (\w+)", statement)  # what the statement has made itself
        whole = [
            step for step in plan if step.startswith("SCAN") and "(subquery" not in step and "CONSTANT" not in step
        ]
        whole = [step for step in whole if step.split()[1] not in own]
        whole += [step for step in plan if step.endswith("(tenant=?)")]  # all that a tenant ever had
        if any("VIRTUAL TABLE" not in step for step in whole):  # what is given as JSON
            scans.add(name)
    aside = {name for name in scans if name.partition(".")[0] in ("person", "erase", "retain", "audit", "past", "desk")}
    rare = {"process.count", "process.open", "account.list", "message.unanswered", "record.all", "know.places",
            "know.unfound", "fact.places"}  # fmt: skip
    assert scans - aside <= rare


async def works(path: Path, ended: int) -> int:
    """The work that the database has with a start (in thousands of its instructions) after so many processes."""
    kernel = Kernel(SQLiteStore(path), {"sleeper": Program(sleeper), "child": Program(child)})
    sys = await kernel.service("system")
    for _ in range(ended // 50):
        pids = await asyncio.gather(*(sys.spawn("child", name=f"child~{n}") for n in range(50)))
        await asyncio.gather(*(sys.wait(pid) for pid in pids))
    await sys.spawn("sleeper", name="alive")
    kernel.store.checkpoint()
    used = kernel.table.get(1).tally
    await kernel.close()
    store, done = SQLiteStore(path), 0

    def count() -> int:
        nonlocal done
        done += 1
        return 0

    store._reader.set_progress_handler(count, 1000)
    kernel = Kernel(store, {"sleeper": Program(sleeper), "child": Program(child)})
    await kernel.start_all()
    sys = await kernel.service("system")
    assert kernel.table.get(1).tally == used
    assert kernel.mail.address("alive") and not kernel.table.named_like("child~")
    pid = await sys.spawn("child", name="again")
    await sys.wait(pid)
    store._reader.set_progress_handler(None, 0)
    await kernel.close()
    return done


async def child(sys: Sys, args: Json, state: Json) -> float:
    return await sys.now()


async def test_a_start_does_not_read_the_past(tmp_path: Path) -> None:
    little, much = await works(tmp_path / "little.db", 50), await works(tmp_path / "much.db", 2000)
    assert much <= little + 2


async def test_a_definition_is_stored_once_and_changed_for_all_sessions_at_once(tmp_path: Path) -> None:
    system = await started(tmp_path)
    prompt = " ".join(f"Rule {n}: be careful with {n * 7919 % 997}." for n in range(200))
    await system.agents.create({"name": "bot", "model": "short", "prompt": prompt})
    for n in range(20):
        await system.agents.ask("bot", "hi", session=f"s{n}", timeout=20)
    _, task = await system.agents.once("bot", {"text": "hi"})
    await system.agents.reply(task, 20)
    await asyncio.sleep(0.1)
    with sqlite3.connect(tmp_path / "journal.db") as database:
        (largest,) = database.execute("SELECT max(length(args)) FROM process WHERE program = 'agent'").fetchone()
        texts = [zlib.decompress(data) for (data,) in database.execute("SELECT data FROM blob")]
    assert largest < 400
    assert sum(prompt.encode() in text for text in texts) == 1
    store, write, commits = system.kernel.store, SQLiteStore.write, list[int]()

    def counted(*given: Any) -> None:
        commits.append(len(given[0]))
        write(store, *given)

    store.write = counted  # type: ignore[method-assign]
    await system.agents.configure("bot", {"description": "new"})
    assert len(commits) <= 2 and sum(commits) > 20  # the sessions, and the act itself
    await system.close()
