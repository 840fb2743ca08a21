"""Acts that are nobody's but the kernel's own: about accounts, and the quarantine that the system itself asks for."""

from __future__ import annotations

from functools import partial

from ..core.accounts import book, statements
from ..core.records import Call
from ..kernel.kernel import Kernel
from ..security.administration import Deed
from ..security.identity import Caller


def account_acts(kernel: Kernel) -> dict[str, Deed]:
    """What does the acts about accounts."""

    async def credit(call: Call, by: Caller) -> None:
        args = (call.args[name] for name in ("account", "resource", "period", "amount"))
        entries = kernel.ledger.credit(call.tenant, *args)
        call.writes += statements(entries)
        call.after.append(partial(book, entries))

    return {"accounts.credit": credit}


async def quarantine(kernel: Kernel, tenant: str, agent: str, reason: str) -> None:
    """Put an agent into quarantine, which is the system's own act."""
    await (await kernel.service("system", tenant=tenant)).act("anomalies.quarantine", agent=agent, reason=reason)
