"""Metrics say what the rows say, however a call ended, and count from the start of the system."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import LLMAgentOSError, NotFound
from llmagent_os.core.records import Call, Usage
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.monitoring.metrics import Metrics, render
from llmagent_os.stores.sqlite import SQLiteStore


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    made = Kernel(SQLiteStore(tmp_path / "journal.db"), {})
    yield made
    await made.close()


def counted(kernel: Kernel) -> Metrics:
    return Metrics(kernel.feed, kernel.journal.unpack, {("note", "odd"): 2})


async def ended(
    kernel: Kernel, seq: int, outcome: Any, cost: Usage, error: LLMAgentOSError | None = None, waited: float = 0.0
) -> None:
    """A generation has ended somehow, two seconds after it began."""
    call = Call(9, "generate", {}, f"1.1.x.{seq}", "default", "ann", 60.0, seq, outcome=outcome, cost=cost)
    call.decision, call.waited = {"model": "small", "engine": "box-2"}, waited
    writes: list[Any] = []
    failed = None if error is None else kernel.journal.pack(error.to_data(), writes)
    writes.append(kernel.journal.row(call, 1, b"{}", None, failed, (time.time() - 2, 2.0)))
    await kernel.journal.append(writes)


async def test_every_end_of_a_call_is_counted_with_what_it_consumed(kernel: Kernel) -> None:
    metrics = counted(kernel)
    await ended(kernel, 1, "ok", Usage(100, 20, 50, 0.25), waited=0.5)
    await ended(kernel, 2, "cancelled", Usage(10, 5, 0, 0.25))
    await ended(kernel, 3, "deadline", Usage(0, 1))
    await ended(kernel, 4, "error", Usage(), NotFound("no such model" + " that is long" * 400))
    text = render(metrics, kernel).decode()
    for outcome in ("ok", "cancelled", "deadline", "NotFound"):
        assert f'llmagent_os_calls_total{{call="generate",outcome="{outcome}"}} 1.0' in text
    for direction, tokens in (("in", 110), ("out", 26), ("cached", 50)):
        labels = f'direction="{direction}",engine="box-2",model="small"'
        assert f"llmagent_os_tokens_total{{{labels}}} {tokens}.0" in text
    assert 'llmagent_os_money_dollars_total{engine="box-2",model="small"} 0.5' in text
    assert 'llmagent_os_generate_seconds_sum{part="waiting"} 0.5' in text
    assert 'llmagent_os_generate_seconds_sum{part="service"} 7.5' in text
    assert 'llmagent_os_call_seconds_count{call="generate"} 4.0' in text
    assert 'llmagent_os_anomalies_total{action="note",cause="odd"} 2.0' in text
    assert metrics.speed() == 2.6  # 26 tokens within ten seconds


async def test_marks_are_no_calls_and_what_was_before_the_start_is_not_counted(kernel: Kernel) -> None:
    await ended(kernel, 1, "ok", Usage(1, 1))
    metrics = counted(kernel)
    sys = await kernel.service("test")
    await sys.now()
    mark = Call(9, "idle", {}, "", "default", "ann", 0.0, 2)
    await kernel.journal.append([kernel.journal.row(mark, 1, b"{}", None, None, (time.time(), 0.0))])
    text = render(metrics, kernel).decode()
    assert 'call="now",outcome="ok"} 1.0' in text
    assert 'call="generate"' not in text and 'call="idle"' not in text
