"""A browser on this machine: it shows a key once, and a cookie says who it is from then on.

A browser sends its cookie along with whatever any page asks for, also one of another port of this machine, which is the
same *site* for `SameSite`. So a request that comes with the cookie counts only from a page of our own origin, on the
loopback, and under a name of the loopback (what another name resolves to is its owner's choice).
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import Scope

from ..core import codec
from ..core.errors import PermissionDenied
from ..core.whole import write_whole
from ..security.identity import BITS, OWNER, PREFIX, Caller

log = logging.getLogger(__name__)

LIFE = 12 * 3600.0  # seconds that a login lasts at most
TICKET = 600.0  # seconds in which a ticket opens the desktop, once
MOST = 1000  # logins at a time; the one used longest ago ends first
_LOOKING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Login:
    """Who logged in, and until when (seconds since the epoch)."""

    caller: Caller
    ends: float


class Logins:
    """Who is logged in. With a file a restart of the system ends no login of a key that is still the same.

    `owner` is the owner's key: where it is another one than when the file was written, the file counts for nothing.
    A token's login ends with the process, as nobody can ask again whether its bearer is still known.
    """

    def __init__(self, file: Path | None = None, owner: str = "") -> None:
        self._file, self._owner = file, _digest(owner).hex()
        self._found: OrderedDict[bytes, Login] = OrderedDict(self._kept())  # by the hash of the cookie's value
        self._tickets: OrderedDict[bytes, Login] = OrderedDict()

    def ticket(self, caller: Caller) -> str:
        """What logs a caller's browser in, once and soon, and can therefore stand in an address's fragment."""
        token = secrets.token_urlsafe(BITS // 8)
        self._tickets[_digest(token)] = Login(caller, min(caller.expires, time.time() + TICKET))
        while len(self._tickets) > MOST:
            self._tickets.popitem(last=False)
        return token

    def redeem(self, token: str) -> Caller | None:
        """Whose ticket it is; it is none any more."""
        login = self._tickets.pop(_digest(token), None)
        return login.caller if login is not None and login.ends > time.time() else None

    def open(self, scope: Scope, caller: Caller) -> str:
        """Log a caller in and return the `Set-Cookie` of it; raises PermissionDenied where no cookie may be had."""
        check_own(scope)
        token = secrets.token_urlsafe(BITS // 8)
        self._found[_digest(token)] = Login(caller, min(caller.expires, time.time() + LIFE))
        while len(self._found) > MOST:
            self._found.popitem(last=False)
        self._keep()
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
        if self._found.pop(_digest(_sent(scope)), None) is not None:
            self._keep()
        return _cookie(scope, "", 0)

    def _keep(self) -> None:
        """Write down who is logged in: hashes alone, for the owner's eyes."""
        if self._file is None:
            return
        now = time.time()
        kept = [
            [digest.hex(), each.caller.key, each.caller.tenant, each.caller.principal, each.ends]
            for digest, each in self._found.items()
            if each.ends > now and (each.caller == OWNER or each.caller.key.startswith(PREFIX))
        ]
        try:
            write_whole(self._file, codec.dumps({"owner": self._owner, "logins": kept}), private=True)
        except OSError as error:  # they hold until the next start, then
            log.warning("logins cannot be written to %s: %s", self._file, error)

    def _kept(self) -> Iterator[tuple[bytes, Login]]:
        """What the file holds; nothing where it is of another owner's key, or cannot be read."""
        try:
            told = codec.loads(self._file.read_bytes()) if self._file is not None else {}
            if told.get("owner") != self._owner:
                return
            for digest, key, tenant, principal, ends in told["logins"]:
                caller = OWNER if key == OWNER.key else Caller(tenant, principal, frozenset(), key, ends)
                yield bytes.fromhex(digest), Login(caller, ends)  # what a key holds now is asked at each request
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("logins cannot be read from %s: %s", self._file, error)


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
