"""`memory`: what agents remember."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ...core.errors import InvalidRequest
from ...core.visible import visible
from ..client import Client
from .options import AsJson, Data, ask, examples, group
from .output import emit, emitted, moment, say, short, show, table

app, memory = group("memory", "See, change and forget what agents remember.")

PAGE = 1000  # memories that are asked for at once

Agent = Annotated[str | None, typer.Option(metavar="AGENT", help="What this agent remembers; what all do without.")]
Name = Annotated[str, typer.Argument(help="As agents name it in `pinned`.")]
Shared = Annotated[bool, typer.Option("--shared", help="Of agents that work for everybody; yours without.")]
Number = Annotated[int, typer.Argument(metavar="MEMORY", help="Its number, as `memory list` tells it.")]


async def _all(client: Client, agent: str | None) -> list[dict[str, Any]]:
    found = list[dict[str, Any]]()
    while True:
        after = found[-1]["memory"] if found else 0
        part = (await client.get("/v1/memory", agent=agent, after=after, limit=PAGE))["memories"]
        found += part
        if len(part) < PAGE:
            return found


@memory.command("list", epilog=examples("memory list", "memory list --agent clerk --json"))
def listed(agent: Agent = None, as_json: AsJson = False, data: Data = None) -> None:
    """List what is remembered."""
    found = ask(data, lambda client: _all(client, agent))
    if emitted(found, as_json):
        return
    rows = ((each["memory"], visible(each["agent"]), each["principal"], visible(each["title"]),
             moment(each["at"] or each["added"]), visible(short(each["text"], 80))) for each in found)  # fmt: skip
    show(table(("MEMORY", "AGENT", "WHOSE", "ABOUT", "SINCE", "TEXT"), rows))


@memory.command("show", epilog=examples("memory show 12"))
def shown(number: Number, as_json: AsJson = False, data: Data = None) -> None:
    """Show a memory, in whose words it is, and what it said before."""
    found = ask(data, lambda client: client.get(f"/v1/memory/{number}"))
    if as_json:
        emit(found)
        return
    said = f", in words of {', '.join(found['origins'])}" if found["origins"] else ""
    whose = ", ".join(filter(None, (found["agent"], found["principal"])))  # a note that people pin is no agent's
    say(visible(f"{whose}, since {moment(found['at'] or found['added'])}{said}"))
    print(*map(visible, found["text"].splitlines()), sep="\n")
    for each in found["before"]:
        until = "" if each["until"] is None else f" until {moment(each['until'])}"
        say(visible(f"before{until}: {each['text']}"))


@memory.command(epilog=examples("memory edit 12 'The rent is due on the sixth.'"))
def edit(
    number: Number, text: Annotated[str, typer.Argument(help="What it is to say.")], data: Data = None
) -> None:  # fmt: skip
    """Have a memory say something else; what it said is kept with it."""
    done = ask(data, lambda client: client.put(f"/v1/memory/{number}", {"text": text}))
    say(f"changed; it is memory {done['memory']} now")


@memory.command(epilog=examples("memory pin profile 'Ann, a vegetarian; lives in Oslo.'"))
def pin(
    name: Name, text: Annotated[str, typer.Argument(help="All that it is to say.")], shared: Shared = False,
    data: Data = None,
) -> None:  # fmt: skip
    """Have a note say something that agents are always shown who name it; what it said is kept with it."""
    ask(data, lambda client: client.put(f"/v1/memory/pinned/{quote(name, safe='')}", {"text": text, "shared": shared}))
    say(visible(f"pinned {name}"))


@memory.command(epilog=examples("memory unpin profile"))
def unpin(name: Name, shared: Shared = False, data: Data = None) -> None:
    """Take a note away, with what stands beside it."""
    ask(data, lambda client: client.delete(f"/v1/memory/pinned/{quote(name, safe='')}", shared=shared))
    say(visible(f"{name} is not pinned any more"))


@memory.command(epilog=examples("memory forget 12", "memory forget --since 3600 --agent clerk"))
def forget(
    number: Annotated[int, typer.Argument(metavar="[MEMORY]", help="Its number, as `memory list` tells it.")] = 0,
    since: Annotated[float | None, typer.Option(metavar="SECONDS", help="All of so many last seconds.")] = None,
    agent: Agent = None,
    data: Data = None,
) -> None:
    """Forget a memory with all that it said before, or all that was remembered lately."""
    if bool(number) == (since is not None):
        raise InvalidRequest("forget what? a memory's number, or --since SECONDS", parameter="memory")

    async def work(client: Client) -> Any:
        if number:
            return await client.delete(f"/v1/memory/{number}")
        return await client.delete("/v1/memory", since=time.time() - (since or 0), agent=agent)

    say(f"forgot {ask(data, work)['forgotten']}")


@memory.command(epilog=examples("memory export > memories.jsonl"))
def export(agent: Agent = None, data: Data = None) -> None:
    """Write what is remembered, with what it said before, a line of JSON each."""

    async def work(client: Client) -> list[dict[str, Any]]:
        return [await client.get(f"/v1/memory/{each['memory']}") for each in await _all(client, agent)]

    for each in ask(data, work):
        emit(each)
