"""`sandbox`: what code of agents runs in, and the libraries that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from ...config import load
from ...offline import sandbox_libraries, sandbox_trouble, set_up_libraries
from .options import AsJson, Data, examples, group
from .output import emit, say, size

app, sandbox = group("sandbox", "See what code runs in, and bring libraries for it.")


@sandbox.command("setup", epilog=examples("sandbox setup"))
def setup(
    again: Annotated[bool, typer.Option("--again", help="Also where they are there already.")] = False,
) -> None:
    """Bring numpy, pandas and matplotlib for the tools `python` and `shell`: about 60 MB to download, by pip.

    They lie in your cache folder, for all systems of yours, and code can read them only. Ctrl-C leaves nothing behind.
    """
    found = sandbox_libraries()
    if found is not None and found.current and not again:
        say(f"nothing to do: {_told(found.versions)} are there, {size(found.size)} in {found.folder}")
        return
    done = set_up_libraries(say)
    say(f"{_told(done.versions)} are there for code from its next call on: {size(done.size)} in {done.folder}")


@sandbox.command("status", epilog=examples("sandbox status", "sandbox status --json"))
def status(as_json: AsJson = False, data: Data = None) -> None:
    """Say what code runs in here, and which libraries it has."""
    settings = load({"data": data}).tools.sandbox
    trouble, found = sandbox_trouble(settings), sandbox_libraries()
    if as_json:
        about = asdict(found) | {"folder": str(found.folder), "current": found.current} if found is not None else None
        emit({"level": settings.level, "trouble": trouble, "libraries": about})
        return
    print(f"level      {settings.level}: {trouble or 'works'}")
    if found is None:
        print("libraries  none but Python's own; bring numpy, pandas and matplotlib with: llmagent-os sandbox setup")
        return
    print(f"libraries  {_told(found.versions)}, {size(found.size)} in {found.folder}")
    if not found.current:
        say("this release brings newer ones: llmagent-os sandbox setup")


def _told(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
