"""`run` and `save`: one message to an agent, and the files of its answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...core import documents
from ...core.records import Json
from ...core.visible import visible
from ..client import Client
from .conversation import answer, tell_more
from .options import AsJson, Data, ask, commands, examples, text_of
from .output import emit, say
from .screen import Screen

app = commands()


@app.command(epilog=examples('run assistant "Who are you?"', "run writer - < notes.txt", "run writer hello --json"))
def run(
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    text: Annotated[str, typer.Argument(help="The message; `-` reads it from standard input.")],
    session: Annotated[str | None, typer.Option(help="The conversation that it belongs to; none without it.")] = None,
    stream: Annotated[bool, typer.Option(help="Print the answer as it comes.")] = True,
    when: Annotated[
        str,
        typer.Option(help="While a turn of the session runs: queue, steer (it takes it in), interrupt (at once)."),
    ] = "queue",
    outcome: Annotated[
        str | None,
        typer.Option(help="What the result has to be, in YAML (`{schema: ...}`), or @FILE: it works until it is."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Give an agent one message and print its answer.

    With an outcome that is not reached it exits with 1.
    """
    body: dict[str, Json] = {"text": text_of(sys.stdin) if text == "-" else text, "session": session}
    if when != "queue":
        body["when"] = when
    if outcome is not None:
        wanted = text_of(Path(outcome[1:])) if outcome.startswith("@") else outcome
        body["options"] = {"outcome": documents.one(wanted, "the outcome")}

    async def work(client: Client) -> Json:
        return await answer(client, agent, body, Screen(live=stream and not as_json))

    reply = ask(data, work)
    verdict = reply.get("verdict") or {"passed": True}
    if as_json:
        emit(reply)
    else:
        if not stream:
            print(reply["text"])
        tell_more(reply)
    if reply["finish"] == "steered":
        say("the turn that runs has taken it in")
    if not verdict["passed"]:
        say(f"not accepted after {verdict['tries']} tries: {visible(verdict['why'])}")
        raise typer.Exit(1)


@app.command(epilog=examples("save 6f1ed002ab5595859014ebf0951522d9 plot.png"))
def save(
    blob: Annotated[str, typer.Argument(help="The file's name in the journal, as the answer told it.")],
    target: Annotated[Path, typer.Argument(help="Where to write it.")],
    data: Data = None,
) -> None:
    """Save a file or picture that an answer named."""
    target.write_bytes(ask(data, lambda client: client.read(f"/v1/blobs/{blob}")))
    say(f"saved {target}")
