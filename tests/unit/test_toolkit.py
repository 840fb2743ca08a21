"""Functions as tools: what models are shown, what is enforced, and what a hanging one may not do."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from llmagent_os.core.errors import Conflict, PermissionDenied, ToolFailed
from llmagent_os.core.records import Ticket, Traits
from llmagent_os.tools.toolkit import ToolKit, shown_name

TICKET = Ticket("key-1", 7, home="default/tester")


async def test_a_ticket_and_a_key_are_given_and_not_shown() -> None:
    kit = ToolKit()

    @kit.add(effect="read", idempotent=True, meanings={"path": "path"}, name="who")
    def whoami(path: str, ticket: Ticket, idempotency_key: str) -> list[object]:
        """Say who asks."""
        return [path, ticket.home, idempotency_key]

    assert list(kit["who"].spec.parameters["properties"]) == ["path"]
    assert kit["who"].traits == Traits("read", True, meanings={"path": "path"}, keyed=True)
    assert await kit["who"].run({"path": "a"}, TICKET) == ["a", "default/tester", "key-1"]
    with pytest.raises(ToolFailed, match="ticket"):
        await kit["who"].run({"path": "a", "ticket": {}}, TICKET)
    with pytest.raises(Conflict, match="who"):
        kit.add(lambda: 1, "who")


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_timeout_is_kept_and_says_so(kind: str) -> None:
    kit, let_go = ToolKit(), threading.Event()

    def plain() -> None:
        let_go.wait(5)

    async def waits() -> None:
        await asyncio.sleep(5)

    kit.add(plain if kind == "plain" else waits, "slow", timeout=0.1)
    began = time.perf_counter()
    with pytest.raises(ToolFailed, match=r"0\.1 s"):
        await kit["slow"].run({}, TICKET)
    assert time.perf_counter() - began < 4
    let_go.set()


async def test_no_more_calls_at_once_than_a_tool_says_and_none_of_them_blocks_the_loop() -> None:
    kit, running, most = ToolKit(), 0, 0
    lock = threading.Lock()

    @kit.add(concurrency=2)
    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.3)
        with lock:
            running -= 1

    late = 0.0

    async def watch() -> None:
        nonlocal late
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            late = max(late, time.perf_counter() - began)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(kit["work"].run({}, TICKET) for _ in range(6)))
    watching.cancel()
    assert most == 2 and late < 0.25


async def test_hanging_tools_take_nobody_s_place() -> None:
    kit, let_go = ToolKit(), threading.Event()
    kit.add(lambda: let_go.wait(10), "hangs", timeout=0.2)
    kit.add(lambda: "here", "quick")
    hanging = [asyncio.create_task(kit["hangs"].run({}, TICKET)) for _ in range(64)]
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(kit["quick"].run({}, TICKET), 8) == "here"
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "also"), 8) == "also"
    outcomes = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(outcome, ToolFailed) for outcome in outcomes)
    let_go.set()


@pytest.mark.parametrize("raised", [ValueError("no"), StopIteration("no"), SystemExit(3), KeyboardInterrupt()])
async def test_whatever_a_tool_raises_is_its_failure(raised: BaseException) -> None:
    kit = ToolKit()

    def breaks() -> None:
        raise raised

    kit.add(breaks)
    with pytest.raises(ToolFailed, match="breaks failed"):
        await kit["breaks"].run({}, TICKET)


async def test_our_own_errors_pass_as_they_are() -> None:
    kit = ToolKit()

    def refuses(function: str) -> None:
        raise PermissionDenied(f"not you, {function}")

    kit.add(refuses)
    with pytest.raises(PermissionDenied, match="not you, f"):
        await kit["refuses"].run({"function": "f"}, TICKET)


def test_names_fit_what_models_take() -> None:
    assert shown_name("shop_get_/items/{id}") == "shop_get_items_id"
    assert len(shown_name("x" * 100)) == 64
