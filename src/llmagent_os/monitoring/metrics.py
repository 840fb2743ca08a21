"""Numbers for Prometheus: calls, tokens and money counted as they pass, the kernel's state read when asked."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..core.errors import LLMAgentOSError
from ..core.ports import Proceed
from ..core.records import Call, Json, Usage
from ..kernel.kernel import Kernel

BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds
RECENT = 10  # seconds over which the speed of generation is taken
_NOW = {
    "running": "Generations that run",
    "waiting": "Generations that wait for a place",
    "held": "Generations that wait for their tenant's quota",
    "limit": "Generations that may run at once",
}
_SINCE = {
    "preemptions": "Generations that gave their place back",
    "saves": "Contexts saved to a page file",
    "restores": "Contexts restored from a page file",
    "damaged": "Page files that could not be restored",
    "read": "Tokens of prompts computed",
    "made": "Tokens generated",
}
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Times:
    """How often something took how many seconds."""

    def __init__(self) -> None:
        self.sum = 0.0
        self._counts = [0] * (len(BUCKETS) + 1)

    def add(self, seconds: float) -> None:
        """Count one."""
        self.sum += seconds
        self._counts[bisect_left(BUCKETS, seconds)] += 1

    def rows(self) -> list[tuple[str, float]]:
        """How many took at most so long, by bound."""
        return list(zip((*map(str, BUCKETS), "+Inf"), map(float, accumulate(self._counts)), strict=True))


def _histogram(name: str, text: str, label: str, times: Mapping[str, Times]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for value, each in times.items():
        family.add_metric((value,), each.rows(), each.sum)
    return family


class Metrics(Collector):
    """A filter that counts every call. It keeps plain numbers: a call must not wait for its own measurement."""

    def __init__(self, anomalies: Mapping[tuple[str, str], int] | None = None) -> None:
        """`anomalies` are counted elsewhere, by what was done and why."""
        self._anomalies = anomalies if anomalies is not None else {}
        self._outcomes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._calls: defaultdict[str, Times] = defaultdict(Times)
        self._parts: defaultdict[str, Times] = defaultdict(Times)
        self._usage: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
        self._recent: deque[tuple[float, int]] = deque()

    async def __call__(self, call: Call, process: Any, proceed: Proceed) -> Any:
        """Let the call proceed and note how it ended, how long it took and what it consumed."""
        began, outcome = time.perf_counter(), "HandlerFailed"
        result: Any = None
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
            self._calls[call.name].add(seconds)
            if call.name == "generate":
                self._parts["waiting"].add(call.waited)
                self._parts["service"].add(max(0.0, seconds - call.waited))
                self._parts["turnaround"].add(seconds)
            if call.cost.input_tokens or call.cost.output_tokens:  # however it ended
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
        yield _histogram("llmagent_os_call_seconds", "Time that syscalls took", "call", self._calls)
        text = "Of a generation: waiting for an engine, service (all the rest), and turnaround (both)"
        yield _histogram("llmagent_os_generate_seconds", text, "part", self._parts)
        yield from self._consumption()
        odd = CounterMetricFamily("llmagent_os_anomalies", "What was out of the ordinary", labels=("action", "cause"))
        for key, number in self._anomalies.items():
            odd.add_metric(key, number)
        yield odd

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
        seen = {name: dispatcher.overview() for name, dispatcher in self._kernel.dispatchers.items()}
        yield from (processes, parts, *_engines(seen))


def _engines(seen: Mapping[str, dict[str, Json]]) -> Iterator[Metric]:
    """What the engines' overviews say."""
    for field, text in _NOW.items():
        gauge = GaugeMetricFamily(f"llmagent_os_engine_{field}", text, labels=("engine",))
        for engine, view in seen.items():
            gauge.add_metric((engine,), view[field])
        yield gauge
    for field, text in _SINCE.items():
        counter = CounterMetricFamily(f"llmagent_os_engine_{field}", text, labels=("engine",))
        for engine, view in seen.items():
            counter.add_metric((engine,), view["counts"][field])
        yield counter
    busy = GaugeMetricFamily("llmagent_os_engine_slots_busy", "Slots that are at work", labels=("engine",))
    speed = GaugeMetricFamily("llmagent_os_engine_speed", "Learned speed by concurrency", labels=("engine", "running"))
    pages = GaugeMetricFamily("llmagent_os_engine_pages", "Contexts in page files", labels=("engine", "tier"))
    size = GaugeMetricFamily("llmagent_os_engine_pages_bytes", "Size of the page files", labels=("engine", "tier"))
    for engine, view in seen.items():
        busy.add_metric((engine,), sum(slot["busy"] for slot in view["slots"]))
        for places, value in view["speeds"].items():
            speed.add_metric((engine, places), value)
        for tier, kept in view["pages"].items():
            pages.add_metric((engine, tier), kept["count"])
            size.add_metric((engine, tier), kept["bytes"])
    yield from (busy, speed, pages, size)


def render(metrics: Metrics, kernel: Kernel) -> bytes:
    """Everything in Prometheus' text format; see `CONTENT_TYPE`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    registry.register(KernelState(kernel))
    return generate_latest(registry)
