"""Work in another process: what comes back, and what becomes of it when it takes too long or too much."""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import Any

import pytest

from llmagent_os.core.errors import ContextOverflow, InvalidRequest
from llmagent_os.core.outside import outside


def double(value: Any) -> Any:
    return value * 2


def forever() -> None:
    while True:
        pass


def backtrack() -> bool:
    return re.match(r"(a+)+$", "a" * 60 + "b") is None  # nothing of Python runs meanwhile


def overflow() -> None:
    raise ContextOverflow("too long", tokens=9, window=3)


def zero() -> float:
    print("this is no answer")
    return 1 / 0


def hoard() -> int:
    return len(bytes(2 << 30))


def leave() -> None:
    os._exit(3)


def number() -> int:
    return os.getpid()


def environment(name: str) -> str | None:
    return os.environ.get(name)


async def test_a_result_comes_back_however_large() -> None:
    assert await outside(double, "ab", source="it") == "abab"
    assert await outside(double, b"a" * 3_000_000, source="it") == b"a" * 6_000_000


async def test_it_is_another_process_and_stays_for_the_next_work() -> None:
    first = await outside(number, source="it")
    assert first != os.getpid()
    assert await outside(number, source="it") == first


async def test_an_error_of_ours_is_the_same_here() -> None:
    with pytest.raises(ContextOverflow) as raised:
        await outside(overflow, source="it")
    assert raised.value.facts["window"] == 3


async def test_any_other_names_what_was_read() -> None:
    with pytest.raises(InvalidRequest, match=r"page\.html cannot be read: ZeroDivisionError"):
        await outside(zero, source="page.html")


@pytest.mark.parametrize(
    ("work", "said"), [(forever, "was not read within 0.3 s"), (leave, "its reader ended"), (hoard, "MemoryError")]
)
async def test_what_takes_too_much_is_ended_and_the_next_is_done(work: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"bad.yaml .*{said}"):
        await outside(work, source="bad.yaml", seconds=0.3 if work is forever else 10)
    assert await outside(double, 2, source="it") == 4


async def test_nobody_is_held_up_meanwhile() -> None:
    await outside(double, 1, source="it")
    busy = asyncio.create_task(outside(forever, source="it", seconds=0.5))
    longest = 0.0
    while not busy.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    assert isinstance(busy.exception(), InvalidRequest)
    assert longest < 0.4


async def test_who_waits_no_more_ends_it() -> None:
    pids = [await outside(number, source="it")]
    working = asyncio.create_task(outside(forever, source="it", seconds=60))
    await asyncio.sleep(0.1)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    async with asyncio.timeout(20):
        while os.path.exists(f"/proc/{pids[0]}"):
            await asyncio.sleep(0.01)


async def test_it_is_given_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-123")
    busy = [asyncio.create_task(outside(time.sleep, 0.2, source="it")) for _ in range(2)]
    assert await outside(environment, "SOME_API_KEY", source="it") is None
    await asyncio.gather(*busy)


@pytest.mark.parametrize("work", [backtrack, forever])
async def test_work_without_an_end_is_ended_by_what_it_costs_and_not_by_the_clock(work: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"it was not read within 0.3 s of work, and was given up"):
        await outside(work, source="it", seconds=60, cpu=0.3)
    await outside(time.sleep, 0.5, source="it", cpu=0.3)  # which is no work


async def test_what_one_piece_of_work_cost_is_not_counted_for_the_next() -> None:
    for _ in range(4):
        await outside(spend, 0.2, source="it", cpu=0.5)


def spend(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
