"""REST: what the system does, as it does it: the journal's rows in the order of the commits, as server-sent events."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field
from starlette.types import Receive, Scope, Send

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import Json
from ..kernel.journal import MARKS, Row
from .asgi import Exchange
from .desk import Desk, Here
from .rest_agents import Strict
from .routes import Route

PART = 200  # rows at a time
BREATH = 0.005  # seconds between two parts of what lies in the past: the calls go first
_NUMBER = re.compile(r"[0-9]{1,19}")
REST = 0.05  # seconds between two events' packets: what came meanwhile is one


LIFE = Field(15.0, ge=1, le=300, description="seconds without an event after which there is a sign of life")


class Wanted(Strict):
    """Where to begin, and of what."""

    after: int | None = Field(None, ge=0, lt=2**63, description="go on after this number; without it, from now on")
    pid: int | None = Field(None, ge=0, lt=2**63, description="of this process only")
    tenant: str | None = Field(None, description="another tenant's, or `*` for every one's: takes the scope `tenants`")
    follow: bool = Field(True, description="wait for more; without it the stream ends with what there is now")
    heartbeat: float = LIFE


class Events:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["system"])
        router.get("/v1/events", response_class=Response)(self.events)
        return router

    async def events(
        self, here: Here, wanted: Annotated[Wanted, Query()], last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """Follow the journal: an event a finished call, its number as `id`; `Last-Event-ID` goes on after that one.

        One sees the calls that were made for oneself; with `processes:read` those of shared processes too, and with
        `people` as well all of the tenant.
        """
        if wanted.tenant not in (None, here.caller.tenant):
            here.caller.need("tenants")
        last = here.system.kernel.feed.last
        after = last if wanted.after is None else wanted.after
        if last_event_id:
            after = int(last_event_id) if _NUMBER.fullmatch(last_event_id) else -1
        if not 0 <= after <= last:
            text = f"there is no event {last_event_id or after} yet, the last one is {last}; ask again without a number"
            raise InvalidRequest(text, parameter="after", last=last)
        return Stream(here, wanted, after)


class Stream(Response):
    """The answer, which goes on until the client leaves, its key ends, or the system stops."""

    def __init__(self, here: Desk, wanted: Wanted, after: int) -> None:
        super().__init__()
        self._here, self._wanted, self._n = here, wanted, after
        self._feed = here.system.kernel.feed
        self._end = math.inf if wanted.follow else self._feed.last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        http, stopping = Exchange(scope, receive, send), asyncio.ensure_future(scope["stopping"].wait())
        try:
            async with http.attended():
                await http.events(b": hello\n\n")
                while self._goes_on(stopping) and self._here.system.keys.again(self._here.caller) is not None:
                    await http.events(await self._next(stopping))
            await http.end()
        finally:
            stopping.cancel()

    def _goes_on(self, stopping: asyncio.Future[bool]) -> bool:
        return self._n < self._end and not stopping.done()

    async def _next(self, stopping: asyncio.Future[bool]) -> bytes:
        """The next events, or a sign of life; either says how far the feed was read."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wanted.heartbeat
        while (left := until - loop.time()) > 0 and self._goes_on(stopping):
            if not await self._more(left, stopping):
                continue
            rows = self._feed.after(self._n, PART)
            self._n = rows[-1].n if rows else self._feed.last
            if found := [row for row in rows if self._mine(row)]:
                return b"".join(map(_event, found))
            await asyncio.sleep(BREATH)
        return b"id: %d\n: alive\n\n" % self._n

    async def _more(self, seconds: float, stopping: asyncio.Future[bool]) -> bool:
        """Wait for more, at most so long; what comes close together is taken together."""
        if self._feed.last > self._n:
            return True
        more = asyncio.ensure_future(self._feed.beyond(self._n))
        try:
            await asyncio.wait((more, stopping), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if more.done():
                await asyncio.wait((stopping,), timeout=REST)
            return more.done()
        finally:
            more.cancel()

    def _mine(self, row: Row) -> bool:
        """Whether the caller may see a row, and wants to."""
        caller, wanted = self._here.caller, self._wanted
        if wanted.pid is not None and row.pid != wanted.pid:
            return False
        if wanted.tenant != "*" and row.tenant != (wanted.tenant or caller.tenant):
            return False
        if row.tenant == caller.tenant and row.principal == caller.principal:
            return True
        shown = caller.sees(row.principal) if row.tenant == caller.tenant else "people" in caller.scopes
        return shown and "processes:read" in caller.scopes


def _event(row: Row) -> bytes:
    kind = b"mark" if row.name in MARKS else b"call"
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (row.n, kind, codec.dumps(shown(row)))


def shown(row: Row) -> dict[str, Json]:
    """A row without what was said: arguments and results are read from the process's calls."""
    return {
        "n": row.n, "pid": row.pid, "seq": row.seq, "turn": row.turn, "name": row.name, "outcome": row.outcome,
        "tenant": row.tenant, "principal": row.principal, "labels": _list(row.labels), "origins": _list(row.origins),
        "decision": codec.loads(row.decision) if row.decision else {}, "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens, "cached_tokens": row.cached_tokens, "money": row.money,
        "started": row.started, "seconds": row.seconds, "waited": row.waited,
    }  # fmt: skip


def _list(texts: str | None) -> Sequence[str]:
    found: list[str] = codec.loads(texts) if texts else []
    return found
