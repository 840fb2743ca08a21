"""The syscalls, and the tools of the same names: a tool's call is the syscall, within its own row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..core import declared as by
from ..core.errors import InvalidRequest, Unsupported
from ..core.ports import Handler, Proceed, Syscall, own
from ..core.records import Call, Json, Ticket, ToolSpec, Traits
from ..core.validity import fault
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from . import places
from .boards import Boards
from .topics import LEASE, MOST, TRIES, Topics, taken

DAY = 86400.0
READS = Traits("read", idempotent=True)
WRITES = Traits("write", idempotent=True, meanings={"value": "text"})
"""What is put in may be anybody's words: whose they are comes out with it, and then it is asked about where it acts."""
_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_NUMBERS = {"type": "array", "items": {"type": "integer"}, "maxItems": 1000}


def _spec(name: str, about: str, needs: str, **properties: Json) -> ToolSpec:
    of = {"type": "string", "enum": list(places.OF), "description": "whose: of this run, of the user, of everybody"}
    schema = {"type": "object", "properties": {**properties, "of": of}, "required": needs.split()}
    return ToolSpec(name, about, schema | {"additionalProperties": False})


SPECS = {
    spec.name: spec
    for spec in (
        _spec(
            "board_read",
            "Read a value from the board that agents share, with its version; without a key the keys that there are.",
            "", key=_TEXT, history={"type": "boolean"},
        ),
        _spec(
            "board_write",
            "Put a value on the board that agents share. With `expect`, the version that you read, it fails where "
            "somebody else wrote meanwhile: read again then. 0 is: there is none yet.",
            "key value", key=_TEXT, value={}, expect=_COUNT,
        ),
        _spec(
            "publish",
            "Publish a message to all who take from a topic. With a `key` it is there once, however often you publish "
            f"it. Where {MOST:,} messages wait it fails, or waits if you say so.",
            "topic value", topic=_TEXT, value={}, key=_TEXT, wait={"type": "boolean"},
        ),
        _spec(
            "topic_take",
            "Take the next messages of a topic for a group, and then say with `topic_settle` that they are done.",
            "topic group", topic=_TEXT, group=_TEXT, most={**_COUNT, "minimum": 1, "maximum": 100},
            wait={"type": "number", "minimum": 0, "description": "seconds to wait for one"},
            lease={"type": "number", "minimum": 1, "description": f"seconds that they are yours; {LEASE:g}"},
            tries={**_COUNT, "minimum": 1, "maximum": 100, "description":
                   f"then it is a dead letter; {TRIES}; the first take of a group may say so"},
        ),
        _spec(
            "topic_settle",
            "Say by their numbers `n` that messages of a topic are done with; or with `failed`, why they are not.",
            "topic group numbers", topic=_TEXT, group=_TEXT, numbers=_NUMBERS, failed=_TEXT,
        ),
    )
}  # fmt: skip
TRAITS = {
    "board_read": READS, "board_write": WRITES, "publish": replace(WRITES, idempotent=False, keyed=True),
    "topic_take": READS, "topic_settle": replace(WRITES, meanings={"failed": "text", "numbers": "text"}),
}  # fmt: skip


class Calls:
    """The syscalls, bound to the kernel."""

    def __init__(self, kernel: Callable[[], Kernel]) -> None:
        self.boards, self.topics = Boards(kernel), Topics(kernel)

    def table(self) -> dict[str, Syscall]:
        """The rows of the syscall table. Each is covered as the tool of its name is."""
        handlers: dict[str, Handler] = {
            "board_read": self.boards.read, "board_write": self.boards.write, "publish": self.topics.publish,
            "topic_take": self.topics.take, "topic_settle": self.topics.settle,
        }  # fmt: skip
        words = {"board_read": by.answered, "topic_take": taken}
        return {
            name: Syscall(partial(_checked, name, handler), 7 * DAY, partial(_covered, name), own,
                          words=words.get(name), spends=False, prompt=True)
            for name, handler in handlers.items()
        }  # fmt: skip


def tools() -> dict[str, Tool]:
    """The tools."""
    return {name: Tool(spec, TRAITS[name]) for name, spec in SPECS.items()}


def _covered(name: str, args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The tool of a syscall."""
    return [("tools", name)]


async def _checked(name: str, handler: Handler, call: Call, process: Process) -> Any:
    """Handle a call whose arguments are those that the tool takes; raises InvalidRequest."""
    call.origins, wrong = (), fault(SPECS[name].parameters, places.given(call))
    if wrong is not None:
        raise InvalidRequest(f"{name}: {wrong}")
    return await handler(call, process)


class Tool:
    """A syscall as a tool. It is `Served` that does it: a tool by itself does not know whose call it is."""

    def __init__(self, spec: ToolSpec, traits: Traits) -> None:
        self.spec, self.traits, self.source = spec, traits, "built in"

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Raises Unsupported: it works in a running system only."""
        raise Unsupported(f"{self.spec.name} works for agents of a running system only")


class Served:
    """A filter: the call of a tool that is a syscall is that syscall, with one row for both."""

    calls = frozenset({"call"})

    def __init__(self, table: Mapping[str, Syscall]) -> None:
        self._table = table

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Do it, where the tool is one of these; else let the call proceed."""
        entry = self._table.get(call.args["tool"])
        if entry is None:
            return await proceed(call)
        if process.definition is not None:
            call.decision["definition"] = process.definition
        return await entry.handler(call, process)
