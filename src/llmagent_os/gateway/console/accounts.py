"""`accounts`: what was drawn on the accounts of budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Data, ask, examples, group
from .output import emit, show, table

if TYPE_CHECKING:
    from ...core.records import Json

app, accounts = group("accounts", "See what was drawn on the accounts of budgets, and give some back.")


@accounts.command("list", epilog=examples("accounts list"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List what was drawn, as far as a budget limits it, and how much may be. PERIOD is `-` where that is for ever."""
    found = ask(data, lambda client: client.get("/v1/accounts"))
    if as_json:
        emit(found)
        return
    names = ("account", "resource", "period", "used", "limit")
    show(table([name.upper() for name in names], map(_row, found["accounts"])))


@accounts.command(epilog=examples("accounts credit agent/clerk tokens 50000"))
def credit(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its name, as `accounts list` shows it.")],
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="tokens, money, steps or seconds.")],
    amount: Annotated[float, typer.Argument(metavar="AMOUNT", help="How much is given back.")],
    period: Annotated[
        str, typer.Option(help="Its period, as `accounts list` shows it; the present one without it.")
    ] = "",
    data: Data = None,
) -> None:
    """Give an account something back, so that who has used it up may go on."""
    body = {"account": account, "resource": resource, "period": period.removeprefix("-"), "amount": amount}
    ask(data, lambda client: client.post("/v1/accounts", body))
    print(f"{amount:g} {resource} more may be drawn on {account}")


def _row(drawn: Json) -> list[str]:
    limit = f"{drawn['limit']:.10g}" if drawn["limit"] is not None else "-"
    return [drawn["account"], drawn["resource"], drawn["period"] or "-", f"{drawn['used']:.10g}", limit]
