"""ToolKit: Python functions as tools. Type hints make the schema, the docstring the description."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextvars
import inspect
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from ..core import codec
from ..core.coroutines import begin
from ..core.errors import Conflict, LLMAgentOSError, ToolFailed
from ..core.ports import Proceed, Tool
from ..core.records import Call, GenerateRequest, Json, Ticket, ToolSpec, Traits

KEY = "idempotency_key"
"""A parameter of this name is not shown to models; it gets the call's idempotency key."""

Lookup = Callable[[str], Awaitable[Json]]
THREADS = 32  # calls at once of a plain function that does not say how many


class Bounds:
    """The timeout and the concurrency that a tool declares, around each of its calls."""

    def __init__(self, name: str, traits: Traits, most: int = 0) -> None:
        """`most`: the calls at once where `traits` leave it open (0: any number)."""
        self._name, self._seconds = name, traits.timeout
        self._limit = traits.concurrency or most
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )  # a loop each

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do a call's work within its bounds; what ends at once waits for nothing, and nothing is set up for it.

        Raises ToolFailed when its time is over.
        """
        if not self._limit:
            result, left = begin(work)
            if left is None:
                return result
            work = left
        async with self.within():
            return await work

    @asynccontextmanager
    async def within(self) -> AsyncIterator[None]:
        """Wait for a turn and give the block the rest of the time; raises ToolFailed when that is over."""
        try:
            async with asyncio.timeout(self._seconds) as timer:
                async with self._slot():
                    yield
        except TimeoutError as error:
            if not timer.expired():
                raise
            text = f"{self._name} had no result after {self._seconds:g} s and was given up; it may have done its work"
            raise ToolFailed(text, tool=self._name, error="TimeoutError") from error

    def _slot(self) -> AbstractAsyncContextManager[Any]:
        if not self._limit:
            return nullcontext()
        return self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._limit))


class FunctionTool:
    """One function as a tool. A plain function runs in a thread, so that it never blocks the system.

    A parameter annotated `Ticket` is not shown to models; it gets the call's ticket.
    """

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, traits: Traits | None = None,
        lookup: Lookup | None = None,
    ) -> None:  # fmt: skip
        self.traits = traits or Traits()
        if lookup is not None:
            self.lookup = lookup
        self.source = "python"
        name = name or function.__name__
        fields, self._hidden = _parameters(function)
        if KEY in self._hidden:
            self.traits = replace(self.traits, keyed=True)
        self._run: Callable[..., Coroutine[Any, Any, Any]] = function
        if not inspect.iscoroutinefunction(function):
            self._run = partial(in_thread, function)
        self._bounds = Bounds(name, self.traits, THREADS if self._run is not function else 0)
        self._arguments = create_model(
            name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
        )
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        self.spec = ToolSpec(name, inspect.getdoc(function) or "", schema)
        self.tell: Callable[[], str] | None = None

    @property
    def told(self) -> str:
        """What a model is told of it now: what `tell` says, where the description cannot know it (see `Telling`)."""
        return self.spec.description if self.tell is None else self.tell()

    def checked(self, arguments: dict[str, Json]) -> BaseModel:
        """The arguments as the function takes them; raises ToolFailed with what is wrong."""
        try:
            return self._arguments.model_validate(arguments)
        except ValidationError as error:
            raise ToolFailed(f"{self.spec.name}: {_first(error)}", tool=self.spec.name) from error

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Check the arguments and call the function; raises ToolFailed with what was wrong.

        Whatever the function returns becomes JSON data; `bytes` and `File` become files.
        """
        checked = self.checked(arguments)
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        values |= {name: ticket.key if name == KEY else ticket for name in self._hidden}
        try:
            result = await self._bounds.run(self._run(**values))
        except LLMAgentOSError:
            raise
        except (Exception, SystemExit) as error:  # it is other people's code: whatever it raises is its answer
            text = f"{self.spec.name} failed: {type(error).__name__}: {error}"
            raise ToolFailed(text, tool=self.spec.name, error=type(error).__name__) from error
        return as_json(result)


async def in_thread(function: Callable[..., Any], /, **values: Any) -> Any:
    """Run a plain function in a thread of its own: one that hangs takes nobody's place and holds up no exit.

    Cancelled, the function runs on, for a thread cannot be stopped; what it returns is dropped.
    """
    answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
    answer.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            answer.set_result(context.run(function, **values))
        except BaseException as error:
            fit = isinstance(error, Exception) and not isinstance(error, StopIteration)  # to be raised in a coroutine
            answer.set_exception(error if fit else RuntimeError(f"it raised {type(error).__name__}"))

    threading.Thread(target=work, name=f"tool {getattr(function, '__name__', '')}", daemon=True).start()
    return await asyncio.wrap_future(answer)


class Telling:
    """A filter that tells models of tools as they are now (see `FunctionTool.told`).

    Their descriptions stay as they are: these are a part of the keys of generations, and a turn that began before
    something was set up goes on after it, and replays.
    """

    calls = frozenset({"generate"})

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools

    async def __call__(self, call: Call, process: Any, proceed: Proceed) -> Any:
        """Let a request proceed with those words, which nobody outside of it sees."""
        request: GenerateRequest = call.args["request"]
        tools = tuple(map(self._told, request.tools))
        if tools == request.tools:
            return await proceed(call)
        given, call.args = call.args, {**call.args, "request": replace(request, tools=tools)}
        try:
            return await proceed(call)
        finally:
            call.args = given

    def _told(self, spec: ToolSpec) -> ToolSpec:
        tool = self._tools.get(spec.name)
        if not isinstance(tool, FunctionTool) or tool.tell is None or tool.spec != spec:
            return spec
        return replace(spec, description=tool.told)


class ToolKit(dict[str, FunctionTool]):
    """Tools by name. `kit.add(function)`, or as a decorator: `@kit.add`, `@kit.add(effect="read")`."""

    def add(
        self, function: Callable[..., Any] | None = None, name: str | None = None, lookup: Lookup | None = None,
        **declared: Any,
    ) -> Any:  # fmt: skip
        """Make a function a tool and return it unchanged; raises Conflict for a name that is taken.

        `declared` are the fields of `Traits`: what the tool does, for those who decide whether it may run. `lookup`
        tells of an idempotency key what became of the call, should it have been cut off: `{"result": ...}`, or None
        where nothing was done.
        """
        if function is None:
            return partial(self.add, name=name, lookup=lookup, **declared)
        tool = FunctionTool(function, name, Traits(**declared), lookup)
        if tool.spec.name in self:
            raise Conflict(f"there is a tool named {tool.spec.name!r}; give one of them another name")
        self[tool.spec.name] = tool
        return function


class File:
    """A file that a tool made: shown to the user as a picture or download, kept as a blob."""

    def __init__(self, name: str, data: bytes, mime: str = "application/octet-stream") -> None:
        self.name, self.data, self.mime = name, data, mime

    def to_json(self) -> Json:
        """The form in which it crosses the door; the kernel replaces the data by a blob's name."""
        data = base64.b64encode(self.data).decode()
        return {"$file": {"name": self.name, "mime": self.mime, "data": data}}


def as_json(value: Any) -> Json:
    """Turn a function's result into JSON data; raises ToolFailed where it cannot be."""
    if isinstance(value, File):
        return value.to_json()
    if isinstance(value, bytes):
        return File("result.bin", value).to_json()
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    try:
        return codec.loads(codec.dumps(value))
    except TypeError as error:
        raise ToolFailed(f"the result is not JSON data: {error}") from error


def shown_name(name: str) -> str:
    """A name that every model's API takes: up to 64 letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")[:64]


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters that models are shown, as fields of a model, and the names of the others."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    hidden = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name == KEY or hints.get(name) is Ticket:
            hidden.append(name)
        else:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    return fields, hidden


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
