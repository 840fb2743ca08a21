"""Who is let in: by the key made at first start, a key that was minted, or a token; and the scope of every route."""

from __future__ import annotations

import hmac
import math
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from ..security.identity import BITS, OWNER, Caller, Keys, Limiter
from .errors import TooManyRequests, Unauthorised

ANYBODY, KNOWN = "", "*"
"""Scopes of what is served without a key, and to every key."""

ROUTES: dict[str, str] = {
    "GET /health": ANYBODY,
    "GET /docs": KNOWN,
    "GET /docs/oauth2-redirect": KNOWN,
    "GET /openapi.json": KNOWN,
    "GET /metrics": "system",
    "GET /v1/top": "system",
    "POST /v1/chat/completions": "chat",
    "POST /v1/completions": "chat",
    "POST /v1/responses": "chat",
    "POST /v1/embeddings": "chat",
    "POST /v1/route": "chat",
    "GET /v1/models": "models:read",
    "GET /v1/models/{name:path}": "models:read",
    "POST /v1/models": "models:write",
    "DELETE /v1/models/{name:path}": "models:write",
    "GET /v1/agents": "agents:read",
    "POST /v1/agents": "agents:write",
    "GET /v1/agents/{name}": "agents:read",
    "PATCH /v1/agents/{name}": "agents:write",
    "DELETE /v1/agents/{name}": "agents:write",
    "POST /v1/agents/{name}/deploy": "agents:write",
    "POST /v1/agents/{name}/scale": "agents:write",
    "POST /v1/agents/{name}/pause": "agents:write",
    "POST /v1/agents/{name}/resume": "agents:write",
    "POST /v1/agents/{name}/terminate": "agents:write",
    "POST /v1/agents/{name}/nice": "agents:write",
    "POST /v1/agents/{name}/messages": "chat",
    "GET /v1/tasks/{task}": "chat",
    "DELETE /v1/tasks/{task}": "chat",
    "GET /v1/blobs/{name}": "chat",
    "GET /v1/tools": "agents:read",
    "POST /v1/tools/{name}": "agents:write",
    "GET /v1/processes": "processes:read",
    "POST /v1/processes": "processes:write",
    "GET /v1/processes/{pid}": "processes:read",
    "GET /v1/processes/{pid}/calls": "processes:read",
    "POST /v1/processes/{pid}/replay": "processes:read",
    "POST /v1/processes/{pid}/pause": "processes:write",
    "POST /v1/processes/{pid}/resume": "processes:write",
    "POST /v1/processes/{pid}/kill": "processes:write",
    "POST /v1/processes/{pid}/nice": "processes:write",
    "GET /v1/approvals": "approvals",
    "POST /v1/approvals/{identifier}": "approvals",
    "GET /v1/keys": "keys",
    "POST /v1/keys": "keys",
    "DELETE /v1/keys/{identifier}": "keys",
    "GET /v1/privacy/export": "privacy",
    "POST /v1/privacy/erase": "privacy",
    "GET /v1/privacy/consent": "privacy",
    "PUT /v1/privacy/consent": "privacy",
    "GET /v1/privacy/retention": "system",
    "POST /v1/privacy/retention": "system",
}
"""What a caller must hold, by method and route. What is not here is nobody's."""


def key_file(data: Path) -> Path:
    """Where the key of a data folder lies."""
    return data / "key"


def load_key(data: Path) -> str:
    """The key of a data folder, made there if there is none yet (readable by its owner alone)."""
    path = key_file(data)
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    key = "sk-" + secrets.token_urlsafe(BITS // 8)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
    return key


class Tokens(Protocol):
    """Who reads tokens."""

    async def caller(self, token: str) -> Caller:
        """Whom a token speaks for; raises Unauthorised."""
        ...


class Lock:
    """Lets in who sends `Authorization: Bearer KEY`, as often as that key may ask."""

    def __init__(self, key: str, path: Path, keys: Keys, tokens: Tokens | None = None) -> None:
        self._key, self._path, self._keys, self._tokens = key.encode(), path, keys, tokens
        self._limiter = Limiter()

    async def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Say who asks; raises Unauthorised, or TooManyRequests with the seconds to wait."""
        caller = await self._caller(headers)
        if caller.limits and (wait := self._limiter.take(caller.limits, time.monotonic())):
            seconds = math.ceil(wait)
            raise TooManyRequests(f"too many requests; ask again in {seconds} s", retry_after=seconds)
        return caller

    async def _caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        sent = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, bearer = sent.partition(b" ")
        if scheme.lower() != b"bearer" or not bearer:
            raise Unauthorised(f"send the header `Authorization: Bearer KEY`; the key is in {self._path}")
        if hmac.compare_digest(bearer, self._key):
            return OWNER
        text = bearer.decode("latin-1")
        if self._tokens is not None and text.count(".") == 2:
            return await self._tokens.caller(text)
        found = self._keys.find(text)
        if found is None:
            raise Unauthorised(f"this key is not right, has expired or was revoked; the owner's is in {self._path}")
        return found
