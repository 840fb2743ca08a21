"""`keys`: who may use the system, and for what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .options import AsJson, Data, ask, examples, group
from .output import emitted, moment, say, show, table

app, keys = group("keys", "Mint, list and revoke keys.")


@keys.command("list", epilog=examples("keys list", "keys list --json"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the keys; their secrets are not kept."""
    found = ask(data, lambda client: client.get("/v1/keys"))["keys"]
    if emitted(found, as_json):
        return
    headers = ("ID", "NAME", "TENANT", "PRINCIPAL", "ROLES", "SCOPES", "RATE", "EXPIRES", "MINTED WITH")
    show(table(headers, map(_row, found)))


def _row(key: dict[str, Any]) -> tuple[object, ...]:
    expires = moment(key["expires"]) if key["expires"] else "never"
    scopes = len(key["scopes"]) if key["roles"] else " ".join(key["scopes"])
    roles, rate = " ".join(key["roles"]), f"{key['rate']:g}/min" if key["rate"] else ""
    return key["id"], key["name"], key["tenant"], key["principal"], roles, scopes, rate, expires, key["parent"]


@keys.command(
    epilog=examples(
        "keys add --tenant acme --principal ann --role admin --days 90",
        "keys add --scope chat --days 1 --rate 60 --name 'a script'",
    )
)
def add(
    role: Annotated[list[str] | None, typer.Option(help="owner, admin, user or viewer.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Such as chat or agents:read; beside those of roles.")] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    tenant: Annotated[str | None, typer.Option(help="The tenant that it is let in to; default without it.")] = None,
    principal: Annotated[str | None, typer.Option(help="Whom it speaks for; its minter without it.")] = None,
    days: Annotated[float | None, typer.Option(help="How long it lives; for ever without it.")] = None,
    rate: Annotated[float, typer.Option(help="Requests a minute; 0: any number.")] = 0,
    data: Data = None,
) -> None:
    """Mint a key and print it; it is shown this once."""
    body = {
        "name": name, "roles": role or [], "scopes": scope or [], "tenant": tenant, "principal": principal,
        "days": days, "rate": rate,
    }  # fmt: skip
    made = ask(data, lambda client: client.post("/v1/keys", body))
    say(f"{made['id']} for {made['principal']} of {made['tenant']}: {', '.join(made['scopes'])}")
    print(made["key"])


@keys.command(epilog=examples("keys revoke key-0123456789ab"))
def revoke(identifier: Annotated[str, typer.Argument(metavar="ID")], data: Data = None) -> None:
    """End a key, and every key that was minted with it, at once."""
    gone = ask(data, lambda client: client.delete(f"/v1/keys/{identifier}"))["revoked"]
    say(f"revoked: {' '.join(gone)}")
