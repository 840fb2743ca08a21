"""REST: the tools that agents may be given, trying one, and the plugins that bring some."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from ..core.errors import InvalidRequest, ToolFailed
from ..core.ports import Tool
from ..core.records import Json
from .desk import Here
from .rest_agents import Strict
from .routes import Route, told


class Arguments(Strict):
    """What to call a tool with."""

    arguments: dict[str, Any] = Field(default_factory=dict)


def described(name: str, tool: Tool) -> dict[str, Json]:
    """A tool: its name, source and description, what it declares (`core.records.Traits`), and the schema it takes."""
    about = getattr(tool, "told", tool.spec.description)
    known = {"name": name, "source": getattr(tool, "source", "plugin"), "description": about}
    return {**known, **asdict(tool.traits), "parameters": tool.spec.parameters}


class Tools:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["tools"])
        router.get("/v1/tools", response_model=dict[str, list[dict[str, Any]]])(self.listed)
        router.post("/v1/tools/{name}", response_model=dict[str, Any])(self.run)
        router.get("/v1/plugins")(self.plugins)
        router.post("/v1/plugins/reload")(self.reload)
        return router

    async def listed(self, here: Here) -> Response:
        """Every tool that the tenant holds: where it is from, what it does, what it declares, and the schema it takes.

        `missing` says of plugins and sources what is wrong with them, and of single tools why they are left out, to who
        holds every tool.
        """
        held = here.system.holdings.of(here.caller.tenant)
        tools = [described(name, tool) for name, tool in sorted(here.system.tools.items()) if held.tool(name)]
        return told({"tools": tools, "missing": list(here.system.missing()) if held.tools is None else []})

    async def plugins(self, here: Here) -> dict[str, Any]:
        """The plugins that are there, and what is wrong with which."""
        return {"plugins": here.system.plugins.names(), "wrong": here.system.plugins.troubles}

    async def reload(self, here: Here) -> dict[str, Any]:
        """Load the files of plugins again: their tools and loops are new at once, and engines that are opened.

        Filters, syscalls, programs and strategies are from the next start on. A file that is wrong stays as it was.
        """
        return await here.system.reload(here.sys)

    async def run(self, here: Here, name: str, body: Arguments) -> Response:
        """Call a tool as an agent would, in a workspace of its own."""
        try:
            return told({"result": await here.sys.call(name, body.arguments)})
        except ToolFailed as error:  # of whoever tries it: nothing here is broken
            raise InvalidRequest(error.message, **error.facts) from error
