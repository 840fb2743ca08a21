"""The command line, `llmagent-os COMMAND`. A command's module is imported when it is called, so that help is quick."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from .. import __version__
from ..core.errors import LLMAgentOSError, nearest

COMMANDS = {
    "up": ("up", "Start the system; with --chat, talk to its assistant."),
    "chat": ("chat", "Talk to an agent."),
    "run": ("run", "Give an agent one message and print its answer."),
    "save": ("run", "Save a file or picture that an answer named."),
    "ps": ("processes", "List the processes."),
    "top": ("top", "Watch the system at work."),
    "logs": ("logs", "Show the calls that a process made."),
    "events": ("events", "Follow every call of the system as it ends."),
    "pause": ("processes", "Hold a process or an agent at its next step."),
    "resume": ("processes", "Let a paused process or agent go on."),
    "kill": ("processes", "End a process, or every process of an agent."),
    "nice": ("processes", "Change how a process or an agent stands in line."),
    "replay": ("replay", "Run a past process again from its journal, without a model."),
    "explain": ("explain", "Draw what a transformers model looked at for an answer."),
    "route": ("route", "Say which model would be asked, and why."),
    "models": ("models", "List, add, fetch and remove models."),
    "agents": ("agents", "Create, change, deploy and remove agents."),
    "keys": ("keys", "Mint, list and revoke keys."),
    "privacy": ("privacy", "Export and erase a person's data, and how long data is kept."),
    "backup": ("backup", "Copy everything that a system knows, while it runs."),
    "restore": ("backup", "Put a backup into a data folder."),
    "audit": ("audit", "Verify the journal, and show what tools were called."),
    "approvals": ("approvals", "See and answer what agents ask before they do it."),
    "anomalies": ("anomalies", "See what agents did that they never do, and end a quarantine."),
    "accounts": ("accounts", "See what was drawn on the accounts of budgets, and give some back."),
    "tools": ("tools", "List, try and add tools."),
    "plugins": ("plugins", "List the plugins, and load their files again."),
    "doctor": ("doctor", "Say what is missing and the command that mends it."),
    "bench": ("bench", "Measure this system."),
}
"""Command -> (its module in `console`, its line in the help)."""


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
    cls=Lazy, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False
)


def tell_version(wanted: bool) -> None:
    """Print the version and end, where it is asked for."""
    if wanted:
        print(f"llmagent-os {__version__}")
        raise typer.Exit


@app.callback(epilog="Each command has its own --help, with examples.")
def commands(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=tell_version, is_eager=True)
    ] = False,
) -> None:
    """An operating system for LLM agents, on hardware its owner controls."""


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error and exit code 1 (2: wrong usage)."""
    try:
        app()
    except LLMAgentOSError as error:
        print("llmagent-os:", " ".join(error.message.split()), file=sys.stderr)
        sys.exit(1)
