"""`tools`: what tools there are, trying one, and bringing in others. Works with and without a running system."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
import yaml

from ...boot import boot
from ...config import Config, load
from ...core import codec
from ...core.errors import InvalidRequest
from ...core.records import Json
from ...offline import known_tools
from ..client import NotRunning
from ..rest_tools import described
from .options import AsJson, Data, ask, examples, group
from .output import emit, say, show, table

app, tools = group("tools", "List, try and add tools.")


@tools.command("list", epilog=examples("tools list", "tools list --json"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the tools that agents may be given, where each comes from and what it does."""
    try:
        found = ask(data, lambda client: client.get("/v1/tools"))["tools"]
    except NotRunning:
        known = asyncio.run(known_tools(load({"data": data})))
        found = [described(name, tool) for name, tool in sorted(known.items())]
    if as_json:
        for tool in found:
            emit(tool)
        return
    rows = ((each["name"], each["source"], each["effect"], _first(each["description"])) for each in found)
    show(table(("NAME", "SOURCE", "EFFECT", "WHAT IT DOES"), rows))


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
    print(result if isinstance(result, str) else codec.dumps(result).decode())


async def _alone(config: Config, name: str, arguments: dict[str, Json]) -> Json:
    system = await boot(config)
    try:
        return await system.sys.call(name, arguments)
    finally:
        await system.close()


@tools.command(
    "add",
    epilog=examples(
        "tools add ./mine.py",
        "tools add https://api.example.org/openapi.json --name shop --key-env SHOP_KEY",
        "tools add --mcp uvx mcp-server-time",
        "tools add --mcp --name files npx -- -y @modelcontextprotocol/server-filesystem /srv/files",
        "tools add --mcp https://example.org/mcp --key-env EXAMPLE_TOKEN",
    ),
)
def add(
    source: Annotated[str, typer.Argument(help="A plugin's file, an OpenAPI document, or an MCP server.")],
    rest: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="Of an MCP server's command.")
    ] = None,
    name: Annotated[str, typer.Option(help="What its tools' names begin with; told by the source without it.")] = "",
    mcp: Annotated[bool, typer.Option("--mcp", help="It is an MCP server: a command, or a URL.")] = False,
    key_env: Annotated[str, typer.Option(help="The environment variable that holds the key.")] = "",
    env: Annotated[list[str] | None, typer.Option(help="A variable that an MCP command is given.")] = None,
    data: Data = None,
) -> None:
    """Write a source of tools into the configuration; it is there from the next start on."""
    file = load({"data": data}).data / "config.yaml"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    values = yaml.safe_load(before) or {}
    kind, entry = _entry(source, rest or [], mcp, key_env, env or [])
    name = name or _name(source, rest or [])
    if kind == "plugins":
        values["plugins"] = [*values.get("plugins", ()), entry]
    else:
        values.setdefault("tools", {}).setdefault(kind, {})[name] = entry
        (file.parent / kind / f"{name}.json").unlink(missing_ok=True)  # what was kept of one of that name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    try:
        known = asyncio.run(known_tools(load({"data": data})))
    except Exception:
        file.write_text(before, encoding="utf-8")
        raise
    if before:
        file.with_suffix(".yaml.bak").write_text(before, encoding="utf-8")  # with the comments that are gone now
    its = [key for key, tool in sorted(known.items()) if getattr(tool, "source", "") == f"{kind} {name}"]
    say(f"added to {file}" + (f": {' '.join(its)}" if its else "; start the system again to see its tools"))


def _entry(source: str, rest: list[str], mcp: bool, key_env: str, env: list[str]) -> tuple[str, Any]:
    """The field of the configuration that a source belongs to, and what is written there."""
    here = Path(source).expanduser()
    place = str(here.absolute()) if here.exists() else source
    if mcp:
        remote = source.startswith(("http://", "https://"))
        told: dict[str, Any] = (
            {"url": source, "key_env": key_env} if remote else {"command": [source, *rest], "env": env}
        )
        return "mcp", {key: value for key, value in told.items() if value}
    if here.suffix == ".py":
        return "plugins", place
    return "openapi", {"source": place} | ({"key_env": key_env} if key_env else {})


def _name(source: str, rest: list[str]) -> str:
    """A short name for a source: that of its program, package or host."""
    host = urlsplit(source).hostname
    words = [host or Path(source).stem, *(word for word in rest if not word.startswith("-"))]
    word = words[1] if words[0] in ("uvx", "npx", "python", "python3", "node") and len(words) > 1 else words[0]
    return re.sub(r"[^A-Za-z0-9-]+", "-", re.sub(r"^(@.*/)?(mcp-)?(server-)?", "", word)).strip("-")[:32]
