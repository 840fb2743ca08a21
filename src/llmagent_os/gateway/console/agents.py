"""`agents`: definitions, and the processes that run them."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ...agent.spec import load
from ...core.errors import InvalidRequest
from ...core.records import Json
from ..client import Client
from .changes import parsed
from .options import AsJson, Data, ask, examples, group
from .output import emit, say, show, table
from .processes import pages

app, agents = group("agents", "Create, change, deploy and remove agents.")

Name = Annotated[str, typer.Argument(help="The agent's name.")]
Replicas = Annotated[int, typer.Argument(min=0, help="How many processes share its work.")]


@agents.command("list", epilog=examples("agents list", "agents list --json"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the agents."""
    found = ask(data, _all)
    if as_json:
        for agent in found:
            emit(agent)
        return
    headers = ("NAME", "VERSION", "MODEL", "TOOLS", "REPLICAS", "SESSIONS", "DESCRIPTION")
    show(table(headers, map(_row, found)))


async def _all(client: Client) -> list[dict[str, Any]]:
    async with aclosing(pages(client, "/v1/agents", "agents", "name", "")) as found:
        return [agent async for agent in found]


def _row(agent: dict[str, Any]) -> tuple[object, ...]:
    tools = " ".join(agent["tools"])
    counts = (agent["replicas"], agent["sessions"])
    return (agent["name"], agent["version"], agent["model"], tools, *counts, agent["description"])


@agents.command("show", epilog=examples("agents show assistant", "agents show assistant --json"))
def shown(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Show an agent's definition and processes."""
    found = ask(data, lambda client: client.get(f"/v1/agents/{name}"))
    if as_json:
        emit(found)
    else:
        print(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), end="")


@agents.command("create", epilog=examples("agents create writer.yaml"))
def create(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML: one definition, or several.")],
    data: Data = None,
) -> None:
    """Create the agents of a YAML file.

    A definition needs no more than `name: writer`."""
    specs = load(file)
    if not specs:
        raise InvalidRequest(f"{file} has no definition in it; the least is `name: writer`", parameter="file")

    async def work(client: Client) -> None:
        for spec in specs:
            await client.post("/v1/agents", spec.data())
            say(f"created {spec.name}")

    ask(data, work)


@agents.command(
    "configure",
    epilog=examples(
        "agents configure writer model=small sampling.temperature=0.2",
        "agents configure clerk policy.tools.send_mail=ask",
    ),
)
def configure(
    name: Name,
    changes: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Fields and their new values, in YAML.")],
    data: Data = None,
) -> None:
    """Make a new version of an agent.

    Its processes use it from their next turn on."""

    async def work(client: Client) -> Json:
        now = await client.get(f"/v1/agents/{name}")
        within = [f"grant.{each}" if each.startswith("policy") else each for each in changes]  # where it stands
        return await client.patch(f"/v1/agents/{name}", parsed(within, now["spec"]))

    say(f"{name} is now at version {ask(data, work)['version']}")


@agents.command("deploy", epilog=examples("agents deploy assistant", "agents deploy assistant 4"))
def deploy(name: Name, replicas: Replicas = 1, data: Data = None) -> None:
    """Run an agent, so many times."""
    _scale(name, "deploy", replicas, data)


@agents.command("scale", epilog=examples("agents scale assistant 4"))
def scale(name: Name, replicas: Replicas, data: Data = None) -> None:
    """Start or retire processes of an agent.

    One that retires answers first what it was sent."""
    _scale(name, "scale", replicas, data)


def _scale(name: str, verb: str, replicas: int, data: Path | None) -> None:
    pids = ask(data, lambda client: client.post(f"/v1/agents/{name}/{verb}", {"replicas": replicas}))["pids"]
    say(f"{name} runs as: {' '.join(map(str, pids)) or 'nothing'}")


@agents.command("terminate", epilog=examples("agents terminate assistant"))
def terminate(name: Name, data: Data = None) -> None:
    """End every process of an agent now.

    Its definition stays."""
    pids = ask(data, lambda client: client.post(f"/v1/agents/{name}/terminate"))["pids"]
    say(f"ended: {' '.join(map(str, pids)) or 'nothing'}")


@agents.command("delete", epilog=examples("agents delete writer"))
def delete(name: Name, data: Data = None) -> None:
    """End an agent and forget its definition."""
    ask(data, lambda client: client.delete(f"/v1/agents/{name}"))
    say(f"deleted {name}")
