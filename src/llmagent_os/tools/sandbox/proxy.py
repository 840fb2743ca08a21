"""The one way out of a sandbox: an HTTP proxy on a Unix socket that goes to the hosts on a list and nowhere else.

Each connection carries one request, or one tunnel: what it leads to was judged, and nothing else goes there. A server
with many names tells them apart by the `Host` of a request, or by the name in the first message of TLS: both are held
to the host that was asked for.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ...core.places import allowed, inside, named
from ...core.trees import remove
from .traffic import LIMIT, Odd, Request, Stream, body, is_http, is_tls, request, server_name

_SECONDS = 10.0


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
        self.path = self.folder / "socket"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, owner: int | None) -> None:
        """Listen at `path`, which becomes that user's where one is given; nobody else writes into its folder."""
        self._server = await asyncio.start_unix_server(self._accept, self.path, limit=LIMIT)
        if owner is not None:
            os.chown(self.path, owner, owner)
            self.folder.chmod(0o711)

    async def close(self) -> None:
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        await asyncio.to_thread(remove, self.folder)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except Refused as refusal:
            writer.write(_answer(b"403 Forbidden", str(refusal)))
        except Odd as odd:
            writer.write(_answer(b"400 Bad Request", str(odd)))
        except (OSError, ValueError, TimeoutError):
            writer.write(_answer(b"502 Bad Gateway", ""))
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = Stream(reader)
        asked = request(await asyncio.wait_for(near.until(b"\r\n\r\n"), _SECONDS))
        tunnel = asked.method == "CONNECT"
        url = urlsplit(f"//{asked.target}" if tunnel else asked.target)
        if not tunnel and url.scheme != "http":
            raise Odd("ask for an address that begins with http://, or for a tunnel")
        host, port = (url.hostname or "").rstrip("."), url.port or (443 if tunnel else 80)
        address = await resolve(host, port, self.lists, self.private)
        far_reader, far = await asyncio.wait_for(asyncio.open_connection(address, port), _SECONDS)
        try:
            async with asyncio.TaskGroup() as group:
                if tunnel:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    there = group.create_task(_tunnelled(near, far, host, port))
                else:
                    there = group.create_task(_sent(asked, _path(asked.target), named(host, port, "http"), near, far))
                await _carry(Stream(far_reader), writer)
                if not tunnel:
                    there.cancel()  # there is the answer: nothing waits for what else is sent
        except* OSError:
            pass  # one end hung up
        finally:
            far.close()


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


def _path(target: str) -> str:
    """What of an address is for its host."""
    return re.sub(r"^[^/?#]*", "", target.partition("//")[2]).partition("#")[0]


async def _sent(asked: Request, path: str, host: str, near: Stream, far: asyncio.StreamWriter) -> None:
    """Send a request to a host, and nothing else of what comes."""
    try:
        far.write(asked.head(path if path.startswith(("/", "*")) else f"/{path}", host))
        async for piece in body(near, asked.length):
            far.write(piece)
            await far.drain()
    except Odd:
        far.transport.abort()  # half a request is none
    except OSError:  # it has its answer already
        pass
    while await near.read():  # it was not judged, and goes nowhere
        pass


async def _tunnelled(near: Stream, far: asyncio.StreamWriter, host: str, port: int) -> None:
    """Carry what comes through a tunnel to a host; no server is told of another one there."""
    data = await near.opening()
    try:
        if is_http(data):
            asked = request(await near.until(b"\r\n\r\n"))
            await _sent(asked, asked.target, named(host, port, "http"), near, far)
            return
        name = server_name(data) if is_tls(data) else None
        if name is not None and name.lower().rstrip(".") != host.encode("idna").decode().lower():
            raise Odd(f"that tunnel leads to {host}, and not to {name}")
    except Odd:
        far.transport.abort()
        return
    await _carry(near, far)


async def _carry(source: Stream, writer: asyncio.StreamWriter) -> None:
    while data := await source.read():
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _answer(status: bytes, text: str) -> bytes:
    content = f"{text}\n".encode() if text else b""
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(content))
    return head + content
