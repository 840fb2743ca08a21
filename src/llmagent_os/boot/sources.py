"""Where tools come from beside Python, and what is done about plugins while a system runs."""

from __future__ import annotations

from functools import partial

from ..agent.loop import Agent
from ..config import Config
from ..core.ports import Tool
from ..core.records import Call, Json
from ..kernel.kernel import Kernel
from ..plugins import Plugins
from ..security.administration import Deed
from ..security.identity import Caller
from ..security.vault import Seal, key_file
from ..tools.sources import Sources


async def connect(kernel: Kernel, config: Config, tools: dict[str, Tool]) -> Sources:
    """Bring in the tools of documents and servers: what is on disk now, the rest beside the system."""
    sources = open_sources(config, tools)
    await sources.read()
    for name, work in sources.work().items():
        kernel.worker(name, work)
    return sources


def open_sources(config: Config, tools: dict[str, Tool]) -> Sources:
    """The sources of tools that a configuration names; logins are sealed with the vault's key."""
    return Sources(tools, config.tools.mcp, config.tools.openapi, config.data, partial(seal, config))


def seal(config: Config) -> Seal:
    """What encrypts under the vault's key; raises MissingExtra."""
    return Seal(key_file(config.data / "vault.key"))


def plugin_acts(registry: Plugins, tools: dict[str, Tool], loops: dict[str, type[Agent]]) -> dict[str, Deed]:
    """What does the acts about plugins."""

    async def reload(call: Call, by: Caller) -> dict[str, Json]:
        """Tools and loops are those of the new files from then on, and engines that are opened."""
        before = registry.mapping("tools").keys()
        loaded = registry.reload()
        fresh = registry.mapping("tools")
        for name in before - fresh.keys():
            tools.pop(name, None)
        tools.update(fresh)
        loops.update(registry.mapping("loops"))
        return {"loaded": loaded, "wrong": dict(registry.troubles)}

    return {"plugins.reload": reload}
