"""`python` and `shell`: code of a model's own, run in the sandbox with the agent's workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ..core.places import allowed, folders
from ..core.records import Json, Ticket
from .sandbox import Job, Sandbox
from .toolkit import ToolKit

Seconds = Annotated[float, Field(gt=0)]


class Code:
    """Hands code to the sandbox. Workspaces are those of `builtin_files.Workspaces`, below `root`."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        self._sandbox, self._root = sandbox, root

    async def python(self, code: str, ticket: Ticket, seconds: Seconds | None = None) -> dict[str, Json]:
        """Run Python 3 code in the folder of your files, and get what it prints.

        Only files last from one call to the next. After `seconds` it is ended.
        """
        return await self._run(Job(code=code), ticket, seconds)

    async def shell(self, command: str, ticket: Ticket, seconds: Seconds | None = None) -> dict[str, Json]:
        """Run a shell command in the folder of your files, and get what it prints.

        After `seconds` it is ended.
        """
        return await self._run(Job(argv=("/bin/sh", "-c", command)), ticket, seconds)

    async def _run(self, job: Job, ticket: Ticket, seconds: float | None) -> dict[str, Json]:
        folder = self._workspace(ticket)
        done = await self._sandbox.run(Job(job.code, job.argv, folder, seconds, ticket.grant.hosts))
        told = {"stdout": done.stdout, "stderr": done.stderr, "exit": done.exit, "seconds": round(done.seconds, 3)}
        return told if done.killed is None else told | {"killed": f"it used more {done.killed} than it may"}

    def _workspace(self, ticket: Ticket) -> Path | None:
        """The caller's folder. Code cannot be kept to some of its paths: where a grant names those, it gets none."""
        if not allowed("", ticket.grant.paths):
            return None
        folder = self._root.joinpath(*folders(ticket.home)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def code_tools(sandbox: Sandbox, root: Path) -> ToolKit:
    """`python` and `shell`; they raise as `Sandbox.run` does."""
    kit, code = ToolKit(), Code(sandbox, root)
    timeout = sandbox.settings.seconds + 10
    kit.add(code.python, effect="write", timeout=timeout, concurrency=4, meanings={"code": "code"})
    kit.add(code.shell, effect="write", timeout=timeout, concurrency=4, meanings={"command": "code"})
    for tool in kit.values():
        tool.source = "built in"
    return kit
