"""Who is let in: by the key made at first start, a key that was minted, or a token; and the scope of every route."""

from __future__ import annotations

import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.routing import compile_path
from starlette.types import Scope

from ..core.errors import InvalidRequest
from ..core.whole import write_whole
from ..security.identity import BITS, OWNER, Caller, Keys, Limiter
from .errors import TooManyRequests, Unauthorised
from .login import Logins
from .rest_pages import PAGES

DAY = 86400.0  # seconds: who has to wait longer is told so much
ANYBODY, KNOWN = "", "*"
"""Scopes of what is served without a key, and to every key."""

_HELD = {
    ANYBODY: ", ".join(["GET /health", "POST /v1/hooks/{pid}", *(f"GET {path}" for path in PAGES)]),
    KNOWN: "GET /openapi.json, GET /v1/events, GET /v1/login, POST /v1/login, DELETE /v1/login, POST /v1/login/ticket",
    "system": "GET /metrics, GET /v1/top, GET /v1/privacy/retention, POST /v1/privacy/retention, "
    "GET /v1/accounts, POST /v1/accounts, GET /v1/plugins, POST /v1/plugins/reload, POST /v1/knowledge/sync, "
    "GET /v1/knowledge/sync, DELETE /v1/knowledge/sync",
    "chat": "POST /v1/chat/completions, POST /v1/completions, POST /v1/responses, POST /v1/embeddings, POST /v1/route, "
    "POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/responses/input_tokens, "
    "GET /v1/responses/{response}, DELETE /v1/responses/{response}, POST /v1/responses/{response}/cancel, "
    "GET /v1/responses/{response}/input_items, POST /v1/conversations, GET /v1/conversations/{conversation}, "
    "POST /v1/conversations/{conversation}, DELETE /v1/conversations/{conversation}, "
    "GET /v1/conversations/{conversation}/items, POST /v1/conversations/{conversation}/items, "
    "GET /v1/conversations/{conversation}/items/{item}, DELETE /v1/conversations/{conversation}/items/{item}, "
    "POST /v1/tasks/{task}/feedback, "
    "POST /v1/agents/{name}/messages, GET /v1/tasks/{task}, DELETE /v1/tasks/{task}, GET /v1/blobs/{name}, "
    "POST /v1/flows/{name}/runs, POST /v1/runs/{pid}/retry, POST /v1/runs/{pid}/fork, "
    "POST /v1/triggers/{name}/fire, GET /v1/knowledge, POST /v1/knowledge/search, "
    "PUT /v1/knowledge/documents, DELETE /v1/knowledge/documents, GET /v1/memory, DELETE /v1/memory, "
    "GET /v1/memory/{memory}, PUT /v1/memory/{memory}, DELETE /v1/memory/{memory}, "
    "PUT /v1/memory/pinned/{name:path}, DELETE /v1/memory/pinned/{name:path}, "
    "GET /v1/knowledge/facts, POST /v1/knowledge/facts, PUT /v1/knowledge/facts, DELETE /v1/knowledge/facts, "
    "GET /v1/knowledge/names, POST /v1/knowledge/names, DELETE /v1/knowledge/names, "
    "GET /v1/knowledge/rules, PUT /v1/knowledge/rules, DELETE /v1/knowledge/rules, "
    "POST /v1/knowledge/sparql, GET /v1/knowledge/export, "
    "POST /v1/knowledge/infer, GET /v1/knowledge/explain, GET /v1/knowledge/graph, POST /v1/knowledge/extract, "
    "GET /v1/agents/{name}/sessions, GET /v1/agents/{name}/sessions/{session}, "
    "GET /v1/agents/{name}/files, GET /v1/agents/{name}/files/{path:path}, PUT /v1/agents/{name}/files/{path:path}",
    "models:read": "GET /v1/models, GET /v1/models/{name:path}",
    "models:write": "POST /v1/models, DELETE /v1/models/{name:path}, POST /v1/models/{name:path}/adapters, "
    "DELETE /v1/models/{name:path}/adapters/{adapter}, GET /v1/pulls, POST /v1/pulls, DELETE /v1/pulls/{name:path}",
    "agents:read": "GET /v1/agents, GET /v1/agents/{name}, GET /v1/tools, GET /v1/tenants, "
    "GET /v1/flows, GET /v1/flows/{name}, POST /v1/flows/check",
    "tenants": "GET /v1/tenants/{name}, PUT /v1/tenants/{name}, DELETE /v1/tenants/{name}",
    "agents:write": "POST /v1/agents, PUT /v1/agents/{name}, PATCH /v1/agents/{name}, DELETE /v1/agents/{name}, "
    "POST /v1/agents/{name}/deploy, POST /v1/agents/{name}/scale, POST /v1/agents/{name}/pause, "
    "POST /v1/agents/{name}/resume, POST /v1/agents/{name}/terminate, POST /v1/agents/{name}/nice, "
    "POST /v1/tools/{name}",
    "processes:read": "GET /v1/processes, GET /v1/desktop/processes, GET /v1/desktop/calls, "
    "GET /v1/processes/{pid}/trace, GET /v1/processes/{pid}, GET /v1/processes/{pid}/calls, "
    "POST /v1/processes/{pid}/replay, GET /v1/anomalies, GET /v1/flows/{name}/runs, GET /v1/runs/{pid}, "
    "GET /v1/runs/{pid}/events, GET /v1/runs/{pid}/diff, "
    "GET /v1/triggers, GET /v1/triggers/{name}, GET /v1/triggers/{name}/starts, "
    "GET /v1/board, GET /v1/board/{key:path}, GET /v1/topics, GET /v1/topics/{topic:path}/dead",
    "processes:write": "POST /v1/processes, POST /v1/processes/{pid}/pause, POST /v1/processes/{pid}/resume, "
    "POST /v1/processes/{pid}/kill, POST /v1/processes/{pid}/nice, PUT /v1/anomalies/{name}, "
    "DELETE /v1/anomalies/{name}, PUT /v1/triggers/{name}, DELETE /v1/triggers/{name}, "
    "POST /v1/triggers/{name}/pause, POST /v1/triggers/{name}/resume, "
    "POST /v1/topics/{topic:path}/retry, POST /v1/topics/{topic:path}/tries",
    "approvals": "GET /v1/approvals, GET /v1/approvals/{identifier}, POST /v1/approvals/{identifier}",
    "keys": "GET /v1/keys, POST /v1/keys, DELETE /v1/keys/{identifier}",
    "people": "GET /v1/feedback",
    "privacy": "GET /v1/privacy/export, POST /v1/privacy/erase, GET /v1/privacy/consent, PUT /v1/privacy/consent",
}
"""The scope of every route: who holds it may ask that."""

ROUTES = {route: scope for scope, routes in _HELD.items() for route in routes.split(", ")}
"""What a caller must hold, by method and route. What is not here is nobody's."""


_METHODS = [
    (compile_path(path)[0], [route.split()[0] for route in ROUTES if route.split()[1] == path])
    for path in dict.fromkeys(route.split()[1] for route in ROUTES)
]


def methods(path: str) -> list[str]:
    """What may be asked of a path, HEAD and OPTIONS included; nothing where there is no such path."""
    found = sorted({method for pattern, offered in _METHODS if pattern.match(path) for method in offered})
    return found and [*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"]


def key_file(data: Path) -> Path:
    """Where the key of a data folder lies."""
    return data / "key"


def load_key(data: Path) -> str:
    """The key of a data folder, made there if there is none yet (readable by its owner alone).

    An empty file, which a full disk leaves behind, is none. Raises InvalidRequest for one that cannot be read.
    """
    path = key_file(data)
    try:
        if key := path.read_text().strip():
            return key
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"the key file {path} cannot be read: {error}; delete it to have a new key") from error
    key = "sk-" + secrets.token_urlsafe(BITS // 8)
    write_whole(path, f"{key}\n".encode(), private=True)
    return key


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


_ASK = "which whoever runs this system mints with `llmagent-os keys add`"
_SEND = f"send the header `Authorization: Bearer KEY` with a key, {_ASK}"
"""Nobody who has shown no key is told where on this machine one lies."""

TICKET, LOGIN = b"ticket ", "/v1/login"

Tokens = Callable[[str], Awaitable[Caller]]
"""Whom a token speaks for; raises Unauthorised."""


class Lock:
    """Lets in who sends `Authorization: Bearer KEY` or `x-api-key: KEY`, as often as that key may ask, and a browser

    that has logged in.
    """

    def __init__(self, key: str, keys: Keys, tokens: Tokens | None = None, logins: Path | None = None) -> None:
        self._key, self._keys, self._tokens = key.encode(), keys, tokens
        self._limiter = Limiter()
        self.logins = Logins(logins, key)

    async def admit(self, scope: Scope) -> Caller:
        """Say who asks; raises Unauthorised, PermissionDenied for a cookie that another page had sent, or

        TooManyRequests with the seconds to wait.
        """
        sent = _header(scope, b"authorization")
        if not sent and (key := _header(scope, b"x-api-key")):  # as Anthropic's SDKs send it
            sent = b"Bearer " + key
        if sent[:7].lower() == TICKET and scope["path"] == LOGIN and scope["method"] == "POST":
            caller = self._ticket(sent[7:].strip().decode("latin-1"))
        else:
            caller = await self._bearer(sent) if sent else self._browser(scope)
        if caller.limits and (wait := self._limiter.take(caller.limits, time.monotonic())):
            seconds = math.ceil(min(wait, DAY))
            raise TooManyRequests(f"too many requests; ask again in {seconds} s", retry_after=seconds)
        return caller

    def _ticket(self, token: str) -> Caller:
        """Whose ticket it is, which is good once and for a login alone."""
        found = self.logins.redeem(token)
        caller = self._keys.again(found) if found is not None else None
        if caller is None:
            raise Unauthorised(
                "this address was used before, or is too old; have another one with: llmagent-os desktop"
            )
        return caller

    def _browser(self, scope: Scope) -> Caller:
        """Whose cookie it is, as long as the key that they logged in with lives, and with what that holds now."""
        found = self.logins.find(scope)
        caller = self._keys.again(found) if found is not None else None
        if caller is None:
            raise Unauthorised(_SEND)
        return caller

    async def _bearer(self, sent: bytes) -> Caller:
        scheme, bearer, *_ = (*sent.split(maxsplit=1), b"", b"")  # with any blanks between them
        bearer = bearer.rstrip()
        if scheme.lower() != b"bearer" or not bearer:
            raise Unauthorised(_SEND)
        if hmac.compare_digest(bearer, self._key):
            return OWNER
        text = bearer.decode("latin-1")
        if self._tokens is not None and text.count(".") == 2:
            return await self._tokens(text)
        found = self._keys.find(text)
        if found is None:
            raise Unauthorised("this key is not right, has expired or was revoked; send another one, " + _ASK)
        return found
