"""The registry of MCP servers: finding one by words, and what stands there as an entry of the configuration.

What it says is somebody else's word: nothing of it runs before a person has seen it and said yes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp

from ...core import documents
from ...core.errors import FetchFailed, InvalidRequest, NotFound
from ...core.visible import commanded, quoted
from ...core.visible import named as shown
from .adding import Wanted, named

MOST = 1 << 20  # bytes of an answer
SECONDS = 15.0
_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/[A-Za-z0-9._-]+")
_RUN = {"npm": ("npx", "-y"), "pypi": ("uvx",), "oci": ("docker", "run", "-i", "--rm")}
_PINNED = {"npm": "@", "pypi": "=="}


def is_name(source: str) -> bool:
    """Whether this is a server's name in the registry, such as `io.github.someone/server`."""
    return _NAME.fullmatch(source) is not None


async def find(registry: str, words: str) -> list[Mapping[str, Any]]:
    """The servers that a registry has for some words, each in its newest version; raises FetchFailed."""
    url = f"{registry.rstrip('/')}/v0/servers"
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(url, params={"search": words, "version": "latest", "limit": "30"}) as answer,
        ):
            data = await answer.content.read(MOST + 1)
            while len(data) <= MOST and (more := await answer.content.read(MOST)):
                data += more
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        text = (
            f"the registry {url} cannot be asked: {error or type(error).__name__}; `tools.registry` names another one"
        )
        raise FetchFailed(text) from error
    if len(data) > MOST:
        raise FetchFailed(f"the registry {url} answered with more than {MOST} bytes")
    told = documents.foreign(data, url)
    listed = told.get("servers") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise FetchFailed(f"{url} does not answer as a registry of MCP servers does")
    found = [each.get("server", each) for each in listed if isinstance(each, dict)]
    return [each for each in found if isinstance(each, dict) and isinstance(each.get("name"), str)]


async def entry(registry: str, name: str, more: list[str], env: list[str], key_env: str) -> Wanted:
    """A server of the registry by its whole name, to be run with `more` arguments; raises NotFound, InvalidRequest."""
    found = next((each for each in await find(registry, name) if each["name"] == name), None)
    if found is None:
        raise NotFound(
            f"{registry} has no server named {name!r}; look with: llmagent-os tools find {name.rpartition('/')[2]}"
        )
    short, note = named([name.rpartition("/")[2]]), f"  it says of itself: {quoted(_line(found.get('description')))}"
    for package in _mappings(found, "packages"):
        if (kind := package.get("registryType")) in _RUN and _mappings(package, "transport", one=True) != [
            {"type": "sse"}
        ]:
            lacking = [
                each["name"] for each in _needed(package) if each["name"] not in {one.partition("=")[0] for one in env}
            ]
            if lacking:
                told = commanded(word for each in lacking for word in ("--env", each))
                raise InvalidRequest(
                    f"{name} needs {', '.join(map(shown, lacking))}; set them, and add: {told}", parameter="env"
                )
            pinned = f"{_PINNED[kind]}{package['version']}" if kind in _PINNED and package.get("version") else ""
            passed = [word for each in env if kind == "oci" for word in ("-e", each.partition("=")[0])]
            command = [*_RUN[kind], *passed, f"{package.get('identifier')}{pinned}", *_arguments(package), *more]
            return Wanted("mcp", short, {"command": command} | ({"env": env} if env else {}), (note,))
    for remote in _mappings(found, "remotes"):
        if remote.get("type") == "streamable-http" and str(remote.get("url")).startswith("https://"):
            entry = {"url": remote["url"]} | ({"key_env": key_env} if key_env else {})
            wants = [f"  it wants the header {shown(str(each.get('name')))}" for each in _mappings(remote, "headers")]
            return Wanted("mcp", short, entry, (note, *wants))
    raise InvalidRequest(
        f"{name} is offered in no way that is known here; its page says how it is run", parameter="source"
    )


def _needed(package: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    variables = _mappings(package, "environmentVariables")
    return [each for each in variables if each.get("isRequired") is True and isinstance(each.get("name"), str)]


def _arguments(package: Mapping[str, Any]) -> Iterator[str]:
    """The arguments that have values; those that a person chooses come after the server's name."""
    for each in _mappings(package, "packageArguments"):
        value = each.get("value", each.get("default"))
        if each.get("type") == "named" and (value is not None or each.get("isRequired")):
            yield str(each.get("name"))
        if value is not None:
            yield str(value)


def _mappings(of: Mapping[str, Any], name: str, one: bool = False) -> list[Mapping[str, Any]]:
    found = of.get(name)
    return [each for each in ([found] if one else found if isinstance(found, list) else []) if isinstance(each, dict)]


def _line(words: Any) -> str:
    return " ".join(str(words or "").split())[:200]


def rows(found: list[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Name, how it is run, and what it says of itself."""
    for each in found:
        ways = [str(way.get("registryType")) for way in _mappings(each, "packages")]
        ways += ["remote" for _ in _mappings(each, "remotes")][:1]
        yield each["name"], ", ".join(dict.fromkeys(ways)), _line(each.get("description"))
