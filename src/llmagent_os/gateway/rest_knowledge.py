"""REST: what agents know."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from ..core.errors import NotFound
from ..core.records import Hidden, Place, Sought
from ..knowledge.base import Known
from ..knowledge.memory import BLOCK, MEMORY, Memory
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


class Stopped(Whose):
    """A folder that is being read."""

    folder: str = Field(min_length=1)


class Remembered(BaseModel):
    """Whose memories, and from which number on."""

    agent: str | None = Field(None, description="what this agent remembers; what all do without")
    after: int = 0
    limit: int = Field(100, ge=1, le=1000)


class Edited(BaseModel):
    """What a memory is to say."""

    text: str = Field(min_length=1, max_length=100_000)


class Shared(BaseModel):
    """Whose note it is."""

    shared: bool = Field(False, description="of agents that work for everybody; takes the scope agents:write")


class Pinned(Shared):
    """What a note is to say."""

    text: str = Field(min_length=1, max_length=BLOCK)


class Undone(BaseModel):
    """Which memories are forgotten."""

    since: float = Field(description="seconds since the epoch")
    agent: str | None = None


class Knowing:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, documents = APIRouter(route_class=Route, tags=["knowledge"]), "/v1/knowledge/documents"
        router.get("/v1/knowledge")(self.list)
        router.post("/v1/knowledge/search")(self.search)
        router.post("/v1/knowledge/sync")(self.sync)
        router.get("/v1/knowledge/sync")(self.syncing)
        router.delete("/v1/knowledge/sync")(self.stop)
        router.put(documents, openapi_extra=BYTES)(self.add)
        router.delete(documents)(self.remove)
        memories, one = "/v1/memory", "/v1/memory/{memory}"
        router.get(memories)(self.memories)
        router.delete(memories)(self.undo)
        router.get(one)(self.memory)
        router.put(one)(self.edit)
        router.delete(one)(self.forget)
        router.put(f"{memories}/pinned/{{name:path}}")(self.pin)
        router.delete(f"{memories}/pinned/{{name:path}}")(self.unpin)
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

    async def syncing(self, here: Here) -> dict[str, Any]:
        """The folders that are being read, and how far that is: files, those done, about how many seconds are left."""
        tenant, sight = here.caller.tenant, here.caller.sight
        return {"folders": [{"folder": folder, **each.told()}
                            for (place, folder), each in here.system.knowledge.syncing.items()
                            if place.tenant == tenant and sight in (None, place.principal)]}  # fmt: skip

    async def stop(self, here: Here, query: Annotated[Stopped, Query()]) -> dict[str, Any]:
        """Stop reading a folder; what was read stays, and the next time goes on from there."""
        done: dict[str, Any] = await here.sys.act("knowledge.stop", **query.model_dump())
        return done

    async def memories(self, here: Here, query: Annotated[Remembered, Query()]) -> dict[str, Any]:
        """What agents remember that the caller may see, by number, with its text."""
        known, sought = here.system.knowledge, Sought("", source=MEMORY)
        found = known.documents(seen(here, query.agent), sought, query.after, query.limit)
        return {"memories": [_remembered(here, each) for each in found]}

    async def memory(self, here: Here, memory: int) -> dict[str, Any]:
        """A memory, with what it said before, the latest first."""
        known = here.system.knowledge
        found = known.documents(seen(here, None), Sought("", source=MEMORY), memory - 1, 1)
        if not found or found[0].document != memory:
            raise NotFound(f"there is no memory {memory}", kind="memory", name=str(memory))
        before = Memory(known).history(found[0].place, found[0].source)
        return _remembered(here, found[0]) | {"before": before}

    async def edit(self, here: Here, memory: int, body: Edited) -> dict[str, Any]:
        """Have a memory say something else; what it said is kept. It has another number then."""
        done: dict[str, Any] = await here.sys.act("memory.edit", memory=memory, text=body.text)
        return done

    async def forget(self, here: Here, memory: int) -> dict[str, Any]:
        """Forget a memory, with all that it said before."""
        done: dict[str, Any] = await here.sys.act("memory.forget", memory=memory, agent=None, since=0.0)
        return done

    async def pin(self, here: Here, name: str, body: Pinned) -> dict[str, Any]:
        """Have a note say something that agents are shown who name it in `pinned`, whatever a message is about."""
        done: dict[str, Any] = await here.sys.act("memory.pin", agent="", name=name, **body.model_dump())
        return done

    async def unpin(self, here: Here, name: str, query: Annotated[Shared, Query()]) -> dict[str, Any]:
        """Take a note away, with what stands beside it."""
        done: dict[str, Any] = await here.sys.act("memory.pin", agent="", name=name, text="", shared=query.shared)
        return done

    async def undo(self, here: Here, query: Annotated[Undone, Query()]) -> dict[str, Any]:
        """Forget all that was remembered since a moment, by an agent or by all."""
        done: dict[str, Any] = await here.sys.act("memory.forget", memory=0, **query.model_dump())
        return done


def _remembered(here: Desk, known: Known) -> dict[str, Any]:
    return {"memory": known.document, **known.told(), "text": "\n".join(here.system.knowledge.read(known))}


def seen(here: Desk, agent: str | None) -> dict[int, Place]:
    """The places that a caller sees, of an agent or all."""
    return here.system.knowledge.places(here.caller.tenant, agent, here.caller.sight)
