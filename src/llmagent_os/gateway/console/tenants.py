"""`tenants`: what the people and agents of a tenant may have."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...core.errors import InvalidRequest
from ...core.holdings import ORDINARY
from ..client import Client
from .options import AsJson, Data, ask, examples, group
from .output import emitted, say, show, table

app, tenants = group("tenants", "See and say which tools and models a tenant may use, and how much of the machine.")

Name = Annotated[str, typer.Argument(metavar="TENANT")]


@tenants.command("list", epilog=examples("tenants list", "tenants list --json"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the tenants with what they hold; `*` is everything. What is not granted is what every new tenant holds."""
    found = ask(data, lambda client: client.get("/v1/tenants"))["tenants"]
    if emitted(found, as_json):
        return
    show(table(("TENANT", "GRANTED", "TOOLS", "MODELS", "REPLICAS", "NICE"), map(_row, found)))


def _row(tenant: dict[str, Any]) -> tuple[object, ...]:
    tools, models = ("*" if tenant[name] is None else " ".join(tenant[name]) or "-" for name in ("tools", "models"))
    replicas = "any" if tenant["replicas"] is None else tenant["replicas"]
    return tenant["name"], "yes" if tenant["granted"] else "", tools, models, replicas, tenant["nice"]


@tenants.command(
    epilog=examples(
        "tenants grant acme --tool python --tool 'crm_*'",
        "tenants grant acme --model gpt-5-mini --replicas 40",
        "tenants grant acme --tool '*'",
    )
)
def grant(
    name: Name,
    tool: Annotated[list[str] | None, typer.Option(help="A tool, or a pattern of tools, that it may use too.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model or pattern; `@local` is every model that runs in this system.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="How many replicas its agents may have together.")
    ] = None,
    nice: Annotated[int | None, typer.Option(min=-20, max=19, help="The least that its processes may have.")] = None,
    data: Data = None,
) -> None:  # fmt: skip
    """Let a tenant have more than it does, from now on; its admins hand on no more than it holds."""
    if not tool and not model and replicas is None and nice is None:
        raise InvalidRequest("say what is granted: --tool, --model, --replicas or --nice", parameter="grant")

    async def work(client: Client) -> Any:
        held = await _held(client, name)
        for kind, more in (("tools", tool), ("models", model)):
            if more and held[kind] is not None:
                held[kind] = [*held[kind], *(each for each in more if each not in held[kind])]
        held |= {key: value for key, value in (("replicas", replicas), ("nice", nice)) if value is not None}
        return await client.put(f"/v1/tenants/{name}", held)

    _say(ask(data, work))


@tenants.command(epilog=examples("tenants withdraw acme --tool python"))
def withdraw(
    name: Name,
    tool: Annotated[list[str] | None, typer.Option(help="A tool or pattern, as `tenants list` shows it.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model or pattern, likewise.")] = None,
    data: Data = None,
) -> None:
    """Take tools or models from a tenant; its agents are refused them at their next call."""

    async def work(client: Client) -> Any:
        held = await _held(client, name)
        for kind, less in (("tools", tool), ("models", model)):
            for each in less or ():
                if each not in (held[kind] or ()):
                    text = f"{name} does not hold {each!r} by that name; see `llmagent-os tenants list`"
                    raise InvalidRequest(text, parameter=kind)
                held[kind].remove(each)
        return await client.put(f"/v1/tenants/{name}", held)

    _say(ask(data, work))


@tenants.command(epilog=examples("tenants reset acme"))
def reset(name: Name, data: Data = None) -> None:
    """Let a tenant hold what every new one does."""
    _say(ask(data, lambda client: client.delete(f"/v1/tenants/{name}")))


async def _held(client: Client, name: str) -> dict[str, Any]:
    """What a tenant holds now, as `PUT` takes it; one that is new, what is ordinary."""
    ordinary = {"name": name, "tools": list(ORDINARY.tools or ()), "models": list(ORDINARY.models or ()),
                "replicas": ORDINARY.replicas, "nice": ORDINARY.nice}  # fmt: skip
    listed = (await client.get("/v1/tenants"))["tenants"]
    found = next((each for each in listed if each["name"] == name), ordinary)
    return {key: found[key] for key in ("tools", "models", "replicas", "nice")}


def _say(tenant: dict[str, Any]) -> None:
    _, _, tools, models, replicas, nice = _row(tenant)
    say(f"{tenant['name']}: tools {tools}; models {models}; replicas {replicas}; nice from {nice}")
