"""A tool that may not be called twice, and a system that is stopped while it is at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os import ToolKit
from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import OutcomeUnknown
from llmagent_os.core.records import Grant, Json, Policy, Rule
from llmagent_os.core.sys import Sys
from llmagent_os.gateway.console.audit import line
from llmagent_os.kernel.process import Program
from llmagent_os.monitoring.replay import replay
from llmagent_os.offline import tool_calls
from llmagent_os.plugins import hookimpl


class Shop:
    """Tools that note what they did, and then never answer until the system has been started again."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.began, self.answers, self.known = asyncio.Event(), False, True
        kit = self.kit = ToolKit()

        async def act(tool: str) -> str:
            self.done.append(tool)
            self.began.set()
            if not self.answers:
                await asyncio.sleep(60)
            return tool

        @kit.add(meanings={"what": "text"})
        async def order(what: str) -> str:
            return await act("order")

        @kit.add(effect="read")
        async def look(what: str) -> str:
            return await act("look")

        @kit.add(idempotent=True)
        async def put(what: str) -> str:
            return await act("put")

        @kit.add
        async def pay(what: str, idempotency_key: str) -> str:
            return await act("pay")

        async def book_of(key: str) -> Json:
            return {"result": "booked before"} if self.known else None

        @kit.add(lookup=book_of)
        async def book(what: str) -> str:
            return await act("book")

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(self.kit)

    @hookimpl
    def programs(self) -> dict[str, Program]:
        return {"buyer": Program(buyer), "canceller": Program(canceller)}


async def buyer(sys: Sys, args: Json, state: Json) -> Json:
    try:
        return await sys.call(args, {"what": "a book"})
    except OutcomeUnknown as error:
        return error.message


class World:
    """A system that is stopped while a tool is at work, and started again."""

    def __init__(self, data: Path) -> None:
        self.config, self.shop = load({"data": data, "model": "scripted"}), Shop()
        self.system: System
        self.pid = 0

    async def start(self) -> None:
        self.system = await boot(self.config, [self.shop])

    async def cut_off(self, tool: str, policy: Policy) -> None:
        await self.start()
        self.pid = await self.system.sys.spawn("buyer", tool, grant=Grant(policy=policy))
        await asyncio.wait_for(self.shop.began.wait(), 20)
        await self.system.close()
        self.shop.answers = True
        await self.start()

    async def result(self) -> Json:
        return await self.system.sys.wait(self.pid, timeout=20)

    async def asked(self) -> dict[str, Json]:
        for _ in range(300):
            if found := self.system.approvals.waiting():
                return found[0]
            await asyncio.sleep(0.01)
        raise AssertionError("nobody was asked")

    async def answer(self, allow: bool) -> dict[str, Json]:
        asked = await self.asked()
        await self.system.sys.act("approvals.answer", id=asked["id"], allow=allow)
        return asked


@pytest.fixture
async def world(tmp_path: Path, models_folder: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "data")
    yield made
    await made.system.close()


@pytest.mark.parametrize("tool", ["look", "put", "pay"])
async def test_what_may_be_done_twice_is_simply_done_again(world: World, tool: str) -> None:
    await world.cut_off(tool, Policy())
    assert await world.result() == tool and world.shop.done == [tool, tool]
    assert [row.name for row in world.system.kernel.journal.rows(world.pid)] == ["call", "exit"]


@pytest.mark.parametrize("allow", [True, False])
async def test_a_person_says_what_becomes_of_a_call_that_nobody_knows_of(world: World, allow: bool) -> None:
    await world.cut_off("order", Policy())
    asked = await world.answer(allow)
    assert (asked["tool"], asked["arguments"]) == ("order", {"what": "a book"}) and "nobody knows" in asked["why"]
    result = await world.result()
    assert world.shop.done == ["order"] * (1 + allow)
    assert result == "order" if allow else "may have done its work" in result
    names = [row.name for row in world.system.kernel.journal.rows(world.pid)]
    assert names == ["intent", *["intent"] * allow, "call", "exit"]
    (found,) = tool_calls(world.config, world.pid, 9)
    assert line(*found)["decision"] == ("allowed by owner" if allow else "refused by owner")


async def test_a_call_that_is_cut_off_again_is_asked_about_again(world: World) -> None:
    await world.cut_off("order", Policy())
    world.shop.answers = False
    world.shop.began.clear()
    first = await world.answer(True)
    await asyncio.wait_for(world.shop.began.wait(), 20)
    await world.system.close()
    await world.start()
    world.shop.answers = True
    second = await world.answer(True)
    assert await world.result() == "order" and first["id"] != second["id"] and len(world.shop.done) == 3


@pytest.mark.parametrize(
    ("policy", "times"),
    [
        (Policy(unknown="retry"), 2),
        (Policy(unknown="fail"), 1),
        (Policy(unknown="retry", tools={"order": Rule(unknown="fail")}), 1),
    ],
)
async def test_a_policy_says_what_becomes_of_it(world: World, policy: Policy, times: int) -> None:
    await world.cut_off("order", policy)
    result = await world.result()
    assert len(world.shop.done) == times and (result == "order") is (times == 2)


@pytest.mark.parametrize("known", [True, False])
async def test_a_tool_that_can_tell_is_asked_first(world: World, known: bool) -> None:
    world.shop.known = known
    await world.cut_off("book", Policy(unknown="fail"))
    assert await world.result() == ("booked before" if known else "book")
    assert len(world.shop.done) == 2 - known


async def test_what_was_asked_about_replays(world: World) -> None:
    await world.cut_off("order", Policy())
    await world.answer(True)
    await world.result()
    kernel = world.system.kernel
    report = await replay(kernel.store, world.pid, kernel.programs, kernel.door.table)
    assert (report.calls, report.diverged) == (1, None)


async def canceller(sys: Sys, args: Json, state: Json) -> Json:
    """Gives a call up, and goes on without its answer."""
    call = asyncio.ensure_future(sys.call("order", {"what": "a book"}))
    await sys.receive()
    call.cancel()
    await asyncio.wait({call})
    await sys.receive()
    return "went on"


async def test_a_call_that_its_program_gave_up_is_not_made_again_unasked(world: World) -> None:
    await world.start()
    pid = await world.system.sys.spawn("canceller")
    await asyncio.wait_for(world.shop.began.wait(), 20)
    await world.system.sys.send(pid, "give it up")
    for _ in range(2000):
        if len(world.system.kernel.journal.rows(pid)) == 3:  # the intent, the message, the end of the call
            break
        await asyncio.sleep(0.01)
    await world.system.close()
    await world.start()
    await world.system.sys.send(pid, "and end")
    assert await world.system.sys.wait(pid, timeout=20) == "went on" and world.shop.done == ["order"]


async def test_an_intent_is_durable_before_the_tool_runs(world: World) -> None:
    await world.start()
    pid = await world.system.sys.spawn("buyer", "order")
    await asyncio.wait_for(world.shop.began.wait(), 20)
    rows = world.system.kernel.journal.rows(pid)
    assert [row.name for row in rows] == ["intent"] and b"a book" in rows[0].args
    assert world.system.approvals.waiting() == []
