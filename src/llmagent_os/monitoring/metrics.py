"""Numbers for Prometheus: calls, tokens and money counted as they pass, the kernel's state read when asked."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..core.errors import LLMAgentOSError
from ..core.ports import Proceed
from ..core.records import Call, Usage
from ..kernel.kernel import Kernel

BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds
RECENT = 10  # seconds over which the speed of generation is taken
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """A filter that counts every call. It keeps plain numbers: a call must not wait for its own measurement."""

    def __init__(self) -> None:
        self._outcomes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._usage: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
        self._recent: deque[tuple[float, int]] = deque()

    async def __call__(self, call: Call, process: Any, proceed: Proceed) -> Any:
        """Let the call proceed and note how it ended, how long it took and what it consumed."""
        began, outcome = time.perf_counter(), "HandlerFailed"
        try:
            result = await proceed(call)
            outcome = "ok"
            return result
        except LLMAgentOSError as error:
            outcome = type(error).__name__
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            seconds = time.perf_counter() - began
            self._outcomes[call.name, outcome] += 1
            self._seconds[call.name] += seconds
            self._buckets[call.name][bisect_left(BUCKETS, seconds)] += 1
            if outcome == "ok" and call.cost.input_tokens:
                self._consumed(call, result)

    def _consumed(self, call: Call, result: Any) -> None:
        self._usage[getattr(result, "engine", ""), call.args["request"].model] += call.cost
        self._recent.append((time.monotonic(), call.cost.output_tokens))
        self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - RECENT
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()

    def speed(self) -> float:
        """Generated tokens a second, over the answers that were finished lately."""
        self._forget()
        return sum(tokens for _, tokens in self._recent) / RECENT

    def collect(self) -> Iterator[Metric]:
        """What was counted since the start."""
        calls = CounterMetricFamily("llmagent_os_calls", "Syscalls by name and outcome", labels=("call", "outcome"))
        for (name, outcome), number in self._outcomes.items():
            calls.add_metric((name, outcome), number)
        yield calls
        yield self._histogram()
        yield from self._consumption()

    def _histogram(self) -> Metric:
        times = HistogramMetricFamily("llmagent_os_call_seconds", "Time that syscalls took", labels=("call",))
        for name, counts in self._buckets.items():
            total, rows = 0, []
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                total += count
                rows.append((bound, float(total)))
            times.add_metric((name,), rows, self._seconds[name])
        return times

    def _consumption(self) -> Iterator[Metric]:
        labels = ("engine", "model")
        tokens = CounterMetricFamily("llmagent_os_tokens", "Tokens consumed", labels=(*labels, "direction"))
        money = CounterMetricFamily("llmagent_os_money_dollars", "Money by the models' prices", labels=labels)
        for key, usage in self._usage.items():
            tokens.add_metric((*key, "in"), usage.input_tokens)
            tokens.add_metric((*key, "out"), usage.output_tokens)
            tokens.add_metric((*key, "cached"), usage.cached_tokens)
            money.add_metric(key, usage.money)
        yield from (tokens, money)


class KernelState(Collector):
    """The kernel's state at the moment of asking."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def collect(self) -> Iterator[Metric]:
        """Processes by status, the engines' queues, and which parts are well."""
        processes = GaugeMetricFamily("llmagent_os_processes", "Processes by status", labels=("status",))
        for status, number in self._kernel.table.counts().items():
            processes.add_metric((status,), number)
        parts = GaugeMetricFamily("llmagent_os_up", "1 while a part is well, else 0", labels=("part",))
        for part, trouble in self._kernel.health().items():
            parts.add_metric((part,), 0 if trouble else 1)
        yield from (processes, parts, *self._queues())

    def _queues(self) -> Iterator[Metric]:
        for field, text in (
            ("running", "Generations that run"),
            ("waiting", "Generations that wait for a place"),
            ("limit", "Generations that may run at once"),
        ):
            family = GaugeMetricFamily(f"llmagent_os_engine_{field}", text, labels=("engine",))
            for engine, dispatcher in self._kernel.dispatchers.items():
                value = dispatcher.limit.places if field == "limit" else len(getattr(dispatcher.scheduler, field))
                family.add_metric((engine,), value)
            yield family


def render(metrics: Metrics, kernel: Kernel) -> bytes:
    """Everything in Prometheus' text format; see `CONTENT_TYPE`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    registry.register(KernelState(kernel))
    return generate_latest(registry)
