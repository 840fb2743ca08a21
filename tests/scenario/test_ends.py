"""The bill: every end of a call has a row with what it really consumed, and everybody who counts has the same count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import DeadlineExceeded, EngineUnavailable
from llmagent_os.core.ports import Syscall, own, uncovered
from llmagent_os.core.records import Budget, Call, Chunk, GenerateRequest, Json, Message, ModelSpec, Sampling
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.budget import budgets
from llmagent_os.kernel.journal import Row
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Process, Program
from llmagent_os.llm.scripted import ScriptedEngine, open_engine
from llmagent_os.monitoring.replay import replay
from tests.stand_ins.flaky import FlakyEngine
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.kernels import Boot, kernels, until

DOLLAR = {"input_price": 1e6, "output_price": 1e6}  # a token
PAID = ModelSpec("paid", "scripted", options={"rules": [{"match": ".", "text": "abcd" * 40, "pace": 0.02}]}, **DOLLAR)
ASKED = GenerateRequest("paid", (Message("user", "hi"),))
UNTIL = {"hurried": 0.3, "patient": 60.0}


def watch(chunk: Chunk) -> None:
    """Makes a call one whose pieces are streamed."""


async def asks(sys: Sys, args: Json, state: Json) -> Any:
    """An actor that generates with a deadline, and says how that went."""
    message = await sys.receive()
    try:
        answer = (await sys.generate(ASKED, watch, UNTIL[message.body])).text
    except DeadlineExceeded:
        answer = "late"
    if args == "stays":
        await sys.sleep(3600)
    await sys.reply(message, answer)
    return Idle()


async def gives_up(sys: Sys, args: Json, state: Json) -> Any:
    """Cancels its own call, and goes on."""
    try:
        async with asyncio.timeout(0.4):
            await sys.generate(ASKED, watch)
    except TimeoutError:
        return await sys.random()


PROGRAMS = {"asks": Program(asks, wakes=True), "gives_up": Program(gives_up)}


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[Boot]:
    async with kernels(tmp_path, PROGRAMS, [PAID], filters=[budgets]) as found:
        yield found


def rows(kernel: Kernel, pid: int, name: str = "generate") -> list[Row]:
    return [row for row in kernel.journal.rows(pid) if row.name == name]


def shown(kernel: Kernel, pid: int) -> dict[str, float]:
    """What `ps` says."""
    return next(info["usage"] for info in kernel.table.listed() if info["pid"] == pid)


def same(kernel: Kernel, pid: int) -> bool:
    """Whether `ps` and the sum of the rows agree."""
    found, usage = kernel.journal.rows(pid), shown(kernel, pid)
    counts = (sum(row.input_tokens for row in found), sum(row.output_tokens for row in found))
    return (*counts, sum(row.money for row in found)) == (
        usage["input_tokens"], usage["output_tokens"], pytest.approx(usage["money"]),
    )  # fmt: skip


async def test_a_call_over_its_deadline_costs_what_was_made_also_after_a_restart(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("asks", "stays")
    await sys.send(pid, "hurried")
    await until(lambda: rows(kernel, pid))
    (row,) = rows(kernel, pid)
    assert row.outcome == "deadline" and 1 < row.output_tokens < 40
    assert row.money == row.input_tokens + row.output_tokens
    assert same(kernel, pid)
    kernel = await boot()
    assert same(kernel, pid) and kernel.table.get(pid).tally.money == row.money
    await asyncio.sleep(0.1)  # it has asked again, and was answered from the row
    assert rows(kernel, pid) == [row] and same(kernel, pid)


async def test_what_a_service_consumed_is_shown_after_restarts_as_well(boot: Boot) -> None:
    for number in (1, 2, 3):
        kernel = await boot()
        await (await kernel.service("test")).generate(replace(ASKED, sampling=Sampling(max_tokens=2)))
        (pid,) = kernel.table.named("service/test")
        assert len(rows(kernel, pid)) == number and same(kernel, pid)


async def test_an_answer_that_breaks_off_costs_money(boot: Boot) -> None:
    kernel = await boot()
    engine = FlakyEngine("broken", [20], **DOLLAR)

    async def opened() -> ScriptedEngine:
        return engine

    kernel.engines.add("broken", opened)
    sys = await kernel.service("test")
    with pytest.raises(EngineUnavailable):
        await sys.generate(GenerateRequest("broken", (Message("user", "words " * 30),)), watch)
    (row,) = rows(kernel, kernel.table.named("service/test")[0])
    assert (row.outcome, row.input_tokens, row.output_tokens, row.money) == ("error", 45, 20, 65.0)
    shares = kernel.dispatchers["broken"].scheduler.shares
    assert shares.had("tenant", "default") > 0  # the scheduler has counted the prompt, too


async def test_an_engine_that_cannot_be_reached_costs_nothing(boot: Boot) -> None:
    kernel = await boot()
    engine = FlakyEngine("down", [0], **DOLLAR)

    async def opened() -> ScriptedEngine:
        return engine

    kernel.engines.add("down", opened)
    sys = await kernel.service("test")
    with pytest.raises(EngineUnavailable):
        await sys.generate(GenerateRequest("down", (Message("user", "hi"),)))
    (row,) = rows(kernel, kernel.table.named("service/test")[0])
    assert (row.outcome, row.input_tokens, row.money) == ("error", 0, 0.0)


async def test_who_gives_up_has_paid_and_a_replay_gives_up_too(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("gives_up")
    assert 0 <= await sys.wait(pid) < 1
    (row,) = rows(kernel, pid)
    assert row.outcome == "cancelled" and row.money == row.input_tokens + row.output_tokens > 1
    assert same(kernel, pid)
    report = await replay(kernel.store, pid, PROGRAMS, kernel.door.table)
    assert report.diverged is None


async def test_a_turn_that_is_ended_has_paid(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    for end in (kernel.runner.interrupt, kernel.runner.kill):
        pid = await sys.spawn("asks")
        await sys.send(pid, "patient")
        await until(lambda pid=pid: kernel.table.get(pid).engine)
        await asyncio.sleep(0.2)
        await end(pid, "enough")
        (row,) = rows(kernel, pid)
        assert row.outcome == "cancelled" and row.output_tokens > 1 and same(kernel, pid)
        assert [each.seq for each in kernel.journal.rows(pid)] == [1, 2, 3]  # the message, the answer, the end


async def test_a_replay_of_a_turn_that_was_stopped_does_not_wait_as_long_as_it_ran(boot: Boot) -> None:
    kernel = await boot()
    slow = replace(PAID, options={"rules": [{"match": ".", "text": "abcd" * 40, "pace": 0.2}]})
    kernel.engines.add("paid", partial(open_engine, slow))
    sys = await kernel.service("test")
    pid = await sys.spawn("asks")
    await sys.send(pid, "patient")
    await until(lambda: kernel.table.get(pid).engine)
    await asyncio.sleep(2.0)
    await kernel.runner.interrupt(pid, "enough")
    (row,) = rows(kernel, pid)
    assert row.outcome == "cancelled" and row.seconds > 1.9
    began = time.monotonic()
    report = await replay(kernel.store, pid, PROGRAMS, kernel.door.table)
    assert report.diverged is None and time.monotonic() - began < row.seconds


async def test_a_turn_that_goes_on_after_a_restart_has_had_its_time(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("asks", "stays", budget=Budget(seconds=60))
    began = time.monotonic()
    await sys.send(pid, "hurried")
    await until(lambda: rows(kernel, pid, "now"))
    kernel = await boot()
    await asyncio.sleep(1.0)  # and what it has now is added
    await kernel.runner.kill(pid, "enough")
    (draft,) = kernel.ledger.drawn(kernel.table.get(pid), "owner")
    for seconds in (kernel.table.get(pid).tally.seconds, draft.account.used["seconds"]):
        assert 1.25 < seconds < time.monotonic() - began  # nothing is counted twice


async def test_a_stop_of_the_system_is_no_end_but_costs_what_it_cost(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("asks")
    await sys.send(pid, "patient", reply_to="task/a", id="a")
    idle = await sys.spawn("gives_up")
    await sys.wait(idle)
    await until(lambda: kernel.table.get(pid).engine)
    await asyncio.sleep(0.1)
    kernel = await boot()
    (cut,) = rows(kernel, pid)
    assert cut.outcome == "cancelled" and cut.output_tokens > 1 and same(kernel, pid)
    assert (await kernel.mail.wait("task/a", 20)).body == "abcd" * 40  # asked again, under the same key
    assert [(row.outcome, row.key) for row in rows(kernel, pid)] == [("cancelled", cut.key), ("ok", cut.key)]
    await until(lambda: kernel.table.get(pid).life.phase == "waiting")
    assert same(kernel, pid)


async def test_calls_that_consumed_nothing_leave_no_rows_at_a_stop(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("asks", "stays")
    await sys.send(pid, "hurried")
    await until(lambda: rows(kernel, pid, "now"))
    kernel = await boot()
    assert not rows(kernel, pid, "sleep")


async def test_a_caller_that_goes_while_its_row_is_written_leaves_nothing_half_done(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    pid = await sys.spawn("asks")
    service = kernel.table.named("service/test")[0]
    before, append = kernel.table.get(service).tally.steps, kernel.journal.append
    sending = asyncio.ensure_future(sys.send(pid, "hurried", reply_to="task/b", id="b"))

    def cancels(*written: Any) -> Any:
        kernel.journal.append = append  # type: ignore[method-assign]
        asyncio.get_running_loop().call_soon(sending.cancel)
        return append(*written)

    kernel.journal.append = cancels  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert kernel.table.get(service).tally.steps == before + 1
    assert (await kernel.mail.wait("task/b", 20)).body == "late"  # the message was told of, not only kept


async def test_a_caller_that_goes_while_a_long_answer_is_packed_has_paid(boot: Boot) -> None:
    kernel = await boot()
    sys = await kernel.service("test")
    calling = asyncio.ensure_future(sys.generate(replace(ASKED, sampling=Sampling(max_tokens=3))))
    packed = kernel.journal.packed

    async def slowly(*values: Any) -> Any:
        kernel.journal.packed = packed  # type: ignore[method-assign]
        calling.cancel()
        await asyncio.sleep(0.01)  # as where a thread does it
        return await packed(*values)

    kernel.journal.packed = slowly  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await calling
    (row,) = rows(kernel, kernel.table.named("service/test")[0])
    assert (row.outcome, row.output_tokens, row.result) == ("cancelled", 3, None)


async def test_a_handler_that_does_not_let_go_holds_nobody_for_long(boot: Boot) -> None:
    async def stubborn(call: Call, process: Process) -> Json:
        while True:
            try:
                await asyncio.sleep(3)
                return None
            except asyncio.CancelledError:
                continue

    kernel = await boot(syscalls={"stubborn": Syscall(stubborn, 0.1, uncovered, own)})
    sys = await kernel.service("test")
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DeadlineExceeded):
        await sys.syscall("stubborn")
    calling = asyncio.ensure_future(sys.syscall("stubborn"))
    await asyncio.sleep(0.01)
    calling.cancel()
    await asyncio.sleep(0.01)
    calling.cancel()  # who is impatient is not faster, and does not get away without a row
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert loop.time() - began < 2.8  # that of one sleep is three
    found = rows(kernel, kernel.table.named("service/test")[0], "stubborn")
    assert [row.outcome for row in found] == ["deadline", "cancelled"]


# -- over HTTP


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        found.system.add_engine("paid", await open_engine(PAID))
        await found.post("/v1/agents", {"name": "bot", "model": "paid", "prompt": "Help."})
        yield found


async def hang_up(api: Gate, path: str, body: Json, pieces: int) -> None:
    """Read so many pieces of a streamed answer, and go."""
    async with api.session.post(api.running.url + path, json=body) as answer:
        assert answer.status == 200
        async for line in answer.content:
            pieces -= line.startswith(b"data") and b"abcd" in line
            if pieces <= 0:
                answer.close()
                return


async def money(api: Gate) -> float:
    """What the metrics say was spent on the paid model."""
    _, text = await api.get("/metrics")
    lines = [line for line in text.decode().splitlines() if line.startswith("llmagent_os_money_dollars_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.mark.parametrize("model", ["paid", "bot"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": user("hi")}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/responses", {"input": "hi"}),
    ],
)
async def test_hanging_up_is_not_free(api: Gate, path: str, body: dict[str, Json], model: str) -> None:
    if (path, model) == ("/v1/completions", "bot"):
        pytest.skip("an agent takes no raw prompt")
    await hang_up(api, path, body | {"model": model, "stream": True}, 10)

    def spent() -> list[Row]:
        infos = api.kernel.table.listed()
        return [row for info in infos for row in rows(api.kernel, info["pid"])]

    await until(spent)
    (row,) = spent()
    assert row.outcome == "cancelled" and 10 <= row.output_tokens < 40
    assert row.money == row.input_tokens + row.output_tokens == await money(api)
    assert same(api.kernel, row.pid)


@pytest.mark.parametrize("model", ["paid", "bot"])
async def test_hanging_up_before_there_is_anything_to_read_is_not_free(api: Gate, model: str) -> None:
    asking = asyncio.create_task(api.post("/v1/chat/completions", {"model": model, "messages": user("hi")}))
    await until(lambda: any(each.scheduler.running for each in api.kernel.dispatchers.values()))
    await asyncio.sleep(0.1)
    asking.cancel()

    def spent() -> list[Row]:
        return [row for info in api.kernel.table.listed() for row in rows(api.kernel, info["pid"])]

    await until(spent)
    (row,) = spent()
    assert (
        row.outcome == "cancelled" and 1 <= row.input_tokens <= row.money < 40
    )  # of one that streams: its pieces, too
    assert row.money == row.input_tokens + row.output_tokens and same(api.kernel, row.pid)


async def test_a_task_that_is_cancelled_is_not_free(api: Gate) -> None:
    _, sent = await api.post("/v1/agents/bot/messages", {"text": "hi", "session": "s", "wait": 0.2})
    assert (await api.ask("DELETE", f"/v1/tasks/{sent['task']}"))[0] == 204
    pid = api.kernel.table.named("bot@s")[0]
    (row,) = rows(api.kernel, pid)
    assert row.outcome == "cancelled" and row.money > 1 and same(api.kernel, pid)
