"""Runs a graph inside a process: one loop that begins what may begin, waits for an end, and tells the state of it.

The process keeps nothing but the graph and its input: after a crash the loop runs again, and what was begun and what
ended, and in which order, is answered from the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..core import codec, templates
from ..core.errors import (
    BudgetExceeded,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    JournalDamaged,
    JournalUnavailable,
    LLMAgentOSError,
    ProcessFailed,
    not_found,
)
from ..core.records import Hidden, Json, Usage
from ..core.sys import Sys
from . import values
from .functions import Function
from .graph import Graph
from .state import IN_PROCESS, Job, Run, Value
from .steps import AGENT, PERSON, called
from .trace import UNDO

OURS = (BudgetExceeded, JournalUnavailable, JournalDamaged)
"""What ends the process itself: no node is to blame."""
SOON = 0.001  # seconds: the shortest wait
MOMENT, TOGETHER = 0.01, 50  # seconds, functions: what is written in one row, and called again after a crash before it


@dataclass(slots=True)
class Made:
    """What came of a run: its result, and what its agents consumed as they say."""

    value: Json
    usage: Usage = field(default_factory=Usage)


class Runner:
    """One run. `known` are results by piece of work, with their origins, that are taken over from an earlier one;
    `instead` is what nodes are given in place of what their templates say.

    What watches runs has a state of its own: `state` makes one of a graph, its input, and whose words that is.
    """

    state: Callable[[Graph, Json, Iterable[str]], Run] = Run

    def __init__(
        self, sys: Sys, graph: Graph, functions: Mapping[str, Function],
        known: Mapping[str, Value] | None = None, instead: Mapping[str, Value] | None = None,
    ) -> None:  # fmt: skip
        self._sys, self._graph, self._functions = sys, graph, functions
        self._known, self._instead = known or {}, instead or {}
        self._pids: dict[int, Job] = {}
        self._due: dict[int, float] = {}  # when a child is given up, by pid
        self._later: list[tuple[float, Job]] = []  # tries that wait
        self._next: Sequence[Job] = ()  # work that is taken, and not begun yet
        self._usage = Usage()

    async def run(self, value: Json, origins: Iterable[str] = ()) -> Made:
        """Run the graph; raises ProcessFailed, which names the node, and what was undone and what could not be."""
        plain = partial(Run, instead=self._instead) if self._instead else self.state
        run = plain(self._graph, value, origins)
        try:
            while run.failure is None:
                await self._begin(run)
                if run.failure is not None or not (self._pids or self._later):
                    break
                await self._wait(run)
            if run.failure is None:
                made = run.result()
                wrong = values.valid(self._graph.gives, made) if self._graph.gives else None
                if wrong is None:
                    return Made(made, self._usage)
                run.failure = f"its result is not what it gives: {wrong}"
        except InvalidRequest as error:  # a text beyond what may be passed on: what was done is undone all the same
            run.stop(error.message)
        await self._end(run, list(self._pids.values()))
        undone, left = await self._undo(run)
        came = {"undone": undone, "NOT undone": left}
        told = [run.failure or "", *(f"{how}: {', '.join(pieces)}" for how, pieces in came.items() if pieces)]
        raise ProcessFailed("; ".join(told), pid=self._sys.pid, node=run.failed_at, reason=run.failure,
                            undone=undone, not_undone=left)  # fmt: skip

    # -- beginning

    async def _begin(self, run: Run) -> None:
        """Begin everything that may begin, and what follows from functions, until only children are waited for."""
        while True:
            jobs, self._next = self._next or run.take(), ()
            losers, run.losers = set(run.losers), []
            await self._end(run, [job for job in self._pids.values() if job.label in losers])
            if not jobs or run.failure is not None:
                return
            rest = []
            for job in jobs:
                if job.piece in self._known and not job.attempt:
                    run.done(job, *self._known[job.piece])
                else:
                    rest.append(job)
            if waiting := [job for job in rest if job.wait]:
                now = await self._sys.now()
                self._later += [(now + job.wait, job) for job in waiting]
            await self._launch(run, [job for job in rest if not job.wait])

    async def _launch(self, run: Run, jobs: Sequence[Job]) -> None:
        if functions := [job for job in jobs if job.work.kind == "function"]:
            await self._call(run, functions, len(functions) == len(jobs))
        for job in jobs:
            if job.work.kind == "similar":
                await self._liken(run, job)
        rest = [job for job in jobs if job.work.kind not in IN_PROCESS]
        await self._start(run, [job for job in rest if run.running.get(job.label) is job])  # or nobody needs it now

    async def _call(self, run: Run, jobs: Sequence[Job], alone: bool) -> None:
        """Call functions and, where they are `alone`, those that follow from them; one row has what is kept of it."""
        results = list[list[Json]]()
        least = [job.label for job in jobs if job.node.keep]

        def call(written: Iterator[list[Json]] | None = None) -> list[list[Json]]:
            try:
                results.extend(self._called(run, jobs, alone, len(least), written))
            except InvalidRequest as error:  # what was called until then has its row
                run.stop(error.message)
            return results

        written = await self._sys.syscall("flow_step", nodes=least, work=Hidden(call)) if least else call()
        if least and not results:  # answered from the journal
            call(iter(written))

    def _called(
        self, run: Run, jobs: Sequence[Job], alone: bool, least: int, written: Iterator[list[Json]] | None
    ) -> Iterator[list[Json]]:
        """What comes of functions whose results are kept, one after the other: called now, or as it is written.

        Those beyond the `least` have their labels with them. After a moment the rest is left for another row.
        """
        until, count, most = time.monotonic() + MOMENT, 0, TOGETHER if least else 0
        while jobs:
            for n, job in enumerate(jobs):
                made = list[Json]()
                if job.node.keep and written is not None:
                    made = next(written, made)
                elif not job.node.keep or count < least or (count < most and time.monotonic() < until):
                    made = called(partial(self._function, job), job.label if count >= least else "")
                if not made:
                    self._next = jobs[n:]
                    return
                if job.node.keep:
                    count += 1
                    yield made
                value, error, *_ = *made, None
                run.done(job, value) if error is None else run.failed(job, error)
            jobs = run.take() if alone else ()
            if any(job.work.kind != "function" or job.wait or job.piece in self._known for job in jobs):
                self._next = jobs
                return

    def _function(self, job: Job) -> Json:
        if job.work.name not in self._functions:
            raise not_found("function", job.work.name, self._functions)
        return self._functions[job.work.name](job.input)

    async def _liken(self, run: Run, job: Job) -> None:
        """Which of some descriptions is nearest to a text."""
        choices = job.work.choices or {}
        try:
            texts = [templates.text(job.input) or " ", *choices.values()]
            (about, *others) = (await self._sys.embed(job.work.name, texts)).vectors
        except OURS:
            raise
        except LLMAgentOSError as error:
            return run.failed(job, error.message)
        near = [sum(a * b for a, b in zip(about, each, strict=True)) for each in others]
        run.done(job, [*choices][near.index(max(near))])

    async def _start(self, run: Run, jobs: Sequence[Job], before: str = "") -> list[str | None]:
        """Start children for jobs, all in one commit; returns the errors of those that could not be started."""
        if not jobs:
            return []
        children = [self._child(job, before, run.results) for job in jobs]
        names = [before + job.label for job in jobs]
        pids = await self._sys.syscall("flow_start", nodes=names, children=Hidden(children))
        now = await self._sys.now() if any(job.node.timeout for job in jobs) else 0.0
        return self._begun(run, jobs, pids, now)

    def _begun(self, run: Run, jobs: Sequence[Job], pids: Sequence[int | str], now: float = 0.0) -> list[str | None]:
        """Keep in mind who works on what; returns the errors of those that could not be started."""
        for job, pid in zip(jobs, pids, strict=True):
            if not isinstance(pid, int):
                run.failed(job, pid)
                continue
            self._pids[pid] = job
            if job.node.timeout:
                self._due[pid] = now + job.node.timeout
        return [None if isinstance(pid, int) else pid for pid in pids]

    def _child(self, job: Job, before: str, results: Mapping[str, Json]) -> dict[str, Any]:
        """What the child of a job is asked to do."""
        work, body = job.work, job.input
        kind, name, ask = "tool", work.name, work.ask
        if work.kind == "human":
            kind, name, ask, body = PERSON, "", False, _asked(job, results)
        elif work.kind == "agent":
            kind, body = AGENT, {"text": templates.text(job.input) or " ", "input": job.input}
            own = not before and not job.second
            options = {"schema": job.node.gives, "outcome": job.node.outcome} if own else {}
            if options := {name: each for name, each in options.items() if each is not None}:
                body["options"] = options
        return {"node": before + job.label, "kind": kind, "name": name, "body": body, "ask": ask,
                "budget": job.node.budget, "origins": job.origins}  # fmt: skip

    # -- waiting

    async def _wait(self, run: Run) -> None:
        """Wait for the next end, or until something is due, and tell of it."""
        times = [*self._due.values(), *(at for at, _ in self._later)]
        left = max(SOON, min(times) - await self._sys.now()) if times else None
        try:
            if self._pids:
                return await self._go_on(run, left)
            await self._sys.sleep(left or SOON)
        except DeadlineExceeded:
            pass
        now = await self._sys.now()
        late = [self._pids[pid] for pid, at in self._due.items() if at <= now + SOON]
        for job in await self._end(run, late):
            run.failed(job, f"it had no result after {job.node.timeout:g} s")
        ready = [job for at, job in self._later if at <= now + SOON and run.running.get(job.label) is job]
        self._later = [(at, job) for at, job in self._later if at > now + SOON]
        await self._launch(run, ready)

    async def _go_on(self, run: Run, deadline: float | None = None) -> None:
        """Wait for the next ends, and tell of them; what follows is begun in the row of that, where that may be."""
        told = list[dict[str, Any]]()

        def follows(ended: list[dict[str, Any]]) -> list[dict[str, Any]]:
            told.extend(ended)
            try:
                for each in ended:
                    self._tell(run, self._pids.pop(each["pid"]), each)
                self._next = run.take()
                return [self._child(job, "", run.results) for job in self._next] if self._at_once(run) else []
            except InvalidRequest as error:  # what ended until then has its row
                run.stop(error.message)
                return []

        found = await self._collect(list(self._pids), deadline, follows)
        begun = found.pop()["pids"] if "pids" in found[-1] else None
        if not told:  # answered from the journal
            follows(found)
        if begun is not None:
            jobs, self._next = self._next, ()
            self._begun(run, jobs, begun)

    def _at_once(self, run: Run) -> bool:
        """Whether what comes next needs nothing but children that hold no more than a tool or a question."""
        apart = [job.work.kind in ("tool", "human") and not (job.wait or job.node.timeout) for job in self._next]
        return all(apart) and not (run.losers or any(job.piece in self._known for job in self._next))

    async def _collect(
        self, of: Sequence[int], deadline: float | None = None, follows: Callable[..., Any] | None = None
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._sys.syscall("flow_collect", deadline, of=Hidden((of, follows)))
        for each in found:
            self._due.pop(each.get("pid", 0), None)
            self._usage += codec.usage(each.get("usage"))
        return found

    def _tell(self, run: Run, job: Job, ended: Mapping[str, Any]) -> None:
        if "error" in ended:
            run.failed(job, ended["error"])
        else:
            run.done(job, ended["value"], ended.get("origins", ()))

    async def _end(self, run: Run, jobs: Sequence[Job]) -> list[Job]:
        """End the children of some jobs. What one did that ended well in this moment counts; returns the others."""
        unwanted = set(map(id, jobs))
        pids = {pid: job for pid, job in self._pids.items() if id(job) in unwanted}
        for pid in pids:
            del self._pids[pid]
            try:
                await self._sys.kill(pid, "its flow does not need it any more")
            except Conflict:
                continue
        left, ended = dict(pids), list[Job]()
        while left:
            for each in await self._collect(list(left)):
                job = left.pop(each["pid"])
                if "error" in each:
                    ended.append(job)
                else:
                    run.done(job, each["value"], each.get("origins", ()))
        return ended

    # -- giving up

    async def _undo(self, run: Run) -> tuple[list[str], list[str]]:
        """Undo what was finished, the last first, one at a time; returns what was undone and what was not, and why."""
        undone, left = list[str](), list[str]()
        for job in [replace(each, node=replace(each.node, gives=None, timeout=None)) for each in run.undoing()]:
            if job.work.kind == "function":
                work = Hidden(lambda job=job: [called(partial(self._function, job))])
                (made,) = await self._sys.syscall("flow_step", nodes=[UNDO + job.label], work=work)
                error = (*made, None)[1]
            else:
                error = (await self._start(run, [job], UNDO))[0]
                if error is None:
                    (ended,) = await self._collect(list(self._pids))
                    del self._pids[ended["pid"]]
                    error = ended.get("error")
            undone.append(job.piece) if error is None else left.append(f"{job.piece} ({error})")
        return undone, left


def _asked(job: Job, results: Mapping[str, Json]) -> dict[str, Json]:
    """What a person is asked: the words, and what there is to choose from, with what the templates name put there."""
    work, more = job.work, dict(job.work.more or {})
    scope = {**results, "input": job.input, "item": job.value}
    if "options" in more:
        more["options"] = templates.fill(more["options"], scope)
    value = templates.text(job.input) if work.ask == "correct" else job.input
    return {"kind": work.ask or "approve", "question": templates.text(templates.fill(work.name, scope)), "value": value,
            **more}  # fmt: skip
