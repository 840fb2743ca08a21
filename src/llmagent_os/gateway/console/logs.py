"""`logs`: the calls that processes made, out of the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any

import typer

from ...core.records import ENDED
from ..client import Client
from .options import AsJson, Data, ask, commands, examples
from .output import emit, short
from .processes import Meant, meant, pages

app = commands()

Made = tuple[dict[str, Any], dict[str, Any]]
"""A process, and a call that it made."""

_LOOK_AGAIN = 0.5  # seconds
_WIDTH = 80


@app.command(epilog=examples("logs 12", "logs assistant --follow", "logs assistant@work --json"))
def logs(
    target: Meant,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C or its end.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show the calls that a process made: when, which, what with, what came back, how long, how many tokens.

    Of an agent or a session those of all its processes, in the order in which they were made.
    """

    async def work(client: Client) -> None:
        seen: dict[int, int] = {}  # the last call that was shown, by pid
        processes = await meant(client, target)
        while True:
            async with aclosing(_new(client, processes, seen)) as calls:
                async for process, call in calls:
                    name = f"{process['name'] or process['pid']:<24} " if len(seen) > 1 else ""
                    emit({"pid": process["pid"], **call}) if as_json else print(name + _line(call), flush=True)
            if not follow or all(process["status"] in ENDED for process in processes):
                return
            await asyncio.sleep(_LOOK_AGAIN)
            processes = await _later(client, target, processes, seen)

    with suppress(KeyboardInterrupt):
        ask(data, work)


async def _later(
    client: Client, target: str, before: list[dict[str, Any]], seen: Mapping[int, int]
) -> list[dict[str, Any]]:
    """What a target means now, and what has ended since; not what had ended before."""
    now = {process["pid"]: process for process in await meant(client, target)}
    gone = [each["pid"] for each in before if each["status"] not in ENDED and each["pid"] not in now]
    ended = [await client.get(f"/v1/processes/{pid}") for pid in gone]
    return [each for pid, each in now.items() if pid in seen or each["status"] not in ENDED] + ended


async def _new(client: Client, processes: list[dict[str, Any]], seen: dict[int, int]) -> AsyncGenerator[Made]:
    """The calls that processes made since, in order; `seen` is told of them.

    Those of one process come as they are read.
    """
    async with aclosing(_of_each(client, processes, seen)) as calls:
        if len(processes) == 1:
            async for each in calls:
                yield each
            return
        found = [each async for each in calls]
    for each in sorted(found, key=lambda made: made[1]["started"]):
        yield each


async def _of_each(client: Client, processes: list[dict[str, Any]], seen: dict[int, int]) -> AsyncGenerator[Made]:
    for process in processes:
        pid = process["pid"]
        path, after = f"/v1/processes/{pid}/calls", seen.setdefault(pid, 0)
        async with aclosing(pages(client, path, "calls", "seq", after)) as calls:
            async for call in calls:
                yield process, call
                seen[pid] = call["seq"]


def _line(call: Mapping[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(call["started"]))
    outcome = f"! {call['error']['message']}" if call.get("error") else f"= {short(call['result'], _WIDTH)}"
    tokens = call["input_tokens"] + call["output_tokens"]
    waited = f", {call['waited'] * 1000:.0f} ms of it waiting" if call["waited"] >= 0.001 else ""
    cost = f"{call['seconds'] * 1000:.0f} ms{waited}" + (f", {tokens} tokens" if tokens else "")
    return f"{at} {call['seq']:>5} {call['turn']:>4} {call['name']:<9} {short(call['args'], _WIDTH)} {outcome} ({cost})"
