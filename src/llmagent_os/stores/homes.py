"""The folders that agents work in, by whose they are: shown to their person, deleted with their data."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from ..core.places import folders, told
from ..core.ports import Facts
from ..core.records import Json
from ..core.trees import Closed, contents, remove

UNREAD = 1000  # files that are named, of those that cannot be read
SPACE = "workspace"
"""Where the migration to schema 2 noted, of each agent that one person alone had used, who that was."""


class Homes:
    """The workspaces below a folder, as something that holds what belongs to people (see `core.ports.Personal`)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def export(self, tenant: str, principal: str) -> Iterator[Json]:
        """Their files, text as it is, anything else in base64; `unread` says why one has neither."""
        for folder in self._theirs(tenant, principal):
            shut, workspace = Closed(UNREAD), {"workspace": unquote(folder.name)}
            for path, file in contents(folder, shut):
                about, data = workspace | {"path": told(path)}, file.read()
                try:
                    yield about | {"text": data.decode()}
                except UnicodeDecodeError:
                    yield about | {"data": base64.b64encode(data).decode()}
            for path, why in shut.first:
                yield workspace | {"path": told(path), "unread": why}
            if shut.count > len(shut.first):
                yield workspace | {"unread": f"{shut.count - len(shut.first)} more"}

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """Delete their workspaces; returns how many there were."""
        theirs = list(self._theirs(tenant, principal))
        for folder in theirs:
            await asyncio.to_thread(remove, folder)
        return len(theirs)

    def _theirs(self, tenant: str, principal: str) -> Iterator[Path]:
        above = self._root / folders(f"{tenant}/x")[0]
        for folder in sorted(above.iterdir()) if above.is_dir() else ():
            agent, at, _ = folder.name.partition("@")
            if at and folder.name == folders(f"{tenant}/{unquote(agent)}@{principal}")[1]:
                yield folder

    async def adopt(self, facts: Facts) -> None:
        """Give the workspaces of an earlier data folder, which were an agent's, to the one person who had used it."""
        for home, (_, value) in facts.list(SPACE).items():
            old, new = (self._root.joinpath(*folders(each)) for each in (home, f"{home}@{value['principal']}"))
            if not new.exists():
                with suppress(FileNotFoundError):
                    old.rename(new)
            await facts.drop(SPACE, home)
