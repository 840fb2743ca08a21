"""Bearer tokens of an identity provider (OpenID Connect): verified by its published keys, claims read as a caller.

Needs the extra `oidc`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from ..config import Oidc
from ..core import codec
from ..core.errors import InvalidRequest
from ..security.identity import ROLES, Caller, check_names, token_of
from .errors import Unauthorised

log = logging.getLogger(__name__)

LEEWAY = 30.0  # seconds that clocks may differ
FRESH = 3600.0  # seconds after which the provider's keys are read again
SOONEST = 30.0  # seconds between two readings, whatever tokens come, and whether or not one succeeds
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Issuer:
    """One provider. A token must carry exp, iss, aud and sub, and be signed with an algorithm that is allowed."""

    def __init__(self, settings: Oidc) -> None:
        self._settings = settings
        self._keys: list[jwt.PyJWK] = []
        self._read = -FRESH
        self._tried, self._trouble = -SOONEST, ""  # when they were last asked for, and why that failed
        self._reading = asyncio.Lock()

    async def caller(self, token: str) -> Caller:
        """Whom a token speaks for; raises Unauthorised, saying why."""
        return self._caller(await self._claims(token))

    async def _claims(self, token: str) -> dict[str, Any]:
        settings = self._settings
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            return jwt.decode(
                token, key, algorithms=list(settings.algorithms), audience=settings.audience, issuer=settings.issuer,
                leeway=LEEWAY, options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise Unauthorised(f"this token is not accepted: {error}") from error

    async def _key(self, kid: Any) -> jwt.PyJWK:
        """The provider's key of that id, or the only one where a token names none.

        Whose key is known waits for nobody, and a provider that is away for a while locks nobody out.
        """
        if self._due(kid):
            async with self._reading:
                if self._due(kid):
                    await self._refresh()
        found = self._find(kid)
        if found is None:
            known = "this token was signed with a key that its issuer does not publish"
            raise Unauthorised(self._trouble or known)
        return found

    def _due(self, kid: Any) -> bool:
        """Whether to ask for the keys: they are old, or none has that id; but not soon after they were asked for."""
        now = time.monotonic()
        return now - self._tried > SOONEST and (now - self._read > FRESH or self._find(kid) is None)

    async def _refresh(self) -> None:
        self._tried = time.monotonic()
        try:
            self._keys, self._trouble = await self._published(), ""
            self._read = time.monotonic()
        except Unauthorised as error:
            self._trouble = error.message

    def _find(self, kid: Any) -> jwt.PyJWK | None:
        if kid is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == kid), None)

    async def _published(self) -> list[jwt.PyJWK]:
        """Read the keys that sign; raises Unauthorised where they cannot be had."""
        where = self._settings.jwks
        try:
            if where.startswith(("https://", "http://")):
                async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(where) as response:
                    response.raise_for_status()
                    data = await response.read()
            else:
                data = await asyncio.to_thread(Path(where).read_bytes)
            found = jwt.PyJWKSet.from_dict(codec.loads(data)).keys
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError, AttributeError, jwt.PyJWTError) as error:
            log.error("the keys of %s cannot be read from %s: %s", self._settings.issuer, where, error)
            text = f"the keys of {self._settings.issuer} cannot be read; whoever runs this system finds why in its log"
            raise Unauthorised(text) from error
        return [key for key in found if key.public_key_use in (None, "sig")]

    def _caller(self, claims: dict[str, Any]) -> Caller:
        settings = self._settings
        tenant, principal = _claim(claims, settings.tenant_claim), claims["sub"]
        tenant = str(tenant) if type(tenant) in (str, int) else ""  # some providers count them
        try:
            check_names(tenant, principal)
        except InvalidRequest as error:
            raise Unauthorised(f"claim {settings.tenant_claim!r} or 'sub' cannot be used: {error.message}") from error
        given = _claim(claims, settings.roles_claim)
        named = given if isinstance(given, list | dict) else [given]  # some providers say more of each role
        roles = {settings.roles.get(role, role) for role in named if isinstance(role, str)}
        scopes = frozenset[str]().union(*(ROLES[role] for role in roles & ROLES.keys() - {"owner"}))
        name = token_of(tenant, principal)
        limits = ((name, settings.rate),) if settings.rate else ()
        return Caller(tenant, principal, scopes, name, float(claims["exp"]), limits)


def _claim(claims: Any, path: str) -> Any:
    """A claim by its name, or by the names on the way to it (`realm_access.roles`)."""
    if path in claims:
        return claims[path]
    for name in path.split("."):
        claims = claims.get(name) if isinstance(claims, dict) else None
    return claims
