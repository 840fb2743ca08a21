"""The built-in syscalls: one handler a row of the table. Effects on our own tables ride on the call's journal row."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core import codec
from ..core.errors import EngineFailed, PermissionDenied, ProcessFailed, not_found
from ..core.records import (
    Budget,
    Call,
    Chunk,
    Embeddings,
    EmbedRequest,
    Envelope,
    GenerateRequest,
    Generation,
    Json,
    TokenLogprob,
    ToolCall,
)
from . import budget
from .door import Syscall
from .process import Process
from .supervisor import Supervision

if TYPE_CHECKING:
    from .kernel import Kernel

MINUTE, DAY = 60.0, 86400.0


class Builtins:
    """The handlers, bound to the kernel whose processes they serve."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def table(self) -> dict[str, Syscall]:
        """The syscall table: name, handler, longest time it may take, how its result is read back."""
        return {
            "generate": Syscall(self.generate, 10 * MINUTE, codec.generation),
            "measure": Syscall(self.measure, MINUTE),
            "embed": Syscall(self.embed, 2 * MINUTE, _embeddings),
            "call": Syscall(self.call, 5 * MINUTE),
            "send": Syscall(self.send, MINUTE),
            "receive": Syscall(self.receive, 7 * DAY, lambda data: Envelope(**data)),
            "spawn": Syscall(self.spawn, MINUTE),
            "wait": Syscall(self.wait, 7 * DAY),
            "kill": Syscall(self.kill, MINUTE),
            "now": Syscall(self.now, MINUTE),
            "random": Syscall(self.random, MINUTE),
            "sleep": Syscall(self.sleep, 30 * DAY),
            "lookup": Syscall(self.lookup, MINUTE),
        }

    async def generate(self, call: Call, process: Process) -> Generation:
        """Wait for a place on the model's engine, then stream the answer and return it whole."""
        request: GenerateRequest = call.args["request"]
        engine = await self.kernel.engines.get(request.model)
        call.adapter = request.adapter
        left = budget.token_limit(process)
        if left is not None:
            request = budget.cut(request, await engine.count_tokens(request), left)
        process.status, process.engine = "ready", engine.info.name
        try:
            async with self.kernel.scheduler.slot(engine.info, call.pid, call.tenant, request.adapter):
                process.status = "running"
                answer = await _gather(engine.generate(request), call)
        finally:
            process.status, process.engine = "running", None
        call.cost = answer.usage
        return replace(answer, model=request.model, engine=engine.info.name)

    async def measure(self, call: Call, process: Process) -> list[int]:
        """The tokens of a prompt and the window of its model (0 where the server does not say)."""
        request: GenerateRequest = call.args["request"]
        engine = await self.kernel.engines.get(request.model)
        return [await engine.count_tokens(request), engine.info.window]

    async def embed(self, call: Call, process: Process) -> Embeddings:
        """Turn texts into vectors."""
        request: EmbedRequest = call.args["request"]
        engine = await self.kernel.engines.get(request.model)
        result = await engine.embed(request)
        call.cost = result.usage
        return result

    async def call(self, call: Call, process: Process) -> Json:
        """Run a tool under the call's idempotency key. Files in its result are kept as blobs."""
        name = call.args["tool"]
        tool = self.kernel.tools.get(name)
        if tool is None:
            raise not_found("tool", name, self.kernel.tools)
        result = await tool.run(call.args["arguments"], call.key)
        return self._keep_files(result, call)

    def _keep_files(self, value: Json, call: Call) -> Json:
        """Replace `{"$file": {..., "data": base64}}` by a reference to a blob that is committed with the call."""
        if isinstance(value, list):
            return [self._keep_files(item, call) for item in value]
        if not isinstance(value, dict):
            return value
        file = value.get("$file")
        if isinstance(file, dict) and "data" in file:
            reference = self.kernel.keep_blob(base64.b64decode(file["data"]), call.writes)
            return {"$file": {key: item for key, item in file.items() if key != "data"} | {"blob": reference}}
        return {key: self._keep_files(item, call) for key, item in value.items()}

    async def send(self, call: Call, process: Process) -> str:
        """Put a message into a box: a pid, the name of an agent (its least busy replica), or a box's own name."""
        to, body = call.args["to"], call.args["body"]
        box = self.kernel.address(to)
        message = call.args.get("id") or call.key
        sender, reply_to, task = process.box, call.args.get("reply_to"), call.args.get("task")
        row = (message, box, codec.dumps(body), sender, reply_to, task, time.time())
        call.writes.append(("message.add", row))
        call.after.append(lambda: self.kernel.notify(box))
        if process.serving is not None and process.serving.reply_to == box:
            call.after.append(lambda: setattr(process, "serving", None))
        return message

    async def receive(self, call: Call, process: Process) -> Envelope:
        """Take the oldest message, waiting for one until the deadline."""
        process.status = "waiting"
        try:
            n, envelope = await self._next_message(process)
        finally:
            process.status = "running"
        process.taking.add(n)
        process.serving = envelope
        call.writes.append(("message.take", (n,)))
        call.after.append(lambda: process.taking.discard(n))
        return envelope

    async def _next_message(self, process: Process) -> tuple[int, Envelope]:
        while True:
            process.wake.clear()
            for n, envelope in self.kernel.messages(process.box, 1 + len(process.taking)):
                if n not in process.taking:
                    return n, envelope
            await process.wake.wait()

    async def spawn(self, call: Call, process: Process) -> int:
        """Make a child process; it starts once its row is durable."""
        args = call.args
        child = self.kernel.new_process(
            program=args["program"], args=args.get("args"), name=args.get("name"), parent=process,
            budget=Budget(**(args.get("budget") or {})), supervision=Supervision(**(args.get("supervision") or {})),
        )  # fmt: skip
        call.writes.append(("process.add", child.values()))
        call.after.append(lambda: self.kernel.start(child))
        return child.pid

    async def wait(self, call: Call, process: Process) -> Json:
        """Return the result of a process once it is done; raises ProcessFailed where it was stopped."""
        process.status = "waiting"
        try:
            row = await self.kernel.ended(call.args["pid"])
        finally:
            process.status = "running"
        if row.status == "stopped":
            raise ProcessFailed(f"process {row.pid} was stopped: {row.reason}", pid=row.pid, reason=row.reason)
        return self.kernel.journal.unpack(row.result)

    async def kill(self, call: Call, process: Process) -> None:
        """End a process and everything below it. A process may end its own descendants, a service anything."""
        pid = call.args["pid"]
        if process.service is None and process.pid not in self.kernel.ancestors(pid):
            raise PermissionDenied(f"process {process.pid} may only kill its own descendants, and {pid} is none")
        await self.kernel.kill(pid, call.args.get("reason") or f"killed by process {process.pid}")

    async def now(self, call: Call, process: Process) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def random(self, call: Call, process: Process) -> float:
        """A number in [0, 1)."""
        return random.random()

    async def sleep(self, call: Call, process: Process) -> None:
        """Wait until a time (seconds since the epoch), also across a restart."""
        process.status = "waiting"
        await asyncio.sleep(max(0.0, call.args["until"] - time.time()))
        process.status = "running"

    async def lookup(self, call: Call, process: Process) -> list[int]:
        """The pids of the living processes of a name."""
        return self.kernel.named(call.args["name"])


async def _gather(chunks: Any, call: Call) -> Generation:
    """Sum a stream up, passing each piece on; closing it frees the engine's slot at once, however this ends."""
    texts: list[str] = []
    logprobs: list[TokenLogprob] = []
    tool_calls: list[ToolCall] = []
    last = Chunk()
    try:
        async for chunk in chunks:
            last = chunk
            texts.append(chunk.text)
            logprobs += chunk.logprobs
            tool_calls += chunk.tool_calls
            if call.stream is not None:
                call.stream(chunk)
    finally:
        await chunks.aclose()
    usage = last.usage
    if last.finish is None or usage is None:
        raise EngineFailed("the engine ended its stream without a finish reason; this is a defect of its driver")
    return Generation("".join(texts), tuple(tool_calls), last.finish, usage, tuple(logprobs))


def _embeddings(data: dict[str, Json]) -> Embeddings:
    vectors = tuple(tuple(vector) for vector in data["vectors"])
    return Embeddings(vectors, codec.usage(data["usage"]), data["model"])


class Sys:
    """A program's handle to the kernel: each method is one syscall, awaited until its outcome is durable."""

    def __init__(self, kernel: Kernel, process: Process, principal: str | None = None) -> None:
        self._kernel = kernel
        self._process = process
        self._principal = principal

    @property
    def pid(self) -> int:
        """The process's own number."""
        return self._process.pid

    def _call(self, name: str, args: dict[str, Any], **options: Any) -> Awaitable[Any]:
        return self._kernel.door.syscall(self._process, name, args, principal=self._principal, **options)

    async def syscall(self, name: str, deadline: float | None = None, **args: Json) -> Any:
        """Make any call of the table, such as one that a plugin added."""
        return await self._call(name, args, deadline=deadline)

    async def generate(
        self,
        request: GenerateRequest,
        stream: Callable[[Chunk], None] | None = None,
        deadline: float | None = None,
    ) -> Generation:
        """Ask a model. `stream` gets the pieces as they come (not again when answered from the journal)."""
        return await self._call("generate", {"request": request}, stream=stream, deadline=deadline)

    async def measure(self, request: GenerateRequest) -> tuple[int, int]:
        """How many tokens a prompt has, and the window of its model (0: unknown)."""
        tokens, window = await self._call("measure", {"request": request})
        return tokens, window

    async def embed(self, model: str, texts: list[str]) -> Embeddings:
        """Vectors of texts, in order."""
        return await self._call("embed", {"request": EmbedRequest(model, tuple(texts))})

    async def call(self, tool: str, arguments: dict[str, Json] | None = None, deadline: float | None = None) -> Json:
        """Run a tool; raises NotFound or ToolFailed."""
        return await self._call("call", {"tool": tool, "arguments": arguments or {}}, deadline=deadline)

    async def send(
        self, to: int | str, body: Json, reply_to: str | None = None, task: str | None = None, id: str | None = None
    ) -> str:
        """Send a message to a pid, a name or a box and return its id. The same `id` is delivered once."""
        args = {"to": to, "body": body, "reply_to": reply_to, "task": task, "id": id}
        return await self._call("send", args)

    async def receive(self, timeout: float | None = None) -> Envelope:
        """The next message; raises DeadlineExceeded after `timeout` seconds."""
        return await self._call("receive", {}, deadline=timeout)

    async def reply(self, envelope: Envelope, body: Json) -> None:
        """Answer a message, if its sender wants an answer."""
        if envelope.reply_to:
            await self.send(envelope.reply_to, body, task=envelope.task)

    async def spawn(
        self,
        program: str,
        args: Json = None,
        name: str | None = None,
        budget: Budget | None = None,
        supervision: Supervision | None = None,
    ) -> int:
        """Start a child and return its pid."""
        wanted = {"program": program, "args": args, "name": name, "budget": budget, "supervision": supervision}
        return await self._call("spawn", codec.loads(codec.dumps(wanted)))

    async def wait(self, pid: int, timeout: float | None = None) -> Json:
        """The result of a process once it is done; raises ProcessFailed or DeadlineExceeded."""
        return await self._call("wait", {"pid": pid}, deadline=timeout)

    async def kill(self, pid: int, reason: str | None = None) -> None:
        """End a process below this one, and everything below that."""
        await self._call("kill", {"pid": pid, "reason": reason})

    async def now(self) -> float:
        """Seconds since the epoch, the same again when replayed."""
        return await self._call("now", {})

    async def random(self) -> float:
        """A number in [0, 1), the same again when replayed."""
        return await self._call("random", {})

    async def sleep(self, seconds: float) -> None:
        """Wait; a restart does not begin the wait anew."""
        await self._call("sleep", {"until": await self.now() + seconds})

    async def lookup(self, name: str) -> list[int]:
        """The pids of the living processes of a name."""
        return await self._call("lookup", {"name": name})

    def publish(self, task: str | None, chunk: Chunk) -> None:
        """Show a piece of an answer to whoever watches the task now. Not an effect: nothing depends on it."""
        if task is not None:
            self._kernel.streams.publish(task, chunk)
