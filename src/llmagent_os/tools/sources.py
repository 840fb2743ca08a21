"""Tools from outside: the MCP servers and OpenAPI documents that the configuration names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ..core import extras
from ..core.ports import Tool
from .settings import Document, MCPServer

if TYPE_CHECKING:
    from .mcp import Connection


async def add_sources(
    tools: dict[str, Tool], mcp: Mapping[str, MCPServer], documents: Mapping[str, Document], folder: Path
) -> list[Connection]:
    """Put the tools of all documents, and those that servers listed last time, into `tools`.

    Returns the connections, to be served; what is kept of each source lies in `folder`. Raises as `openapi_tools` does,
    and MissingExtra where there are servers and the SDK is not installed.
    """
    for name, document in documents.items():
        tools.update(await _driver("openapi").openapi_tools(name, document, folder / "openapi"))
    return [_driver("mcp").Connection(name, server, tools, folder / "mcp") for name, server in mcp.items()]


def _driver(name: str) -> ModuleType:
    """A module that is imported only where it is needed, for what it imports takes long."""
    if name == "mcp":
        return extras.imported(".mcp", "mcp", "an MCP server", __package__)
    return importlib.import_module(f".{name}", __package__)
