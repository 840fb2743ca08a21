"""Paths and hosts: where a name leads, whether patterns cover it, and whether an address lies inside this network."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from urllib.parse import quote, urlsplit

from .errors import PermissionDenied

LONGEST = 200  # characters of a folder's name; file systems take 255 bytes

_PORTS = {"http": 80, "https": 443}
_TRANSLATED = [ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")]
"""IPv6 that leads to an IPv4 address of whoever translates it."""


def allowed(value: str, patterns: Sequence[str] | None) -> bool:
    """Whether a value matches one of some patterns (`*` for anything); None: everything does."""
    return patterns is None or any(fnmatchcase(value, pattern) for pattern in patterns)


# -- paths


def resolved(path: str) -> str:
    """A path without `.` and `..`; one that leaves its root matches nothing."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return "../" + path
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def steps(path: str) -> list[str]:
    """The folders and the file that a path below a workspace names; raises PermissionDenied for one that leads out."""
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise PermissionDenied(f"{path!r} is no path in the workspace; paths are like notes/today.txt", path=path)
    return [part for part in path.split("/") if part not in ("", ".")]


def told(path: str) -> str:
    """A path in words that JSON and terminals take: what of it is no UTF-8 stands as `\\xff`."""
    return path if path.isascii() else os.fsencode(path).decode(errors="backslashreplace")


def folders(home: str) -> list[str]:
    """The two folders, one in the other, of a workspace (see `Ticket.home`), whatever its name holds."""
    return [_folder(part) for part in home.split("/", 1)]


def _folder(name: str) -> str:
    if name in (".", ".."):
        return "%2E" * len(name)
    quoted = quote(name, "@")
    if len(quoted) <= LONGEST:
        return quoted
    return f"{quoted[:LONGEST]}~{blake2b(name.encode(), digest_size=9).hexdigest()}"


# -- hosts


def named(host: str | None, port: int | None = None, scheme: str | None = None) -> str:
    """A host as patterns name it: in small letters, with the port where it is not the scheme's own.

    Where nobody told the scheme, the ports of both are their own.
    """
    name = f"[{host}]" if ":" in (host or "") else (host or "").lower().rstrip(".")
    usual = port is None or (port in _PORTS.values() if scheme is None else port == _PORTS.get(scheme))
    return name if usual else f"{name}:{port}"


def host_of(url: str) -> str:
    """The host of a URL, with the port where it has one, however it is written; of what is none, all of it."""
    try:
        url = url.replace("\\", "/")  # as browsers do
        return urlsplit(url if "//" in url else f"//{url}").netloc.rpartition("@")[2].lower()
    except ValueError:  # half of an IPv6 address, or characters that would turn into others
        return ""


def inside(address: str) -> bool:
    """Whether an IP address is this machine's, its network's, or leads there; what is no address is not."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address):
        if any(known in network for network in _TRANSLATED):
            return True
        known = known.ipv4_mapped or known.sixtofour or known
    return not known.is_global or known.is_multicast
