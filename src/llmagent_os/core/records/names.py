"""Words that all of them share: JSON, tenants and principals, and the names under which what is theirs is kept."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

Json = Any  # what `json.dumps` takes: None, bool, int, float, str, list, dict with str keys


DEFAULT = "default"
"""The tenant of whoever started the system."""


def owned(tenant: str, name: str) -> str:
    """The name under which something of a tenant's is kept: two tenants may choose the same one."""
    return name if tenant == DEFAULT else f"{tenant}/{name}"


SHARED = "*"
"""The principal of what everybody in a tenant uses, such as an agent's replicas. No person has this name."""


def personal(tenant: str, principal: str, name: str) -> str:
    """The name under which something of a person's is kept: two people of a tenant may choose the same one."""
    return f"{tenant}/{quote(principal, '')}/{name}"


def agent_of(process: str) -> str:
    """The agent in the name of a process of its: NAME, NAME@SESSION, or what it has started, NAME~..."""
    return process.split("@")[0].split("~")[0]


def owner_of(name: str) -> str:
    """The tenant of a name that `owned` or `personal` made."""
    tenant, slash, _ = name.partition("/")
    return tenant if slash else DEFAULT
