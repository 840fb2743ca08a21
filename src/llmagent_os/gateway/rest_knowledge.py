"""REST: what agents know."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from ..core.records import Hidden, Place, Sought
from .desk import Desk, Here
from .rest_files import BYTES, sent
from .routes import Route


class Whose(BaseModel):
    """Whose knowledge."""

    agent: str = Field("", description="an agent's; every agent's in the tenant without")
    shared: bool = Field(False, description="everybody's, not only the caller's; takes the scope agents:write")


class Filters(BaseModel):
    """Which documents."""

    agent: str | None = Field(None, description="what this agent looks into; all there is without")
    source: str = Field("", description="how the name of where they are from begins")
    tags: list[str] = Field(default_factory=list, description="that all of them have")
    since: float | None = Field(None, description="seconds since the epoch, as `until`")
    until: float | None = None


class Asked(Filters):
    """What is looked for."""

    text: str
    limit: int = Field(10, ge=1, le=50)


class Listed(Filters):
    """Which documents, and from which number on."""

    after: int = 0
    limit: int = Field(100, ge=1, le=1000)


class Told(Whose):
    """About a document, or the files of a folder; what is not said stays as it was said before."""

    tags: list[str] | None = Field(None, description="a list with nothing but an empty one takes them away")
    trusted: bool | None = Field(None, description="its words may direct an agent, as the caller's own do")


class Added(Told):
    """About a document."""

    source: str = Field(min_length=1, description="the name by which it is replaced and removed")
    name: str = Field("", description="its file's name, whose ending says how it is read; the source without")
    title: str = ""


class Gone(Whose):
    """Which documents are removed."""

    source: str = Field(min_length=1)
    below: bool = Field(False, description="those too whose source is in it, as in a folder")


class Synced(Told):
    """A folder of the machine that the system runs on."""

    folder: str = Field(min_length=1)


class Knowing:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, documents = APIRouter(route_class=Route, tags=["knowledge"]), "/v1/knowledge/documents"
        router.get("/v1/knowledge")(self.list)
        router.post("/v1/knowledge/search")(self.search)
        router.post("/v1/knowledge/sync")(self.sync)
        router.put(documents, openapi_extra=BYTES)(self.add)
        router.delete(documents)(self.remove)
        return router

    async def list(self, here: Here, query: Annotated[Listed, Query()]) -> dict[str, Any]:
        """The documents that are known, by number."""
        sought = Sought("", source=query.source, tags=tuple(query.tags), since=query.since, until=query.until)
        known = here.system.knowledge
        found = known.documents(seen(here, query.agent), sought, query.after, query.limit)
        return {"documents": [each.told() for each in found]}

    async def search(self, here: Here, asked: Asked) -> dict[str, Any]:
        """The passages nearest to a text, with where they stand, their scores and how they were reached."""
        sought = Sought(asked.text, asked.limit, asked.source, tuple(asked.tags), asked.since, asked.until)
        hits = await here.system.knowledge.search(seen(here, asked.agent), sought)
        return {"hits": [each.told() for each in hits]}

    async def add(self, here: Here, query: Annotated[Added, Query()], request: Request) -> dict[str, Any]:
        """Add the document that is the body, in place of what is from the same source."""
        told = query.model_dump() | {"name": query.name or query.source}
        done: dict[str, Any] = await here.sys.act("knowledge.add", **told, data=Hidden(await sent(request)))
        return done

    async def remove(self, here: Here, query: Annotated[Gone, Query()]) -> dict[str, Any]:
        """Remove the documents of a source."""
        done: dict[str, Any] = await here.sys.act("knowledge.remove", **query.model_dump())
        return done

    async def sync(self, here: Here, body: Synced) -> dict[str, Any]:
        """Have what is known of a folder be what is in it; what cannot be read is told with why."""
        done: dict[str, Any] = await here.sys.act("knowledge.sync", **body.model_dump())
        return done


def seen(here: Desk, agent: str | None) -> dict[int, Place]:
    """The places that a caller sees, of an agent or all."""
    return here.system.knowledge.places(here.caller.tenant, agent, here.caller.sight)
