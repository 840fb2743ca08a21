"""`fetch`: pages of the web, from hosts that the operator and the caller's grant both name."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from ..core.errors import PermissionDenied, ToolFailed
from ..core.outside import outside
from ..core.places import allowed, inside, named
from ..core.records import Json, Ticket
from .charsets import decoded
from .page import text_of_page
from .toolkit import File

SECONDS = 30.0  # for a page, redirects included
LARGEST = 2 << 20  # bytes of a page; the rest is left out
REDIRECTS = 5

_TEXT = re.compile(r"text/|application/(.*\+)?(json|xml|yaml|javascript)")


class Web:
    """Fetches what its rules allow.

    `hosts` are patterns (`*` for anything) of hosts, with the port where it is not the scheme's own. What lies inside
    the operator's network (loopback, private and link-local addresses) is refused unless a pattern of `private` names
    the host as well.
    """

    def __init__(self, hosts: Sequence[str], private: Sequence[str] = ()) -> None:
        self._hosts, self._private = hosts, private

    async def fetch(self, url: str, ticket: Ticket) -> dict[str, Json]:
        """Get a page of the web by its URL. HTML comes as text, with its links in brackets."""
        target = URL(url)
        connector = aiohttp.TCPConnector(resolver=_Resolver(self._private), use_dns_cache=False)
        timeout, agent = aiohttp.ClientTimeout(total=SECONDS), {"User-Agent": "LLMAgentOS"}
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=agent) as session:
                for _ in range(REDIRECTS + 1):
                    self._check(target, ticket)
                    async with session.get(target, allow_redirects=False) as response:
                        if response.status not in (301, 302, 303, 307, 308) or "Location" not in response.headers:
                            return await _page(response)
                        target = target.join(URL(response.headers["Location"]))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ToolFailed(f"{target}: {error or type(error).__name__}", tool="fetch") from error
        raise ToolFailed(f"{url} leads on to other addresses more than {REDIRECTS} times", tool="fetch")

    def _check(self, url: URL, ticket: Ticket) -> None:
        """Raise PermissionDenied for a URL that may not be asked for."""
        if url.scheme not in ("http", "https") or not url.host or url.user is not None:
            raise PermissionDenied(f"{url} is no web address without a password", url=str(url))
        name = named(url.host, url.port, url.scheme)
        for whose, patterns in (("`tools.hosts` of the configuration", self._hosts), ("the grant", ticket.grant.hosts)):
            if not allowed(name, patterns):
                raise PermissionDenied(f"{name!r} is not among the hosts of {whose}; add it there", host=name)
        if not allowed(name, self._private):
            _refuse_inside(name, url.host)


class _Resolver(ThreadedResolver):
    """Refuses a name that leads inside, whatever its server says from one look-up to the next."""

    def __init__(self, private: Sequence[str]) -> None:
        super().__init__()
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if not allowed(named(host, port), self._private):
            for each in found:
                _refuse_inside(host, each["host"])
        return found


def _refuse_inside(name: str, address: str) -> None:
    """Raise PermissionDenied for an address of this network; of a name the resolver sees where it leads."""
    if inside(address):
        text = f"{name!r} is at {address}, inside this network; `tools.private` of the configuration would allow it"
        raise PermissionDenied(text, host=name, address=address)


async def _page(response: aiohttp.ClientResponse) -> dict[str, Json]:
    data = bytearray()
    async for block in response.content.iter_any():
        data += block
        if len(data) > LARGEST:
            break
    kind = response.content_type
    told: dict[str, Json] = {"url": str(response.url), "status": response.status, "type": kind}
    if len(data) > LARGEST:
        told["left_out"] = f"all after the first {LARGEST} bytes"
    if not _TEXT.match(kind):
        return told | {"file": File(response.url.name or "page", bytes(data[:LARGEST]), kind)}
    text = decoded(bytes(data[:LARGEST]), response.charset)
    if kind in ("text/html", "application/xhtml+xml"):
        text = await outside(text_of_page, text, str(response.url), source=str(response.url))
    return told | {"text": text}
