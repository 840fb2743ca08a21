"""Numbers for Prometheus: calls, tokens and money out of the journal's rows, the kernel's state when asked."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..core import codec
from ..core.errors import JournalDamaged, NotFound
from ..core.records import Json, Usage
from ..kernel.feed import Feed, FeedReader
from ..kernel.journal import MARKS, Row
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
    """A reader of the feed that counts every call since the start. The row is its one source, as it is the bill's."""

    def __init__(
        self, feed: Feed, unpack: Callable[[bytes | None], Any], anomalies: Mapping[tuple[str, str], int]
    ) -> None:
        """`unpack` says what a packed value holds; `anomalies` are counted elsewhere, by what was done and why."""
        self.reader = FeedReader(feed, self.take)
        self._unpack, self._anomalies = unpack, anomalies
        self._outcomes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._calls: defaultdict[str, Times] = defaultdict(Times)
        self._parts: defaultdict[str, Times] = defaultdict(Times)
        self._usage: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
        self._recent: deque[tuple[float, int]] = deque()

    def take(self, rows: Iterable[Row]) -> None:
        """Take in rows in the order in which they were committed."""
        for row in rows:
            if row.name not in MARKS:
                self._take(row)

    def _take(self, row: Row) -> None:
        self._outcomes[row.name, self._outcome(row)] += 1
        self._calls[row.name].add(row.seconds)
        if row.name == "generate":
            self._parts["waiting"].add(row.waited)
            self._parts["service"].add(max(0.0, row.seconds - row.waited))
            self._parts["turnaround"].add(row.seconds)
        if row.input_tokens or row.output_tokens or row.money:
            served = codec.loads(row.decision) if row.decision else {}
            cost = Usage(row.input_tokens, row.output_tokens, row.cached_tokens, row.money)
            self._usage[served.get("engine", ""), served.get("model", "")] += cost
            self._recent.append((row.started + row.seconds, row.output_tokens))
            self._forget()

    def _outcome(self, row: Row) -> str:
        """`ok`, `cancelled`, `deadline`, or the type of the error."""
        if row.outcome != "error":
            return row.outcome
        try:
            return str((self._unpack(row.error) or {}).get("type", row.outcome))  # erased: it has none
        except (NotFound, JournalDamaged):
            return row.outcome

    def _forget(self) -> None:
        oldest = time.time() - RECENT
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()

    def speed(self) -> float:
        """Generated tokens a second, over the answers that were finished lately."""
        self.reader.catch_up()
        self._forget()
        return sum(tokens for _, tokens in self._recent) / RECENT

    def collect(self) -> Iterator[Metric]:
        """What was counted since the start."""
        self.reader.catch_up()
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
        money = CounterMetricFamily(
            "llmagent_os_money_dollars", "Money spent, by the prices of models and tools", labels=labels
        )
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
