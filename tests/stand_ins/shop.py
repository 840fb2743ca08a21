"""A plugin with effects to count: a clerk's program and two tools, which note each execution under its key in a file.

The folders in `tests/fixtures` were written with it, so it says what it said then.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from llmagent_os.core.records import GenerateRequest, Json, Message, Ticket, ToolSpec, Traits
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.plugins import hookimpl

_TEXT = {"type": "string"}


class Noted:
    """A tool that notes what it does, one JSON line an execution; with a `gate` it returns once that is set."""

    def __init__(self, name: str, ledger: Path, gate: asyncio.Event | None = None) -> None:
        schema = {"type": "object", "properties": {"to": _TEXT, "amount": {"type": "number"}}}
        self.spec, self.traits = ToolSpec(name, f"{name} somebody", schema), Traits("write", trusted=True)
        self._ledger, self._gate = ledger, gate

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        with self._ledger.open("a") as file:
            file.write(json.dumps({"tool": self.spec.name, "key": ticket.key, "arguments": arguments}) + "\n")
        if self._gate is not None:
            await self._gate.wait()
        return {"note": "noted " * 400, "to": arguments["to"]}


async def clerk(sys: Sys, args: Json, state: Json) -> Any:
    """Takes a message, asks a model, pays, has a child add up, posts, and answers with the total so far."""
    message = await sys.receive()
    await sys.now()
    answer = await sys.generate(GenerateRequest("scripted", (Message("user", f"pay {message.body['to']}?"),)))
    await sys.call("pay", {"to": message.body["to"], "amount": message.body["amount"], "said": answer.text})
    total = await sys.wait(await sys.spawn("adder", [state or 0, message.body["amount"]]))
    await sys.call("post", {"to": message.body["to"], "total": total})
    await sys.reply(message, {"total": total, "args": args})
    return Idle(total)


async def adder(sys: Sys, args: Json, state: Json) -> Any:
    await sys.random()
    return sum(args)


class Shop:
    def __init__(self, ledger: Path, gate: asyncio.Event | None = None) -> None:
        self._tools = {"pay": Noted("pay", ledger), "post": Noted("post", ledger, gate)}

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return self._tools

    @hookimpl
    def programs(self) -> dict[str, Program]:
        return {"clerk": Program(clerk, wakes=True), "adder": Program(adder)}
