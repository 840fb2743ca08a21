"""What can be done with a data folder or a configuration whether or not a system runs on it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .boot import load_plugins, make_kernel
from .boot.sources import open_sources, seal
from .config import Config
from .core import codec, extras
from .core.errors import NotFound, not_found
from .core.ports import Tool
from .core.records import Decoding, GenerateRequest, Generation, Json
from .core.stream import collect
from .kernel.journal import Journal, Row
from .llm import catalog
from .llm.engines import open_engine
from .monitoring.names import pids_named
from .monitoring.replay import Report, replay
from .security.pins import Pin
from .security.vault import SPACE as VAULT
from .security.vault import Seal, key_file
from .stores import backup as backups
from .stores.backup import JOURNAL, Manifest, faults
from .stores.sqlite import SQLiteStore
from .tools.sandbox import SandboxSettings, levels, modules
from .tools.sandbox.modules import Modules
from .tools.sources import log_in

if TYPE_CHECKING:
    from .security.audit import Findings

SETTLING = 5.0  # seconds that a running system has to sign what it wrote


async def explained(request: GenerateRequest) -> Generation:
    """Answer with an explanation on an engine of its own.

    Raises NotFound for the model, MissingExtra, Unsupported where its engine explains nothing.
    """
    engine = await open_engine(await catalog.resolve(request.model))
    try:
        return await collect(engine.generate(replace(request, decoding=Decoding(explain=True))))
    finally:
        await engine.close()


def journal_of(config: Config) -> Path:
    """Where the journal of a data folder lies; raises NotFound where there is none."""
    path = config.data / "journal.db"
    if not path.is_file():
        raise NotFound(f"there is no journal at {path}; name the data folder with --data", kind="journal")
    return path


def audited(config: Config, key: str | None = None, copies: Sequence[str] = ()) -> Findings:
    """Hold a journal against its audit log, and that against what this user has pinned of it.

    `key` is the public key that must have signed (that of the pin without it), `copies` are checkpoints that were kept
    elsewhere. Raises NotFound where there is no journal, MissingExtra.
    """
    audit = _audit()
    store, pin = SQLiteStore(journal_of(config)), Pin(config.data)
    try:
        line = pin.read()  # before the log, which may go on meanwhile
        pinned = [audit.parse(line)] if line is not None else []
        insisted = key or next((each.key for each in pinned), None)
        kept = [*map(audit.parse, copies), *pinned]
        found: Findings = audit.verify(store, config.data / "audit", insisted, kept, SETTLING)
        found.pinned = f"entry {pinned[0].count} in {pin.path}" if pinned else None
        return found
    finally:
        store.close()


def _audit() -> Any:
    return extras.imported("llmagent_os.security.audit", "security", "the audit log")


def pinned(config: Config, accept: bool = False) -> tuple[Path, str | None]:
    """Where the newest checkpoint of an audit log is kept apart, and the one that is there.

    With `accept` that becomes the newest one of the log as it is now. Raises NotFound where there is none,
    MissingExtra.
    """
    pin = Pin(config.data)
    if accept:
        found = _audit().read_checkpoints(config.data / "audit")
        if not found:
            raise NotFound(f"there is no audit log in {config.data / 'audit'}; start the system once", kind="audit log")
        pin.write(codec.dumps(found[-1]))
    line = pin.read()
    return pin.path, line.decode() if line is not None else None


def backed_up(config: Config, to: Path, keys: bool = True, workspaces: bool = True) -> Manifest:
    """Copy a data folder into a new one, beside a running system or without one; see `stores.backup`."""
    without = ([] if keys else list(backups.KEYS)) + ([] if workspaces else [backups.WORKSPACES])
    return backups.back_up(config.data, to, without)


def restored(backup: Path, config: Config) -> Manifest:
    """Put a backup into a data folder that has no journal; see `stores.backup`.

    What was pinned of the audit log that lay there before is forgotten: the next start pins the one of the backup.
    """
    manifest = backups.restore(backup, config.data)
    Pin(config.data).forget()
    return manifest


def checked(backup: Path) -> list[str]:
    """What is wrong with a backup: files, journal, masked values under their key, and the audit log; best nothing.

    Raises NotFound where there is no backup, MissingExtra.
    """
    found = faults(backup)
    if found:
        return found
    if (backup / "vault.key").exists():
        found += _unsealed(backup)
    if (backup / "audit" / "checkpoints.jsonl").exists():
        audit = extras.imported("llmagent_os.security.audit", "security", "the audit log")
        with TemporaryDirectory() as folder:  # a journal that is opened is changed
            store = SQLiteStore(Path(shutil.copy(backup / JOURNAL, folder)))
            try:
                found += [bad.text for bad in audit.verify(store, backup / "audit").bad]
            finally:
                store.close()
    return found


def _unsealed(backup: Path) -> Iterator[str]:
    """The tenants whose masked values the backup's own key does not open."""
    seal, bad = Seal(key_file(backup / "vault.key")), set[str]()
    query = "SELECT space, key, value FROM record WHERE space >= 'vault/' AND space < 'vault0'"
    with closing(sqlite3.connect(f"file:{backup / JOURNAL}?mode=ro&immutable=1", uri=True)) as database:
        for space, token, value in database.execute(query):
            tenant = space.removeprefix(VAULT)
            try:
                seal.open(codec.loads(value), f"{tenant} {token}")
            except Exception:  # of `cryptography`, or whatever a damaged value raises
                bad.add(tenant)
    return (f"masked values of tenant {tenant!r} cannot be read with its vault.key" for tenant in sorted(bad))


def tool_calls(config: Config, pid: int | None, last: int) -> list[tuple[Row, Any, Any]]:
    """The last calls of tools, of one process or all, the oldest first: rows, arguments, errors."""
    store = SQLiteStore(journal_of(config))
    try:
        journal = Journal(store)
        rows = [Row(*values) for _, *values in reversed(store.read("audit.tools", pid, last))]
        return [(row, journal.unpack(row.args), journal.unpack(row.error)) for row in rows]
    finally:
        store.close()


async def rerun(config: Config, target: int | str, plugins: Sequence[object] = ()) -> list[Report]:
    """Replay a process by its number, or all that a name means (see `monitoring.names`); nothing is written.

    Raises NotFound where there is no journal or process, JournalDamaged, or InvalidRequest for a bad plugin.
    """
    store = SQLiteStore(journal_of(config))
    try:
        pids = await pids_named(store, target, principal="owner") if isinstance(target, str) else [target]
        registry, tools, _ = load_plugins(config, plugins)
        await open_sources(config, tools).read()
        kernel = make_kernel(store, registry, tools)
        return [await replay(store, pid, kernel.programs, kernel.door.table) for pid in pids]
    finally:
        store.close()


def sandbox_trouble(settings: SandboxSettings) -> str | None:
    """What keeps code from running here in the sandbox of these settings, with the remedy; None where nothing does."""
    return levels.trouble(settings.level, settings.unsafe)


def sandbox_libraries() -> Modules | None:
    """The libraries that code has in sandboxes of this machine beside Python's own; None for none."""
    return modules.found(levels.interpreter())


def set_up_libraries(tell: Callable[[str], None]) -> Modules:
    """Bring them; `tell` hears how it goes. Raises FetchFailed."""
    return modules.set_up(levels.interpreter(), tell)


async def known_tools(config: Config) -> dict[str, Tool]:
    """The tools that a system with this configuration has, without one: an MCP server's as it listed them last."""
    tools, _ = await known_sources(config)
    return tools


async def known_sources(config: Config) -> tuple[dict[str, Tool], list[dict[str, Json]]]:
    """Those tools, and what is wrong with plugins and sources, as `System.missing` has it."""
    registry, tools, _ = load_plugins(config)
    sources = open_sources(config, tools)
    await sources.read()
    await sources.complete()
    wrong = [{"source": f"plugin {name}", "trouble": why, "left_out": {}} for name, why in registry.troubles.items()]
    return tools, [*wrong, *sources.missing()]


async def listed_once(config: Config, name: str, seconds: float) -> tuple[list[Tool], str | None]:
    """Connect to an MCP server once: its tools, and what is wrong with it."""
    tools: dict[str, Tool] = {}
    only = config.model_copy(update={"tools": config.tools.model_copy(update={
        "mcp": {name: config.tools.mcp[name]}, "openapi": {}})})  # fmt: skip
    sources = open_sources(only, tools)
    tasks = [asyncio.create_task(work) for work in sources.work().values()]
    await sources.settled(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    trouble = next((each["trouble"] for each in sources.missing()), None)
    return list(tools.values()), trouble


async def login(config: Config, name: str, show: Callable[[str], Any], client: str, port: int) -> bool:
    """Log in to an MCP server of the configuration; False where it asks for no login. Raises NotFound, MissingExtra."""
    if name not in config.tools.mcp:
        raise not_found("MCP server", name, config.tools.mcp)
    return await log_in(name, config.tools.mcp[name], config.data, partial(seal, config), show, client, port)


def known_plugins(config: Config) -> tuple[list[str], dict[str, str]]:
    """The plugins of a configuration that can be loaded, and what is wrong with which."""
    registry, _, _ = load_plugins(config)
    return registry.names(), registry.troubles
