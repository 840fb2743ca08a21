"""Workspaces as people reach into them: the same paths, and the same grant, as the agent's own file tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import InvalidRequest, NotFound, ToolFailed
from ..core.records import Json, Ticket
from .builtin_files import Workspaces

T = TypeVar("T")


class Files:
    """Lists, reads and writes files of workspaces below `root`. A `Ticket` says of which, and what its agent may touch.

    Raises PermissionDenied for a path that leads out or that the grant does not cover, NotFound, and InvalidRequest for
    what is no plain file or too large.
    """

    def __init__(self, root: Path) -> None:
        self._workspaces = Workspaces(root)

    async def listed(self, ticket: Ticket, folder: str = "", pattern: str = "*") -> list[dict[str, Json]]:
        """The files with their sizes in bytes; of very many the first, and at the end what to ask instead."""
        return await _aside(folder, self._workspaces.list_files, ticket, folder, pattern)

    async def read(self, path: str, ticket: Ticket) -> bytes:
        """The bytes of a file."""
        return await _aside(path, self._workspaces.read, path, ticket)

    async def write(self, path: str, data: bytes, ticket: Ticket) -> None:
        """Put a whole file in place; folders are made."""
        await _aside(path, self._workspaces.write, path, data, ticket)


async def _aside(path: str, work: Callable[..., T], *args: Any) -> T:
    """Do it in a thread; what the operating system has against it is said of the path."""
    try:
        return await asyncio.to_thread(work, *args)
    except FileNotFoundError:
        raise NotFound(f"there is no {path!r} in the workspace; see: llmagent-os files list AGENT", name=path) from None
    except ToolFailed as error:
        raise InvalidRequest(error.message, parameter="path") from None
    except OSError as error:
        raise InvalidRequest(f"{path!r} cannot be used: {error.strerror}", parameter="path") from None
