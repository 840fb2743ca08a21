"""`desktop`: open the page that shows and steers the whole system, logged in."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from .options import Data, address, ask, commands, examples
from .output import say

app = commands()


@app.command(epilog=examples("desktop", "desktop --no-open"))
def desktop(
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, or only print the address.")] = True,
    data: Data = None,
) -> None:
    """Open the desktop in a browser of this machine, logged in with your key.

    The address that is printed logs in once, within ten minutes.
    """
    told = ask(data, lambda client: client.post("/v1/login/ticket"))
    url = f"{address(data).url}/#ticket={told['ticket']}"
    print(url)
    if open_ and not webbrowser.open(url):
        say("no browser could be opened from here: open this address in one on this machine")
