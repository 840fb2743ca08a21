"""Budgets are accounts: they outlive processes, retention and restarts, and what is used up stays used up."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.accounts import Account, Ledger, book, statements
from llmagent_os.core.errors import BudgetExceeded, PermissionDenied, ProcessFailed
from llmagent_os.core.records import (
    Budget,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    Json,
    Message,
    ModelSpec,
    Retention,
    Supervision,
    Ticket,
    ToolSpec,
    Traits,
)
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.journal import Journal
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.kernel.table import ProcessTable
from llmagent_os.llm.scripted import ScriptedEngine, open_engine
from llmagent_os.security.privacy import Privacy
from llmagent_os.stores.facts import StoredFacts
from llmagent_os.stores.schema import FIRST
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.gateway import gate
from tests.stand_ins.kernels import Boot, kernels, until

LONG = "x" * 400


@asynccontextmanager
async def started(folder: Path, **config: Any) -> AsyncIterator[System]:
    system = await boot(load({"data": folder, "model": "scripted", **config}))
    try:
        yield system
    finally:
        await system.close()


async def told(system: System, name: str, text: str, session: str | None = None) -> str:
    """The answer's text, or the name of the error instead."""
    try:
        return str((await system.agents.ask(name, text, session=session, timeout=20))["text"])
    except BudgetExceeded as error:
        return type(error).__name__


async def once(system: System, name: str, text: str) -> str:
    """The same, as `/v1/chat/completions` asks an agent."""
    _, task = await system.agents.once(name, {"text": text})
    try:
        return str((await system.agents.reply(task, 20))["text"])
    except BudgetExceeded as error:
        return type(error).__name__


async def test_what_is_used_up_stays_used_up_and_nothing_is_forgotten(tmp_path: Path, models_folder: Path) -> None:
    async with started(tmp_path) as system:
        await system.agents.create({"name": "poor", "model": "scripted", "budget": {"tokens": 40}})
        assert await told(system, "poor", "hi, I am Ada", "s") == "hi, I am Ada"
        for text in (LONG, LONG, LONG):
            assert await told(system, "poor", text, "s") == "BudgetExceeded"
        (pid,) = system.kernel.table.named("poor@s")
    async with started(tmp_path) as system:  # neither does a restart
        assert await told(system, "poor", LONG, "s") == "BudgetExceeded"
        assert system.kernel.table.named("poor@s") == [pid]
        await system.agents.configure("poor", {"budget": {"tokens": 400}})  # somebody raises it
        assert await told(system, "poor", "and now?", "s") == "and now?"
        assert system.kernel.table.named("poor@s") == [pid]
        while system.kernel.table.get(pid).life.phase != "waiting":
            await asyncio.sleep(0.01)
        state = system.kernel.journal.unpack(system.kernel.table.get(pid).state)
        assert [m["content"] for m in state["history"] if m["role"] == "user"] == ["hi, I am Ada", "and now?"]


async def test_an_agents_budget_is_that_of_all_it_does(tmp_path: Path, models_folder: Path) -> None:
    async with started(tmp_path) as system:
        await system.agents.create({"name": "poor", "model": "scripted", "budget": {"tokens": 60}})
        answers = [await once(system, "poor", "hi") for _ in range(10)]
        assert answers[0] == "hi" and answers[-1] == "BudgetExceeded"
        assert await told(system, "poor", "hi", "other") == await told(system, "poor", "hi") == "BudgetExceeded"
        infos = [info for info in system.kernel.table.listed() if (info["name"] or "").startswith("poor")]
        assert sum(info["usage"]["input_tokens"] + info["usage"]["output_tokens"] for info in infos) <= 60
        assert all(info["status"] in ("done", "stopped") for info in infos if "~once" in info["name"])  # none is left


@pytest.mark.parametrize(("of", "sessions"), [("session", ["BudgetExceeded", "hi"]), ("process", ["hi", "hi"])])
async def test_whose_a_budget_is(tmp_path: Path, models_folder: Path, of: str, sessions: list[str]) -> None:
    async with started(tmp_path) as system:
        await system.agents.create({"name": "poor", "model": "scripted", "budget": {"steps": 6, "of": of}})
        while await told(system, "poor", "hi", "a") != "BudgetExceeded":
            pass
        for pid in system.kernel.table.named("poor@a"):
            await system.sys.kill(pid)
        assert [await told(system, "poor", "hi", name) for name in ("a", "b")] == sessions
        bob = system.agents.acting(await system.kernel.service("web", "bob"))  # whose session "a" is another one
        assert (await bob.ask("poor", "hi", session="a", timeout=20))["text"] == "hi"


async def test_a_budget_of_each_person_and_several_at_once(tmp_path: Path, models_folder: Path) -> None:
    async with started(tmp_path) as system:
        days = {f"{datetime.now(UTC):%Y-%m-%d}"}
        limits = {"budget": {"tokens": 1000, "period": "day"}, "budgets": [{"steps": 8, "of": "person"}]}
        await system.agents.create({"name": "bot", "model": "scripted", **limits})
        people = [system.agents.acting(await system.kernel.service("web", who)) for who in ("ada", "bob")]
        for agents in people:
            assert (await agents.ask("bot", "hi", timeout=20))["text"] == "hi"
        while True:
            try:
                await people[0].ask("bot", "hi", timeout=20)
            except BudgetExceeded as error:
                assert error.facts["account"] == "agent/bot/ada"
                break
        assert (await people[1].ask("bot", "hi", timeout=20))["text"] == "hi"
        found = sqlite3.connect(tmp_path / "journal.db").execute("SELECT account, resource, period FROM account")
        days.add(f"{datetime.now(UTC):%Y-%m-%d}")  # it may have been midnight
        assert {("default/agent/bot", "tokens", day) for day in days} & {*found.fetchall()}


async def test_budgets_of_every_person_and_tenant(tmp_path: Path, models_folder: Path) -> None:
    async with started(tmp_path, budgets={"person": {"tokens": 20, "period": "month"}}) as system:
        request = GenerateRequest("scripted", (Message("user", "hello"),))
        ada, bob = [await system.kernel.service("web", who) for who in ("ada", "bob")]
        with pytest.raises(BudgetExceeded, match="person/ada"):
            for _ in range(20):
                await ada.generate(request)
        assert (await bob.generate(request)).text == "hello"
    async with started(tmp_path, budgets={"tenant": {"tokens": 5}}) as system:
        sys = await system.kernel.service("web", "bob")
        with pytest.raises(BudgetExceeded, match="tenant"):
            for _ in range(5):
                await sys.generate(request)


# -- the kernel's own


async def parent(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    await sys.wait(await sys.spawn("child"))
    await sys.reply(message, "done")
    return Idle()


async def child(sys: Sys, args: Json, state: Json) -> Any:
    for _ in range(20):
        await sys.now()


async def usurper(sys: Sys, args: Json, state: Json) -> Any:
    try:
        await sys.spawn("child", budget=Budget(steps=1, account="agent/other"))
    except PermissionDenied:
        return "refused"


async def crowd(sys: Sys, args: Json, state: Json) -> Any:
    """Make ten calls at once and say how they ended."""
    request = GenerateRequest("paid", (Message("user", "hi"),))
    vectors = lambda: sys.embed("vectors", ["x" * 40])  # noqa: E731
    calls = {
        "generate": lambda: sys.generate(request), "call": lambda: sys.call("dear"), "now": sys.now, "embed": vectors,
    }  # fmt: skip
    ended = await asyncio.gather(*(calls[args]() for _ in range(10)), return_exceptions=True)
    return [type(each).__name__ for each in ended]


SLOW = [{"match": ".", "text": "late", "delay": 60}]


async def sleeper(sys: Sys, args: Json, state: Json) -> Any:
    await (sys.sleep(60) if args == "sleep" else sys.generate(GenerateRequest("slow", (Message("user", "hi"),))))


class Dear:
    """A tool that costs two dollars."""

    spec = ToolSpec("dear")
    traits = Traits(cost=2.0)

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        await asyncio.sleep(0.01)
        return None


class Vectors(ScriptedEngine):
    """Takes its time over vectors."""

    async def embed(self, request: EmbedRequest) -> Embeddings:
        await asyncio.sleep(0.02)
        return await super().embed(request)


async def napper(sys: Sys, args: Json, state: Json) -> Any:
    message = await sys.receive()
    await sys.sleep(0.2)
    await sys.reply(message, "done")
    return Idle()


async def buyer(sys: Sys, args: Json, state: Json) -> Any:
    await sys.call("dear")


PROGRAMS = {
    "parent": Program(parent, wakes=True),
    "child": Program(child),
    "usurper": Program(usurper),
    "crowd": Program(crowd),
    "sleeper": Program(sleeper),
    "napper": Program(napper, wakes=True),
    "buyer": Program(buyer),
}


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Boot]:
    async with kernels(tmp_path, PROGRAMS, filters=[budgets]) as found:
        yield found


def steps(kernel: Kernel, pid: int) -> float:
    (draft,) = kernel.ledger.drawn(kernel.table.get(pid), "owner")
    return draft.account.used["steps"]


async def turn(kernel: Kernel, pid: int, task: str) -> None:
    sys = await kernel.service("test")
    await sys.send(pid, "go", reply_to=f"task/{task}", id=task)
    await kernel.mail.wait(f"task/{task}", 20)


async def test_retention_gives_nothing_back(start: Boot, tmp_path: Path) -> None:
    kernel = await start()
    pid = await (await kernel.service("test")).spawn("parent", budget=Budget(steps=1000))
    for n in range(3):
        await turn(kernel, pid, str(n))
    await (await kernel.service("test")).spawn("child")  # so that the newest process is another's
    before = steps(kernel, pid)
    assert before >= 60
    facts = StoredFacts(kernel.store, kernel.journal.append)
    gone = await Privacy(kernel, kernel.store, facts, tmp_path, Retention(processes=0.0)).tidy()
    assert gone["processes"] == 3
    kernel = await start()
    assert steps(kernel, pid) == before


async def test_charging_reads_no_children(start: Boot) -> None:
    class Counting(SQLiteStore):
        reads = 0

        def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
            self.reads += 1
            return super().read(query, *params)

    kernel = await start()
    pid = await (await kernel.service("test")).spawn("parent", budget=Budget(steps=10_000))
    seen = []
    for number in (1, 30):
        for n in range(number):
            await turn(kernel, pid, f"{number}.{n}")
        kernel = await start(Counting)
        store = kernel.store
        assert isinstance(store, Counting)
        await kernel.service("test")
        store.reads = 0
        await turn(kernel, pid, f"last {number}")
        seen.append(store.reads)
    assert seen[0] == seen[1]


async def test_only_a_service_names_accounts(start: Boot) -> None:
    kernel = await start()
    sys = await kernel.service("test")
    assert await sys.wait(await sys.spawn("usurper")) == "refused"


@pytest.mark.parametrize("period", ["hour", "day", "month", None])
def test_a_period_that_ends_makes_a_budget_full_again(period: Any) -> None:
    now = [datetime(2026, 1, 31, 23, 59, tzinfo=UTC).timestamp()]
    store = SQLiteStore()
    standing = [Budget(tokens=10, account="shared", period=period)]
    ledger = Ledger(store, standing, clock=lambda: now[0])
    process = ProcessTable(Journal(store)).create("any", None, None, None, (), Supervision(), True)

    def account() -> Account:
        return ledger.drawn(process, "ada")[0].account

    entries = ledger.entries(process, "ada", {"tokens": 10, "money": 1.0})
    store.write(statements(entries))
    book(entries)
    assert account().used == {"tokens": 10}
    ledger = Ledger(store, standing, clock=lambda: now[0])  # a restart
    assert account().used == {"tokens": 10}
    now[0] += 61
    assert account().used == ({"tokens": 10} if period is None else {})


def test_what_processes_of_an_earlier_folder_had_is_on_their_accounts(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    database = sqlite3.connect(path)
    database.executescript(FIRST)
    used = b'{"input_tokens":3,"output_tokens":4,"money":0.5,"steps":2,"seconds":1.5}'
    none = b'{"tokens":null,"money":null,"steps":null,"seconds":null,"depth":null}'
    for pid, parent, budget in ((1, 0, b'{"tokens":99,"money":null}'), (2, 1, none), (3, 2, none), (4, 0, none)):
        columns = "pid, parent, program, status, tenant, principal, budget, supervision, usage, upto, created"
        row = (pid, parent, "p", "done", "default", "owner", budget, b"{}", used, 1, 0.0)
        database.execute(f"INSERT INTO process({columns}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)
    columns = (
        "pid, seq, turn, name, key, tenant, principal, input_tokens, output_tokens, cached_tokens, money, started, "
    )
    for seq in (1, 2):  # the second is of a turn that was cut off
        row = (3, seq, 1, "generate", "k", "default", "owner", 10, 20, 0, 1.0, 0.0, 0.0, 0.0, 0)
        database.execute(f"INSERT INTO call({columns} seconds, waited, crc) VALUES ({','.join('?' * 15)})", row)
    database.commit()
    database.close()
    store = SQLiteStore(path)
    found = dict(store.read("account.get", "process/1", ""))
    store.close()
    assert found == {"tokens": 51, "money": 2.5, "steps": 7, "seconds": 4.5}
    assert sqlite3.connect(path).execute("SELECT count(*) FROM account").fetchone() == (4,)


async def test_calls_at_once_do_not_overdraw_money_or_steps(start: Boot) -> None:
    kernel = await start()
    rules = [{"match": ".", "text": "abcd" * 40, "pace": 0.001}]
    spec = ModelSpec("paid", "scripted", input_price=1e6, output_price=1e6, options={"rules": rules})
    kernel.engines.add("paid", lambda: open_engine(spec))
    kernel.tools["dear"] = Dear()  # type: ignore[index]  # a dict, for a plugin to add to
    sys = await kernel.service("test")
    cases = (("generate", Budget(money=50), 50), ("call", Budget(money=5), 5), ("now", Budget(steps=4), 4))
    for call, budget, most in cases:
        pid = await sys.spawn("crowd", call, budget=budget)
        ended = await sys.wait(pid)
        (draft,) = kernel.ledger.drawn(kernel.table.get(pid), "owner")
        resource = "steps" if call == "now" else "money"
        refused = ended.count("BudgetExceeded")
        assert 0 < refused < 10, call
        assert 0 < draft.account.used[resource] <= most + (refused + 1 if call == "now" else 0)  # refusals are steps
        assert not any(draft.account.reserved.values())


async def test_vectors_at_once_do_not_overdraw_a_budget(start: Boot) -> None:
    kernel = await start()
    engine = Vectors(ModelSpec("vectors", "scripted", input_price=1e5))

    async def opened() -> Vectors:
        return engine

    kernel.engines.add("vectors", opened)
    sys = await kernel.service("test")
    for budget, resource, most in ((Budget(tokens=25), "tokens", 30), (Budget(money=2.5), "money", 3)):
        pid = await sys.spawn("crowd", "embed", budget=budget)
        ended = await sys.wait(pid)
        (draft,) = kernel.ledger.drawn(kernel.table.get(pid), "owner")
        assert ended.count("BudgetExceeded") == 7 and draft.account.used[resource] == pytest.approx(most)
        assert not any(draft.account.reserved.values())


class Refusing(SQLiteStore):
    """Finds no room for the next ends of turns."""

    left = 0

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        if self.left and any(name == "process.turn" for name, _ in batch):
            self.left -= 1
            raise OSError(28, "no space left")
        super().write(batch, patience)


async def test_a_turn_whose_end_was_written_at_last_is_charged_once(
    start: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.kernel.runner.RETRY_FULL", 0.05)
    kernel = await start(Refusing)
    pid = await (await kernel.service("test")).spawn("napper", budget=Budget(seconds=100))
    store = kernel.store
    assert isinstance(store, Refusing)
    store.left = 2
    await turn(kernel, pid, "a")
    await until(lambda: store.read("account.get", f"process/{pid}", ""), 10)
    written = dict(store.read("account.get", f"process/{pid}", ""))["seconds"]
    (draft,) = kernel.ledger.drawn(kernel.table.get(pid), "owner")
    assert written >= 0.2 and draft.account.used["seconds"] == pytest.approx(written)


async def test_a_tool_that_is_called_twice_within_a_call_is_paid_for_twice(start: Boot) -> None:
    async def twice(call: Any, process: Any, proceed: Any) -> Any:
        """As the gate does: contained at first, and then to last."""
        if call.name == "call":
            await proceed(call)
        return await proceed(call)

    kernel = await start(filters=[budgets, twice])
    kernel.tools["dear"] = Dear()  # type: ignore[index]  # a dict, for a plugin to add to
    sys = await kernel.service("test")
    pid = await sys.spawn("buyer", budget=Budget(money=4))
    await sys.wait(pid)
    (draft,) = kernel.ledger.drawn(kernel.table.get(pid), "owner")
    assert draft.account.used["money"] == kernel.table.get(pid).tally.money == 4
    with pytest.raises(ProcessFailed, match="budget"):
        await sys.wait(await sys.spawn("buyer", budget=Budget(money=3)))


@pytest.mark.parametrize("tokens", [1000, 100])
async def test_a_strategy_that_asks_often_does_not_wait_for_itself(
    tmp_path: Path, models_folder: Path, tokens: int
) -> None:
    async with started(tmp_path) as system:
        spec = {"decoding": {"strategy": "vote", "width": 3}, "budget": {"tokens": tokens}}
        await system.agents.create({"name": "poll", "model": "scripted", **spec})
        expected = ("words " * 15).strip() if tokens == 1000 else "BudgetExceeded"
        assert await told(system, "poll", "words " * 15) == expected
        (drawn,) = system.kernel.ledger.listed("default")
        assert 0 < drawn[3] <= tokens


async def test_an_answer_that_uses_up_a_budget_is_given(tmp_path: Path, models_folder: Path) -> None:
    async with started(tmp_path) as system:
        await system.agents.create({"name": "poor", "model": "scripted", "prompt": "Help.", "budget": {"tokens": 40}})
        answer = await system.agents.ask("poor", "words " * 20, timeout=20)  # cut to what is left
        used = answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"]
        assert (answer["finish"], used) == ("length", 40)
        assert await told(system, "poor", "hi") == "BudgetExceeded"


async def test_a_budget_of_seconds_cuts_a_call_that_runs(start: Boot) -> None:
    kernel = await start()
    sys = await kernel.service("test")
    kernel.engines.add("slow", lambda: open_engine(ModelSpec("slow", "scripted", options={"rules": SLOW})))
    for what in ("sleep", "generate"):
        pid = await sys.spawn("sleeper", what, budget=Budget(seconds=0.3))
        with pytest.raises(ProcessFailed, match=f"{what} was not answered within 0.[23]"):
            await sys.wait(pid, timeout=20)
        assert kernel.table.get(pid).tally.seconds < 2


async def test_without_a_period_the_present_one_is_credited(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        budgets = [
            {"tokens": 1000, "period": "day"},
            {"steps": 1000, "period": "day"},
            {"steps": 5000, "period": "hour"},
        ]
        await api.post("/v1/agents", {"name": "daily", "model": "scripted", "budgets": budgets})
        await api.post("/v1/agents/daily/messages", {"text": "hello", "wait": 5})

        async def credited(**fields: Any) -> tuple[int, Any]:
            status, told, *_ = await api.post("/v1/accounts", {"account": "agent/daily", "amount": 1} | fields)
            return status, told

        async def used(resource: str) -> list[float]:
            _, found = await api.get("/v1/accounts")
            return [each["used"] for each in found["accounts"] if each["resource"] == resource]

        (before,) = await used("tokens")
        assert (await credited(resource="tokens"))[0] == 204
        assert (await credited(resource="tokens", period="day"))[0] == 204
        assert await used("tokens") == [before - 2]
        status, told = await credited(resource="steps")
        assert status == 404 and "agent/daily steps 2" in told["error"]["message"]  # which of the two is not said
        assert (await credited(resource="steps", period="hour"))[0] == 204
        status, told = await credited(resource="tokens", period="month")
        assert status == 404 and "did you mean 'agent/daily tokens 2" in told["error"]["message"]


async def test_an_account_is_given_something_back(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        await api.post("/v1/agents", {"name": "poor", "model": "scripted", "prompt": "Help.", "budget": {"tokens": 10}})
        said = {"text": "hello", "wait": 5}
        while (await api.post("/v1/agents/poor/messages", said))[0] == 200:
            pass
        _, found = await api.get("/v1/accounts")
        ((drawn),) = found["accounts"]
        assert drawn | {"used": 0} == {
            "account": "agent/poor",
            "resource": "tokens",
            "period": "",
            "used": 0,
            "limit": 10,
        }
        credit = {key: drawn[key] for key in ("account", "resource", "period")} | {"amount": drawn["used"]}
        assert (await api.post("/v1/accounts", credit))[0] == 204
        assert (await api.post("/v1/agents/poor/messages", said))[0] == 200
        status, told = await api.post("/v1/accounts", credit | {"account": "agent/pour"})
        assert status == 404 and "agent/poor" in told["error"]["message"]
        _, key = await api.post("/v1/keys", {"roles": ["user"], "principal": "eve"})
        eve = {"headers": {"Authorization": f"Bearer {key['key']}"}}
        assert (await api.post("/v1/accounts", credit, **eve))[0] == 403
