"""What `doctor` looks at: each check tells what it found and, for a problem, the command that mends it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...config import Config
from ...core import extras
from ...core.errors import LLMAgentOSError
from ...llm import memory as needs
from ...llm.known import ALIASES, KNOWN, KnownModel, known_model, models_folder, path_of
from ...offline import known_sources, sandbox_libraries
from ..auth import key_file
from ..client import NotRunning, find
from ..ports import listen
from .options import reach
from .output import size

Status = Literal["ok", "optional", "problem"]

_ROOM = 1 << 30  # bytes that a journal should be able to grow
_SQLITE = (3, 35)
_EXTRAS: dict[str, tuple[str, Status, str]] = {
    "llamacpp": ("xllamacpp", "problem", "local models"),
    "transformers": ("transformers", "optional", "models of transformers, and `explain`"),
    "mcp": ("mcp", "optional", "MCP servers"),
    "oidc": ("jwt", "optional", "tokens of an identity provider"),
    "security": ("cryptography", "optional", "the signed audit log, and what is kept sealed"),
    "knowledge": ("numpy", "optional", "search in what agents know"),
    "documents": ("pypdf", "optional", "PDF and office files as knowledge"),
}
"""Extra -> (a module of it, what it means that it is not there, what needs it)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `optional` is something that is not there and need not be."""

    name: str
    status: Status
    found: str
    mend: str = ""


def machine() -> Iterator[Check]:
    """Python, SQLite, pip and the optional parts."""
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield _check("python", fits, version, "install Python 3.11, 3.12 or 3.13 and make a new environment with it")
    fits = sqlite3.sqlite_version_info >= _SQLITE
    yield _check("sqlite", fits, sqlite3.sqlite_version, "install a Python that comes with SQLite 3.35 or later")
    here = importlib.util.find_spec("pip") is not None
    yield _check("pip", here, "here" if here else "missing: models cannot be fetched", "python -m ensurepip")
    yield _sandbox()
    yield _libraries()
    for extra, (module, lacking, what) in _EXTRAS.items():
        if importlib.util.find_spec(module):
            yield Check(f"extra {extra}", "ok", "installed")
        else:
            yield Check(f"extra {extra}", lacking, f"not installed: {what}", extras.command(extra))


def _sandbox() -> Check:
    """Whether bubblewrap is there, and may make the namespaces it needs."""
    found = shutil.which("bwrap")
    if found is None:
        return Check(
            "sandbox", "optional", "no bubblewrap: code tools refuse to run", "sudo apt-get install bubblewrap"
        )
    command = [found, "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    mend = "sudo sysctl -w user.max_user_namespaces=15000 kernel.apparmor_restrict_unprivileged_userns=0"
    if tried.returncode == 0:
        return Check("sandbox", "ok", found)
    return Check("sandbox", "optional", f"code tools refuse to run: {tried.stderr.strip()}", mend)


def _libraries() -> Check:
    """The libraries that code has in the sandbox beside Python's own."""
    found = sandbox_libraries()
    if found is None:
        told = "none: python has its standard library alone, no numpy, pandas or matplotlib"
        return Check("code libraries", "optional", told, "llmagent-os sandbox setup")
    told = ", ".join(f"{name} {version}" for name, version in found.versions.items()) + f"; {size(found.size)}"
    return Check("code libraries", "ok", told, "" if found.current else "llmagent-os sandbox setup")


def models(config: Config, deep: bool) -> Iterator[Check]:
    """The known models' files; with `deep` also whether their bytes are what they should be."""
    wanted = known_model(config.model or "default")
    for model in KNOWN:
        alias = next(alias for alias, name in ALIASES.items() if name == model.name)
        path = path_of(model)
        if not path.is_file():
            status: Status = "problem" if model is wanted else "optional"
            yield Check(f"model {alias}", status, f"not in {path.parent}", f"llmagent-os models pull {alias}")
        else:
            whole = path.stat().st_size == model.size and (not deep or _same(path, model))
            again = f"llmagent-os models rm {alias} && llmagent-os models pull {alias}"
            found = f"{path}, {size(model.size)}" + (", sha256 as it should be" if deep else "")
            yield _check(f"model {alias}", whole, found if whole else f"{path} is damaged", again)


def memory(config: Config) -> Iterator[Check]:
    """Whether the model fits into the memory that is free, and the longest conversations that there is room for.

    Nothing is said of models whose needs are not known.
    """
    model, (total, free) = known_model(config.model or "default"), needs.machine()
    if model is None or not total:
        return
    need, contexts = needs.needed(model), needs.SLOTS * needs.WINDOW * model.token
    found = (
        f"{model.name} takes {size(need)} ({size(model.size)} of weights, {size(contexts)} for {needs.SLOTS} "
        f"conversations of {needs.WINDOW:,} tokens); {size(free)} of {size(total)} are free"
    )
    slots = next((n for n in (4, 2, 1) if needs.longest(model, n, free * needs.SHARE) >= needs.WINDOW), 0)
    if not slots:
        yield Check("memory", "problem", found, "end what else runs, or: llmagent-os up --model tiny")
        return
    window = needs.longest(model, slots, free * needs.SHARE)
    other = f"llmagent-os models add roomy {path_of(model)} --window {window} --limit {slots}"
    told = f"{window:,} tokens for each of {slots} conversations: {other} && llmagent-os up --model roomy"
    yield Check("memory", "ok" if need <= free else "problem", found, told)


def _same(path: Path, model: KnownModel) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == model.sha256


def files(config: Config) -> Iterator[Check]:
    """The data folder, the space on its disk, the key and the journal."""
    data = config.data
    existing = next(path for path in (data, *data.absolute().parents) if path.exists())
    writable = os.access(existing, os.W_OK)
    yield _check("data folder", writable, str(data), f"sudo chown {os.getuid()} {existing}")
    for name, folder in (("disk of the journal", existing), ("disk of the models", models_folder())):
        if folder.exists():
            free = shutil.disk_usage(folder).free
            yield _check(name, free > _ROOM, f"{size(free)} free", f"make room: du -sh {folder}/*")
    if key_file(data).exists():
        private = stat.S_IMODE(key_file(data).stat().st_mode) & 0o077 == 0
        found = "for its owner only" if private else "others can read it"
        yield _check("key file", private, found, f"chmod 600 {key_file(data)}")
    if (data / "journal.db").exists():
        yield _journal(data / "journal.db")


def _journal(path: Path) -> Check:
    """SQLite's own check of the pages; a running system is not disturbed."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        found = str(error)
    recovered = path.with_name("recovered.db")
    mend = f"stop the system, then: sqlite3 {path} .recover | sqlite3 {recovered} && mv {recovered} {path}"
    return _check("journal", found == "ok", f"{path}, {size(path.stat().st_size)}: {found}", mend)


async def server(config: Config) -> Check:
    """Whether a system runs here and is well; where none runs, whether its port is free."""
    try:
        address = find(config.data)
        await reach(address, lambda client: client.get("/health"))
    except NotRunning:
        return _port(config)
    except LLMAgentOSError as error:
        return Check("system", "problem", error.message, f"kill {address.pid}; llmagent-os up")
    return Check("system", "ok", f"runs at {address.url}, process {address.pid}")


async def tools(config: Config) -> list[Check]:
    """Whether plugins and sources of tools are there: those of the running system, else of the configuration."""
    try:
        told = await reach(find(config.data), lambda client: client.get("/v1/tools"))
        missing, known = told["missing"], {each["source"] for each in told["tools"]}
    except NotRunning:
        found, missing = await known_sources(config)
        known = {getattr(tool, "source", "") for tool in found.values()}
    except LLMAgentOSError:
        return []  # `server` says what is wrong with it
    sources = [*(f"mcp {name}" for name in config.tools.mcp), *(f"openapi {name}" for name in config.tools.openapi)]
    wrong = [_lacks(each) for each in missing]
    named = {each["source"] for each in missing}
    there = [
        Check(name, "ok", "its tools are there")
        if name in known
        else Check(name, "optional", "its tools are listed at the first start")
        for name in sources
        if name not in named
    ]
    return [*there, *wrong]


def _lacks(source: Mapping[str, Any]) -> Check:
    where = "the definition" if source["source"].startswith("agent ") else "the file, or the configuration"
    if source["trouble"]:
        return Check(source["source"], "problem", source["trouble"], f"mend {where}, and start the system again")
    name, why = next(iter(source["left_out"].items()))
    return Check(source["source"], "optional", f"{len(source['left_out'])} left out, such as {name}: {why}")


def _port(config: Config) -> Check:
    try:
        listen(config.host, config.port).close()
    except LLMAgentOSError as error:
        return Check("system", "problem", f"does not run, and {error.message}", "llmagent-os up --port 0")
    return Check("system", "optional", f"does not run; port {config.port} is free", "llmagent-os up")


def _check(name: str, well: bool, found: str, mend: str) -> Check:
    return Check(name, "ok", found) if well else Check(name, "problem", found, mend)
