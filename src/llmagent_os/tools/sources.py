"""Tools from outside: the MCP servers and OpenAPI documents that the configuration names, and what is wrong with each.

Nothing of it stops a system or makes it wait: what is on disk is read at the start, the rest is done beside it.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from ..core import extras
from ..core.errors import FetchFailed, InvalidRequest, LLMAgentOSError, MissingExtra
from ..core.ports import Tool
from ..core.records import Json
from .settings import Document, MCPServer

AGAIN, LONGEST = 5.0, 600.0  # seconds before a document is fetched again, twice as many each time

log = logging.getLogger(__name__)


@dataclass(slots=True)
class State:
    """How it is with a source: `trouble` says why its tools are missing, or may be gone (None: nothing is wrong).

    `left_out` says of single tools why they are missing. `settled` is set once the source is there, or has failed.
    """

    trouble: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    told: Callable[[], None] = lambda: None

    def well(self, left_out: Mapping[str, str]) -> None:
        """The source is there."""
        self.trouble, self.left_out = None, left_out
        self.settled.set()
        self.told()

    def failed(self, why: str) -> None:
        """The source is not there."""
        self.trouble = " ".join(why.split())[:500]
        self.settled.set()
        self.told()


class Sources:
    """The sources by name (`openapi shop`, `mcp time`). Their tools are put into `tools` as they become known."""

    def __init__(
        self,
        tools: dict[str, Tool],
        mcp: Mapping[str, MCPServer],
        documents: Mapping[str, Document],
        folder: Path,
        seal: Callable[[], Any],
    ) -> None:
        """`folder` keeps documents that were fetched, what servers listed last, and logins under a `seal`."""
        self.news = asyncio.Event()  # set when a source changes
        self._tools, self._folder, self._documents = tools, folder, documents
        self.states = {f"openapi {name}": State(told=self.news.set) for name in documents}
        self.states |= {f"mcp {name}": State(told=self.news.set) for name in mcp}
        self._works = False
        self._work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self._servers, self._seal = mcp, seal
        self._connections: dict[str, Any] = {}
        for name in mcp:
            self._work[f"mcp {name}"] = partial(self._serve, name)
            if (folder / "mcp" / f"{name}.json").exists() or find_spec("mcp") is None:  # its SDK takes long to import
                self._connect(name)

    def _connect(self, name: str) -> None:
        """Make a connection, not yet open, with the tools that were listed last."""
        state, folder = self.states[f"mcp {name}"], self._folder / "mcp"
        try:
            login = _driver("mcp_login").Login(folder / f"{name}.login", self._seal)
            made = _driver("mcp").Connection(name, self._servers[name], self._tools, folder, state, login)
            self._connections[name] = made
        except MissingExtra as error:
            state.failed(error.message)

    async def _serve(self, name: str) -> None:
        """Keep a server connected."""
        if name not in self._connections:
            with suppress(MissingExtra):
                await asyncio.to_thread(_driver, "mcp")
            self._connect(name)
        if name in self._connections:
            await self._connections[name].serve()
        await asyncio.Event().wait()  # a worker that ends counts as broken

    async def read(self) -> None:
        """Bring in the documents that are on disk."""
        for name, document in self._documents.items():
            if (
                _driver("openapi").place(name, document, self._folder / "openapi").is_file()
                or "://" not in document.source
            ):
                await self._import(name)
            else:
                self._work[f"openapi {name}"] = partial(self._fetch, name)

    def work(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What is to run beside the system, by name: documents are fetched, servers kept connected."""
        self._works = True
        return {name: begin() for name, begin in self._work.items()}

    async def complete(self) -> None:
        """Also fetch the documents that are not on disk, without a system."""
        for name in [each for each in self._documents if f"openapi {each}" in self._work]:
            await self._import(name)

    async def settled(self, seconds: float) -> None:
        """Wait until every source is there or has failed once, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(state.settled.wait() for state in self.states.values()))

    def missing(self) -> Iterator[dict[str, Json]]:
        """What is wrong, by source."""
        for name, state in self.states.items():
            waiting = self._works and not state.settled.is_set()
            if (trouble := state.trouble or ("it has not answered yet" if waiting else None)) or state.left_out:
                yield {"source": name, "trouble": trouble, "left_out": dict(state.left_out)}

    async def _import(self, name: str) -> bool:
        """Put a document's tools into place; whether trying again may help where that fails."""
        state, source = self.states[f"openapi {name}"], f"openapi {name}"
        others = {key for key, tool in self._tools.items() if getattr(tool, "source", "") != source}
        try:
            found = await _driver("openapi").openapi_tools(
                name, self._documents[name], self._folder / "openapi", others
            )
        except LLMAgentOSError as error:
            log.warning("%s: %s", source, error.message)
            state.failed(error.message)
            return isinstance(error, FetchFailed)
        self._tools.update(found)
        state.well(found.left_out)
        return False

    async def _fetch(self, name: str) -> None:
        """Fetch a document, again and again while its server is away."""
        pause = AGAIN
        while await self._import(name):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)
        await asyncio.Event().wait()  # a worker that ends counts as broken


async def log_in(
    name: str, server: MCPServer, folder: Path, seal: Callable[[], Any], show: Callable[[str], Any], client: str,
    port: int,
) -> bool:  # fmt: skip
    """Log in to an MCP server with a person's browser; see `mcp_login.log_in`."""
    if not server.url:
        raise InvalidRequest(f"{name} is a command of this machine, which needs no login", parameter="name")
    driver = _driver("mcp_login")
    (folder / "mcp").mkdir(parents=True, exist_ok=True)
    login = driver.Login(folder / "mcp" / f"{name}.login", seal)
    asked: bool = await driver.log_in(server.url, login, show, client, port)
    return asked


def _driver(name: str) -> ModuleType:
    """A module that is imported only where it is needed, for what it imports takes long."""
    if name == "openapi":
        return importlib.import_module(f".{name}", __package__)
    return extras.imported(f".{name}", "mcp", "an MCP server", __package__)
