"""REST: what the desktop shows that no other client asks for: filtered, sorted and paged here, not in the browser."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from ..core import codec
from ..core.records import ENDED, Json
from ..kernel.journal import Row
from .desk import Desk, Here
from .outline import Listed, outline
from .rest_agents import Strict
from .rest_events import shown
from .routes import Route, told
from .transcript import FIELDS, turns, words

ROWS = 400  # of a session's calls, which are read at a time
TITLE = 80  # characters of what was said first
SPANS = 5000  # of a trace, at a time
_TOLD = 200  # characters of what a span is about


class Table(Strict):
    """Which processes, and which part of them."""

    text: str = Field("", max_length=200, description="in the name, the program or the number")
    status: str = Field("", max_length=20, description="one status; `living` leaves out those that have ended")
    services: bool = Field(False, description="also what belongs to the system itself")
    sort: Literal["pid", "name", "status", "tokens", "money", "turns", "created"] = "pid"
    descending: bool = True
    offset: int = Field(0, ge=0)
    limit: int = Field(100, ge=1, le=1000)


class Newest(Strict):
    """The newest calls before a number."""

    before: int = Field(2**62, ge=0, lt=2**63)
    limit: int = Field(100, ge=1, le=1000)
    name: str | None = Field(None, max_length=100, description="of this name only, such as `call`")
    pid: int | None = Field(None, ge=0, lt=2**63)
    failed: bool = Field(False, description="only those that did not end well")


class Sessions(Strict):
    """How many conversations."""

    before: int = Field(2**62, ge=0, lt=2**63, description="with a pid below this one")
    limit: int = Field(50, ge=1, le=500)


class Earlier(Strict):
    """The part of a conversation before a call."""

    before: int = Field(2**62, ge=0, lt=2**63)


class Traced(Strict):
    """Which part of a trace."""

    after: int = Field(0, ge=0, lt=2**63)
    limit: int = Field(SPANS, ge=1, le=SPANS)


class Showing:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, one = APIRouter(route_class=Route, tags=["desktop"]), "/v1/agents/{name}/sessions"
        router.get("/v1/desktop/processes", response_model=dict[str, Any])(self.processes)
        router.get("/v1/desktop/calls", response_model=dict[str, Any])(self.calls)
        router.get(one, response_model=dict[str, Any])(self.sessions)
        router.get(one + "/{session}", response_model=dict[str, Any])(self.session)
        router.get("/v1/processes/{pid}/trace", response_model=dict[str, Any])(self.trace)
        return router

    async def processes(self, here: Here, page: Annotated[Table, Query()]) -> Response:
        """A part of the tree of processes: those that fit, and what they hang from, in the order of the tree.

        Each has its `depth`, and `fits`; `total` says how many rows the whole has, `counts` how many fit by status.
        """
        kernel = here.system.kernel
        now = {pid: process.status for pid, process in kernel.table.live.items()}
        rows = await _scan(here, "desk.processes", here.caller.tenant, here.caller.sight)
        made = await asyncio.to_thread(
            outline, [Listed(*row) for row in rows], now, text=page.text.lower(), status=page.status,
            services=page.services, key=page.sort, descending=page.descending,
        )  # fmt: skip
        part = made.rows[page.offset : page.offset + page.limit]
        shares = [dispatcher.by_process() for dispatcher in kernel.dispatchers.values()]
        listed = [row | _share(shares, row["pid"]) for row in map(_usage, part)]
        return told({"processes": listed, "total": len(made.rows), "counts": made.counts})

    async def calls(self, here: Here, page: Annotated[Newest, Query()]) -> Response:
        """The journal from its end on, the newest first, without what was said; see `GET /v1/events`."""
        caller = here.caller
        rows = await _scan(
            here, "desk.calls", caller.tenant, page.before, caller.sight, page.name, page.pid, page.failed, page.limit
        )
        return told({"calls": [shown(Row._make((*values, n))) for n, *values in rows]})

    async def sessions(self, here: Here, name: str, page: Annotated[Sessions, Query()]) -> Response:
        """The conversations with an agent, the newest first, each with what was said first."""
        here.agents.get(name)
        rows = await _scan(here, "desk.sessions", here.caller.tenant, name, here.caller.sight, page.before, page.limit)
        return told({"sessions": [self._titled(here, name, row) for row in rows]})

    def _titled(self, here: Desk, name: str, row: tuple[Any, ...]) -> dict[str, Json]:
        pid, named, status, created, turn, last, first = row
        process = here.system.kernel.table.live.get(pid)
        said = here.system.kernel.journal.unpack(first)
        return {
            "pid": pid, "session": named.removeprefix(f"{name}@"), "status": process.status if process else status,
            "created": created, "turns": turn, "last": last or created,
            "title": words(said["body"])[:TITLE] if isinstance(said, dict) else "",
        }  # fmt: skip

    async def session(self, here: Here, name: str, session: str, page: Annotated[Earlier, Query()]) -> Response:
        """The last turns of a conversation, or those before a call: what was said, which tools were called, the reply.

        `earlier` is the number to ask for the turns before with; null where there are none.
        """
        here.agents.get(name)
        table, caller = here.system.kernel.table, here.caller
        pids = table.named(f"{name}@{session}", caller.tenant, caller.sight)
        mine = [pid for pid in pids if table.get(pid).principal == caller.principal]
        if not pids:
            return told({"pid": None, "status": None, "turns": [], "earlier": None})
        process = table.get((mine or pids)[0])
        rows = await _scan(here, "desk.turns", process.pid, page.before, ROWS)
        unpack = here.system.kernel.journal.unpack
        made = turns([dict(zip(FIELDS, row, strict=True)) for row in reversed(rows)], unpack, len(rows) == ROWS)
        earlier = made[0]["seq"] if made and len(rows) == ROWS else None
        return told({"pid": process.pid, "status": process.status, "turns": made, "earlier": earlier})

    async def trace(self, here: Here, pid: int, page: Annotated[Traced, Query()]) -> Response:
        """The calls of a process and of all below it in the order of their commits, as rows of values by `fields`.

        What a call was given and returned is read from `GET /v1/processes/PID/calls?after=SEQ-1&limit=1`.
        """
        here.process(pid)
        rows = await _scan(here, "desk.trace", pid, page.after, here.caller.sight, page.limit)
        below = await _scan(here, "desk.below", pid, here.caller.sight) if not page.after else []
        unpack = here.system.kernel.journal.unpack
        spans = [[*row[:-2], bool(row[-2]), _about(row, unpack)] for row in rows]
        return told({
            "fields": ["n", "pid", "seq", "turn", "name", "outcome", "started", "seconds", "waited", "input", "output",
                       "money", "doubted", "about"],
            "spans": spans, "more": len(rows) == page.limit,
            "processes": [dict(zip(("pid", "parent", "name", "status"), row, strict=True)) for row in below],
        })  # fmt: skip


async def _scan(here: Desk, query: str, *params: Any) -> list[tuple[Any, ...]]:
    """Rows, read in a thread on a connection of its own: see `rest_runs.rows_of`."""
    return await asyncio.to_thread(here.system.kernel.store.scan, query, *params)


def _usage(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"usage": codec.loads(row["usage"]), "ended": row["status"] in ENDED}


def _share(shares: list[dict[int, dict[str, float]]], pid: int) -> dict[str, float]:
    """What a process has of all engines now: tokens a second, and tokens of context on a slot."""
    mine = [each[pid] for each in shares if pid in each]
    return {name: sum(each[name] for each in mine) for name in ("speed", "slot")}


def _about(row: tuple[Any, ...], unpack: Any) -> str:
    """What a span is about in a word: the tool, the program, the receiver, the model."""
    name, packed = row[4], row[-1]
    if packed is None:
        return ""
    told = codec.loads(packed) if name == "generate" else unpack(packed)
    found = told if isinstance(told, dict) else {}
    key = {"call": "tool", "intent": "tool", "spawn": "name", "send": "to", "generate": "model"}.get(name, "")
    return str(found.get(key) or found.get("program") or "")[:_TOLD]
