"""An operating system for LLM agents, on hardware its owner controls.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent.loop import Agent as Agent
    from .agent.manager import AgentManager as AgentManager
    from .agent.prompt import PromptTemplate as PromptTemplate
    from .agent.spec import AgentSpec as AgentSpec
    from .llm.facade import LLM as LLM
    from .system import LLMAgentOS as LLMAgentOS
    from .tools.toolkit import File as File
    from .tools.toolkit import ToolKit as ToolKit

_WHERE = {
    "LLM": ".llm.facade",
    "LLMAgentOS": ".system",
    "Agent": ".agent.loop",
    "AgentManager": ".agent.manager",
    "AgentSpec": ".agent.spec",
    "PromptTemplate": ".agent.prompt",
    "File": ".tools.toolkit",
    "ToolKit": ".tools.toolkit",
}
__all__ = list(_WHERE)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name], __name__), name)
