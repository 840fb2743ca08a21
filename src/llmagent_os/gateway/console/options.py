"""What the commands share: options, examples in their help, and the way to a running system."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer

from ...core.errors import InvalidRequest
from ...core.folders import data_folder
from ..chosen import CHOSEN, KEY, Chosen
from ..client import Address, Client, Lost, NotRunning, find, not_running

T = TypeVar("T")

Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The system's data folder; LLMAGENT_OS_DATA or the user's own without it."),
]
Plugin = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="A Python file with hooks; may be given several times.")
]
Remember = Annotated[
    bool,
    typer.Option(
        "--history/--no-history",
        envvar="LLMAGENT_OS_HISTORY",
        help="Keep what is typed in a chat for the next one, in a file that only you can read.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, or one a line, and nothing else.")]


def commands(**settings: Any) -> typer.Typer:
    """An empty set of commands, with plain help and errors."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, **settings)


def group(name: str, help: str) -> tuple[typer.Typer, typer.Typer]:
    """The command of a name, and what its own commands are added to."""
    app, own = commands(), commands(no_args_is_help=True, help=help)
    app.add_typer(own, name=name)
    return app, own


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  llmagent-os {line}" for line in lines)


def folder(data: Path | None) -> Path:
    """The data folder that is meant."""
    return data if data is not None else data_folder()


def address(data: Path | None) -> Address:
    """Where the system that is meant listens, and with which key it is talked to; raises NotRunning.

    That of `--data`; else of the URL and key that were chosen; what was not is as in the user's own data folder.
    """
    chosen = CHOSEN.get() if data is None else Chosen()
    if chosen.url is None:
        return find(folder(data), chosen.key)
    if chosen.key is None:
        text = f"which key is {chosen.url} to be talked to with? Set {KEY}, or give --key-file"
        raise InvalidRequest(text, parameter="key")
    return Address(chosen.url, chosen.key, 0)


def chosen_elsewhere(data: Path | None) -> bool:
    """Whether the system that is meant is named by its URL, and need not be on a data folder of this machine."""
    return data is None and CHOSEN.get().url is not None


def ask(data: Path | None, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do something with the system that is meant; raises NotRunning, and what the server answers."""
    where = address(data)
    try:
        return asyncio.run(reach(where, work))
    except NotRunning as error:
        if not where.pid or isinstance(error, Lost):
            raise
        raise not_running(folder(data)) from None


async def reach(where: Address, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do something with the system at an address."""
    async with Client(where.url, where.key) as client:
        return await work(client)


def text_of(file: Path | TextIO) -> str:
    """The text in a file, or of what is piped in; raises InvalidRequest where there is none, or it is not UTF-8."""
    try:
        return file.read_text(encoding="utf-8") if isinstance(file, Path) else file.read()
    except UnicodeDecodeError as error:
        name = file if isinstance(file, Path) else file.name
        raise InvalidRequest(f"{name} is not text in UTF-8: {error.reason}", parameter="file") from error
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}", parameter="file") from error


def written(text: str) -> Any:
    """What somebody wrote as a value: JSON where it is some, else their words; None for nothing."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
