"""`plugins`: what is loaded beside the built-in parts, what is wrong with it, and loading files again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from ...config import load
from ...offline import known_plugins
from ..client import NotRunning
from .options import AsJson, Data, ask, examples, group
from .output import emit, show, table

app, plugins = group("plugins", "List the plugins, and load their files again.")


@plugins.command("list", epilog=examples("plugins list"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the plugins and what is wrong with which, of the running system or of the configuration."""
    try:
        found = ask(data, lambda client: client.get("/v1/plugins"))
    except NotRunning:
        names, wrong = known_plugins(load({"data": data}))
        found = {"plugins": names, "wrong": wrong}
    _shown(found["plugins"], found["wrong"], as_json)


@plugins.command(epilog=examples("plugins reload"))
def reload(as_json: AsJson = False, data: Data = None) -> None:
    """Load the plugin files of the running system again; exit code 1 where one is wrong, which stays as it was.

    Their tools and loops are new at once, and engines that are opened; filters, syscalls, programs and strategies from
    the next start on. Modules that a file imports are not loaded again.
    """
    done = ask(data, lambda client: client.post("/v1/plugins/reload", {}))
    _shown(done["loaded"], done["wrong"], as_json)
    if done["wrong"]:
        raise typer.Exit(1)


def _shown(names: Sequence[str], wrong: Mapping[str, str], as_json: bool) -> None:
    rows = [(name, wrong.get(name)) for name in dict.fromkeys([*names, *wrong])]
    if as_json:
        for name, why in rows:
            emit({"name": name, "wrong": why})
        return
    show(table(("PLUGIN", "WHAT IS WRONG"), rows))
