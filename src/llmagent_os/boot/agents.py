"""The agents that are there from the start."""

from __future__ import annotations

from typing import Any

from ..agent.manager import AgentManager
from ..agent.spec import AgentSpec, load, parse
from ..config import Config
from ..plugins import Plugins


async def add_agents(agents: AgentManager, registry: Plugins, config: Config) -> frozenset[str]:
    """Create the agents that plugins and the agents folder bring, where there is none of their name; returns those."""
    definitions: list[Any] = registry.sequence("agents")
    folder = config.agents or config.data / "agents"
    for file in sorted(folder.glob("*.yaml")):
        definitions += load(file)
    specs = [each if isinstance(each, AgentSpec) else parse(each) for each in definitions]
    for spec in specs:
        if not agents.knows(spec.name):
            await agents.create(spec)
    return frozenset(spec.name for spec in specs)
