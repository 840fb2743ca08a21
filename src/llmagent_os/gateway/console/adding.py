"""What `tools add` is told, as entries of the configuration, and what each of them will be allowed to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...core import codec
from ...core.errors import InvalidRequest
from ...core.visible import assigned, commanded, visible
from ...core.visible import named as shown
from .options import text_of

VALUES = frozenset({"--name", "--key-env", "--env", "--data"})
"""Options of ours that have a value."""
_SET = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_RUNNERS = frozenset({"uvx", "npx", "bunx", "pipx", "python", "python3", "node", "deno", "uv", "env"})
_BOXES = frozenset({"docker", "podman"})
_WORDS = frozenset({"run", "exec", "x", "dlx", "tool"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A source: `kind` is the field of the configuration that `entry` belongs to, under `name`."""

    kind: str
    name: str
    entry: Any
    notes: tuple[str, ...] = field(default=())

    def about(self) -> Iterator[str]:
        """What it will be allowed to do, line by line; nothing of it can pass for anything else on a terminal."""
        name = shown(self.name)
        if self.kind == "plugins":
            yield f"plugin {commanded([self.entry])}: runs in the system's process, with all of its rights"
        elif self.kind == "openapi":
            yield f"openapi {name}: requests to the server of {commanded([self.entry['source']])}"
        elif "url" in self.entry:
            yield f"mcp {name}: what agents give its tools goes to {commanded([self.entry['url']])}"
        else:
            command = commanded(self.entry["command"])
            yield f"mcp {name}: runs `{command}` with your rights, outside the sandbox"
        told = [each.partition("=") for each in (self.entry.get("env", ()) if self.kind == "mcp" else ())]
        if told:
            yield f"  it is given the variables {', '.join(shown(each) for each, *_ in told)}, PATH, HOME and the like"
        for variable, given, value in told:
            if given:
                yield f"    {assigned(variable, value)}"
        if self.kind != "plugins" and self.entry.get("key_env"):
            yield f"  it is shown the key in {shown(self.entry['key_env'])}"
        if self.kind != "plugins":
            yield "  agents have those of its tools that their definitions name, and no others"
        yield from map(visible, self.notes)

    @property
    def secret(self) -> bool:
        """Whether values stand in the entry that may be secrets."""
        return self.kind == "mcp" and any("=" in each for each in self.entry.get("env", ()))


def theirs(args: Sequence[str]) -> list[str]:
    """The arguments with `--` before an MCP server's command, whose flags are its own."""
    mcp, at = False, 0
    while at < len(args) and args[at].startswith("-") and args[at] != "--":
        mcp = mcp or args[at] == "--mcp"
        at += 2 if args[at] in VALUES else 1
    if not mcp or at == len(args) or args[at] == "--" or _remote(args[at]):
        return list(args)
    return [*args[:at], "--", *args[at:]]


def wanted(
    source: str, rest: Sequence[str], mcp: bool = False, name: str = "", key_env: str = "", env: Sequence[str] = ()
) -> list[Wanted]:
    """The sources that were named; raises InvalidRequest."""
    here = Path(source).expanduser()
    if source.lstrip().startswith("{") or (here.suffix == ".json" and here.is_file()):
        servers = _servers(source if source.lstrip().startswith("{") else text_of(here))
        if servers is not None:
            return [_server(key, told) for key, told in servers.items()]
    place = str(here.absolute()) if here.exists() else source
    if mcp:
        return [_mcp([source, *rest], name, key_env, env)]
    if rest:
        raise InvalidRequest(
            f"{rest[0]!r} is one word too many; an MCP server's command takes --mcp", parameter="source"
        )
    if here.suffix == ".py":
        return [Wanted("plugins", place, place)]
    key = {"key_env": key_env} if key_env else {}
    return [Wanted("openapi", name or named([source]), {"source": place} | key)]


def _mcp(words: list[str], name: str, key_env: str, env: Sequence[str]) -> Wanted:
    if len(words) > 2 and words[1] == "--" and not words[2].startswith("-"):  # NAME -- COMMAND, as others have it
        name, words = name or words[0], words[2:]
    given = [*env]
    while words and _SET.fullmatch(words[0]):
        given.append(words.pop(0))
    words = [word for at, word in enumerate(words) if not (word == "--" and at == 1)]
    if not words:
        raise InvalidRequest("the MCP server's command is missing", parameter="source")
    if _remote(words[0]):
        if len(words) > 1:
            raise InvalidRequest(f"{words[1]!r} is one word too many after the URL", parameter="source")
        return Wanted("mcp", name or named(words), {"url": words[0]} | ({"key_env": key_env} if key_env else {}))
    return Wanted("mcp", name or named(words), {"command": words} | ({"env": given} if given else {}))


def _servers(text: str) -> dict[str, Any] | None:
    """What stands under `mcpServers` (or `servers`) in the JSON that READMEs print; None where it is no such."""
    try:
        told = codec.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"this is no JSON: {error}", parameter="source") from None
    found = told.get("mcpServers", told.get("servers")) if isinstance(told, dict) else None
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        return None
    return found


def _server(name: str, told: Mapping[str, Any]) -> Wanted:
    name = _clean(name)
    if url := told.get("url") or told.get("serverUrl"):
        notes = tuple(
            f"  its header {shown(str(header))} is left out; for a bearer token: "
            f"tools add --mcp --name {name} --key-env NAME {commanded([str(url)])}"
            for header in told.get("headers") or ()
        )
        return Wanted("mcp", name, {"url": str(url)}, notes)
    if not told.get("command"):
        raise InvalidRequest(f"the server {name!r} has neither a command nor a url", parameter="source")
    env = [f"{key}={value}" for key, value in (told.get("env") or {}).items()]
    command = [str(told["command"]), *(str(word) for word in told.get("args") or ())]
    return Wanted("mcp", name, {"command": command} | ({"env": env} if env else {}))


def named(words: Sequence[str]) -> str:
    """A short name for a source: that of its program, package or host."""
    host = urlsplit(words[0]).hostname
    plain = [host or Path(words[0]).stem, *(word for word in words[1:] if not word.startswith("-"))]
    if plain[0] in _BOXES and len(plain) > 1:
        found = next((word for word in plain[1:] if "/" in word), plain[-1]).rpartition("/")[2]
    else:
        found = next((word for word in plain if word not in _RUNNERS | _WORDS), plain[0])
    return _clean(re.sub(r"^(@.*/)?(mcp[-_])?(server[-_])?", "", re.sub(r"(?<=.)(@|==).*$", "", found)))


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:32] or "tools"


def _remote(word: str) -> bool:
    return word.startswith(("http://", "https://"))
