"""`ps`, `pause`, `resume`, `kill`, `nice`: processes by number, or all of an agent by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from ..client import Client
from .options import AsJson, Data, ask, commands, examples
from .output import ago, emitted, say, show, table

if TYPE_CHECKING:
    from ...core.records import Json

app = commands()

Target = Annotated[str, typer.Argument(metavar="PID|AGENT", help="A process's number, or an agent's name.")]
Meant = Annotated[
    str, typer.Argument(metavar="PID|AGENT|SESSION", help="A process's number, an agent's name, or a session's.")
]

_PAGE = 1000
ENDED = ("stopped", "done")
HEADERS = ("PID", "PARENT", "NAME", "PROGRAM", "STATUS", "NI", "TURNS", "STEPS", "TOKENS", "COST", "AGE", "WHY")


async def pages(client: Client, path: str, rows: str, key: str, after: int | str = 0) -> AsyncGenerator[dict[str, Any]]:
    """Every row of a listing, page by page; `key` is the field that the next page begins after."""
    while True:
        answer = await client.get(path, after=after, limit=_PAGE)
        page = answer[rows]
        for row in page:
            yield row
        if not page or not answer.get("more", len(page) == _PAGE):
            return
        after = page[-1][key]


async def meant(client: Client, target: str) -> list[dict[str, Any]]:
    """The processes of a number or a name; raises NotFound where there are none."""
    if target.isdecimal():
        return [await client.get(f"/v1/processes/{target}")]
    async with aclosing(pages(client, f"/v1/processes?{urlencode({'name': target})}", "processes", "pid")) as found:
        return [each async for each in found]


@app.command(epilog=examples("ps", "ps --all", "ps --json"))
def ps(
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List the processes."""

    async def work(client: Client) -> list[dict[str, Json]]:
        found = []
        async with aclosing(pages(client, "/v1/processes", "processes", "pid")) as listed:
            async for process in listed:
                if everything or process["status"] not in ENDED:
                    found.append(process)
        return found

    processes = ask(data, work)
    if emitted(processes, as_json):
        return
    show(table(HEADERS, map(row, processes)))
    if not processes:
        say("no processes; start an agent with: llmagent-os agents deploy assistant")


def row(process: Mapping[str, Any]) -> tuple[object, ...]:
    """A process as a line of a table."""
    usage = process["usage"]
    return (
        process["pid"], process["parent"] or "", process["name"], process["program"], process["status"],
        process["nice"], process["turns"], usage["steps"], usage["input_tokens"] + usage["output_tokens"],
        f"${usage['money']:.4f}" if usage["money"] else "", ago(process["created"]), process["reason"],
    )  # fmt: skip


@app.command(epilog=examples("pause 12", "pause assistant"))
def pause(target: Target, data: Data = None) -> None:
    """Hold a process at its next step until it is resumed, also across a restart; or every process of an agent."""
    _control(target, "pause", "pause", "paused", data)


@app.command(epilog=examples("resume 12", "resume assistant"))
def resume(target: Target, data: Data = None) -> None:
    """Let a paused process go on, or every paused process of an agent."""
    _control(target, "resume", "resume", "resumed", data)


@app.command(epilog=examples("kill 12", "kill assistant"))
def kill(target: Target, data: Data = None) -> None:
    """End a process and everything below it, or every process of an agent.

    Messages that were not answered yet are answered with an error.
    """
    _control(target, "kill", "terminate", "ended", data)


@app.command(context_settings={"ignore_unknown_options": True}, epilog=examples("nice 12 5", "nice assistant -3"))
def nice(
    target: Target,
    value: Annotated[int, typer.Argument(min=-20, max=19, metavar="N", help="-20 goes first, 19 last.")],
    data: Data = None,
) -> None:
    """Change how a process stands in line for an engine, or every living process of an agent."""
    _control(target, "nice", "nice", f"nice {value}", data, nice=value)


def _control(target: str, of_process: str, of_agent: str, done: str, data: Path | None, **body: Json) -> None:
    """Do one thing to a process or to an agent, and say to which processes it was done."""
    if target.isdecimal():
        ask(data, lambda client: client.post(f"/v1/processes/{target}/{of_process}", body or None))
        say(f"{done}: {target}")
        return
    answer = ask(data, lambda client: client.post(f"/v1/agents/{target}/{of_agent}", body or None))
    pids = " ".join(map(str, answer["pids"]))
    say(f"{done}: {pids or 'nothing; see: llmagent-os ps --all'}")
