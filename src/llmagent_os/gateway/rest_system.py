"""REST: health, metrics, models, and the system at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from ..core.records import Json, ModelSpec
from ..monitoring.memory import resident
from ..monitoring.metrics import CONTENT_TYPE, render
from .answering import PATTERNED, Answerers
from .bodies import ChatBody
from .desk import Desk, Here
from .rest_agents import Strict
from .routes import Route

if TYPE_CHECKING:
    from ..boot import System
    from ..kernel.kernel import Kernel
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


class Tuned(Strict):
    """A tuned model."""

    source: str = Field(min_length=1, description="the folder that it was saved in, on the system's machine")


class Overview:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["system"])
        router.get("/health", response_model=Health, responses={503: {"model": Health}})(self.health)
        router.get("/metrics", response_class=Response)(self.metrics)
        router.get("/v1/top")(self.top)
        router.post("/v1/route")(self.route)
        router.get("/v1/models")(self.models)
        router.post("/v1/models", status_code=201)(self.add)
        router.post("/v1/models/{name:path}/adapters", status_code=201)(self.adapt)
        router.delete("/v1/models/{name:path}/adapters/{adapter}", status_code=204)(self.unadapt)
        router.get("/v1/models/{name:path}")(self.model)
        router.delete("/v1/models/{name:path}", status_code=204)(self.remove)
        return router

    async def health(self, request: Request, response: Response) -> Health:
        """Whether every part is well; needs no key."""
        system: System = request.scope["system"]
        parts, missing = system.kernel.health(), system.missing()
        well = not any(parts.values())
        response.status_code = 200 if well else 503
        lacking = {_public(each["source"]): _LACKING for each in missing if each["trouble"]}
        status = "red" if not well else "yellow" if lacking else "green"
        return Health(status=status, parts={**parts, **lacking})

    async def metrics(self, here: Here) -> Response:
        """Prometheus metrics."""
        return Response(render(here.system.metrics, here.system.kernel), media_type=CONTENT_TYPE)

    async def top(self, here: Here) -> dict[str, Any]:
        """Processes by status, engines with slots, pages and queues, tokens a second of late, bytes in memory."""
        kernel = here.system.kernel
        dispatchers = sorted(kernel.dispatchers.items())
        engines = [{"name": name, **dispatcher.overview(_QUEUE)} for name, dispatcher in dispatchers]
        live = _live(kernel)
        counts, speed = kernel.table.counts(), here.system.metrics.speed()
        return {
            "processes": counts, "engines": engines, "live": live, "tokens_per_second": speed, "memory": resident(),
        }  # fmt: skip

    async def route(self, here: Here, body: ChatBody) -> dict[str, Any]:
        """A dry run: which model a chat would be put to, and for every other one why not; nothing is asked."""
        here.system.holdings.model(here.caller.tenant, body.model)
        plan = await here.system.kernel.router.plan(body.requests()[0])
        models = [{"model": each.model, "cost": cost, "why": why} for each, cost, why in plan.reasons()]
        return {"model": body.model, "models": models, "strategy": plan.decoding}

    async def models(
        self, here: Here, after_id: str = "", before_id: str = "", limit: int = Query(1000, ge=1, le=1000)
    ) -> dict[str, Any]:
        """Models, agents and aliases: every name that `model` may take, as the SDKs of OpenAI and Anthropic read it."""
        found = [*_models(here), *_agents(here), *_aliases(here)]
        names = [row["id"] for row in found]
        first = names.index(after_id) + 1 if after_id in names else 0
        last = names.index(before_id) if before_id in names else len(names)
        shown = found[first:last][:limit]
        ends = (
            {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
        )
        return {"object": "list", "data": shown, "has_more": len(shown) < last - first, **ends}

    async def model(self, here: Here, name: str) -> dict[str, Any]:
        """One model or agent, or the one that an alias stands for."""
        name = Answerers(here).named(name)
        if name not in here.system.models() and here.agents.knows(name):
            return _named(name, "agent")
        here.system.holdings.model(here.caller.tenant, name)
        return _named(here.system.kernel.engines.resolve(name), "model")

    async def add(self, here: Here, body: Model) -> dict[str, Any]:
        """Register a model and make it known at once."""
        spec = await here.system.add_model(ModelSpec(**body.model_dump()), here.sys)
        return {**_named(spec.name, "model"), "engine": spec.engine, "source": spec.source}

    async def adapt(self, here: Here, name: str, body: Tuned) -> dict[str, Any]:
        """Serve a model with the adapter of a tuned one as well; what it does meanwhile is not interrupted."""
        return {"adapter": await here.sys.act("models.adapt", model=name, source=body.source)}

    async def unadapt(self, here: Here, name: str, adapter: str) -> None:
        """Forget an adapter; what asks for it from now on is refused."""
        await here.sys.act("models.unadapt", model=name, adapter=adapter)

    async def remove(self, here: Here, name: str) -> None:
        """Close a model and forget it; a file that was fetched is deleted, one of your own stays."""
        await here.system.remove_model(name, here.sys)


def _live(kernel: Kernel) -> list[dict[str, Json]]:
    """Each process with what it has of all engines (see `Dispatcher.by_process`), and what its program had of them."""
    had = [dispatcher.scheduler.shares for dispatcher in kernel.dispatchers.values()]
    shares = [dispatcher.by_process() for dispatcher in kernel.dispatchers.values()]

    def share(process: Process) -> dict[str, Json]:
        *_, root = process.lineage()
        rows = [each[process.pid] for each in shares if process.pid in each]
        found = {name: sum(row[name] for row in rows) for name in ("speed", "waited", "slot", "ram", "disk")}
        return {**found, "attained": sum(each.had("program", root.pid) for each in had)}

    return [process.info() | share(process) for process in kernel.table.live.values()]


def _public(source: str) -> str:
    """What is missing, for everybody: without the folder that a file lies in."""
    kind, _, name = source.partition(" ")
    return f"{kind} {Path(name).name}"


def _models(here: Desk) -> list[dict[str, Json]]:
    opened, held = here.system.kernel.engines.opened, here.holds(here.system.models())
    return [_named(name, "model") | {"loaded": opened(name) is not None} for name in held]


def _agents(here: Desk) -> list[dict[str, Json]]:
    return [_named(name, "agent") for name in here.agents.names()]


def _aliases(here: Desk) -> list[dict[str, Json]]:
    """The other names of models that can be opened now, and of the configuration those that are no patterns."""
    there, aliases = here.system.models(), here.system.kernel.engines.aliases()
    also = {name: aliases[name] for name in here.holds(aliases) if aliases[name] in there}
    also |= {name: target for name, target in here.system.config.aliases.items() if not set(name) & PATTERNED}
    return [_named(name, "alias") | {"alias_of": target} for name, target in also.items()]


def _named(name: str, kind: str) -> dict[str, Json]:
    return {
        "id": name, "object": "model", "created": 0, "owned_by": "llmagent-os", "kind": kind,
        "type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active",
    }  # fmt: skip
