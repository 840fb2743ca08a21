"""The agents that are there from the start."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from ..agent.manager import AgentManager
from ..agent.spec import AgentSpec, load, parse
from ..config import Config
from ..core.errors import Conflict, NotFound
from ..plugins import Plugins
from ..tools.sources import Sources

log = logging.getLogger(__name__)


async def add_agents(
    agents: AgentManager, registry: Plugins, config: Config, sources: Sources
) -> tuple[frozenset[str], list[AgentSpec]]:
    """Create the agents that plugins and the agents folder bring, where there is none of their name.

    Returns the names of all, and those that wait for a tool of a source that is not there yet.
    """
    definitions: list[Any] = registry.sequence("agents")
    folder = config.agents or config.data / "agents"
    for file in sorted(folder.glob("*.yaml")):
        definitions += load(file)
    specs = [each if isinstance(each, AgentSpec) else parse(each) for each in definitions]
    late = []
    for spec in specs:
        if not agents.knows(spec.name):
            try:
                await agents.create(spec)
            except NotFound as error:
                if error.facts.get("kind") != "tool" or not (sources.states or registry.troubles):
                    raise
                log.warning("agent %s is not created yet: %s", spec.name, error.message)
                late.append(spec)
    return frozenset(spec.name for spec in specs), late


async def create_late(agents: AgentManager, late: list[AgentSpec], sources: Sources) -> None:
    """Create agents once the tools are there that they wait for."""
    while True:
        await sources.news.wait()
        sources.news.clear()
        for spec in list(late):
            with suppress(NotFound, Conflict):
                if not agents.knows(spec.name):
                    await agents.create(spec)
                late.remove(spec)
