"""`agents`: definitions, and the processes that run them."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from ...core.errors import InvalidRequest, NotFound, PermissionDenied
from ...core.records import Json
from ..client import Client
from .changes import parsed
from .options import AsJson, Data, ask, examples, group
from .output import emit, emitted, say, short, show, table
from .processes import pages

if TYPE_CHECKING:
    from ...agent.spec import AgentSpec

app, agents = group("agents", "Create, change, deploy and remove agents.")

_TUNED = re.compile("-[0-9a-f]{16}$")  # what ends the name of what was tuned: the sum of what is in it
_WIDTH, _BEFORE, _LONGEST = 60, 10, 1 << 20  # characters of a value that is told

Name = Annotated[str, typer.Argument(help="The agent's name.")]
Replicas = Annotated[int, typer.Argument(min=0, help="How many processes share its work.")]
File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="YAML: one definition, or several as a list or documents.")
]


@agents.command("list", epilog=examples("agents list", "agents list --json"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the agents."""
    found = ask(data, _all)
    if emitted(found, as_json):
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
def create(file: File, data: Data = None) -> None:
    """Create the agents of a YAML file.

    A definition needs no more than `name: writer`."""
    specs = _read(file)

    async def work(client: Client) -> None:
        for spec in specs:
            await client.post("/v1/agents", spec.data())
            say(f"created {spec.name}")

    ask(data, work)


@agents.command("apply", epilog=examples("agents apply team.yaml", "agents apply team.yaml --check"))
def apply(
    file: File,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing, say what would be; exit code 1 if something would.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create the agents of a YAML file, or change them to be as it says, and tell what changed.

    What a definition leaves out is as by default. Nothing is changed where one of them cannot be used."""
    specs = _read(file)

    async def put(client: Client, checking: bool) -> list[dict[str, Any]]:
        query = {"check": "true"} if checking else {}
        return [await client.put(f"/v1/agents/{spec.name}", spec.data(), **query) for spec in specs]

    async def work(client: Client) -> list[dict[str, Any]]:
        found = await put(client, True)
        return found if check else await put(client, False)

    done = ask(data, work)
    for each in done:
        emit(each) if as_json else say("\n".join(_told(each, check)))
    if check and any(each["created"] or each["changed"] for each in done):
        raise typer.Exit(1)


def _told(done: dict[str, Any], check: bool) -> Iterator[str]:
    """What was applied, or would be, and each field that differs."""
    name, fields = done["name"], sorted(done["changed"])
    if done["created"]:
        yield f"{'would create' if check else 'created'} {name}"
    elif not fields:
        yield f"{name} is as it was, at version {done['version']}"
    else:
        yield f"{name} {'would be' if check else 'is now'} at version {done['version']}:"
    for field in fields:
        yield from _differences(field, done["changed"][field]["old"], done["changed"][field]["new"])


def _differences(path: str, old: Json, new: Json) -> Iterator[str]:
    """The values in which two fields differ, a line each: from where they do, as far as there is room."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                yield from _differences(f"{path}.{key}", old.get(key), new.get(key))
        return
    texts = [short(value, _LONGEST) for value in (old, new)]
    start = max(0, _common(*texts) - _BEFORE) if max(map(len, texts)) > _WIDTH else 0
    before, after = (("…" if start else "") + short(text[start:], _WIDTH) for text in texts)
    yield f"    {path}: {before or '(empty)'} -> {after or '(empty)'}"


def _common(one: str, other: str) -> int:
    """How many characters two texts share at their beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _read(file: Path) -> list[AgentSpec]:
    """The definitions of a file; raises InvalidRequest."""
    specs: list[AgentSpec] = importlib.import_module("...agent.spec", __package__).load(file)  # with what checks them
    if not specs:
        raise InvalidRequest(f"{file} has no definition in it; the least is `name: writer`", parameter="file")
    names = Counter(spec.name for spec in specs)
    if twice := [name for name, times in names.items() if times > 1]:
        raise InvalidRequest(f"{file} defines {twice[0]!r} twice; keep one of them", parameter="file")
    return specs


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
    """End an agent and forget its definition, and what was tuned for it and is used by no other."""
    gone = ask(data, lambda client: _deleted(client, name))
    say(", ".join([f"deleted {name}", *gone]))


async def _deleted(client: Client, name: str) -> list[str]:
    """Delete an agent; returns the model or adapter that went with it."""
    spec = (await client.get(f"/v1/agents/{name}"))["spec"]
    await client.delete(f"/v1/agents/{name}")
    model, adapter = spec["model"], spec.get("adapter")
    path = f"/v1/models/{model}" if _TUNED.fullmatch(model.removeprefix(name)) else ""
    path = f"/v1/models/{model}/adapters/{adapter}" if adapter and _TUNED.search(adapter) else path
    same = [each["name"] for each in await _all(client) if each["model"] == model] if path else []
    specs = [(await client.get(f"/v1/agents/{each}"))["spec"] for each in same]
    if not path or any(each.get("adapter") == adapter for each in specs):
        return []
    try:
        await client.delete(path)
    except (NotFound, PermissionDenied) as error:
        return [f"but not what was tuned for it: {error.message}"]
    return [adapter or model]
