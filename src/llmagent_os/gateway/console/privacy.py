"""`privacy`: a person's data, and how long data is kept."""

from __future__ import annotations

import sys
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from ..client import Client
from .options import AsJson, Data, ask, examples, group
from .output import emit, say

app, privacy = group("privacy", "Export and erase a person's data, and how long data is kept.")

Principal = Annotated[str, typer.Argument(help="Whose data: the principal of their key, or the `sub` of their token.")]
Tenant = Annotated[str | None, typer.Option(help="The tenant that they belong to; default without it.")]


@privacy.command(epilog=examples("privacy export ann --tenant acme > ann.jsonl"))
def export(principal: Principal, tenant: Tenant = None, data: Data = None) -> None:
    """Print everything that is a person's, a JSON object a line."""
    query = urlencode({"principal": principal} | ({"tenant": tenant} if tenant else {}))
    sys.stdout.buffer.write(ask(data, lambda client: client.read(f"/v1/privacy/export?{query}")))


@privacy.command(epilog=examples("privacy erase ann --tenant acme --prove ann@example.org"))
def erase(
    principal: Principal,
    tenant: Tenant = None,
    prove: Annotated[list[str] | None, typer.Option(help="A text that is to be nowhere afterwards.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Erase everything that is a person's; exits with 1 where a text to be proved gone is still somewhere."""
    body = {"principal": principal, "tenant": tenant, "prove": prove or []}
    done: dict[str, Any] = ask(data, lambda client: client.post("/v1/privacy/erase", body))
    found = done.pop("found")
    if as_json:
        emit({**done, "found": found})
    else:
        say("erased: " + ", ".join(f"{number} {kind}" for kind, number in done.items()))
        for text, places in found.items():
            say(f"{text!r} is " + (f"still in {', '.join(places)}" if places else "nowhere"))
    if any(found.values()):
        raise typer.Exit(1)


@privacy.command(epilog=examples("privacy consent ann", "privacy consent ann --give", "privacy consent ann --withdraw"))
def consent(
    principal: Principal,
    give: Annotated[bool | None, typer.Option("--give/--withdraw", help="From now on; shown only without it.")] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show whether a person lets their feedback be learned from, or note what they decided."""
    whose = {"principal": principal} | ({"tenant": tenant} if tenant else {})

    async def work(client: Client) -> Any:
        if give is not None:
            await client.put("/v1/privacy/consent", {**whose, "learning": give})
        return await client.get("/v1/privacy/consent", **whose)

    told = ask(data, work)
    if as_json:
        emit(told)
        return
    say(f"{principal} {'lets' if told['learning'] else 'does not let'} their traffic be learned from")


@privacy.command(epilog=examples("privacy retention", "privacy retention --now"))
def retention(
    now: Annotated[bool, typer.Option("--now", help="Delete what is past its time now.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show after how many days data is deleted (`retention` in config.yaml), or delete it now."""
    path = "/v1/privacy/retention"
    told = ask(data, lambda client: client.post(path) if now else client.get(path))
    if as_json:
        emit(told)
        return
    for kind, number in told.items():
        say(f"{kind}: {number} deleted" if now else f"{kind}: {'kept' if number is None else f'{number:g} days'}")
