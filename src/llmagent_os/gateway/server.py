"""Run a system behind its HTTP gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ..boot import System, boot
from ..config import Config
from ..core import codec, extras
from ..core.errors import LLMAgentOSError
from ..core.whole import write_whole
from ..security.identity import OWNER
from .app import Gateway, for_pages
from .asgi import PATIENCE
from .auth import Lock, load_key
from .corked import CorkedProtocol
from .lobby import Lobby, room
from .login import Logins
from .porch import Porch
from .ports import listen

GRACE = 0.5  # seconds that running requests get to end when the system stops


@dataclass(frozen=True, slots=True)
class Running:
    """A system that answers at `url` to who has `key`. `stopping` is set to stop it."""

    url: str
    key: str
    system: System
    stopping: asyncio.Event
    logins: Logins

    def desktop(self) -> str:
        """An address that opens the desktop logged in as the owner, once and soon."""
        return f"{self.url}/#ticket={self.logins.ticket(OWNER)}"


async def serve(
    config: Config,
    on_ready: Callable[[Running], object] | None = None,
    plugins: Sequence[object] = (),
    warm: bool = False,
) -> None:
    """Run a system until SIGINT, SIGTERM, or `Running.stopping`; `on_ready` is called once it answers.

    With `warm` the default model is opened beside it, so that the first answer need not wait. Raises PortTaken,
    and what `boot` raises.
    """
    stopping = asyncio.Event()
    with _signals(stopping):  # from before it is announced until all is closed
        async with running(config, plugins, stopping=stopping) as system:
            spare_the_collector()
            sys.setswitchinterval(TURN)
            opening = asyncio.create_task(_open_default(system.system)) if warm else None
            if on_ready is not None:
                on_ready(system)
            await stopping.wait()
            if opening is not None:
                opening.cancel()


@asynccontextmanager
async def running(
    config: Config,
    plugins: Sequence[object] = (),
    patience: float = PATIENCE,
    stopping: asyncio.Event | None = None,
) -> AsyncIterator[Running]:
    """A system and its gateway for as long as the block runs; signals are the caller's."""
    listening = listen(config.host, config.port)
    try:
        system = await boot(config, plugins)
    except BaseException:
        listening.close()
        raise
    try:
        key = load_key(config.data)
        lock = Lock(key, system.keys, _issuer(config), config.data / "logins")
        app = Gateway(system, lock, patience)
        url = f"http://{_host(listening)}:{listening.getsockname()[1]}"
        async with _listening(app, for_pages(app, config.cors), listening):
            with _announced(config.data / "server.json", url):
                yield Running(url, key, system, stopping or asyncio.Event(), lock.logins)
    finally:
        listening.close()
        await system.close()


def _issuer(config: Config) -> Any:
    """Who reads tokens, if anybody does; raises MissingExtra."""
    if config.oidc is None:
        return None
    return extras.imported(".oidc", "oidc", "reading tokens", __package__).Issuer(config.oidc).caller


TURN = 0.001  # seconds that a thread which looks through something long may keep the loop from its next step


def spare_the_collector() -> None:
    """Keep what start-up made out of the garbage collector's rounds: going through it costs a fifth of every call."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


class _Server(uvicorn.Server):
    """uvicorn without signal handlers and listening sockets of its own: whoever runs it says when to stop."""

    def connected(self, early: bytes) -> asyncio.Protocol:
        """The protocol of a connection that was accepted, and of which `early` has come."""
        made: Any = self.config.http_protocol_class
        state = self.lifespan.state
        return made(config=self.config, server_state=self.server_state, app_state=state, early=early)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _listening(app: Gateway, front: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    lobby = Lobby(room())
    connected: Any = partial(CorkedProtocol, lobby=lobby)
    config = uvicorn.Config(
        front, http=connected, ws="none", lifespan="off", access_log=False, log_config=None, log_level="critical",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=1, timeout_keep_alive=65,
    )  # fmt: skip
    server = _Server(config)
    serving, watching = asyncio.create_task(server.serve([])), asyncio.create_task(lobby.watch())
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0)
        porch = Porch(listening, lobby, server.connected)
        porch.open()
        try:
            yield
        finally:
            porch.close()
    finally:
        server.should_exit = True
        watching.cancel()
        await app.close(GRACE)
        await serving


def _host(listening: socket.socket) -> str:
    host = listening.getsockname()[0]
    if ipaddress.ip_address(host).is_unspecified:  # every address of this machine
        host = "::1" if ":" in host else "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@contextmanager
def _announced(path: Path, url: str) -> Iterator[None]:
    """Say in the data folder where the system answers, for as long as it does."""
    write_whole(path, codec.dumps({"url": url, "pid": os.getpid()}), private=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _open_default(system: System) -> None:
    """Open the default model; where that fails, the first message says why."""
    with contextlib.suppress(LLMAgentOSError):
        await system.kernel.engines.get("default")
