"""How far a run of a graph is: which work may begin, and what follows from an end. Decides, and does nothing.

Everything follows from the graph, the input, and the order of `done` and `failed`: the same again in a resume.
"""

from __future__ import annotations

from collections import ChainMap, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..core import codec, templates
from ..core.records import Json
from . import values
from .graph import OTHERWISE, Edge, Graph, Node, Work

Stage = Literal["waiting", "running", "done", "skipped", "failed", "ended"]
"""Of a node: `skipped` where no edge to it is taken, `ended` where nobody needs it any more."""
IN_PROCESS = ("function", "similar")
"""Kinds of work that need no process of their own."""
Value = tuple[Json, Sequence[str]]
"""A value, and whose words, that nobody vouches for, it is made of."""


@dataclass(frozen=True, slots=True)
class Job:
    """One try of a node's work: in which round of a loop, for which item of a map, the how-manieth (from 0).

    `origins`: whose words, that nobody vouches for, its input is made of. `wait` seconds pass before it begins.
    """

    node: Node
    work: Work
    input: Json
    origins: tuple[str, ...] = ()
    round: int = 0
    item: int | None = None
    attempt: int = 0
    wait: float = 0.0
    second: bool = False  # the fallback's
    value: Json = field(default=None, compare=False)  # the item itself

    @property
    def piece(self) -> str:
        """Which piece of work it is, whatever the try: `node#round[item]`."""
        item = "" if self.item is None else f"[{self.item}]"
        return f"{self.node.id}{f'#{self.round}' if self.round else ''}{item}"

    @property
    def label(self) -> str:
        """What its rows call it."""
        return f"{self.piece}!{self.attempt}" if self.attempt else self.piece


class Run:
    """A run. `take` says what to begin, `losers` whom to end; tell it of each end with `done` or `failed`."""

    def __init__(
        self, graph: Graph, value: Json, origins: Iterable[str] = (), instead: Mapping[str, Value] | None = None
    ) -> None:  # fmt: skip
        self.graph = graph
        self.results: dict[str, Json] = {"input": value}
        self.stages: dict[str, Stage] = dict.fromkeys(graph.by_id, "waiting")
        self.running: dict[str, Job] = {}  # by label
        self.finished: list[tuple[Job, Json, tuple[str, ...]]] = []  # what can be undone, in order
        self.failure: str | None = None
        self.failed_at = ""
        self.losers: list[str] = []  # what ran and is not needed, by label, until somebody has ended it
        self._nodes = graph.by_id
        self._instead = dict(instead or {})  # until a node begins for the first time
        self._whose: dict[str, tuple[str, ...]] = {"input": tuple(origins)}
        self._into: dict[str, list[int]] = defaultdict(list)
        self._out: dict[str, list[int]] = defaultdict(list)
        for n, edge in enumerate(graph.edges):
            self._out[edge.source].append(n)
            if edge.limit is None:
                self._into[edge.target].append(n)
        self._live: dict[int, bool] = {}  # of edges that are settled, whether they are taken
        self._taken: dict[int, int] = defaultdict(int)
        self._rounds: dict[str, int] = defaultdict(int)
        self._back: dict[str, tuple[Json, tuple[str, ...]]] = {}
        self._items: dict[str, deque[Job]] = {}
        self._parts: dict[str, dict[int, tuple[Json, tuple[str, ...]]]] = {}
        self._totals: dict[str, int] = {}
        self._queues: tuple[deque[Job], deque[Job]] = (deque(), deque())  # in this process, in one of their own
        self._look: deque[str] = deque()
        self._children = 0
        for node in graph.nodes:
            if not self._into[node.id]:
                self._begin(node)
        self._settle()

    # -- what to do

    def take(self) -> list[Job]:
        """The work that may begin now; it counts as running from now on."""
        here, apart = self._queues
        jobs = [job for job in here if self._wanted(job)]
        here.clear()
        while apart and self._children < self.graph.at_once:
            if self._wanted(job := apart.popleft()):
                self._children += 1
                jobs.append(job)
        self.running |= {job.label: job for job in jobs}
        return jobs

    def _wanted(self, job: Job) -> bool:
        return self.stages[job.node.id] == "running" and self._rounds[job.node.id] == job.round and not self.failure

    def result(self) -> Json:
        """What the run has made, once nothing is left to do."""
        if self.graph.result is not None:
            return templates.fill(self.graph.result, self.results)
        last = [
            node.id
            for node in self.graph.nodes
            if not any(self.graph.edges[n].limit is None for n in self._out[node.id])
        ]
        made = {each: self.results[each] for each in last if self.stages[each] == "done"}
        return next(iter(made.values())) if len(made) == 1 else made or None

    def whose(self, name: str) -> tuple[str, ...]:
        """Whose words, that nobody vouches for, the result of a node is made of."""
        return self._whose.get(name, ())

    def undoing(self) -> Iterator[Job]:
        """What undoes all that was finished and can be undone, the last first."""
        for job, value, origins in reversed(self.finished):
            undo = job.node.undo
            assert undo is not None
            scope = ChainMap({job.node.id: value, "item": job.value}, self.results)
            given = value if undo.input is None else templates.fill(undo.input, scope)
            yield replace(job, work=undo, input=given, origins=(*origins, *self._from(undo.input)), attempt=0)

    # -- what has happened

    def done(self, job: Job, raw: Json, origins: Iterable[str] = ()) -> None:
        """A piece of work has ended well. Where its result is not of the type that it should be, it has failed."""
        value, wrong = typed(job, raw)
        whose = tuple(dict.fromkeys((*origins, *(job.origins if job.work.kind in IN_PROCESS else ()))))
        if job.node.undo is not None and not job.second:  # also where it came too late, or is of the wrong type
            self.finished.append((job, value, whose))
        if wrong is not None:
            return self.failed(job, f"its result is not what it gives: {wrong}")
        if not self._leaves(job):
            return
        if job.item is None:
            self._finish(job.node, value, whose)
        else:
            self._part(job, value, whose)
        self._settle()

    def failed(self, job: Job, error: str) -> None:
        """A piece of work has failed: it is tried again, or something else is, or the flow goes on without or stops."""
        if not self._leaves(job):
            return
        node = job.node
        if not job.second and job.attempt < node.retry:
            self._enqueue(replace(job, attempt=job.attempt + 1, wait=node.delay * 2**job.attempt))
        elif node.fallback is not None and not job.second:
            given = self._given(node, node.fallback, job.value)
            self._enqueue(replace(job, work=node.fallback, input=given[0], origins=given[1], attempt=job.attempt + 1,
                                  second=True, wait=0.0))  # fmt: skip
        else:
            self._fail(node, error)
        self._settle()

    def stop(self, why: str) -> None:
        """It cannot go on: nothing more begins, and what runs is not needed."""
        self.failure = self.failure or why
        self.losers += self.running
        self.running.clear()

    def _leaves(self, job: Job) -> bool:
        """Take a job off what runs; False for one that nobody waits for."""
        if self.running.pop(job.label, None) is None:
            return False
        self._children -= job.work.kind not in IN_PROCESS
        return self._wanted(job)

    def _part(self, job: Job, value: Json, whose: tuple[str, ...]) -> None:
        parts, left = self._parts[job.node.id], self._items[job.node.id]
        assert job.item is not None
        parts[job.item] = value, whose
        if left:
            self._enqueue(left.popleft())
        elif len(parts) == self._totals[job.node.id]:
            made = [parts[n] for n in sorted(parts)]
            self._finish(
                job.node, [value for value, _ in made], tuple(dict.fromkeys(o for _, each in made for o in each))
            )

    def _finish(self, node: Node, value: Json, whose: tuple[str, ...]) -> None:
        self.results[node.id], self._whose[node.id] = value, whose
        self.stages[node.id] = "done"
        taken = self._choose(node, value)
        back = next((n for n in taken if self.graph.edges[n].limit is not None), None)
        if back is not None:
            return self._again(back)
        for n in self._out[node.id]:
            if self.graph.edges[n].limit is None:
                self._live[n] = n in taken
                self._look.append(self.graph.edges[n].target)

    def _choose(self, node: Node, value: Json) -> set[int]:
        """The edges from a node that are taken."""

        def open_(n: int) -> bool:
            limit = self.graph.edges[n].limit
            return limit is None or self._taken[n] < limit

        out = [(n, self.graph.edges[n].when) for n in self._out[node.id] if open_(n)]
        found = {n for n, when in out if isinstance(when, Mapping) and values.holds(when, value)}
        rest = {n for n, when in out if when == OTHERWISE} if not found else set()
        return found | rest | {n for n, when in out if when is None}

    def _again(self, back: int) -> None:
        """Do again what an edge leads back to, and all from there on to where it comes from."""
        edge = self.graph.edges[back]
        self._taken[back] += 1
        self._back[edge.target] = self._carried(edge)
        for each in self.graph.region(edge):
            self.stages[each] = "waiting"
            self._rounds[each] += 1
            for n in self._out[each]:
                self._live.pop(n, None)
        self._begin(self._nodes[edge.target])

    def _fail(self, node: Node, error: str) -> None:
        if node.fails == "stop":
            self.failed_at = self.failed_at or node.id
            return self.stop(f"node {node.id!r}: {error}")
        self.stages[node.id] = "failed"
        self._drop([node.id])
        self._close(node.id)

    def _close(self, node: str) -> None:
        """None of the edges from a node is taken."""
        for n in self._out[node]:
            if self.graph.edges[n].limit is None:
                self._live[n] = False
                self._look.append(self.graph.edges[n].target)

    def _drop(self, nodes: Sequence[str]) -> None:
        """What runs for some nodes is not needed."""
        gone = [label for label, job in self.running.items() if job.node.id in nodes]
        self._children -= sum(self.running.pop(label).work.kind not in IN_PROCESS for label in gone)
        self.losers += gone

    # -- what follows

    def _settle(self) -> None:
        """Begin or skip the nodes for which enough edges are settled."""
        while self._look and not self.failure:
            node = self._nodes[self._look.popleft()]
            if self.stages[node.id] != "waiting":
                continue
            into = self._into[node.id]
            live = [n for n in into if self._live.get(n)]
            open_ = sum(n not in self._live for n in into)
            enough = 1 if node.join == "first" else node.join
            if isinstance(enough, int) and len(live) >= enough:
                self._begin(node)
                self._release(node)
            elif not open_ and node.join == "all" and live:
                self._begin(node)
            elif not open_ and isinstance(node.join, int) and live:
                self._fail(node, f"it needs {node.join} branches, and {len(live)} came")
            elif not open_:
                self.stages[node.id] = "skipped"
                self._close(node.id)

    def _release(self, node: Node) -> None:
        """End what works for a node alone that waits no more."""
        only, todo = set[str](), [self.graph.edges[n].source for n in self._into[node.id]]
        while todo:
            each = todo.pop()
            targets = {self.graph.edges[n].target for n in self._out[each]}
            if each not in only and targets <= only | {node.id}:
                only.add(each)
                todo += [self.graph.edges[n].source for n in self._into[each]]
        ended = [each for each in only if self.stages[each] in ("waiting", "running")]
        for each in ended:
            self.stages[each] = "ended"
        self._drop(ended)

    def _begin(self, node: Node) -> None:
        self.stages[node.id] = "running"
        round_, instead = self._rounds[node.id], self._instead.pop(node.id, None)
        if node.over is None:
            value, whose = instead or self._given(node, node.work)
            return self._enqueue(Job(node, node.work, value, tuple(whose), round_))
        items, origins = instead or (templates.fill(node.over, self.results), self._from(node.over))
        if not isinstance(items, list | tuple):
            return self._fail(node, "what it is done over is no list")
        if not items:
            return self._finish(node, [], tuple(origins))
        jobs = deque[Job]()
        for n, item in enumerate(items):
            value, whose = self._given(node, node.work, item)
            jobs.append(Job(node, node.work, value, (*whose, *origins), round_, n, value=item))
        self._parts[node.id], self._items[node.id], self._totals[node.id] = {}, jobs, len(jobs)
        for _ in range(min(node.at_once, len(jobs))):
            self._enqueue(jobs.popleft())

    def _enqueue(self, job: Job) -> None:
        wrong = values.valid(job.node.takes, job.input) if job.node.takes and not job.second else None
        if wrong is not None:
            return self._fail(job.node, f"it is given what it does not take: {wrong}")
        self._queues[job.work.kind not in IN_PROCESS].append(job)

    def _given(self, node: Node, work: Work, item: Json = None) -> tuple[Json, tuple[str, ...]]:
        """What work is given, and whose words that is made of."""
        if work.input is None:
            return (item, ()) if node.over is not None else self._arrived(node)
        scope = ChainMap({"item": item}, self.results)
        return templates.fill(work.input, scope), self._from(work.input)

    def _from(self, template: Json) -> tuple[str, ...]:
        return tuple(dict.fromkeys(o for name in templates.named(template) for o in self._whose.get(name, ())))

    def _arrived(self, node: Node) -> tuple[Json, tuple[str, ...]]:
        """What comes along the edges: of one its value, of several a mapping of values by their sources."""
        if node.id in self._back:
            return self._back.pop(node.id)
        into = self._into[node.id]
        if not into:
            return self.results["input"], self._whose["input"]
        came = {self.graph.edges[n].source: self._carried(self.graph.edges[n]) for n in into if self._live.get(n)}
        if len(into) == 1 or node.join == "first":
            return next(iter(came.values()))
        whose = tuple(dict.fromkeys(o for _, each in came.values() for o in each))
        return {source: value for source, (value, _) in came.items()}, whose

    def _carried(self, edge: Edge) -> tuple[Json, tuple[str, ...]]:
        if edge.value is None:
            return self.results[edge.source], self._whose[edge.source]
        return templates.fill(edge.value, self.results), self._from(edge.value)


def typed(job: Job, raw: Json) -> tuple[Json, str | None]:
    """A result as its node gives it, and what is wrong with it; the words of an agent may be JSON."""
    gives = job.node.gives
    if gives is None:
        return raw, None
    if job.work.kind in ("agent", "human") and isinstance(raw, str):
        try:
            read = codec.loads(raw)
        except ValueError:
            read = raw
        if values.valid(gives, read) is None:
            return read, None
    return raw, values.valid(gives, raw)
