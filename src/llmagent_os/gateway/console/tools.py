"""`tools`: what tools there are, trying one, and bringing in others. Works with and without a running system."""

from __future__ import annotations

import asyncio
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from typer.core import TyperCommand

from ...boot import PATIENCE, boot
from ...config import Config, load
from ...core import codec
from ...core.errors import InvalidRequest, LLMAgentOSError, not_found
from ...core.ports import Tool
from ...core.records import Json
from ...core.visible import visible
from ...offline import known_sources, listed_once, login
from ..client import NotRunning
from ..client import find as running_on
from ..rest_tools import described
from . import registry
from .adding import Wanted, theirs, wanted
from .asking import columns_of, folded
from .options import AsJson, Data, ask, examples, group, reach
from .output import emitted, say, show, table

CONNECT = 180.0  # seconds for an MCP server to answer, which may first be fetched; it may do so later, too
_SHOWN = 20  # tools of one source that are left out, for people

app, tools = group("tools", "List, try and add tools.")


@tools.command("list", epilog=examples("tools list", "tools list --json"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the tools that agents may be given, where each comes from and what it does."""
    try:
        told = ask(data, lambda client: client.get("/v1/tools"))
        found, missing = told["tools"], told["missing"]
    except NotRunning:
        known, missing = asyncio.run(known_sources(load({"data": data})))
        found = [described(name, tool) for name, tool in sorted(known.items())]
    for each in missing:
        _lacking(each)
    if emitted(found, as_json):
        return
    rows = ((each["name"], each["source"], each["effect"], _first(each["description"])) for each in found)
    show(table(("NAME", "SOURCE", "EFFECT", "WHAT IT DOES"), rows))


def _lacking(source: Mapping[str, Any]) -> None:
    """Say what is wrong with a source of tools."""
    if source["trouble"]:
        say(visible(f"missing: {source['source']}: {source['trouble']}"))
    for name, why in list(source["left_out"].items())[:_SHOWN]:
        say(visible(f"left out: {source['source']}: {name}: {why}"))
    if (more := len(source["left_out"]) - _SHOWN) > 0:
        say(f"left out: {source['source']}: {more} more")


def _first(description: str) -> str:
    return description.strip().partition("\n")[0]


@tools.command(
    "test", epilog=examples("tools test clock", """tools test calculator '{"expression": "2 ** 10"}'""")
)  # fmt: skip
def tested(
    name: Annotated[str, typer.Argument(help="The tool's name.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments, a JSON object.")] = "{}",
    data: Data = None,
) -> None:
    """Call a tool once and print its result, on the running system or one that is started for it."""
    try:
        given = codec.loads(arguments)
    except ValueError as error:
        raise InvalidRequest(f"the arguments are no JSON: {error}", parameter="arguments") from None
    try:
        result = ask(data, lambda client: client.post(f"/v1/tools/{name}", {"arguments": given}))["result"]
    except NotRunning:
        result = asyncio.run(_alone(load({"data": data}), name, given))
    print(codec.words(result))


async def _alone(config: Config, name: str, arguments: dict[str, Json]) -> Json:
    system = await boot(config)
    try:
        if name not in system.tools:
            await system.sources.settled(PATIENCE)
        return await system.sys.call(name, arguments)
    finally:
        await system.close()


class _Add(TyperCommand):
    """Leaves an MCP server's own flags to it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Ours stand before the command, what comes after is its own."""
        return super().parse_args(ctx, theirs(args))


@tools.command(
    "add",
    cls=_Add,
    epilog=examples(
        "tools add ./mine.py",
        "tools add https://api.example.org/openapi.json --name shop --key-env SHOP_KEY",
        "tools add --mcp uvx mcp-server-time",
        "tools add --mcp --name files npx -y @modelcontextprotocol/server-filesystem /srv/files",
        "tools add --mcp API_TOKEN=abc npx -y some-server --verbose",
        "tools add --mcp io.github.someone/some-server",
        "tools add --mcp https://example.org/mcp --key-env EXAMPLE_TOKEN",
        "tools add servers.json",
    ),
)
def add(
    source: Annotated[
        str, typer.Argument(help="A plugin's file, an OpenAPI document, an MCP server, or JSON with `mcpServers`.")
    ],
    rest: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="Of an MCP server's command, flags too.")
    ] = None,
    name: Annotated[str, typer.Option(help="What its tools' names begin with; told by the source without it.")] = "",
    mcp: Annotated[
        bool, typer.Option("--mcp", help="It is an MCP server: a command, a URL, or a name in the registry.")
    ] = False,
    key_env: Annotated[str, typer.Option(help="The environment variable that holds the key.")] = "",
    env: Annotated[
        list[str] | None, typer.Option(help="A variable that an MCP command is given: NAME, or NAME=VALUE.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
) -> None:
    """Write a source of tools into the configuration, once you have seen what it will be allowed to do.

    It is there from the next start on. Of an MCP server, options stand before the command: what comes after is its own.
    """
    config = load({"data": data})
    if mcp and registry.is_name(source):
        found = [asyncio.run(registry.entry(config.tools.registry, source, rest or [], env or [], key_env))]
        _agree(found, yes, always=True)
    else:
        found = wanted(source, rest or [], mcp, name, key_env, env or [])
        _agree(found, yes)
    for each in found:
        _written(replace(each, name=name) if name and each.kind != "plugins" else each, config.data, data)


def _agree(found: list[Wanted], yes: bool, always: bool = False) -> None:
    """Show what is wanted, and ask where somebody is there; what the registry names is never added unasked."""
    columns = columns_of(sys.stderr)
    for each in found:
        for line in each.about():
            for piece in folded(line, columns) if columns else (line,):
                say(piece)
    if yes:
        return
    if sys.stdin.isatty():
        typer.confirm("Add it?", abort=True)
    elif always:
        raise InvalidRequest("nobody is here to be asked; look at it, and say --yes", parameter="yes")
    else:
        say("(no terminal to ask at: taken as a yes, as with --yes)")


def _written(source: Wanted, folder: Path, data: Path | None) -> None:
    """Write one into the configuration, try it, and say what it brought; one that cannot be is not left there."""
    file = folder / "config.yaml"
    before, values = _read(file)
    if source.kind == "plugins":
        values["plugins"] = [*(each for each in values.get("plugins") or () if each != source.entry), source.entry]
    else:
        told = values["tools"] = values.get("tools") or {}
        sources = told[source.kind] = told.get(source.kind) or {}
        sources[source.name] = source.entry
        (folder / source.kind / f"{source.name}.json").unlink(missing_ok=True)  # what was kept of one of that name
    folder.mkdir(parents=True, exist_ok=True)
    _put(file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True), source.secret)
    try:
        tools, trouble = _tried(load({"data": data}), source)
    except BaseException:  # Ctrl-C, too
        _put(file, before, source.secret)
        raise
    if before:
        _put(file.with_suffix(".yaml.bak"), before, source.secret)  # with the comments that are gone now
    names = " ".join(sorted(tool.spec.name for tool in tools))
    say(f"added to {file}" + (f": {visible(names)}" if names else ""))
    if hosts := sorted({host for tool in tools if (host := getattr(tool, "host", ""))}):
        changes = sum(tool.traits.effect != "read" for tool in tools)
        say(f"  requests go to {visible(', '.join(hosts))}; {changes} of {len(tools)} tools may change something there")
    if trouble:
        say(visible(f"missing: {source.kind} {source.name}: {trouble}"))
    if _runs(folder):
        say("  the system that runs knows nothing of it yet: stop it and start it again")
    if source.secret:
        say(f"  the values of its variables stand in {file}, which only you can read now")


def _runs(folder: Path) -> bool:
    """Whether a system answers on a data folder."""
    try:
        asyncio.run(reach(running_on(folder), lambda client: client.get("/health")))
    except NotRunning:
        return False
    except LLMAgentOSError:  # it is in trouble, and there
        return True
    return True


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    """The configuration as it is written, and what it says."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    return before, yaml.safe_load(before) or {}


def _put(file: Path, text: str, secret: bool) -> None:
    file.write_text(text, encoding="utf-8")
    if secret:
        file.chmod(0o600)


def _tried(config: Config, source: Wanted) -> tuple[list[Tool], str | None]:
    """The tools that a source brings, and what is wrong: an MCP server may come later, the rest has to be right."""
    if source.kind == "mcp":
        say("trying it; one that is not here yet is fetched first (Ctrl-C: do not add it)")
        return asyncio.run(listed_once(config, source.name, CONNECT))
    known, missing = asyncio.run(known_sources(config))
    label = f"{source.kind.removesuffix('s')} {source.name}"
    for each in missing:
        if each["source"] == label:
            if each["trouble"]:
                raise InvalidRequest(each["trouble"], parameter="source")
            _lacking(each)
    return [tool for tool in known.values() if getattr(tool, "source", "") == label], None


@tools.command(epilog=examples("tools remove shop", "tools remove ./mine.py"))
def remove(
    name: Annotated[str, typer.Argument(help="Its name in the configuration, or a plugin's file.")], data: Data = None
) -> None:
    """Take a source of tools out of the configuration, the opposite of `tools add`.

    It is gone from the next start on, and so is what was kept of it.
    """
    folder = load({"data": data}).data
    file = folder / "config.yaml"
    before, values = _read(file)
    gone = [*_without_tools(values, folder, name), *_without_plugin(values, name)]
    if not gone:
        told = values.get("tools") or {}
        names = [*(told.get("mcp") or ()), *(told.get("openapi") or ()), *map(str, values.get("plugins") or ())]
        raise not_found("source of tools", name, names)
    secret = not file.stat().st_mode & 0o077
    _put(file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True), secret)
    _put(file.with_suffix(".yaml.bak"), before, secret)
    say(f"removed from {file}: {', '.join(gone)}")
    if _runs(folder):
        say("  the system that runs has it still: stop it and start it again")


def _without_tools(values: dict[str, Any], folder: Path, name: str) -> Iterator[str]:
    """Take MCP servers and documents of a name out; gives what they were."""
    for kind in ("mcp", "openapi"):
        if ((values.get("tools") or {}).get(kind) or {}).pop(name, None) is not None:
            for end in ("json", "log", "login"):
                (folder / kind / f"{name}.{end}").unlink(missing_ok=True)
            yield f"{kind} {name}"


def _without_plugin(values: dict[str, Any], name: str) -> Iterator[str]:
    """Take a plugin out, by its file or the name it is known by; gives what it was."""
    names = {name, str(Path(name).expanduser().absolute())}
    if found := names & {str(each) for each in values.get("plugins") or ()}:
        values["plugins"] = [each for each in values["plugins"] if str(each) not in names]
        yield f"plugin {', '.join(found)}"


@tools.command(epilog=examples("tools find github", "tools find 'weather forecast'"))
def find(
    words: Annotated[str, typer.Argument(help="What the server's name is looked for by.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Look for MCP servers in the registry (`tools.registry` of the configuration); nothing is added."""
    found = asyncio.run(registry.find(load({"data": data}).tools.registry, words))
    if emitted(found, as_json):
        return
    show(table(("NAME", "RUN BY", "WHAT IT SAYS OF ITSELF"), registry.rows(found)))
    say("Others wrote these; add one with: llmagent-os tools add --mcp NAME")


@tools.command("login", epilog=examples("tools login linear"))
def logged_in(
    name: Annotated[str, typer.Argument(help="The MCP server's name in the configuration.")],
    client_id: Annotated[str, typer.Option(help="Our id there, where the server gives none out by itself.")] = "",
    port: Annotated[int, typer.Option(help="Of http://127.0.0.1:PORT/callback; any free one without it.")] = 0,
    data: Data = None,
) -> None:
    """Log in to a remote MCP server with your browser (OAuth). The tokens are kept, sealed with the vault's key.

    A running system uses them when it next connects, within a minute.
    """

    async def page(url: str) -> None:
        say(f"Open this page, and log in:\n  {visible(url)}")
        if sys.stdin.isatty():
            await asyncio.to_thread(webbrowser.open, url)

    asked = asyncio.run(login(load({"data": data}), name, page, client_id, port))
    say(f"logged in to {name}" if asked else f"{name} asks for no login")
