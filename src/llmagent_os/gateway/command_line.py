"""The commands put together. A command's module is imported when it is called, so that help is quick."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from .. import __version__
from ..core.errors import LLMAgentOSError, nearest
from ..core.visible import visible
from .chosen import CHOSEN, KEY, URL, Chosen, read_key
from .cli import COMMANDS


class Lazy(TyperGroup):
    """Finds a command by importing its module."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; an unknown name ends the program with the nearest one."""
        if cmd_name not in COMMANDS:
            ctx.fail(f"no command {cmd_name!r}; {nearest(cmd_name, COMMANDS)}")
        module = importlib.import_module(f".console.{COMMANDS[cmd_name][0]}", __package__)
        return get_group(module.app).commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(
    cls=Lazy, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def tell_version(wanted: bool) -> None:
    """Print the version and end, where it is asked for."""
    if wanted:
        print(f"llmagent-os {__version__}")
        raise typer.Exit


@app.callback(epilog="Each command has its own --help, with examples.")
def commands(
    url: Annotated[
        str | None,
        typer.Option(envvar=URL, metavar="URL", help="Where the system answers; the data folder says so without it."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Whose first line is the key to use; {KEY} or the owner's without it."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=tell_version, is_eager=True)
    ] = False,
) -> None:
    """An operating system for LLM agents, on hardware its owner controls."""
    key = read_key(key_file) if key_file is not None else os.environ.get(KEY)
    CHOSEN.set(Chosen(url or None, key or None))


def run() -> None:
    """Run what was typed."""
    try:
        app(prog_name="llmagent-os")
    except LLMAgentOSError as error:
        print("llmagent-os:", visible(" ".join(error.message.split())), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
