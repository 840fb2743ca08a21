"""LLMAgentOS inside a program: the whole system on a background thread, for code that is not asynchronous."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal

from .agent.spec import AgentSpec
from .boot import PATIENCE, System, boot
from .config import load
from .core.records import Json, Traits
from .tools.toolkit import FunctionTool


class LLMAgentOS:
    """A running system. Without `data` it forgets everything at the end; with a folder it resumes what was running.

    `settings` are fields of `config.Config`, such as `model="small"`. Use as a context manager, or call `close`.
    """

    def __init__(self, data: str | Path | None = None, **settings: Any) -> None:
        """Start. Raises DataFolderBusy, InvalidRequest for a bad setting, NotFound for an unknown model."""
        self._temporary = tempfile.TemporaryDirectory(prefix="llmagent-os-") if data is None else None
        folder = Path(self._temporary.name if self._temporary else data)  # type: ignore[arg-type]
        config = load({"data": folder, **settings})
        self._portals = start_blocking_portal()
        self._portal = self._portals.__enter__()
        try:
            self.system: System = self._portal.call(boot, config)
        except BaseException:
            self._end()
            raise

    def create(self, definition: AgentSpec | Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Define an agent: `create(name="poet", prompt="You write poems.", tools=["dice"])`.

        Waits for sources of tools that are there for the first time, as long as they may take.
        """
        given = definition or fields
        wanted = given.tools if isinstance(given, AgentSpec) else given.get("tools") or ()
        if any(name not in self.system.tools for name in wanted):
            self._portal.call(self.system.sources.settled, PATIENCE)
        self._portal.call(self.system.agents.create, given)

    def tool(self, function: Callable[..., Any] | None = None, name: str | None = None, **declared: Any) -> Any:
        """Make a function a tool that agents created from now on may be given; also as a decorator.

        `declared` is what it does, the fields of `core.records.Traits`: `@system.tool(effect="read")`.
        """
        if function is None:
            return partial(self.tool, name=name, **declared)
        tool = FunctionTool(function, name, Traits(**declared))
        self.system.tools[tool.spec.name] = tool
        return function

    def add(self, name: str, agent: Any, **fields: Any) -> None:
        """Run an object with an `engine` and a `prompt_template`, such as an `LLMAgent`, as an agent of that name.

        `fields` are more of its definition. The engine stays the caller's: closing the system leaves it open.
        """
        self.system.add_engine(name, agent.engine)
        definition = {"model": name, "loop": "template", "prompt": agent.prompt_template.template, **fields}
        if self.system.agents.knows(name):  # from an earlier run on this data folder
            self._portal.call(self.system.agents.configure, name, definition)
        else:
            self.create(name=name, **definition)

    def ask(self, agent: str, message: Json, session: str | None = None, timeout: float | None = None) -> str:
        """Send a message and return the answer's text; raises what the agent failed with, or TimeoutError.

        With a `session` the agent remembers what was said in it.
        """
        return str(self.reply(agent, message, session, timeout)["text"])

    def reply(self, agent: str, message: Json, session: str | None = None, timeout: float | None = None) -> Json:
        """Like `ask`, but the whole reply: text, parts (pictures, files), usage."""
        return self._portal.call(self.system.agents.ask, agent, message, session, timeout)

    def close(self) -> None:
        """Stop; calling it twice is harmless."""
        if self._portal is not None:
            self._portal.call(self.system.close)
            self._end()

    def _end(self) -> None:
        self._portals.__exit__(None, None, None)
        self._portal = None  # type: ignore[assignment]
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
