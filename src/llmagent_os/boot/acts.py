"""Acts that belong to no room alone: about accounts and workspaces, and the quarantine that the system asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from ..agent.manager import AgentManager
from ..core.accounts import book, statements
from ..core.records import Call
from ..kernel.kernel import Kernel
from ..security.administration import Deed
from ..security.identity import Caller
from ..tools.by_hand import Files


def account_acts(kernel: Kernel) -> dict[str, Deed]:
    """What does the acts about accounts."""

    async def credit(call: Call, by: Caller) -> None:
        args = (call.args[name] for name in ("account", "resource", "period", "amount"))
        entries = kernel.ledger.credit(call.tenant, *args)
        call.writes += statements(entries)
        call.after.append(partial(book, entries))

    return {"accounts.credit": credit}


def file_acts(files: Files, agents: Callable[[Call], Awaitable[AgentManager]]) -> dict[str, Deed]:
    """What does the acts about files of workspaces."""

    async def put(call: Call, by: Caller) -> None:
        ticket = (await agents(call)).workspace(call.args["agent"])
        await files.write(call.args["path"], call.args["data"].value, ticket)

    return {"files.put": put}


async def quarantine(kernel: Kernel, tenant: str, agent: str, reason: str) -> None:
    """Put an agent into quarantine, which is the system's own act."""
    await (await kernel.service("system", tenant=tenant)).act("anomalies.quarantine", agent=agent, reason=reason)
