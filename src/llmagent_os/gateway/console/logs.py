"""`logs`: the calls that a process made, out of the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any

import typer

from ...core.records import ENDED
from ..client import Client
from .options import AsJson, Data, ask, commands, examples
from .output import emit, short
from .processes import pages

app = commands()

_LOOK_AGAIN = 0.5  # seconds
_WIDTH = 80


@app.command(epilog=examples("logs 12", "logs 12 --follow", "logs 12 --json"))
def logs(
    pid: Annotated[int, typer.Argument(metavar="PID", help="The process's number.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C or its end.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show the calls that a process made: when, which, what with, what came back, how long, how many tokens."""

    async def work(client: Client) -> None:
        after = 0
        while True:
            process = await client.get(f"/v1/processes/{pid}")
            async with aclosing(pages(client, f"/v1/processes/{pid}/calls", "calls", "seq", after)) as calls:
                async for call in calls:
                    emit(call) if as_json else print(_line(call), flush=True)
                    after = call["seq"]
            if not follow or process["status"] in ENDED:
                return
            await asyncio.sleep(_LOOK_AGAIN)

    with suppress(KeyboardInterrupt):
        ask(data, work)


def _line(call: Mapping[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(call["started"]))
    outcome = f"! {call['error']['message']}" if call.get("error") else f"= {short(call['result'], _WIDTH)}"
    tokens = call["input_tokens"] + call["output_tokens"]
    waited = f", {call['waited'] * 1000:.0f} ms of it waiting" if call["waited"] >= 0.001 else ""
    cost = f"{call['seconds'] * 1000:.0f} ms{waited}" + (f", {tokens} tokens" if tokens else "")
    return f"{at} {call['seq']:>5} {call['turn']:>4} {call['name']:<9} {short(call['args'], _WIDTH)} {outcome} ({cost})"
