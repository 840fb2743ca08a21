"""A browser on this machine: it shows a key once, and a cookie says who it is from then on.

A browser sends its cookie along with whatever any page asks for, also one of another port of this machine, which is the
same *site* for `SameSite`. So a request that comes with the cookie counts only from a page of our own origin, on the
loopback, and under a name of the loopback (what another name resolves to is its owner's choice).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from ..core.errors import PermissionDenied
from ..security.identity import BITS, Caller

LIFE = 12 * 3600.0  # seconds that a login lasts at most
MOST = 1000  # logins at a time; the one used longest ago ends first
_LOOKING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Login:
    """Who logged in, and until when (seconds since the epoch)."""

    caller: Caller
    ends: float


class Logins:
    """Who is logged in. A restart of the system ends every login."""

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, Login] = OrderedDict()  # by the hash of the cookie's value

    def open(self, scope: Scope, caller: Caller) -> str:
        """Log a caller in and return the `Set-Cookie` of it; raises PermissionDenied where no cookie may be had."""
        check_own(scope)
        token = secrets.token_urlsafe(BITS // 8)
        self._found[_digest(token)] = Login(caller, min(caller.expires, time.time() + LIFE))
        while len(self._found) > MOST:
            self._found.popitem(last=False)
        return _cookie(scope, token, LIFE)

    def find(self, scope: Scope) -> Caller | None:
        """Whose cookie a request carries, if it does; raises PermissionDenied where another page had it sent."""
        token = _sent(scope)
        login = self._found.get(_digest(token)) if token else None
        if login is None or login.ends <= time.time():
            return None
        check_own(scope)
        self._found.move_to_end(_digest(token))
        return login.caller

    def close(self, scope: Scope) -> str:
        """Log out; returns the `Set-Cookie` that takes the cookie back."""
        self._found.pop(_digest(_sent(scope)), None)
        return _cookie(scope, "", 0)


def check_own(scope: Scope) -> None:
    """Raise PermissionDenied for what does not come from this machine, or comes from a page that is not ours."""
    host = _only(scope, b"host")
    if not (_is_loopback((scope.get("client") or ("",))[0]) and _is_loopback(urlsplit(f"//{host}").hostname or "")):
        raise PermissionDenied("cookies are for browsers on this machine; send `Authorization: Bearer KEY`")
    origin, site, looking = _only(scope, b"origin"), _only(scope, b"sec-fetch-site"), scope["method"] in _LOOKING
    same = origin == f"{scope['scheme']}://{host}" if origin else looking or site == "same-origin"
    if not same or site not in ("", "same-origin", *(["none"] if looking else [])):
        raise PermissionDenied("a page of another origin asked for this; with a cookie only our own may")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _only(scope: Scope, name: bytes) -> str:
    """A header's value; nothing where it is not there, and what fits nowhere where it is there twice."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else "," if found else ""


def _name(scope: Scope) -> str:
    """The cookie's name, with our port: a browser does not tell ports apart."""
    return f"llmagent-os-{urlsplit('//' + _only(scope, b'host')).port or 80}"


def _sent(scope: Scope) -> str:
    """The value of our cookie in a request."""
    try:
        name = _name(scope)
    except ValueError:  # a port that is none
        return ""
    pairs = (pair.partition("=") for pair in _only(scope, b"cookie").split(";"))
    return next((value for key, _, value in pairs if key.strip() == name), "")


def _cookie(scope: Scope, token: str, seconds: float) -> str:
    return f"{_name(scope)}={token}; Path=/; Max-Age={seconds:.0f}; HttpOnly; SameSite=Strict"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
