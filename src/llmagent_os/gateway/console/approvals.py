"""`approvals`: what agents wait for you to allow."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from ...core.errors import InvalidRequest
from ...core.records import Json
from ...core.visible import named, quoted, visible
from ..client import Client
from ..notices import became
from .asking import columns_of, described, value_of
from .changes import parsed
from .options import AsJson, Data, ask, examples, group, text_of
from .output import emit, emitted

app, approvals = group("approvals", "See and answer what agents ask before they do it.")

Which = Annotated[str, typer.Argument(metavar="ID", help="The question's id, as `approvals list` shows it.")]


@approvals.command("list", epilog=examples("approvals list"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the questions that wait for an answer: exactly what would be done, and who wrote what is in doubt."""
    found = ask(data, lambda client: client.get("/v1/approvals"))["approvals"]
    if emitted(found, as_json):
        return
    if not found:
        print("nobody asks for anything")
    for each in found:
        print("\n".join(_of(each)))


@approvals.command("show", epilog=examples("approvals show 5f3a9c0d12e4b678"))
def shown(which: Which, as_json: AsJson = False, data: Data = None) -> None:
    """Show a question, and what became of it."""
    found = ask(data, lambda client: client.get(f"/v1/approvals/{which}"))
    if as_json:
        emit(found)
        return
    print("\n".join(_of(found)))
    waits = found["allowed"] is None and found["over"] is None
    print("    it waits for an answer" if waits else f"    it {became(found)}")


@approvals.command(
    epilog=examples("approvals allow 5f3a9c0d12e4b678", "approvals allow 5f3a9c0d12e4b678 --set amount=20")
)
def allow(
    which: Which,
    put: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Put another value, in YAML; may be given several times."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Let the agent do it, this once; as it is shown, or with other values."""
    _answer(which, True, as_json, data, put or ())


@approvals.command(epilog=examples("approvals refuse 5f3a9c0d12e4b678"))
def refuse(which: Which, as_json: AsJson = False, data: Data = None) -> None:
    """Have the agent do without it."""
    _answer(which, False, as_json, data)


@approvals.command(
    epilog=examples(
        "approvals answer 5f3a9c0d12e4b678 refund", "approvals answer 5f3a9c0d12e4b678 '{amount: 20}'",
        "approvals answer 5f3a9c0d12e4b678 --file letter.txt",
    )
)  # fmt: skip
def answer(
    which: Which,
    value: Annotated[
        str | None,
        typer.Argument(help="An option or its number, data in YAML, or the text; without it the text stays as it is."),
    ] = None,
    file: Annotated[
        typer.FileText | None, typer.Option(help="Read the value from a file; - for what is typed or piped in.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Say what a question asks for: choose, fill in, or correct."""

    async def work(client: Client) -> Any:
        kept = await client.get(f"/v1/approvals/{which}")
        text = value if file is None else text_of(file)
        if text is not None and kept["form"] is not None:
            said = value_of(kept, text)
        elif kept["kind"] == "correct":
            said = kept["arguments"]["value"]
        else:
            raise InvalidRequest(f"to {named(kept['tool'])}: allow, refuse, or a VALUE where one is asked for")
        return await client.post(f"/v1/approvals/{which}", {"value": said})

    found = ask(data, work)
    if as_json:
        emit(found)
    else:
        print(f"{visible(found['agent'])} goes on with {quoted(found['answer'])}")


def _answer(which: str, allow: bool, as_json: bool, data: Any, put: Sequence[str] = ()) -> None:
    async def work(client: Client) -> Any:
        body: dict[str, Json] = {"allow": allow}
        if put:
            now = (await client.get(f"/v1/approvals/{which}"))["arguments"]
            body["arguments"] = now | parsed(put, now)
        return await client.post(f"/v1/approvals/{which}", body)

    found = ask(data, work)
    if as_json:
        emit(found)
    else:
        print(f"{visible(found['agent'])} {'may' if allow else 'may not'} {named(found['tool'])}")


def _of(kept: dict[str, Any]) -> Iterator[str]:
    """A question in lines, its id before the first."""
    first, *rest = described(kept, columns_of(sys.stdout))
    yield f"{kept['id']}  {first}"
    yield from rest
