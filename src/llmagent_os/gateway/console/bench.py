"""`bench`: the measurements of the checkout, run by this interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import NotFound, not_found
from .options import AsJson, commands, examples
from .output import emit, show, table

app = commands()

_CHECKOUT = Path(__file__).parents[4]


@app.command(
    epilog=examples("bench list", "bench overhead", "bench all --json", "bench journal --help"),
    context_settings={"allow_extra_args": True, "allow_interspersed_args": False},
)
def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which; `list` tells them, `all` runs one after another.")] = "list",
    as_json: AsJson = False,
) -> None:
    """Measure this system. What follows NAME is handed to the bench; `bench NAME --help` tells its options.

    A result says what was measured, the target, and whether it was met; exit code 1 if one was not.
    """
    found = _benches()
    arguments = context.args if not as_json else [*context.args, "--json"]
    if name == "list":
        _tell(found, "--json" in arguments)
    elif name == "all":
        raise typer.Exit(max([_measure(file, arguments) for file in found.values()]))
    elif name in found:
        raise typer.Exit(_measure(found[name], arguments))
    else:
        raise not_found("bench", name, found)


def _measure(file: Path, arguments: list[str]) -> int:
    """Run one bench; its exit code, 1 for one that ended by a signal."""
    code = subprocess.run([sys.executable, file, *arguments], check=False).returncode
    return code if code >= 0 else 1


def _benches() -> dict[str, Path]:
    """The benches by name; raises NotFound where there is no checkout."""
    folder = _CHECKOUT / "bench"
    found = {file.stem: file for file in sorted(folder.glob("*.py")) if "from common import" in file.read_text()}
    if not found:
        raise NotFound(f"there are no benches in {folder}; they come with the source: clone it and run: make bench")
    return found


def _tell(found: dict[str, Path], as_json: bool) -> None:
    lines = {name: _first_line(file) for name, file in found.items()}
    if not as_json:
        show(table(("BENCH", "MEASURES"), lines.items()))
        return
    for name, line in lines.items():
        emit({"bench": name, "measures": line})


def _first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
