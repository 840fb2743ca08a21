"""REST: what agents wait for a person to allow."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ..core.errors import InvalidRequest
from ..core.records import Ask, Hidden
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
    kind: Ask = Field("approve", description="what is asked for; `tool` has it again where a program asks")
    form: dict[str, Any] | None = Field(None, description="the JSON schema of the answer; null for a yes or no")
    expires: float | None = Field(None, description="after which nobody can answer, in seconds since the epoch")
    escalate: list[dict[str, Any]] = Field(default_factory=list, description="who may answer as well: `{to, at}`")
    expired: bool = Field(False, description="whether nobody answered in time")
    answer: Any = Field(None, description="what was said, where the question has a form")


class Answer(Strict):
    """What becomes of it: yes or no, or what is said where the question has a form."""

    allow: bool | None = Field(None, description="not needed with a value")
    value: Any = Field(None, description="what is said, of the question's form")
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
        """Allow, refuse, or say what is asked for; the agent goes on at once.

        409 says that it is too late, or that somebody else answered.
        """
        put = {name: Hidden(getattr(body, name)) for name in ("arguments", "value") if name in body.model_fields_set}
        allow = "value" in put if body.allow is None else body.allow
        if body.allow is None and not allow:
            raise InvalidRequest("say whether you `allow` it, or a `value`", parameter="allow")
        put = {name: each for name, each in put.items() if each.value is not None or name == "value"}
        answered = await here.sys.act("approvals.answer", id=identifier, allow=allow, **put)
        return Asked(**answered.value)
