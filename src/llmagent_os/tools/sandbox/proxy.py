"""The one way out of a sandbox: an HTTP proxy on a Unix socket that goes to the hosts on a list and nowhere else."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from ...core.places import allowed, inside, named

_HEAD, _SECONDS = 16 << 10, 10.0
_PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """The proxy does not go there; the message is for the one who asked."""


class Proxy:
    """Carries CONNECT tunnels and plain HTTP requests for one sandbox.

    Every one of `lists` has to name a host, by patterns as those of `core.records.Grant`. What is not public (this
    machine, its network) has to be named in `private` as well.
    """

    def __init__(self) -> None:
        self.lists: Sequence[Sequence[str] | None] = ((),)
        self.private: Sequence[str] = ()
        self.folder = Path(tempfile.mkdtemp(prefix="llmagent-os-proxy-"))
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, owner: int | None) -> None:
        """Listen in `folder`, which becomes that user's where one is given."""
        path = self.folder / "socket"
        self._server = await asyncio.start_unix_server(self._accept, path, limit=_HEAD)
        if owner is not None:
            os.chown(path, owner, owner)
            os.chown(self.folder, owner, owner)

    async def close(self) -> None:
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        with suppress(FileNotFoundError):
            (self.folder / "socket").unlink()
        self.folder.rmdir()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except Refused as refusal:
            text = f"{refusal}\n".encode()
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(text) + text
            )
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS)
        line, _, rest = head.partition(b"\r\n")
        method, target, version = line.decode("ascii").split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = (url.hostname or "").rstrip("."), url.port or _PORTS.get(url.scheme, 443)
        address = await resolve(host, port, self.lists, self.private)
        far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(address, port), _SECONDS)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:  # one request a connection: the next one may be for another host
            path = url._replace(scheme="", netloc="").geturl() or "/"
            kept = [
                part
                for part in rest.split(b"\r\n")
                if part and not part.lower().startswith((b"connection:", b"proxy-"))
            ]
            words = [f"{method} {path} {version}".encode(), *kept, b"Connection: close", b"", b""]
            far_writer.write(b"\r\n".join(words))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, far_writer))
                group.create_task(_carry(far_reader, writer))
        except* OSError:
            pass  # one end hung up
        finally:
            far_writer.close()


async def resolve(host: str, port: int, lists: Sequence[Sequence[str] | None], private: Sequence[str]) -> str:
    """The address to connect to; raises Refused for what is not on every list, OSError for no address."""
    name = named(host, port)
    if not host or not all(allowed(name, patterns) for patterns in lists):
        raise Refused(f"{name} is not on the list of hosts that this sandbox may reach")
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    address = str(found[0][4][0])
    if inside(address) and not allowed(name, private):
        raise Refused(f"{name} is inside this network; the list of private hosts does not name it")
    return address


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
