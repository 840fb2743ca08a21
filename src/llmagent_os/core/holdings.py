"""What a tenant holds: the tools and models that its people and agents may use, and how much of the machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from .errors import PermissionDenied
from .places import allowed

LOCAL = "@local"
"""Among the patterns of models: every model that runs in this system, so that nothing that it is asked leaves it."""


class Models(Protocol):
    """Who knows what a model's name stands for."""

    def behind(self, name: str) -> Collection[str]:
        """The models behind a name; raises NotFound."""
        ...

    def remote(self, name: str) -> Collection[str]:
        """Those of them that what they are asked leaves this system for; raises NotFound."""
        ...

    def names(self) -> Sequence[str]:
        """The models that are known."""
        ...


@dataclass(frozen=True, slots=True)
class Holding:
    """What the people and agents of a tenant may have, whatever their keys and definitions say.

    `tools` and `models` are patterns (`*` for anything); None: all there are. `replicas` is how many replicas all its
    agents may be scaled to together (None: any number), `nice` the least that its processes may have.
    """

    tools: Sequence[str] | None = None
    models: Sequence[str] | None = None
    replicas: int | None = None
    nice: int = -20

    def tool(self, name: str) -> bool:
        """Whether a tool may be used."""
        return allowed(name, self.tools)

    def model(self, name: str, models: Models) -> bool:
        """Whether all that a model's name stands for may be asked; raises NotFound."""
        patterns = self.models
        if patterns is None or allowed(name, patterns):
            return True
        remote = models.remote(name) if LOCAL in patterns else models.behind(name)
        return all(allowed(each, patterns) for each in remote)


EVERYTHING = Holding()
"""What the tenant of the owner holds."""

ORDINARY = Holding(
    tools=(
        "append_file", "board_read", "board_write", "calculator", "change_sql", "clock", "edit_file", "list_files",
        "pin", "publish", "query_sql", "read_file", "remember", "search_files", "topic_settle", "topic_take",
        "write_file",
    ),
    models=(LOCAL,), replicas=16, nice=0,
)  # fmt: skip
"""What a tenant holds of which nothing else was said: what stays in its own workspaces, and models that cost nothing.

No code, no network, no tool that a plugin, document or server brings with the owner's keys.
"""

Holdings = Callable[[str], Holding]
"""What a tenant holds, by its name."""


def everything(tenant: str) -> Holding:
    """What everybody holds where nobody keeps tenants apart."""
    return EVERYTHING


def lacking(tenant: str, kind: str, name: str) -> PermissionDenied:
    """The error for a `tool` or a `model` that a tenant does not hold, with who can change that, and how."""
    text = f"tenant {tenant!r} does not hold the {kind} {name!r}; whoever runs this system grants it with "
    text += f"`llmagent-os tenants grant {tenant} --{kind} {name}`"
    return PermissionDenied(text, tenant=tenant, kind=f"{kind}s", name=name)


def too_nice(tenant: str, nice: int, least: int) -> PermissionDenied:
    """The error for a process that would go before what its tenant may go before."""
    text = f"nice is {nice}, and processes of tenant {tenant!r} have {least} to 19; ask for that, or have whoever runs "
    text += f"this system allow it: `llmagent-os tenants grant {tenant} --nice {nice}`"
    return PermissionDenied(text, tenant=tenant, parameter="nice", least=least)
