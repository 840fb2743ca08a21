"""`python` and `shell`: code of a model's own, run in the sandbox with the agent's workspace."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..core import places
from ..core.errors import ToolFailed
from ..core.records import Json, Ticket
from ..core.trees import remove
from .aside import Aside, aside
from .made import before, made
from .sandbox import Job, Result, Sandbox
from .sandbox.watch import survey
from .toolkit import ToolKit

NOT_KEPT = "what it wrote was not kept: it ran on a copy of your files, for nobody has said that it may change them"

_ALONE, _PRINTS = "standard library, no pandas", "and get what it prints."  # in the description of `python`
_DRAWS = "Files that it writes, and pictures that it shows, go to the user."

Seconds = Annotated[float, Field(gt=0)]


class Code:
    """Hands code to the sandbox. Workspaces are those of `builtin_files.Workspaces`, below `root`."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        self._sandbox, self._root = sandbox, root

    async def python(self, code: str, ticket: Ticket, seconds: Seconds | None = None) -> dict[str, Json]:
        """Run Python 3 code (standard library, no pandas) in the folder of your files, and get what it prints.

        Where nothing is printed you get the value of a last expression. Only files last from one call to the next.
        After `seconds` it is ended.
        """
        return await self._run(Job(code=code), ticket, seconds)

    async def shell(self, command: str, ticket: Ticket, seconds: Seconds | None = None) -> dict[str, Json]:
        """Run a shell command in the folder of your files, and get what it prints.

        After `seconds` it is ended.
        """
        return await self._run(Job(argv=("/bin/sh", "-c", command)), ticket, seconds)

    async def _run(self, job: Job, ticket: Ticket, seconds: float | None) -> dict[str, Json]:
        job = Job(job.code, job.argv, self._workspace(ticket), seconds, ticket.grant.hosts)
        if ticket.contained:
            return await self._aside(job)
        if job.folder is None:
            return _told(await self._sandbox.run(job), self._sandbox)
        then = await asyncio.to_thread(before, job.folder, self._sandbox.owner)
        told = _told(await self._sandbox.run(job), self._sandbox)
        return told | await asyncio.to_thread(made, job.folder, then)

    async def _aside(self, job: Job) -> dict[str, Json]:
        """Run a job on a copy of its workspace, without a network, and tell what it would have changed."""
        job = replace(job, hosts=(), passing=True)
        if job.folder is None:
            return _told(await self._sandbox.run(job), self._sandbox)
        most = self._sandbox.settings.disk
        if await asyncio.to_thread(survey, job.folder, most=most) > most:
            raise ToolFailed(f"the workspace has more than {most >> 20} MB, too much to run this on a copy of it")
        with aside() as copy:
            try:
                return await self._on_copy(job, job.folder, copy)
            finally:
                await asyncio.to_thread(remove, copy.folder)  # it may be much: nobody else waits for that

    async def _on_copy(self, job: Job, workspace: Path, copy: Aside) -> dict[str, Json]:
        await asyncio.to_thread(copy.take, workspace, self._sandbox.owner)
        told = _told(await self._sandbox.run(replace(job, folder=copy.folder)), self._sandbox)
        changed = await asyncio.to_thread(copy.changed)
        told |= await asyncio.to_thread(made, copy.folder, None)  # the rest is not kept
        told |= _left_out(copy)
        return told | {"not_kept": changed, "note": NOT_KEPT} if changed else told

    def _workspace(self, ticket: Ticket) -> Path | None:
        """The caller's folder. Code cannot be kept to some of its paths: where a grant names those, it gets none."""
        if not places.allowed("", ticket.grant.paths):
            return None
        folder = self._root.joinpath(*places.folders(ticket.home)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return folder


_MISSING = re.compile(r"^ModuleNotFoundError: No module named '([\w.]+)'", re.MULTILINE)


def _told(done: Result, sandbox: Sandbox) -> dict[str, Json]:
    told: dict[str, Json] = {"stdout": done.stdout, "stderr": done.stderr, "exit": done.exit}
    told["seconds"] = round(done.seconds, 3)
    if missing := _MISSING.search(done.stderr):
        brought = sandbox.libraries()
        there = f"or {', '.join(brought.versions)}" if brought is not None else "such as csv, statistics"
        told["hint"] = f"there is no module {missing[1]} here; use those that come with Python, {there}"
    elif done.exit == 0 and not done.stdout and not done.stderr:
        told["hint"] = "it ran to its end and printed nothing"
    return told if done.killed is None else told | {"killed": f"it used more {done.killed} than it may"}


def _left_out(copy: Aside) -> dict[str, Json]:
    """What is said of folders that the copy of a workspace has not got."""
    for path, why in copy.closed.first:
        return {"left_out": f"{copy.closed.count} of your folders: {places.told(path)}: {why}"}
    return {}


def code_tools(sandbox: Sandbox, root: Path) -> ToolKit:
    """`python` and `shell`; they raise as `Sandbox.run` does.

    They can be contained, unless their sandbox reaches hosts, without which code that needs them would only fail, or
    keeps nothing in.
    """
    kit, code, settings = ToolKit(), Code(sandbox, root), sandbox.settings
    contained = not settings.hosts and settings.level != "subprocess"
    timeout = settings.seconds + 10
    shared: dict[str, Any] = {"effect": "write", "timeout": timeout, "concurrency": 4, "contained": contained}
    kit.add(code.python, meanings={"code": "code"}, **shared)
    kit.add(code.shell, meanings={"command": "code"}, **shared)
    for tool in kit.values():
        tool.source = "built in"
    kit["python"].tell = partial(_python_now, kit["python"].spec.description, sandbox)
    return kit


def _python_now(description: str, sandbox: Sandbox) -> str:
    """What a model is told of `python`, by the libraries that were set up for it."""
    found = sandbox.libraries()
    if found is None:
        return description
    *names, last = found.versions
    there = f"{', '.join(names)} and {last} are" if names else f"{last} is"
    return description.replace(_ALONE, f"{there} there").replace(_PRINTS, f"{_PRINTS} {_DRAWS}")
