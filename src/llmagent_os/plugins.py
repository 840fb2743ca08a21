"""Plugins: the hooks by which engines, filters, agents, syscalls, programs and tools are registered.

Built-in parts use the same hooks (see `boot.parts.Builtin`), but for the filters, whose order is a list of its own
(`boot.filters_of`). A third party's package declares an entry point in the group `llmagent_os`; a single file is named
in the configuration's `plugins`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from .core.errors import InvalidRequest
from .core.ports import DecodingStrategy, Engine, Filter, Tool
from .core.records import ModelSpec

GROUP = "llmagent_os"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

OpenEngine = Callable[[ModelSpec], Awaitable[Engine]]


class Hooks:
    """What a plugin may bring. A hook it does not need is left out."""

    @hookspec
    def engines(self) -> Mapping[str, OpenEngine]:  # type: ignore[empty-body]
        """Engine drivers: name -> `async (ModelSpec) -> Engine`."""

    @hookspec
    def filters(self) -> Sequence[Filter]:  # type: ignore[empty-body]
        """Filters `(call, process, proceed)` around every syscall, outermost first."""

    @hookspec
    def strategies(self) -> Mapping[str, DecodingStrategy]:  # type: ignore[empty-body]
        """Decoding strategies: name -> `(request, engine) -> chunks`."""

    @hookspec
    def recognisers(self) -> Sequence[Callable[[str], Any]]:  # type: ignore[empty-body]
        """What finds values to mask, beside the built-in ones: text -> `security.recognisers.Span`s."""

    @hookspec
    def classifiers(self) -> Sequence[Callable[[str], Any]]:  # type: ignore[empty-body]
        """What finds faults in answers under review: text -> `security.review.Finding`s."""

    @hookspec
    def judges(self) -> Sequence[Callable[..., Awaitable[Any]]]:  # type: ignore[empty-body]
        """What is asked about answers that nothing else refused: `async (text, sink) -> Finding | None`."""

    @hookspec
    def syscalls(self) -> Mapping[str, Any]:  # type: ignore[empty-body]
        """New syscalls: name -> `kernel.door.Syscall`."""

    @hookspec
    def programs(self) -> Mapping[str, Any]:  # type: ignore[empty-body]
        """Programs that processes may run: name -> `kernel.process.Program`."""

    @hookspec
    def tools(self) -> Mapping[str, Tool]:  # type: ignore[empty-body]
        """Tools that agents may be given, by name."""

    @hookspec
    def agents(self) -> Sequence[Any]:  # type: ignore[empty-body]
        """Agents to be created where none of their name is: `agent.spec.AgentSpec` or mappings."""

    @hookspec
    def loops(self) -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
        """Interaction loops: name -> subclass of `agent.loop.Agent`."""


class Plugins:
    """The registered plugins, asked together."""

    def __init__(self, builtin: object, files: Sequence[Path] = ()) -> None:
        """Register the built-in parts, then installed plugins, then files, so that each may replace what came before.

        Raises InvalidRequest for a file that cannot be loaded.
        """
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(Hooks)
        self.register(builtin)
        self._manager.load_setuptools_entrypoints(GROUP)
        for file in files:
            self.register(_load(file))

    def register(self, plugin: object) -> None:
        """Add a plugin: an object or module with functions marked `hookimpl`."""
        self._manager.register(plugin)
        self._manager.check_pending()

    def mapping(self, hook: str) -> dict[str, Any]:
        """What all plugins bring for a hook that returns mappings; later registered ones win."""
        merged: dict[str, Any] = {}
        for part in reversed(getattr(self._manager.hook, hook)()):
            merged.update(part)
        return merged

    def sequence(self, hook: str) -> list[Any]:
        """What all plugins bring for a hook that returns sequences, in order of registration."""
        return [item for part in reversed(getattr(self._manager.hook, hook)()) for item in part]


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"llmagent_os_plugin_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise InvalidRequest(f"plugin {file} is not a Python file", parameter="plugins")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
