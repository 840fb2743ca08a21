"""`anomalies`: what was out of the ordinary."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from .options import AsJson, Data, ask, examples, group
from .output import emit, show, table

app, anomalies = group("anomalies", "See what agents did that they never do, and end a quarantine.")


@anomalies.command("list", epilog=examples("anomalies list"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List what was seen since the start, and who is in quarantine."""
    found = ask(data, lambda client: client.get("/v1/anomalies"))
    if as_json:
        emit(found)
        return
    for agent, reason in found["quarantined"].items():
        print(f"{agent} is in quarantine ({reason}); let it go on with: anomalies release {agent}")
    if not found["anomalies"]:
        print("nothing was out of the ordinary")
        return
    rows = [
        (
            time.strftime("%H:%M:%S", time.localtime(each["at"])),
            each["action"],
            each["agent"],
            each["pid"],
            each["reason"],
        )
        for each in found["anomalies"]
    ]
    show(table(("AT", "DONE", "AGENT", "PID", "WHY"), rows))


@anomalies.command(epilog=examples("anomalies release clerk"))
def release(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Its name, as `anomalies list` shows it.")],
    data: Data = None,
) -> None:
    """End the quarantine of an agent; its processes stay paused until they are resumed."""
    ask(data, lambda client: client.delete(f"/v1/anomalies/{agent}"))
    print(f"{agent} may work again; `resume` its processes")
