"""REST: processes, the calls they made, replays, and files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from ..agent.manager import PROGRAM as AGENT
from ..agent.spec import Allowance, RestartSpec
from ..core import codec, worded
from ..core.errors import PermissionDenied
from ..core.records import Json, Supervision
from ..finetune.job import PROGRAM as TUNING
from ..flow.steps import TOOL
from ..kernel.journal import Row
from ..monitoring.names import pids_named
from ..monitoring.replay import replay
from ..triggers.loop import PROGRAM as TRIGGER
from .desk import Desk, Here
from .rest_agents import Niceness, Strict
from .routes import Route

MOST = 8 << 20  # bytes of values in one answer; a single call may have more
_AGENTS = re.compile("[@~]")  # what follows in the name of an agent's process


class Slice(Strict):
    """A part of a listing: rows numbered above `after`."""

    after: int = Field(0, ge=0, lt=2**63)
    limit: int = Field(100, ge=1, le=1000)


class Listing(Slice):
    """Which processes."""

    name: str | None = Field(
        None, description="only those that a name means: of an agent, or AGENT@SESSION, or SESSION"
    )


class Spawn(Strict):
    """A process to start."""

    program: str
    args: Any = None
    name: str | None = Field(None, min_length=1, max_length=128, pattern=worded.PROCESS)
    budget: Allowance = Allowance()
    supervision: RestartSpec = RestartSpec(restart="temporary")


class Reason(Strict):
    """Why a process is ended."""

    reason: str | None = None


NO_REASON = Reason()


class BlobQuery(Strict):
    """How a file is sent."""

    mime: str = Field("application/octet-stream", pattern=worded.MIME)


class Processes:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, one = APIRouter(route_class=Route, tags=["processes"]), "/v1/processes/{pid}"
        router.get("/v1/processes")(self.list)
        router.post("/v1/processes", status_code=201)(self.spawn)
        router.get(one)(self.get)
        router.post(f"{one}/pause")(self.pause)
        router.post(f"{one}/resume")(self.resume)
        router.post(f"{one}/kill")(self.kill)
        router.post(f"{one}/nice")(self.nice)
        router.post(f"{one}/replay")(self.replay)
        router.get(f"{one}/calls")(self.calls)
        router.get("/v1/blobs/{name}", response_class=Response)(self.blob)
        return router

    async def list(self, here: Here, page: Annotated[Listing, Query()]) -> dict[str, Any]:
        """The caller's processes in order of pid, ended ones included; with the scope `people` all of the tenant.

        Of a `name` those that live; where none does, those that ended last. 404 where there are none.
        """
        table, whose = here.system.kernel.table, (here.caller.tenant, here.caller.sight)
        if page.name is None:
            return {"processes": [_told(here, each) for each in table.listed(page.after, page.limit, *whose)]}
        pids = [
            pid
            for pid in await pids_named(here.system.kernel.store, page.name, *whose, here.caller.principal)
            if pid > page.after
        ]
        return {"processes": [each for pid in pids[: page.limit] for each in table.listed(pid - 1, 1, *whose)]}

    async def spawn(self, here: Here, body: Spawn) -> dict[str, int]:
        """Start a process. An agent, what calls a tool, and what has the name of an agent take `agents:write` too."""
        if body.program == TRIGGER:  # its arguments say whose workspace it looks into
            raise PermissionDenied(f"program {TRIGGER} is not started: store a trigger with PUT /v1/triggers/NAME")
        if body.program in (AGENT, TOOL) or (body.name is not None and here.agents.knows(_AGENTS.split(body.name)[0])):
            here.caller.need("agents:write")  # it would get what others send to that agent
        supervision = Supervision(**body.supervision.model_dump())
        return {"pid": await here.sys.spawn(body.program, body.args, body.name, body.budget.budget(), supervision)}

    async def get(self, here: Here, pid: int) -> dict[str, Any]:
        """A process's state, usage, and result once it is done."""
        process = here.process(pid)
        return {**_told(here, process.info()), "result": here.system.kernel.journal.unpack(process.result)}

    async def pause(self, here: Here, pid: int) -> dict[str, Any]:
        """Hold a process at its next step, also across a restart of the system."""
        await here.sys.act("processes.pause", pid=pid)
        return await self.get(here, pid)

    async def resume(self, here: Here, pid: int) -> dict[str, Any]:
        """Let a paused process go on."""
        await here.sys.act("processes.resume", pid=pid)
        return await self.get(here, pid)

    async def kill(self, here: Here, pid: int, body: Reason = NO_REASON) -> dict[str, Any]:
        """End a process and everything below it."""
        await here.sys.kill(here.process(pid).pid, body.reason)
        return await self.get(here, pid)

    async def nice(self, here: Here, pid: int, body: Niceness) -> dict[str, Any]:
        """Change how a process stands in line, also for what it waits for now."""
        await here.sys.act("processes.nice", pid=pid, nice=body.nice)
        return await self.get(here, pid)

    async def replay(self, here: Here, pid: int) -> dict[str, Any]:
        """Run a past process again from the journal, without a model or tool; says where it differs now, if it does."""
        kernel = here.system.kernel
        return asdict(await replay(kernel.store, here.process(pid).pid, kernel.programs, kernel.door.table))

    async def calls(self, here: Here, pid: int, page: Annotated[Slice, Query()]) -> dict[str, Any]:
        """The finished calls of a process in order, out of the journal; `more` where there are some after the last.

        There are fewer than `limit` of them where they are large: the rest come after the `seq` of the last one.
        """
        sight = here.caller.sight
        query, whose = ("call.page", ()) if sight is None else ("call.page_of", (sight,))
        rows = here.system.kernel.store.read(query, here.process(pid).pid, page.after, *whose, page.limit)
        shown = []
        for each in _fitting(self._shown(here, Row(*row)) for row in rows):  # not in a thread: see `rest_runs.rows_of`
            shown.append(each)
            await asyncio.sleep(0)
        return {"calls": shown, "more": len(shown) == page.limit or len(shown) < len(rows)}

    def _shown(self, here: Desk, row: Row) -> dict[str, Json]:
        unpack = here.system.kernel.journal.unpack
        return {
            "seq": row.seq, "turn": row.turn, "name": row.name, "key": row.key, "args": unpack(row.args),
            "result": unpack(row.result), "error": unpack(row.error), "tenant": row.tenant,
            "principal": row.principal, "labels": codec.loads(row.labels) if row.labels else [], "outcome": row.outcome,
            "origins": codec.loads(row.origins) if row.origins else [],
            "decision": codec.loads(row.decision) if row.decision else {},
            "input_tokens": row.input_tokens, "output_tokens": row.output_tokens, "cached_tokens": row.cached_tokens,
            "money": row.money, "started": row.started, "seconds": row.seconds, "waited": row.waited,
        }  # fmt: skip

    async def blob(self, here: Here, name: str, query: Annotated[BlobQuery, Query()]) -> Response:
        """A file by the name of its blob, as an answer's parts give it."""
        headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
        content = here.system.kernel.journal.file(name, here.caller.tenant, here.caller.sight)
        return Response(content, media_type=query.mime, headers=headers)


def _told(here: Desk, process: dict[str, Json]) -> dict[str, Json]:
    """What is shown of a process; of a tuning also how far it is, as why it does what it does."""
    if process["program"] == TUNING and process["reason"] is None:
        process["reason"] = here.system.jobs.progress(int(str(process["pid"])))
    return process


def _fitting(calls: Iterable[dict[str, Json]]) -> Iterator[dict[str, Json]]:
    """Calls until their values are too much for one answer, and at least one: a small row may unfold to megabytes."""
    size = 0
    for count, call in enumerate(calls):
        size += sum(len(codec.dumps(call[name])) for name in ("args", "result", "error"))
        if count and size > MOST:
            return
        yield call
