"""Plugins: the hooks by which engines, filters, agents, syscalls, programs and tools are registered.

Built-in parts use the same hooks (see `boot.parts.Builtin`), but for the filters, whose order is a list of its own
(`boot.filters_of`). A third party's package declares an entry point in the group `llmagent_os`; a single file is named
in the configuration's `plugins`.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from .core.errors import InvalidRequest, LLMAgentOSError
from .core.ports import DecodingStrategy, Engine, Filter, Tool
from .core.records import ModelSpec

GROUP = "llmagent_os"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

log = logging.getLogger(__name__)

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
    def functions(self) -> Mapping[str, Callable[[Any], Any]]:  # type: ignore[empty-body]
        """Pure functions that nodes of flows may call: name -> value -> JSON data."""

    @hookspec
    def tools(self) -> Mapping[str, Tool]:  # type: ignore[empty-body]
        """Tools that agents may be given, by name."""

    @hookspec
    def agents(self) -> Sequence[Any]:  # type: ignore[empty-body]
        """Agents to be created where none of their name is: `agent.spec.AgentSpec` or mappings."""

    @hookspec
    def loops(self) -> Mapping[str, type[Any]]:  # type: ignore[empty-body]
        """Interaction loops: name -> subclass of `agent.loop.Agent`."""


_SHAPES: dict[str, tuple[str, ...]] = {"tools": ("spec", "traits", "run")}
"""What everything in a mapping must have, by hook."""


class Plugins:
    """The registered plugins, asked together. What is wrong with one costs what it would have brought, and no more.

    `troubles` says what that is, by plugin, in a line with file and line.
    """

    def __init__(self, builtin: object, files: Sequence[Path] = ()) -> None:
        """Register the built-in parts, then installed plugins, then files: each may replace what came before."""
        self.troubles: dict[str, str] = {}
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(Hooks)
        self._files = list(files)
        self.register(builtin)
        for point in entry_points(group=GROUP):
            self._add(point.name, point.load)
        for file in files:
            self._add(str(file), partial(_load, file))

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin: an object or module with functions marked `hookimpl`."""
        self._manager.register(plugin, name)
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError:
            self._manager.unregister(plugin)
            raise

    def reload(self) -> list[str]:
        """Load the plugin files again; returns their names. One that is wrong now stays as it was."""
        for file in self._files:
            self._add(str(file), partial(_load, file))
        return [str(file) for file in self._files]

    def names(self) -> list[str]:
        """The plugins beside the built-in parts that are there, in the order of their registration."""
        return [name for name, plugin in self._manager.list_name_plugin() if plugin is not None][1:]

    def mapping(self, hook: str) -> dict[str, Any]:
        """What all plugins bring for a hook that returns mappings; later registered ones win."""
        merged: dict[str, Any] = {}
        for part in self._brought(hook, Mapping):
            merged.update(part)
        return merged

    def sequence(self, hook: str) -> list[Any]:
        """What all plugins bring for a hook that returns sequences, in order of registration."""
        return [item for part in self._brought(hook, Sequence) for item in part]

    def _brought(self, hook: str, kind: type[Any]) -> Iterator[Any]:
        for found in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                part = found.function()
                if part is None:
                    continue
                if not isinstance(part, kind):
                    raise TypeError(f"`{hook}` returns {type(part).__name__}, not a {kind.__name__}")
                _check(hook, part)
            except Exception as error:  # other people's code
                code = getattr(found.function, "__code__", None)
                self._wrong(found.plugin_name, error, f"{code.co_filename}:{code.co_firstlineno}" if code else "")
            else:
                yield part

    def _add(self, name: str, load: Callable[[], object]) -> None:
        before = self._manager.get_plugin(name)
        try:
            plugin = load()
            if not any(self._manager.parse_hookimpl_opts(plugin, each) for each in dir(plugin)):
                raise InvalidRequest(f"{name} brings nothing: no function of it is marked `hookimpl`")
            if before is not None:
                self._manager.unregister(before)
            self.register(plugin, name)
            self.troubles.pop(name, None)
        except (Exception, SystemExit) as error:  # other people's code
            self._wrong(name, error)
            if before is not None and not self._manager.is_registered(before):
                self.register(before, name)

    def _wrong(self, name: str, error: BaseException, at: str = "") -> None:
        self.troubles[name] = where(error, name, at or name)
        log.warning("plugin %s: %s", name, self.troubles[name])


def where(error: BaseException, file: str, at: str) -> str:
    """An error in a line: the place in `file` that it comes from (else `at`), its class and words."""
    if isinstance(error, LLMAgentOSError):
        return error.message
    said = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((each for each in reversed(frames) if each.filename == file), None)
    at = f"{frame.filename}:{frame.lineno}" if frame is not None else at
    return f"{at}: {type(error).__name__}: {said}"


def _check(hook: str, part: Any) -> None:
    for name, each in part.items() if hook in _SHAPES else ():
        lacking = [attribute for attribute in _SHAPES[hook] if not hasattr(each, attribute)]
        if lacking:
            raise TypeError(f"`{hook}` has {name!r}, a {type(each).__name__} without `{lacking[0]}`; see `ToolKit`")


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"llmagent_os_plugin_{file.stem}", file)
    if not file.is_file():
        raise InvalidRequest(f"plugin {file} is not there, or no file", parameter="plugins")
    if spec is None or spec.loader is None:
        raise InvalidRequest(f"plugin {file} is not a Python file", parameter="plugins")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(spec.name)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[spec.name]
        else:
            sys.modules[spec.name] = before
        raise
    return module
