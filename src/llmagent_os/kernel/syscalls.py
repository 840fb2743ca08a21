"""The built-in syscalls: one handler a row of the table. Effects on our own tables ride on the call's journal row."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core import codec, files
from ..core import declared as by
from ..core.errors import InvalidRequest, PermissionDenied, ProcessFailed, not_found
from ..core.ports import Syscall, own, uncovered
from ..core.records import (
    ANSWER,
    SHARED,
    Call,
    Embeddings,
    EmbedRequest,
    Envelope,
    GenerateRequest,
    Generation,
    Json,
    Ticket,
    Usage,
    owned,
)
from ..core.stream import priced, tokens_of
from . import budget
from .generate import generate
from .journal import listed
from .process import Process

if TYPE_CHECKING:
    from .kernel import Kernel

MINUTE, DAY = 60.0, 86400.0


class Builtins:
    """The handlers, bound to the kernel whose processes they serve."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def table(self) -> dict[str, Syscall]:
        """The syscall table: name, handler, longest time it may take, how its result is read back."""
        free = partial(Syscall, spends=False, prompt=True)
        return {
            "generate": Syscall(self.generate, 10 * MINUTE, by.a_model, own, codec.generation, words=by.prompted),
            "measure": free(self.measure, MINUTE, by.a_model, own, prompt=False),
            "embed": Syscall(self.embed, 2 * MINUTE, by.a_model, own, codec.embeddings),
            "call": Syscall(
                self.call, 5 * MINUTE, by.a_tool, by.tool, takes=by.CALLED, words=by.answered, shows=("show",)
            ),
            "send": free(self.send, MINUTE, by.a_receiver, own, takes=by.SENT),
            "receive": free(self.receive, 7 * DAY, uncovered, by.sender, codec.envelope, words=by.heard),
            "answer": free(self.answer, 7 * DAY, uncovered, by.sender, codec.envelope, {"id": by.TEXT}, by.heard),
            "spawn": free(self.spawn, MINUTE, by.an_agent, own, takes=by.SPAWNED),
            "spawn_many": free(self.spawn_many, MINUTE, by.agents, own, takes=by.SPAWNED_MANY),
            "select": free(self.select, 7 * DAY, uncovered, own, takes=by.SELECTED),
            "wait": free(self.wait, 7 * DAY, uncovered, by.process, takes={"pid": by.WHOLE}, words=by.answered),
            "kill": free(self.kill, MINUTE, uncovered, own, takes={"pid": by.WHOLE, "reason": by.TEXT}),
            "now": free(self.now, MINUTE, uncovered, own),
            "random": free(self.random, MINUTE, uncovered, own),
            "sleep": free(self.sleep, 30 * DAY, uncovered, own, takes={"until": (float, int)}),
        }

    async def generate(self, call: Call, process: Process) -> Generation:
        """Ask a model."""
        return await generate(self.kernel, call, process)

    async def measure(self, call: Call, process: Process) -> list[int]:
        """The tokens of a prompt and the window of its model (0 where the server does not say)."""
        request: GenerateRequest = call.args["request"]
        engine = await self.kernel.engines.get(request.model)
        return [await engine.count_tokens(request), engine.info.window]

    async def embed(self, call: Call, process: Process) -> Embeddings:
        """Turn texts into vectors."""
        request: EmbedRequest = call.args["request"]
        engine = await self.kernel.engines.get(request.model)
        call.decision |= {"model": self.kernel.engines.resolve(request.model), "engine": engine.info.name}
        about = priced(engine.info, sum(tokens_of(len(text)) for text in request.texts), 0)
        budget.pay(call, process, about, sure=False)
        try:
            result = await engine.embed(request)
        except asyncio.CancelledError:  # it was asked all the same
            call.cost = about
            raise
        call.cost = result.usage
        return result

    async def call(self, call: Call, process: Process) -> Json:
        """Run a tool under the call's idempotency key. Files in its result are kept as blobs."""
        name = call.args["tool"]
        tool = self.kernel.tools.get(name)
        if tool is None:
            raise not_found("tool", name, self.kernel.tools)
        budget.pay(call, process, Usage(money=tool.traits.cost))
        call.cost += Usage(money=tool.traits.cost)  # one that was contained is called again
        if process.definition is not None:
            call.decision["definition"] = process.definition
        home, held = process.home(call.principal), process.grant
        ticket = Ticket(call.key, call.pid, call.tenant, call.principal, home, held, call.contained)
        whose = SHARED if process.grant.shared else call.principal

        def keep(data: bytes) -> str:
            name = self.kernel.journal.keep_blob(data, call.writes)
            call.writes.append(("file.add", (bytes.fromhex(name), call.tenant, whose)))
            return name

        result = files.named(await tool.run(call.args["arguments"], ticket), keep)
        return files.beginning(result, call.args["show"], tool.spec.name, keep) if "show" in call.args else result

    async def send(self, call: Call, process: Process) -> str:
        """Put a message into a box: a pid, the name of an agent (its least busy replica), or a box's own name."""
        to, body = call.args["to"], call.args["body"]
        box = self.kernel.mail.address(to, process.tenant, call.principal)
        message = call.args.get("id") or call.key
        sender = "" if process.service is not None else process.box
        reply_to, task = call.args.get("reply_to"), call.args.get("task")
        if reply_to == ANSWER:
            reply_to += owned(process.tenant, call.key)  # not the message's id, which others may give theirs
        origins = listed(process.made_of())
        whose, packed = (process.tenant, call.principal), self.kernel.journal.pack(body, call.writes)
        row = (message, box, packed, sender, reply_to, task, time.time(), origins, *whose)
        call.writes.append(("message.add", row))
        call.after.append(lambda: self.kernel.mail.notify(box))
        return message

    async def receive(self, call: Call, process: Process) -> Envelope:
        """Take the oldest message, waiting for one until the deadline."""
        with _waiting(process):
            n, envelope = await self._next_message(process)
        call.principal = envelope.principal or call.principal
        process.taking.add(n)
        call.writes.append(("message.take", (n,)))
        call.ends.append(lambda: process.taking.discard(n))
        return envelope

    async def answer(self, call: Call, process: Process) -> Envelope:
        """The answer to a message that the process sent with `ANSWER` as the box to reply to."""
        box = self._reply_box(process, call.args["id"])
        with _waiting(process):
            return await self.kernel.mail.wait(box)

    def _reply_box(self, process: Process, identifier: str) -> str:
        sent = self.kernel.table.message(identifier, process.tenant, sender=process.box)
        if sent is None or sent.reply_to is None:
            raise not_found("message of this process", identifier, ())
        return sent.reply_to

    async def select(self, call: Call, process: Process) -> int | str | None:
        """The first of processes and of messages sent with `ANSWER` that has ended or is answered; None: one came.

        Where several are ready, the first in the order given.
        """
        kernel, inbox = self.kernel, call.args["inbox"]
        of: list[int | str] = call.args["of"]
        pids = {pid: kernel.table.of(pid, process.tenant) for pid in of if isinstance(pid, int)}
        boxes = {each: self._reply_box(process, each) for each in of if isinstance(each, str)}
        signs = [*boxes.values(), *(f"end/{pid}" for pid in pids), *([process.box] if inbox else [])]
        with _waiting(process):
            while True:
                for each in of:
                    if pids[each].life.ended if isinstance(each, int) else kernel.table.messages(boxes[each]):
                        return each
                if inbox and kernel.table.messages(process.box):
                    return None
                await kernel.mail.news(signs)

    async def _next_message(self, process: Process) -> tuple[int, Envelope]:
        while True:
            for n, envelope in self.kernel.table.messages(process.box, 1 + len(process.taking)):
                if n not in process.taking:
                    return n, envelope
            await self.kernel.mail.news((process.box,))

    async def spawn(self, call: Call, process: Process) -> int:
        """Make a child process; it starts once its row is durable."""
        return self.child(call, process, call.args)

    async def spawn_many(self, call: Call, process: Process) -> list[int]:
        """Make several children in one commit: all of them, or none."""
        return [self.child(call, process, wanted) for wanted in call.args["children"]]

    def child(self, call: Call, process: Process, wanted: Mapping[str, Any], drawn: tuple[Any, ...] = (),
              origins: Sequence[str] | None = None) -> int:  # fmt: skip
        """Make a child process. A service's syscall says on which accounts it draws too, and whose words its arguments
        are made of (None: all that its parent is made of).
        """
        name, programs = wanted["program"], self.kernel.programs
        if name not in programs:
            raise not_found("program", name, programs)
        first = wanted.get("first")
        budgets, parked = codec.budgets(wanted.get("budget")), programs[name].wakes and first is None
        if process.service is None and any(each.account for each in budgets):
            raise PermissionDenied(f"process {process.pid} may give its children budgets of their own only")
        child = self.kernel.table.create(
            name, wanted.get("args"), wanted.get("name"), process, (*budgets, *drawn),
            codec.supervision(wanted.get("supervision")), parked, principal=call.principal,
            grant=codec.grant(wanted.get("grant") or {}),
        )  # fmt: skip
        child.origins["args"] = process.made_of() if origins is None else list(origins)
        child.nice = _niceness(wanted.get("nice", child.nice), process)
        child.owner_turn = process.turn + 1 if wanted.get("owner") != "process" and child.parent else None
        call.writes.append(("process.add", child.values(self.kernel.journal.pack(child.args, call.writes))))
        if first is not None:
            self._received(child, first, call)
        if not parked:
            call.after.append(lambda: self.kernel.runner.start(child))
        return child.pid

    def _received(self, child: Process, first: Mapping[str, Json], call: Call) -> None:
        """Let a child be born with a message that it has received: the row that its program will be answered from."""
        pack, whose = partial(self.kernel.journal.pack, writes=call.writes), (child.tenant, call.principal)
        sender, origins = f"pid/{call.pid}" if child.parent else "", child.origins["args"]
        message = Envelope(first.get("id") or call.key, child.box, first["body"], sender, first.get("reply_to"),
                           first.get("task"), origins, call.principal)  # fmt: skip
        own, now = Call(child.pid, "receive", {}, child.key("receive", {}, b"{}"), *whose, 0.0, seq=1), time.time()
        own.origins = tuple(origins)
        row = (message.id, child.box, pack(message.body), sender, message.reply_to, message.task, now, listed(origins))
        read = self.kernel.journal.row(own, 1, b"{}", pack(codec.loads(codec.canonical(message))), None, (now, 0.0))
        call.writes += [("message.add", (*row, *whose)), ("message.took", (child.tenant, message.id, child.box)), read]
        child.seq = 1

    async def wait(self, call: Call, process: Process) -> Json:
        """Return the result of a process once it is done; raises ProcessFailed where it was stopped."""
        with _waiting(process):
            self.kernel.table.of(call.args["pid"], process.tenant)
            row = await self.kernel.runner.ended(call.args["pid"])
        call.origins = tuple(row.origins.get("result", ()))
        if row.life.phase != "done":
            raise ProcessFailed(f"process {row.pid} was stopped: {row.reason}", pid=row.pid, reason=row.reason)
        return self.kernel.journal.unpack(row.result)

    async def kill(self, call: Call, process: Process) -> None:
        """End a process and everything below it. A process may end its own descendants, a service anything."""
        pid = call.args["pid"]
        ending = self.kernel.table.of(pid, process.tenant)
        if process.service is None and process.pid not in self.kernel.table.ancestors(pid):
            raise PermissionDenied(f"process {process.pid} may only kill its own descendants, and {pid} is none")
        ending.see(process.made_of())  # whoever waits for it is told the reason
        await self.kernel.runner.kill(pid, call.args.get("reason") or f"killed by process {process.pid}")

    async def now(self, call: Call, process: Process) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def random(self, call: Call, process: Process) -> float:
        """A number in [0, 1)."""
        return random.random()

    async def sleep(self, call: Call, process: Process) -> None:
        """Wait until a time (seconds since the epoch), also across a restart."""
        with _waiting(process):
            await asyncio.sleep(max(0.0, call.args["until"] - time.time()))


@contextmanager
def _waiting(process: Process) -> Iterator[None]:
    process.doing = "waiting"
    try:
        yield
    finally:
        process.doing = "running"


def _niceness(nice: int, parent: Process) -> int:
    """A child's nice value; only a service may start what goes before itself."""
    if not -20 <= nice <= 19:
        raise InvalidRequest(f"nice is {nice}; it goes from -20 (first) to 19 (last)", parameter="nice")
    if parent.service is None and nice < parent.nice:
        raise PermissionDenied(f"process {parent.pid} has nice {parent.nice}; its children cannot have {nice}")
    return nice
