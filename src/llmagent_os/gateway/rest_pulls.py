"""REST: models that are fetched by the system, for who cannot or will not wait at a terminal."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from ..llm import catalog
from .desk import Here
from .rest_agents import Strict
from .routes import Route


class Wanted(Strict):
    """Which model."""

    model: str = Field(min_length=1, max_length=300, description="a known one, or OWNER/REPO or OWNER/REPO:FILE")


class Pulling:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["system"])
        router.get("/v1/pulls")(self.listed)
        router.post("/v1/pulls", status_code=202)(self.start)
        router.delete("/v1/pulls/{name:path}", status_code=204)(self.stop)
        return router

    async def listed(self, here: Here) -> dict[str, list[dict[str, Any]]]:
        """The models that come with the system, fetched or not; and what is being fetched, or was since the start."""
        models = await asyncio.to_thread(catalog.list_models)
        known = [
            {"name": each.spec.name, "aliases": list(each.aliases), "size": each.size, "present": each.present,
             "licence": each.licence}
            for each in models if each.known and each.size
        ]  # fmt: skip
        return {"known": known, "pulls": [asdict(each) for each in here.system.pulls.found.values()]}

    async def start(self, here: Here, body: Wanted) -> dict[str, Any]:
        """Begin to fetch a model; it goes on where an earlier try was interrupted."""
        return asdict(here.system.pulls.start(body.model, here.sys))

    async def stop(self, here: Here, name: str) -> None:
        """Stop fetching a model; what is here of it stays for the next time."""
        await here.system.pulls.stop(name)
