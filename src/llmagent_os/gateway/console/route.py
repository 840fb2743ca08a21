"""`route`: which engine would be asked, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJson, Data, ask, commands, examples
from .output import emit, show, table

app = commands()


@app.command(epilog=examples("route fast 'Hello'", "route fast 'Hello' --task chat --max-price 0.01 --max-tokens 200"))
def route(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The name of a route or a model.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What would be asked.")],
    task: Annotated[str, typer.Option(help="The kind of task.")] = "",
    language: Annotated[str, typer.Option(help="The language of the answer.")] = "",
    max_price: Annotated[float | None, typer.Option(help="US dollars that the call may cost.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that the answer may have.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Say which model would be asked, and for every other one why not; nothing is asked.

    COST is the seconds that a right answer is expected to take, money included at the route's rate.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "needs": {"task": task, "language": language, "max_price": max_price},
    }
    plan = ask(data, lambda client: client.post("/v1/route", body))
    if as_json:
        emit(plan)
        return
    rows = ((row["model"], None if row["cost"] is None else f"{row['cost']:.3g}", row["why"]) for row in plan["models"])
    show(table(("MODEL", "COST", "WHY"), rows))
    if plan["strategy"]:
        print(f"decoded by: {plan['strategy']['strategy']}")
