"""REST: what people say of answers, and the rows that come of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ..boot.feedback import collected
from .desk import Here
from .rest_agents import Strict
from .routes import Route


class Said(Strict):
    """An opinion on an answer."""

    good: bool | None = Field(None, description="thumbs up or down")
    rating: int | None = Field(None, ge=1, le=5)
    correction: str | None = Field(None, description="the answer as it should have been")
    note: str | None = Field(None, description="why; it is kept, and nothing is learned from it")


class Rows(BaseModel):
    """Rows to learn from; how many records were left out, as their people did not agree, or as no good."""

    rows: list[dict[str, Any]]
    refused: int
    poor: int


class Feedback:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["feedback"])
        router.post("/v1/tasks/{task}/feedback", status_code=204)(self.give)
        router.get("/v1/feedback")(self.rows)
        return router

    async def give(self, here: Here, task: str, body: Said) -> None:
        """Say what you think of the answer to a task of yours; said again, the last word holds."""
        await here.sys.act("feedback.give", task=task, **body.model_dump(exclude_none=True))

    async def rows(self, here: Here, agent: str = "") -> Rows:
        """Rows of what people said, of one agent or all: of those who agreed that their traffic is learned from."""
        found = await collected(here.system.facts, here.system.privacy, here.caller.tenant, agent)
        return Rows(rows=[row.data() for row in found.rows], refused=found.refused, poor=found.poor)
