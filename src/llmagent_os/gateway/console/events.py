"""`events`: every call of the system, as it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any

import typer

from ..client import Client
from .options import AsJson, Data, ask, commands, examples
from .output import emit

app = commands()


@app.command(epilog=examples("events", "events --pid 12", "events --after 0 --json"))
def events(
    after: Annotated[int | None, typer.Option(min=0, help="Go on after this number; without it, from now on.")] = None,
    pid: Annotated[int | None, typer.Option(help="Of this process only.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Follow what the system does until Ctrl-C: its number, when, for whom, which call, how it ended, what it took."""

    async def work(client: Client) -> None:
        async with aclosing(client.follow("/v1/events", after=after, pid=pid)) as found:
            async for _, event in found:
                emit(event) if as_json else print(_line(event), flush=True)

    with suppress(KeyboardInterrupt):
        ask(data, work)


def _line(event: Mapping[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event["started"] + event["seconds"]))
    tokens, model = event["input_tokens"] + event["output_tokens"], event["decision"].get("model")
    took = f"{event['seconds'] * 1000:.0f} ms" + (f", {tokens} tokens of {model}" if tokens else "")
    who = f"{event['tenant']}/{event['principal']}"
    return f"{event['n']:>8} {at} {event['pid']:>6} {who:<20} {event['name']:<10} {event['outcome']:<9} {took}"
