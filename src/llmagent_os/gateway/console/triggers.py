"""`triggers`: what starts agents and flows by itself: at a time, for a message, a file or a webhook."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ...core import documents
from ...core.errors import InvalidRequest
from ..client import Client
from .options import AsJson, Data, ask, examples, group, written
from .output import emit, emitted, say, short, show, table

app, triggers = group("triggers", "Start agents and flows at times, for messages, files and webhooks.")

Name = Annotated[str, typer.Argument(help="The trigger's name.")]
File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="YAML: one definition, or several as a list or documents.")
]


@triggers.command(epilog=examples("triggers create morning.yaml"))
def create(file: File, data: Data = None) -> None:
    """Create the triggers of a YAML file, or change them to be as it says.

    Times are due by a new definition from then on."""
    specs = documents.definitions(file.read_bytes(), str(file))
    if not specs or not all(isinstance(each, dict) and each.get("name") for each in specs):
        raise InvalidRequest(f"{file}: a trigger's definition is a mapping with name and agent", parameter="file")

    async def work(client: Client) -> None:
        for spec in specs:
            done = await client.put(f"/v1/triggers/{spec['name']}", spec)
            what = "created" if done["created"] else "changed" if done["changed"] else "as it was:"
            say(f"{what} {done['name']}" + (f"; its webhook: POST {done['hook']}" if done["hook"] else ""))

    ask(data, work)


@triggers.command("list", epilog=examples("triggers list"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the triggers."""
    found = ask(data, lambda client: client.get("/v1/triggers"))["triggers"]
    if emitted(found, as_json):
        return
    headers = ("NAME", "PID", "STATUS", "STARTS", "RUNNING", "WAITING", "NEXT", "BY", "AGENT")
    show(table(headers, map(_row, found)))


def _row(each: dict[str, Any]) -> tuple[object, ...]:
    spec, counts = each["definition"], (each["starts"], len(each["running"]), each["waiting"])
    kind = next(kind for kind in ("cron", "every", "folder", "message", "webhook") if kind in spec)
    by = f"{kind} {spec[kind]}" if kind in ("cron", "every", "folder") else kind
    return (each["name"], each["pid"], each["status"], *counts, each["next"], by, spec["agent"])


@triggers.command("show", epilog=examples("triggers show morning"))
def shown(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Show a trigger: its definition, when it is due next, what runs and waits."""
    found = ask(data, lambda client: client.get(f"/v1/triggers/{name}"))
    emit(found) if as_json else print(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), end="")


@triggers.command(epilog=examples("triggers pause morning"))
def pause(name: Name, data: Data = None) -> None:
    """Hold a trigger: nothing is started until it goes on."""
    ask(data, lambda client: client.post(f"/v1/triggers/{name}/pause"))
    say(f"paused {name}")


@triggers.command(epilog=examples("triggers resume morning"))
def resume(name: Name, data: Data = None) -> None:
    """Let a paused trigger go on, by its rule for what was missed."""
    ask(data, lambda client: client.post(f"/v1/triggers/{name}/resume"))
    say(f"{name} goes on")


@triggers.command(epilog=examples("triggers delete morning"))
def delete(name: Name, data: Data = None) -> None:
    """Delete a trigger, and end what it has started."""
    ask(data, lambda client: client.delete(f"/v1/triggers/{name}"))
    say(f"deleted {name}")


@triggers.command(epilog=examples("triggers fire morning", "triggers fire orders '{\"order\": 7}'"))
def fire(
    name: Name,
    given: Annotated[str, typer.Argument(metavar="[EVENT]", help="What it is told: JSON, or text.")] = "",
    data: Data = None,
) -> None:
    """Start a trigger now, by its rule for what runs already; exit code 1 where nothing is started."""
    body = {"input": written(given), "wait": 10}
    done = ask(data, lambda client: client.post(f"/v1/triggers/{name}/fire", body))
    if "pid" in done:
        say(f"started process {done['pid']}")
    elif "waits" in done:
        say(f"it waits, as number {done['waits']}")
    elif why := done.get("skipped") or done.get("failed"):
        say(f"not started: {why}")
        raise typer.Exit(1)
    else:
        say("not started yet: it is paused, or at work; the message waits")


@triggers.command(epilog=examples("triggers history morning"))
def history(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List what a trigger has started, and what it has not and why, the last first."""
    found = ask(data, lambda client: client.get(f"/v1/triggers/{name}/starts", limit=limit))["starts"]
    if emitted(found, as_json):
        return
    rows = ((each["due"], f"{datetime.fromtimestamp(each['at']):%m-%d %H:%M:%S}", each["pid"], each["status"],
             each["missed"] or None, short(each["why"] or "", 60))
            for each in found)  # fmt: skip
    show(table(("DUE", "AT", "PID", "STATUS", "MISSED", "WHY"), rows))
