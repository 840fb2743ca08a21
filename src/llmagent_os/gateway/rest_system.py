"""REST: health, metrics, models, and the system at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from ..core.records import Json, ModelSpec
from ..monitoring.memory import resident
from ..monitoring.metrics import CONTENT_TYPE, render
from .answering import Answerers
from .bodies import ChatBody
from .desk import Desk, Here
from .rest_agents import Strict

if TYPE_CHECKING:
    from ..boot import System
    from ..kernel.process import Process


_LACKING = "is not there; see `llmagent-os tools list`"  # why may hold what is not for everybody
_QUEUE = 20  # waiting calls that `top` is told of, an engine


class Health(BaseModel):
    """`green` while every part is well. A part is null, or what is wrong with it.

    `yellow` where all that is wrong is that tools are missing: of a plugin, an OpenAPI document, an MCP server.
    """

    status: str
    parts: dict[str, str | None]


class Model(Strict):
    """A model to add; see `core.records.ModelSpec` for units."""

    name: str
    engine: str = Field(description="the driver: llamacpp, openai, anthropic, transformers, scripted, or a plugin's")
    source: str = Field("", description="a file, a folder, or a server's base URL")
    model: str = Field("", description="the name that a remote server knows it by")
    window: int = Field(0, ge=0)
    limit: int = Field(0, ge=0)
    input_price: float = Field(0.0, ge=0)
    output_price: float = Field(0.0, ge=0)
    key_env: str = Field("", description="the environment variable that holds the server's key")
    options: dict[str, Any] = Field(default_factory=dict)


class Overview:
    """The handlers."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._kernel = system.kernel

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["system"])
        router.get("/health", response_model=Health, responses={503: {"model": Health}})(self.health)
        router.get("/metrics", response_class=Response)(self.metrics)
        router.get("/v1/top")(self.top)
        router.post("/v1/route")(self.route)
        router.get("/v1/models")(self.models)
        router.post("/v1/models", status_code=201)(self.add)
        router.get("/v1/models/{name:path}")(self.model)
        router.delete("/v1/models/{name:path}", status_code=204)(self.remove)
        return router

    async def health(self, response: Response) -> Health:
        """Whether every part is well; needs no key."""
        parts, missing = self._kernel.health(), self._system.missing()
        well = not any(parts.values())
        response.status_code = 200 if well else 503
        lacking = {_public(each["source"]): _LACKING for each in missing if each["trouble"]}
        status = "red" if not well else "yellow" if lacking else "green"
        return Health(status=status, parts={**parts, **lacking})

    async def metrics(self) -> Response:
        """Prometheus metrics."""
        return Response(render(self._system.metrics, self._kernel), media_type=CONTENT_TYPE)

    async def top(self) -> dict[str, Any]:
        """Processes by status, engines with slots, pages and queues, tokens a second of late, bytes in memory."""
        engines = [
            {"name": name, **dispatcher.overview(_QUEUE)}
            for name, dispatcher in sorted(self._kernel.dispatchers.items())
        ]
        shares = [dispatcher.by_process() for dispatcher in self._kernel.dispatchers.values()]
        live = [process.info() | self._share(process, shares) for process in self._kernel.table.live.values()]
        counts, speed = self._kernel.table.counts(), self._system.metrics.speed()
        return {
            "processes": counts, "engines": engines, "live": live, "tokens_per_second": speed, "memory": resident(),
        }  # fmt: skip

    def _share(self, process: Process, shares: Sequence[Mapping[int, Mapping[str, float]]]) -> dict[str, Json]:
        """What a process has of all engines (see `Dispatcher.by_process`), and what its program had of them."""
        *_, root = process.lineage()
        had = [dispatcher.scheduler.shares for dispatcher in self._kernel.dispatchers.values()]
        rows = [share[process.pid] for share in shares if process.pid in share]
        share = {name: sum(row[name] for row in rows) for name in ("speed", "waited", "slot", "ram", "disk")}
        return {**share, "attained": sum(each.had("program", root.pid) for each in had)}

    async def route(self, body: ChatBody) -> dict[str, Any]:
        """A dry run: which model a chat would be put to, and for every other one why not; nothing is asked."""
        plan = await self._kernel.router.plan(body.requests()[0])
        models = [{"model": each.model, "cost": cost, "why": why} for each, cost, why in plan.reasons()]
        return {"model": body.model, "models": models, "strategy": plan.decoding}

    async def models(
        self, here: Here, after_id: str = "", before_id: str = "", limit: int = Query(1000, ge=1, le=1000)
    ) -> dict[str, Any]:
        """Models, agents and aliases: every name that `model` may take, as the SDKs of OpenAI and Anthropic read it."""
        found = [*self._models(), *self._agents(here), *self._aliases()]
        names = [row["id"] for row in found]
        first = names.index(after_id) + 1 if after_id in names else 0
        last = names.index(before_id) if before_id in names else len(names)
        shown = found[first:last][:limit]
        ends = (
            {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
        )
        return {"object": "list", "data": shown, "has_more": len(shown) < last - first, **ends}

    def _models(self) -> list[dict[str, Json]]:
        return [_named(name, "model") for name in self._system.models()]

    def _agents(self, here: Desk) -> list[dict[str, Json]]:
        return [_named(name, "agent") for name in here.agents.names()]

    def _aliases(self) -> list[dict[str, Json]]:
        """The aliases that are names and not patterns."""
        return [_named(name, "alias") for name in self._system.config.aliases if not set(name) & set("*?[")]

    async def model(self, here: Here, name: str) -> dict[str, Any]:
        """One model or agent, or the one that an alias stands for."""
        name = Answerers(here).named(name)
        if name not in self._system.models() and here.agents.knows(name):
            return _named(name, "agent")
        return _named(self._kernel.engines.resolve(name), "model")

    async def add(self, here: Here, body: Model) -> dict[str, Any]:
        """Register a model and make it known at once."""
        spec = await self._system.add_model(ModelSpec(**body.model_dump()), here.sys)
        return {**_named(spec.name, "model"), "engine": spec.engine, "source": spec.source}

    async def remove(self, here: Here, name: str) -> None:
        """Close a model and forget it; a file that was fetched is deleted, one of your own stays."""
        await self._system.remove_model(name, here.sys)


def _public(source: str) -> str:
    """What is missing, for everybody: without the folder that a file lies in."""
    kind, _, name = source.partition(" ")
    return f"{kind} {Path(name).name}"


def _named(name: str, kind: str) -> dict[str, Json]:
    return {
        "id": name, "object": "model", "created": 0, "owned_by": "llmagent-os", "kind": kind,
        "type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active",
    }  # fmt: skip
