"""The models: catalog, routes and configuration made known to the kernel, at the start and later."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from ..config import Config, Routing, Sharing
from ..core.errors import InvalidRequest, NotFound, nearest, not_found
from ..core.ports import Adaptable, Engine
from ..core.records import Call, Hidden, ModelSpec, Route
from ..kernel.kernel import Kernel
from ..llm import catalog, tuned
from ..llm.fetch import pull
from ..plugins import Plugins
from ..sched.policies import SchedulerSettings
from ..security.administration import Deed
from ..security.identity import Caller
from .pulls import Pulls

OWN = frozenset({"llamacpp", "transformers", "scripted", "labels", "encoder"})
"""Drivers of engines that run in this process: what they are told stays here."""


def model_acts(kernel: Kernel, config: Config, registry: Plugins, pulls: Pulls) -> dict[str, Deed]:
    """What does the acts about models."""

    async def add(call: Call, by: Caller) -> Hidden:
        added = await asyncio.to_thread(catalog.add, call.args["spec"].value, registry.mapping("engines"))
        add_model(kernel, config, registry, added)
        return Hidden(added)

    async def fetch(call: Call, by: Caller) -> str:
        spec = await pull(call.args["model"], progress=pulls.progress(call.args["model"]))
        if spec.name not in kernel.engines.names():
            add_model(kernel, config, registry, spec)
        return spec.name

    async def remove(call: Call, by: Caller) -> None:
        catalog.remove(call.args["name"])
        await kernel.engines.remove(call.args["name"])

    async def adapt(call: Call, by: Caller) -> str:
        name = kernel.engines.resolve(call.args["model"])
        adapter = await asyncio.to_thread(tuned.deploy, await catalog.resolve(name), Path(call.args["source"]))
        await adopted(name)
        return adapter

    async def unadapt(call: Call, by: Caller) -> None:
        name = kernel.engines.resolve(call.args["model"])
        await asyncio.to_thread(tuned.withdraw, name, call.args["adapter"])
        await adopted(name)

    async def adopted(name: str) -> None:
        """Have the engine of a model serve the adapters that there are now; one that is not open will."""
        engine, spec = kernel.engines.opened(name), await catalog.resolve(name)
        if isinstance(engine, Adaptable):
            await engine.adopt(spec.options.get("adapters", {}))

    return {
        "models.add": add, "models.pull": fetch, "models.remove": remove, "models.adapt": adapt,
        "models.unadapt": unadapt,
    }  # fmt: skip


def add_models(kernel: Kernel, config: Config, registry: Plugins) -> None:
    """Make every model of the catalog known to the kernel, and let `default` name the chosen one."""
    for listed in catalog.list_models():
        add_model(kernel, config, registry, listed.spec)
        for alias in listed.aliases:
            kernel.engines.alias(alias, listed.spec.name)
    for name, routing in config.routes.items():
        add_route(kernel, name, routing)
    kernel.engines.adapters.update(config.adapters)
    if config.model is not None:
        kernel.engines.resolve(config.model)
        kernel.engines.alias("default", config.model)


def add_route(kernel: Kernel, name: str, routing: Routing) -> None:
    """Make a route known; where one model must do for it, that is the first. Raises InvalidRequest for its names."""
    try:
        names = {model: kernel.engines.resolve(model) for model in (*routing.replicas, *routing.fallback)}
    except NotFound as error:
        raise InvalidRequest(f"configuration: routes.{name}: {error.message}", parameter=f"routes.{name}") from error
    if name in kernel.engines.names():
        raise InvalidRequest(f"configuration: routes.{name}: a model has that name", parameter=f"routes.{name}")
    for field in (routing.quality, routing.languages):
        if unknown := field.keys() - names.keys():
            text = f"{min(unknown)!r} is none of its models; {nearest(min(unknown), names)}"
            raise InvalidRequest(f"configuration: routes.{name}: {text}", parameter=f"routes.{name}")
    route = Route(
        tuple(names[model] for model in routing.replicas),
        tuple(names[model] for model in routing.fallback),
        routing.strategies,
        {names[model]: tasks for model, tasks in routing.quality.items()},
        {names[model]: spoken for model, spoken in routing.languages.items()},
        routing.max_price, routing.patience, routing.retries, routing.pause,
    )  # fmt: skip
    kernel.engines.add_route(name, route)


def add_model(kernel: Kernel, config: Config, registry: Plugins, listed: ModelSpec) -> None:
    """Make a model known. One that is not on this machine yet may come later: opening it says how."""

    name = listed.name

    async def opened() -> Engine:
        spec = await catalog.resolve(name)
        drivers = registry.mapping("engines")
        if spec.engine not in drivers:
            raise not_found("engine", spec.engine, drivers)
        engine: Engine = await drivers[spec.engine](limited(spec, config))
        return engine

    kernel.engines.add(name, opened, remote=listed.engine not in OWN)


def limited(spec: ModelSpec, config: Config) -> ModelSpec:
    """The spec with the configuration's limit for it."""
    return replace(spec, limit=config.limits.get(spec.name, spec.limit))


def sharing(config: Config, model: str) -> SchedulerSettings:
    """How the calls to a model share its engine."""
    found = config.scheduler.get(model) or config.scheduler.get("*") or Sharing()
    return SchedulerSettings(**found.model_dump())
