"""REST: what tenants hold, which is the owner's to say."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ..core.errors import not_found
from ..core.holdings import LOCAL, ORDINARY
from ..core.records import DEFAULT
from .desk import Desk, Here
from .rest_agents import Strict
from .routes import Route

Patterns = list[Annotated[str, Field(min_length=1, max_length=200)]]


class Holds(Strict):
    """What the people and agents of a tenant may have; what is left out is as it is for an ordinary one."""

    tools: Patterns | None = Field(list(ORDINARY.tools or ()), description="patterns of tools; null: every tool")
    models: Patterns | None = Field(
        list(ORDINARY.models or ()),
        description=f"patterns of models; `{LOCAL}` for all that run in this system; null: every model",
    )
    replicas: int | None = Field(
        ORDINARY.replicas, ge=0, description="replicas of all its agents together; null: any number"
    )
    nice: int = Field(ORDINARY.nice, ge=-20, le=19, description="the least that its processes may have")


class Tenant(BaseModel):
    """A tenant, and what it holds (see `PUT /v1/tenants/{name}`)."""

    name: str
    granted: bool = Field(description="false: it holds what is ordinary")
    tools: list[str] | None
    models: list[str] | None
    replicas: int | None
    nice: int


class Tenants:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, one = APIRouter(route_class=Route, tags=["identity"]), "/v1/tenants/{name}"
        router.get("/v1/tenants")(self.listed)
        router.get(one)(self.get)
        router.put(one)(self.grant)
        router.delete(one)(self.reset)
        return router

    async def listed(self, here: Here) -> dict[str, list[Tenant]]:
        """What the caller's tenant holds; with the scope `tenants` what every one does."""
        return {"tenants": [Tenant(**here.system.holdings.shown(name)) for name in _seen(here)]}

    async def get(self, here: Here, name: str) -> Tenant:
        """What a tenant holds; 404 for one of which nobody has heard."""
        if name not in (seen := _seen(here)):
            raise not_found("tenant", name, seen)
        return Tenant(**here.system.holdings.shown(name))

    async def grant(self, here: Here, name: str, body: Holds) -> Tenant:
        """Say what a tenant holds from now on: no key of it and no definition of its agents exceeds that."""
        return Tenant(**await here.sys.act("tenants.grant", tenant=name, **body.model_dump()))

    async def reset(self, here: Here, name: str) -> Tenant:
        """Let a tenant hold what is ordinary again."""
        return Tenant(**await here.sys.act("tenants.reset", tenant=name))


def _seen(here: Desk) -> list[str]:
    if "tenants" not in here.caller.scopes:
        return [here.caller.tenant]
    keys = {key.tenant for key in here.system.keys.listed(here.caller)}
    return sorted({DEFAULT, here.caller.tenant, *keys, *here.system.holdings.names(), *here.system.tenants})
