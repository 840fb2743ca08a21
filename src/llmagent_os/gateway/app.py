"""The gateway's front: lets in who has the key, and sends the hot paths past the framework."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.errors import EngineUnavailable, LLMAgentOSError
from ..core.records import Json
from ..security.identity import Caller
from .asgi import PATIENCE, Exchange, Gone
from .auth import ANYBODY, ROUTES, Lock, methods
from .background import Background
from .desk import Desk, desk
from .errors import Unauthorised, headers
from .forms import form_of
from .hosts import check_host
from .messages_api import Messages
from .openai_api import OpenAI
from .responses_api import Responses
from .rest import rest_app
from .rest_triggers import HOOKS

if TYPE_CHECKING:
    from ..boot import System
    from ..config import Cors

log = logging.getLogger(__name__)

Handler = Callable[[Desk, Exchange], Awaitable[None]]
OPEN = {route.split()[1] for route, scope in ROUTES.items() if scope == ANYBODY}
FAST: dict[str, Handler] = {
    "/v1/chat/completions": lambda desk, http: OpenAI(desk).chat(http),
    "/v1/completions": lambda desk, http: OpenAI(desk).completions(http),
    "/v1/responses": lambda desk, http: Responses(desk).create(http),
    "/v1/responses/input_tokens": lambda desk, http: Responses(desk).count(http),
    "/v1/embeddings": lambda desk, http: OpenAI(desk).embeddings(http),
    "/v1/messages": lambda desk, http: Messages(desk).create(http),
    "/v1/messages/count_tokens": lambda desk, http: Messages(desk).count(http),
}
"""What goes past the framework, by path; all of it is POST."""


ASKED = sorted({route.split()[0] for route in ROUTES} | {"HEAD", "OPTIONS"})
SHOWN = ["retry-after", "x-should-retry", "www-authenticate", "allow", "location"]
"""Methods that a page may use, and headers that it may read beside those that every page may."""

LOOPBACK = r"https?://(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
"""The origins of pages that are served on this machine."""

ERASING = "/v1/privacy/erase"
_SLASHES = re.compile("/{2,}")


def _meant(scope: Scope) -> Scope:
    """The scope with the path and method that are meant: a base URL may end in a slash, and HEAD is GET unseen."""
    path, written = scope["path"], scope["raw_path"]
    if b"//" in written or written.endswith(b"/"):  # as written: a name within a path may have slashes, encoded
        path = _SLASHES.sub("/", path).rstrip("/") or "/"
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return scope if (path, method) == (scope["path"], scope["method"]) else {**scope, "path": path, "method": method}


def _headed(send: Send) -> Send:
    """A channel that ends an answer with its head, also one that would have no end."""

    async def head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})
        elif message.get("more_body"):
            raise Gone

    return head


class Gateway:
    """The ASGI application over a running system."""

    def __init__(self, system: System, lock: Lock, patience: float = PATIENCE) -> None:
        """`patience`: seconds that a client may keep the system waiting."""
        self._system = system
        self._rest: ASGIApp = rest_app()
        self._lock = lock
        self._names = [each.lower() for each in (system.config.host, *system.config.names)]
        self._patience = patience
        self._working: set[asyncio.Task[None]] = set()
        self._callers: dict[asyncio.Task[None], Caller] = {}  # for whom they work; not what erases
        self._erased: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._background = Background()
        system.privacy.also(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one exchange."""
        http = Exchange(_meant(scope), receive, _headed(send) if scope["method"] == "HEAD" else send, self._patience)
        task = asyncio.current_task()
        assert task is not None
        self._working.add(task)
        try:
            await self._serve(http)
        except asyncio.CancelledError:
            if task in self._erased:
                await self._fail(http, Unauthorised("what belonged to you was erased, and your keys with it"))
                return
            if not self._stopping.is_set():
                raise
            await self._fail(http, EngineUnavailable("the system is stopping; send the request again later"))
        except Gone:
            pass
        except (LLMAgentOSError, TimeoutError) as error:
            await self._fail(http, error)
        except Exception as error:  # the one place that answers what nobody foresaw
            log.exception("%s %s failed", scope["method"], scope["path"])
            await self._fail(http, error)
        finally:
            self._working.discard(task)
            self._callers.pop(task, None)
            self._erased.discard(task)

    async def _serve(self, http: Exchange) -> None:
        path, method = http.scope["path"], http.scope["method"]
        http.scope["system"] = self._system
        open_ = path in OPEN or path.startswith(HOOKS)
        if method == "OPTIONS" or open_:
            check_host(http.scope, self._names)
        if method == "OPTIONS" and (offered := methods(path)):
            await http.empty([(b"allow", ", ".join(offered).encode())])
            return
        if open_:
            await self._rest(http.scope, *http.channels())
            return
        caller = await self._lock.admit(http.scope)
        http.scope["logins"], http.scope["stopping"] = self._lock.logins, self._stopping
        http.scope["background"] = self._background
        task = asyncio.current_task()
        if task is not None and path != ERASING:
            self._callers[task] = caller
        here = http.scope["desk"] = await desk(self._system, caller)
        handler = FAST.get(path)
        if handler is not None and method == "POST":
            caller.need(ROUTES[f"{method} {path}"])
            await handler(here, http)
        else:
            await self._rest(http.scope, *http.channels())

    async def _fail(self, http: Exchange, error: BaseException) -> None:
        if http.started:
            return
        form = form_of(http.scope)
        await http.json(form.status(error), form.body(error, http.wrote), headers(error))

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """Nothing: what is being answered is kept elsewhere; see `core.ports.Personal`."""
        return ()

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """Break off what is being answered for a person, so that nothing of it is written afterwards; returns 0."""
        whose = (tenant, principal)
        theirs = [task for task, each in self._callers.items() if (each.tenant, each.principal) == whose]
        self._erased.update(theirs)
        for task in theirs:
            task.cancel()
        await self._background.erase(whose)
        if theirs:
            await asyncio.wait(theirs, timeout=PATIENCE)
        return 0

    async def close(self, seconds: float) -> None:
        """Give running exchanges some seconds to end by themselves (those without an end do at once), then break them

        off.
        """
        self._stopping.set()
        await self._background.close()
        if self._working:
            await asyncio.wait(self._working, timeout=seconds)
        for task in self._working:
            task.cancel()


def for_pages(app: Gateway, cors: Cors | None) -> ASGIApp:
    """The application as pages of other origins may ask it from a browser, where that is allowed at all.

    What is answered to a page says so, errors too; without a rule nothing is added, and browsers keep them out. A rule
    that names nobody is for the pages of this machine.
    """
    if cors is None:
        return app
    return CORSMiddleware(
        app, allow_origins=cors.origins or (), allow_origin_regex=None if cors.origins else LOOPBACK,
        allow_methods=ASKED, allow_headers=["*"], allow_credentials=cors.credentials, expose_headers=SHOWN,
        max_age=cors.max_age, allow_private_network="*" not in (cors.origins or ()),
    )  # fmt: skip
