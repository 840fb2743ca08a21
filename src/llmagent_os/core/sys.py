"""A program's handle to the kernel: what it can do, one method a syscall."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from . import codec
from .ports import Invoker, Trap
from .records import (
    ANSWER,
    Budget,
    Chunk,
    Embeddings,
    EmbedRequest,
    Envelope,
    GenerateRequest,
    Generation,
    Grant,
    Json,
    Owned,
    Part,
    Spawn,
    Supervision,
)


class Sys:
    """Each method is one syscall, awaited until its outcome is durable."""

    def __init__(self, door: Trap, process: Invoker, principal: str | None = None, by: Json = None) -> None:
        """`by`: with which authority acts of administration are done; None: the system's own."""
        self._door = door
        self._process = process
        self._principal = principal
        self._by = by

    def under(self, by: Json) -> Sys:
        """The same handle with somebody's authority (see `act`)."""
        return Sys(self._door, self._process, self._principal, by)

    @property
    def pid(self) -> int:
        """The process's own number."""
        return self._process.pid

    @property
    def principal(self) -> str | None:
        """Whom its calls are made for; None: whoever the process works for."""
        return self._principal

    def acting(self, principal: str) -> Sys:
        """The same handle with calls made for somebody else; for services, which act for many."""
        return Sys(self._door, self._process, principal, self._by)

    def _call(self, name: str, args: dict[str, Any], **options: Any) -> Awaitable[Any]:
        return self._door.syscall(self._process, name, args, principal=self._principal, **options)

    async def syscall(self, name: str, deadline: float | None = None, **args: Json) -> Any:
        """Make any call of the table, such as one that a plugin added."""
        return await self._call(name, args, deadline=deadline)

    async def act(self, act: str, /, **args: Any) -> Any:
        """Administer: a call that only services may make, as far as the authority of this handle goes.

        Raises PermissionDenied. What is `Hidden` in arguments and result is passed on, and not recorded.
        """
        return await self._call(act, args if self._by is None else args | {"by": self._by})

    async def generate(
        self,
        request: GenerateRequest,
        stream: Callable[[Chunk], None] | None = None,
        deadline: float | None = None,
        parts: Sequence[Part] | None = None,
    ) -> Generation:
        """Ask a model. `stream` gets the pieces as they come (not again when answered from the journal).

        `parts` says whose words the prompt is made of. What stands in none of them is made of all that the process
        has seen: once that holds words that nobody may be directed by, no other part of the prompt directs either.
        """
        result: Generation = await self._call(
            "generate", {"request": request}, stream=stream, deadline=deadline, parts=parts
        )
        return result

    async def measure(self, request: GenerateRequest) -> tuple[int, int]:
        """How many tokens a prompt has, and the window of its model (0: unknown)."""
        tokens, window = await self._call("measure", {"request": request})
        return tokens, window

    async def embed(self, model: str, texts: list[str]) -> Embeddings:
        """Vectors of texts, in order."""
        result: Embeddings = await self._call("embed", {"request": EmbedRequest(model, tuple(texts))})
        return result

    async def call(
        self,
        tool: str,
        arguments: dict[str, Json] | None = None,
        deadline: float | None = None,
        show: int | None = None,
    ) -> Json:
        """Run a tool; raises NotFound or ToolFailed.

        Of a result with more than `show` characters comes `{"$file": ..., "shown": its beginning, "left_out": number}`.
        """
        args = {"tool": tool, "arguments": arguments or {}}
        return await self._call("call", args if show is None else args | {"show": show}, deadline=deadline)

    async def send(
        self, to: int | str, body: Json, reply_to: str | None = None, task: str | None = None, id: str | None = None
    ) -> str:
        """Send a message to a pid, a name or a box and return its id. The same `id` is delivered once."""
        args = {"to": to, "body": body, "reply_to": reply_to, "task": task, "id": id}
        result: str = await self._call("send", args)
        return result

    async def receive(self, timeout: float | None = None) -> Envelope:
        """The next message; raises DeadlineExceeded after `timeout` seconds."""
        result: Envelope = await self._call("receive", {}, deadline=timeout)
        return result

    async def ask(self, to: int | str, body: Json, timeout: float | None = None) -> Envelope:
        """Send a message to another process and wait for its answer; raises NotFound or DeadlineExceeded."""
        sent = await self.send(to, body, reply_to=ANSWER)
        return await self.answer(sent, timeout)

    async def reply(self, envelope: Envelope, body: Json) -> None:
        """Answer a message, if its sender wants an answer."""
        if envelope.reply_to:
            await self.send(envelope.reply_to, body, task=envelope.task)

    async def spawn(
        self,
        program: str,
        args: Json = None,
        name: str | None = None,
        budget: Budget | Sequence[Budget] | None = None,
        supervision: Supervision | None = None,
        nice: int | None = None,
        grant: Grant | None = None,
        owner: Owned = "turn",
        first: Mapping[str, Json] | None = None,
    ) -> int:
        """Start a child and return its pid. See `Spawn`."""
        wanted = _wanted(program, args, name, budget, supervision, nice, grant, owner, first)
        result: int = await self._call("spawn", wanted)
        return result

    async def spawn_many(self, children: Sequence[Spawn]) -> list[int]:
        """Start several children in one commit, all or none, and return their pids in order."""
        result: list[int] = await self._call("spawn_many", {"children": [_wanted(*_fields(each)) for each in children]})
        return result

    async def select(
        self, of: Sequence[int | str], inbox: bool = False, timeout: float | None = None
    ) -> int | str | None:
        """The first that is ready: of pids one that has ended, of messages sent with `reply_to=ANSWER` one that is
        answered. With `inbox` also None, for a message in its own box.

        Nothing is taken: `wait`, `answer` or `receive` does that. The order is journalled: a resume sees the same.
        """
        result: int | str | None = await self._call("select", {"of": list(of), "inbox": inbox}, deadline=timeout)
        return result

    async def answer(self, id: str, timeout: float | None = None) -> Envelope:
        """The answer to a message sent with `reply_to=ANSWER`; raises NotFound or DeadlineExceeded."""
        result: Envelope = await self._call("answer", {"id": id}, deadline=timeout)
        return result

    async def wait(self, pid: int, timeout: float | None = None) -> Json:
        """The result of a process once it is done; raises ProcessFailed or DeadlineExceeded."""
        return await self._call("wait", {"pid": pid}, deadline=timeout)

    async def kill(self, pid: int, reason: str | None = None) -> None:
        """End a process below this one, and everything below that."""
        await self._call("kill", {"pid": pid, "reason": reason})

    async def now(self) -> float:
        """Seconds since the epoch, the same again when replayed."""
        result: float = await self._call("now", {})
        return result

    async def random(self) -> float:
        """A number in [0, 1), the same again when replayed."""
        result: float = await self._call("random", {})
        return result

    async def sleep(self, seconds: float) -> None:
        """Wait; a restart does not begin the wait anew."""
        await self._call("sleep", {"until": await self.now() + seconds})

    def ahead(self) -> str | None:
        """The name of the call that came next when this ran first, in a resume or a replay; None: it goes on from here.

        Not an effect: what a program may do or leave by chance, it does as it did.
        """
        history = self._process.history
        row = history.next() if history is not None else None
        return None if row is None else str(row.name)

    def defined(self, definition: str) -> None:
        """Say by which definition (NAME@VERSION) the program runs: the rows of its calls tell it. Not an effect."""
        self._process.definition = definition

    def publish(self, task: str | None, chunk: Chunk) -> None:
        """Show a piece of an answer to whoever watches the task now. Not an effect: nothing depends on it."""
        if task is not None:
            self._door.publish(task, chunk)


def _wanted(
    program: str, args: Json, name: str | None, budget: Json, supervision: Json, nice: int | None, grant: Json,
    owner: Owned, first: Json,
) -> dict[str, Any]:  # fmt: skip
    """The arguments that ask for a child: plain data, of which the caller keeps no part."""
    wanted: dict[str, Any] = {
        "program": program, "args": args, "name": name, "budget": budget, "supervision": supervision,
    }  # fmt: skip
    if nice is not None:
        wanted["nice"] = nice
    if grant is not None:
        wanted["grant"] = grant
    if owner != "turn":
        wanted["owner"] = owner
    if first is not None:
        wanted["first"] = first
    if type(program) is str and name is args is budget is supervision is nice is grant is first is None:
        return wanted
    data: dict[str, Any] = codec.loads(codec.canonical(wanted))
    return data


_fields = attrgetter(*Spawn.__dataclass_fields__)
