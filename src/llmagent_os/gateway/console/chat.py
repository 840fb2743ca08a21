"""`chat`: talk to an agent of a running system."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Data, Remember, address, commands, examples
from .talk import converse

app = commands()


@app.command(epilog=examples("chat", "chat assistant --session work", "chat < questions.txt"))
def chat(
    agent: Annotated[str, typer.Argument(help="The agent's name.")] = "assistant",
    session: Annotated[str | None, typer.Option(help="Go on with a conversation, or start one of this name.")] = None,
    history: Remember = True,
    data: Data = None,
) -> None:
    """Talk to an agent.

    At a terminal, where /help says more. Where the input is piped, each line is answered on standard output.
    """
    if not converse(address(data), agent, session, history):
        raise typer.Exit(1)
