"""LLMAgentOS inside a program: the whole system on a background thread, for code that is not asynchronous."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal

from .agent.spec import AgentSpec
from .boot import PATIENCE, System, boot
from .config import load
from .core.errors import LLMAgentOSError
from .core.records import Json, Question, Traits
from .core.visible import named, visible
from .tools.toolkit import FunctionTool, in_thread

log = logging.getLogger(__name__)


class LLMAgentOS:
    """A running system. Without `data` it forgets everything at the end; with a folder it resumes what was running.

    `settings` are fields of `config.Config`, such as `model="small"`. `approve` is asked, in a thread of its own, what
    an agent may do that its policy leaves to a person; without it each question is a warning in the log, and waits for
    `answer`. Use as a context manager, or call `close`.
    """

    def __init__(
        self, data: str | Path | None = None, approve: Callable[[Question], bool] | None = None, **settings: Any
    ) -> None:
        """Start. Raises DataFolderBusy, InvalidRequest for a bad setting, NotFound for an unknown model."""
        self._approve, self._asked = approve, set[asyncio.Task[None]]()
        self._temporary = tempfile.TemporaryDirectory(prefix="llmagent-os-") if data is None else None
        folder = Path(self._temporary.name if self._temporary else data)  # type: ignore[arg-type]
        config = load({"data": folder, **settings})
        self._portals = start_blocking_portal()
        self._portal = self._portals.__enter__()
        try:
            self.system: System = self._portal.call(boot, config)
            self.system.approvals.told.append(self._hear)
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

    def act(self, act: str, /, **args: Any) -> Json:
        """Administer, as the owner: such as `act("knowledge.sync", folder=..., ...)`; see the reference of syscalls."""
        return self._portal.call(partial(self.system.sys.act, act, **args))

    def questions(self) -> list[dict[str, Json]]:
        """What agents wait for a person to allow: `id`, `agent`, `tool`, `arguments`, `origins`, `why`, ..."""
        return self._portal.call(self.system.approvals.waiting)

    def answer(self, question: str, allow: bool) -> None:
        """Allow or refuse what a question, by its `id`, is about; raises NotFound, Conflict where it is too late."""
        self._portal.call(partial(self.system.sys.act, "approvals.answer", id=question, allow=allow))

    def _hear(self, question: Question) -> None:
        if self._approve is None:
            agent, tool = visible(question.agent), named(question.tool)
            log.warning("%s waits for a person: may it %s? See `questions` and `answer`", agent, tool)
            return
        task = asyncio.get_running_loop().create_task(self._settle(question, self._approve))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _settle(self, question: Question, approve: Callable[[Question], bool]) -> None:
        try:
            allow = await in_thread(approve, question=question)
        except Exception:  # the caller's own code: nothing is allowed by its failure
            log.exception("what approves of %s failed, so it is refused", named(question.tool))
            allow = False
        with suppress(LLMAgentOSError):  # nobody waits for it any more
            await self.system.sys.act("approvals.answer", id=question.id, allow=allow is True)

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
