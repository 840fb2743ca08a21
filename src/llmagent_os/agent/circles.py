"""Circles: who waits for an agent's answer is not asked anything by it, for then both would wait for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..core.errors import Conflict
from ..core.ports import Proceed
from ..core.records import ANSWER, Call
from ..kernel.process import Process
from ..kernel.table import CROWD, ProcessTable
from .manager import PROGRAM


class Circles:
    """A filter around what agents ask one another: another replica is asked, or nobody and the model is told."""

    calls = frozenset({"send"})

    def __init__(self, table: Callable[[], ProcessTable]) -> None:
        self._table = table
        self._sending: set[tuple[int, int, str]] = (
            set()
        )  # whom, by whom: questions that are in no box yet, by their keys

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Let a question proceed to a replica that does not wait for whoever asks; raises Conflict where all do."""
        to, given = call.args["to"], call.args
        if process.program != PROGRAM or given.get("reply_to") != ANSWER or not isinstance(to, str) or "/" in to:
            return await proceed(call)
        loads = self._table().loads(to, call.tenant, call.principal)
        waiting = set(self._waiting(process))
        free = [each for each in loads if each[-1] not in waiting]
        if loads and not free:
            text = (
                f"{to} waits for an answer from here before it can give one; answer without it, or start a replica more"
            )
            raise Conflict(text, agent=to)
        if free:
            question = min(free)[-1], process.pid, call.key
            self._sending.add(question)
            call.ends.append(partial(self._sending.discard, question))
            call.args = {**given, "to": question[0]}
        try:
            return await proceed(call)
        finally:
            call.args = given

    def _waiting(self, process: Process) -> Iterator[int]:
        """The agents that can do nothing before a process has ended its turn: itself, and who asked it, and so on up.

        An agent takes one message at a time: who only stands in its box waits for that turn as well.
        """
        table, todo, seen = self._table(), [process.pid], set[int]()
        while todo:
            each = table.find(todo.pop())
            if each is None or each.pid in seen or each.program != PROGRAM:
                continue
            seen.add(each.pid)
            yield each.pid
            asked = [*each.owed, *(message for _, message in table.messages(each.box, CROWD))]
            senders = [message.sender for message in asked if message.reply_to]
            todo += [int(sender[4:]) for sender in senders if sender.startswith("pid/")]
            todo += [asker for receiver, asker, _ in self._sending if receiver == each.pid]
            todo.append(each.parent)  # whoever started it waits for its end
