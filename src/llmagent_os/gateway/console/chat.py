"""`chat`: talk to an agent of a running system."""

from __future__ import annotations

from typing import Annotated

import typer

from .conversation import converse
from .options import Data, address, commands, examples, folder

app = commands()


@app.command(epilog=examples("chat", "chat assistant --session work", "chat < questions.txt"))
def chat(
    agent: Annotated[str, typer.Argument(help="The agent's name.")] = "assistant",
    session: Annotated[str | None, typer.Option(help="Go on with a conversation, or start one of this name.")] = None,
    data: Data = None,
) -> None:
    """Talk to an agent.

    On a terminal, line by line. Where the input is piped, each line is answered on standard output.
    """
    if not converse(address(data), agent, session, folder(data) / "chat_history"):
        raise typer.Exit(1)
