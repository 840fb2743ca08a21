"""The door: every effect of every process comes through here, is filtered, bounded in time, and journalled.

    program -> Door.syscall -> filters (call, process, proceed) -> handler -> journal -> program

A call that was finished before (a resume, a replay) is answered from the journal and goes no further.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..core import codec
from ..core.accounts import Entry, Ledger, book, statements
from ..core.coroutines import begin
from ..core.declared import brought
from ..core.errors import (
    DeadlineExceeded,
    HandlerFailed,
    InvalidRequest,
    JournalDamaged,
    JournalUnavailable,
    LLMAgentOSError,
    ResultLost,
    from_data,
    not_found,
)
from ..core.ports import Filter, Follower, Handler, Syscall, plain
from ..core.records import Call, Chunk, Outcome, Part, Usage
from ..core.stream import Streams
from .journal import UNKNOWN, Journal, Row
from .process import Process

log = logging.getLogger(__name__)

Ended = LLMAgentOSError | asyncio.CancelledError | None
"""How a call ended: CancelledError where the caller has gone."""
Settled = tuple[Any, Ended]
"""A result, or the error instead."""

GRACE = 0.25  # seconds beyond its deadline that a call's commit may take
UNWIND = 0.5  # seconds that a handler has to give back what it holds, once nobody waits for it any more


class Clock:
    """How long a call may still take; it can stand still while a person is asked. Made within the event loop."""

    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self.left, self._expired = seconds, expired
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.start()

    def start(self) -> None:
        """Go on."""
        self._since = self._loop.time()
        self._timer = self._loop.call_later(self.left, self._expired)

    def within(self, seconds: float) -> None:
        """Allow no more than so many seconds from now on."""
        self.stop()
        self.left = min(self.left, seconds)
        self.start()

    def stop(self) -> None:
        """Stand still; harmless where it does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self.left = None, self.left - (self._loop.time() - self._since)


class Door:
    """The syscall table behind its filters, first filter outermost."""

    def __init__(
        self, journal: Journal, streams: Streams, table: Mapping[str, Syscall], filters: Sequence[Filter],
        ledger: Ledger,
    ) -> None:  # fmt: skip
        """Raises InvalidRequest for a syscall that does not declare what covers it and what its result brings."""
        for name, entry in table.items():
            if entry.covers is None or entry.brings is None:
                raise InvalidRequest(
                    f"syscall {name!r} does not declare `covers` and `brings`; say which part of a grant covers it "
                    "and whose words its result holds (see core.ports.Syscall)",
                    parameter=name,
                )  # fmt: skip
        self.journal, self.ledger = journal, ledger
        self.publish = streams.publish
        self.table = dict(table)
        self._chains = {name: _compose(name, filters, entry.handler) for name, entry in table.items()}
        self._followers = [each.follow for each in filters if isinstance(each, Follower)]
        self.closing = False  # the system stops: calls of programs are cut off, and made again after the next start

    async def syscall(
        self,
        process: Process,
        name: str,
        args: dict[str, Any],
        deadline: float | None = None,
        stream: Callable[[Chunk], None] | None = None,
        principal: str | None = None,
        parts: Sequence[Part] | None = None,
    ) -> Any:
        """Make a call for a process and return its result, or raise the LLMAgentOSError that it ended with.

        `deadline` (seconds) may only shorten the table's; `principal` is for services that act for others; `parts` are
        for the followers (see `ports.Follower`).
        """
        entry = self.table.get(name)
        if entry is None:
            raise not_found("syscall", name, self.table)
        while process.life.paused:
            await process.go.wait()
        if process.settling:  # it is stopped, whatever its program makes of that
            raise asyncio.CancelledError
        packed = codec.arguments(name, entry.takes, args, entry.shows)
        key = process.key(name, args, packed)
        if process.history is not None and (row := process.history.take(key)) is not None:
            return self._answer(process, entry, row, args, parts)
        limit = entry.deadline if deadline is None else min(deadline, entry.deadline)
        call = Call(process.pid, name, args, key, process.tenant, principal or process.acting, limit, stream=stream)
        call.syscall, call.ledger, call.parts = entry, self.ledger, parts
        started, began = time.time(), time.perf_counter()
        try:
            result, error = await self._perform(call, process)
            error = await self._record(call, process, packed, result, error, (started, time.perf_counter() - began))
        except LLMAgentOSError as trouble:
            if call.outcome != "cancelled":
                raise
            log.error("process %d: no row for a cancelled %s: %s", call.pid, name, trouble)
        finally:
            for end in call.ends:
                end()
        if error is not None:
            raise error
        if entry.decode is plain and process.service is None and call.data is not None:
            return codec.loads(call.data)  # as it would be read back after a crash
        return result

    async def _perform(self, call: Call, process: Process) -> Settled:
        """Run the handler in a task of its own: whatever it does, the caller is answered by the deadline.

        One that is the kernel's own, and so often ends at once, is begun without.
        """
        handled: Any = self._chains[call.name](call, process)
        if call.syscall.prompt:
            try:
                result, handled = begin(handled)
            except Exception as error:
                return None, _failure(call, error)
            if handled is None:
                return result, None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Settled] = loop.create_future()
        task = loop.create_task(self._attempt(call, handled, answer))
        call.clock = Clock(call.deadline, lambda: _expire(call, answer))
        try:
            outcome = await answer
        except asyncio.CancelledError as gone:
            outcome = None, gone
        call.clock.stop()
        return outcome if task.done() else await _unwind(task, outcome)

    async def _attempt(self, call: Call, handled: Awaitable[Any], answer: asyncio.Future[Settled]) -> None:
        """Settle `answer` with what the handler returns or raises, unless its caller waits no more."""
        outcome: Settled
        try:
            outcome = await handled, None
        except asyncio.CancelledError:
            outcome = None, HandlerFailed(f"{call.name} was cancelled by its own handler")
        except (Exception, SystemExit) as error:  # one that would end the program has only failed
            outcome = None, _failure(call, error)
        if not answer.done():
            answer.set_result(outcome)

    async def _record(
        self, call: Call, process: Process, args: bytes, result: Any, error: Ended, times: tuple[float, float]
    ) -> Ended:
        """Commit the call's row, with what it consumed and what its handler wrote, and let that take effect.

        Returns its error; where the journal does not take what was to be written, or the result is no data, that is its
        outcome and its row.
        """
        journal, data = self.journal, None
        try:  # before anything that the handler did counts as done
            data = codec.canonical(result) if error is None else None
        except TypeError as why:
            text = f"{call.name} has acted, but what it returned cannot be kept ({why}); return JSON data"
            error = ResultLost(text, call=call.name)
        call.data, call.outcome = data, _outcome(error)
        if call.meter is not None:
            call.cost = call.meter()
        if call.outcome == "cancelled" and self.closing and process.service is None and call.cost == Usage():
            return error
        writes = call.writes if error is None else []
        told = codec.dumps(error.to_data()) if isinstance(error, LLMAgentOSError) else None
        try:
            packed_args, packed_result, packed_error = await journal.packed(writes, args, data, told)
        except asyncio.CancelledError as gone:  # its caller went before the row was on its way
            return await self._record(call, process, args, None, gone, times)
        if call.origins is None:
            said = result if error is None else error
            call.origins = brought(call.syscall, call.name, call.args, said) if call.outcome != "cancelled" else ()
        process.seq = call.seq = process.seq + 1
        if process.life.phase == "waiting" and process.service is None:
            writes.append(process.move("step"))
        amounts = {"tokens": call.cost.input_tokens + call.cost.output_tokens, "money": call.cost.money, "steps": 1}
        entries = self.ledger.entries(process, call.principal, amounts)
        writes += statements(entries)
        writes.append(journal.row(call, process.turn + 1, packed_args, packed_result, packed_error, times))
        then = partial(self._happen, call, process, result, error is None, entries)
        try:
            left = call.deadline - times[1] if call.clock is None else call.clock.left
            await journal.append(writes, then, max(0.0, left) + GRACE)
        except (JournalUnavailable, JournalDamaged):
            raise
        except LLMAgentOSError as refused:
            if error is not None:
                raise
            return await self._record(call, process, args, None, refused, times)
        return error

    def _happen(self, call: Call, process: Process, result: Any, well: bool, entries: list[Entry]) -> None:
        """A call is durable, whoever still waits: charge for it, and let it take effect."""
        process.tally.charge(call.cost, 1)
        book(entries)
        if well:
            for effect in call.after:
                effect()
            self._follow(process, call.name, call.args, result, call.origins or (), call.parts)
        else:
            process.see(call.origins or ())

    def _answer(
        self, process: Process, entry: Syscall, row: Row, args: Mapping[str, Any], parts: Sequence[Part] | None
    ) -> Any:
        """Answer from the journal what was finished before, and was paid for then (see `ProcessTable.get`)."""
        failed = row.error is not None
        result = from_data(self.journal.unpack(row.error)) if failed else entry.decode(self.journal.unpack(row.result))
        origins: Sequence[str] = codec.loads(row.origins) if row.origins else ()
        if row.origins == UNKNOWN:
            origins = brought(entry, row.name, args, result)
        if failed:
            process.see(origins)
            raise result
        self._follow(process, row.name, args, result, origins, parts)
        return result

    def _follow(
        self, process: Process, name: str, args: Mapping[str, Any], result: Any, origins: Sequence[str],
        parts: Sequence[Part] | None,
    ) -> None:  # fmt: skip
        """Keep in mind which messages the turn still owes an answer, and whose words it has seen."""
        for follow in self._followers:
            follow(process, self.table[name], args, result, origins, parts)
        process.see(origins)
        for part in parts or ():
            process.see(part.origins or ())
        _owe(process, name, args, result)

    def recall(self, process: Process, row: Row) -> None:
        """Keep in mind what an interrupted turn owes by one of its rows, without running it again."""
        if row.name in ("receive", "send") and row.error is None and row.result is not None:
            result = self.table[row.name].decode(self.journal.unpack(row.result))
            _owe(process, row.name, self.journal.unpack(row.args), result)


def _owe(process: Process, name: str, args: Mapping[str, Any], result: Any) -> None:
    """A message that was taken wants an answer until one is sent, or somebody else is told to send it."""
    if name == "receive":
        process.owed.append(result)
    elif name == "send":
        answered = (args["to"], args.get("reply_to"))
        process.owed = [message for message in process.owed if message.reply_to not in answered]


def _expire(call: Call, answer: asyncio.Future[Settled]) -> None:
    if not answer.done():
        text = f"{call.name} was not answered within {call.deadline:g} s; give it more time or look at `ps`"
        call.origins = ()
        answer.set_result((None, DeadlineExceeded(text, call=call.name, seconds=call.deadline)))


async def _unwind(task: asyncio.Task[None], outcome: Settled) -> Settled:
    """End a handler that nobody waits for, and say how its call has ended: cancelled, where its caller goes now."""
    loop = asyncio.get_running_loop()
    until = loop.time() + UNWIND
    task.cancel()
    while not task.done() and (left := until - loop.time()) > 0:
        try:
            await asyncio.wait((task,), timeout=left)
        except asyncio.CancelledError as gone:
            outcome = None, gone
    return outcome


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return "ok"
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return "deadline" if isinstance(error, DeadlineExceeded) else "error"


def _failure(call: Call, error: Exception | SystemExit) -> LLMAgentOSError:
    if isinstance(error, LLMAgentOSError) and not isinstance(error, JournalDamaged):  # that is somebody else's page
        return error
    log.error("%s failed for process %d", call.name, call.pid, exc_info=error)
    return HandlerFailed(f"{call.name} failed: {type(error).__name__}: {error}", call=call.name)


def _compose(name: str, filters: Sequence[Filter], handler: Handler) -> Handler:
    """Build the chain of a syscall once: of the filters that want to see it the first sees it first and last."""
    for each in reversed(filters):
        if name in getattr(each, "calls", (name,)):
            handler = _wrap(each, handler)
    return handler


def _wrap(outer: Filter, inner: Handler) -> Handler:
    def run(call: Call, process: Process) -> Awaitable[Any]:
        return outer(call, process, lambda passed: inner(passed, process))

    return run
