"""The scheduler: the limit holds, nobody is skipped, and leaving the line gives nothing away."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from llmagent_os.kernel.scheduler import Scheduler, Ticket, fifo


@given(st.integers(0, 20), st.integers(0, 10), st.integers(1, 10))
def test_fifo_fills_free_places_in_order_of_arrival(waiting: int, running: int, limit: int) -> None:
    tickets = [Ticket(n, n, "t", None, 0.0) for n in range(waiting)]
    chosen = fifo(tickets, running, limit)
    assert list(chosen) == tickets[: max(0, limit - running)]


async def test_no_more_than_the_limit_run_and_all_are_served_in_order() -> None:
    scheduler, order, running, most = Scheduler(), [], 0, 0

    async def work(n: int) -> None:
        nonlocal running, most
        async with scheduler.slot("engine", 2, n, "t", None):
            running += 1
            most = max(most, running)
            order.append(n)
            await asyncio.sleep(0.001)
            running -= 1

    await asyncio.gather(*(work(n) for n in range(10)))
    assert most == 2 and order == list(range(10))
    assert scheduler.queues["engine"].served == 10


async def test_cancelling_in_the_line_or_while_admitted_keeps_the_count_right() -> None:
    scheduler = Scheduler()
    release = asyncio.Event()

    async def work() -> None:
        async with scheduler.slot("engine", 2, 1, "t", None):
            await release.wait()

    tasks = [asyncio.ensure_future(work()) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()  # in the line
    tasks[0].cancel()  # on the engine; its place goes to the next in the line
    await asyncio.sleep(0)
    tasks[3].cancel()  # perhaps admitted in this very tick
    await asyncio.sleep(0.01)
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    queue = scheduler.queues["engine"]
    assert queue.running == 0 and not queue.waiting


async def test_a_hundred_random_cancels_leave_no_place_held() -> None:
    scheduler = Scheduler()

    async def work(n: int) -> None:
        async with scheduler.slot("engine", 2, n, "t", None):
            await asyncio.sleep(0.0001 * (n % 3))

    tasks = [asyncio.ensure_future(work(n)) for n in range(300)]
    for n, task in enumerate(tasks):
        if n % 3 == 0:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert scheduler.queues["engine"].running == 0 and not scheduler.queues["engine"].waiting
