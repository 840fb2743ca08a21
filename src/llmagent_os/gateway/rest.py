"""REST for the whole life of agents, processes and models, with an OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from ..core.sys import Sys

if TYPE_CHECKING:
    from ..boot import System


def make_rest(system: System, sys: Sys) -> FastAPI:
    """The application behind every path that is not a hot one."""
    app = FastAPI(title="LLMAgentOS")

    @app.get("/health")
    async def health() -> dict[str, object]:
        return {"status": "green"}

    return app
