"""`boards` and `topics`: what agents share, what was written and published, and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ...core import codec
from .options import AsJson, Data, ask, commands, examples
from .output import emitted, say, short, show, table

WIDE = 60  # letters of a value
app = commands()
boards = commands(no_args_is_help=True, help="See the values that agents share, and what they were.")
topics = commands(no_args_is_help=True, help="See the messages that agents share, and try dead letters again.")
app.add_typer(boards, name="boards")
app.add_typer(topics, name="topics")

Of = Annotated[
    str, typer.Option(help="Whose: `person` (yours), `tenant` (everybody's), or a run by the PID of a process.")
]
Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="Its name, as `topics list` shows it.")]
Group = Annotated[str, typer.Argument(metavar="GROUP", help="The group of consumers, as `topics list` shows it.")]


def _whose(of: str) -> dict[str, Any]:
    return {"of": "run", "pid": int(of)} if of.isdecimal() else {"of": of}


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%m-%d %H:%M:%S}"


@boards.command("list", epilog=examples("boards list", "boards list --of tenant", "boards list --of 42"))
def values(of: Of = "person", as_json: AsJson = False, data: Data = None) -> None:
    """List the values of a board, with their versions and who wrote them."""
    found = ask(data, lambda client: client.get("/v1/board", **_whose(of)))["values"]
    if emitted([{"key": key, **each} for key, each in found.items()], as_json):
        return
    show(table(("KEY", "VERSION", "BY", "VALUE"), [(key, *_said(each)) for key, each in found.items()]))


@boards.command("show", epilog=examples("boards show plan", "boards show plan --of tenant"))
def history(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, as `boards list` shows it.")],
    of: Of = "person", as_json: AsJson = False, data: Data = None,
) -> None:  # fmt: skip
    """Show the versions of a value that are kept, the last first."""
    found = ask(data, lambda client: client.get(f"/v1/board/{quote(key, '')}", **_whose(of)))["versions"]
    if emitted(found, as_json):
        return
    show(table(("AT", "VERSION", "BY", "VALUE"), [(_at(each["at"]), *_said(each)) for each in found]))


def _said(each: Mapping[str, Any]) -> tuple[object, ...]:
    return each["version"], each["by"], _short(each["value"])


def _short(value: Any) -> str:
    return short(codec.words(value), WIDE)


@topics.command("list", epilog=examples("topics list", "topics list --of tenant"))
def listed(of: Of = "person", as_json: AsJson = False, data: Data = None) -> None:
    """List the topics with their groups: what waits for each, what its consumers hold, and its dead letters."""
    found = ask(data, lambda client: client.get("/v1/topics", **_whose(of)))["topics"]
    if emitted([{"topic": name, **each} for name, each in found.items()], as_json):
        return
    rows = []
    for name, each in found.items():
        groups = each["groups"] or {None: {}}
        rows += [
            (name, each["messages"], group, *(told.get(count) for count in ("waiting", "held", "dead", "tries")))
            for group, told in groups.items()
        ]
    show(table(("TOPIC", "MESSAGES", "GROUP", "WAITING", "HELD", "DEAD", "TRIES"), rows))


@topics.command(epilog=examples("topics dead orders", "topics dead orders --json"))
def dead(
    topic: Topic, of: Of = "person", limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    as_json: AsJson = False, data: Data = None,
) -> None:  # fmt: skip
    """List the dead letters of a topic, the oldest of each group first, and why they are."""
    way = f"/v1/topics/{quote(topic, '')}/dead"
    found = ask(data, lambda client: client.get(way, **_whose(of), limit=limit))["dead"]
    if emitted(found, as_json):
        return
    rows = (
        (each["group"], each["id"], _at(each["at"]), short(each["why"], WIDE), _short(each["value"])) for each in found
    )
    show(table(("GROUP", "ID", "AT", "WHY", "VALUE"), rows))


@topics.command(epilog=examples("topics retry orders billing", "topics retry orders billing 12.1.3f09.0"))
def retry(
    topic: Topic, group: Group,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which; all without any.")] = None,
    of: Of = "person", data: Data = None,
) -> None:  # fmt: skip
    """Have a group be given dead letters once more; exit code 1 where there are none."""
    body = {"group": group, "ids": ids or None, **_whose(of)}
    count = ask(data, lambda client: client.post(f"/v1/topics/{quote(topic, '')}/retry", body))["retried"]
    say(f"{count} of {group} {'is' if count == 1 else 'are'} tried once more")
    if not count:
        raise typer.Exit(1)


@topics.command(epilog=examples("topics tries orders billing 3"))
def tries(
    topic: Topic, group: Group,
    count: Annotated[int, typer.Argument(metavar="TRIES", min=1, max=100, help="How many.")],
    of: Of = "person", data: Data = None,
) -> None:  # fmt: skip
    """Say after how many tries a group's messages are dead letters."""
    body = {"group": group, "tries": count, **_whose(of)}
    ask(data, lambda client: client.post(f"/v1/topics/{quote(topic, '')}/tries", body))
    say(f"a message of {group} is a dead letter after {count} tries")
