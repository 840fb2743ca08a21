"""Under which names this server is asked by who shows no key.

A page of anybody's can have a browser ask any address, under a name whose owner decides what it resolves to (DNS
rebinding): the page may read what is answered, as it is of its own origin. So what needs no key is answered under an
address, a name that nobody outside can own, or one that the configuration gives to this server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from starlette.types import Scope

from ..core.errors import PermissionDenied

OURS = ("localhost", "local", "internal", "lan", "home.arpa")
"""The ends of names that are resolved within a machine or its network alone."""


def check_host(scope: Scope, names: Collection[str]) -> None:
    """Raise PermissionDenied for a request under a name that may be somebody else's; `names` are patterns of ours.

    Browsers always say the host; what says none is no browser.
    """
    said = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
    if said and not (len(said) == 1 and _is_ours(said[0], names)):
        host = said[0][:200] if len(said) == 1 else "several"
        text = f"this server does not go by the name {host!r}; where that is its name, add it to `names` in config.yaml"
        raise PermissionDenied(text, host=host)


def _is_ours(host: str, names: Collection[str]) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    if parts.netloc != host or "@" in host or not name:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        single = "." not in name  # a name of this network: nobody can have one in the world's
        return (
            single or name.endswith(tuple(f".{end}" for end in OURS)) or any(fnmatchcase(name, each) for each in names)
        )
    return True
