"""`files`: what lies in the workspaces of agents."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import quote

import typer

from ...core.errors import InvalidRequest
from .options import AsJson, Data, ask, examples, group
from .output import emit, say, show, size, table

app, files = group("files", "List, get and put the files that an agent works on.")

Agent = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name, or AGENT@SESSION.")]
Person = Annotated[
    str | None, typer.Option(metavar="NAME", help="Whose workspace; your own without it. Takes the scope `people`.")
]


@files.command("list", epilog=examples("files list clerk", "files list clerk reports --pattern '*.csv'"))
def listed(
    agent: Agent,
    folder: Annotated[str, typer.Argument(help="A folder of the workspace; all of it without one.")] = "",
    pattern: Annotated[str, typer.Option(metavar="PATTERN", help="Of names, such as '*.csv'.")] = "*",
    person: Person = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List the files that an agent works on for you."""
    query = {"folder": folder, "pattern": pattern, "principal": person}
    found = ask(data, lambda client: client.get(_path(agent), **query))
    if as_json:
        for file in found["files"]:
            emit(file)
    else:
        show(table(("PATH", "SIZE"), ((file["path"], size(file["size"])) for file in found["files"])))
        if not found["files"]:
            say(f"no files; put one there with: llmagent-os files put {agent} FILE")
    if found["more"]:
        say(found["more"])


@files.command("get", epilog=examples("files get clerk notes.txt", "files get clerk plot.png - > plot.png"))
def get(
    agent: Agent,
    path: Annotated[str, typer.Argument(help="The file's path in the workspace.")],
    target: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to write it; `-` prints it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also over a file that is there already.")] = False,
    person: Person = None,
    data: Data = None,
) -> None:
    """Copy a file out of a workspace, by default into this folder, under its own name."""
    to = target if target is not None else Path(PurePosixPath(path).name)
    if to.is_dir():
        to /= PurePosixPath(path).name
    if str(to) != "-" and to.exists() and not force:
        raise InvalidRequest(f"{to} is there already; give another name, or --force", parameter="FILE")
    content = ask(data, lambda client: client.read(_path(agent, path), principal=person))
    if str(to) == "-":
        with os.fdopen(os.dup(1), "wb") as out:
            out.write(content)
        return
    to.write_bytes(content)
    say(f"wrote {to}, {size(len(content))}")


@files.command("put", epilog=examples("files put clerk prices.csv", "files put clerk prices.csv data/prices.csv"))
def put(
    agent: Agent,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What to put there.")],
    path: Annotated[str, typer.Argument(help="Its path in the workspace; its own name without it.")] = "",
    person: Person = None,
    data: Data = None,
) -> None:
    """Put a file into a workspace, over one that is there under that path."""
    to = path + file.name if path.endswith("/") else path or file.name
    content = file.read_bytes()
    done = ask(data, lambda client: client.put(_path(agent, to), content, principal=person))
    say(f"put {done['path']} into the workspace of {agent.partition('@')[0]}, {size(done['size'])}")


def _path(agent: str, path: str | None = None) -> str:
    return f"/v1/agents/{quote(agent, '@')}/files" + ("" if path is None else f"/{quote(path)}")
