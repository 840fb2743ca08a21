"""The system as one caller sees it: what is another tenant's is not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from ..agent.manager import AgentManager
from ..core.sys import Sys
from ..kernel.process import Process
from ..security.administration import authority
from ..security.identity import Caller

if TYPE_CHECKING:
    from ..boot import System


@dataclass(frozen=True, slots=True)
class Desk:
    """`sys` and `agents` act for the caller."""

    system: System
    caller: Caller
    sys: Sys
    agents: AgentManager

    def process(self, pid: int) -> Process:
        """A process that is the caller's, or of the tenant for who sees all of it; raises NotFound."""
        return self.system.kernel.table.of(pid, self.caller.tenant, self.caller.sight)

    def sees(self, pid: int) -> bool:
        """Whether a process of the tenant is there for the caller."""
        if self.caller.sight is None:
            return True
        process = self.system.kernel.table.find(pid)
        return process is not None and self.caller.sees(process.principal)

    def holds(self, models: Iterable[str]) -> list[str]:
        """Those of some models that the caller's tenant may ask."""
        return self.system.holdings.held(self.caller.tenant, models)

    def tasks(self, principal: str | None = None) -> AgentManager:
        """The agents, for looking after a person's tasks: the caller's own, or another's for who sees them."""
        if principal in (None, self.caller.principal):
            return self.agents
        self.caller.need("people")
        return self.agents.acting(self.sys.acting(principal), everybody=True)


async def desk(system: System, caller: Caller) -> Desk:
    """Let a caller in."""
    sys = (await system.kernel.service("gateway", caller.principal, caller.tenant)).under(authority(caller))
    agents = (await system.tenant(caller.tenant)).acting(sys, caller.sight is None)
    return Desk(system, caller, sys, agents)


async def _here(request: Request) -> Desk:
    found: Desk = request.scope["desk"]
    return found


Here = Annotated[Desk, Depends(_here)]
"""A parameter of a REST handler: who asks."""
