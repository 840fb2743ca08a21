"""REST: what agents wait for a person to allow."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ..core.records import Hidden
from .desk import Here
from .rest_agents import Strict
from .routes import Route


class Asked(BaseModel):
    """A question: exactly what would be done, and of each argument in doubt who wrote it."""

    id: str
    pid: int
    tenant: str
    principal: str
    agent: str
    tool: str
    arguments: dict[str, Any]
    origins: dict[str, str]
    sources: dict[str, str] = Field(default_factory=dict, description="where each argument stands")
    files: dict[str, str] = Field(
        default_factory=dict, description="files that the call names, with a digest of what is in each"
    )
    why: str
    turn: int = Field(0, description="turns that the process had finished")
    four_eyes: bool = Field(False, description="whether whom the work is for (`principal`) can only refuse")
    editable: bool = Field(False, description="whether a yes may come with other arguments")
    allowed: bool | None = Field(None, description="null while nobody has answered")
    by: str | None = Field(None, description="who answered")
    at: float | None = Field(None, description="when it was answered or over, in seconds since the epoch")
    changed: dict[str, Any] | None = Field(None, description="the arguments that a person put instead")
    over: str | None = Field(None, description="why nobody can answer it any more")


class Answer(Strict):
    """What becomes of it."""

    allow: bool
    arguments: dict[str, Any] | None = Field(None, description="with a yes: what is to be put instead, all of them")


class Approving:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["approvals"])
        router.get("/v1/approvals")(self.waiting)
        router.get("/v1/approvals/{identifier}")(self.one)
        router.post("/v1/approvals/{identifier}")(self.answer)
        return router

    async def waiting(self, here: Here) -> dict[str, list[Asked]]:
        """The questions that wait for an answer: those about the caller's work, with `approvals:write` the tenant's."""
        return {"approvals": [Asked(**each) for each in here.system.approvals.waiting(here.caller)]}

    async def one(self, here: Here, identifier: str) -> Asked:
        """A question, and what became of it: who answered, or why nobody can any more (`over`)."""
        return Asked(**here.system.approvals.of(identifier, here.caller))

    async def answer(self, here: Here, identifier: str, body: Answer) -> Asked:
        """Allow or refuse; the agent goes on at once. 409 says that it is too late, or that somebody else answered."""
        put = {} if body.arguments is None else {"arguments": Hidden(body.arguments)}
        answered = await here.sys.act("approvals.answer", id=identifier, allow=body.allow, **put)
        return Asked(**answered.value)
