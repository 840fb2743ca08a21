"""`backup` and `restore`: everything that a system knows, in a folder and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import load
from ...offline import backed_up, checked, pinned, restored
from .options import Data, commands, examples
from .output import say

app = commands()

Where = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.")]


@app.command(epilog=examples("backup /mnt/monday", "backup /mnt/monday --check", "backup /mnt/monday --no-keys"))
def backup(
    to: Where,
    check: Annotated[bool, typer.Option("--check", help="Hold it against itself; with a DIR that is one, only that.")]
    = False,
    keys: Annotated[bool, typer.Option("--keys/--no-keys", help="The keys too: whoever has them can read all.")] = True,
    workspaces: Annotated[bool, typer.Option("--workspaces/--no-workspaces", help="The agents' files too.")] = True,
    data: Data = None,
) -> None:  # fmt: skip
    """Copy the journal, keys, audit log, definitions and workspaces of a data folder.

    Works beside a running system, which is not held up, and without one. DIR is new or empty. Models are not in it.
    """
    if not (check and (to / "backup.json").exists()):
        made = backed_up(load({"data": data}), to, keys, workspaces)
        size = sum(int(each[0]) for each in made.files.values())
        print(f"{to}: {len(made.files)} files, {size / 1e6:.1f} MB")
        for name in made.without:
            print(f"not in it: {name}; keep it elsewhere, a restored system needs it")
        for each in made.unread:
            print(f"could not be copied: {each}")
    if check:
        _check(to)


@app.command(epilog=examples("restore /mnt/monday", "restore /mnt/monday --check", "restore /mnt/monday --data new"))
def restore(
    backup: Where,
    check: Annotated[
        bool, typer.Option("--check", help="Only hold the backup against itself; nothing is written.")
    ] = False,
    data: Data = None,
) -> None:
    """Put a backup into a data folder that has no journal. What was running when it was made goes on at the next start.

    Do not start it beside the system that it was made of: both would do the work.
    """
    if check:
        _check(backup)
        return
    config = load({"data": data})
    _, before = pinned(config)
    made = restored(backup, config)
    print(f"restored {len(made.files)} files into {config.data}")
    for name in made.without:
        if not (config.data / name).exists():
            print(f"not in the backup: {name}; put it there before you start")
    if before is not None:
        say("what was pinned of an audit log in this folder is forgotten; the next start pins this one")


def _check(backup: Path) -> None:
    found = checked(backup)
    for fault in found:
        print(fault)
    print("all is as it was" if not found else f"{len(found)} faults")
    if found:
        raise typer.Exit(1)
