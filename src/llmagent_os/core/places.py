"""Paths and hosts: where a name leads, whether patterns cover it, and whether an address lies inside this network."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from urllib.parse import quote, urlsplit

from .errors import PermissionDenied
from .trees import LONGEST as PATH

LONGEST = 200  # characters of a folder's name; file systems take 255 bytes
_END = 1000  # characters of a path that is too long, at each end
_PORTS = {"http": 80, "https": 443}
_UNICAST = ipaddress.ip_network("2000::/3")
"""Where all public hosts of IPv6 are."""
_SPECIAL = [
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # the host of a machine at Azure, which hands out its certificates and extensions
        "2001::/23",  # Teredo (which holds IPv4), benchmarks, hashes and the like
        "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20",
    )
]  # fmt: skip
"""What is nobody's own in IPv4 and in `_UNICAST`, after the registries of special-purpose addresses (RFC 6890).

Python's `is_global` knows them by its own version, and neither site-local addresses nor 6to4.
"""
_TUNNELS = (0x00005EFE, 0x02005EFE)  # before an IPv4 address at the end of an IPv6 one: it leads there (ISATAP)
_ODD = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udcff]")
"""In paths: what is no text, moves the cursor, or turns the direction of what is read."""
_TOLD = re.compile(rb"\\x([0-9a-f]{2})")


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
    if path.startswith("/") or ".." in path.split("/") or "\0" in path or not _writable(path):
        shown = path.encode(errors="backslashreplace").decode()
        raise PermissionDenied(f"{path!r} is no path in the workspace; paths are like notes/today.txt", path=shown)
    return [part for part in path.split("/") if part not in ("", ".")]


def _writable(path: str) -> bool:
    """Whether a file system can have it: not half of a character."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def told(path: str) -> str:
    """A path in words that JSON, terminals and people take: odd bytes stand as `\\xff`, one that is too long is cut."""
    if len(path) > PATH:
        path = f"{path[:_END]}[{len(path) - 2 * _END} more characters]{path[-_END:]}"
    return _ODD.sub(lambda odd: "".join(f"\\x{byte:02x}" for byte in os.fsencode(odd[0])), path)


def meant(name: str) -> str:
    """The name of a file or folder that stands as this one where it is told; itself, where none does."""
    if "\\x" not in name:
        return name
    found = os.fsdecode(_TOLD.sub(lambda odd: bytes([int(odd[1], 16)]), os.fsencode(name)))
    return found if told(found) == name else name


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
    """Whether an IP address is this machine's or its network's, leads there, or is nobody's; what is no address is not.

    Those that hold an IPv4 address for whoever translates it, or a tunnel, are it all: there is no telling where to.
    """
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is None:
            within = ipaddress.IPv4Address(int(known) & 0xFFFFFFFF)
            tunnel = int(known) >> 32 & 0xFFFFFFFF in _TUNNELS and inside(str(within))
            return tunnel or known not in _UNICAST or any(known in network for network in _SPECIAL)
        known = known.ipv4_mapped
    return any(known in network for network in _SPECIAL)
