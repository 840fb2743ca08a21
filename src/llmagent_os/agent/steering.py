"""Messages to a turn that runs: taken in at its next step (`steer`), or at once, by breaking off what it does
(`interrupt`).

Such a message stands in the box of its process as any other, so it survives a crash and is answered as a message of its
own where the turn is over before. A turn that takes it in has a row for that; a resume finds the row, and no other step
looks for messages, so that nothing is taken in twice or at another place.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from ..core import codec
from ..core.errors import Interrupted
from ..core.ports import Proceed, Syscall, own
from ..core.records import Call, Envelope, Json, Part, Usage
from ..core.rows import answer
from ..core.sys import Sys
from ..kernel.kernel import Kernel
from ..kernel.process import Process

When = Literal["queue", "steer", "interrupt"]
"""When a message is taken in that comes while a turn runs: by the next turn, by the next step, or at once."""
MANY = 100  # messages of a box in which those that steer are looked for
TAKEN: dict[str, Json] = {
    "text": "", "parts": [], "finish": "steered", "usage": codec.loads(codec.dumps(Usage())), "model": "",
}  # fmt: skip
"""The reply to a message that a turn has taken in: what comes of it is in the answer of that turn."""


def when_of(message: Envelope) -> str:
    """When a message is to be taken in; what a process sends waits for its turn."""
    said = message.body.get("when") if isinstance(message.body, Mapping) and not message.sender else None
    text = isinstance(message.body, Mapping) and isinstance(message.body.get("text"), str)
    return said if said in ("steer", "interrupt") and text else "queue"


class Steering:
    """The syscall `steer`, and a filter that notes who is sent such messages, and breaks off calls of the interrupted.

    Who is sent none pays nothing but a look into a set at each step.
    """

    calls = ("send", "generate", "call", "answer")

    def __init__(self, kernel: Callable[[], Kernel]) -> None:
        self._kernel = kernel
        self._sent: dict[int, str] = {}  # by pid, the strongest that may wait in its box
        self._running: dict[int, set[asyncio.Task[Any]]] = defaultdict(set)  # the calls of processes, by pid
        self._cut: set[asyncio.Task[Any]] = set()

    def table(self) -> dict[str, Syscall]:
        """The row of the syscall table: a process takes what is in its own box."""
        return {"steer": Syscall(self.steer, 60.0, lambda args: (), own, words=_words, spends=False, prompt=True)}

    def recall(self) -> None:
        """Find what was sent before a stop and not taken in; to be called before processes are resumed."""
        kernel = self._kernel()
        for (box,) in kernel.store.read("message.boxes"):
            for _, message in kernel.table.messages(box, MANY):
                self._note(int(box.removeprefix("pid/")), when_of(message))

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """See `core.ports.Filter`; raises Interrupted."""
        if call.name == "send":
            if process.service is not None and isinstance(call.args["body"], Mapping) and "when" in call.args["body"]:
                call.after.append(lambda: self._came(call.args["to"], str(call.args["body"]["when"])))
            return await proceed(call)
        if process.service is not None or process.program != "agent":
            return await proceed(call)
        if self._sent.get(process.pid) == "interrupt" and self._waiting(process):
            raise _interrupted()
        task = asyncio.current_task()
        assert task is not None
        running = self._running[process.pid]
        running.add(task)
        try:
            return await proceed(call)
        except asyncio.CancelledError:
            if task not in self._cut:
                raise
            task.uncancel()
            raise _interrupted() from None
        finally:
            self._cut.discard(task)
            running.discard(task)
            if not running:
                self._running.pop(process.pid, None)

    def due(self, sys: Sys) -> bool:
        """Whether a turn is to take messages in now: as it did before, where it is resumed or replayed."""
        ahead = sys.ahead()
        return ahead == "steer" if ahead is not None else sys.pid in self._sent

    async def steer(self, call: Call, process: Process) -> list[dict[str, Json]]:
        """Take what is to be taken in now, `{text, when}` each; who sent it is told that it was."""
        self._sent.pop(process.pid, None)
        taken = self._waiting(process)
        for n, message in taken:
            process.taking.add(n)
            call.ends.append(partial(process.taking.discard, n))
            call.writes.append(("message.take", (n,)))
            if message.reply_to:
                call.writes.append(answer(message, "steered", TAKEN, process.tenant, process.box))
                call.after.append(partial(self._kernel().mail.notify, message.reply_to))
        return [{"text": message.body["text"], "when": when_of(message)} for _, message in taken]

    def _waiting(self, process: Process) -> list[tuple[int, Envelope]]:
        """The messages in a box that are to be taken in now."""
        found = self._kernel().table.messages(process.box, MANY)
        return [each for each in found if when_of(each[1]) != "queue" and each[0] not in process.taking]

    def _came(self, to: int | str, when: str) -> None:
        """A message is durable: of a process in its turn, note it, and break off what it does where it says so."""
        process = self._kernel().table.find(to) if isinstance(to, int) else None
        if process is None or process.task is None:
            return
        self._note(process.pid, when)
        for task in self._running.get(process.pid, ()) if when == "interrupt" else ():
            self._cut.add(task)
            task.cancel()

    def _note(self, pid: int, when: str) -> None:
        if when == "interrupt" or (when == "steer" and pid not in self._sent):
            self._sent[pid] = when


def _interrupted() -> Interrupted:
    return Interrupted("it was broken off: there is a new message from the user, which goes first")


def _words(args: Mapping[str, Any], result: Any, origins: Sequence[str]) -> list[Part]:
    """People's own words."""
    return [Part(each["text"], tuple(origins), "user") for each in result]
