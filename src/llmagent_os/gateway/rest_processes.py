"""REST: processes, the calls they made, replays, and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from ..agent.spec import BudgetSpec, RestartSpec
from ..core.records import Budget, Json, Supervision
from ..core.sys import Sys
from ..kernel.journal import Row
from ..monitoring.replay import replay
from .rest_agents import Niceness, Strict

if TYPE_CHECKING:
    from ..boot import System


class Page(Strict):
    """A part of a listing: rows numbered above `after`."""

    after: int = Field(0, ge=0)
    limit: int = Field(100, ge=1, le=1000)


class Spawn(Strict):
    """A process to start."""

    program: str
    args: Any = None
    name: str | None = Field(None, min_length=1, max_length=128)
    budget: BudgetSpec = BudgetSpec()
    supervision: RestartSpec = RestartSpec(restart="temporary")


class Reason(Strict):
    """Why a process is ended."""

    reason: str | None = None


NO_REASON = Reason()


class BlobQuery(Strict):
    """How a file is sent."""

    mime: str = Field("application/octet-stream", pattern=r"^[\w.+-]+/[\w.+-]+$")


class Processes:
    """The handlers."""

    def __init__(self, system: System, sys: Sys) -> None:
        self._kernel = system.kernel
        self._sys = sys

    def router(self) -> APIRouter:
        """The routes."""
        router, one = APIRouter(tags=["processes"]), "/v1/processes/{pid}"
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

    async def list(self, page: Annotated[Page, Query()]) -> dict[str, Any]:
        """Processes in order of pid, ended ones included."""
        return {"processes": self._kernel.table.listed(page.after, page.limit)}

    async def spawn(self, body: Spawn) -> dict[str, int]:
        """Start a process."""
        budget = Budget(**body.budget.model_dump())
        supervision = Supervision(**body.supervision.model_dump())
        return {"pid": await self._sys.spawn(body.program, body.args, body.name, budget, supervision)}

    async def get(self, pid: int) -> dict[str, Any]:
        """A process's state, usage, and result once it is done."""
        process = self._kernel.table.get(pid)
        return {**process.info(), "result": self._kernel.journal.unpack(process.result)}

    async def pause(self, pid: int) -> dict[str, Any]:
        """Hold a process at its next step, also across a restart of the system."""
        await self._kernel.runner.pause(pid)
        return await self.get(pid)

    async def resume(self, pid: int) -> dict[str, Any]:
        """Let a paused process go on."""
        await self._kernel.runner.resume(pid)
        return await self.get(pid)

    async def kill(self, pid: int, body: Reason = NO_REASON) -> dict[str, Any]:
        """End a process and everything below it."""
        await self._sys.kill(pid, body.reason)
        return await self.get(pid)

    async def nice(self, pid: int, body: Niceness) -> dict[str, Any]:
        """Change how a process stands in line, also for what it waits for now."""
        await self._kernel.renice(pid, body.nice)
        return await self.get(pid)

    async def replay(self, pid: int) -> dict[str, Any]:
        """Run a past process again from the journal, without a model or tool; says where it differs now, if it does."""
        kernel = self._kernel
        return asdict(await replay(kernel.store, pid, kernel.programs, kernel.door.table))

    async def calls(self, pid: int, page: Annotated[Page, Query()]) -> dict[str, Any]:
        """The finished calls of a process in order, out of the journal."""
        self._kernel.table.get(pid)
        rows = self._kernel.store.read("call.page", pid, page.after, page.limit)
        return {"calls": [self._shown(Row(*row)) for row in rows]}

    def _shown(self, row: Row) -> dict[str, Json]:
        unpack = self._kernel.journal.unpack
        return {
            "seq": row.seq, "turn": row.turn, "name": row.name, "key": row.key, "args": unpack(row.args),
            "result": unpack(row.result), "error": unpack(row.error), "tenant": row.tenant,
            "principal": row.principal, "labels": row.labels.split(",") if row.labels else [], "adapter": row.adapter,
            "input_tokens": row.input_tokens, "output_tokens": row.output_tokens, "cached_tokens": row.cached_tokens,
            "money": row.money, "started": row.started, "seconds": row.seconds, "waited": row.waited,
        }  # fmt: skip

    async def blob(self, name: str, query: Annotated[BlobQuery, Query()]) -> Response:
        """A file by the name of its blob, as an answer's parts give it."""
        headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
        return Response(self._kernel.journal.blob(name), media_type=query.mime, headers=headers)
