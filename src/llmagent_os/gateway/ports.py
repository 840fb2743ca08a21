"""The address to listen on, and who holds it where it is taken."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import InvalidRequest, PermissionDenied, PortTaken

BACKLOG = 4096  # connections that wait to be accepted
UNACKNOWLEDGED = 30_000  # milliseconds after which the system drops a connection whose other end takes nothing

_LISTENING = "0A"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises PortTaken, PermissionDenied, InvalidRequest."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InvalidRequest(f"host {host!r} is no address: {error.strerror}", parameter="host") from None
    found = socket.socket(family, kind, protocol)  # with its protocol: asyncio sets TCP_NODELAY only where it is told
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise _explained(error, host, port) from error
    found.setblocking(False)
    return found


def _explained(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        who = holder(port)
        by = f" by process {who[0]} ({who[1]})" if who else ""
        text = f"port {port} is in use{by}; choose another one with --port"
        return PortTaken(text, port=port, holder=who[0] if who else None)
    if error.errno == errno.EACCES:
        return PermissionDenied(f"port {port} needs more rights than this user has; choose one above 1023 with --port")
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidRequest(f"host {host!r} is no address of this machine", parameter="host")
    return error


def holder(port: int) -> tuple[int, str] | None:
    """The pid and command of the process that listens on a TCP port, where this machine tells (Linux)."""
    sockets = set(_listeners(port))
    if not sockets:
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        if sockets & set(_open_files(folder / "fd")):
            return int(folder.name), _command(folder)
    return None


def _listeners(port: int) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for _, local, _, state, *_, inode in (line.split()[:10] for line in lines):
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield f"socket:[{inode}]"


def _open_files(folder: Path) -> Iterator[str]:
    try:
        for link in folder.iterdir():
            yield os.readlink(link)
    except (PermissionError, FileNotFoundError):  # another user's, or gone meanwhile
        return


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except FileNotFoundError:
        return "gone meanwhile"
