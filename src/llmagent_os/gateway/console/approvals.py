"""`approvals`: what agents wait for you to allow."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from .options import AsJson, Data, ask, examples, group
from .output import emit

app, approvals = group("approvals", "See and answer what agents ask before they do it.")

Which = Annotated[str, typer.Argument(metavar="ID", help="The question's id, as `approvals list` shows it.")]


@approvals.command("list", epilog=examples("approvals list"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the questions that wait for an answer: exactly what would be done, and who wrote what is in doubt."""
    found = ask(data, lambda client: client.get("/v1/approvals"))["approvals"]
    if as_json:
        for each in found:
            emit(each)
        return
    if not found:
        print("nobody asks for anything")
    for each in found:
        print(f"{each['id']}  {each['agent']} (process {each['pid']}) wants to {each['tool']}")
        for name, value in each["arguments"].items():
            origin = each["origins"].get(name)
            print(f"    {name} = {json.dumps(value, ensure_ascii=False)}" + (f"   <- from {origin}" if origin else ""))
        print(f"    why you are asked: {each['why']}")
        if each["four_eyes"]:
            print(f"    four eyes: somebody else than {each['principal']} has to allow it")


@approvals.command(epilog=examples("approvals allow 5f3a9c0d12e4b678"))
def allow(which: Which, as_json: AsJson = False, data: Data = None) -> None:
    """Let the agent do it, this once."""
    _answer(which, True, as_json, data)


@approvals.command(epilog=examples("approvals refuse 5f3a9c0d12e4b678"))
def refuse(which: Which, as_json: AsJson = False, data: Data = None) -> None:
    """Have the agent do without it."""
    _answer(which, False, as_json, data)


def _answer(which: str, allow: bool, as_json: bool, data: Any) -> None:
    found = ask(data, lambda client: client.post(f"/v1/approvals/{which}", {"allow": allow}))
    if as_json:
        emit(found)
    else:
        print(f"{found['agent']} {'may' if allow else 'may not'} {found['tool']}")
