"""REST: what was out of the ordinary, and who is in quarantine for it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from .desk import Here
from .rest_agents import Strict
from .routes import Route


class Seen(BaseModel):
    """An anomaly, and what was done about it."""

    at: float = Field(description="seconds since the epoch")
    agent: str
    pid: int
    action: Literal["note", "slow", "pause", "quarantine"]
    cause: str
    reason: str


class Watched(BaseModel):
    """The agents that may do nothing, with the reason, and the last anomalies, the oldest first."""

    quarantined: dict[str, str]
    anomalies: list[Seen]


class Why(Strict):
    """What is wrong with it."""

    reason: str = Field(min_length=1, max_length=1000)


class Anomalous:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["anomalies"])
        router.get("/v1/anomalies")(self.listed)
        router.put("/v1/anomalies/{name}", status_code=204)(self.quarantine)
        router.delete("/v1/anomalies/{name}", status_code=204)(self.release)
        return router

    async def listed(self, here: Here) -> Watched:
        """What was seen of the caller's processes since the start, with the scope `people` of all, and who is in
        quarantine.
        """
        tenant = here.caller.tenant
        lately = [each for each in here.system.anomalies.lately if each["tenant"] == tenant and here.sees(each["pid"])]
        found = [Seen.model_validate(each) for each in lately]
        return Watched(quarantined=here.system.anomalies.quarantined(tenant), anomalies=found)

    async def quarantine(self, here: Here, name: str, body: Why) -> None:
        """Let no process of an agent call a tool or send a message, until it is released."""
        here.agents.get(name)
        await here.sys.act("anomalies.quarantine", agent=name, reason=body.reason)

    async def release(self, here: Here, name: str) -> None:
        """End the quarantine of an agent; its processes stay paused until they are resumed."""
        await here.sys.act("anomalies.release", agent=name)
